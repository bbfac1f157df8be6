//! `[reward]`: fitting the reward.

use revealed_objectives::{PairLoss, PairObjective};
use serde::{Deserialize, Serialize};

use super::choices::{Average, LengthControl, NegativeReweighting, Pool, RewardStart, ScaleFrom};
use super::optimizer::{OptimizerConfig, with_lr};
use super::section::section;

section! {
    /// `[reward]`
    RewardSection {
        /// "pairwise-logistic", "linear-difference", "bce", "hinge" or "least-squares"
        objective: PairLoss = PairLoss::PairwiseLogistic,
        /// Label smoothing: assumed share of pairs with swapped labels; for pairwise-logistic, bce and least-squares
        label_smoothing: f64 = 0.0,
        /// Margin in raw reward: for pairwise-logistic (default 0) and hinge (0 means 1)
        margin: f64 = 0.0,
        /// Weight of ½(r_demonstration² + r_sample²), which bounds the reward
        l2: f64 = 0.01,
        /// Weight of (r_demonstration + r_sample)², which centers the reward
        center_rewards_coef: f64 = 0.0,
        /// "none", or "expert": a frozen model of length alone is added while fitting, so that the reward does not learn length
        length_control: LengthControl = LengthControl::None,
        /// "none", or "validation-reward": lower weight for pairs whose sample scores above its demonstration by the validation reward
        negative_reweighting: NegativeReweighting = NegativeReweighting::None,
        /// Each round starts from "reset" (the SFT model) or "warm" (the last reward); no difference in docs/evidence.md
        start: RewardStart = RewardStart::Reset,
        /// Pairs of "every" round, of a "window" of rounds, or of this "round"
        pool: Pool = Pool::Every,
        /// Rounds in the window
        pool_window: usize = 2,
        /// Optimizer steps per round
        steps: usize = 100,
        /// Pairs per optimizer step
        batch_size: usize = 32,
        /// Number of independently fitted rewards; their mean is the reward
        ensemble_size: usize = 1,
        /// Penalty per standard deviation between ensemble members, members of averaged rounds included
        uncertainty_penalty: f64 = 0.0,
        /// The policy is improved against the reward of the round ("none"), or against the mean of it and the rewards of all kept "rounds"; no difference in docs/evidence.md
        average: Average = Average::Rounds,
        /// Unit of the reward: the standard deviation within prompts of samples of "policy" or "sft"
        scale_from: ScaleFrom = ScaleFrom::Sft,
        /// Smallest within-prompt standard deviation of raw scores to divide by
        scale_floor: f64 = 0.1,
        /// AdamW
        optimizer: OptimizerConfig = with_lr(1e-4),
    }
}

impl RewardSection {
    /// The loss of a pair, for [`Run`](crate::Run).
    pub fn pair_objective(&self) -> PairObjective {
        let objective = PairObjective::from(self.objective);
        let margin = if self.margin > 0.0 { self.margin } else { objective.margin };
        PairObjective { label_smoothing: self.label_smoothing, margin, ..objective }
    }
}
