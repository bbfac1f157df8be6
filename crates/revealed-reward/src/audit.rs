//! The shortcut audit: accuracy of a reward on held-out demonstrations, compared with probes that read only
//! the length or only the bag of tokens.
//!
//! A pair is a demonstration and a sample of the same prompt. For every score or probe `f`,
//!
//! `accuracy(f) = mean_pairs[ 1{f(demo) > f(sample)} + ½·1{f(demo) = f(sample)} ]`,
//!
//! The main figure is [`beyond_shortcuts`](Audit::beyond_shortcuts): the reward's accuracy minus that of the better
//! probe. Probes are fitted to the reward's training pairs and evaluated on held-out pairs.
//!
//! Source: length explains much of the accuracy of learned rewards
//! (<https://arxiv.org/abs/2310.03716>).

mod figures;
mod logistic;
mod probes;
mod warnings;

use serde::{Deserialize, Serialize};

pub use figures::repetition;
pub use probes::{BagProbe, LengthProbe};

use crate::calibration::finite;
use crate::error::RewardError;
use figures::{accuracy, auc, ece, within_prompts};

/// A scored completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// Token ids of the completion, with EOS if there is one.
    pub tokens: &'a [u32],
    /// Whether it ends with EOS.
    pub terminated: bool,
    /// Score by the audited reward.
    pub score: f64,
}

/// One prompt: its demonstration and samples; a prompt without samples is ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// The demonstration, scored.
    pub demonstration: Scored<'a>,
    /// Completions sampled from the policy, scored.
    pub samples: Vec<Scored<'a>>,
}

/// The audit's figures, all on held-out prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Prompts with a sample.
    pub prompts: usize,
    /// Pairs of a demonstration and a sample of its prompt.
    pub pairs: usize,
    /// Share of pairs whose demonstration scores higher; ties count half.
    pub accuracy: f64,
    /// Probability that a demonstration scores above a sample of any prompt; ties count half. Below `accuracy` if the
    /// reward has an offset per prompt.
    pub auc: f64,
    /// Expected calibration error of `σ(|raw difference|)` as the confidence in a pair's order, in [0, 1].
    pub ece: f64,
    /// Accuracy of a logistic regression on length alone.
    pub length_accuracy: f64,
    /// Accuracy of a logistic regression on token counts, order ignored.
    pub bag_accuracy: f64,
    /// Prompts with a length-matched pair.
    pub length_matched_prompts: usize,
    /// Length-matched pairs: lengths differ by at most a tenth of the longer, or by one token.
    pub length_matched_pairs: usize,
    /// Accuracy of the reward on length-matched pairs; `None` without such pairs.
    pub length_matched_accuracy: Option<f64>,
    /// Pairs that the bag of tokens orders wrongly or ties.
    pub bag_hard_pairs: usize,
    /// Accuracy of the reward on pairs that the bag of tokens orders wrongly; `None` without such pairs.
    pub bag_hard_accuracy: Option<f64>,
    /// Correlation of score and length over samples, both centred per prompt; `None` if either is constant within every
    /// prompt. The same applies to the next three.
    pub length_correlation: Option<f64>,
    /// Correlation of score and ending with EOS.
    pub terminated_correlation: Option<f64>,
    /// Correlation of score and [`repetition`].
    pub repetition_correlation: Option<f64>,
    /// Correlation of score and the share of tokens that are format marks.
    pub marks_correlation: Option<f64>,
}

/// Audits scores on `held_out` prompts, with probes fitted to `train` prompts, whose scores are ignored.
///
/// `logit_scale` turns differences of the given scores into logits; only [`Audit::ece`] reads it: 1 for
/// raw scores, [`Calibration::scale`](crate::Calibration::scale) for calibrated ones. `marks` returns whether a token is one of the
/// format marks (headings, bullets, emphasis).
///
/// # Errors
/// Without pairs on either side, with a held-out score that is not finite (named by the index of its prompt, or of
/// its place among all samples), or with a `logit_scale` that is not finite and above 0.
pub fn audit(
    train: &[Group<'_>],
    held_out: &[Group<'_>],
    logit_scale: f64,
    marks: &dyn Fn(u32) -> bool,
) -> Result<Audit, RewardError> {
    if !(logit_scale.is_finite() && logit_scale > 0.0) {
        return Err(RewardError::LogitScale { value: logit_scale });
    }
    let (demonstrations, samples) = scores(held_out)?;
    let fitted = pairs(train, "training pairs")?;
    let pairs = pairs(held_out, "held-out pairs")?;
    let [by_length, by_bag] = probe_margins(&fitted, &pairs);
    let margins: Vec<f64> = pairs.iter().map(|(d, s)| d.score - s.score).collect();
    let matched: Vec<f64> = chosen(&margins, pairs.iter().map(length_matched));
    let hard: Vec<f64> = chosen(&margins, by_bag.iter().map(|logit| *logit <= 0.0));
    let logits: Vec<f64> = margins.iter().map(|margin| margin * logit_scale).collect();

    let some = |margins: &[f64]| (!margins.is_empty()).then(|| accuracy(margins));
    let correlation = |feature: &dyn Fn(&Scored<'_>) -> f64| {
        within_prompts(
            held_out.iter().map(|g| g.samples.iter().map(|s| (feature(s), s.score)).collect()),
        )
    };
    Ok(Audit {
        prompts: demonstrations.len(),
        pairs: pairs.len(),
        accuracy: accuracy(&margins),
        auc: auc(&demonstrations, &samples),
        ece: ece(&logits),
        length_accuracy: accuracy(&by_length),
        bag_accuracy: accuracy(&by_bag),
        length_matched_prompts: held_out
            .iter()
            .filter(|g| g.samples.iter().any(|s| length_matched(&(&g.demonstration, s))))
            .count(),
        length_matched_pairs: matched.len(),
        length_matched_accuracy: some(&matched),
        bag_hard_pairs: hard.len(),
        bag_hard_accuracy: some(&hard),
        length_correlation: correlation(&|scored| scored.tokens.len() as f64),
        terminated_correlation: correlation(&|scored| f64::from(u8::from(scored.terminated))),
        repetition_correlation: correlation(&|scored| repetition(scored.tokens)),
        marks_correlation: correlation(&|scored| share(scored.tokens, marks)),
    })
}

/// Finite scores of demonstrations that have samples, and of the samples.
fn scores(groups: &[Group<'_>]) -> Result<(Vec<f64>, Vec<f64>), RewardError> {
    let demonstration = |group: &Group<'_>| group.demonstration.score;
    let all: Vec<f64> = groups.iter().map(demonstration).collect();
    let samples: Vec<f64> = groups.iter().flat_map(|g| &g.samples).map(|s| s.score).collect();
    finite("held-out demonstration", &all)?;
    finite("held-out sample", &samples)?;
    let sampled = groups.iter().filter(|group| !group.samples.is_empty());
    Ok((sampled.map(demonstration).collect(), samples))
}

/// A demonstration and a sample of its prompt.
type Pair<'a> = (&'a Scored<'a>, &'a Scored<'a>);

fn pairs<'a>(groups: &'a [Group<'a>], needed: &'static str) -> Result<Vec<Pair<'a>>, RewardError> {
    let pairs: Vec<Pair<'_>> = groups
        .iter()
        .flat_map(|group| group.samples.iter().map(|sample| (&group.demonstration, sample)))
        .collect();
    if pairs.is_empty() {
        return Err(RewardError::TooFew { needed, found: 0 });
    }
    Ok(pairs)
}

/// Logits of `pairs` by the length probe and by the bag probe, both fitted to `train`.
fn probe_margins(train: &[Pair<'_>], pairs: &[Pair<'_>]) -> [Vec<f64>; 2] {
    let lengths: Vec<_> = train.iter().map(|(d, s)| (d.tokens.len(), s.tokens.len())).collect();
    let length = LengthProbe::fit(&lengths);
    let bag = BagProbe::fit(&train.iter().map(|(d, s)| (d.tokens, s.tokens)).collect::<Vec<_>>());
    let by_length = |(d, s): &Pair<'_>| length.logit(d.tokens.len()) - length.logit(s.tokens.len());
    let by_bag = |(d, s): &Pair<'_>| bag.logit(d.tokens) - bag.logit(s.tokens);
    [pairs.iter().map(by_length).collect(), pairs.iter().map(by_bag).collect()]
}

fn length_matched((demonstration, sample): &Pair<'_>) -> bool {
    let (a, b) = (demonstration.tokens.len(), sample.tokens.len());
    let difference = a.abs_diff(b);
    difference <= 1 || 10 * difference <= a.max(b)
}

fn chosen(margins: &[f64], keep: impl Iterator<Item = bool>) -> Vec<f64> {
    margins.iter().zip(keep).filter(|(_, keep)| *keep).map(|(margin, _)| *margin).collect()
}

/// Share of tokens that are marks; 0 without tokens.
fn share(tokens: &[u32], marks: &dyn Fn(u32) -> bool) -> f64 {
    tokens.iter().filter(|id| marks(**id)).count() as f64 / tokens.len().max(1) as f64
}

#[cfg(test)]
mod tests;
