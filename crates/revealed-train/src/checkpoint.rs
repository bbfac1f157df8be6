//! The state on disk: written beside, synced, renamed; the manifest with hashes comes last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use revealed_models::CausalLm;
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::fingerprint::hex;
use crate::gate::RoundReport;
use crate::held_out::HeldOutSamples;
use crate::irl::State;
use crate::observer::Phase;
use crate::pairs::PairPool;
use crate::recipe::Recipe;
use crate::watch::Course;

mod keep;
mod progress;
mod store;

use progress::SavedProgress;
use store::Store;

const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.json";
const REWARD: &str = "reward";
const KEPT_REWARD: &str = "kept-reward";
const JUDGE: &str = "judge";

#[derive(Serialize, Deserialize)]
struct SavedState {
    round: usize,
    phase: Phase,
    /// Where in the phase.
    #[serde(default)]
    progress: Option<SavedProgress>,
    pool: PairPool,
    held: HeldOutSamples,
    reports: Vec<RoundReport>,
    /// Of every reward, by its folder's name.
    calibrations: BTreeMap<String, Calibration>,
    /// Of the reward and the kept reward.
    uncertainty_penalty: [f64; 2],
    data: Option<String>,
    #[serde(default)]
    base: Option<String>,
    candidate: bool,
    #[serde(default)]
    course: Course,
    /// Bytes of `metrics.jsonl` that belong to this state.
    metrics_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    files: Vec<(String, u64, String)>,
}

/// Checkpoints of one run, in `checkpoints/`, numbered.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    recipe: Recipe,
}

/// The newest checkpoint that is as it was written.
#[derive(Debug)]
pub struct Saved {
    /// The run's state.
    pub state: State,
    /// Bytes of `metrics.jsonl` that belong to it.
    pub metrics_bytes: u64,
    /// What was wrong with newer ones, which are set aside.
    pub damaged: Vec<TrainError>,
}

impl Checkpoints {
    /// Those of a run folder.
    pub fn new(run_folder: &Path, recipe: &Recipe) -> Self {
        Self { folder: run_folder.join("checkpoints"), recipe: recipe.clone() }
    }

    /// Writes the state; once it is complete, older checkpoints beyond `run.save_total_limit` are removed, all but the one
    /// after the best round.
    ///
    /// # Errors
    /// When something cannot be written; complete checkpoints stay as they are.
    pub fn save(&self, state: &State, metrics_bytes: u64) -> Result<(), TrainError> {
        fs::create_dir_all(&self.folder).map_err(TrainError::io(&self.folder))?;
        let numbers = self.numbers()?;
        let number = numbers.iter().chain(&self.best()?).max().map_or(1, |last| last + 1);
        let partial = self.folder.join(format!(".{number:06}.partial"));
        self.tidy()?;
        fs::create_dir(&partial).map_err(TrainError::io(&partial))?;
        self.write(state, metrics_bytes, &partial)?;
        let name = self.folder_of(number);
        fs::rename(&partial, &name).map_err(TrainError::io(&name))?;
        sync(&self.folder)?;
        let kept = self.recipe.run.save_total_limit.max(1) - 1;
        self.leave(&numbers[..numbers.len().saturating_sub(kept)], state)
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
            progress: state.progress.as_ref().map(|p| progress::write(p, &store)).transpose()?,
            pool: state.pool.clone(),
            held: state.held.clone(),
            reports: state.reports.clone(),
            calibrations,
            uncertainty_penalty: [&state.reward, &state.kept_reward]
                .map(|reward| reward.as_ref().map_or(0.0, |reward| reward.uncertainty_penalty)),
            data: state.data.clone(),
            base: state.base.clone(),
            candidate: state.candidate.is_some(),
            course: state.course.clone(),
            metrics_bytes,
        };
        write_json(&folder.join(STATE), &saved)?;
        let mut files = Vec::new();
        list(folder, folder, &mut files)?;
        write_json(&folder.join(MANIFEST), &Manifest { files })?;
        sync(folder)
    }

    /// The newest checkpoint that is what its manifest says; `None` where there is none at all. Damaged ones are renamed
    /// to `….damaged`, and left.
    ///
    /// # Errors
    /// The newest one's, where all are damaged.
    pub fn load(&self, initial: &CausalLm) -> Result<Option<Saved>, TrainError> {
        let mut damaged: Vec<(PathBuf, TrainError)> = Vec::new();
        for folder in self.candidates()? {
            match verify(&folder).and_then(|()| self.read(&folder, initial)) {
                Ok((state, metrics_bytes)) => {
                    for (folder, _) in &damaged {
                        let aside = folder.with_extension("damaged");
                        keep::clear(&aside)?;
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
        state.reward = ensemble(REWARD, saved.uncertainty_penalty[0])?;
        state.kept_reward = ensemble(KEPT_REWARD, saved.uncertainty_penalty[1])?;
        state.validation_reward = reward(JUDGE)?;
        if let Some(saved_progress) = saved.progress {
            let round = saved.round;
            state.progress = Some(progress::read(saved_progress, round, &store, initial)?);
        }
        let SavedState { round, phase, pool, held, reports, data, base, course, .. } = saved;
        let state = State { round, phase, pool, held, reports, data, base, course, ..state };
        Ok((state, saved.metrics_bytes))
    }

    /// Numbers of the newest complete checkpoints, rising.
    fn numbers(&self) -> Result<Vec<u32>, TrainError> {
        self.numbered(|name| Some(name))
    }

    fn folder_of(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:06}"))
    }

    /// Rising numbers of the folders whose name is one behind what is to be stripped.
    fn numbered(&self, strip: fn(&str) -> Option<&str>) -> Result<Vec<u32>, TrainError> {
        if !self.folder.is_dir() {
            return Ok(vec![]);
        }
        let entries = fs::read_dir(&self.folder).map_err(TrainError::io(&self.folder))?;
        let number = |name: &str| -> Option<u32> {
            let number = strip(name)?;
            // A sign in front, or fewer digits, is no name of ours.
            let ours = number.len() >= 6 && number.bytes().all(|digit| digit.is_ascii_digit());
            number.parse().ok().filter(|_| ours)
        };
        let mut numbers: Vec<u32> =
            entries.filter_map(|entry| number(entry.ok()?.file_name().to_str()?)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Refuses numbers that no run writes, and that would break one.
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
    saved.progress.as_ref().map_or(Ok(()), SavedProgress::sound)
}

/// Every reward of a state with its folder's name.
fn named_rewards(state: &State) -> Vec<(String, &RewardModel)> {
    let mut all = Vec::new();
    for (name, reward) in [(REWARD, &state.reward), (KEPT_REWARD, &state.kept_reward)] {
        let members = reward.iter().flat_map(|reward| &reward.members).enumerate();
        all.extend(members.map(|(index, member)| (numbered(name, index), member)));
    }
    all.extend(state.validation_reward.iter().map(|judge| (JUDGE.to_owned(), judge)));
    all
}

/// `reward`, `reward-2`, `reward-3`, …
fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

fn list(
    root: &Path,
    folder: &Path,
    files: &mut Vec<(String, u64, String)>,
) -> Result<(), TrainError> {
    let entries = fs::read_dir(folder).map_err(TrainError::io(folder))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let (size, hash) = digest(&path)?;
            files.push((name, size, hash));
        }
    }
    sync(folder)
}

fn digest(path: &Path) -> Result<(u64, String), TrainError> {
    let mut file = fs::File::open(path).map_err(TrainError::io(path))?;
    let mut hasher = Sha256::new();
    let size =
        std::io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(TrainError::io(path))?;
    Ok((size, hex(&hasher.finalize())))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn verify(folder: &Path) -> Result<(), TrainError> {
    let manifest: Manifest = read_json(&folder.join(MANIFEST))?;
    let listed = manifest.files.iter().any(|(name, ..)| name == STATE);
    for (name, size, hash) in manifest.files {
        let path = folder.join(&name);
        if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            let reason =
                format!("it names `{name}`, outside the checkpoint; remove this checkpoint");
            return Err(TrainError::Checkpoint { path: folder.join(MANIFEST), reason });
        }
        let found = digest(&path)?;
        if found != (size, hash) {
            let reason = "it is not the file that was written: its size or hash differs from the manifest; remove this checkpoint, or start a new run folder".into();
            return Err(TrainError::Checkpoint { path, reason });
        }
    }
    if !listed {
        let reason = format!("it does not list {STATE}; remove this checkpoint");
        return Err(TrainError::Checkpoint { path: folder.join(MANIFEST), reason });
    }
    Ok(())
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), TrainError> {
    let text = serde_json::to_string(value)
        .map_err(|error| TrainError::Checkpoint { path: path.into(), reason: error.to_string() })?;
    Ok(revealed_models::write_file(path, text.as_bytes())?)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, TrainError> {
    // A pipe would wait for ever, and a device never end.
    if !fs::metadata(path).map_err(TrainError::io(path))?.is_file() {
        let reason = "it is no file; remove this checkpoint".into();
        return Err(TrainError::Checkpoint { path: path.into(), reason });
    }
    let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
    serde_json::from_str(&text).map_err(|error| TrainError::Checkpoint {
        path: path.into(),
        reason: format!("it does not parse: {error}; remove this checkpoint"),
    })
}

fn sync(folder: &Path) -> Result<(), TrainError> {
    fs::File::open(folder).and_then(|file| file.sync_all()).map_err(TrainError::io(folder))
}
