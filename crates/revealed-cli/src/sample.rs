//! `revealed sample`: completions of prompts as JSON lines.

use std::path::PathBuf;

use anyhow::Result;
use revealed::Device;
use revealed::data::{Prompt, PromptColumns};
use revealed::eval::{RowEncoder, RowError};
use revealed::models::{CausalLm, Decoding, Sample, SamplingConfig};
use revealed::train::derive;
use serde::Serialize;

use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{ModelArgs, report_errors};

/// Prompts a call of the sampler; results appear after each.
const PROMPTS: usize = 128;

/// Arguments of `revealed sample`.
#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts: file, folder, pattern or data set of the hub (see docs/data.md); of demonstrations the prompts are taken
    #[arg(long)]
    prompts: PathBuf,
    /// Take the likeliest token each time
    #[arg(long)]
    greedy: bool,
    /// Completions of each prompt
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Longest completion, in tokens, EOS included
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// Divides the logits
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keep this many likeliest tokens; 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Keep the likeliest tokens that together reach this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Keep tokens at least this likely relative to the likeliest
    #[arg(long, default_value_t = 0.0)]
    min_p: f64,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows decoded together
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
}

/// A completion with its prompt as given: the line reads as a demonstration again, with the tokens
/// that were sampled.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    sample: usize,
    #[serde(flatten)]
    prompt: PromptColumns<'a>,
    completion: String,
    completion_ids: Vec<u32>,
    log_probs: Vec<f32>,
    finished: bool,
}

#[derive(Serialize)]
struct Failed<'a> {
    id: &'a str,
    #[serde(flatten)]
    prompt: PromptColumns<'a>,
    error: String,
}

/// Completes prompts. A prompt that does not fit gets a line with `error`; only if none fits is
/// that a failure.
pub fn sample(args: &SampleArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let mut config = SamplingConfig {
        decoding: if args.greedy { Decoding::Greedy } else { Decoding::Sample },
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        max_new_tokens: args.max_tokens,
        samples_per_prompt: args.samples,
        batch_size: args.batch_size,
        ..SamplingConfig::default()
    };
    config.check()?;
    let prompts = crate::data::prompts(&args.prompts, progress)?;
    let (model, rows) = args.model.load(device)?;
    config.stop_ids = rows.encoder.stop_ids().to_vec();
    config.pad_id = rows.encoder.pad_id();
    let mut output = Output::new();
    let mut failed = 0;
    progress.begin("sampling", prompts.len());
    for (call, chunk) in prompts.chunks(PROMPTS).enumerate() {
        config.seed = derive(args.seed, 0, "sample", call);
        failed += complete(chunk, &model, &rows, &config, &mut output)?;
        let done = prompts.len().min((call + 1) * PROMPTS);
        progress.step(done, prompts.len(), "");
    }
    progress.end("");
    report_errors(failed, prompts.len(), &args.prompts, progress)
}

/// Writes the completions of some prompts, in order; gives how many could not be used.
fn complete(
    prompts: &[(String, Prompt)],
    model: &CausalLm,
    rows: &RowEncoder,
    config: &SamplingConfig,
    output: &mut Output,
) -> Result<usize> {
    let encoded: Vec<Result<Vec<u32>, RowError>> =
        prompts.iter().map(|(_, prompt)| rows.prompt(prompt, config.max_new_tokens)).collect();
    let usable: Vec<Vec<u32>> = encoded.iter().flatten().cloned().collect();
    let mut samples = match usable.is_empty() {
        true => Vec::new(),
        false => revealed::models::sample(model, &usable, config)?,
    }
    .into_iter();
    let mut failed = 0;
    for ((id, prompt), encoded) in prompts.iter().zip(encoded) {
        let prompt_ids = match encoded {
            Ok(ids) => ids,
            Err(error) => {
                failed += 1;
                let error = error.to_string();
                output.line(&Failed { id, prompt: prompt.columns(), error })?;
                continue;
            }
        };
        for sample in samples.by_ref().take(config.samples_per_prompt) {
            output.line(&line(id, (prompt, &prompt_ids), sample, rows))?;
        }
    }
    output.flush()?;
    Ok(failed)
}

fn line<'a>(
    id: &'a str,
    (prompt, prompt_ids): (&'a Prompt, &[u32]),
    sample: Sample,
    rows: &RowEncoder,
) -> Line<'a> {
    let Sample { index, token_ids: completion_ids, log_probs, finished, .. } = sample;
    let completion = rows.encoder.completion_text(prompt_ids, &completion_ids);
    let prompt = prompt.columns();
    Line { id, sample: index, prompt, completion, completion_ids, log_probs, finished }
}
