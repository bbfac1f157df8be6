//! The built-in task as files: its world, its base model, its settings.

use std::path::{Path, PathBuf};

use anyhow::Result;
use revealed::Device;
use revealed::data::Encoder;
use revealed::eval::shop_desk;
use revealed::models::{CausalLm, HfConfig};
use revealed::objectives::PairLoss;
use revealed::train::{Observer, OptimizerConfig, Recipe, Run, Schedule, Task, Tuning, fit_sft};
use serde_json::json;

/// The settings, fixed in advance: nothing here or later looks at the gold reward.
pub fn settings(out: &Path, seed: u64) -> Recipe {
    let mut recipe = Recipe::default();
    let world = out.join("world");
    recipe.model.path = out.join("base").display().to_string();
    recipe.model.tuning = Tuning::Full;
    recipe.data.demonstrations = world.join("demonstrations.jsonl");
    recipe.data.held_out_file = Some(world.join("held_out.jsonl"));
    recipe.data.prompts = Some(world.join("prompts.jsonl"));
    recipe.data.max_prompt_tokens = 16;
    recipe.data.max_completion_tokens = 40;
    recipe.sft.epochs = 20;
    recipe.sft.batch_size = 32;
    recipe.sft.optimizer.lr = 1e-3;
    recipe.reward.optimizer.lr = 5e-4;
    recipe.policy.optimizer.lr = 5e-4;
    recipe.run.out = out.into();
    recipe.run.seed = seed;
    recipe.run.micro_batch_tokens = 8192;
    recipe.run.sample_batch_size = 256;
    recipe
}

/// Writes demonstrations, prompts and the base model's tokenizer.
pub fn write_world(world: &shop_desk::Task, out: &Path) -> Result<()> {
    let folder = out.join("world");
    std::fs::create_dir_all(&folder)?;
    shop_desk::write_jsonl(&folder.join("demonstrations.jsonl"), &world.demonstrations)?;
    shop_desk::write_jsonl(&folder.join("held_out.jsonl"), &world.held_out)?;
    shop_desk::write_jsonl(&folder.join("clerk.jsonl"), &world.clerk)?;
    let prompts: String = world
        .prompts
        .iter()
        .enumerate()
        .map(|(index, note)| format!("{}\n", json!({"id": index, "prompt": note.prompt()})))
        .collect();
    std::fs::write(folder.join("prompts.jsonl"), prompts)?;
    let base = out.join("base");
    std::fs::create_dir_all(&base)?;
    std::fs::write(base.join("tokenizer.json"), shop_desk::tokenizer_json())?;
    std::fs::write(base.join("tokenizer_config.json"), shop_desk::tokenizer_config_json())?;
    Ok(())
}

/// A fresh model of 0.1 M parameters, 600 steps of 64 clerk replies.
pub fn train_base(
    world: &shop_desk::Task,
    recipe: &Recipe,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<()> {
    let folder = PathBuf::from(&recipe.model.path);
    let fields = serde_json::from_str(&shop_desk::config_json(64, 2, 4))?;
    let config = HfConfig::new(folder.join("config.json"), fields);
    let model = CausalLm::random(config, recipe.run.seed, device)?;
    let mut pretrain = recipe.clone();
    pretrain.data.demonstrations = folder.with_file_name("world").join("clerk.jsonl");
    pretrain.data.held_out_file = None;
    pretrain.data.held_out = 100;
    pretrain.data.prompts = None;
    pretrain.sft.epochs = world.clerk.len().min(2);
    pretrain.sft.max_steps = 600;
    pretrain.sft.batch_size = 64;
    pretrain.sft.optimizer = OptimizerConfig {
        lr: 4e-3,
        schedule: Schedule::Cosine,
        warmup_ratio: 0.05,
        ..OptimizerConfig::default()
    };
    let encoder = Encoder::from_folder(&folder, pretrain.data.encode_options())?;
    let task = Task::load(&pretrain.data, encoder, recipe.run.seed)?;
    let objective = PairLoss::default();
    let mut run = Run { task: &task, recipe: &pretrain, objective: &objective, observer };
    fit_sft(model, &mut run)?.save(&folder)?;
    Ok(())
}
