//! Checkpoints of a run: written to a temporary folder, synced, then renamed; the manifest with hashes is written last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use revealed_models::CausalLm;
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::fit::PairPool;
use crate::gate::{HeldOutSamples, KeptFigures, best_round};
use crate::recipe::Recipe;
use crate::record::{Phase, RoundReport, TrainingHealth};
use crate::state::State;

mod files;
mod listing;
mod phase_state;
mod store;

use files::{MANIFEST, Manifest, STATE, list, numbered, read_json, sync, verify, write_json};
use phase_state::SavedPhaseState;
use store::Store;

const REWARD: &str = "reward";
const KEPT_REWARD: &str = "kept-reward";
const VALIDATION_REWARD: &str = "validation-reward";

#[derive(Serialize, Deserialize)]
struct SavedState {
    round: usize,
    phase: Phase,
    /// State of the phase between its steps.
    #[serde(default)]
    phase_state: Option<SavedPhaseState>,
    pool: PairPool,
    held: HeldOutSamples,
    /// Figures of the kept policy; none if not measured yet or not finite.
    #[serde(default)]
    kept_figures: Option<KeptFigures>,
    reports: Vec<RoundReport>,
    /// Calibration of every reward, by the name of its folder.
    calibrations: BTreeMap<String, Calibration>,
    /// Uncertainty penalty of the reward; 0 if there is none.
    uncertainty_penalty: f64,
    /// Uncertainty penalty of the kept reward; 0 if there is none.
    kept_uncertainty_penalty: f64,
    data: Option<String>,
    #[serde(default)]
    base: Option<String>,
    candidate: bool,
    #[serde(default)]
    health: TrainingHealth,
    /// Length of `metrics.jsonl` at this state, bytes.
    metrics_bytes: u64,
}

/// Numbered checkpoints of a run, in `checkpoints/`.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    recipe: Recipe,
}

/// The newest undamaged checkpoint.
#[derive(Debug)]
pub struct Saved {
    /// State of the run.
    pub state: State,
    /// Length of `metrics.jsonl` at this state, bytes.
    pub metrics_bytes: u64,
    /// Errors of newer checkpoints, which are renamed.
    pub damaged: Vec<TrainError>,
}

impl Checkpoints {
    /// Checkpoints of a run folder.
    pub fn new(run_folder: &Path, recipe: &Recipe) -> Self {
        Self { folder: run_folder.join("checkpoints"), recipe: recipe.clone() }
    }

    /// Writes the state. Once it is complete, older checkpoints beyond `run.save_total_limit` are removed, except the one after
    /// the best round.
    ///
    /// # Errors
    /// When a file cannot be written; complete checkpoints are not changed then.
    pub fn save(&self, state: &State, metrics_bytes: u64) -> Result<(), TrainError> {
        fs::create_dir_all(&self.folder).map_err(TrainError::io(&self.folder))?;
        let numbers = listing::numbers(&self.folder)?;
        let best = listing::best_numbers(&self.folder)?;
        let number = numbers.iter().chain(&best).max().map_or(1, |last| last + 1);
        let partial = self.folder.join(format!(".{number:06}.partial"));
        listing::remove_partial(&self.folder)?;
        fs::create_dir(&partial).map_err(TrainError::io(&partial))?;
        self.write(state, metrics_bytes, &partial)?;
        let name = listing::folder_of(&self.folder, number);
        fs::rename(&partial, &name).map_err(TrainError::io(&name))?;
        sync(&self.folder)?;
        let kept = self.recipe.run.save_total_limit.max(1) - 1;
        let old = &numbers[..numbers.len().saturating_sub(kept)];
        listing::prune(&self.folder, old, best_round(&state.reports, &self.recipe))
    }

    fn write(&self, state: &State, metrics_bytes: u64, folder: &Path) -> Result<(), TrainError> {
        let store = Store { folder, recipe: &self.recipe };
        store.put_policy("sft", &state.sft)?;
        store.put_policy("policy", &state.policy)?;
        if let Some(candidate) = &state.candidate {
            store.put_policy("candidate", candidate)?;
        }
        let mut calibrations = BTreeMap::new();
        for (name, reward) in named_rewards(state) {
            store.put_scalar(&name, &reward.model)?;
            calibrations.insert(name, reward.calibration);
        }
        let saved = SavedState {
            round: state.round,
            phase: state.phase,
            phase_state: match &state.phase_state {
                Some(paused) => Some(phase_state::write(paused, &store)?),
                None => None,
            },
            pool: state.pool.clone(),
            held: state.held.clone(),
            kept_figures: state.kept_figures.clone().filter(KeptFigures::is_finite),
            reports: state.reports.clone(),
            calibrations,
            uncertainty_penalty: penalty(&state.reward),
            kept_uncertainty_penalty: penalty(&state.kept_reward),
            data: state.data.clone(),
            base: state.base.clone(),
            candidate: state.candidate.is_some(),
            health: state.health.clone(),
            metrics_bytes,
        };
        write_json(&folder.join(STATE), &saved)?;
        let mut files = Vec::new();
        list(folder, folder, &mut files)?;
        write_json(&folder.join(MANIFEST), &Manifest { files })?;
        sync(folder)
    }

    /// The newest checkpoint that matches its manifest; `None` if there is no checkpoint. Damaged ones are renamed to
    /// `….damaged`.
    ///
    /// # Errors
    /// The error of the newest one, if all are damaged.
    pub fn load(&self, initial: &CausalLm) -> Result<Option<Saved>, TrainError> {
        let mut damaged: Vec<(PathBuf, TrainError)> = Vec::new();
        for folder in listing::candidates(&self.folder)? {
            match verify(&folder).and_then(|()| self.read(&folder, initial)) {
                Ok((state, metrics_bytes)) => {
                    for (folder, _) in &damaged {
                        let aside = folder.with_extension("damaged");
                        listing::clear(&aside)?;
                        fs::rename(folder, &aside).map_err(TrainError::io(folder))?;
                    }
                    let damaged = damaged.into_iter().map(|(_, error)| error).collect();
                    return Ok(Some(Saved { state, metrics_bytes, damaged }));
                }
                Err(error) => damaged.push((folder, error)),
            }
        }
        damaged.into_iter().next().map_or(Ok(None), |(_, error)| Err(error))
    }

    fn read(&self, folder: &Path, initial: &CausalLm) -> Result<(State, u64), TrainError> {
        let saved: SavedState = read_json(&folder.join(STATE))?;
        sound(&saved, initial).map_err(|reason| TrainError::Checkpoint {
            path: folder.join(STATE),
            reason: format!("{reason}; it has been edited: remove this checkpoint"),
        })?;
        let store = Store { folder, recipe: &self.recipe };
        let reward = |name: &str| -> Result<Option<RewardModel>, TrainError> {
            let calibration = saved.calibrations.get(name);
            calibration.map(|calibration| store.reward(name, *calibration, initial)).transpose()
        };
        let ensemble = |name: &str, uncertainty_penalty| -> Result<_, TrainError> {
            let mut members = Vec::new();
            while let Some(member) = reward(&numbered(name, members.len()))? {
                members.push(member);
            }
            Ok((!members.is_empty()).then_some(RewardEnsemble { members, uncertainty_penalty }))
        };
        let mut state = State::new(initial.clone(), store.policy("policy", initial)?);
        state.sft = store.policy("sft", initial)?;
        if saved.candidate {
            state.candidate = Some(store.policy("candidate", initial)?);
        }
        state.reward = ensemble(REWARD, saved.uncertainty_penalty)?;
        state.kept_reward = ensemble(KEPT_REWARD, saved.kept_uncertainty_penalty)?;
        state.validation_reward = reward(VALIDATION_REWARD)?;
        if let Some(paused) = saved.phase_state {
            state.phase_state = Some(phase_state::read(paused, saved.round, &store, initial)?);
        }
        let SavedState { round, phase, pool, held, kept_figures, .. } = saved;
        let SavedState { reports, data, base, health, .. } = saved;
        let state = State { round, phase, pool, held, kept_figures, ..state };
        let state = State { reports, data, base, health, ..state };
        Ok((state, saved.metrics_bytes))
    }
}

/// Refuses values that no run writes.
fn sound(saved: &SavedState, initial: &CausalLm) -> Result<(), String> {
    let vocab = initial.shape().vocab_size;
    let held = [&saved.held.initial, &saved.held.sft, &saved.held.policy];
    let rows = held.into_iter().flatten().chain(saved.pool.negatives.iter().map(|n| &n.row));
    for row in rows {
        if row.completion_start > row.input_ids.len() {
            return Err(format!("a completion begins at {}, after its row", row.completion_start));
        }
        if let Some(id) = row.input_ids.iter().find(|id| **id as usize >= vocab) {
            return Err(format!("token {id} is outside the vocabulary of {vocab}"));
        }
    }
    if !(1..1 << 32).contains(&saved.round) {
        return Err(format!("the round is {}", saved.round));
    }
    saved.phase_state.as_ref().map_or(Ok(()), SavedPhaseState::sound)
}

fn penalty(reward: &Option<RewardEnsemble>) -> f64 {
    reward.as_ref().map_or(0.0, |reward| reward.uncertainty_penalty)
}

/// Every reward of a state with the name of its folder.
fn named_rewards(state: &State) -> Vec<(String, &RewardModel)> {
    let mut all = Vec::new();
    for (name, reward) in [(REWARD, &state.reward), (KEPT_REWARD, &state.kept_reward)] {
        let members = reward.iter().flat_map(|reward| &reward.members).enumerate();
        all.extend(members.map(|(index, member)| (numbered(name, index), member)));
    }
    all.extend(state.validation_reward.iter().map(|reward| (VALIDATION_REWARD.to_owned(), reward)));
    all
}
