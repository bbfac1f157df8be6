//! `[model]` and `[data]`: inputs of a run.

use std::path::PathBuf;

use burn::tensor::FloatDType;
use revealed_data::{EncodeOptions, LongCompletion, LongPrompt, TemplateChoice, TooLong};
use revealed_models::{LoraConfig, WeightStorage};
use serde::{Deserialize, Serialize};

use super::choices::Tuning;
use super::section::section;

section! {
    /// `[model]`
    ModelSection {
        /// Hugging Face model folder, or hub id
        path: String = String::new(),
        /// "lora" (adapters on one shared base) or "full"
        tuning: Tuning = Tuning::Lora,
        /// Mixed precision: matrix products of linear layers and of the head in bfloat16; weights and everything else in float32
        bf16: bool = false,
        /// Dtype of the base's matrices in memory: "f32", or "bf16" for half the memory (tuning = "lora" only; an f32 or f16 checkpoint is rounded)
        weights: WeightStorage = WeightStorage::F32,
        /// Rank, scale and target modules of the adapters
        lora: LoraConfig = LoraConfig::default(),
    }
}

section! {
    /// `[data]`
    DataSection {
        /// Demonstrations: a .jsonl, .json, .parquet or .csv file, a folder or pattern of them, or hf://datasets/OWNER/NAME?split=SPLIT
        demonstrations: PathBuf = PathBuf::new(),
        /// File of additional prompts without completions, for policy improvement; "" for none
        prompts: Option<PathBuf> = None,
        /// Number of demonstrations held out for the gates, chosen by prompt
        held_out: usize = 64,
        /// File of held-out demonstrations, instead of holding some out; "" for none
        held_out_file: Option<PathBuf> = None,
        /// Maximum number of training demonstrations, the first of the file; 0 for all
        max_demonstrations: usize = 0,
        /// "auto" (the tokenizer's chat template, if it has one), "none", or a template file
        template: TemplateChoice = TemplateChoice::Auto,
        /// Longest prompt, in tokens
        max_prompt_tokens: usize = 512,
        /// Longest completion of demonstrations and samples, in tokens, EOS included
        max_completion_tokens: usize = 256,
        /// A longer prompt is "drop" or "truncate-left"
        long_prompts: LongPrompt = LongPrompt::Drop,
        /// A longer completion is "drop" or "truncate"; a truncated one has no EOS
        long_completions: LongCompletion = LongCompletion::Drop,
        /// Current time for templates that show the date, in seconds since 1970; 0 for the time of the first start of the run
        now: u64 = 0,
    }
}

impl ModelSection {
    /// Dtype of matrix products, for [`CausalLm::with_compute_dtype`](revealed_models::CausalLm::with_compute_dtype).
    pub fn compute_dtype(&self) -> FloatDType {
        if self.bf16 { FloatDType::BF16 } else { FloatDType::F32 }
    }
}

impl DataSection {
    /// Options of the encoder from text to tokens.
    pub fn encode_options(&self) -> EncodeOptions {
        EncodeOptions {
            template: self.template.clone(),
            max_prompt_tokens: self.max_prompt_tokens,
            max_completion_tokens: self.max_completion_tokens,
            too_long: TooLong { prompts: self.long_prompts, completions: self.long_completions },
            now: (self.now > 0).then_some(self.now),
        }
    }
}
