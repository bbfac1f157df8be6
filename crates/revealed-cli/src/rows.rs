//! Models with their encoders, and notes on rows that could not be used.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{
    EncodeOptions, Encoder, LongCompletion, LongPrompt, TemplateChoice, TextFolder, TooLong,
};
use revealed::eval::RowEncoder;
use revealed::models::CausalLm;

use crate::progress::Progress;
use crate::setup::{adapter_folder, model_folder};

/// A model with its adapter and chat template.
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
    /// For commands with a model among other options.
    pub fn new(model: String, adapter: Option<PathBuf>, template: TemplateChoice) -> Self {
        Self { model, adapter, template }
    }

    /// The model, with its adapter.
    ///
    /// # Errors
    /// When a folder is missing or damaged.
    pub fn load(&self, device: &Device) -> Result<(CausalLm, RowEncoder)> {
        let folder = model_folder(&self.model)?;
        let adapter = self.adapter.as_deref().map(adapter_folder).transpose()?;
        let text = text_folder(&folder, adapter.as_deref());
        let encoder = unlimited_encoder(&text, &folder, &self.template)?;
        let model = load_model(&folder, adapter.as_deref(), device)?;
        let rows = RowEncoder::new(encoder, model.shape());
        Ok((model, rows))
    }
}

/// The folders of tokenizer, template and stop tokens; those of the adapter come first.
pub fn text_folder(model: &Path, adapter: Option<&Path>) -> TextFolder {
    match adapter {
        Some(adapter) => TextFolder::of_adapter(model, adapter),
        None => TextFolder::of_model(model),
    }
}

/// An encoder whose only limit is the context of the model in `folder`.
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

/// Notes the demonstrations whose text was tokenized in place of their `completion_ids`.
pub fn note_retokenized(rows: &RowEncoder, progress: &Progress) {
    let count = rows.take_retokenized();
    if count > 0 {
        progress.note(&format!(
            "{count} rows have completion_ids that do not give their text with this tokenizer; the text is used"
        ));
    }
}

/// Notes the number of rows that could not be used.
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
        bail!(
            "no row of {} could be used; the `error` of each line has the reason",
            path.display()
        );
    }
    Ok(())
}
