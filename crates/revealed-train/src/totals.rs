//! The numbers that a policy step reports.

use revealed_models::workers::{MicroBatches, padding};

use crate::observer::Metric;
use crate::rollout::Rollout;

/// Numbers of a rollout's optimizer steps.
#[derive(Default)]
pub(crate) struct Totals {
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
    pub(crate) fn add(&mut self, numbers: &[f64], value_loss: f64, grad_norm: f64, lr: f64) {
        self.steps += 1.0;
        self.loss += numbers[0];
        self.approx_kl += numbers[1];
        self.clip_fraction += numbers[2];
        self.largest_log_ratio = self.largest_log_ratio.max(numbers[3]);
        self.value_loss += value_loss;
        self.grad_norm += grad_norm;
        self.lr = lr;
    }

    pub(crate) fn add_pieces(&mut self, pieces: &MicroBatches) {
        self.tokens += pieces.tokens;
        self.padded += pieces.padded;
    }

    /// The rollout's numbers, then those of its steps, of which there are none where every one was skipped.
    pub(crate) fn metrics(&self, rollout: &Rollout) -> Vec<Metric> {
        let mut metrics = of_rollout(rollout);
        if self.steps > 0.0 {
            metrics.extend(self.of_steps());
        }
        metrics
    }

    fn of_steps(&self) -> Vec<Metric> {
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

/// What a rollout says of its policy.
pub(crate) fn of_rollout(rollout: &Rollout) -> Vec<Metric> {
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
