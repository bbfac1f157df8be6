//! The built-in task as files: its data, its base model, its recipe.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use revealed_data::Encoder;
use revealed_models::{CausalLm, HfConfig};
use revealed_objectives::PairLoss;
use revealed_train::{Observer, OptimizerConfig, Recipe, Run, Schedule, Task, Tuning, fit_sft};
use serde_json::json;

use crate::{LabError, shop_desk};

/// The recipe, fixed in advance. Nothing in it depends on the gold reward.
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

/// Writes demonstrations, prompts and the base model's tokenizer under `out`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_world(world: &shop_desk::Task, out: &Path) -> Result<(), LabError> {
    let folder = out.join("world");
    std::fs::create_dir_all(&folder).map_err(LabError::io(&folder))?;
    let replies = [
        ("demonstrations.jsonl", &world.demonstrations),
        ("held_out.jsonl", &world.held_out),
        ("clerk.jsonl", &world.clerk),
    ];
    for (name, replies) in replies {
        let path = folder.join(name);
        shop_desk::write_jsonl(&path, replies).map_err(LabError::io(&path))?;
    }
    let prompts: String = world
        .prompts
        .iter()
        .enumerate()
        .map(|(index, note)| format!("{}\n", json!({"id": index, "prompt": note.prompt()})))
        .collect();
    write(&folder.join("prompts.jsonl"), &prompts)?;
    let base = out.join("base");
    std::fs::create_dir_all(&base).map_err(LabError::io(&base))?;
    write(&base.join("tokenizer.json"), &shop_desk::tokenizer_json())?;
    write(&base.join("tokenizer_config.json"), &shop_desk::tokenizer_config_json())
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    std::fs::write(path, text).map_err(LabError::io(path))
}

/// Trains a model of 0.1 M parameters from random weights: 600 steps of 64 clerk replies.
///
/// # Errors
/// When a file is missing or wrong, or training fails.
pub fn train_base(
    world: &shop_desk::Task,
    recipe: &Recipe,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<(), LabError> {
    let folder = PathBuf::from(&recipe.model.path);
    let fields = serde_json::from_str(&shop_desk::config_json(64, 2, 4))
        .expect("the configuration of the task is a JSON object");
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
