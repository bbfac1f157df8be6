//! `revealed eval preferences`: accuracy of a learned reward and its baselines on preference files.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::eval::rewards::{
    PreferenceResult, PreferenceSet, RewardSettings, Scorers, preference_record,
};
use revealed::eval::{EvalRecord, Provenance, Source, evaluate_reward};
use serde_json::{Map, json};

use super::environment::environment;
use super::file_names::file_names;
use super::preference_rows::{heading, json_line, summary, table_row};
use super::scored_notes::note_problems;
use super::scorer_args::ScorerArgs;
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
    scorers: ScorerArgs,
    /// Demonstrations that the models were trained on: pairs with one of their prompts are left out
    #[arg(long)]
    exclude: Vec<PathBuf>,
    /// Most pairs per file, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_pairs: usize,
    /// Draws the pairs, and the answers that are scored again
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// File for the scores: one line of JSON per pair
    #[arg(long)]
    scores: Option<PathBuf>,
    /// File for the record: figures, every pair's scores, settings, hashes
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
    let sets = args.read(progress)?;
    let pairs = sets.iter().flat_map(|set| &set.pairs);
    let evaluated: HashSet<String> = pairs.map(|pair| pair.prompt.words()).collect();
    let scorers = args.scorers.load(&evaluated, device, progress)?;
    let create = |path: &PathBuf| File::create(path).with_context(|| path.display().to_string());
    let mut details = args.scores.as_ref().map(create).transpose()?.map(BufWriter::new);
    let mut output = Output::new();
    if args.table {
        output.text(&heading(&scorers))?;
    }
    let (mut unscored, mut all) = (Vec::new(), Vec::new());
    for (set, path) in sets.iter().zip(&args.files) {
        let path = path.display().to_string();
        if set.pairs.is_empty() {
            progress.note(&format!(
                "{path}: all {} pairs have an excluded prompt; exclude only what was trained on",
                set.excluded
            ));
            unscored.push(path);
            continue;
        }
        let result = args.evaluate(set, &path, &scorers, progress)?;
        if let Some(details) = &mut details {
            result.score_lines().iter().try_for_each(|line| writeln!(details, "{line}"))?;
        }
        if result.scored.used.is_empty() {
            unscored.push(path);
            continue;
        }
        print(&result, args.table, &mut output)?;
        all.push(result);
    }
    if args.table {
        all.iter().try_for_each(|result| output.text(&summary(result)))?;
        output.flush()?;
    }
    if let Some(details) = &mut details {
        details.flush()?;
    }
    if let Some(path) = &args.out {
        args.record(&all, &scorers, device)?.write(path)?;
    }
    match unscored.as_slice() {
        [] => Ok(()),
        files => bail!("no pair of {} could be scored", files.join(", ")),
    }
}

fn print(result: &PreferenceResult<'_>, table: bool, output: &mut Output) -> Result<()> {
    for row in result.accuracies() {
        match table {
            true => output.text(&table_row(result, &row))?,
            false => output.line(&json_line(result, &row))?,
        }
    }
    output.flush()
}

impl PreferencesArgs {
    /// The pairs of every file, in order, without those of excluded prompts.
    fn read(&self, progress: &Progress) -> Result<Vec<PreferenceSet>> {
        let mut seen: HashSet<String> = HashSet::new();
        for file in &self.exclude {
            seen.extend(data::demonstrations(file, progress)?.iter().map(|row| row.prompt.words()));
        }
        let read = |(file, name): (&PathBuf, String)| {
            let mut set = PreferenceSet::new(name, data::preferences(file, progress)?);
            set.exclude(&seen);
            if self.max_pairs > 0 {
                set.subsample(self.max_pairs, self.seed);
            }
            Ok(set)
        };
        self.files.iter().zip(file_names(&self.files)).map(read).collect()
    }

    fn evaluate<'a>(
        &self,
        set: &'a PreferenceSet,
        path: &str,
        scorers: &Scorers,
        progress: &mut Progress,
    ) -> Result<PreferenceResult<'a>> {
        let settings = RewardSettings {
            batch_tokens: self.scorers.text.batch_tokens,
            seed: self.seed,
            ..RewardSettings::default()
        };
        let result = evaluate_reward(set, scorers, &settings, &mut |at| progress.show(at))?;
        let id = |index: usize| set.pairs[index].id.as_str();
        note_problems(&result.scored, (path, "pairs"), id, progress);
        Ok(result)
    }

    fn record(
        &self,
        all: &[PreferenceResult<'_>],
        scorers: &Scorers,
        device: &Device,
    ) -> Result<EvalRecord> {
        let settings = Map::from_iter([
            ("max_pairs".into(), json!(self.max_pairs)),
            ("seed".into(), json!(self.seed)),
            ("exclude".into(), json!(self.exclude)),
            ("probe_on".into(), json!(self.scorers.probe_on)),
            ("text".into(), serde_json::to_value(scorers.rows().encoder.recipe())?),
        ]);
        let files = self.files.iter().chain(&self.exclude).chain(&self.scorers.probe_on);
        let provenance = Provenance {
            models: self.scorers.sources()?,
            data: files.map(|file| Source::data(file)).collect::<Result<_, _>>()?,
            environment: environment(device),
        };
        Ok(preference_record(all, settings, provenance))
    }
}
