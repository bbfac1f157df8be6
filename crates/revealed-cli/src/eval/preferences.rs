//! `revealed eval preferences`: accuracy on preference files of a learned reward, beside rules that need none.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::{Encoded, Preference, read_demonstrations, read_preferences};
use revealed::eval::preferences::{Accuracy, lengths, some};
use revealed::models::CausalLm;
use revealed::reward::RewardEnsemble;
use serde_json::{Map, Value, json};

use crate::log_probs::of_rows;
use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{ModelArgs, Rows, load_model};
use crate::score::{TextArgs, load_reward};

/// Pairs scored between two signs of progress.
const PAIRS: usize = 64;

/// Arguments of `revealed eval preferences`.
#[derive(Debug, clap::Args)]
pub struct PreferencesArgs {
    /// Preference files: .jsonl, .json or .parquet
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Reward folder: full weights or adapter
    #[arg(long)]
    reward: Option<PathBuf>,
    #[command(flatten)]
    text: TextArgs,
    /// A policy whose log-ratio to --reference is a reward too: a model, or a PEFT adapter on that
    #[arg(long, requires = "reference")]
    policy: Option<PathBuf>,
    /// The model it is compared with
    #[arg(long, requires = "policy")]
    reference: Option<String>,
    /// Demonstrations that the models were trained on: pairs with one of their prompts, in whatever form, are left out
    #[arg(long)]
    exclude: Vec<PathBuf>,
    /// Pairs of a file at most, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_pairs: usize,
    /// Draws the pairs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// A line of scores a pair is written here
    #[arg(long)]
    scores: Option<PathBuf>,
}

/// Policy and reference, with the text side of the latter.
fn log_ratio(policy: &Path, reference: &str, device: &Device) -> Result<([CausalLm; 2], Rows)> {
    let (reference, rows) = ModelArgs::plain(reference).load(device)?;
    let policy = match policy.join("adapter_config.json").is_file() {
        true => reference.clone().with_adapter(policy)?,
        false => load_model(policy, None, device)?,
    };
    Ok(([policy, reference], rows))
}

/// What scores a pair; each gives `[chosen, rejected]`.
struct Yardsticks {
    rows: Rows,
    reward: Option<RewardEnsemble>,
    /// Policy and reference.
    models: Option<[CausalLm; 2]>,
    batch_tokens: usize,
}

type Scores = BTreeMap<&'static str, Vec<[f64; 2]>>;

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
    let yardsticks = Yardsticks::load(args, device)?;
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
    let mut useless = Vec::new();
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
        let measured = yardsticks.of(file, progress)?;
        if let Some(details) = &mut details {
            measured.write_scores(details)?;
        }
        let failed = measured.failed.len();
        if let Some((id, reason)) = measured.failed.first() {
            progress.note(&format!(
                "{}: {failed} of {} pairs could not be scored, the first of them {id}: {reason}",
                file.path.display(),
                file.pairs.len()
            ));
        }
        if failed == file.pairs.len() {
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
    }
    if let Some(details) = &mut details {
        details.flush()?;
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

impl Yardsticks {
    fn load(args: &PreferencesArgs, device: &Device) -> Result<Self> {
        let models = match (&args.policy, &args.reference) {
            (Some(policy), Some(reference)) => Some(log_ratio(policy, reference, device)?),
            _ => None,
        };
        let reward = args.reward.as_ref().map(|folder| load_reward(folder, &args.text, device));
        let (models, (rows, reward)) = match (models, reward.transpose()?) {
            (models, Some((rows, reward))) => {
                (models.map(|(models, _)| models), (rows, Some(reward)))
            }
            (Some((models, rows)), None) => (Some(models), (rows, None)),
            (None, None) => {
                bail!("nothing to evaluate: give --reward, or --policy and --reference, or both")
            }
        };
        for model in models.iter().flatten() {
            let (found, wanted) = (model.shape().vocab_size, rows.shape.vocab_size);
            if found != wanted {
                bail!("a model has {found} tokens, the reward {wanted}: they need one tokenizer");
            }
        }
        Ok(Self { rows, reward, models, batch_tokens: args.text.batch_tokens })
    }

    /// Scores of the pairs that fit, by yardstick.
    fn of<'a>(&self, file: &'a File, progress: &mut Progress) -> Result<Measured<'a>> {
        let (mut used, mut failed, mut scores) = (Vec::new(), Vec::new(), Scores::new());
        let (pairs, mut cut) = (&file.pairs, 0);
        progress.begin(&file.name, pairs.len());
        for (call, chunk) in pairs.chunks(PAIRS).enumerate() {
            let mut rows = Vec::new();
            for pair in chunk {
                let sides = [&pair.chosen, &pair.rejected];
                match sides.map(|text| self.rows.row(&pair.prompt, text)) {
                    [Ok(chosen), Ok(rejected)] => {
                        cut += usize::from(chosen.truncated || rejected.truncated);
                        rows.extend([chosen, rejected]);
                        used.push(pair);
                        scores.entry("length").or_default().push(lengths(pair));
                    }
                    [Err(reason), _] => failed.push((&pair.id, format!("chosen: {reason}"))),
                    [_, Err(reason)] => failed.push((&pair.id, format!("rejected: {reason}"))),
                }
            }
            let mut add = |name, values: Vec<f64>| {
                let sides = values.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
                scores.entry(name).or_default().extend(sides);
            };
            if let Some(reward) = &self.reward {
                let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
                add("reward", reward.scores(&ids, self.rows.encoder.pad_id(), self.batch_tokens)?);
            }
            if let Some(models) = &self.models {
                let ratios = self.log_ratios(&rows, models)?;
                let tokens = rows.iter().map(|row| row.input_ids.len() - row.completion_start);
                let each =
                    ratios.iter().zip(tokens).map(|(sum, n)| sum / n.max(1) as f64).collect();
                add("log_ratio", ratios);
                add("log_ratio_per_token", each);
            }
            progress.step(pairs.len().min((call + 1) * PAIRS), pairs.len(), "");
        }
        progress.end("");
        Ok(Measured { file, used, failed, cut, scores })
    }

    /// `Σ_t log π(y_t) − log π_ref(y_t)` of each row, in nats.
    fn log_ratios(&self, rows: &[Encoded], models: &[CausalLm; 2]) -> Result<Vec<f64>> {
        let rows: Vec<&Encoded> = rows.iter().collect();
        let sums = |model| -> Result<Vec<f64>> {
            let all = of_rows(&rows, model, self.rows.encoder.pad_id(), self.batch_tokens)?;
            Ok(all.iter().map(|row| row.iter().map(|v| f64::from(*v)).sum()).collect())
        };
        let (policy, reference) = (sums(&models[0])?, sums(&models[1])?);
        Ok(policy.iter().zip(reference).map(|(a, b)| a - b).collect())
    }
}

/// A file's scores.
struct Measured<'a> {
    file: &'a File,
    used: Vec<&'a Preference>,
    /// Ids with reasons.
    failed: Vec<(&'a String, String)>,
    /// Pairs of which a side was cut to the limits.
    cut: usize,
    scores: Scores,
}

impl Measured<'_> {
    /// The whole file, then its subsets, where there are several.
    fn accuracies(&self) -> Vec<Row<'_>> {
        let row = |subset: Option<&'_ str>| -> Row<'_> {
            let holds = |pair: &Preference| subset.is_none() || pair.subset.as_deref() == subset;
            let of = |all: &[[f64; 2]]| {
                let pairs = self.used.iter().zip(all).filter(|(pair, _)| holds(pair));
                Accuracy::of(pairs.map(|(pair, scores)| (pair.prompt.words(), scores)))
            };
            let by = self.scores.iter().map(|(name, all)| (*name, of(all))).collect();
            Row { measured: self, subset: subset.map(str::to_owned), by }
        };
        let subsets = self.used.iter().filter_map(|pair| pair.subset.as_deref());
        let subsets: BTreeSet<&str> = subsets.collect();
        let several = if subsets.len() > 1 { subsets } else { BTreeSet::new() };
        std::iter::once(None).chain(several.into_iter().map(Some)).map(row).collect()
    }

    /// A line a pair, with its scores or the reason why there are none.
    fn write_scores(&self, file: &mut impl Write) -> Result<()> {
        let data = &self.file.name;
        for (index, pair) in self.used.iter().enumerate() {
            let mut line =
                Map::from_iter([("data".into(), json!(data)), ("id".into(), json!(pair.id))]);
            for (name, all) in &self.scores {
                line.insert((*name).into(), json!(all[index]));
            }
            writeln!(file, "{}", Value::Object(line))?;
        }
        for (id, reason) in &self.failed {
            writeln!(file, "{}", json!({"data": data, "id": id, "error": reason}))?;
        }
        Ok(())
    }
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
            line.insert("excluded".into(), json!(self.measured.file.excluded));
            line.insert("failed".into(), json!(self.measured.failed.len()));
            line.insert("cut".into(), json!(self.measured.cut));
        }
        for (name, accuracy) in &self.by {
            let (low, high) = accuracy.interval();
            let value = json!({"accuracy": accuracy.share(), "interval": [low, high]});
            line.insert((*name).into(), value);
        }
        Value::Object(line)
    }

    /// A row of the table.
    fn cells(&self) -> String {
        let cells: String = self
            .by
            .iter()
            .map(|(_, accuracy)| {
                let (low, high) = accuracy.interval();
                format!(" {:.3} ({low:.3}–{high:.3}) |", accuracy.share())
            })
            .collect();
        let subset = self.subset.as_deref().unwrap_or("all");
        format!("| {} | {subset} | {} |{cells}\n", self.measured.file.name, self.pairs())
    }
}

/// The head of a Markdown table, `accuracy (95 % interval)` in its cells.
fn heading(yardsticks: &Yardsticks) -> String {
    let mut names = vec!["length"];
    if yardsticks.models.is_some() {
        names.extend(["log ratio", "log ratio per token"]);
    }
    if yardsticks.reward.is_some() {
        names.push("reward");
    }
    let heads: String = names.iter().map(|name| format!(" {name} |")).collect();
    format!("| data | subset | pairs |{heads}\n|---|---|---|{}\n", "---|".repeat(names.len()))
}
