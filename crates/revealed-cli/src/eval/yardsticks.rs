//! What an answer can be measured by: a learned reward, and rules that need none.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{Encoded, TemplateChoice};
use revealed::eval::Source;
use revealed::models::CausalLm;
use revealed::reward::{BagProbe, RewardEnsemble, RewardModel};

use crate::log_probs::of_rows;
use crate::progress::Progress;
use crate::rows::{Rows, load_model, text_folder, unlimited_encoder};
use crate::score::{TextArgs, load_reward};
use crate::setup::model_folder;

/// Which yardsticks there are.
#[derive(Debug, clap::Args)]
pub struct YardstickArgs {
    /// Reward folder: full weights or adapter
    #[arg(long)]
    pub reward: Option<PathBuf>,
    #[command(flatten)]
    pub text: TextArgs,
    /// A policy whose log-ratio to --reference is a reward too: a model, or a PEFT adapter on that
    #[arg(long, requires = "reference")]
    pub policy: Option<PathBuf>,
    /// The model it is compared with
    #[arg(long, requires = "policy")]
    pub reference: Option<String>,
    /// Preference pairs to fit a bag-of-tokens probe to, the baseline of words alone; pairs of a
    /// prompt that is evaluated are left out
    #[arg(long)]
    pub probe_on: Vec<PathBuf>,
}

impl YardstickArgs {
    /// The policy of the reward's run, where none is asked for.
    fn policy_beside(&self) -> Option<PathBuf> {
        let policy = self.reward.as_ref()?.parent()?.join("policy");
        (self.policy.is_none() && policy.is_dir()).then_some(policy)
    }

    /// The models with their hashes, by role.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn sources(&self) -> Result<BTreeMap<String, Source>> {
        let mut sources = BTreeMap::new();
        if let Some(reward) = &self.reward {
            sources.extend(reward_sources("reward", reward, self.text.base.as_deref())?);
        }
        if let (Some(policy), Some(reference)) = (&self.policy, &self.reference) {
            sources.insert("policy".into(), Source::of(policy)?);
            sources.insert("reference".into(), Source::of(&model_folder(reference)?)?);
        }
        Ok(sources)
    }
}

/// A reward, and the base that its adapter goes on.
///
/// # Errors
/// When a folder cannot be read.
pub fn reward_sources(
    role: &str,
    folder: &Path,
    base: Option<&str>,
) -> Result<BTreeMap<String, Source>> {
    let mut sources = BTreeMap::from([(role.to_owned(), Source::of(folder)?)]);
    let file = RewardModel::read_file(folder)?;
    if let Some(base) = base.or(file.base_model.as_deref()) {
        sources.insert(format!("{role}_base"), Source::of(&model_folder(base)?)?);
    }
    Ok(sources)
}

/// Policy and reference. Both read the policy's tokens: its own tokenizer and chat template, else
/// the reference's.
///
/// # Errors
/// When a folder is missing or damaged, or the two have not one vocabulary.
pub fn policy_and_reference(
    policy: &Path,
    reference: &str,
    device: &Device,
) -> Result<([CausalLm; 2], Rows)> {
    let base = model_folder(reference)?;
    let adapter = policy.join("adapter_config.json").is_file();
    let text = match adapter || !policy.join("tokenizer.json").is_file() {
        true => text_folder(&base, Some(policy)),
        false => text_folder(policy, None),
    };
    let encoder = unlimited_encoder(&text, &base, &TemplateChoice::Auto)?;
    let reference = load_model(&base, None, device)?;
    let rows = Rows::new(encoder, reference.shape());
    let policy = match adapter {
        true => reference.clone().with_adapter(policy)?,
        false => load_model(policy, None, device)?,
    };
    let (found, wanted) = (policy.shape().vocab_size, reference.shape().vocab_size);
    if found != wanted {
        bail!("the policy has {found} tokens, the reference {wanted}: they need one tokenizer");
    }
    Ok(([policy, reference], rows))
}

/// Whether two text sides give a conversation other tokens.
fn writes_otherwise(one: &Rows, other: &Rows) -> bool {
    let read = |rows: &Rows| {
        let recipe = rows.encoder.recipe();
        // A reward's template is cut at the terminator, and limits are no part of how a text is
        // written.
        let template = rows.encoder.template_to_terminator();
        let mut tokens = recipe.special_tokens;
        tokens.retain(|name, _| template.as_ref().is_some_and(|text| text.contains(&**name)));
        (template, tokens, recipe.prefix, recipe.terminator, recipe.vocab_size)
    };
    read(one) != read(other)
}

/// What scores an answer.
pub struct Yardsticks {
    /// From texts to the tokens of the learned reward, or without one of the policy.
    pub rows: Rows,
    /// From texts to the policy's tokens, where these are others.
    pub policy_rows: Option<Rows>,
    /// The learned reward.
    pub reward: Option<RewardEnsemble>,
    /// Policy and reference.
    models: Option<[CausalLm; 2]>,
    probe: Option<BagProbe>,
    batch_tokens: usize,
}

/// Values of rows, by yardstick.
pub type Values = BTreeMap<&'static str, Vec<f64>>;

impl Yardsticks {
    /// Loads the models; the probe is fitted to pairs of other prompts than `evaluated`, given as
    /// their words.
    ///
    /// # Errors
    /// When there is none, when a folder is missing or damaged, or when tokenizers differ.
    pub fn load(
        args: &YardstickArgs,
        evaluated: &HashSet<String>,
        device: &Device,
        progress: &Progress,
    ) -> Result<Self> {
        let models = match (&args.policy, &args.reference) {
            (Some(policy), Some(reference)) => {
                Some(policy_and_reference(policy, reference, device)?)
            }
            _ => None,
        };
        let reward = args.reward.as_ref().map(|folder| load_reward(folder, &args.text, device));
        let (models, policy_rows, (rows, reward)) = match (models, reward.transpose()?) {
            (None, Some((rows, reward))) => (None, None, (rows, Some(reward))),
            (Some((models, own)), Some((rows, reward))) => {
                let own = Some(own).filter(|own| writes_otherwise(own, &rows));
                (Some(models), own, (rows, Some(reward)))
            }
            (Some((models, rows)), None) => (Some(models), None, (rows, None)),
            (None, None) => {
                bail!("nothing to evaluate: give --reward, or --policy and --reference, or both")
            }
        };
        if policy_rows.is_some() {
            progress.note("the policy's tokenizer or chat template is not the reward's: log_ratio reads answers as the policy writes them, the other columns as the reward does");
        }
        for model in models.iter().flatten() {
            let (found, wanted) = (model.shape().vocab_size, rows.shape.vocab_size);
            if found != wanted {
                bail!("a model has {found} tokens, the reward {wanted}: they need one tokenizer");
            }
        }
        if let Some(policy) = args.policy_beside() {
            let policy = policy.display();
            progress.note(&format!(
                "log_ratio is not shown; for it add --policy {policy} --reference MODEL, which take memory and time of their own"
            ));
        }
        let batch_tokens = args.text.batch_tokens;
        let mut yardsticks = Self { rows, policy_rows, reward, models, probe: None, batch_tokens };
        if !args.probe_on.is_empty() {
            yardsticks.probe = Some(yardsticks.fit_probe(&args.probe_on, evaluated, progress)?);
        }
        Ok(yardsticks)
    }

    fn fit_probe(
        &self,
        files: &[PathBuf],
        evaluated: &HashSet<String>,
        progress: &Progress,
    ) -> Result<BagProbe> {
        let (mut pairs, mut all) = (Vec::new(), 0);
        for file in files {
            let read = crate::data::preferences(file, progress)?;
            all += read.len();
            for pair in read.iter().filter(|pair| !evaluated.contains(&pair.prompt.words())) {
                let sides = [&pair.chosen, &pair.rejected];
                if let [Ok(a), Ok(b)] = sides.map(|text| self.rows.row(&pair.prompt, text)) {
                    pairs.push([a, b].map(|row| row.input_ids[row.completion_start..].to_vec()));
                }
            }
        }
        progress.note(&format!("bag-of-tokens probe: fitted to {} of {all} pairs", pairs.len()));
        if pairs.is_empty() {
            bail!(
                "--probe-on has no pair left to fit to; give pairs of prompts that are not evaluated"
            );
        }
        let pairs: Vec<(&[u32], &[u32])> =
            pairs.iter().map(|[a, b]| (a.as_slice(), b.as_slice())).collect();
        Ok(BagProbe::fit(&pairs))
    }

    /// The yardsticks' names, in the order of [`values`](Self::values).
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = vec!["length"];
        if self.models.is_some() {
            names.extend(["log_ratio", "log_ratio_per_token"]);
        }
        names.extend(self.reward.as_ref().map(|_| "reward"));
        match self.probe {
            Some(_) => std::iter::once("bag").chain(names).collect(),
            None => names,
        }
    }

    /// Every yardstick's value of every row, whose completions are `texts` and whose tokens for the
    /// policy are `policy_rows`, where these are others.
    ///
    /// # Errors
    /// When a model gives no number.
    pub fn values(
        &self,
        rows: &[Encoded],
        policy_rows: &[Encoded],
        texts: &[Cow<'_, str>],
    ) -> Result<Values> {
        let mut values = Values::new();
        values.insert("length", texts.iter().map(|text| text.chars().count() as f64).collect());
        if let Some(probe) = &self.probe {
            let bag = |row: &Encoded| probe.logit(&row.input_ids[row.completion_start..]);
            values.insert("bag", rows.iter().map(bag).collect());
        }
        if let Some(reward) = &self.reward {
            let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
            let scores = reward.scores(&ids, self.rows.encoder.pad_id(), self.batch_tokens)?;
            values.insert("reward", scores);
        }
        if let Some(models) = &self.models {
            let rows = if self.policy_rows.is_some() { policy_rows } else { rows };
            let ratios = self.log_ratios(rows, models)?;
            let tokens = rows.iter().map(|row| row.input_ids.len() - row.completion_start);
            let each = ratios.iter().zip(tokens).map(|(sum, n)| sum / n.max(1) as f64).collect();
            values.insert("log_ratio", ratios);
            values.insert("log_ratio_per_token", each);
        }
        Ok(values)
    }

    /// `Σ_t log π(y_t) − log π_ref(y_t)` of each row, in nats.
    fn log_ratios(&self, rows: &[Encoded], models: &[CausalLm; 2]) -> Result<Vec<f64>> {
        let rows: Vec<&Encoded> = rows.iter().collect();
        let sums = |model| -> Result<Vec<f64>> {
            let pad_id = self.policy_rows.as_ref().unwrap_or(&self.rows).encoder.pad_id();
            let all = of_rows(&rows, model, pad_id, self.batch_tokens, 1.0)?;
            Ok(all.iter().map(|row| row.iter().map(|v| f64::from(*v)).sum()).collect())
        };
        let (policy, reference) = (sums(&models[0])?, sums(&models[1])?);
        Ok(policy.iter().zip(reference).map(|(a, b)| a - b).collect())
    }
}
