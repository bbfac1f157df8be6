//! Ranges of the values of a recipe.

use std::borrow::Cow;

use revealed_models::WeightStorage;
use revealed_objectives::PairLoss;

use super::choices::{LengthControl, NegativeReweighting, Tuning, ValidationReward};
use super::negatives::NegativeSource;
use super::root::Recipe;
use crate::error::TrainError;
use crate::improve::solvers_without_groups;

/// Upper bounds of counts, so that products of counts and allocations stay within the memory of a machine.
const MAX_COUNT: usize = 1_000_000_000;
const MAX_ROWS: usize = 1_000_000;

impl Recipe {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// At the first value out of range, with its key.
    pub fn check(&self) -> Result<(), TrainError> {
        self.sft.optimizer.check("sft.optimizer")?;
        self.reward.optimizer.check("reward.optimizer")?;
        self.policy.optimizer.check("policy.optimizer")?;
        self.check_weights()?;
        self.check_counts()?;
        self.check_groups()?;
        self.check_numbers()?;
        self.check_gate()?;
        self.check_health()
    }

    fn check_weights(&self) -> Result<(), TrainError> {
        holds(
            self.model.weights == WeightStorage::F32 || self.model.tuning == Tuning::Lora,
            "model.weights",
            "bf16 with model.tuning = \"full\"",
            "f32: full tuning trains every weight; bf16 needs model.tuning = \"lora\"",
        )
    }

    fn check_counts(&self) -> Result<(), TrainError> {
        let (data, reward, policy) = (&self.data, &self.reward, &self.policy);
        for (key, value, least) in [
            ("data.max_prompt_tokens", data.max_prompt_tokens, 1),
            ("data.max_completion_tokens", data.max_completion_tokens, 1),
            ("sft.batch_size", self.sft.batch_size, 1),
            ("reward.steps", reward.steps, 1),
            ("reward.batch_size", reward.batch_size, 1),
            ("reward.pool_window", reward.pool_window, 1),
            ("reward.ensemble_size", reward.ensemble_size, 1),
            ("policy.steps", policy.steps, 1),
            ("policy.num_ppo_epochs", policy.num_ppo_epochs, 1),
            ("policy.mini_batch_size", policy.mini_batch_size, 1),
            ("gate.samples", self.gate.samples, 2),
            ("gate.patience", self.gate.patience, 1),
            ("run.micro_batch_tokens", self.run.micro_batch_tokens, 1),
            ("run.sample_batch_size", self.run.sample_batch_size, 1),
            ("run.save_total_limit", self.run.save_total_limit, 1),
        ] {
            let expected = if least == 1 { "1 or more" } else { "2 or more" };
            holds(value >= least, key, value, expected)?;
            holds(value <= MAX_COUNT, key, value, "a thousand million at most")?;
        }
        let n = &self.negatives;
        for (key, value) in [
            ("sft.epochs", self.sft.epochs),
            ("negatives.initial", n.initial),
            ("negatives.sft", n.sft),
            ("negatives.policy", n.policy),
            ("negatives.other_prompts", n.other_prompts),
            ("negatives.truncated", n.truncated),
            ("gate.samples", self.gate.samples),
            ("policy.samples_per_prompt", policy.samples_per_prompt),
            ("policy.batch_size", policy.batch_size),
        ] {
            holds(value <= MAX_ROWS, key, value, "a million at most")?;
        }
        let out = self.run.out.display().to_string();
        holds(!out.trim().is_empty(), "run.out", out, "a folder for the run")?;
        let now = self.data.now;
        holds(now < 1 << 40, "data.now", now, "seconds since 1970, below 2^40")?;
        // TOML integers are signed: a larger seed could not be written to the run folder.
        let seed = self.run.seed;
        holds(i64::try_from(seed).is_ok(), "run.seed", seed, "below 2^63")
    }

    fn check_groups(&self) -> Result<(), TrainError> {
        let (group, batch) = (self.policy.samples_per_prompt, self.policy.batch_size);
        let min_group = self.policy.solver.solver().min_group();
        let (key, single) = ("policy.samples_per_prompt", single_sample_range());
        holds(group >= min_group, key, group, single)?;
        holds(
            batch > 0 && batch % group == 0,
            "policy.batch_size",
            batch,
            "a multiple of policy.samples_per_prompt",
        )?;
        let n = &self.negatives;
        let all: usize = NegativeSource::ALL.map(|source| n.count(source)).iter().sum();
        holds(all > 0, "negatives", all, "at least one kind of negatives")?;
        let weighted = |source| n.count(source) > 0 && n.weights.weight(source) != 0.0;
        holds(
            NegativeSource::ALL.into_iter().any(weighted),
            "negatives.weights",
            0.0,
            "more than 0 for at least one kind of negatives that is drawn",
        )?;
        holds(
            n.greedy <= 1,
            "negatives.greedy",
            n.greedy,
            "0 or 1: there is one greedy completion of a prompt",
        )
    }

    fn check_numbers(&self) -> Result<(), TrainError> {
        let (key, limit) = ("run.memory_limit_gib", self.run.memory_limit_gib);
        holds(limit >= 0.0, key, limit, "0 or more")?;
        self.check_policy_numbers()?;
        self.check_reward_numbers()?;
        self.check_pairs_of_keys()
    }

    fn check_policy_numbers(&self) -> Result<(), TrainError> {
        let policy = &self.policy;
        all_hold([
            ("policy.temperature", policy.temperature, POSITIVE),
            ("negatives.temperature", self.negatives.temperature, POSITIVE),
            ("policy.kl_coef", policy.kl_coef, NOT_NEGATIVE),
            ("policy.kl_target", policy.kl_target, NOT_NEGATIVE),
            ("policy.kl_horizon", policy.kl_horizon, POSITIVE),
            ("policy.baseline_decay", policy.baseline_decay, BELOW_ONE),
            ("sft.iq_lambda", self.sft.iq_lambda, NOT_NEGATIVE),
            ("sft.iq_gamma", self.sft.iq_gamma, UNIT),
            ("policy.epsilon", policy.epsilon, BETWEEN_ZERO_AND_ONE),
            ("policy.epsilon_high", policy.epsilon_high, POSITIVE),
            ("policy.missing_eos_value", policy.missing_eos_value, ANY),
            ("policy.gamma", policy.gamma, UNIT),
            ("policy.gae_lambda", policy.gae_lambda, UNIT),
            ("policy.value_clip", policy.value_clip, POSITIVE),
            ("policy.value_coef", policy.value_coef, POSITIVE),
        ])
    }

    fn check_reward_numbers(&self) -> Result<(), TrainError> {
        let (reward, weights) = (&self.reward, &self.negatives.weights);
        let loss = reward.objective;
        holds(
            reward.margin == 0.0 || loss.takes_margin(),
            "reward.margin",
            reward.margin,
            "0 with this objective: only pairwise-logistic and hinge have a margin",
        )?;
        holds(
            reward.label_smoothing == 0.0 || loss.takes_smoothing(),
            "reward.label_smoothing",
            reward.label_smoothing,
            "0 with this objective: only pairwise-logistic, bce and least-squares are smoothed",
        )?;
        all_hold([
            ("reward.l2", reward.l2, NOT_NEGATIVE),
            ("reward.center_rewards_coef", reward.center_rewards_coef, NOT_NEGATIVE),
            ("reward.margin", reward.margin, NOT_NEGATIVE),
            ("reward.uncertainty_penalty", reward.uncertainty_penalty, NOT_NEGATIVE),
            ("reward.label_smoothing", reward.label_smoothing, UP_TO_HALF),
            ("negatives.weights.initial", weights.initial, WEIGHT),
            ("negatives.weights.sft", weights.sft, WEIGHT),
            ("negatives.weights.policy", weights.policy, WEIGHT),
            ("negatives.weights.greedy", weights.greedy, WEIGHT),
            ("negatives.weights.other_prompts", weights.other_prompts, WEIGHT),
            ("negatives.weights.truncated", weights.truncated, WEIGHT),
            ("reward.scale_floor", reward.scale_floor, POSITIVE),
        ])
    }

    /// Keys that have no effect, or a harmful one, without another key.
    fn check_pairs_of_keys(&self) -> Result<(), TrainError> {
        let policy = &self.policy;
        let adapts = policy.kl_target > 0.0;
        // A factor of 1 ± a fifth of batch_size / kl_horizon: it has to stay above 0.
        holds(
            !adapts || policy.kl_horizon > policy.batch_size as f64 / 5.0,
            "policy.kl_horizon",
            policy.kl_horizon,
            "more than a fifth of policy.batch_size",
        )?;
        holds(
            !adapts || policy.kl_coef > 0.0,
            "policy.kl_coef",
            policy.kl_coef,
            "more than 0 with a policy.kl_target, which multiplies it",
        )?;
        holds(
            self.reward.length_control == LengthControl::None
                || self.reward.objective != PairLoss::LinearDifference,
            "reward.length_control",
            "expert",
            "\"none\" with linear-difference, whose gradient does not depend on an added expert",
        )?;
        holds(
            self.reward.negative_reweighting == NegativeReweighting::None
                || self.gate.validation_reward == ValidationReward::Independent,
            "reward.negative_reweighting",
            "validation-reward",
            "\"none\" without gate.validation_reward = \"independent\", which gives the weights",
        )
    }

    /// An infinite bound disables its rule; the opposite infinity would reject every round and is refused.
    fn check_gate(&self) -> Result<(), TrainError> {
        let gate = &self.gate;
        let accuracy = gate.min_accuracy;
        holds((0.0..=1.0).contains(&accuracy), "gate.min_accuracy", accuracy, "in [0, 1]")?;
        let matched = gate.min_length_matched_accuracy;
        let key = "gate.min_length_matched_accuracy";
        holds((0.0..=1.0).contains(&matched), key, matched, "in [0, 1]")?;
        let share = gate.min_distinct_share;
        holds((0.0..=1.0).contains(&share), "gate.min_distinct_share", share, "in [0, 1]")?;
        let factor = gate.max_length_factor;
        holds(factor >= 1.0, "gate.max_length_factor", factor, "1 or more")?;
        for (key, value) in [
            ("gate.min_shortcut_margin", gate.min_shortcut_margin),
            ("gate.min_gain", gate.min_gain),
            ("gate.min_validation_gain", gate.min_validation_gain),
        ] {
            holds(value < f64::INFINITY, key, value, "a number, or -inf for no bound")?;
        }
        for (key, value) in [
            ("gate.max_kl", gate.max_kl),
            ("gate.max_likelihood_drop", gate.max_likelihood_drop),
            ("gate.max_terminated_drop", gate.max_terminated_drop),
            ("gate.max_repetition_rise", gate.max_repetition_rise),
        ] {
            holds(value > f64::NEG_INFINITY, key, value, "a number, or inf for no bound")?;
        }
        let (key, most) = ("gate.max_length_correlation", gate.max_length_correlation);
        holds(most >= 0.0, key, most, "0 or more, or inf for no bound")?;
        Ok(())
    }

    fn check_health(&self) -> Result<(), TrainError> {
        let health = &self.health;
        let (key, norm) = ("health.max_unclipped_norm", health.max_unclipped_norm);
        holds(norm > 0.0, key, norm, "more than 0, or inf for no bound")?;
        let kl = health.max_kl;
        holds(kl > 0.0, "health.max_kl", kl, "more than 0, or inf for no bound")?;
        let (key, factor) = ("health.max_length_factor", health.max_length_factor);
        holds(factor >= 1.0, key, factor, "1 or more, or inf for no bound")
    }
}

/// A range of finite numbers, and its text in errors.
type Range = (fn(f64) -> bool, &'static str);

const ANY: Range = (|_| true, "a number");
const POSITIVE: Range = (|x| x > 0.0, "more than 0");
const NOT_NEGATIVE: Range = (|x| x >= 0.0, "0 or more");
const UNIT: Range = (|x| (0.0..=1.0).contains(&x), "in [0, 1]");
const BELOW_ONE: Range = (|x| (0.0..1.0).contains(&x), "in [0, 1)");
const BETWEEN_ZERO_AND_ONE: Range = (|x| x > 0.0 && x < 1.0, "in (0, 1)");
const UP_TO_HALF: Range = (|x| (0.0..=0.5).contains(&x), "in [0, 0.5]");
/// Bounded so that a mean over weights does not overflow.
const WEIGHT: Range = (|x| (0.0..=1e6).contains(&x), "in [0, 1e6]");

fn all_hold<const N: usize>(numbers: [(&'static str, f64, Range); N]) -> Result<(), TrainError> {
    for (key, value, (holds_for, expected)) in numbers {
        holds(value.is_finite() && holds_for(value), key, value, expected)?;
    }
    Ok(())
}

/// The range of `policy.samples_per_prompt`, with the solvers that need no groups.
fn single_sample_range() -> String {
    let names: Vec<&str> = solvers_without_groups().map(|name| name.as_str()).collect();
    format!("2 or more; 1 or more with {}", names.join(" and "))
}

fn holds(
    ok: bool,
    key: &'static str,
    found: impl ToString,
    expected: impl Into<Cow<'static, str>>,
) -> Result<(), TrainError> {
    if ok {
        return Ok(());
    }
    Err(TrainError::Recipe { key, found: found.to_string(), expected: expected.into() })
}
