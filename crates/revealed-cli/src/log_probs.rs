//! `revealed log-probs`: what a model thinks of given completions, token by token.

use std::path::PathBuf;

use anyhow::{Context, Result};
use revealed::Device;
use revealed::data::{Demonstration, Encoded};
use revealed::models::{CausalLm, Scoring};
use serde::Serialize;

use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{ModelArgs, Rows, report_errors};

/// Rows read between two writes.
const ROWS: usize = 256;

/// Arguments of `revealed log-probs`.
#[derive(Debug, clap::Args)]
pub struct LogProbsArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Demonstrations: file, folder, pattern or data set of the hub (see docs/data.md)
    #[arg(long)]
    data: PathBuf,
    /// Padded tokens in one forward pass: memory and speed, not results; more on a GPU
    #[arg(long, default_value_t = 1024)]
    batch_tokens: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    input_ids: Vec<u32>,
    completion_start: usize,
    /// Of `input_ids[completion_start..]`, in order.
    log_probs: Vec<f32>,
    sum: f64,
}

#[derive(Serialize)]
struct Failed<'a> {
    id: &'a str,
    error: String,
}

/// Prints a line a row. A row that does not fit gets a line with `error`; only if none fits is that
/// a failure.
pub fn log_probs(args: &LogProbsArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let demonstrations = crate::data::demonstrations(&args.data, progress)?;
    let (model, rows) = args.model.load(device)?;
    let mut output = Output::new();
    let (mut failed, mut done) = (0, 0);
    progress.begin("log-probs", demonstrations.len());
    for chunk in demonstrations.chunks(ROWS) {
        failed += score(chunk, &model, &rows, args.batch_tokens, &mut output)?;
        done += chunk.len();
        progress.step(done, demonstrations.len(), "");
    }
    progress.end("");
    rows.note_foreign_ids(progress);
    report_errors(failed, demonstrations.len(), &args.data, progress)
}

/// Writes the log-probs of some rows, in order; gives how many could not be used.
fn score(
    demonstrations: &[Demonstration],
    model: &CausalLm,
    rows: &Rows,
    batch_tokens: usize,
    output: &mut Output,
) -> Result<usize> {
    let encoded: Vec<Result<Encoded, String>> =
        demonstrations.iter().map(|row| rows.demonstration(row)).collect();
    let usable: Vec<&Encoded> = encoded.iter().flatten().collect();
    let mut log_probs =
        of_rows(&usable, model, rows.encoder.pad_id(), batch_tokens, 1.0)?.into_iter();
    let mut failed = 0;
    for (Demonstration { id, .. }, row) in demonstrations.iter().zip(encoded) {
        match row {
            Err(error) => {
                failed += 1;
                output.line(&Failed { id, error })?;
            }
            Ok(Encoded { input_ids, completion_start, .. }) => {
                let log_probs = log_probs.next().context("one result a row")?;
                let sum = log_probs.iter().map(|value| f64::from(*value)).sum();
                output.line(&Line { id, input_ids, completion_start, log_probs, sum })?;
            }
        }
    }
    output.flush()?;
    Ok(failed)
}

/// Log-probs of every completion token of every row, at a temperature.
///
/// # Errors
/// When one is not finite.
pub fn of_rows(
    rows: &[&Encoded],
    model: &CausalLm,
    pad_id: u32,
    batch_tokens: usize,
    temperature: f64,
) -> Result<Vec<Vec<f32>>> {
    let rows: Vec<(&[u32], usize)> =
        rows.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
    let mut scoring = Scoring::new(pad_id, batch_tokens);
    let damaged = "the model's weights are damaged, or its training diverged";
    model.row_log_probs(&rows, temperature, &mut scoring).context(damaged)
}
