//! `revealed eval preferences`: accuracy on preference files of a learned reward, beside rules that need none.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::eval::preferences::subsample;
use revealed::eval::{EvalRecord, Item, Source};
use serde_json::{Map, Value, json};

use super::accuracies::{File, Measured, Row};
use super::file_names::file_names;
use super::table::head;
use super::yardsticks::{YardstickArgs, Yardsticks};
use crate::data;
use crate::output::{Output, writable};
use crate::progress::Progress;

/// Arguments of `revealed eval preferences`.
#[derive(Debug, clap::Args)]
pub struct PreferencesArgs {
    /// Preferences: files, folders, patterns or data sets of the hub (see docs/data.md)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    yardsticks: YardstickArgs,
    /// Demonstrations that the models were trained on: pairs with one of their prompts, in whatever form, are left out
    #[arg(long)]
    exclude: Vec<PathBuf>,
    /// Pairs of a file at most, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_pairs: usize,
    /// Draws the pairs, and the answers that are scored again
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// A line of scores a pair is written here
    #[arg(long)]
    scores: Option<PathBuf>,
    /// The record: figures, every pair's scores, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Prints a line, or a row of a table, for every file and subset.
///
/// # Errors
/// When a file or folder is missing or damaged, or no pair of a file could be scored.
pub fn preferences(args: &PreferencesArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    writable("--scores", args.scores.as_deref())?;
    let mut seen: HashSet<String> = HashSet::new();
    for file in &args.exclude {
        seen.extend(data::demonstrations(file, progress)?.iter().map(|row| row.prompt.words()));
    }
    let named = args.files.iter().zip(file_names(&args.files));
    let files: Vec<File> = named
        .map(|(file, name)| File::read(file, name, &seen, args, progress))
        .collect::<Result<_>>()?;
    let pairs = files.iter().flat_map(|file| &file.pairs);
    let evaluated: HashSet<String> = pairs.map(|pair| pair.prompt.words()).collect();
    let yardsticks = Yardsticks::load(&args.yardsticks, &evaluated, device, progress)?;
    let mut details = match &args.scores {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            Some(std::io::BufWriter::new(file))
        }
        None => None,
    };
    let mut output = Output::new();
    if args.table {
        output.text(&heading(&yardsticks))?;
    }
    let (mut useless, mut all) = (Vec::new(), Vec::new());
    for file in &files {
        if file.pairs.is_empty() {
            progress.note(&format!(
                "{}: all {} pairs have an excluded prompt; exclude only what was trained on",
                file.path.display(),
                file.excluded
            ));
            useless.push(file.path.display().to_string());
            continue;
        }
        let measured = Measured::of(file, &yardsticks, args.seed, progress)?;
        if let Some(details) = &mut details {
            measured.write_scores(details)?;
        }
        if measured.answered.used.is_empty() {
            useless.push(file.path.display().to_string());
            continue;
        }
        for row in measured.accuracies() {
            match args.table {
                true => output.text(&row.cells())?,
                false => output.line(&row.json())?,
            }
        }
        output.flush()?;
        all.push(measured);
    }
    if args.table {
        all.iter().try_for_each(|measured| output.text(&measured.summary()))?;
        output.flush()?;
    }
    if let Some(details) = &mut details {
        details.flush()?;
    }
    if let Some(path) = &args.out {
        record(args, &all, &yardsticks, device)?.write(path)?;
    }
    match useless.as_slice() {
        [] => Ok(()),
        files => bail!("no pair of {} could be scored", files.join(", ")),
    }
}

impl File {
    fn read(
        path: &Path,
        name: String,
        seen: &HashSet<String>,
        args: &PreferencesArgs,
        progress: &Progress,
    ) -> Result<Self> {
        let mut pairs = data::preferences(path, progress)?;
        let all = pairs.len();
        pairs.retain(|pair| !seen.contains(&pair.prompt.words()));
        let excluded = all - pairs.len();
        if args.max_pairs > 0 {
            pairs = subsample(pairs, args.max_pairs, args.seed);
        }
        Ok(Self { path: path.into(), name, pairs, excluded })
    }
}

/// The head of a Markdown table, `accuracy (95 % interval)` in its cells.
fn heading(yardsticks: &Yardsticks) -> String {
    let names = yardsticks.names().into_iter().map(|name| name.replace('_', " "));
    let start = ["data", "subset", "pairs", "excluded", "failed", "cut"].map(str::to_owned);
    head(&start.into_iter().chain(names).collect::<Vec<_>>())
}

fn record(
    args: &PreferencesArgs,
    all: &[Measured<'_>],
    yardsticks: &Yardsticks,
    device: &Device,
) -> Result<EvalRecord> {
    let counts = |one: &Measured<'_>| (one.file.name.clone(), Value::Object(one.counts()));
    let settings = Map::from_iter([
        ("max_pairs".into(), json!(args.max_pairs)),
        ("seed".into(), json!(args.seed)),
        ("exclude".into(), json!(args.exclude)),
        ("probe_on".into(), json!(args.yardsticks.probe_on)),
        ("text".into(), serde_json::to_value(yardsticks.rows.encoder.recipe())?),
        ("files".into(), Value::Object(all.iter().map(counts).collect())),
    ]);
    let files = args.files.iter().chain(&args.exclude).chain(&args.yardsticks.probe_on);
    let rows: Vec<Row<'_>> = all.iter().flat_map(Measured::accuracies).collect();
    let mut items: Vec<Item> = all.iter().flat_map(Measured::items).collect();
    name_apart(&mut items);
    Ok(EvalRecord {
        evaluation: "preferences".into(),
        figures: rows.iter().flat_map(Row::figures).collect(),
        items,
        settings,
        models: args.yardsticks.sources()?,
        data: files.map(|file| Source::data(file)).collect::<Result<_, _>>()?,
        environment: super::environment(device),
    })
}

/// Files may name several pairs alike; a record must not.
fn name_apart(items: &mut [Item]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let times = seen.entry(item.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            item.id = format!("{}#{times}", item.id);
        }
    }
}
