//! A stage in the middle of its steps, in a checkpoint.

use revealed_models::CausalLm;
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};
use serde::{Deserialize, Serialize};

use super::numbered;
use super::store::Store;
use crate::error::TrainError;
use crate::fitting::Fitting;
use crate::learner::Learner;
use crate::optimizer::Place;
use crate::policy::{Following, Improvement};
use crate::recipe::PolicySection;
use crate::reward_fit::{RewardFit, RewardUpdater};
use crate::sft::{Counters, Imitation};
use crate::steps::Progress;

/// The model in training and its optimizer.
const MODEL: &str = "training";
const OPTIMIZER: &str = "optimizer";
/// The best epoch of SFT.
const BEST: &str = "best";
/// Fitted members of a round's reward.
const FITTED: &str = "fitted";
const CRITIC: &str = "critic";
const CRITIC_OPTIMIZER: &str = "critic-optimizer";
/// Rewards that are updated after every policy step.
const FOLLOWING: &str = "following";
const FOLLOWING_OPTIMIZER: &str = "following-optimizer";

/// Numbers of a [`Progress`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SavedProgress {
    Sft {
        counters: Counters,
        best: Option<f64>,
        optimizer: Place,
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
        optimizer: Place,
        critic: Option<Place>,
        following: Option<SavedFollowing>,
    },
}

impl SavedProgress {
    /// Refuses counts that no run comes to.
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
    optimizer: Place,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedFollowing {
    members: Vec<Calibration>,
    uncertainty_penalty: f64,
    optimizers: Vec<Place>,
    /// Steps of the round's fit, as observers hear of it.
    reported: usize,
}

/// Writes models and optimizers, and gives the numbers.
pub(super) fn write(progress: &Progress, store: &Store<'_>) -> Result<SavedProgress, TrainError> {
    match progress {
        Progress::Sft(imitation) => {
            store.put_policy(MODEL, &imitation.model)?;
            if let Some((_, best)) = &imitation.best {
                store.put_policy(BEST, best)?;
            }
            Ok(SavedProgress::Sft {
                counters: imitation.counters,
                best: imitation.best.as_ref().map(|(loss, _)| *loss),
                optimizer: store.put_updater(OPTIMIZER, &imitation.updater)?,
            })
        }
        Progress::Fit(Fitting { members, current }) => Ok(SavedProgress::Fit {
            members: put_all(FITTED, members, store)?,
            current: current.as_ref().map(|fit| put_fit(fit, store)).transpose()?,
        }),
        Progress::Improve(improvement) => {
            let Improvement { learner, following, per_step, step, .. } = improvement;
            store.put_policy(MODEL, &learner.policy)?;
            let critic = learner.critic.as_ref().map(|(critic, updater)| {
                store.put_scalar(CRITIC, critic)?;
                store.put_updater(CRITIC_OPTIMIZER, updater)
            });
            Ok(SavedProgress::Improve {
                step: *step,
                per_step: *per_step,
                kl_coef: learner.config.kl_coef,
                baseline: learner.baseline,
                optimizer: store.put_updater(OPTIMIZER, &learner.updater)?,
                critic: critic.transpose()?,
                following: following.as_ref().map(|f| put_following(f, store)).transpose()?,
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

fn put_following(following: &Following, store: &Store<'_>) -> Result<SavedFollowing, TrainError> {
    let Following { reward, updaters } = following;
    let put = |(index, updater): (usize, &RewardUpdater)| {
        store.put_updater(&numbered(FOLLOWING_OPTIMIZER, index), &updater.updater)
    };
    Ok(SavedFollowing {
        members: put_all(FOLLOWING, &reward.members, store)?,
        uncertainty_penalty: reward.uncertainty_penalty,
        optimizers: updaters.iter().enumerate().map(put).collect::<Result<_, _>>()?,
        reported: updaters.first().map_or(0, |updater| updater.reported),
    })
}

/// What [`write`] wrote, of a round.
pub(super) fn read(
    saved: SavedProgress,
    round: usize,
    store: &Store<'_>,
    initial: &CausalLm,
) -> Result<Progress, TrainError> {
    let recipe = store.recipe;
    Ok(match saved {
        SavedProgress::Sft { counters, best, optimizer } => {
            let best = match best {
                Some(loss) => Some((loss, store.policy(BEST, initial)?)),
                None => None,
            };
            let model = store.policy(MODEL, initial)?.trainable();
            let updater = store.updater(OPTIMIZER, &recipe.sft.optimizer, optimizer)?;
            Progress::Sft(Imitation { model, updater, best, counters })
        }
        SavedProgress::Fit { members, current } => {
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
            Progress::Fit(Fitting { members, current })
        }
        SavedProgress::Improve {
            step,
            per_step,
            kl_coef,
            baseline,
            optimizer,
            critic,
            following,
        } => {
            let config = PolicySection { kl_coef, ..recipe.policy.clone() };
            let updater = store.updater(OPTIMIZER, &config.optimizer, optimizer)?;
            let critic = match critic {
                Some(place) => Some((
                    store.scalar(CRITIC, initial)?.trainable(),
                    store.updater(CRITIC_OPTIMIZER, &config.optimizer, place)?,
                )),
                None => None,
            };
            let policy = store.policy(MODEL, initial)?.trainable();
            let learner = Learner { config, baseline, policy, updater, critic };
            let following = following.map(|f| read_following(&f, store, initial)).transpose()?;
            Progress::Improve(Improvement { learner, following, per_step, round, step })
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

fn read_following(
    saved: &SavedFollowing,
    store: &Store<'_>,
    initial: &CausalLm,
) -> Result<Following, TrainError> {
    let members = all(FOLLOWING, &saved.members, store, initial)?;
    let config = &store.recipe.reward.optimizer;
    let updater = |(index, place): (usize, &Place)| -> Result<RewardUpdater, TrainError> {
        let updater =
            store.updater(&numbered(FOLLOWING_OPTIMIZER, index), config, place.clone())?;
        Ok(RewardUpdater { updater, reported: saved.reported })
    };
    let updaters = saved.optimizers.iter().enumerate().map(updater).collect::<Result<_, _>>()?;
    let reward = RewardEnsemble { members, uncertainty_penalty: saved.uncertainty_penalty };
    Ok(Following { reward, updaters })
}
