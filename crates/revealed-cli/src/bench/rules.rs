//! Rules that say how many rounds to keep, compared on rounds that were all run.
//!
//! A rule sees a round's report and never its gold figures. It keeps rounds until the first that it rejects, or until one
//! after which it stops; the gold of what it kept is compared with that of the best round, SFT included.

use revealed::train::{Recipe, RoundReport};

use super::measure::Round;

/// What a rule says of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// Keep it, go on.
    Keep,
    /// Keep it, stop.
    Last,
    /// Roll it back, stop.
    Reject,
}

/// A rule with its name.
pub struct Rule {
    /// As in tables.
    pub name: &'static str,
    /// Its verdict on a round, from its report and the loop's settings.
    pub say: fn(&RoundReport, &Recipe) -> Say,
}

fn keep_if(holds: bool) -> Say {
    if holds { Say::Keep } else { Say::Reject }
}

fn judged(report: &RoundReport, least: f64) -> Say {
    keep_if(report.validation_reward.is_some_and(|judge| judge.gain() >= least))
}

/// The rules that are compared.
pub fn all() -> Vec<Rule> {
    vec![
        Rule { name: "no round (SFT)", say: |_, _| Say::Reject },
        Rule { name: "one round", say: |_, _| Say::Last },
        Rule { name: "every round", say: |_, _| Say::Keep },
        Rule {
            name: "the recipe's gates",
            say: |report, recipe| keep_if(report.objections(recipe).is_empty()),
        },
        Rule {
            name: "reward less KL, what the solver maximises, did not fall by 0.05",
            say: |report, recipe| keep_if(report.objective_gain(recipe) > -0.05),
        },
        Rule {
            name: "the round's own reward rose",
            say: |report, _| keep_if(report.after.reward > report.before.reward),
        },
        Rule {
            name: "stop once samples pass the demonstrations",
            say: |report, _| {
                let passed = report.after.reward >= report.demonstrations_reward;
                if passed { Say::Last } else { Say::Keep }
            },
        },
        Rule {
            name: "reward above chance against policy samples",
            say: |report, _| keep_if(report.accuracy_before > 0.5),
        },
        Rule {
            name: "likelihood of demonstrations within 0.05 nats of SFT's",
            say: |report, _| {
                keep_if(report.sft_log_likelihood - report.after.log_likelihood <= 0.05)
            },
        },
        Rule { name: "the judge's score rose", say: |report, _| judged(report, 0.0) },
        Rule {
            name: "the judge's score rose by 1 standard error",
            say: |report, _| judged(report, 1.0),
        },
        Rule {
            name: "the judge's score rose by 2 standard errors",
            say: |report, _| judged(report, 2.0),
        },
    ]
}

/// The gold that a rule keeps and that of the best round, `sft` among both.
pub fn kept_and_best(rule: &Rule, recipe: &Recipe, sft: f64, rounds: &[Round]) -> [f64; 2] {
    let best = rounds.iter().map(|round| round.gold.t1).fold(sft, f64::max);
    let mut kept = sft;
    for round in rounds {
        let Some(report) = &round.report else { break };
        let say = (rule.say)(report, recipe);
        if say != Say::Reject {
            kept = round.gold.t1;
        }
        if say != Say::Keep {
            break;
        }
    }
    [kept, best]
}
