//! `[sft]`: supervised fine-tuning.

use serde::{Deserialize, Serialize};

use super::choices::{Keep, SftObjective};
use super::optimizer::{OptimizerConfig, with_lr};
use super::section::section;

section! {
    /// `[sft]`
    SftSection {
        /// "likelihood", or "iq-learn": likelihood plus iq_lambda times the squared implied reward
        objective: SftObjective = SftObjective::Likelihood,
        /// IQ-Learn: weight of the squared reward
        iq_lambda: f64 = 0.01,
        /// IQ-Learn: discount
        iq_gamma: f64 = 1.0,
        /// Passes over the demonstrations; 0 skips SFT
        epochs: usize = 3,
        /// Maximum number of optimizer steps; 0 for no limit
        max_steps: usize = 0,
        /// Rows per optimizer step
        batch_size: usize = 16,
        /// Early stopping: epochs without improvement of the held-out loss before SFT stops
        early_stopping_patience: usize = 1,
        /// Epoch that is kept: the "best" on held-out demonstrations, or the "last"
        keep: Keep = Keep::Best,
        /// AdamW
        optimizer: OptimizerConfig = with_lr(2e-4),
    }
}
