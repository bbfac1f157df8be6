//! Rows for `sample`, `log-probs` and `score`: encoded one by one, so that a row that does not fit
//! is reported in its place and the others go on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{
    Completion, DataError, Demonstration, EncodeOptions, Encoded, Encoder, LongCompletion,
    LongPrompt, Prompt, TemplateChoice, TextFolder, TooLong,
};
use revealed::models::{CausalLm, ModelDims};

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
    /// "auto" (the chat template of the adapter, else of the model, if there is one), "none", or a
    /// template file
    #[arg(long, default_value = "auto")]
    template: TemplateChoice,
}

impl ModelArgs {
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
        let adapter = self.adapter.as_deref().map(adapter_folder).transpose()?;
        let text = text_folder(&folder, adapter.as_deref());
        let encoder = unlimited_encoder(&text, &folder, &self.template)?;
        let model = load_model(&folder, adapter.as_deref(), device)?;
        let rows = Rows::new(encoder, model.shape());
        Ok((model, rows))
    }
}

/// Where tokenizer, template and stop tokens of a model are read from: the adapter's own come
/// first.
pub fn text_folder(model: &Path, adapter: Option<&Path>) -> TextFolder {
    match adapter {
        Some(adapter) => TextFolder::of_adapter(model, adapter),
        None => TextFolder::of_model(model),
    }
}

/// An encoder without limits but the context of the model in `folder`.
///
/// # Errors
/// As [`Encoder::from_folder`].
pub fn unlimited_encoder(
    text: &TextFolder,
    folder: &Path,
    template: &TemplateChoice,
) -> Result<Encoder> {
    let limit = crate::setup::longest_row(folder)?;
    let options = EncodeOptions {
        template: template.clone(),
        max_prompt_tokens: limit,
        max_completion_tokens: limit,
        too_long: TooLong { prompts: LongPrompt::Drop, completions: LongCompletion::Drop },
        now: None,
    };
    Ok(Encoder::from_text_folder(text, options)?)
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
    pub shape: ModelDims,
    /// Demonstrations whose `completion_ids` are those of another tokenizer.
    foreign: AtomicUsize,
}

impl Rows {
    /// For a model of these sizes.
    pub fn new(encoder: Encoder, shape: ModelDims) -> Self {
        Self { encoder, shape, foreign: AtomicUsize::new(0) }
    }

    /// A demonstration with the tokens that it was sampled as, where it has them and they are its
    /// text; else its text's tokens. The reason where they do not fit.
    pub fn demonstration(&self, row: &Demonstration) -> Result<Encoded, String> {
        let Some(ids) = &row.completion_ids else { return self.row(&row.prompt, &row.completion) };
        let prompt = self.prompt(&row.prompt, 0)?;
        if ids.is_empty() || self.encoder.completion_text(&prompt, ids) != row.completion.text() {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return self.row(&row.prompt, &row.completion);
        }
        let EncodeOptions { max_completion_tokens: limit, too_long, .. } = self.encoder.options();
        let (tokens, limit) = (ids.len(), *limit);
        if tokens > limit && too_long.completions == LongCompletion::Drop {
            return Err(self.reason(DataError::CompletionTooLong { tokens, limit }));
        }
        let (completion_start, ids) = (prompt.len(), &ids[..tokens.min(limit)]);
        let terminated = ids.last().is_some_and(|last| self.encoder.stop_ids().contains(last));
        let input_ids = [&prompt, ids].concat();
        self.fits(&input_ids, 0)?;
        Ok(Encoded { input_ids, completion_start, terminated, truncated: tokens > limit })
    }

    /// Says of how many demonstrations the text was tokenized again, since their `completion_ids`
    /// are not its tokens here.
    pub fn note_foreign_ids(&self, progress: &Progress) {
        let count = self.foreign.swap(0, Ordering::Relaxed);
        if count > 0 {
            progress.note(&format!(
                "{count} rows have completion_ids that do not give their text with this tokenizer; the text is used"
            ));
        }
    }

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
        let ModelDims { context, vocab_size, .. } = self.shape;
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
