//! A seed's world with its base and SFT models, made once and kept on disk.

use std::path::Path;

use anyhow::Result;
use revealed::Device;
use revealed::data::Encoder;
use revealed::eval::shop_desk::{self, TaskSize};
use revealed::models::CausalLm;
use revealed::train::{Recipe, Run, Task, fit_sft};

use super::Level;
use crate::desk::{settings, train_base, write_world};

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
}

impl Prepared {
    /// Makes or reads it.
    pub fn new(level: Level, seed: u64, out: &Path, device: &Device) -> Result<Self> {
        let name = format!("{level:?}-{seed}").to_lowercase();
        let folder = out.join("worlds").join(name);
        let recipe = settings(&folder, seed);
        let world = shop_desk::task_of_size(seed, level.setting(), &TaskSize::default());
        let base_folder = folder.join("base");
        if !base_folder.join("model.safetensors").is_file() {
            write_world(&world, &folder)?;
            train_base(&world, &recipe, device, &mut ())?;
        }
        let base = CausalLm::load(&base_folder, device)?;
        let encoder = Encoder::from_folder(&base_folder, recipe.data.encode_options())?;
        let task = Task::load(&recipe.data, encoder, seed)?;
        let sft_folder = folder.join("sft");
        if !sft_folder.join("model.safetensors").is_file() {
            let objective = recipe.reward.pair_objective();
            let mut run =
                Run { task: &task, recipe: &recipe, objective: &objective, observer: &mut () };
            fit_sft(base.clone(), &mut run)?.save(&sft_folder)?;
        }
        let sft = CausalLm::load(&sft_folder, device)?;
        Ok(Self { level, recipe, world, task, base, sft })
    }
}
