//! `revealed eval policy`: a policy beside its reference on the same prompts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::eval::preferences::subsample;
use revealed::eval::{EvalRecord, Source};
use revealed::models::SamplingConfig;
use serde_json::{Map, Value, json};

use super::completions::{Asked, Scorer, diverge, draw, shop_desk_gold};
use super::policy_results::{Drawn, Failed, Results, SIDES, Set};
use super::yardsticks::{policy_and_reference, reward_sources};
use crate::output::{Output, writable};
use crate::progress::Progress;
use crate::rows::Rows;
use crate::score::TextArgs;
use crate::setup::model_folder;

/// Arguments of `revealed eval policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// The policy: a model folder, or a PEFT adapter on --reference; its tokenizer and chat
    /// template are used for both models
    #[arg(long)]
    policy: PathBuf,
    /// The model it is compared with: a folder or hub id
    #[arg(long)]
    reference: String,
    /// Prompts: file, folder, pattern or data set of the hub (see docs/data.md); of demonstrations the prompts are taken
    #[arg(long)]
    prompts: PathBuf,
    /// Reward folder: win rate, mean reward, best-of-n
    #[arg(long)]
    reward: Option<PathBuf>,
    /// A second reward, as the gold that choosing by --reward is judged by
    #[arg(long, conflicts_with = "gold")]
    judge_reward: Option<PathBuf>,
    /// A gold function that is built in, for the same purpose
    #[arg(long)]
    gold: Option<GoldFunction>,
    #[command(flatten)]
    text: TextArgs,
    /// Completions of each prompt; best-of-n goes up to it
    #[arg(long, default_value_t = 16)]
    samples: usize,
    /// Longest completion, in tokens with the terminator
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// Divides the logits; the KL is that of the distributions at this temperature
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Prompts at most, drawn by --seed; 0 for all
    #[arg(long, default_value_t = 0)]
    max_prompts: usize,
    /// Draws prompts and completions
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows decoded together
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Tables instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// The record: figures, every prompt's completions, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Gold functions of built-in tasks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum GoldFunction {
    /// The eight criteria of the quickstart's task
    ShopDesk,
}

/// Draws from both models, measures, and prints a line, or tables.
///
/// # Errors
/// When a file or folder is missing or damaged, or no prompt could be used.
pub fn policy(args: &PolicyArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    let mut config = args.sampling();
    config.check()?;
    let (models, rows) = policy_and_reference(&args.policy, &args.reference, device)?;
    config.stop_ids = rows.encoder.stop_ids().to_vec();
    config.pad_id = rows.encoder.pad_id();
    let (asked, mut failed) = prompts(args, &rows, progress)?;
    // Before anything is drawn: a wrong folder must not cost an hour.
    let load = |folder: &PathBuf| Scorer::load(folder, &args.text, &asked, &rows, device);
    let reward = args.reward.as_ref().map(load).transpose()?;
    let judge = args.judge_reward.as_ref().map(load).transpose()?;
    let mut sides = Vec::new();
    for (name, model) in SIDES.into_iter().zip(&models) {
        let title = format!("sampling from the {name}");
        sides.push(draw(&title, model, &asked, &rows, &config, progress)?);
    }
    let cost = (args.text.batch_tokens, args.temperature);
    diverge(&mut sides[0], &asked, &models, config.pad_id, cost, progress)?;
    let mut drawn = Drawn { asked, sides };
    for (scorer, set) in
        [(&reward, (|c, s| c.reward = Some(s)) as Set), (&judge, |c, s| c.gold = Some(s))]
    {
        if let Some(scorer) = scorer {
            failed.extend(drawn.score(scorer, set, progress)?);
        }
    }
    if let Some(GoldFunction::ShopDesk) = args.gold {
        for side in &mut drawn.sides {
            shop_desk_gold(&drawn.asked, side)?;
        }
    }
    note_failures(&failed, &drawn, args, progress)?;
    let results = Results::of(&drawn, failed.len());
    let mut output = Output::new();
    match args.table {
        true => output.text(&results.tables())?,
        false => results.lines(&mut output)?,
    }
    output.flush()?;
    if let Some(path) = &args.out {
        let mut settings = args.settings();
        let reads = |scorer: &Option<Scorer>| scorer.as_ref().map(|scorer| scorer.by_tokens);
        settings.insert("reward_reads_tokens".into(), json!(reads(&reward)));
        settings.insert("judge_reads_tokens".into(), json!(reads(&judge)));
        settings.insert("not_used".into(), json!(BTreeMap::from_iter(failed)));
        settings.insert("text".into(), serde_json::to_value(rows.encoder.recipe())?);
        EvalRecord {
            evaluation: "policy".into(),
            figures: results.all(),
            items: drawn.items(),
            settings,
            models: args.sources()?,
            data: vec![Source::data(&args.prompts)?],
            environment: super::environment(device),
        }
        .write(path)?;
    }
    Ok(())
}

impl PolicyArgs {
    fn sampling(&self) -> SamplingConfig {
        SamplingConfig {
            temperature: self.temperature,
            max_new_tokens: self.max_tokens,
            samples_per_prompt: self.samples,
            batch_size: self.batch_size,
            seed: self.seed,
            ..SamplingConfig::default()
        }
    }

    fn settings(&self) -> Map<String, Value> {
        Map::from_iter([
            ("samples".into(), json!(self.samples)),
            ("max_tokens".into(), json!(self.max_tokens)),
            ("temperature".into(), json!(self.temperature)),
            ("max_prompts".into(), json!(self.max_prompts)),
            ("seed".into(), json!(self.seed)),
            ("gold".into(), json!(self.gold.map(|_| "shop-desk"))),
        ])
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

fn note_failures(
    failed: &[Failed],
    drawn: &Drawn,
    args: &PolicyArgs,
    progress: &Progress,
) -> Result<()> {
    if let Some((id, reason)) = failed.first() {
        let (count, all) = (failed.len(), failed.len() + drawn.asked.len());
        progress.note(&format!(
            "{count} of {all} prompts could not be used, the first of them {id}: {reason}"
        ));
    }
    match drawn.asked.is_empty() {
        true => bail!("no prompt of {} could be used", args.prompts.display()),
        false => Ok(()),
    }
}

/// Prompts that leave room for completions, and those that do not.
fn prompts(
    args: &PolicyArgs,
    rows: &Rows,
    progress: &Progress,
) -> Result<(Vec<Asked>, Vec<Failed>)> {
    let mut all = crate::data::prompts(&args.prompts, progress)?;
    if args.max_prompts > 0 {
        all = subsample(all, args.max_prompts, args.seed);
    }
    let (mut asked, mut failed) = (Vec::new(), Vec::new());
    for (id, prompt) in all {
        match rows.prompt(&prompt, args.max_tokens) {
            Ok(ids) => asked.push(Asked { id, prompt, ids }),
            Err(reason) => failed.push((id, reason)),
        }
    }
    if asked.is_empty()
        && let Some((id, reason)) = failed.first()
    {
        bail!("no prompt of {} could be used, for example {id}: {reason}", args.prompts.display());
    }
    Ok((asked, failed))
}
