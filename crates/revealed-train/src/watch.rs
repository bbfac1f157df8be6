//! Quantities with healthy bands: which left its own first, and what is put up with before a stage ends.
//!
//! | quantity | healthy band | beyond this the stage ends |
//! |---|---|---|
//! | loss and gradient of a step | finite | `health.max_skipped_steps` such steps were skipped before |
//! | `grad_norm` | up to 10 times the median of the stage's last 32 | above `health.max_unclipped_norm`, as if it were not finite |
//! | `objective/kl` of a rollout | up to `gate.max_kl` | `health.max_kl` |
//! | `completions/mean_length` of a rollout | within `gate.max_length_factor` of the round's first | `health.max_length_factor` |
//! | `completions/terminated` of a rollout | down to `gate.max_terminated_drop` below the round's first | never: the gate decides |
//! | `frac_reward_zero_std` of a rollout, where a prompt has several samples | up to ½ | never |
//!
//! A rollout's means are noisy, so it is the mean of the last three that has to leave a band. That does nothing but be remembered: it
//! is the first word of a diagnosis.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::At;
use crate::recipe::Recipe;
use crate::rollout::Rollout;
use crate::run::Run;

/// Gradient norms that a new one is compared with, and how many there must be.
const NORMS: usize = 32;
const ENOUGH_NORMS: usize = 8;
/// Times their median that a norm may be.
const NORM_FACTOR: f64 = 10.0;
/// Of prompts whose samples all score the same: beyond it, most of a rollout teaches nothing.
const MAX_EQUAL: f64 = 0.5;
/// Rollouts whose mean is compared with a band.
const SMOOTH: usize = 3;

/// A quantity outside its band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// Its name in `metrics.jsonl`.
    pub quantity: String,
    /// When.
    pub at: At,
    /// What it was; none where it was no finite number.
    pub value: Option<f64>,
    /// Of how many rollouts, the last ones, that is the mean.
    #[serde(default = "one")]
    pub of: usize,
    /// The end of its band that it passed; none where anything finite is in it.
    pub bound: Option<f64>,
}

fn one() -> usize {
    1
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quantity, at, value, of, bound } = self;
        match (value, bound) {
            (Some(value), Some(bound)) => {
                let side = if value > bound { "above" } else { "below" };
                let mean = match of {
                    1 => String::new(),
                    of => format!(" as the mean of the last {of}"),
                };
                write!(f, "{quantity} at {at}: {value:.3}{mean}, {side} {bound:.3}")
            }
            _ => write!(f, "{quantity} at {at}: not finite"),
        }
    }
}

/// What a stage's optimizer has seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Steps that were skipped.
    skipped: usize,
    /// The last norms.
    norms: Vec<f64>,
    /// What left its band first.
    pub first: Option<Breach>,
    /// Mean length and share of terminated completions of the round's first rollout.
    start: Option<[f64; 2]>,
    /// KL, length, share of terminated completions and of equal groups of the last rollouts.
    last: Vec<[f64; 4]>,
}

impl Watch {
    /// Whether a step is to be done; not where its loss or its gradient's norm is out of bounds, which a note says.
    ///
    /// # Errors
    /// When too many were skipped before it.
    pub fn passes(
        &mut self,
        loss: f64,
        norm: f64,
        at: At,
        run: &mut Run<'_>,
    ) -> Result<bool, TrainError> {
        let health = &run.recipe.health;
        self.see_norm(norm, at);
        let (quantity, what, value) = match (loss.is_finite(), norm <= health.max_unclipped_norm) {
            (true, true) if norm.is_finite() => return Ok(true),
            (false, _) => ("loss", "the loss", loss),
            _ => ("grad_norm", "the gradient's norm", norm),
        };
        let bound = value.is_finite().then_some(health.max_unclipped_norm);
        self.remember(quantity, at, (value, 1), bound);
        if self.skipped >= health.max_skipped_steps {
            let diagnosis = self.diagnosis();
            return Err(TrainError::NonFinite { at, what, value, diagnosis });
        }
        self.skipped += 1;
        run.note(format!(
            "{at}: {what} is {value}; step skipped, {} of {} that are put up with",
            self.skipped, health.max_skipped_steps
        ));
        Ok(false)
    }

    /// What skipped steps and bands have to say about a failure.
    pub fn diagnosis(&self) -> String {
        let skipped = match self.skipped {
            0 => String::new(),
            count => format!("; {count} steps of its stage were skipped before"),
        };
        match &self.first {
            Some(first) => format!("{skipped}. first out of its healthy band was {first}"),
            None => skipped,
        }
    }

    fn see_norm(&mut self, norm: f64, at: At) {
        if self.norms.len() >= ENOUGH_NORMS {
            let mut sorted = self.norms.clone();
            sorted.sort_by(f64::total_cmp);
            let bound = NORM_FACTOR * sorted[sorted.len() / 2];
            if bound > 0.0 && norm > bound {
                self.remember("grad_norm", at, (norm, 1), Some(bound));
            }
        }
        if norm.is_finite() {
            self.norms.push(norm);
            let old = self.norms.len().saturating_sub(NORMS);
            self.norms.drain(..old);
        }
    }

    /// Looks at a rollout; gives what ends policy improvement, if something does.
    pub fn see(&mut self, rollout: &Rollout, at: At, recipe: &Recipe) -> Option<Breach> {
        let rows = rollout.rows.len() as f64;
        let kl = rollout.kl().iter().sum::<f64>() / rows;
        let length = rollout.tokens() as f64 / rows;
        let ended = rollout.rows.iter().filter(|row| row.terminated).count() as f64 / rows;
        let equal = if rollout.group > 1 { rollout.equal_groups() } else { 0.0 };
        let [first_length, first_ended] = *self.start.get_or_insert([length, ended]);
        self.last.push([kl, length, ended, equal]);
        self.last.drain(..self.last.len().saturating_sub(SMOOTH));
        let mean = |which: usize| {
            self.last.iter().map(|figures| figures[which]).sum::<f64>() / self.last.len() as f64
        };
        let means = [mean(0), mean(1), mean(2), mean(3)];
        let (gate, health) = (&recipe.gate, &recipe.health);
        let mut ends = None;
        let bands = [
            ("objective/kl", kl, at_most(gate.max_kl), at_most(health.max_kl)),
            (
                "completions/mean_length",
                length,
                around(first_length, gate.max_length_factor),
                around(first_length, health.max_length_factor),
            ),
            (
                "completions/terminated",
                ended,
                [first_ended - gate.max_terminated_drop, f64::INFINITY],
                at_most(f64::INFINITY),
            ),
            ("frac_reward_zero_std", equal, at_most(MAX_EQUAL), at_most(f64::INFINITY)),
        ];
        for ((quantity, value, healthy, last), mean) in bands.into_iter().zip(means) {
            if let Some(bound) = outside(mean, healthy) {
                self.remember(quantity, at, (mean, self.last.len()), Some(bound));
            }
            if let (Some(bound), None) = (outside(value, last), &ends) {
                ends = Some(breach(quantity, at, (value, 1), Some(bound)));
            }
        }
        ends
    }

    /// `value` comes with how many it is the mean of.
    fn remember(&mut self, quantity: &str, at: At, value: (f64, usize), bound: Option<f64>) {
        self.first.get_or_insert_with(|| breach(quantity, at, value, bound));
    }
}

fn breach(quantity: &str, at: At, (value, of): (f64, usize), bound: Option<f64>) -> Breach {
    let value = value.is_finite().then_some(value);
    Breach { quantity: quantity.into(), at, value, of, bound }
}

fn at_most(high: f64) -> [f64; 2] {
    [f64::NEG_INFINITY, high]
}

fn around(start: f64, factor: f64) -> [f64; 2] {
    [start / factor, start * factor]
}

/// The bound that a value has passed.
fn outside(value: f64, [low, high]: [f64; 2]) -> Option<f64> {
    match value {
        value if value < low => Some(low),
        value if value > high => Some(high),
        _ => None,
    }
}

/// How a policy's steps ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// What left its healthy band first.
    pub first: Option<Breach>,
    /// What ended the steps early.
    pub ended_by: Option<Breach>,
}

impl Course {
    /// Why a policy is not to be kept, where its steps ended early.
    pub fn objection(&self) -> Option<String> {
        let ended_by = self.ended_by.as_ref()?;
        let advice = match ended_by.quantity.as_str() {
            "objective/kl" => "raise policy.kl_coef or lower policy.optimizer.lr",
            _ => {
                "lower policy.optimizer.lr, or see whether the reward pays for length in the audit"
            }
        };
        let first = match &self.first {
            Some(first) if first != ended_by => {
                format!("; first out of its healthy band was {first}")
            }
            _ => String::new(),
        };
        Some(format!("policy improvement was ended by {ended_by}{first}; {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Phase;
    use crate::recipe::Tuning;
    use crate::run::at;
    use crate::support::World;

    fn step(step: usize) -> At {
        at(1, Phase::Improve, step)
    }

    /// A rollout of four completions of one prompt token: their lengths, a KL each, whether they ended.
    fn rollout(length: usize, kl: f64, ended: usize) -> Rollout {
        let row = |index| crate::task::Row {
            input_ids: vec![1; 1 + length],
            completion_start: 1,
            terminated: index < ended,
        };
        let rows: Vec<_> = (0..4).map(row).collect();
        let each = (kl / length as f64) as f32;
        Rollout {
            canonical: rows.clone(),
            rows,
            group: 4,
            scores: vec![0.0, 1.0, 2.0, 3.0],
            token_scores: None,
            old_log_probs: vec![vec![each; length]; 4],
            ref_log_probs: vec![vec![0.0; length]; 4],
        }
    }

    #[test]
    fn so_many_steps_are_skipped_and_the_next_one_ends_the_stage() {
        let mut world = World::new(Tuning::Full, |_| {});
        world.recipe.health.max_skipped_steps = 2;
        let mut watch = Watch::default();
        let mut passes =
            |loss, norm, n| world.run(&mut (), |run| watch.passes(loss, norm, step(n), run));
        assert!(passes(1.0, 1.0, 1).unwrap());
        assert!(!passes(f64::NAN, 1.0, 2).unwrap());
        assert!(passes(1.0, 1.0, 3).unwrap());
        // Finite, but above the bound.
        assert!(!passes(1.0, 2e4, 4).unwrap());
        let error = passes(1.0, f64::INFINITY, 5).unwrap_err().to_string();
        assert!(
            error.starts_with("round 1, improve, step 5: the gradient's norm is inf"),
            "{error}"
        );
        assert!(error.contains("2 steps of its stage were skipped before"), "{error}");
        assert!(
            error.contains("first out of its healthy band was loss at round 1, improve, step 2")
        );
    }

    #[test]
    fn a_gradient_far_above_the_usual_one_is_remembered_and_nothing_else() {
        let world = World::new(Tuning::Full, |_| {});
        let mut watch = Watch::default();
        for n in 1..=ENOUGH_NORMS {
            assert!(world.run(&mut (), |run| watch.passes(1.0, 2.0, step(n), run)).unwrap());
        }
        assert!(world.run(&mut (), |run| watch.passes(1.0, 20.0, step(9), run)).unwrap());
        assert_eq!(watch.first, None);
        assert!(world.run(&mut (), |run| watch.passes(1.0, 20.1, step(10), run)).unwrap());
        let first = watch.first.unwrap();
        assert_eq!((first.quantity.as_str(), first.bound), ("grad_norm", Some(20.0)));
    }

    #[test]
    fn norms_of_nought_make_no_band() {
        let mut watch = Watch::default();
        (0..ENOUGH_NORMS).for_each(|n| watch.see_norm(0.0, step(n)));
        watch.see_norm(1.0, step(9));
        assert_eq!(watch.first, None);
    }

    #[test]
    fn the_first_band_that_was_left_is_told_from_what_ended_the_steps() {
        let mut recipe = Recipe::default();
        (recipe.gate.max_kl, recipe.health.max_kl) = (5.0, 10.0);
        let mut watch = Watch::default();
        let mut see =
            |n, length, kl, ended| watch.see(&rollout(length, kl, ended), step(n), &recipe);
        assert_eq!(see(1, 4, 0.5, 4), None);
        // Twice the length is at the bound, and one rollout beyond it is noise.
        assert_eq!(see(2, 8, 4.0, 4), None);
        assert_eq!(see(3, 12, 6.0, 4), None);
        // Now the mean of 8, 12 and 12 is; the KL's is 5.3 only with the next one.
        assert_eq!(see(4, 12, 4.0, 4), None);
        let ended_by = see(5, 12, 12.0, 4).unwrap();
        let first = watch.first.clone().unwrap();
        assert_eq!((first.quantity.as_str(), first.at.step), ("completions/mean_length", 4));
        assert_eq!((ended_by.quantity.as_str(), ended_by.at.step), ("objective/kl", 5));
        let text = Course { first: Some(first), ended_by: Some(ended_by) }.objection().unwrap();
        let ended = "ended by objective/kl at round 1, improve, step 5: 12.000, above 10.000";
        assert!(text.contains(ended), "{text}");
        let first = "first out of its healthy band was completions/mean_length at round 1, improve, step 4: 10.667 as the mean of the last 3, above 8.000";
        assert!(text.contains(first) && text.contains("policy.kl_coef"), "{text}");
    }

    #[test]
    fn lengths_that_shrink_end_the_steps_too_and_missing_terminators_are_only_remembered() {
        let recipe = Recipe::default();
        let mut watch = Watch::default();
        assert_eq!(watch.see(&rollout(40, 0.0, 4), step(1), &recipe), None);
        assert_eq!(watch.see(&rollout(40, 0.0, 3), step(2), &recipe), None);
        assert_eq!(watch.first.clone().unwrap().quantity, "completions/terminated");
        let ended_by = watch.see(&rollout(4, 0.0, 4), step(3), &recipe).unwrap();
        assert_eq!(ended_by.quantity, "completions/mean_length");
        assert!(ended_by.to_string().contains("4.000, below 10.000"), "{ended_by}");
    }

    #[test]
    fn steps_that_ended_as_planned_are_no_objection() {
        let first = Some(breach("grad_norm", step(3), (9.0, 1), Some(2.0)));
        assert_eq!(Course { first, ended_by: None }.objection(), None);
    }
}
