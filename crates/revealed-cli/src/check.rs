//! `revealed check`: the data report.

use std::path::PathBuf;

use anyhow::Result;
use revealed::data::{
    Demonstration, Encoder, LongCompletion, LongPrompt, Records, TemplateChoice, read, report,
    split,
};
use revealed::train::{DataSection, session};

use crate::output::Output;
use crate::progress::Progress;
use crate::setup::{model_folder, unread_fields};

/// Arguments of `revealed check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Model folder or hub id; only its tokenizer and config are read
    #[arg(long)]
    model: String,
    /// Data: file, folder, pattern or data set of the hub (see docs/data.md)
    #[arg(long)]
    data: PathBuf,
    /// "auto", "none", or a template file
    #[arg(long, default_value = "auto")]
    template: TemplateChoice,
    /// Longest prompt, in tokens
    #[arg(long, default_value_t = DataSection::default().max_prompt_tokens)]
    max_prompt_tokens: usize,
    /// Longest completion, in tokens with the terminator
    #[arg(long, default_value_t = DataSection::default().max_completion_tokens)]
    max_completion_tokens: usize,
    /// A longer prompt is "drop" or "truncate-left"
    #[arg(long, default_value = "drop", value_parser = choice::<LongPrompt>)]
    long_prompts: LongPrompt,
    /// A longer completion is "drop" or "truncate"
    #[arg(long, default_value = "drop", value_parser = choice::<LongCompletion>)]
    long_completions: LongCompletion,
    /// Demonstrations to hold out
    #[arg(long, default_value_t = DataSection::default().held_out)]
    held_out: usize,
    /// Seed of the split, as `run.seed`
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows to show token by token
    #[arg(long, default_value_t = 1)]
    preview: usize,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what a data file looks like to a model, under the limits and rules that `align` would apply.
pub fn check(args: &CheckArgs, progress: &Progress) -> Result<()> {
    let folder = model_folder(&args.model)?;
    let mut data = DataSection {
        template: args.template.clone(),
        max_prompt_tokens: args.max_prompt_tokens,
        max_completion_tokens: args.max_completion_tokens,
        long_prompts: args.long_prompts,
        long_completions: args.long_completions,
        ..DataSection::default()
    };
    if let Some(note) = session::fit_to_context(&mut data, &folder)? {
        progress.note(&note);
    }
    if let Some(note) = unread_fields(&folder)? {
        progress.note(&note);
    }
    let encoder = Encoder::from_folder(&folder, data.encode_options())?;
    let dataset = read(&args.data)?;
    let mut report = report(&dataset, &encoder, args.preview)?;
    if let Records::Demonstrations(demonstrations) = dataset.records {
        // As a run does: what is dropped is dropped before the split.
        let kept = encodable(demonstrations, &encoder)?;
        report = report.with_split(&split(kept, args.held_out, args.seed));
    }
    let mut output = Output::new();
    match args.json {
        true => output.text(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
        false => output.text(&report.to_string())?,
    }
    output.flush()
}

/// A choice by the name it has in recipes.
///
/// # Errors
/// When there is none of that name; the error lists them.
pub fn choice<T: serde::de::DeserializeOwned>(name: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(name.into())
}

fn encodable(rows: Vec<Demonstration>, encoder: &Encoder) -> Result<Vec<Demonstration>> {
    let kept = encoder.encode_all(&rows)?.rows;
    Ok(kept.into_iter().map(|(index, _)| rows[index].clone()).collect())
}
