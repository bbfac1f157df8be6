//! `[….optimizer]`: settings of AdamW and its learning-rate schedule.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Learning-rate schedule after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Constant.
    Constant,
    /// Linear decay to 0.
    Linear,
    /// Decay to 0 along half a cosine.
    Cosine,
}

/// AdamW with a schedule.
///
/// | field | default | range |
/// |---|---|---|
/// | `lr` | by section | > 0, ≤ 1 |
/// | `schedule` | linear | constant, linear, cosine |
/// | `warmup_ratio` | 0 | [0, 1), share of the steps |
/// | `adam_epsilon` | 1e-8 | > 0 |
/// | `weight_decay` | 0 | ≥ 0, decoupled |
/// | `max_grad_norm` | 1 | > 0, over all trained parameters together |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Schedule after warm-up.
    pub schedule: Schedule,
    /// Share of steps in which the learning rate rises linearly from 0.
    pub warmup_ratio: f64,
    /// ε of AdamW.
    pub adam_epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Maximum global norm of the gradient; larger gradients are scaled down.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            schedule: Schedule::Linear,
            warmup_ratio: 0.0,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// Enforces the table; `key` names the section in messages.
    ///
    /// # Errors
    /// When a field is out of range.
    pub fn check(&self, key: &'static str) -> Result<(), TrainError> {
        let wrong = |found: String, expected| {
            Err(TrainError::Recipe { key, found, expected: Cow::Borrowed(expected) })
        };
        if !(self.lr > 0.0 && self.lr <= 1.0) {
            return wrong(format!("lr {}", self.lr), "lr in (0, 1]");
        }
        if !(0.0..1.0).contains(&self.warmup_ratio) {
            return wrong(format!("warmup_ratio {}", self.warmup_ratio), "warmup_ratio in [0, 1)");
        }
        // AdamW computes in f32, where a smaller ε would be 0 and a gradient of 0 give 0 / 0.
        let epsilon = self.adam_epsilon as f32 > 0.0 && self.adam_epsilon.is_finite();
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        if !(epsilon && decay && self.max_grad_norm > 0.0) {
            return wrong(
                format!(
                    "adam_epsilon {}, weight_decay {}, max_grad_norm {}",
                    self.adam_epsilon, self.weight_decay, self.max_grad_norm
                ),
                "adam_epsilon > 0, weight_decay ≥ 0, max_grad_norm > 0",
            );
        }
        Ok(())
    }
}

pub(super) fn with_lr(lr: f64) -> OptimizerConfig {
    OptimizerConfig { lr, ..OptimizerConfig::default() }
}
