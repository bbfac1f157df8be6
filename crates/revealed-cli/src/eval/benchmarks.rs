//! `revealed eval rewardbench`, `rewardbench2` and `rm-bench`: a reward and its baselines on public benchmarks.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::eval::benchmarks::{Benchmark, BenchmarkQuestion, prior_set};
use revealed::eval::preferences::subsample;
use revealed::eval::rewards::{BenchmarkResult, RewardSettings, Scorers};
use revealed::eval::{EvalRecord, Provenance, Source, evaluate_benchmark};
use serde_json::json;

use super::benchmark_rows::{lines, table};
use super::environment::environment;
use super::scored_notes::note_problems;
use super::scorer_args::ScorerArgs;
use crate::output::{Output, writable};
use crate::progress::Progress;

/// Arguments of a reward benchmark.
#[derive(Debug, clap::Args)]
pub struct BenchmarkArgs {
    /// The benchmark's files: .parquet, .json or .jsonl
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    scorers: ScorerArgs,
    /// Most questions, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_questions: usize,
    /// Draws the questions, and the answers that are scored again
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// File for the record: figures, every question's scores, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Arguments of `revealed eval rewardbench`.
#[derive(Debug, clap::Args)]
pub struct RewardBenchArgs {
    #[command(flatten)]
    common: BenchmarkArgs,
    /// Files of the prior sets, named as published: anthropic_helpful, anthropic_hhh, shp, summarize
    #[arg(long)]
    prior: Vec<PathBuf>,
}

/// RewardBench, with the prior sets that are given.
///
/// # Errors
/// As [`run`].
pub fn rewardbench(args: &RewardBenchArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    run(Benchmark::RewardBench, &args.common, &args.prior, device, progress)
}

/// Prints a line, or a row of a table, for every figure.
///
/// # Errors
/// When a file or folder is missing or damaged, or no question could be scored.
pub fn run(
    benchmark: Benchmark,
    args: &BenchmarkArgs,
    prior: &[PathBuf],
    device: &Device,
    progress: &mut Progress,
) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    let name = benchmark.name();
    let questions = args.questions(benchmark, prior)?;
    let notes = benchmark.notes(&questions);
    notes.iter().for_each(|note| progress.note(&format!("{name}: {note}")));
    let prompts: HashSet<String> = questions.iter().map(|one| one.prompt.words()).collect();
    let scorers = args.scorers.load(&prompts, device, progress)?;
    let settings = RewardSettings {
        batch_tokens: args.scorers.text.batch_tokens,
        seed: args.seed,
        ..RewardSettings::default()
    };
    let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
    let result = evaluate_benchmark(benchmark, &questions, &scorers, &settings, show)?;
    let id = |index: usize| questions[index].id.as_str();
    note_problems(&result.scored, (name, "questions"), id, progress);
    if result.scored.used.is_empty() {
        bail!("no question of {name} could be scored");
    }
    // Questions that failed may be all of a subset.
    let more = result.notes.iter().filter(|note| !notes.contains(note));
    more.for_each(|note| progress.note(&format!("{name}: {note}")));
    let mut output = Output::new();
    match args.table {
        true => output.text(&table(&result))?,
        false => lines(&result).iter().try_for_each(|line| output.line(line))?,
    }
    output.flush()?;
    match &args.out {
        Some(path) => Ok(args.record(&result, prior, &scorers, device)?.write(path)?),
        None => Ok(()),
    }
}

impl BenchmarkArgs {
    fn questions(&self, benchmark: Benchmark, prior: &[PathBuf]) -> Result<Vec<BenchmarkQuestion>> {
        let mut questions = Vec::new();
        for file in &self.files {
            questions.extend(benchmark.read(file)?);
        }
        for file in prior {
            questions.extend(prior_set(file)?);
        }
        Ok(match self.max_questions {
            0 => questions,
            count => subsample(questions, count, self.seed),
        })
    }

    fn record(
        &self,
        result: &BenchmarkResult<'_>,
        prior: &[PathBuf],
        scorers: &Scorers,
        device: &Device,
    ) -> Result<EvalRecord> {
        let files = self.files.iter().chain(prior).chain(&self.scorers.probe_on);
        let mut record = result.record(Provenance {
            models: self.scorers.sources()?,
            data: files.map(|file| Source::data(file)).collect::<Result<_, _>>()?,
            environment: environment(device),
        });
        record.settings.extend([
            ("max_questions".into(), json!(self.max_questions)),
            ("seed".into(), json!(self.seed)),
            ("probe_on".into(), json!(self.scorers.probe_on)),
            ("text".into(), serde_json::to_value(scorers.rows().encoder.recipe())?),
        ]);
        Ok(record)
    }
}
