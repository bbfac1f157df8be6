//! `revealed eval win-rate`: how often a reward prefers the answers of one file to those of another.

use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::eval::rewards::{MatchBy, RewardSettings, WinRateResult};
use revealed::eval::{Provenance, Source, evaluate_win_rate};
use serde_json::{Map, Value, json};

use super::environment::environment;
use super::scorer_args::reward_sources;
use super::table::{cell, head, row, shown_figure};
use crate::data;
use crate::output::{Output, writable};
use crate::progress::Progress;
use crate::rows::note_retokenized;
use crate::score::{TextArgs, load_reward};

/// Arguments of `revealed eval win-rate`.
#[derive(Debug, clap::Args)]
pub struct WinRateArgs {
    /// Answers, as demonstrations: file, folder, pattern or data set of the hub (see docs/data.md)
    a: PathBuf,
    /// Answers to the same prompts
    b: PathBuf,
    /// Reward folder: full weights or adapter
    #[arg(long)]
    reward: PathBuf,
    #[command(flatten)]
    text: TextArgs,
    /// Which rows of the two files answer the same question
    #[arg(long, value_enum, default_value_t = By::Prompt)]
    by: By,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// File for the record: figures, every question's scores, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How rows are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Those with the same words in their prompts
    Prompt,
    /// Those with the same id
    Id,
}

/// Prints how often A beats B, both mean rewards, and how often A's answer is longer.
///
/// # Errors
/// When a file or folder is missing or damaged, the files share no question, or no answer could be scored.
pub fn win_rate(args: &WinRateArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    let (a, b) =
        (data::demonstrations(&args.a, progress)?, data::demonstrations(&args.b, progress)?);
    let scorer = load_reward(&args.reward, &args.text, device)?;
    let by = match args.by {
        By::Prompt => MatchBy::Prompt,
        By::Id => MatchBy::Id,
    };
    let settings =
        RewardSettings { batch_tokens: args.text.batch_tokens, ..RewardSettings::default() };
    let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
    let result = evaluate_win_rate([&a, &b], by, &scorer, &settings, show)?;
    if result.matches.is_empty() && result.failed.is_empty() {
        bail!(
            "{} and {} share no {}; give answers to the same prompts, or another --by",
            args.a.display(),
            args.b.display(),
            if args.by == By::Id { "id" } else { "prompt" }
        );
    }
    note_retokenized(&scorer.rows, progress);
    note_counts(&result, progress)?;
    print(&result, args.table)?;
    if let Some(path) = &args.out {
        let mut record = result.record(Provenance {
            models: reward_sources("reward", &args.reward, args.text.base.as_deref())?,
            data: vec![Source::data(&args.a)?, Source::data(&args.b)?],
            environment: environment(device),
        });
        let text = serde_json::to_value(scorer.rows.encoder.recipe())?;
        record.settings.insert("text".into(), text);
        record.write(path)?;
    }
    Ok(())
}

/// # Errors
/// When no answer could be scored.
fn note_counts(result: &WinRateResult, progress: &Progress) -> Result<()> {
    let (used, failed) = (result.matches.len(), result.failed.len());
    progress.note(&format!(
        "{} questions in both files, {} in one only, {failed} left out for an answer that does not fit",
        used + failed,
        result.unmatched
    ));
    if let Some((question, reason)) = result.failed.first() {
        if used == 0 {
            bail!("no answer could be scored, for example to {question}: {reason}");
        }
        progress.note(&format!("the first of them {question}: {reason}"));
    }
    Ok(())
}

/// Prints the figures and the counts of questions.
fn print(result: &WinRateResult, table: bool) -> Result<()> {
    let WinRateResult { matches, failed, unmatched: alone, .. } = result;
    let (used, failed) = (matches.len(), failed.len());
    let mut output = Output::new();
    if table {
        output.text(&head(&["metric", "of", "questions", "value"]))?;
    }
    for figure in &result.figures() {
        let of = figure.subset.as_deref().unwrap_or("a over b");
        if table {
            let value = cell(figure.value, figure.interval);
            output.text(&row([&figure.name, of, &figure.n.to_string(), &value]))?;
            continue;
        }
        let mut line = Map::from_iter([
            ("metric".into(), json!(figure.name)),
            ("of".into(), json!(of)),
            ("questions".into(), json!(figure.n)),
        ]);
        line.extend(shown_figure(figure).as_object().cloned().unwrap_or_default());
        output.line(&Value::Object(line))?;
    }
    match table {
        true => output.text(&format!(
            "\n{used} questions scored, {failed} failed, {alone} in one file only\n"
        ))?,
        false => output.line(&json!({"scored": used, "failed": failed, "unmatched": alone}))?,
    }
    output.flush()
}
