//! `revealed eval preferences`: accuracy on preference files of a learned reward, beside rules that need none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::{Encoded, Preference, read_preferences};
use revealed::eval::preferences::{Accuracy, lengths, some};
use revealed::models::CausalLm;
use revealed::reward::RewardEnsemble;
use serde_json::{Map, Value, json};

use crate::log_probs::of_rows;
use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{ModelArgs, Rows, load_model, report_errors};
use crate::score::{TextArgs, load_reward};

/// Pairs scored between two signs of progress.
const PAIRS: usize = 64;

/// Arguments of `revealed eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Accuracy on preference pairs: the learned reward, the longer answer, the log-ratio of two models
    Preferences(PreferencesArgs),
}

#[derive(Debug, clap::Args)]
struct PreferencesArgs {
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

/// Runs one of the evaluations.
pub fn eval(args: &EvalArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    match &args.what {
        What::Preferences(args) => preferences(args, device, progress),
    }
}

fn preferences(args: &PreferencesArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let files: Vec<Vec<Preference>> =
        args.files.iter().map(|file| drawn(file, args)).collect::<Result<_>>()?;
    let yardsticks = Yardsticks::load(args, device)?;
    let mut details = match &args.scores {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            Some(std::io::BufWriter::new(file))
        }
        None => None,
    };
    let mut results = Vec::new();
    for (path, pairs) in args.files.iter().zip(&files) {
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
        let (used, scores) = yardsticks.of(pairs, &name, progress)?;
        report_errors(pairs.len() - used.len(), pairs.len(), path, progress)?;
        if let Some(file) = &mut details {
            write_scores(&name, &used, &scores, file)?;
        }
        results.extend(accuracies(&name, &used, &scores));
    }
    let mut output = Output::new();
    match args.table {
        true => output.text(&table(&results))?,
        false => results.iter().try_for_each(|result| output.line(&result.json()))?,
    }
    output.flush()
}

fn drawn(path: &Path, args: &PreferencesArgs) -> Result<Vec<Preference>> {
    let pairs = read_preferences(path)?;
    Ok(if args.max_pairs > 0 { some(pairs, args.max_pairs, args.seed) } else { pairs })
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
    fn of<'a>(
        &self,
        pairs: &'a [Preference],
        name: &str,
        progress: &mut Progress,
    ) -> Result<(Vec<&'a Preference>, Scores)> {
        let (mut used, mut scores) = (Vec::new(), Scores::new());
        progress.begin(name, pairs.len());
        for (call, chunk) in pairs.chunks(PAIRS).enumerate() {
            let mut rows = Vec::new();
            for pair in chunk {
                let sides = [&pair.chosen, &pair.rejected];
                if let [Ok(chosen), Ok(rejected)] =
                    sides.map(|text| self.rows.row(&pair.prompt, text))
                {
                    rows.extend([chosen, rejected]);
                    used.push(pair);
                    scores.entry("length").or_default().push(lengths(pair));
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
        Ok((used, scores))
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

/// A file, or a subset of it, by every yardstick.
struct Row<'a> {
    data: String,
    subset: Option<&'a str>,
    by: Vec<(&'static str, Accuracy)>,
}

/// The whole file, then its subsets, where there are several.
fn accuracies<'a>(data: &str, pairs: &[&'a Preference], scores: &Scores) -> Vec<Row<'a>> {
    let row = |subset: Option<&'a str>| {
        let holds = |pair: &Preference| subset.is_none() || pair.subset.as_deref() == subset;
        let of = |all: &[[f64; 2]]| {
            Accuracy::of(pairs.iter().zip(all).filter(|(pair, _)| holds(pair)).map(|(_, s)| s))
        };
        let by = scores.iter().map(|(name, all)| (*name, of(all))).collect();
        Row { data: data.to_owned(), subset, by }
    };
    let subsets: BTreeSet<&str> = pairs.iter().filter_map(|pair| pair.subset.as_deref()).collect();
    let several = if subsets.len() > 1 { subsets } else { BTreeSet::new() };
    std::iter::once(None).chain(several.into_iter().map(Some)).map(row).collect()
}

fn write_scores(
    data: &str,
    pairs: &[&Preference],
    scores: &Scores,
    file: &mut impl Write,
) -> Result<()> {
    for (index, pair) in pairs.iter().enumerate() {
        let mut line =
            Map::from_iter([("data".into(), json!(data)), ("id".into(), json!(pair.id))]);
        for (name, all) in scores {
            line.insert((*name).into(), json!(all[index]));
        }
        writeln!(file, "{}", Value::Object(line))?;
    }
    Ok(())
}

impl Row<'_> {
    fn pairs(&self) -> usize {
        self.by.first().map_or(0, |(_, accuracy)| accuracy.pairs)
    }

    fn json(&self) -> Value {
        let mut line = Map::from_iter([
            ("data".into(), json!(self.data)),
            ("subset".into(), json!(self.subset)),
            ("pairs".into(), json!(self.pairs())),
        ]);
        for (name, accuracy) in &self.by {
            let (low, high) = accuracy.interval();
            let value = json!({"accuracy": accuracy.share(), "interval": [low, high]});
            line.insert((*name).into(), value);
        }
        Value::Object(line)
    }
}

/// A Markdown table, `accuracy (95 % interval)` in its cells.
fn table(rows: &[Row<'_>]) -> String {
    let names = rows.first().map_or(&[][..], |row| &row.by);
    let heads: String =
        names.iter().map(|(name, _)| format!(" {} |", name.replace('_', " "))).collect();
    let mut text =
        format!("| data | subset | pairs |{heads}\n|---|---|---|{}\n", "---|".repeat(names.len()));
    for row in rows {
        let cells: String = row
            .by
            .iter()
            .map(|(_, accuracy)| {
                let (low, high) = accuracy.interval();
                format!(" {:.3} ({low:.3}–{high:.3}) |", accuracy.share())
            })
            .collect();
        let subset = row.subset.unwrap_or("all");
        text.push_str(&format!("| {} | {subset} | {} |{cells}\n", row.data, row.pairs()));
    }
    text
}
