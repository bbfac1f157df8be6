//! Rows for `sample`, `log-probs` and `score`: encoded one by one, so that a row that does not fit is reported in
//! its place and the others go on.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{
    Completion, DataError, EncodeOptions, Encoded, Encoder, LongCompletion, LongPrompt, Prompt,
    TemplateChoice, TooLong,
};
use revealed::models::{CausalLm, Shape};

use crate::output::chain;
use crate::progress::Progress;
use crate::setup::{adapter_folder, model_folder};

/// A model with its text side.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Model folder or hub id
    #[arg(long)]
    model: String,
    /// PEFT adapter to put on it: a folder or hub id
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// "auto" (the tokenizer's chat template, if it has one), "none", or a template file
    #[arg(long, default_value = "auto")]
    template: TemplateChoice,
}

impl ModelArgs {
    /// A model without adapter, its own template.
    pub fn plain(model: &str) -> Self {
        Self { model: model.into(), adapter: None, template: TemplateChoice::Auto }
    }

    /// As given on a command line where a model is one choice of several.
    pub fn new(model: String, adapter: Option<PathBuf>, template: TemplateChoice) -> Self {
        Self { model, adapter, template }
    }

    /// The model, with its adapter.
    ///
    /// # Errors
    /// When a folder is missing or damaged.
    pub fn load(&self, device: &Device) -> Result<(CausalLm, Rows)> {
        let folder = model_folder(&self.model)?;
        let limit = crate::setup::context(&folder)?.unwrap_or(usize::MAX);
        let options = EncodeOptions {
            template: self.template.clone(),
            max_prompt_tokens: limit,
            max_completion_tokens: limit,
            too_long: TooLong { prompts: LongPrompt::Drop, completions: LongCompletion::Drop },
            now: None,
        };
        let encoder = Encoder::from_folder(&folder, options)?;
        let model = load_model(&folder, self.adapter.as_deref(), device)?;
        let shape = model.shape();
        Ok((model, Rows { encoder, shape }))
    }
}

/// A model folder, with an adapter on it if one is given.
///
/// # Errors
/// When a folder is missing or damaged.
pub fn load_model(folder: &Path, adapter: Option<&Path>, device: &Device) -> Result<CausalLm> {
    let model = CausalLm::load(folder, device)?;
    Ok(match adapter {
        Some(adapter) => model.with_adapter(&adapter_folder(adapter)?)?,
        None => model,
    })
}

/// From texts to token rows that a model can take.
pub struct Rows {
    /// The path from text to tokens.
    pub encoder: Encoder,
    /// The model's sizes.
    pub shape: Shape,
}

impl Rows {
    /// A prompt after which `room` tokens still fit; the reason where it is none.
    pub fn prompt(&self, prompt: &Prompt, room: usize) -> Result<Vec<u32>, String> {
        let ids = self.encoder.prompt(prompt).map_err(|error| self.reason(error))?;
        self.fits(&ids, room)?;
        Ok(ids)
    }

    /// A prompt and its completion; the reason where they do not fit.
    pub fn row(&self, prompt: &Prompt, completion: &Completion) -> Result<Encoded, String> {
        let row = self.encoder.encode(prompt, completion).map_err(|error| self.reason(error))?;
        self.fits(&row.input_ids, 0)?;
        Ok(row)
    }

    /// Whether the model takes these tokens and `room` more; the reason where it does not.
    pub fn fits(&self, ids: &[u32], room: usize) -> Result<(), String> {
        let Shape { context, vocab_size, .. } = self.shape;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            return Err(format!("token {id} is outside the model's vocabulary of {vocab_size}"));
        }
        match ids.len().saturating_add(room) <= context {
            true => Ok(()),
            false if room > 0 => Err(format!(
                "the prompt has {} tokens and {room} more are asked for; the model's context is {context}",
                ids.len()
            )),
            false => {
                Err(format!("the row has {} tokens; the model's context is {context}", ids.len()))
            }
        }
    }

    fn reason(&self, error: DataError) -> String {
        match error {
            // The limits here are the model's own, so "raise the limit" would be no help.
            DataError::PromptTooLong { tokens, limit } if limit == self.shape.context => {
                format!("the prompt has {tokens} tokens; the model's context is {limit}")
            }
            DataError::CompletionTooLong { tokens, limit } if limit == self.shape.context => {
                format!("the completion has {tokens} tokens; the model's context is {limit}")
            }
            other => chain(&other),
        }
    }
}

/// Says how many rows could not be used, and fails when none could.
///
/// # Errors
/// When no row is left.
pub fn report_errors(failed: usize, total: usize, path: &Path, progress: &Progress) -> Result<()> {
    if failed > 0 {
        progress.note(&format!(
            "{failed} of {total} rows of {} could not be used; their lines hold an `error`",
            path.display()
        ));
    }
    if failed == total {
        bail!("no row of {} could be used; the `error` of each line says why", path.display());
    }
    Ok(())
}
