//! Models and rows to time on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use revealed::data::Encoder;
use revealed::models::{CausalLm, HfConfig, LoraConfig};
use revealed::train::{Recipe, Row, Task, derive};

use crate::Args;
use revealed_train::testing::World;

/// A model with a tokenizer.
pub struct Setup {
    pub folder: PathBuf,
    pub tokenizer: PathBuf,
    pub base: CausalLm,
    /// Whether there are but a few short demonstrations.
    pub tiny: bool,
}

impl Setup {
    pub fn of_folder(folder: &Path, args: &Args) -> Result<Self> {
        let device = revealed::device(&args.device)?;
        let base = match args.random {
            true => CausalLm::random(HfConfig::read(folder)?, 0, &device)?,
            false => CausalLm::load_stored(folder, args.weights, &device)?,
        };
        let tokenizer = args.tokenizer.clone().unwrap_or_else(|| folder.into());
        Ok(Self { folder: folder.into(), tokenizer, base, tiny: false })
    }

    /// The tiny world of the trainer's own tests; its folder has to live on.
    pub fn tiny(world: &World) -> Self {
        let folder: PathBuf = world.folder.path().into();
        let (base, tiny) = (world.base.clone(), true);
        Self { tokenizer: folder.clone(), folder, base, tiny }
    }

    /// The model with the compute dtype and the storage of the arguments.
    pub fn base(&self, args: &Args) -> Result<CausalLm> {
        let dtype = self.recipe(args).model.compute_dtype();
        Ok(self.base.clone().with_compute_dtype(dtype)?.with_weight_storage(args.weights)?)
    }

    /// The model that is trained: with fresh adapters, or itself.
    pub fn policy(&self, args: &Args) -> Result<CausalLm> {
        let base = self.base(args)?;
        Ok(match args.lora {
            0 => base,
            r => base.with_lora(&lora(r), 0)?,
        })
    }

    pub fn recipe(&self, args: &Args) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.model.path = self.folder.display().to_string();
        (recipe.model.bf16, recipe.model.weights) = (args.bf16, args.weights);
        recipe.data.held_out = if self.tiny { 4 } else { 8 };
        (recipe.data.max_prompt_tokens, recipe.data.max_completion_tokens) =
            (args.prompt, args.completion);
        recipe.run.micro_batch_tokens = args.micro_batch_tokens;
        recipe
    }

    pub fn encoder(&self, recipe: &Recipe) -> Result<Encoder> {
        Encoder::from_folder(&self.tokenizer, recipe.data.encode_options())
            .with_context(|| format!("{}", self.tokenizer.display()))
    }

    /// A task of given training rows.
    pub fn task(&self, recipe: &Recipe, rows: Vec<Row>) -> Result<Task> {
        let held_out = rows.iter().take(2).cloned().collect();
        Ok(Task {
            encoder: self.encoder(recipe)?,
            prompts: rows.iter().map(|row| row.prompt().to_vec()).collect(),
            train: rows,
            held_out,
            max_completion_tokens: recipe.data.max_completion_tokens,
            notes: vec![],
        })
    }

    /// Rows of random tokens; `group` adjacent ones share their prompt.
    pub fn rows(&self, count: usize, args: &Args, purpose: &str) -> Vec<Row> {
        let token = |row, column| self.token(row, column, &format!("{purpose} prompt"));
        let prompt = |row: usize| (0..args.prompt).map(move |c| token(row / args.group, c));
        let rows: Vec<Row> = (0..count)
            .map(|row| Row {
                input_ids: prompt(row).collect(),
                completion_start: args.prompt,
                terminated: true,
            })
            .collect();
        self.completions(&rows, args, purpose)
    }

    /// The same prompts with other completions.
    pub fn completions(&self, rows: &[Row], args: &Args, purpose: &str) -> Vec<Row> {
        let with_completion = |(index, row): (usize, &Row)| {
            let length = match args.ragged {
                true => {
                    1 + self.token(index, 0, &format!("{purpose} length")) as usize
                        % args.completion
                }
                false => args.completion,
            };
            let token = |c| self.token(index, c, &format!("{purpose} completion"));
            let input_ids = row.prompt().iter().copied().chain((0..length).map(token)).collect();
            Row { input_ids, ..row.clone() }
        };
        rows.iter().enumerate().map(with_completion).collect()
    }

    fn token(&self, row: usize, column: usize, purpose: &str) -> u32 {
        let vocab = self.base.shape().vocab_size as u64;
        (3 + derive(row as u64, column, purpose, 0) % (vocab - 3)) as u32
    }
}

pub fn lora(r: usize) -> LoraConfig {
    LoraConfig { r, lora_alpha: 2.0 * r as f64, ..LoraConfig::default() }
}
