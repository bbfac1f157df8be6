//! The folder of a run: `recipe.toml`, `metrics.jsonl`, `samples/`, `reports/`, `checkpoints/`,
//! `report.md`, `policy/`, `reward/`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use revealed_data::TextFolder;
use serde_json::json;

use super::card::{Contents, card};
use super::checkpoint::Checkpoints;
use super::report::report_markdown;
use super::text_files::{TextSide, write_text_files};
use crate::error::TrainError;
use crate::observer::{Event, Observer};
use crate::recipe::{Recipe, Tuning};
use crate::record::{At, Metric, ShownSample};
use crate::state::State;
use crate::task::Task;

/// Recipe keys that may change on resume: none of them affects work already done.
const CHANGEABLE: [&str; 5] =
    ["run.memory_limit_gib", "run.out", "run.rounds", "run.save_steps", "run.save_total_limit"];

/// The folder of a run. As an [`Observer`] it writes metrics, samples and the report of every round.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: File,
    failed: Arc<Mutex<Option<TrainError>>>,
}

impl RunFolder {
    /// Creates the folder and writes the resolved recipe.
    ///
    /// # Errors
    /// When the recipe is out of range, the folder already contains a run, or it cannot be written.
    pub fn create(path: &Path, recipe: &Recipe) -> Result<Self, TrainError> {
        recipe.check()?;
        if path.join("recipe.toml").exists() {
            return Err(TrainError::Checkpoint {
                path: path.into(),
                reason: "this folder holds a run already; resume it with --resume, or choose another with run.out".into(),
            });
        }
        fs::create_dir_all(path).map_err(TrainError::io(path))?;
        revealed_models::write_file(
            &path.join("recipe.toml"),
            recipe.to_commented_toml().as_bytes(),
        )?;
        Self::open(path)
    }

    /// Opens the folder of a run to resume it with the same recipe.
    ///
    /// # Errors
    /// When there is no run, or its recipe differs in a key that affects work already done.
    pub fn resume(path: &Path, recipe: &Recipe) -> Result<Self, TrainError> {
        let file = path.join("recipe.toml");
        if !file.is_file() {
            return Err(TrainError::Checkpoint {
                path: path.into(),
                reason: "there is no run here to resume; leave --resume out".into(),
            });
        }
        let keys = Recipe::read(&file, &[])?.differences(recipe);
        let changed: Vec<String> =
            keys.into_iter().filter(|key| !CHANGEABLE.contains(&key.as_str())).collect();
        if !changed.is_empty() {
            return Err(TrainError::RecipeChanged { path: path.into(), keys: changed.join(", ") });
        }
        let folder = Self::open(path)?;
        revealed_models::write_file(&file, recipe.to_commented_toml().as_bytes())?;
        Ok(folder)
    }

    fn open(path: &Path) -> Result<Self, TrainError> {
        let file = path.join("metrics.jsonl");
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .map_err(TrainError::io(&file))?;
        // The lock is held until this value is dropped: two processes would overwrite each other's files.
        if let Err(TryLockError::WouldBlock) = metrics.try_lock() {
            return Err(TrainError::Checkpoint {
                path: path.into(),
                reason: "another process works in this run folder; wait for it, or choose another with run.out".into(),
            });
        }
        Ok(Self { path: path.into(), metrics, failed: Arc::default() })
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checkpoints of the run.
    pub fn checkpoints(&self, recipe: &Recipe) -> Checkpoints {
        Checkpoints::new(&self.path, recipe)
    }

    /// Length of `metrics.jsonl` of a run folder, in bytes.
    ///
    /// # Errors
    /// When the file cannot be synced.
    pub fn metrics_bytes(path: &Path) -> Result<u64, TrainError> {
        let file = path.join("metrics.jsonl");
        let synced = File::open(&file).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        match synced {
            Ok(metadata) => Ok(metadata.len()),
            Err(source) => Err(TrainError::Io { path: file, source }),
        }
    }

    /// Truncates `metrics.jsonl` to the length at a checkpoint, so that no step is in it twice. A shorter file is truncated to
    /// its last complete line. Returns whether it was shorter: then lines of earlier steps are missing.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn rewind(&mut self, bytes: u64) -> Result<bool, TrainError> {
        let file = self.path.join("metrics.jsonl");
        let cut = |metrics: &File| {
            let length = metrics.metadata()?.len();
            let whole = match length < bytes {
                true => fs::read(&file)?.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
                false => bytes as usize,
            };
            metrics.set_len(whole as u64)?;
            Ok(length < bytes)
        };
        cut(&self.metrics).map_err(TrainError::io(&file))
    }

    /// Errors of writing, to check before a state is saved: a checkpoint must not be later than a line that was not written.
    pub fn losses(&self) -> Losses {
        Losses(self.failed.clone())
    }

    /// Writes the results of the run: `policy/` (adapter or full model), `reward/` (a sequence classifier, merged), with LoRA
    /// also `reward-adapter/`, each with its model card and the text files of [`write_text_files`], and `report.md`. The chat
    /// template of the reward ends at EOS, where the score is read.
    ///
    /// # Errors
    /// When a file cannot be written, or a metrics line could not be written before.
    pub fn finish(
        self,
        state: &State,
        recipe: &Recipe,
        task: &Task,
        model_folder: &Path,
    ) -> Result<(), TrainError> {
        self.losses().check()?;
        let base = recipe.model.path.as_str();
        let policy = self.path.join("policy");
        match recipe.model.tuning {
            Tuning::Lora => state.policy.save_adapter(&policy, base)?,
            Tuning::Full => state.policy.save(&policy)?,
        }
        let files = TextFolder::of_model(model_folder);
        write_text_files(&files, &policy, &TextSide::of(&task.encoder))?;
        let describe = |folder: &Path, contents| {
            let text = card(contents, state, recipe, task);
            revealed_models::write_file(&folder.join("README.md"), text.as_bytes())
        };
        describe(&policy, Contents::policy(recipe))?;
        if let Some(reward) = &state.reward {
            let text = serde_json::to_value(task.encoder.recipe()).unwrap_or_default();
            let folder = self.path.join("reward");
            let side = TextSide::of_reward(&task.encoder, task.reward_pad_id());
            reward.save(&folder, task.reward_pad_id(), &text)?;
            write_text_files(&files, &folder, &side)?;
            describe(&folder, Contents::Reward)?;
            if recipe.model.tuning == Tuning::Lora {
                let folder = self.path.join("reward-adapter");
                reward.save_adapter(&folder, base, task.reward_pad_id(), &text)?;
                write_text_files(&files, &folder, &side)?;
                describe(&folder, Contents::RewardAdapter)?;
            }
        }
        let report = report_markdown(state, recipe, task);
        Ok(revealed_models::write_file(&self.path.join("report.md"), report.as_bytes())?)
    }

    fn line(&mut self, at: At, metrics: &[Metric]) {
        let mut line = json!({"round": at.round, "phase": at.phase, "step": at.step});
        for (name, value) in metrics {
            line[*name] = json!(value);
        }
        let written = writeln!(self.metrics, "{line}");
        if let Err(source) = written {
            let path = self.path.join("metrics.jsonl");
            self.keep_error(TrainError::Io { path, source });
        }
    }

    fn keep_error(&self, error: TrainError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn samples(&mut self, round: usize, samples: &[ShownSample]) {
        let lines: String = samples
            .iter()
            .filter_map(|sample| serde_json::to_string(sample).ok())
            .map(|line| line + "\n")
            .collect();
        self.file("samples", &format!("round-{round}.jsonl"), &lines);
    }

    /// Writes a file of a round; a resumed run may write it again.
    fn file(&mut self, folder: &str, name: &str, text: &str) {
        let folder = self.path.join(folder);
        let written = fs::create_dir_all(&folder).map_err(TrainError::io(&folder));
        let write = || revealed_models::write_file(&folder.join(name), text.as_bytes());
        if let Err(error) = written.and_then(|()| Ok(write()?)) {
            self.keep_error(error);
        }
    }
}

/// Errors of writing to a run folder.
#[derive(Debug, Clone)]
pub struct Losses(Arc<Mutex<Option<TrainError>>>);

impl Losses {
    /// # Errors
    /// The first error of writing.
    pub fn check(&self) -> Result<(), TrainError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Observer for RunFolder {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { at, metrics, .. } => self.line(*at, metrics),
            Event::Ended { at, metrics } if !metrics.is_empty() => self.line(*at, metrics),
            Event::Samples { round, samples } => self.samples(*round, samples),
            Event::HeldOut { round, scores } => {
                let text = serde_json::to_string(scores).unwrap_or_default();
                self.file("samples", &format!("scores-{round}.json"), &text);
            }
            Event::Round(report) => {
                let text = serde_json::to_string_pretty(report).unwrap_or_default();
                self.file("reports", &format!("round-{}.json", report.round), &text);
            }
            _ => {}
        }
    }
}
