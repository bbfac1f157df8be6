//! The state of a run between phases.

use burn::module::Module;
use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use crate::fit::{PairPool, RewardFitPhase};
use crate::gate::{HeldOutSamples, KeptFigures};
use crate::improve::PolicyPhase;
use crate::methods::SftPhase;
use crate::recipe::{Recipe, ValidationReward};
use crate::record::{Phase, RoundReport, TrainingHealth, stopped_early};

mod check;

/// State carried between phases. Its models have no gradients.
#[derive(Debug, Clone)]
pub struct State {
    /// The current round, from 1.
    pub round: usize,
    /// The next phase, or the one in progress.
    pub phase: Phase,
    /// State of the phase between its steps; none between phases.
    pub phase_state: Option<PhaseState>,
    /// The model at the start of the run.
    pub initial: CausalLm,
    /// The model after SFT.
    pub sft: CausalLm,
    /// The last kept policy.
    pub policy: CausalLm,
    /// The policy of the current round, until it is evaluated.
    pub candidate: Option<CausalLm>,
    /// The reward of the current round. Between rounds: the reward of the last kept round, or of the last round if none was
    /// kept.
    pub reward: Option<RewardEnsemble>,
    /// Violations during the policy steps of the candidate.
    pub health: TrainingHealth,
    /// The reward of the last kept round during the next one, for a rollback.
    pub kept_reward: Option<RewardEnsemble>,
    /// The validation reward, once it is fitted.
    pub validation_reward: Option<RewardModel>,
    /// Negatives of all rounds.
    pub pool: PairPool,
    /// Samples on held-out prompts.
    pub held: HeldOutSamples,
    /// Figures of the kept policy on held-out prompts; none before the first evaluation. Clear it when `policy` or `sft` is
    /// replaced.
    pub kept_figures: Option<KeptFigures>,
    /// Reports of evaluated rounds.
    pub reports: Vec<RoundReport>,
    /// SHA-256 of the data of the run, once it has started.
    pub data: Option<String>,
    /// SHA-256 of the weights of the initial model, once the run has started.
    pub base: Option<String>,
}

/// State of a phase between its steps: weights, optimizer and counters. The order of data and samples follows from seeds.
#[derive(Debug, Clone)]
pub enum PhaseState {
    /// SFT.
    Sft(SftPhase),
    /// The fit of the validation reward or of the rewards of a round.
    Fit(RewardFitPhase),
    /// Policy improvement.
    Improve(PolicyPhase),
}

impl PhaseState {
    fn phase(&self) -> Phase {
        match self {
            Self::Sft(_) => Phase::Sft,
            Self::Fit(_) => Phase::Fit,
            Self::Improve(_) => Phase::Improve,
        }
    }

    /// The last step that is done; 0 between two fits of a round.
    pub(crate) fn step(&self) -> usize {
        match self {
            Self::Sft(sft) => sft.counters.step,
            Self::Fit(fits) => fits.current.as_ref().map_or(0, |fit| fit.step),
            Self::Improve(improvement) => improvement.step,
        }
    }
}

impl State {
    /// A run before its first phase. `policy` is the model to train: with adapters for LoRA, or the full model.
    pub fn new(initial: CausalLm, policy: CausalLm) -> Self {
        let policy = policy.valid();
        Self {
            round: 1,
            phase: Phase::Sft,
            phase_state: None,
            initial: initial.valid(),
            sft: policy.clone(),
            policy,
            candidate: None,
            health: TrainingHealth::default(),
            reward: None,
            kept_reward: None,
            validation_reward: None,
            pool: PairPool::default(),
            held: HeldOutSamples::default(),
            kept_figures: None,
            reports: vec![],
            data: None,
            base: None,
        }
    }

    /// Whether the validation reward is still to be fitted.
    pub(crate) fn needs_validation_reward(&self, recipe: &Recipe) -> bool {
        recipe.gate.validation_reward == ValidationReward::Independent
            && self.validation_reward.is_none()
    }

    /// Whether a round was kept.
    pub(crate) fn has_kept_round(&self) -> bool {
        self.reports.iter().any(|report| report.accepted)
    }

    /// Whether all rounds are done, the stop rule applies, or too many rounds in a row were rejected.
    pub fn is_finished(&self, recipe: &Recipe) -> bool {
        self.phase == Phase::Sample
            && (self.round > recipe.run.rounds || self.stopped_early(recipe).is_some())
    }

    /// Why the run has ended with fewer rounds than `run.rounds`; none if it has not.
    pub fn stopped_early(&self, recipe: &Recipe) -> Option<String> {
        stopped_early(&self.reports, recipe.run.rounds, recipe.gate.patience)
    }
}
