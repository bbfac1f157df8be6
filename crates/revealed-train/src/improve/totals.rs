//! Metrics of a policy step: of the rollout and of its optimizer steps.

use revealed_models::workers::{MicroBatches, padding};

use super::rollout::Rollout;
use crate::record::Metric;

/// Numbers of one optimizer step on a mini-batch.
pub(super) struct MiniBatchNumbers {
    pub loss: f64,
    pub approx_kl: f64,
    pub clip_fraction: f64,
    /// Largest `|log π − log π_old|` of a token, nats.
    pub largest_log_ratio: f64,
    /// 0 without a critic.
    pub value_loss: f64,
    pub grad_norm: f64,
    pub lr: f64,
}

/// Sums over the optimizer steps on a rollout.
#[derive(Default)]
pub(super) struct Totals {
    steps: f64,
    loss: f64,
    value_loss: f64,
    approx_kl: f64,
    clip_fraction: f64,
    grad_norm: f64,
    lr: f64,
    largest_log_ratio: f64,
    tokens: usize,
    padded: usize,
}

impl Totals {
    pub fn add(&mut self, numbers: &MiniBatchNumbers, micro_batches: &MicroBatches) {
        self.steps += 1.0;
        self.loss += numbers.loss;
        self.approx_kl += numbers.approx_kl;
        self.clip_fraction += numbers.clip_fraction;
        self.largest_log_ratio = self.largest_log_ratio.max(numbers.largest_log_ratio);
        self.value_loss += numbers.value_loss;
        self.grad_norm += numbers.grad_norm;
        self.lr = numbers.lr;
        self.tokens += micro_batches.tokens;
        self.padded += micro_batches.padded;
    }

    /// Metrics of the rollout and means over its steps; without the latter if all steps were skipped.
    pub fn metrics(&self, rollout: &Rollout) -> Vec<Metric> {
        let mut metrics = rollout_metrics(rollout);
        if self.steps > 0.0 {
            metrics.extend(self.step_metrics());
        }
        metrics
    }

    fn step_metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![
            ("loss/policy_avg", self.loss / self.steps),
            ("policy/approxkl_avg", self.approx_kl / self.steps),
            ("policy/clipfrac_avg", self.clip_fraction / self.steps),
            ("val/ratio_farthest", self.largest_log_ratio.exp()),
            ("grad_norm", self.grad_norm / self.steps),
            ("learning_rate", self.lr),
            ("padding", padding(self.tokens, self.padded)),
        ];
        if self.value_loss > 0.0 {
            metrics.push(("loss/value_avg", self.value_loss / self.steps));
        }
        metrics
    }
}

/// Metrics of a rollout.
pub(super) fn rollout_metrics(rollout: &Rollout) -> Vec<Metric> {
    let rows = rollout.rows.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows;
    let log_probs: f64 = rollout.old_log_probs.iter().flatten().map(|l| f64::from(*l)).sum();
    let ended = rollout.rows.iter().filter(|row| row.terminated).count() as f64;
    vec![
        ("objective/scores", mean(&rollout.scores)),
        ("objective/kl", mean(&rollout.kl())),
        ("frac_reward_zero_std", rollout.equal_groups()),
        ("objective/entropy", -log_probs / rollout.tokens() as f64),
        ("completions/mean_length", rollout.tokens() as f64 / rows),
        ("completions/terminated", ended / rows),
    ]
}
