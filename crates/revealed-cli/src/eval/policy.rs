//! `revealed eval policy`: a policy compared with its reference on the same prompts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::eval::policy::{Gold, PolicyResult, PolicySettings};
use revealed::eval::rewards::RewardScorer;
use revealed::eval::{EvalError, Provenance, Source, evaluate_policy};
use revealed::lab::shop_desk::{Note, gold};

use super::environment::environment;
use super::policy_rows::{lines, tables};
use super::scorer_args::{policy_and_reference, reward_sources};
use crate::output::{Output, writable};
use crate::progress::Progress;
use crate::score::{TextArgs, load_reward};
use crate::setup::model_folder;

/// Arguments of `revealed eval policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// The policy: a model folder, or a PEFT adapter on --reference; its tokenizer and chat
    /// template are used for both models
    #[arg(long)]
    policy: PathBuf,
    /// The model that it is compared with: a folder or hub id
    #[arg(long)]
    reference: String,
    /// Prompts: file, folder, pattern or data set of the hub (see docs/data.md); the completions of demonstrations are ignored
    #[arg(long)]
    prompts: PathBuf,
    /// Reward folder: win rate, mean reward, best-of-n
    #[arg(long)]
    reward: Option<PathBuf>,
    /// A second reward, used as the gold score: best-of-n chooses by --reward and reports this one
    #[arg(long, conflicts_with = "gold")]
    judge_reward: Option<PathBuf>,
    /// A built-in gold function, used as the gold score
    #[arg(long)]
    gold: Option<GoldFunction>,
    #[command(flatten)]
    text: TextArgs,
    /// Completions of each prompt; best-of-n goes up to it
    #[arg(long, default_value_t = 16)]
    samples: usize,
    /// Longest completion, in tokens, EOS included
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// Divides the logits; the KL is that of the distributions at this temperature
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Most prompts, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_prompts: usize,
    /// Seed that draws prompts and completions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows decoded together
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Tables instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// File for the record: figures, every prompt's completions, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Gold functions of built-in tasks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum GoldFunction {
    /// The eight criteria of the quickstart's task
    ShopDesk,
}

/// Samples from both models, compares them, and prints a line per figure, or tables.
///
/// # Errors
/// When a file or folder is missing or damaged, or no prompt could be used.
pub fn policy(args: &PolicyArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    let models = policy_and_reference(&args.policy, &args.reference, device)?;
    let prompts = crate::data::prompts(&args.prompts, progress)?;
    // Loaded before the first completion is sampled: a wrong folder must not cost an hour.
    let load = |folder: &PathBuf| load_reward(folder, &args.text, device);
    let reward = args.reward.as_ref().map(load).transpose()?;
    let judge = args.judge_reward.as_ref().map(load).transpose()?;
    let scorers = (reward.as_ref(), args.gold(judge.as_ref()));
    let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
    let result = match evaluate_policy(&models, prompts, scorers, &args.settings(), show) {
        Err(EvalError::NoPrompts { failed, id, reason }) => bail!(
            "no prompt of {} could be used: {failed} of {failed} prompts failed, the first of them {id}: {reason}",
            args.prompts.display()
        ),
        other => other?,
    };
    note_failures(&result, progress);
    let mut output = Output::new();
    match args.table {
        true => output.text(&tables(&result))?,
        false => lines(&result).iter().try_for_each(|line| output.line(line))?,
    }
    output.flush()?;
    if let Some(path) = &args.out {
        let provenance = Provenance {
            models: args.sources()?,
            data: vec![Source::data(&args.prompts)?],
            environment: environment(device),
        };
        result.record(provenance).write(path)?;
    }
    Ok(())
}

impl PolicyArgs {
    fn settings(&self) -> PolicySettings {
        PolicySettings {
            samples: self.samples,
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            max_prompts: self.max_prompts,
            seed: self.seed,
            batch_size: self.batch_size,
            batch_tokens: self.text.batch_tokens,
        }
    }

    fn gold<'a>(&self, judge: Option<&'a RewardScorer>) -> Option<Gold<'a>> {
        match (judge, self.gold) {
            (Some(judge), _) => Some(Gold::Reward(judge)),
            (None, Some(GoldFunction::ShopDesk)) => {
                Some(Gold::Function("shop-desk", &|prompt, one| {
                    let note = Note::parse(&prompt.words()).ok_or(
                    "it is no note of the shop desk; --gold shop-desk is for prompts that `revealed quickstart` wrote",
                )?;
                    Ok(gold(&note, &one.text, one.finished).score)
                }))
            }
            (None, None) => None,
        }
    }

    fn sources(&self) -> Result<BTreeMap<String, Source>> {
        let mut models = BTreeMap::from([
            ("policy".to_owned(), Source::of(&self.policy)?),
            ("reference".to_owned(), Source::of(&model_folder(&self.reference)?)?),
        ]);
        for (role, folder) in [("reward", &self.reward), ("judge_reward", &self.judge_reward)] {
            if let Some(folder) = folder {
                models.extend(reward_sources(role, folder, self.text.base.as_deref())?);
            }
        }
        Ok(models)
    }
}

fn note_failures(result: &PolicyResult, progress: &Progress) {
    if let Some((id, reason)) = result.failed.first() {
        let (failed, all) = (result.failed.len(), result.failed.len() + result.prompts.len());
        progress.note(&format!(
            "{failed} of {all} prompts could not be used, the first of them {id}: {reason}"
        ));
    }
}
