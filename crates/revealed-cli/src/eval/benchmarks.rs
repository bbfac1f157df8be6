//! `revealed eval rewardbench`, `rewardbench2` and `rm-bench`: a reward on the field's benchmarks, beside rules that need none.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::eval::benchmarks::{Benchmark, BenchmarkQuestion, ScoredQuestion, prior_set};
use revealed::eval::preferences::subsample;
use revealed::eval::{EvalRecord, Figure, Item, Source};
use serde_json::{Map, Value, json};

use super::answers::{Answered, Asked};
use super::table::{cell, head, row, shown_figure};
use super::yardsticks::{YardstickArgs, Yardsticks};
use crate::output::{Output, writable};
use crate::progress::Progress;

/// Arguments of a reward benchmark.
#[derive(Debug, clap::Args)]
pub struct BenchmarkArgs {
    /// The benchmark's files: .parquet, .json or .jsonl
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    yardsticks: YardstickArgs,
    /// Questions at most, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_questions: usize,
    /// Draws the questions, and the answers that are scored again
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// The record: figures, every question's scores, settings, hashes
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

/// RewardBench, with prior sets where they are given.
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
    let mut questions = Vec::new();
    for file in &args.files {
        questions.extend(benchmark.read(file)?);
    }
    for file in prior {
        questions.extend(prior_set(file)?);
    }
    if args.max_questions > 0 {
        questions = subsample(questions, args.max_questions, args.seed);
    }
    let said = benchmark.notes(&questions);
    said.iter().for_each(|note| progress.note(&format!("{}: {note}", benchmark.name())));
    let prompts: HashSet<String> = questions.iter().map(|one| one.prompt.words()).collect();
    let yardsticks = Yardsticks::load(&args.yardsticks, &prompts, device, progress)?;
    let asked: Vec<Asked<'_>> = questions.iter().map(asked).collect();
    let answered = yardsticks.answer(benchmark.name(), &asked, args.seed, progress)?;
    answered.note_failures(benchmark.name(), "questions", &asked, progress);
    answered.note_cut(benchmark.name(), "questions", progress);
    if answered.used.is_empty() {
        bail!("no question of {} could be scored", benchmark.name());
    }
    let figures = Figures::of(benchmark, &questions, &answered);
    // What could not be scored may be all of a part.
    let more = figures.notes.iter().filter(|note| !said.contains(note));
    more.for_each(|note| progress.note(&format!("{}: {note}", benchmark.name())));
    let mut output = Output::new();
    match args.table {
        true => output.text(&figures.table(&answered))?,
        false => figures.lines(&answered, &mut output)?,
    }
    output.flush()?;
    if let Some(path) = &args.out {
        let files: Vec<&PathBuf> = args.files.iter().chain(prior).collect();
        let mut record = figures.record(&questions, &answered, device);
        record.settings.insert("max_questions".into(), json!(args.max_questions));
        record.settings.insert("seed".into(), json!(args.seed));
        record.settings.insert("probe_on".into(), json!(args.yardsticks.probe_on));
        record
            .settings
            .insert("text".into(), serde_json::to_value(yardsticks.rows.encoder.recipe())?);
        record.models = args.yardsticks.sources()?;
        let files = files.into_iter().chain(&args.yardsticks.probe_on);
        record.data = files.map(|file| Source::data(file)).collect::<Result<_, _>>()?;
        record.write(path)?;
    }
    Ok(())
}

fn asked(question: &BenchmarkQuestion) -> Asked<'_> {
    Asked {
        id: &question.id,
        prompt: &question.prompt,
        chosen: question.chosen.iter().collect(),
        rejected: question.rejected.iter().collect(),
    }
}

/// A benchmark's figures by yardstick; each has the same ones in the same order.
struct Figures {
    benchmark: Benchmark,
    by: Vec<(&'static str, Vec<Figure>)>,
    /// What each scored question is worth, by yardstick and figure.
    credits: Vec<BTreeMap<String, f64>>,
    /// What keeps them from being the published ones.
    notes: Vec<String>,
}

impl Figures {
    fn of(benchmark: Benchmark, questions: &[BenchmarkQuestion], answered: &Answered) -> Self {
        let mut credits = vec![BTreeMap::new(); answered.used.len()];
        let mut by = Vec::new();
        for (name, values) in &answered.scores {
            let scored: Vec<ScoredQuestion<'_>> = answered
                .used
                .iter()
                .zip(values)
                .map(|(index, values)| {
                    let question = &questions[*index];
                    let (chosen, rejected) = values.split_at(question.chosen.len());
                    ScoredQuestion { question, chosen, rejected }
                })
                .collect();
            for (credits, one) in credits.iter_mut().zip(&scored) {
                let values = benchmark.values(one).into_iter();
                credits.extend(values.map(|(figure, value)| (format!("{name}/{figure}"), value)));
            }
            let mut figures = benchmark.figures(&scored);
            // What is looked at first.
            figures.sort_by_key(|figure| figure.subset.is_some());
            by.push((*name, figures));
        }
        let notes = benchmark.notes(answered.used.iter().map(|index| &questions[*index]));
        Self { benchmark, by, credits, notes }
    }

    /// Every figure, by yardstick.
    fn rows(&self) -> Vec<(&Figure, Vec<(&'static str, &Figure)>)> {
        let count = self.by.first().map_or(0, |(_, figures)| figures.len());
        let row = |index: usize| {
            let by: Vec<_> =
                self.by.iter().map(|(name, figures)| (*name, &figures[index])).collect();
            (by[0].1, by)
        };
        (0..count).map(row).collect()
    }

    fn lines(&self, answered: &Answered, output: &mut Output) -> Result<()> {
        for (first, by) in self.rows() {
            let mut line = Map::from_iter([
                ("metric".into(), json!(first.name)),
                ("subset".into(), json!(first.subset)),
                ("questions".into(), json!(first.n)),
            ]);
            line.extend(by.iter().map(|(name, figure)| ((*name).into(), shown_figure(figure))));
            output.line(&Value::Object(line))?;
        }
        let mut counts = answered.counts();
        counts.insert("benchmark".into(), json!(self.benchmark.name()));
        counts.insert("notes".into(), json!(self.notes));
        output.line(&counts)
    }

    fn table(&self, answered: &Answered) -> String {
        let mut names = vec!["metric", "subset", "questions"];
        names.extend(self.by.iter().map(|(name, _)| *name));
        let mut text = head(&names);
        for (first, by) in self.rows() {
            // The matrix of RM-Bench is shown over all domains; lines and records have each.
            if first.name.contains('>') && first.subset.is_some() {
                continue;
            }
            let subset = first.subset.as_deref().unwrap_or("all").to_owned();
            let cells = by.iter().map(|(_, figure)| cell(figure.value, figure.interval));
            let start = [first.name.clone(), subset, first.n.to_string()];
            text.push_str(&row(start.into_iter().chain(cells)));
        }
        let (scored, failed, cut) = (answered.used.len(), answered.failed.len(), answered.cut);
        text.push_str(&format!(
            "\n{scored} questions scored, {failed} failed, {cut} cut to the limits{}\n",
            answered.check_in_words()
        ));
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}\n"));
        }
        text
    }

    fn record(
        &self,
        questions: &[BenchmarkQuestion],
        answered: &Answered,
        device: &Device,
    ) -> EvalRecord {
        let named = |(name, figures): &(&str, Vec<Figure>)| -> Vec<Figure> {
            let prefixed = |figure: &Figure| {
                let mut figure = figure.clone();
                figure.name = format!("{name}/{}", figure.name);
                for part in &mut figure.parts {
                    part.name = format!("{name}/{}", part.name);
                }
                figure
            };
            figures.iter().map(prefixed).collect()
        };
        let item = |(place, index): (usize, &usize)| Item {
            id: questions[*index].id.clone(),
            subset: Some(self.benchmark.part(&questions[*index])),
            values: self.credits[place].clone(),
            detail: answered.scores_of(place),
        };
        let failed: Map<String, Value> = answered
            .failed
            .iter()
            .map(|(index, reason)| (questions[*index].id.clone(), json!(reason)))
            .collect();
        let mut settings = answered.counts();
        settings.insert("not_scored".into(), Value::Object(failed));
        settings.insert("notes".into(), json!(self.notes));
        EvalRecord {
            evaluation: self.benchmark.name().into(),
            figures: self.by.iter().flat_map(named).collect(),
            items: answered.used.iter().enumerate().map(item).collect(),
            settings,
            models: BTreeMap::new(),
            data: Vec::new(),
            environment: super::environment(device),
        }
    }
}
