//! Models and rows to time on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use revealed::Device;
use revealed::data::Encoder;
use revealed::models::{CausalLm, HfConfig, LoraConfig};
use revealed::train::{Recipe, Row, Task, derive};
use serde_json::{Value, json};

use crate::Args;

/// A model with a tokenizer.
pub struct Setup {
    pub folder: PathBuf,
    pub tokenizer: PathBuf,
    pub base: CausalLm,
    /// Whether completions are as few as can be.
    pub tiny: bool,
}

impl Setup {
    pub fn of_folder(folder: &Path, args: &Args) -> Result<Self> {
        let device = revealed::device(&args.device)?;
        let base = match args.random {
            true => CausalLm::random(HfConfig::read(folder)?, 0, &device)?,
            false => CausalLm::load(folder, &device)?,
        };
        let tokenizer = args.tokenizer.clone().unwrap_or_else(|| folder.into());
        Ok(Self { folder: folder.into(), tokenizer, base, tiny: false })
    }

    /// Twenty words, and a model of one layer.
    pub fn tiny(folder: &Path) -> Result<Self> {
        let vocab: serde_json::Map<String, Value> =
            ["<pad>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
                .iter()
                .enumerate()
                .map(|(id, word)| ((*word).into(), json!(id)))
                .collect();
        let special = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
            "added_tokens": [special(0, "<pad>"), special(1, "<s>"), special(2, "</s>")],
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"},
        });
        let config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>",
            "bos_token": "<s>", "eos_token": "</s>"});
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
        std::fs::write(folder.join("tokenizer_config.json"), config.to_string())?;
        let fields = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 15, "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 64, "initializer_range": 0.3, "tie_word_embeddings": true,
            "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        });
        let Value::Object(fields) = fields else { unreachable!() };
        let base = CausalLm::random(HfConfig::new("config.json", fields), 1, &Device::flex())?;
        base.save(folder)?;
        let rows: String = "abcdefghijkl"
            .chars()
            .map(|c| format!("{{\"prompt\": \"{c}\", \"completion\": \" {c} a\"}}\n"))
            .collect();
        std::fs::write(folder.join("rows.jsonl"), rows)?;
        Ok(Self { folder: folder.into(), tokenizer: folder.into(), base, tiny: true })
    }

    /// The model that is trained: with fresh adapters, or itself.
    pub fn policy(&self, args: &Args) -> Result<CausalLm> {
        Ok(match args.lora {
            0 => self.base.clone(),
            r => self.base.clone().with_lora(&lora(r), 0)?,
        })
    }

    pub fn recipe(&self, args: &Args) -> Recipe {
        let mut recipe = Recipe::default();
        recipe.model.path = self.folder.display().to_string();
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

    /// The demonstrations of `round`.
    pub fn demonstrations(&self, args: &Args) -> Result<PathBuf> {
        match &args.data {
            None if self.tiny => Ok(self.folder.join("rows.jsonl")),
            None => anyhow::bail!("--data: name a file of demonstrations"),
            Some(path) => Ok(path.clone()),
        }
    }

    /// A task of `count` training rows of random tokens.
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
        let vocab = self.base.shape().vocab_size as u64;
        let token = |row: usize, column: usize, part: &str| {
            (3 + derive(row as u64, column, &format!("{purpose} {part}"), 0) % (vocab - 3)) as u32
        };
        (0..count)
            .map(|row| {
                let length = match args.ragged {
                    true => 1 + token(row, 0, "length") as usize % args.completion,
                    false => args.completion,
                };
                let prompt = (0..args.prompt).map(|c| token(row / args.group, c, "prompt"));
                let completion = (0..length).map(|c| token(row, c, "completion"));
                let input_ids: Vec<u32> = prompt.chain(completion).collect();
                Row { input_ids, completion_start: args.prompt, terminated: true }
            })
            .collect()
    }
}

pub fn lora(r: usize) -> LoraConfig {
    LoraConfig { r, lora_alpha: 2.0 * r as f64, ..LoraConfig::default() }
}
