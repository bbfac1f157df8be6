//! Data, base model and SFT model of a seed, made once and kept on disk.

use std::path::Path;
use std::sync::OnceLock;

use crate::LabError;
use crate::shop_desk::{self, TaskSize};
use burn::tensor::Device;
use revealed_data::Encoder;
use revealed_models::{CausalLm, SamplingConfig, sample};
use revealed_train::{Recipe, Run, Task, fit_sft};

use super::fingerprint::fingerprint;
use super::outcome::Level;
use crate::base_model::{settings, train_base, write_world};
use crate::gold_table::Scored;

/// Starting point of every arm of a seed.
pub struct Prepared {
    /// The setting.
    pub level: Level,
    /// Recipe of the task, with the paths of its files.
    pub recipe: Recipe,
    /// Notes and replies.
    pub world: shop_desk::Task,
    /// The same, encoded.
    pub task: Task,
    /// Trained on clerk replies.
    pub base: CausalLm,
    /// Trained on the demonstrations.
    pub sft: CausalLm,
    /// SFT samples of test prompts, drawn once.
    pub ordered: OnceLock<Vec<Scored>>,
}

impl Prepared {
    /// Reads it from the folder, or makes it.
    pub fn new(level: Level, seed: u64, out: &Path, device: &Device) -> Result<Self, LabError> {
        let name = format!("{level:?}-{seed}").to_lowercase();
        let folder = out.join("worlds").join(name);
        let recipe = settings(&folder, seed);
        let world = shop_desk::task_of_size(seed, level.setting(), &TaskSize::default());
        forget_others(&folder)?;
        let base_folder = folder.join("base");
        if !base_folder.join("model.safetensors").is_file() {
            write_world(&world, &folder)?;
            train_base(&world, &recipe, device, &mut ())?;
        }
        let base = CausalLm::load(&base_folder, device)?;
        let task = load(&recipe)?;
        let sft = imitation(&base, &task, &recipe, &folder.join("sft"))?;
        let ordered = OnceLock::new();
        Ok(Self { level, recipe, world, task, base, sft, ordered })
    }

    /// The same seed with another number of demonstrations, and an SFT model of these.
    pub fn with_demonstrations(&self, count: usize) -> Result<Self, LabError> {
        let size = TaskSize { demonstrations: count, ..TaskSize::default() };
        let world = shop_desk::task_of_size(self.recipe.run.seed, self.level.setting(), &size);
        let mut recipe = self.recipe.clone();
        let name = format!("demonstrations-{count}");
        recipe.data.demonstrations = recipe.run.out.join("world").join(format!("{name}.jsonl"));
        let path = &recipe.data.demonstrations;
        shop_desk::write_jsonl(path, &world.demonstrations).map_err(LabError::io(path))?;
        let task = load(&recipe)?;
        let sft = imitation(&self.base, &task, &recipe, &recipe.run.out.join(name))?;
        let (level, base, ordered) = (self.level, self.base.clone(), OnceLock::new());
        Ok(Self { level, recipe, world, task, base, sft, ordered })
    }

    /// The same seed with completions of the SFT model instead of demonstrations.
    pub fn with_sft_samples(&self) -> Result<Self, LabError> {
        let mut task = load(&self.recipe)?;
        let prompts: Vec<Vec<u32>> = task.train.iter().map(|row| row.prompt().to_vec()).collect();
        let config = SamplingConfig {
            max_new_tokens: task.max_completion_tokens,
            batch_size: self.recipe.run.sample_batch_size,
            stop_ids: task.encoder.stop_ids().to_vec(),
            pad_id: task.pad_id(),
            seed: self.recipe.run.seed,
            ..SamplingConfig::default()
        };
        task.train = sample(&self.sft, &prompts, &config)?
            .iter()
            .map(|sample| task.canonical(&prompts[sample.prompt], &sample.token_ids))
            .collect();
        let (recipe, world) = (self.recipe.clone(), self.world.clone());
        let (base, sft, ordered) = (self.base.clone(), self.sft.clone(), OnceLock::new());
        Ok(Self { level: self.level, recipe, world, task, base, sft, ordered })
    }
}

/// Deletes models that were made with other settings.
fn forget_others(folder: &Path) -> Result<(), LabError> {
    let (file, now) = (folder.join("settings"), fingerprint(""));
    if std::fs::read_to_string(&file).is_ok_and(|made| made == now) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(LabError::io(folder))?;
    }
    std::fs::create_dir_all(folder).map_err(LabError::io(folder))?;
    std::fs::write(&file, now).map_err(LabError::io(&file))
}

fn load(recipe: &Recipe) -> Result<Task, LabError> {
    let encoder = Encoder::from_folder(recipe.model.path.as_ref(), recipe.data.encode_options())?;
    Ok(Task::load(&recipe.data, encoder, recipe.run.seed)?)
}

/// The SFT model, made once.
fn imitation(
    base: &CausalLm,
    task: &Task,
    recipe: &Recipe,
    folder: &Path,
) -> Result<CausalLm, LabError> {
    if !folder.join("model.safetensors").is_file() {
        let objective = recipe.reward.pair_objective();
        let mut run = Run { task, recipe, objective: &objective, observer: &mut () };
        fit_sft(base.clone(), &mut run)?.save(folder)?;
    }
    Ok(CausalLm::load(folder, &base.device())?)
}
