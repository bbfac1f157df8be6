//! The choices of a recipe, one enum each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which weights are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// LoRA adapters on one frozen base shared by all models.
    Lora,
    /// All weights; each model has its own copy.
    Full,
}

/// Initial weights of a round's reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardStart {
    /// The SFT model with a new head, as published.
    Reset,
    /// The reward of the last round.
    Warm,
}

/// Reward that the policy is improved against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// The reward of the round.
    None,
    /// The mean of it and the rewards of the rounds kept before, as in fictitious play. Where they disagree, the mean
    /// varies by less than one unit, so the KL has more weight.
    Rounds,
}

/// Samples whose standard deviation within a prompt is the unit of the reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleFrom {
    /// Samples of the policy before the round: the unit shrinks as the policy becomes more certain.
    Policy,
    /// Samples of the SFT model, drawn once: one unit, and one trade-off with the KL, for all rounds.
    Sft,
}

/// Reference model of the KL penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlReference {
    /// The SFT model.
    Sft,
    /// The policy at the start of the round, as published.
    Moving,
}

/// Rounds whose pairs the reward is fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// All rounds so far.
    Every,
    /// The last `pool_window` rounds.
    Window,
    /// This round.
    Round,
}

/// Name of the algorithm of policy improvement; one of [`SolverName::all`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SolverName(&'static str);

impl SolverName {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name in recipes.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for SolverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for SolverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Order of reward steps and policy steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alternation {
    /// Fit the reward, then improve the policy against the frozen reward.
    RoundWise,
    /// After the fit, every policy step is followed by a reward step on its rollout.
    StepWise,
}

/// Score of a completion without EOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingEos {
    /// `missing_eos_value` instead of its score, as published (−1).
    Replace,
    /// Its score plus `missing_eos_value`.
    Penalty,
    /// The lowest score of the rollout plus `missing_eos_value`.
    BatchMinimum,
}

/// Normalization of GRPO's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Mean within each completion, then over completions.
    Sequence,
    /// Mean over all tokens of the mini-batch.
    Token,
}

/// Condition to end a run before its last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// When samples of the policy score as high as held-out demonstrations.
    PassedDemonstrations,
    /// Never.
    Never,
}

/// Whether the reward may learn from length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthControl {
    /// No control.
    None,
    /// A frozen model of length alone is added to its scores while it is fitted, and removed afterwards.
    Expert,
}

/// Reweighting of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeReweighting {
    /// None.
    None,
    /// Factor `2 σ(v(demonstration) − v(sample))` by the validation reward `v`: less weight for samples that it scores above
    /// the demonstration.
    ValidationReward,
}

/// Independent reward for the gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationReward {
    /// None.
    None,
    /// Fitted once, on pairs of the first round with fixed negatives, and never optimised against.
    Independent,
}

/// Where the KL penalty is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlPlacement {
    /// The solver's default: the loss for GRPO, the reward for the others.
    Solver,
    /// Subtracted from the reward, without gradient.
    Reward,
    /// Added to the loss, k3 estimator.
    Loss,
}

/// Loss of SFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SftObjective {
    /// The negative log-likelihood.
    Likelihood,
    /// The same plus a penalty on the size of the reward that the logits imply (<https://arxiv.org/abs/2409.01369>).
    IqLearn,
}

/// SFT epoch that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The epoch with the lowest loss on held-out demonstrations.
    Best,
    /// The last epoch.
    Last,
}
