//! A seed's world with its base and SFT models, made once and kept on disk.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Result;
use revealed::Device;
use revealed::data::Encoder;
use revealed::eval::shop_desk::{self, TaskSize};
use revealed::models::{CausalLm, SamplingConfig, sample};
use revealed::train::{Recipe, Run, Task, fit_sft};

use super::Level;
use super::arms::fingerprint;
use crate::desk::{settings, train_base, write_world};
use crate::gold::Scored;

/// What every arm of a seed starts from.
pub struct Prepared {
    /// The setting.
    pub level: Level,
    /// Where the files are.
    pub recipe: Recipe,
    /// Notes and replies.
    pub world: shop_desk::Task,
    /// The same encoded.
    pub task: Task,
    /// Trained on clerk replies.
    pub base: CausalLm,
    /// Trained on the demonstrations.
    pub sft: CausalLm,
    /// SFT samples of test prompts, drawn once.
    pub ordered: OnceLock<Vec<Scored>>,
}

impl Prepared {
    /// Makes or reads it.
    pub fn new(level: Level, seed: u64, out: &Path, device: &Device) -> Result<Self> {
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
    pub fn with_demonstrations(&self, count: usize) -> Result<Self> {
        let size = TaskSize { demonstrations: count, ..TaskSize::default() };
        let world = shop_desk::task_of_size(self.recipe.run.seed, self.level.setting(), &size);
        let mut recipe = self.recipe.clone();
        let name = format!("demonstrations-{count}");
        recipe.data.demonstrations = recipe.run.out.join("world").join(format!("{name}.jsonl"));
        shop_desk::write_jsonl(&recipe.data.demonstrations, &world.demonstrations)?;
        let task = load(&recipe)?;
        let sft = imitation(&self.base, &task, &recipe, &recipe.run.out.join(name))?;
        let (level, base, ordered) = (self.level, self.base.clone(), OnceLock::new());
        Ok(Self { level, recipe, world, task, base, sft, ordered })
    }

    /// The same seed with completions of the SFT model in the place of demonstrations.
    pub fn with_sft_samples(&self) -> Result<Self> {
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

/// Models on disk that were made under other settings are made again.
fn forget_others(folder: &Path) -> Result<()> {
    let (file, now) = (folder.join("settings"), fingerprint(""));
    if std::fs::read_to_string(&file).is_ok_and(|made| made == now) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(&file, now)?)
}

fn load(recipe: &Recipe) -> Result<Task> {
    let encoder = Encoder::from_folder(recipe.model.path.as_ref(), recipe.data.encode_options())?;
    Ok(Task::load(&recipe.data, encoder, recipe.run.seed)?)
}

/// The SFT model, made once.
fn imitation(base: &CausalLm, task: &Task, recipe: &Recipe, folder: &Path) -> Result<CausalLm> {
    if !folder.join("model.safetensors").is_file() {
        let objective = recipe.reward.pair_objective();
        let mut run = Run { task, recipe, objective: &objective, observer: &mut () };
        fit_sft(base.clone(), &mut run)?.save(folder)?;
    }
    Ok(CausalLm::load(folder, &base.device())?)
}
