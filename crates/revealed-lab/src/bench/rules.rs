//! Rules that say how many rounds to keep, compared on rounds that were all run.
//!
//! A rule reads the report of a round, not its gold figures. It keeps rounds until the first one that it rejects, or until
//! it stops; the gold of the kept policy is compared with that of the best round, SFT included.

use revealed_train::{Recipe, RoundReport};

use super::outcome::Round;

/// Decision of a rule about a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Keep the round and continue.
    Keep,
    /// Keep the round and stop.
    Last,
    /// Roll the round back and stop.
    Reject,
}

/// A rule with its name.
pub struct Rule {
    /// Name in tables.
    pub name: &'static str,
    /// Decision from the report of a round and the recipe.
    pub decide: fn(&RoundReport, &Recipe) -> Decision,
}

fn keep_if(holds: bool) -> Decision {
    if holds { Decision::Keep } else { Decision::Reject }
}

fn validated(report: &RoundReport, least: f64) -> Decision {
    keep_if(report.validation_reward.is_some_and(|scores| scores.gain() >= least))
}

/// The rules that are compared.
pub fn all() -> Vec<Rule> {
    vec![
        Rule { name: "no round (SFT)", decide: |_, _| Decision::Reject },
        Rule { name: "one round", decide: |_, _| Decision::Last },
        Rule { name: "every round", decide: |_, _| Decision::Keep },
        Rule {
            name: "the recipe's gates",
            decide: |report, recipe| keep_if(report.objections(recipe).is_empty()),
        },
        Rule {
            name: "reward minus KL penalty, the solver's objective, did not fall by 0.05",
            decide: |report, recipe| keep_if(report.objective_gain(recipe) > -0.05),
        },
        Rule {
            name: "the round's own reward rose",
            decide: |report, _| keep_if(report.after.reward > report.before.reward),
        },
        Rule {
            name: "stop once samples pass the demonstrations",
            decide: |report, _| {
                let passed = report.after.reward >= report.demonstrations_reward;
                if passed { Decision::Last } else { Decision::Keep }
            },
        },
        Rule {
            name: "reward above chance against policy samples",
            decide: |report, _| keep_if(report.accuracy_before > 0.5),
        },
        Rule {
            name: "likelihood of demonstrations within 0.05 nats of SFT's",
            decide: |report, _| {
                keep_if(report.sft_log_likelihood - report.after.log_likelihood <= 0.05)
            },
        },
        Rule { name: "the validation reward rose", decide: |report, _| validated(report, 0.0) },
        Rule {
            name: "the validation reward rose by 1 standard error",
            decide: |report, _| validated(report, 1.0),
        },
        Rule {
            name: "the validation reward rose by 2 standard errors",
            decide: |report, _| validated(report, 2.0),
        },
    ]
}

/// Gold of the policy that a rule keeps, and of the best round; both may be `sft`.
pub fn kept_and_best(rule: &Rule, recipe: &Recipe, sft: f64, rounds: &[Round]) -> [f64; 2] {
    let best = rounds.iter().map(|round| round.gold.t1).fold(sft, f64::max);
    let mut kept = sft;
    for round in rounds {
        let Some(report) = &round.report else { break };
        let decision = (rule.decide)(report, recipe);
        if decision != Decision::Reject {
            kept = round.gold.t1;
        }
        if decision != Decision::Keep {
            break;
        }
    }
    [kept, best]
}
