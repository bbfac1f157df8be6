//! The methods that score answers, from the command line: a learned reward, the log-ratio of two models, and a probe.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::TemplateChoice;
use revealed::eval::Source;
use revealed::eval::rewards::{PolicyAndReference, Scorers};
use revealed::reward::RewardModel;

use crate::progress::Progress;
use crate::rows::{load_model, text_folder, unlimited_encoder};
use crate::score::{TextArgs, load_reward};
use crate::setup::model_folder;

/// The methods to score answers by.
#[derive(Debug, clap::Args)]
pub struct ScorerArgs {
    /// Reward folder: full weights or adapter
    #[arg(long)]
    pub reward: Option<PathBuf>,
    #[command(flatten)]
    pub text: TextArgs,
    /// A policy whose log-ratio to --reference is scored too: a model, or a PEFT adapter on --reference
    #[arg(long, requires = "reference")]
    pub policy: Option<PathBuf>,
    /// The model that --policy is compared with
    #[arg(long, requires = "policy")]
    pub reference: Option<String>,
    /// Preference pairs to fit a bag-of-tokens probe to, a baseline that ignores word order; pairs whose prompt is evaluated
    /// are left out
    #[arg(long)]
    pub probe_on: Vec<PathBuf>,
}

impl ScorerArgs {
    /// Loads the models and fits the probe; `evaluated` are the words of the prompts that are evaluated.
    ///
    /// # Errors
    /// When no method is given, a folder is missing or damaged, or tokenizers differ.
    pub fn load(
        &self,
        evaluated: &HashSet<String>,
        device: &Device,
        progress: &Progress,
    ) -> Result<Scorers> {
        let models = match (&self.policy, &self.reference) {
            (Some(policy), Some(reference)) => {
                Some(policy_and_reference(policy, reference, device)?)
            }
            _ => None,
        };
        let reward = self.reward.as_ref().map(|folder| load_reward(folder, &self.text, device));
        let mut scorers = match (models, reward.transpose()?) {
            (None, Some(reward)) => Scorers::from(reward),
            (Some(models), Some(reward)) => Scorers::reward_and_log_ratio(reward, models)?,
            (Some(models), None) => Scorers::from(models),
            (None, None) => {
                bail!("nothing to evaluate: give --reward, or --policy and --reference, or both")
            }
        };
        if scorers.policy_rows().is_some() {
            progress.note("the policy's tokenizer or chat template is not the reward's: log_ratio reads answers as the policy writes them, the other columns as the reward does");
        }
        if let Some(policy) = self.policy_of_run() {
            let policy = policy.display();
            progress.note(&format!(
                "log_ratio is not shown; for it add --policy {policy} --reference MODEL, which take more memory and time"
            ));
        }
        self.fit_probe(&mut scorers, evaluated, progress)?;
        Ok(scorers)
    }

    fn fit_probe(
        &self,
        scorers: &mut Scorers,
        evaluated: &HashSet<String>,
        progress: &Progress,
    ) -> Result<()> {
        if self.probe_on.is_empty() {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for file in &self.probe_on {
            pairs.extend(crate::data::preferences(file, progress)?);
        }
        let used = scorers.fit_probe(&pairs, evaluated).context("--probe-on")?;
        let all = pairs.len();
        progress.note(&format!("bag-of-tokens probe: fitted to {used} of {all} pairs"));
        Ok(())
    }

    /// The policy of the reward's run, if no policy is given.
    fn policy_of_run(&self) -> Option<PathBuf> {
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

/// A reward, and the base model of its adapter.
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

/// Loads a policy and its reference. Both read the policy's tokenizer and chat template, or the reference's if the policy has
/// none.
///
/// # Errors
/// When a folder is missing or damaged, or the vocabularies differ in size.
pub fn policy_and_reference(
    policy: &Path,
    reference: &str,
    device: &Device,
) -> Result<PolicyAndReference> {
    let base = model_folder(reference)?;
    let adapter = policy.join("adapter_config.json").is_file();
    let text = match adapter || !policy.join("tokenizer.json").is_file() {
        true => text_folder(&base, Some(policy)),
        false => text_folder(policy, None),
    };
    let encoder = unlimited_encoder(&text, &base, &TemplateChoice::Auto)?;
    let reference = load_model(&base, None, device)?;
    let policy = match adapter {
        true => reference.clone().with_adapter(policy)?,
        false => load_model(policy, None, device)?,
    };
    Ok(PolicyAndReference::new(policy, reference, encoder)?)
}
