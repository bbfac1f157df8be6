//! `revealed eval policy`: a policy beside its reference on the same prompts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::read_prompts;
use revealed::eval::policy::{BestOfN, Completion, best_of_n, figures};
use revealed::eval::preferences::some;
use revealed::eval::{EvalRecord, Figure, Item, Source};
use revealed::models::SamplingConfig;
use serde_json::{Map, Value, json};

use super::completions::{Asked, Scorer, diverge, draw, shop_desk_gold};
use super::table::{cell, estimate_cell, head, row, shown, shown_figure};
use super::yardsticks::{policy_and_reference, reward_sources};
use crate::output::Output;
use crate::progress::Progress;
use crate::rows::{ModelArgs, Rows};
use crate::score::TextArgs;
use crate::setup::model_folder;

/// Arguments of `revealed eval policy`.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// The policy: a model folder, or a PEFT adapter on --reference
    #[arg(long)]
    policy: PathBuf,
    /// The model it is compared with: a folder or hub id
    #[arg(long)]
    reference: String,
    /// Prompts: .jsonl, .json or .parquet; of demonstrations the prompts are taken
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
    let mut config = SamplingConfig {
        temperature: args.temperature,
        max_new_tokens: args.max_tokens,
        samples_per_prompt: args.samples,
        batch_size: args.batch_size,
        seed: args.seed,
        ..SamplingConfig::default()
    };
    config.check()?;
    let reference = ModelArgs::plain(&args.reference);
    let (models, rows) = policy_and_reference(&args.policy, reference, device)?;
    config.stop_ids = rows.encoder.stop_ids().to_vec();
    config.pad_id = rows.encoder.pad_id();
    let (asked, mut failed) = prompts(args, &rows)?;
    // Before anything is drawn: a wrong folder must not cost an hour.
    let load = |folder: &PathBuf| Scorer::load(folder, &args.text, &asked, &rows, device);
    let reward = args.reward.as_ref().map(load).transpose()?;
    let judge = args.judge_reward.as_ref().map(load).transpose()?;
    let mut sides = Vec::new();
    for (name, model) in ["policy", "reference"].into_iter().zip(&models) {
        sides.push(draw(
            &format!("sampling from the {name}"),
            model,
            &asked,
            &rows,
            &config,
            progress,
        )?);
    }
    let cost = (args.text.batch_tokens, args.temperature);
    diverge(&mut sides[0], &asked, &models, config.pad_id, cost, progress)?;
    let mut drawn = Drawn { asked, sides };
    if let Some(scorer) = &reward {
        failed.extend(drawn.score(
            scorer,
            "reward",
            |c, score| c.reward = Some(score),
            progress,
        )?);
    }
    if let Some(scorer) = &judge {
        failed.extend(drawn.score(
            scorer,
            "judge reward",
            |c, score| c.gold = Some(score),
            progress,
        )?);
    }
    if let Some(GoldFunction::ShopDesk) = args.gold {
        for side in &mut drawn.sides {
            shop_desk_gold(&drawn.asked, side)?;
        }
    }
    if let Some((id, reason)) = failed.first() {
        let (count, all) = (failed.len(), failed.len() + drawn.asked.len());
        progress.note(&format!(
            "{count} of {all} prompts could not be used, the first of them {id}: {reason}"
        ));
    }
    if drawn.asked.is_empty() {
        bail!("no prompt of {} could be used", args.prompts.display());
    }
    let results = Results::of(&drawn);
    let mut output = Output::new();
    match args.table {
        true => output.text(&results.tables())?,
        false => results.lines(&mut output)?,
    }
    output.flush()?;
    if let Some(path) = &args.out {
        let mut record = results.record(args, &drawn, device)?;
        let reads = |scorer: &Option<Scorer>| scorer.as_ref().map(|scorer| scorer.by_tokens);
        record.settings.insert("reward_reads_tokens".into(), json!(reads(&reward)));
        record.settings.insert("judge_reads_tokens".into(), json!(reads(&judge)));
        record.settings.insert("not_used".into(), json!(BTreeMap::from_iter(failed)));
        record.settings.insert("text".into(), serde_json::to_value(rows.encoder.recipe())?);
        record.write(path)?;
    }
    Ok(())
}

/// An id with the reason why its prompt was not used.
type Failed = (String, String);

/// Prompts that leave room for completions, and those that do not.
fn prompts(args: &PolicyArgs, rows: &Rows) -> Result<(Vec<Asked>, Vec<Failed>)> {
    let mut all = read_prompts(&args.prompts)?;
    if args.max_prompts > 0 {
        all = some(all, args.max_prompts, args.seed);
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

/// Prompts with the completions of policy and reference.
struct Drawn {
    asked: Vec<Asked>,
    sides: Vec<Vec<Vec<Completion>>>,
}

impl Drawn {
    /// Scores both sides; prompts with a completion that does not fit are taken out and given back.
    fn score(
        &mut self,
        scorer: &Scorer,
        title: &str,
        set: fn(&mut Completion, f64),
        progress: &mut Progress,
    ) -> Result<Vec<Failed>> {
        let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
        for side in &mut self.sides {
            let scores = scorer.scores(title, &self.asked, side, progress)?;
            for (index, (all, scores)) in side.iter_mut().zip(scores).enumerate() {
                match scores {
                    Ok(scores) => all.iter_mut().zip(scores).for_each(|(c, score)| set(c, score)),
                    Err(reason) => drop(reasons.insert(index, format!("{title}: {reason}"))),
                }
            }
        }
        let mut failed = Vec::new();
        for (index, reason) in reasons.into_iter().rev() {
            failed.push((self.asked.remove(index).id, reason));
            self.sides.iter_mut().for_each(|side| drop(side.remove(index)));
        }
        failed.reverse();
        Ok(failed)
    }
}

/// Figures, and the best-of-n curves of policy and reference.
struct Results {
    figures: Vec<Figure>,
    curves: Vec<(&'static str, BestOfN)>,
}

impl Results {
    fn of(drawn: &Drawn) -> Self {
        let [policy, reference] = [&drawn.sides[0], &drawn.sides[1]];
        let curve = |name, side| best_of_n(side).into_iter().map(move |point| (name, point));
        Self {
            figures: figures(policy, reference),
            curves: curve("reference", reference).chain(curve("policy", policy)).collect(),
        }
    }

    fn lines(&self, output: &mut Output) -> Result<()> {
        for figure in &self.figures {
            let mut line = Map::from_iter([
                ("metric".into(), json!(figure.name)),
                ("of".into(), json!(figure.subset)),
                ("prompts".into(), json!(figure.n)),
            ]);
            line.extend(shown_figure(figure).as_object().cloned().unwrap_or_default());
            output.line(&Value::Object(line))?;
        }
        for (name, point) in &self.curves {
            output.line(&json!({
                "best_of": point.n,
                "of": name,
                "kl": point.kl,
                "sqrt_kl": point.kl.sqrt(),
                "reward": shown(point.reward.value, point.reward.interval()),
                "gold": point.gold.map(|gold| shown(gold.value, gold.interval())),
            }))?;
        }
        Ok(())
    }

    fn tables(&self) -> String {
        let mut text = head(&["metric", "value"]);
        for figure in self.figures.iter().filter(|figure| figure.subset.is_none()) {
            text.push_str(&row([&figure.name, &cell(figure.value, figure.interval)]));
        }
        text.push_str(&format!("\n{}", head(&["metric", "policy", "reference"])));
        let of = |name: &str, side: &str| {
            let found =
                self.figures.iter().find(|f| f.name == name && f.subset.as_deref() == Some(side));
            found.map_or_else(String::new, |figure| cell(figure.value, figure.interval))
        };
        for figure in self.figures.iter().filter(|f| f.subset.as_deref() == Some("policy")) {
            let sides = ["policy", "reference"].map(|side| of(&figure.name, side));
            text.push_str(&row([&figure.name, &sides[0], &sides[1]]));
        }
        if self.curves.is_empty() {
            return text;
        }
        text.push_str(&format!(
            "\n{}",
            head(&["best of", "samples of", "KL ≤", "√KL", "reward", "gold"])
        ));
        for (name, point) in &self.curves {
            let gold = point.gold.map_or_else(String::new, |gold| estimate_cell(&gold));
            let (kl, root) = (format!("{:.3}", point.kl), format!("{:.3}", point.kl.sqrt()));
            let reward = estimate_cell(&point.reward);
            text.push_str(&row([&point.n.to_string(), *name, &kl, &root, &reward, &gold]));
        }
        text
    }

    fn record(&self, args: &PolicyArgs, drawn: &Drawn, device: &Device) -> Result<EvalRecord> {
        let mut figures = self.figures.clone();
        let prompts = drawn.asked.len();
        for (name, point) in &self.curves {
            let of = |what: &str| format!("best_of_{}/{what}", point.n);
            figures.push(point.reward.figure(of("reward"), Some(name), prompts));
            figures.extend(point.gold.map(|gold| gold.figure(of("gold"), Some(name), prompts)));
        }
        let mut models = BTreeMap::from([
            ("policy".to_owned(), Source::of(&args.policy)?),
            ("reference".to_owned(), Source::of(&model_folder(&args.reference)?)?),
        ]);
        for (role, folder) in [("reward", &args.reward), ("judge_reward", &args.judge_reward)] {
            if let Some(folder) = folder {
                models.extend(reward_sources(role, folder, args.text.base.as_deref())?);
            }
        }
        let settings = Map::from_iter([
            ("samples".into(), json!(args.samples)),
            ("max_tokens".into(), json!(args.max_tokens)),
            ("temperature".into(), json!(args.temperature)),
            ("max_prompts".into(), json!(args.max_prompts)),
            ("seed".into(), json!(args.seed)),
            ("gold".into(), json!(args.gold.map(|_| "shop-desk"))),
        ]);
        Ok(EvalRecord {
            evaluation: "policy".into(),
            figures,
            items: (0..prompts).map(|index| item(drawn, index)).collect(),
            settings,
            models,
            data: vec![Source::of(&args.prompts)?],
            environment: super::environment(device),
        })
    }
}

/// A prompt with its completions, for the record.
fn item(drawn: &Drawn, index: usize) -> Item {
    let one = &drawn.asked[index];
    let (mut values, mut detail) = (BTreeMap::new(), Map::new());
    detail.insert("prompt".into(), json!(one.prompt));
    for (name, side) in ["policy", "reference"].into_iter().zip(&drawn.sides) {
        let all = &side[index];
        let mut mean = |what: &str, of: fn(&Completion) -> Option<f64>| {
            let found: Option<Vec<f64>> = all.iter().map(of).collect();
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                let mean = found.iter().sum::<f64>() / found.len() as f64;
                values.insert(format!("{name}/{what}"), mean);
            }
        };
        mean("reward", |c| c.reward);
        mean("gold", |c| c.gold);
        mean("kl_k1", |c| c.k1);
        mean("kl_k3", |c| c.k3);
        mean("tokens", |c| Some(c.tokens.len() as f64));
        mean("finished", |c| Some(f64::from(u8::from(c.finished))));
        let shown = |c: &Completion| {
            json!({
                "completion": c.text, "tokens": c.tokens.len(), "finished": c.finished,
                "reward": c.reward, "gold": c.gold, "k1": c.k1,
            })
        };
        detail.insert(name.into(), all.iter().map(shown).collect());
    }
    Item { id: format!("{index}/{}", one.id), subset: None, values, detail }
}
