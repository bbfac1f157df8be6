//! `revealed score`: calibrated scores of demonstrations, and accuracy on preference pairs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::{
    Completion, Demonstration, Encoded, Encoder, LongCompletion, LongPrompt, Preference, Records,
    TextRecipe,
};
use revealed::eval::RowError;
use revealed::eval::preferences::{Accuracy, in_order};
use revealed::eval::rewards::RewardScorer;
use revealed::models::Scoring;
use revealed::reward::{REWARD_FILE, RewardEnsemble, RewardFile, RewardModel};
use serde_json::json;

use crate::check::choice;
use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{note_retokenized, report_errors};
use crate::setup::model_folder;

/// Rows scored between two writes.
const ROWS: usize = 256;

/// Arguments of `revealed score`.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// Reward folder: full weights or adapter
    #[arg(long)]
    reward: PathBuf,
    /// Demonstrations or preferences: file, folder, pattern or data set of the hub (see docs/data.md)
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    text: TextArgs,
}

/// How rows are made and batched for a reward.
#[derive(Debug, clap::Args)]
pub struct TextArgs {
    /// The model a reward's adapter goes on, instead of the one it names
    #[arg(long)]
    pub base: Option<String>,
    /// Longest prompt, in tokens, instead of the reward's own limit
    #[arg(long)]
    max_prompt_tokens: Option<usize>,
    /// Longest completion, in tokens, instead of the reward's own limit
    #[arg(long)]
    max_completion_tokens: Option<usize>,
    /// A longer prompt is "drop" or "truncate-left", instead of the reward's own rule
    #[arg(long, value_parser = choice::<LongPrompt>)]
    long_prompts: Option<LongPrompt>,
    /// A longer completion is "drop" or "truncate", instead of the reward's own rule
    #[arg(long, value_parser = choice::<LongCompletion>)]
    long_completions: Option<LongCompletion>,
    /// Padded tokens in one forward pass: memory and speed, not results; more on a GPU
    #[arg(long, default_value_t = 1024)]
    pub batch_tokens: usize,
}

/// Loads a reward with the text processing that it was trained with.
///
/// # Errors
/// When a file is missing or damaged.
pub fn load_reward(folder: &Path, args: &TextArgs, device: &Device) -> Result<RewardScorer> {
    refuse_policy(folder)?;
    let file = RewardModel::read_file(folder)?;
    let encoder = encoder(folder, args, file)?;
    let (reward, _) = RewardEnsemble::load(folder, args.base.as_deref(), device)?;
    Ok(RewardScorer::new(reward, encoder)?)
}

/// Says so where a policy, or a whole run, is given in a reward's place, and names the reward that
/// is meant.
fn refuse_policy(folder: &Path) -> Result<()> {
    let is = |folder: &Path, file: &str| folder.join(file).is_file();
    if is(folder, REWARD_FILE) {
        return Ok(());
    }
    let model = is(folder, "adapter_config.json") || is(folder, "config.json");
    let mut near =
        [Some(folder), folder.parent()].into_iter().flatten().map(|run| run.join("reward"));
    let meant = match near.find(|reward| is(reward, REWARD_FILE)) {
        Some(reward) => format!("give {}", reward.display()),
        None if model => "give the folder of a reward, such as RUN/reward".into(),
        None => return Ok(()),
    };
    let kind = if model { " but a model or policy" } else { "" };
    bail!("{} is no reward{kind}: it has no {REWARD_FILE}; {meant}", folder.display())
}

struct Scorer {
    scorer: RewardScorer,
    batch_tokens: usize,
}

/// Prints a line a row. A row beyond the limits gets a line with `error` and counts for nothing;
/// only if all are is that a failure.
pub fn score(args: &ScoreArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let records = crate::data::read(&args.data, progress)?.records;
    if let Records::Prompts(_) = records {
        bail!(
            "{} holds prompts alone; scores need completions (messages; prompt, completion; chosen, rejected)",
            args.data.display()
        );
    }
    let scorer = Scorer::load(args, device)?;
    let mut output = Output::new();
    let (total, mut failed) = (records.len(), 0);
    progress.begin("scoring", total);
    match records {
        Records::Demonstrations(all) => {
            for (call, rows) in all.chunks(ROWS).enumerate() {
                failed += demonstrations(rows, &scorer, &mut output)?;
                progress.step(total.min((call + 1) * ROWS), total, "");
            }
        }
        Records::Preferences(all) => {
            let mut pairs = Vec::new();
            for (call, rows) in all.chunks(ROWS).enumerate() {
                let (scored, wrong) = preferences(rows, &scorer, &mut output)?;
                pairs.extend(scored);
                failed += wrong;
                progress.step(total.min((call + 1) * ROWS), total, "");
            }
            accuracy(&pairs, &mut output)?;
        }
        Records::Prompts(_) => {}
    }
    progress.end("");
    note_retokenized(&scorer.scorer.rows, progress);
    report_errors(failed, total, &args.data, progress)
}

impl Scorer {
    fn load(args: &ScoreArgs, device: &Device) -> Result<Self> {
        let scorer = load_reward(&args.reward, &args.text, device)?;
        Ok(Self { scorer, batch_tokens: args.text.batch_tokens })
    }

    fn scores(&self, rows: &[&Encoded]) -> Result<Vec<f64>> {
        let rows: Vec<(&[u32], usize)> =
            rows.iter().map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
        let mut scoring = Scoring::new(self.scorer.rows.encoder.pad_id(), self.batch_tokens);
        Ok(self.scorer.reward.score_rows(&rows, &mut scoring)?)
    }

    /// The uncalibrated score, as Transformers computes it; `None` for an ensemble.
    fn raw(&self, score: f64) -> Option<f64> {
        match self.scorer.reward.members.as_slice() {
            [only] => Some(only.calibration.revert(score)),
            _ => None,
        }
    }
}

/// The text processing that the reward was trained with, on its own tokenizer or that of its base.
fn encoder(reward: &Path, args: &TextArgs, file: RewardFile) -> Result<Encoder> {
    let path = reward.join(REWARD_FILE);
    let wrong = || format!("{}: `text` is not a recipe from text to ids", path.display());
    let mut recipe: TextRecipe = serde_json::from_value(file.text).with_context(wrong)?;
    recipe.max_prompt_tokens = args.max_prompt_tokens.unwrap_or(recipe.max_prompt_tokens);
    recipe.max_completion_tokens =
        args.max_completion_tokens.unwrap_or(recipe.max_completion_tokens);
    recipe.too_long.prompts = args.long_prompts.unwrap_or(recipe.too_long.prompts);
    recipe.too_long.completions = args.long_completions.unwrap_or(recipe.too_long.completions);
    let base = args.base.as_deref().or(file.base_model.as_deref());
    let folder = match base {
        Some(base) if !has_tokenizer(reward) => model_folder(base)?,
        _ => reward.to_owned(),
    };
    Ok(Encoder::from_recipe(&folder, recipe)?)
}

fn has_tokenizer(folder: &Path) -> bool {
    folder.join("tokenizer.json").is_file()
}

fn demonstrations(rows: &[Demonstration], scorer: &Scorer, output: &mut Output) -> Result<usize> {
    let encoded: Vec<Result<Encoded, RowError>> =
        rows.iter().map(|row| scorer.scorer.rows.demonstration(row)).collect();
    let usable: Vec<&Encoded> = encoded.iter().flatten().collect();
    let mut scores = scorer.scores(&usable)?.into_iter();
    let mut failed = 0;
    for (row, encoded) in rows.iter().zip(&encoded) {
        match encoded {
            Err(error) => {
                failed += 1;
                output.line(&json!({"id": row.id, "error": error.to_string()}))?;
            }
            Ok(_) => {
                let score = scores.next().context("one score a row")?;
                let line = match scorer.raw(score) {
                    Some(raw) => json!({"id": row.id, "score": score, "raw": raw}),
                    None => json!({"id": row.id, "score": score}),
                };
                output.line(&line)?;
            }
        }
    }
    output.flush()?;
    Ok(failed)
}

/// Scores `[chosen, rejected]` with their prompts, and how many pairs could not be scored.
fn preferences(
    rows: &[Preference],
    scorer: &Scorer,
    output: &mut Output,
) -> Result<(Vec<(String, [f64; 2])>, usize)> {
    let side = |row: &Preference, answer: &Completion, name: &str| {
        scorer
            .scorer
            .rows
            .completion(&row.prompt, answer)
            .map_err(|source| RowError::Answer { answer: name.into(), source: Box::new(source) })
    };
    let encoded: Vec<Result<[Encoded; 2], RowError>> = rows
        .iter()
        .map(|row| {
            let chosen = side(row, &row.chosen, "chosen")?;
            Ok([chosen, side(row, &row.rejected, "rejected")?])
        })
        .collect();
    let usable: Vec<&Encoded> = encoded.iter().flatten().flatten().collect();
    let scores = scorer.scores(&usable)?;
    let mut pairs = scores.chunks_exact(2);
    let (mut scored, mut failed) = (Vec::new(), 0);
    for (row, encoded) in rows.iter().zip(&encoded) {
        if let Err(error) = encoded {
            failed += 1;
            output.line(&json!({"id": row.id, "error": error.to_string()}))?;
            continue;
        }
        let pair = pairs.next().context("two scores a pair")?;
        let (chosen, rejected) = (pair[0], pair[1]);
        let right = in_order([chosen, rejected]);
        scored.push((row.prompt.words(), [chosen, rejected]));
        let line = json!({"id": row.id, "chosen": chosen, "rejected": rejected, "correct": right});
        output.line(&line)?;
    }
    output.flush()?;
    Ok((scored, failed))
}

/// The share of scored pairs in order, with its 95 % interval.
fn accuracy(scored: &[(String, [f64; 2])], output: &mut Output) -> Result<()> {
    if !scored.is_empty() {
        let accuracy = Accuracy::of(scored.iter().map(|(prompt, scores)| (prompt, scores)));
        let ((low, high), share) = (accuracy.interval(), accuracy.share());
        output.line(&json!({"pairs": scored.len(), "accuracy": share, "interval": [low, high]}))?;
    }
    output.flush()
}
