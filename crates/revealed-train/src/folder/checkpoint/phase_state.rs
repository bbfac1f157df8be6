//! The state of a phase between its steps, in a checkpoint.

use revealed_models::CausalLm;
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};
use serde::{Deserialize, Serialize};

use super::files::numbered;
use super::store::Store;
use crate::error::TrainError;
use crate::fit::{RewardFit, RewardFitPhase, RewardUpdater};
use crate::improve::{CoTrainedReward, Critic, Learner, PolicyPhase};
use crate::methods::{Counters, SftPhase};
use crate::optim::ScheduleState;
use crate::recipe::PolicySection;
use crate::state::PhaseState;

/// The model in training and its optimizer.
const MODEL: &str = "training";
const OPTIMIZER: &str = "optimizer";
/// The best epoch of SFT.
const BEST: &str = "best";
/// Fitted members of the reward of a round.
const FITTED: &str = "fitted";
const CRITIC: &str = "critic";
const CRITIC_OPTIMIZER: &str = "critic-optimizer";
/// Rewards that are updated after every policy step.
const CO_TRAINED: &str = "co-trained";
const CO_TRAINED_OPTIMIZER: &str = "co-trained-optimizer";

/// Numbers of a [`PhaseState`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SavedPhaseState {
    Sft {
        counters: Counters,
        best: Option<f64>,
        optimizer: ScheduleState,
    },
    Fit {
        members: Vec<Calibration>,
        current: Option<SavedFit>,
    },
    Improve {
        step: usize,
        per_step: usize,
        kl_coef: f64,
        baseline: Option<f64>,
        optimizer: ScheduleState,
        critic: Option<ScheduleState>,
        co_trained: Option<SavedCoTrained>,
    },
}

impl SavedPhaseState {
    /// Refuses counts that no run reaches.
    pub fn sound(&self) -> Result<(), String> {
        let counts = match self {
            Self::Sft { counters, optimizer, .. } => vec![counters.step, optimizer.step()],
            Self::Fit { current, .. } => {
                current.iter().flat_map(|fit| [fit.step, fit.optimizer.step()]).collect()
            }
            Self::Improve { step, per_step, optimizer, .. } if *per_step > 0 => {
                vec![*step, *per_step, optimizer.step()]
            }
            Self::Improve { .. } => return Err("a rollout has no prompts".into()),
        };
        match counts.into_iter().find(|count| *count >= 1 << 32) {
            Some(count) => Err(format!("a count of steps is {count}")),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedFit {
    calibration: Calibration,
    step: usize,
    optimizer: ScheduleState,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedCoTrained {
    members: Vec<Calibration>,
    uncertainty_penalty: f64,
    optimizers: Vec<ScheduleState>,
    /// Number of steps of the phase, as observers see it.
    reported: usize,
}

/// Writes models and optimizers; returns the numbers.
pub(super) fn write(
    phase_state: &PhaseState,
    store: &Store<'_>,
) -> Result<SavedPhaseState, TrainError> {
    match phase_state {
        PhaseState::Sft(sft) => {
            store.put_policy(MODEL, &sft.model)?;
            if let Some((_, best)) = &sft.best {
                store.put_policy(BEST, best)?;
            }
            Ok(SavedPhaseState::Sft {
                counters: sft.counters,
                best: sft.best.as_ref().map(|(loss, _)| *loss),
                optimizer: store.put_updater(OPTIMIZER, &sft.updater)?,
            })
        }
        PhaseState::Fit(RewardFitPhase { members, current }) => Ok(SavedPhaseState::Fit {
            members: put_all(FITTED, members, store)?,
            current: current.as_ref().map(|fit| put_fit(fit, store)).transpose()?,
        }),
        PhaseState::Improve(phase) => {
            let PolicyPhase { learner, co_trained, per_step, step, .. } = phase;
            store.put_policy(MODEL, &learner.policy)?;
            let critic = learner.critic.as_ref().map(|critic| {
                store.put_scalar(CRITIC, &critic.model)?;
                store.put_updater(CRITIC_OPTIMIZER, &critic.updater)
            });
            Ok(SavedPhaseState::Improve {
                step: *step,
                per_step: *per_step,
                kl_coef: learner.config.kl_coef,
                baseline: learner.baseline,
                optimizer: store.put_updater(OPTIMIZER, &learner.updater)?,
                critic: critic.transpose()?,
                co_trained: co_trained.as_ref().map(|c| put_co_trained(c, store)).transpose()?,
            })
        }
    }
}

fn put_all(
    name: &str,
    members: &[RewardModel],
    store: &Store<'_>,
) -> Result<Vec<Calibration>, TrainError> {
    let put = |(index, member): (usize, &RewardModel)| {
        store.put_scalar(&numbered(name, index), &member.model)?;
        Ok(member.calibration)
    };
    members.iter().enumerate().map(put).collect()
}

fn put_fit(fit: &RewardFit, store: &Store<'_>) -> Result<SavedFit, TrainError> {
    store.put_scalar(MODEL, &fit.reward.model)?;
    let optimizer = store.put_updater(OPTIMIZER, &fit.updater.updater)?;
    Ok(SavedFit { calibration: fit.reward.calibration, step: fit.step, optimizer })
}

fn put_co_trained(
    co_trained: &CoTrainedReward,
    store: &Store<'_>,
) -> Result<SavedCoTrained, TrainError> {
    let CoTrainedReward { reward, updaters } = co_trained;
    let put = |(index, updater): (usize, &RewardUpdater)| {
        store.put_updater(&numbered(CO_TRAINED_OPTIMIZER, index), &updater.updater)
    };
    Ok(SavedCoTrained {
        members: put_all(CO_TRAINED, &reward.members, store)?,
        uncertainty_penalty: reward.uncertainty_penalty,
        optimizers: updaters.iter().enumerate().map(put).collect::<Result<_, _>>()?,
        reported: updaters.first().map_or(0, |updater| updater.reported),
    })
}

/// Reads a state of a round that [`write`] wrote.
pub(super) fn read(
    saved: SavedPhaseState,
    round: usize,
    store: &Store<'_>,
    initial: &CausalLm,
) -> Result<PhaseState, TrainError> {
    let recipe = store.recipe;
    Ok(match saved {
        SavedPhaseState::Sft { counters, best, optimizer } => {
            let best = match best {
                Some(loss) => Some((loss, store.policy(BEST, initial)?)),
                None => None,
            };
            let model = store.policy(MODEL, initial)?.trainable();
            let updater = store.updater(OPTIMIZER, &recipe.sft.optimizer, optimizer)?;
            PhaseState::Sft(SftPhase { model, updater, best, counters })
        }
        SavedPhaseState::Fit { members, current } => {
            let members = all(FITTED, &members, store, initial)?;
            let current = match current {
                Some(SavedFit { calibration, step, optimizer }) => {
                    let mut reward = store.reward(MODEL, calibration, initial)?;
                    reward.model = reward.model.trainable();
                    let updater = store.updater(OPTIMIZER, &recipe.reward.optimizer, optimizer)?;
                    let updater = RewardUpdater { updater, reported: recipe.reward.steps };
                    Some(RewardFit { reward, updater, step })
                }
                None => None,
            };
            PhaseState::Fit(RewardFitPhase { members, current })
        }
        SavedPhaseState::Improve {
            step,
            per_step,
            kl_coef,
            baseline,
            optimizer,
            critic,
            co_trained,
        } => {
            let config = PolicySection { kl_coef, ..recipe.policy.clone() };
            let updater = store.updater(OPTIMIZER, &config.optimizer, optimizer)?;
            let critic = match critic {
                Some(state) => Some(Critic {
                    model: store.scalar(CRITIC, initial)?.trainable(),
                    updater: store.updater(CRITIC_OPTIMIZER, &config.optimizer, state)?,
                }),
                None => None,
            };
            let policy = store.policy(MODEL, initial)?.trainable();
            let learner = Learner { config, baseline, policy, updater, critic };
            let co_trained = co_trained.map(|c| read_co_trained(&c, store, initial)).transpose()?;
            PhaseState::Improve(PolicyPhase { learner, co_trained, per_step, round, step })
        }
    })
}

fn all(
    name: &str,
    calibrations: &[Calibration],
    store: &Store<'_>,
    initial: &CausalLm,
) -> Result<Vec<RewardModel>, TrainError> {
    let read = |(index, calibration): (usize, &Calibration)| {
        store.reward(&numbered(name, index), *calibration, initial)
    };
    calibrations.iter().enumerate().map(read).collect()
}

fn read_co_trained(
    saved: &SavedCoTrained,
    store: &Store<'_>,
    initial: &CausalLm,
) -> Result<CoTrainedReward, TrainError> {
    let members = all(CO_TRAINED, &saved.members, store, initial)?;
    let config = &store.recipe.reward.optimizer;
    let updater = |(index, state): (usize, &ScheduleState)| -> Result<RewardUpdater, TrainError> {
        let updater =
            store.updater(&numbered(CO_TRAINED_OPTIMIZER, index), config, state.clone())?;
        Ok(RewardUpdater { updater, reported: saved.reported })
    };
    let updaters = saved.optimizers.iter().enumerate().map(updater).collect::<Result<_, _>>()?;
    let reward = RewardEnsemble { members, uncertainty_penalty: saved.uncertainty_penalty };
    Ok(CoTrainedReward { reward, updaters })
}
