//! The choices of a recipe, an enum each.

use serde::{Deserialize, Serialize};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// Adapters on one frozen base that all roles share.
    Lora,
    /// Every weight, separately for each role.
    Full,
}

/// What a round's reward starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardStart {
    /// The SFT model with a fresh head, as published.
    Reset,
    /// The last round's reward.
    Warm,
}

/// What the policy is improved against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// The round's own reward.
    None,
    /// The mean of it and the rewards of the rounds kept before, as in fictitious play. Where they disagree, the mean
    /// spreads less than one unit, and the KL weighs as much more.
    Rounds,
}

/// Whose samples' spread within a prompt is one unit of reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleFrom {
    /// Those of the policy before the round: the unit shrinks as it sharpens.
    Policy,
    /// Those of the SFT model, drawn once: one unit for all rounds, and so one trade-off with the KL.
    Sft,
}

/// What the policy is held near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlReference {
    /// The SFT model.
    Sft,
    /// The policy with which the round began, as published.
    Moving,
}

/// Which rounds' pairs the reward is fitted on.
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

/// How the policy is improved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Proximal policy optimization with a critic (<https://arxiv.org/abs/1707.06347>).
    Ppo,
    /// Leave-one-out baseline (<https://arxiv.org/abs/2402.14740>).
    Rloo,
    /// Group-relative advantages (<https://arxiv.org/abs/2402.03300>).
    Grpo,
    /// REINFORCE with a running mean of rewards as baseline (Williams, 1992).
    Reinforce,
}

/// How fit and improvement take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alternation {
    /// Fit the reward, then improve the policy under it frozen.
    RoundWise,
    /// After the fit, every policy step is followed by a reward step on its rollouts.
    StepWise,
}

/// What a completion without terminator scores.
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

/// Over what GRPO's mean goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// First within each completion, then over completions.
    Sequence,
    /// Over all tokens of the mini-batch.
    Token,
}

/// When a run ends before its last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// Once the policy's samples score as high as held-out demonstrations.
    PassedDemonstrations,
    /// Never.
    Never,
}

/// Whether a reward may learn what length alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthControl {
    /// It may.
    None,
    /// A frozen expert that knows only lengths is added to its scores while it is fitted, and dropped after.
    Expert,
}

/// Which pairs of a pool lose weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeReweighting {
    /// None.
    None,
    /// Those whose sample the judge puts above the demonstration: `2 σ(judge(demonstration) − judge(sample))`.
    ValidationReward,
}

/// A second opinion on rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationReward {
    /// None.
    None,
    /// A reward fitted once, on the first round's pairs with fixed negatives, that no policy is improved against.
    Independent,
}

/// Where the KL to the anchor is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlPlacement {
    /// Where the solver's paper has it: in the loss for GRPO, in the reward for the others.
    Solver,
    /// Taken from the reward, without gradient.
    Reward,
    /// Added to the loss as k3.
    Loss,
}

/// What imitation minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SftObjective {
    /// The negative log-likelihood.
    Likelihood,
    /// The same, and the size of the reward that the logits imply (<https://arxiv.org/abs/2409.01369>).
    IqLearn,
}

/// Which epoch of imitation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one with the lowest loss on held-out demonstrations.
    Best,
    /// The last one.
    Last,
}
