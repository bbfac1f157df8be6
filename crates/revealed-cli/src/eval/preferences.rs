//! `revealed eval preferences`: accuracy on preference files of a learned reward, beside rules that need none.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::{Preference, read_demonstrations, read_preferences};
use revealed::eval::preferences::{Accuracy, in_order, some};
use revealed::eval::{Estimate, EvalRecord, Figure, Item, Source};
use serde_json::{Map, Value, json};

use super::answers::{Answered, Asked};
use super::table::{estimate_cell, head, row};
use super::yardsticks::{YardstickArgs, Yardsticks};
use crate::output::Output;
use crate::progress::Progress;

/// Arguments of `revealed eval preferences`.
#[derive(Debug, clap::Args)]
pub struct PreferencesArgs {
    /// Preference files: .jsonl, .json or .parquet
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
    let mut seen: HashSet<String> = HashSet::new();
    for file in &args.exclude {
        seen.extend(read_demonstrations(file)?.iter().map(|row| row.prompt.words()));
    }
    let files: Vec<File> =
        args.files.iter().map(|file| File::read(file, &seen, args)).collect::<Result<_>>()?;
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

/// A file's pairs, those of excluded prompts left out.
struct File {
    path: PathBuf,
    name: String,
    pairs: Vec<Preference>,
    excluded: usize,
}

impl File {
    fn read(path: &Path, seen: &HashSet<String>, args: &PreferencesArgs) -> Result<Self> {
        let mut pairs = read_preferences(path)?;
        let all = pairs.len();
        pairs.retain(|pair| !seen.contains(&pair.prompt.words()));
        let excluded = all - pairs.len();
        if args.max_pairs > 0 {
            pairs = some(pairs, args.max_pairs, args.seed);
        }
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
        Ok(Self { path: path.into(), name, pairs, excluded })
    }
}

/// A file's scores.
struct Measured<'a> {
    file: &'a File,
    answered: Answered,
}

impl<'a> Measured<'a> {
    fn of(
        file: &'a File,
        yardsticks: &Yardsticks,
        seed: u64,
        progress: &mut Progress,
    ) -> Result<Self> {
        let asked: Vec<Asked<'_>> = file.pairs.iter().map(asked).collect();
        let answered = yardsticks.answer(&file.name, &asked, seed, progress)?;
        answered.note_failures(&file.path.display().to_string(), "pairs", &asked, progress);
        Ok(Self { file, answered })
    }

    fn used(&self) -> impl Iterator<Item = &'a Preference> {
        let pairs = &self.file.pairs;
        self.answered.used.iter().map(|index| &pairs[*index])
    }

    /// The whole file, then its subsets, where there are several.
    fn accuracies(&self) -> Vec<Row<'_>> {
        let row = |subset: Option<&'_ str>| -> Row<'_> {
            let holds = |pair: &Preference| subset.is_none() || pair.subset.as_deref() == subset;
            let of = |all: &[Vec<f64>]| {
                let pairs = self.used().zip(all).filter(|(pair, _)| holds(pair));
                Accuracy::of_outcomes(pairs.map(|(pair, s)| (pair.prompt.words(), right(s))))
            };
            let by = self.answered.scores.iter().map(|(name, all)| (*name, of(all))).collect();
            Row { measured: self, subset: subset.map(str::to_owned), by }
        };
        let subsets: BTreeSet<&str> =
            self.used().filter_map(|pair| pair.subset.as_deref()).collect();
        let several = if subsets.len() > 1 { subsets } else { BTreeSet::new() };
        std::iter::once(None).chain(several.into_iter().map(Some)).map(row).collect()
    }

    /// A line a pair, with its scores or the reason why there are none.
    fn write_scores(&self, file: &mut impl Write) -> Result<()> {
        let data = &self.file.name;
        for (place, pair) in self.used().enumerate() {
            let mut line =
                Map::from_iter([("data".into(), json!(data)), ("id".into(), json!(pair.id))]);
            line.extend(self.answered.scores_of(place));
            writeln!(file, "{}", Value::Object(line))?;
        }
        for (index, reason) in &self.answered.failed {
            let id = &self.file.pairs[*index].id;
            writeln!(file, "{}", json!({"data": data, "id": id, "error": reason}))?;
        }
        Ok(())
    }

    /// A record's items; the file's name keeps ids of several files apart.
    fn items(&self) -> impl Iterator<Item = Item> {
        self.used().enumerate().map(|(place, pair)| {
            let right = |(name, all): (&&str, &Vec<Vec<f64>>)| {
                (format!("{name}/correct"), right(&all[place]))
            };
            Item {
                id: format!("{}/{}", self.file.name, pair.id),
                subset: pair.subset.clone(),
                values: self.answered.scores.iter().map(right).collect(),
                detail: self.answered.scores_of(place),
            }
        })
    }

    /// What is said of the file besides its accuracies.
    fn counts(&self) -> Map<String, Value> {
        let mut counts = Map::from_iter([("excluded".into(), json!(self.file.excluded))]);
        counts.extend(self.answered.counts());
        counts.remove("scored");
        counts
    }
}

fn asked(pair: &Preference) -> Asked<'_> {
    Asked {
        id: &pair.id,
        prompt: &pair.prompt,
        chosen: vec![&pair.chosen],
        rejected: vec![&pair.rejected],
    }
}

/// A pair's outcome from its two scores.
fn right(scores: &[f64]) -> f64 {
    in_order([scores[0], scores[1]])
}

/// A file, or a subset of it, by every yardstick.
struct Row<'a> {
    measured: &'a Measured<'a>,
    subset: Option<String>,
    by: Vec<(&'static str, Accuracy)>,
}

impl Row<'_> {
    fn pairs(&self) -> usize {
        self.by.first().map_or(0, |(_, accuracy)| accuracy.pairs)
    }

    fn json(&self) -> Value {
        let mut line = Map::from_iter([
            ("data".into(), json!(self.measured.file.name)),
            ("subset".into(), json!(self.subset)),
            ("pairs".into(), json!(self.pairs())),
        ]);
        if self.subset.is_none() {
            line.extend(self.measured.counts());
        }
        for (name, accuracy) in &self.by {
            let (low, high) = accuracy.interval();
            let value = json!({"accuracy": accuracy.share(), "interval": [low, high]});
            line.insert((*name).into(), value);
        }
        Value::Object(line)
    }

    /// A row of the table; exclusions and failures are counted by file.
    fn cells(&self) -> String {
        let measured = self.measured;
        let counts = match self.subset {
            None => [measured.file.excluded, measured.answered.failed.len()].map(|n| n.to_string()),
            Some(_) => [String::new(), String::new()],
        };
        let subset = self.subset.as_deref().unwrap_or("all").to_owned();
        let start = [measured.file.name.clone(), subset, self.pairs().to_string()];
        let cells = self.by.iter().map(|(_, accuracy)| estimate_cell(&Estimate::from(*accuracy)));
        row(start.into_iter().chain(counts).chain(cells))
    }

    /// As figures of a record, the file's name before the subset's.
    fn figures(&self) -> impl Iterator<Item = Figure> {
        let file = &self.measured.file.name;
        let subset = match &self.subset {
            None => file.clone(),
            Some(subset) => format!("{file}/{subset}"),
        };
        self.by.iter().map(move |(name, accuracy)| {
            let name = format!("{name}/accuracy");
            Estimate::from(*accuracy).figure(name, Some(&subset), accuracy.pairs)
        })
    }
}

/// The head of a Markdown table, `accuracy (95 % interval)` in its cells.
fn heading(yardsticks: &Yardsticks) -> String {
    let names = yardsticks.names().into_iter().map(|name| name.replace('_', " "));
    let start = ["data", "subset", "pairs", "excluded", "failed"].map(str::to_owned);
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
        data: files.map(|file| Source::of(file)).collect::<Result<_, _>>()?,
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
