//! The verdict in words, by rules with stated bounds.
//!
//! | question | well | look closer | badly |
//! |---|---|---|---|
//! | is the reward beyond shortcuts? | the lower end of its accuracy's 95 % interval (Wilson, over prompts) is above the better probe, and the audit warns of nothing | otherwise | its lead over the better probe is below [`MIN_LEAD`] |
//! | did held-out figures improve? | the 95 % interval of reward minus KL penalty, policy minus SFT, is above 0, and the validation reward did not fall by 2 standard errors in the round | the interval contains 0, or the validation reward fell, or there is no interval | the interval is below 0, nothing moved, or no round was kept |
//! | did the metrics stay in their expected ranges? | no violation | a violation | a value was not a number |
//! | which rounds were kept? | all | some | none |

use super::curves::Curve;
use super::ending::stopped_early;
use super::expected_range::{Violation, violations};
use super::held_out::{objective_change, result};
use super::labels::{label, likelihood};
use super::number::{number, signed};
use super::run::RunFiles;
use revealed_eval::stats::{Z_95, wilson};
use revealed_train::Phase;
use revealed_train::RoundReport;

/// Minimum lead of the reward's accuracy over the better probe; the audit has the same bound.
pub const MIN_LEAD: f64 = 0.02;
/// Share of samples that end in EOS, below which the page warns.
const FEW_ENDED: f64 = 0.5;
/// Standard errors by which the validation reward may fall.
const MAX_FALL: f64 = -2.0;

/// Severity of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The good outcome.
    Well,
    /// Worth a closer look.
    Look,
    /// The bad outcome.
    Badly,
    /// The run folder has not enough data.
    Unknown,
}

impl Level {
    /// The label on the page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "yes",
            Self::Look => "look closer",
            Self::Badly => "no",
            Self::Unknown => "not known",
        }
    }
}

/// An answer in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The question in words.
    pub question: &'static str,
    /// Its severity.
    pub level: Level,
    /// Sentences, the first one the answer.
    pub sentences: Vec<String>,
}

/// All four answers of a run.
pub fn verdict(run: &RunFiles, curves: &[Curve]) -> Vec<Answer> {
    let known = run.settings.number("gate.max_kl").is_some();
    vec![
        shortcuts(run),
        improved(run),
        expected_ranges(&violations(curves, &run.settings), curves, known),
        rounds(run, curves),
    ]
}

fn answer(question: &'static str, level: Level, sentences: Vec<String>) -> Answer {
    Answer { question, level, sentences }
}

/// Whether the reward is more accurate than length and a bag of tokens.
fn shortcuts(run: &RunFiles) -> Answer {
    let question = "Is the reward more than a shortcut?";
    let Some(round) = result(run) else {
        return answer(question, Level::Unknown, vec![not_evaluated(run)]);
    };
    let audit = &round.audit;
    let prompts = audit.prompts;
    // NaN counts as none right.
    let right = (audit.accuracy * prompts as f64).min(prompts as f64).max(0.0);
    let (low, high) = wilson(right, prompts, Z_95);
    let probe = audit.length_accuracy.max(audit.bag_accuracy);
    let lead = audit.beyond_shortcuts();
    let warnings = audit.warnings();
    let level = match () {
        () if lead.is_nan() || prompts == 0 => Level::Unknown,
        () if lead < MIN_LEAD => Level::Badly,
        () if low > probe && warnings.is_empty() => Level::Well,
        () => Level::Look,
    };
    let word = match level {
        Level::Badly => "There is no evidence that it is",
        Level::Well => "Yes",
        _ if low > probe => "Yes, with a warning",
        _ => "It seems so, but the lead may be due to chance",
    };
    let mut sentences = vec![format!(
        "{word}: the reward of round {} orders {} of {} held-out pairs (95 % over {prompts} prompts: {} to {}), length alone {}, a bag of tokens {}. Its lead is {}.",
        round.round,
        number(audit.accuracy),
        audit.pairs,
        number(low),
        number(high),
        number(audit.length_accuracy),
        number(audit.bag_accuracy),
        signed(lead),
    )];
    if let Some(matched) = audit.length_matched_accuracy {
        sentences.push(format!(
            "On the {} length-matched pairs its accuracy is {}.",
            audit.length_matched_pairs,
            number(matched)
        ));
    }
    // Accuracy and probes are in the first sentence.
    let rest = warnings.iter().filter(|warning| !warning.starts_with("the reward orders"));
    sentences.extend(rest.map(|warning| sentence(warning)));
    answer(question, level, sentences)
}

/// Whether the final policy is better than the SFT model on held-out prompts.
fn improved(run: &RunFiles) -> Answer {
    let question = "Did the policy improve on held-out prompts?";
    let Some(round) = result(run) else {
        return answer(question, Level::Unknown, vec![not_evaluated(run)]);
    };
    let change = run.scores.get(&round.round);
    let change = change.and_then(|scores| objective_change(scores, run.settings.kl_price()?));
    let interval = change.as_ref().and_then(|change| change.interval);
    let fell = round.validation_reward.is_some_and(|scores| scores.gain() <= MAX_FALL);
    let level = match interval {
        _ if !round.accepted => Level::Badly,
        Some((low, high)) if high < 0.0 || (low, high) == (0.0, 0.0) => Level::Badly,
        Some((low, _)) if low > 0.0 && !fell => Level::Well,
        _ => Level::Look,
    };
    let mut sentences = Vec::new();
    if !round.accepted {
        let what =
            if run.finished { "the policy is the SFT model" } else { "no policy exists yet" };
        sentences.push(format!(
            "No round was kept: {what}. The figures below are of the rejected candidate of round {}.",
            round.round
        ));
    }
    sentences.push(match (&change, interval) {
        (Some(_), Some((0.0, 0.0))) => format!(
            "No: the policy of round {} equals the SFT model on every held-out prompt.",
            round.round
        ),
        (Some(change), Some((low, high))) => format!(
            "From SFT to round {}, reward minus KL penalty changed by {} (95 % over prompts: {} to {}), in standard deviations of the reward between samples of one prompt.",
            round.round, signed(change.difference()), signed(low), signed(high)
        ),
        _ => format!(
            "In round {} the reward of samples changed by {} and their KL by {} nats. This folder has no scores of single samples, so there is no interval.",
            round.round,
            signed(round.after.reward - round.before.reward),
            signed(round.after.kl - round.before.kl)
        ),
    });
    sentences.push(format!(
        "Mean reward of samples: {}; of held-out demonstrations: {}. Demonstrations {}.",
        signed(round.after.reward),
        signed(round.demonstrations_reward),
        likelihood(round.after.log_likelihood - round.sft_log_likelihood),
    ));
    if round.after.terminated < FEW_ENDED {
        let share = match round.after.terminated {
            0.0 => "No sample ends in EOS".to_owned(),
            share => format!("Only {} of the samples end in EOS", number(share)),
        };
        sentences.push(format!(
            "{share}; completions cut at data.max_completion_tokens are scored by the rule policy.missing_eos."
        ));
    }
    sentences.push(by_validation_reward(run, round));
    answer(question, level, sentences)
}

fn by_validation_reward(run: &RunFiles, round: &RoundReport) -> String {
    let caution = "The policy was trained to raise this reward, so an increase is necessary but not sufficient";
    let first = run.rounds.first().and_then(|first| first.validation_reward);
    match (first, round.validation_reward) {
        (Some(first), Some(last)) => format!(
            "{caution}. The validation reward, which no policy is trained against, scores samples {} before the first round and {} after round {}, demonstrations {}. In that round it changed by {} standard errors.",
            signed(first.before),
            signed(last.after),
            round.round,
            signed(last.demonstrations),
            signed(last.gain()),
        ),
        _ => format!("{caution}. This run has no validation reward."),
    }
}

/// Violations of the expected ranges, the first one first.
fn expected_ranges(violations: &[Violation], curves: &[Curve], known: bool) -> Answer {
    let question = "Did the metrics stay in their expected ranges?";
    if !curves.iter().any(|curve| curve.phase == Phase::Improve) {
        let text = "There are no rollouts yet.".into();
        let level = if violations.is_empty() { Level::Unknown } else { Level::Look };
        let sentences = std::iter::once(text).chain(violations.iter().map(left)).collect();
        return answer(question, level, sentences);
    }
    if !known {
        let text = "recipe.toml, which sets the expected ranges, is missing or damaged.".into();
        let sentences = std::iter::once(text).chain(violations.iter().map(left)).collect();
        return answer(question, Level::Unknown, sentences);
    }
    let Some(first) = violations.first() else {
        let text = "KL, length, share of EOS, reward spread and gradient norms stayed in their expected ranges.";
        return answer(question, Level::Well, vec![text.into()]);
    };
    let numbers = violations.iter().all(|violation| violation.value.is_finite());
    let level = if numbers { Level::Look } else { Level::Badly };
    let mut sentences = vec![format!("First violation: {}", left(first))];
    sentences.extend(
        violations[1..].iter().map(|violation| format!("Next violation: {}", left(violation))),
    );
    answer(question, level, sentences)
}

fn left(violation: &Violation) -> String {
    let bound = match (violation.band.low, violation.band.high) {
        (Some(low), _) if violation.value < low => format!("below {}", number(low)),
        (_, Some(high)) => format!("above {}", number(high)),
        (low, None) => format!("not at {} or above", number(low.unwrap_or(f64::NAN))),
    };
    let phase = match violation.phase {
        Phase::FitValidationReward => "validation reward fit".to_owned(),
        Phase::Sft => "sft".to_owned(),
        phase => format!("round {} {phase}", violation.at.round),
    };
    let mean = match violation.of {
        of if of > 1 && violation.value.is_finite() => format!(" as the mean of the last {of}"),
        _ => String::new(),
    };
    format!(
        "{} in {phase}, step {}: {}{mean}, {bound} ({}).",
        named(&violation.name),
        violation.at.step,
        number(violation.value),
        violation.band.source
    )
}

/// Display name of a metric, then its name in `metrics.jsonl`.
fn named(metric: &str) -> String {
    match label(metric) {
        (_, name, _) if name == metric => name.into(),
        (_, name, _) => format!("{name} ({metric})"),
    }
}

/// What happened to the rounds.
fn rounds(run: &RunFiles, curves: &[Curve]) -> Answer {
    let question = "Were the rounds kept?";
    let kept = run.rounds.iter().filter(|round| round.accepted).count();
    let level = match (kept, run.rounds.len()) {
        (_, 0) => Level::Unknown,
        (0, _) => Level::Badly,
        (kept, all) if kept == all => Level::Well,
        _ => Level::Look,
    };
    let mut sentences = vec![match run.rounds.len() {
        0 => not_evaluated(run),
        all => format!("{kept} of {all}."),
    }];
    sentences.extend(stopped_early(run).map(|why| format!("{why}.")));
    let points = curves.iter().filter(|curve| curve.phase == Phase::Improve);
    let worked = points.flat_map(|curve| &curve.points).map(|point| point.round).max();
    let evaluated = run.rounds.iter().map(|round| round.round).max();
    let worked = worked.max(run.damaged.iter().copied().max());
    let lost = run.finished
        && (worked > evaluated || evaluated.is_some_and(|last| last > run.rounds.len()));
    if lost {
        sentences.push(format!(
            "A report is missing or damaged: round {} was run. These figures may not belong to the policy in this folder.",
            worked.max(evaluated).unwrap_or(0)
        ));
    }
    let level = if lost { Level::Unknown } else { level };
    for round in &run.rounds {
        let word = if round.accepted { "kept" } else { "rolled back" };
        let reasons = round.reasons.join("; ");
        let colon = if reasons.is_empty() { "" } else { ": " };
        sentences.push(format!("Round {} was {word}{colon}{reasons}.", round.round));
    }
    answer(question, level, sentences)
}

/// Why there are no figures of a round.
fn not_evaluated(run: &RunFiles) -> String {
    match run.damaged.is_empty() {
        true => "No round has been evaluated.".into(),
        false => "No round’s report can be read.".into(),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::curves::Point;
    use super::super::example::{round, run};
    use super::*;
    use revealed_train::ScoredSamples;

    fn level(run: &RunFiles, question: usize) -> Level {
        verdict(run, &[])[question].level
    }

    #[test]
    fn a_reward_is_beyond_shortcuts_where_its_interval_is() {
        let with = |accuracy: f64, bag: f64, matched: f64| {
            let mut run = run();
            let audit = &mut run.rounds[0].audit;
            (audit.accuracy, audit.bag_accuracy) = (accuracy, bag);
            audit.length_matched_accuracy = Some(matched);
            level(&run, 0)
        };
        // 90 of 100 prompts: Wilson's lower end is 0.826.
        assert_eq!(with(0.9, 0.82, 0.8), Level::Well);
        assert_eq!(with(0.9, 0.83, 0.8), Level::Look);
        assert_eq!(with(0.9, 0.885, 0.8), Level::Badly);
        // A warning of the audit: on length-matched pairs the accuracy is that of chance.
        assert_eq!(with(0.9, 0.82, 0.5), Level::Look);
        assert_eq!(with(f64::NAN, 0.5, 0.8), Level::Unknown);
    }

    #[test]
    fn improvement_needs_the_interval_and_the_validation_reward() {
        let with = |rise: f64, errors: f64, accepted: bool| {
            let mut run = run();
            let scores = run.scores.get_mut(&1).unwrap();
            let sft = scores.sft.rewards.clone();
            scores.after.rewards = sft.iter().map(|reward| reward + rise).collect();
            scores.after.rewards[0] += 0.25;
            let round = &mut run.rounds[0];
            round.accepted = accepted;
            let validation = round.validation_reward.as_mut().unwrap();
            validation.after = validation.before + errors * validation.standard_error;
            level(&run, 1)
        };
        assert_eq!(with(1.0, 1.0, true), Level::Well);
        assert_eq!(with(1.0, -2.5, true), Level::Look);
        assert_eq!(with(0.0, 1.0, true), Level::Look);
        assert_eq!(with(-1.0, 1.0, true), Level::Badly);
        let mut same = run();
        let scores = same.scores.get_mut(&1).unwrap();
        scores.after = ScoredSamples { kl: vec![0.0; 8], ..scores.sft.clone() };
        let answer = &verdict(&same, &[])[1];
        assert_eq!(answer.level, Level::Badly);
        assert!(answer.sentences[0].starts_with("No: "), "{:?}", answer.sentences);
        assert_eq!(with(1.0, 1.0, false), Level::Badly);
    }

    #[test]
    fn without_scores_there_is_no_interval_and_no_yes() {
        let mut run = run();
        run.scores.clear();
        let answer = &verdict(&run, &[])[1];
        assert_eq!(answer.level, Level::Look);
        assert!(answer.sentences[0].contains("no interval"), "{:?}", answer.sentences);
        run.rounds.clear();
        assert_eq!(level(&run, 1), Level::Unknown);
    }

    #[test]
    fn rounds_are_kept_all_some_or_none() {
        let with = |accepted: &[bool]| {
            let mut run = run();
            run.rounds = accepted.iter().map(|kept| round(*kept)).collect();
            level(&run, 3)
        };
        assert_eq!(with(&[true, true]), Level::Well);
        assert_eq!(with(&[true, false]), Level::Look);
        assert_eq!(with(&[false]), Level::Badly);
        assert_eq!(with(&[]), Level::Unknown);
        let lost = RunFiles { rounds: vec![], damaged: vec![1], ..run() };
        let answer = &verdict(&lost, &[])[3];
        assert_eq!(answer.level, Level::Unknown);
        assert_eq!(answer.sentences[0], "No round’s report can be read.");
        assert!(answer.sentences[1].contains("round 1 was run"), "{:?}", answer.sentences);
    }

    #[test]
    fn the_first_violation_is_named_with_its_bound_and_source() {
        let values = [1.0, 9.0, 9.0];
        let point = |(index, value): (usize, &f64)| Point {
            place: index + 1,
            round: 2,
            step: index + 1,
            line: index,
            value: *value,
        };
        let points = values.iter().enumerate().map(point).collect();
        let curve = Curve { phase: Phase::Improve, name: "objective/kl".into(), points };
        let answer = &verdict(&run(), &[curve])[2];
        assert_eq!(answer.level, Level::Look);
        let text = &answer.sentences[0];
        assert!(
            text.contains(
                "(objective/kl) in round 2 improve, step 2: 5.00 as the mean of the last 2, above"
            ),
            "{text}"
        );
    }
}
