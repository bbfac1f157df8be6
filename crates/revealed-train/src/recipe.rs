//! A run's settings: one commented TOML, every field with a default that works.

use std::path::{Path, PathBuf};

use revealed_data::{EncodeOptions, LongCompletion, LongPrompt, TemplateChoice, TooLong};
use revealed_models::LoraConfig;
use revealed_objectives::{GroupScale, PairLoss};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::OptimizerConfig;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// Adapters on one frozen base that all roles share.
    Lora,
    /// Every weight, separately for each role.
    Full,
}

/// What a round's reward starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardStart {
    /// The SFT model with a fresh head, as published.
    Reset,
    /// The last round's reward.
    Warm,
}

/// What the policy is held near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// The SFT model.
    Sft,
    /// The policy with which the round began, as published.
    Moving,
}

/// Which rounds' pairs the reward is fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// All rounds so far.
    Every,
    /// The last `pool_window` rounds.
    Window,
    /// This round.
    Round,
}

/// How the policy is improved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Proximal policy optimization with a critic (<https://arxiv.org/abs/1707.06347>).
    Ppo,
    /// Leave-one-out baseline (<https://arxiv.org/abs/2402.14740>).
    Rloo,
    /// Group-relative advantages (<https://arxiv.org/abs/2402.03300>).
    Grpo,
}

/// How fit and improvement take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alternation {
    /// Fit the reward, then improve the policy under it frozen.
    RoundWise,
    /// After the fit, every policy step is followed by a reward step on its rollouts.
    StepWise,
}

/// What a completion without terminator scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingEos {
    /// `missing_eos_value` instead of its score, as published (−1).
    Replace,
    /// Its score plus `missing_eos_value`.
    Penalty,
    /// The lowest score of the rollout plus `missing_eos_value`.
    BatchMinimum,
}

/// Over what GRPO's mean goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// First within each completion, then over completions.
    Sequence,
    /// Over all tokens of the mini-batch.
    Token,
}

/// When a run ends before its last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// Once the policy's samples score as high as held-out demonstrations.
    PassedDemonstrations,
    /// Never.
    Never,
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            const COMMENTS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($doc),+)),)*];
        }
    };
}

fn optimizer(lr: f64) -> OptimizerConfig {
    OptimizerConfig {
        lr,
        ..Default::default()
    }
}

section! {
    /// `[model]`
    ModelSection {
        /// Hugging Face model folder, or hub id
        path: String = String::new(),
        /// "lora" (adapters on one shared base) or "full"
        tuning: Tuning = Tuning::Lora,
        /// Rank, scale and target modules of the adapters
        lora: LoraConfig = LoraConfig::default(),
    }
}

section! {
    /// `[data]`
    DataSection {
        /// File of demonstrations: .jsonl, .json or .parquet
        demonstrations: PathBuf = PathBuf::new(),
        /// File of further prompts without completions, for the policy step; "" for none
        prompts: Option<PathBuf> = None,
        /// Demonstrations held out for the gates, chosen by prompt
        held_out: usize = 64,
        /// File of held-out demonstrations, instead of holding some out; "" for none
        held_out_file: Option<PathBuf> = None,
        /// Use only the first so many training demonstrations; 0 for all
        max_demonstrations: usize = 0,
        /// "auto" (the tokenizer's chat template, if it has one), "none", or a template file
        template: TemplateChoice = TemplateChoice::Auto,
        /// Longest prompt, in tokens
        max_prompt_tokens: usize = 512,
        /// Longest completion of demonstrations and samples, in tokens with the terminator
        max_completion_tokens: usize = 256,
        /// A longer prompt is "drop" or "truncate-left"
        long_prompts: LongPrompt = LongPrompt::Drop,
        /// A longer completion is "drop" or "truncate"; a truncated one has no terminator
        long_completions: LongCompletion = LongCompletion::Drop,
    }
}

section! {
    /// `[sft]`
    SftSection {
        /// Passes over the demonstrations; 0 skips SFT
        epochs: usize = 3,
        /// Upper bound of optimizer steps; 0 for none
        max_steps: usize = 0,
        /// Rows an optimizer step
        batch_size: usize = 16,
        /// Epochs without a better held-out loss before stopping; the best epoch is kept
        patience: usize = 1,
        /// AdamW
        optimizer: OptimizerConfig = optimizer(2e-4),
    }
}

section! {
    /// `[negatives]`: completions each demonstration is compared with, by where they come from
    NegativesSection {
        /// Samples of the initial model, drawn once
        initial: usize = 4,
        /// Samples of the SFT model, drawn once
        sft: usize = 0,
        /// Samples of the current policy, drawn every round
        policy: usize = 2,
        /// Greedy completions of the current policy (0 or 1)
        greedy: usize = 0,
        /// Sampling temperature; keep it at the policy's
        temperature: f64 = 1.0,
    }
}

section! {
    /// `[reward]`
    RewardSection {
        /// "pairwise-logistic", "linear-difference", "bce", "hinge" or "least-squares"
        objective: PairLoss = PairLoss::PairwiseLogistic,
        /// Weight of ½(r_demonstration² + r_sample²), which centres the reward
        l2: f64 = 0.01,
        /// Each round starts from "reset" (the SFT model) or "warm" (the last reward)
        start: RewardStart = RewardStart::Reset,
        /// Pairs of "every" round, of a "window" of rounds, or of this "round"
        pool: Pool = Pool::Every,
        /// Rounds in the window
        pool_window: usize = 2,
        /// Optimizer steps a round
        steps: usize = 100,
        /// Pairs an optimizer step
        batch_size: usize = 32,
        /// Smallest within-prompt spread of raw scores to divide by
        scale_floor: f64 = 0.1,
        /// AdamW
        optimizer: OptimizerConfig = optimizer(1e-4),
    }
}

section! {
    /// `[policy]`
    PolicySection {
        /// "rloo", "grpo" or "ppo"
        solver: Solver = Solver::Rloo,
        /// Rollouts a round
        steps: usize = 25,
        /// Completions a rollout
        batch_size: usize = 128,
        /// Completions an optimizer step
        mini_batch_size: usize = 128,
        /// Completions of each prompt in a rollout
        samples_per_prompt: usize = 4,
        /// Passes over a rollout
        inner_epochs: usize = 2,
        /// Sampling temperature; log-probs are taken at it too
        temperature: f64 = 1.0,
        /// "round-wise" or "step-wise" (a reward step after every policy step)
        alternation: Alternation = Alternation::RoundWise,
        /// The KL's reference: "sft" or "moving" (the round's first policy)
        anchor: Anchor = Anchor::Sft,
        /// Weight of the KL, in calibrated reward a nat
        kl_coef: f64 = 0.3,
        /// Lower clip of the ratio
        clip_low: f64 = 0.2,
        /// Upper clip of the ratio
        clip_high: f64 = 0.2,
        /// A completion without terminator: "replace", "penalty" or "batch-minimum"
        missing_eos: MissingEos = MissingEos::BatchMinimum,
        /// The number that rule uses
        missing_eos_value: f64 = -1.0,
        /// GRPO: divide advantages by the group's "std", or by nothing: "none"
        group_scale: GroupScale = GroupScale::Std,
        /// GRPO: mean over "sequence" or "token"
        normalization: Normalization = Normalization::Sequence,
        /// PPO: discount
        gamma: f64 = 1.0,
        /// PPO: GAE's λ
        gae_lambda: f64 = 0.95,
        /// PPO: clip of the critic's change
        value_clip: f64 = 0.2,
        /// PPO: weight of the critic's loss
        value_coef: f64 = 0.1,
        /// AdamW
        optimizer: OptimizerConfig = optimizer(1e-4),
    }
}

section! {
    /// `[gate]`: a round is kept only if all of these hold on held-out demonstrations
    GateSection {
        /// Samples of each held-out prompt
        samples: usize = 2,
        /// Smallest accuracy of the reward: held-out demonstrations over fresh negatives
        min_accuracy: f64 = 0.55,
        /// Smallest rise of the samples' mean calibrated reward
        min_gain: f64 = 0.0,
        /// Largest KL to the SFT model, nats a completion
        max_kl: f64 = 30.0,
        /// Largest fall of held-out demonstrations' log-likelihood from SFT's, nats a token
        max_likelihood_drop: f64 = 1.0,
        /// Largest fall of the share of terminated completions
        max_terminated_drop: f64 = 0.05,
        /// Largest rise of the share of repeated 4-grams
        max_repetition_rise: f64 = 0.10,
        /// Smallest share of the distinct 2-grams before the round
        min_distinct_share: f64 = 0.5,
        /// Largest factor by which mean length may change, up or down
        max_length_factor: f64 = 2.0,
        /// "passed-demonstrations" or "never"
        stop: Stop = Stop::PassedDemonstrations,
        /// Rejected rounds in a row before the run stops
        patience: usize = 1,
    }
}

section! {
    /// `[run]`
    RunSection {
        /// The run's folder
        out: PathBuf = PathBuf::from("runs/align"),
        /// Seed of everything random
        seed: u64 = 0,
        /// Rounds at most
        rounds: usize = 2,
        /// Padded tokens in one forward and backward pass: memory, not results
        micro_batch_tokens: usize = 2048,
        /// Rows decoded together
        sample_batch_size: usize = 64,
        /// Samples shown a round
        shown_samples: usize = 8,
    }
}

/// All settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// `[model]`
    pub model: ModelSection,
    /// `[data]`
    pub data: DataSection,
    /// `[sft]`
    pub sft: SftSection,
    /// `[negatives]`
    pub negatives: NegativesSection,
    /// `[reward]`
    pub reward: RewardSection,
    /// `[policy]`
    pub policy: PolicySection,
    /// `[gate]`
    pub gate: GateSection,
    /// `[run]`
    pub run: RunSection,
}

impl DataSection {
    fn optional_files(&mut self) -> [&mut Option<PathBuf>; 2] {
        [&mut self.prompts, &mut self.held_out_file]
    }

    /// The part that `revealed-data` acts on.
    pub fn encode_options(&self) -> EncodeOptions {
        EncodeOptions {
            template: self.template.clone(),
            max_prompt_tokens: self.max_prompt_tokens,
            max_completion_tokens: self.max_completion_tokens,
            too_long: TooLong {
                prompts: self.long_prompts,
                completions: self.long_completions,
            },
        }
    }
}

impl Recipe {
    /// Reads a recipe and applies `key.path=value` overrides; missing keys keep their defaults.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value has the wrong type or range.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// As [`read`](Self::read), from text; `origin` names it in messages.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let syntax = |origin: &str, source| TrainError::RecipeSyntax {
            origin: origin.into(),
            source: Box::new(source),
        };
        // Once directly, for errors with line and column; the merge below knows no lines.
        toml::from_str::<Self>(text).map_err(|source| syntax(origin, source))?;
        let given: toml::Table = toml::from_str(text).map_err(|source| syntax(origin, source))?;
        let mut merged = toml::Table::try_from(Self::default()).unwrap_or_default();
        merge(&mut merged, given);
        for item in overrides {
            let table =
                override_table(item).map_err(|source| syntax(&format!("--set {item}"), source))?;
            merge(&mut merged, table);
        }
        let mut recipe: Self = merged.try_into().map_err(|source| {
            syntax(
                if overrides.is_empty() {
                    origin
                } else {
                    "--set"
                },
                source,
            )
        })?;
        // TOML has no word for nothing, so files say "".
        for file in recipe.data.optional_files() {
            file.take_if(|path| path.as_os_str().is_empty());
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, a comment above every field.
    pub fn to_commented_toml(&self) -> String {
        let mut shown = self.clone();
        for file in shown.data.optional_files() {
            file.get_or_insert_default();
        }
        let plain = toml::to_string(&shown).unwrap_or_default();
        let mut section = String::new();
        let mut text = String::new();
        for line in plain.lines() {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.to_owned();
            } else if let Some((field, _)) = line.split_once(" = ") {
                if let Some(comment) = comment(&section, field) {
                    text.push_str(&format!("# {}\n", comment.trim()));
                }
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Enforces the ranges in the sections' tables.
    ///
    /// # Errors
    /// At the first value out of range, with its key.
    pub fn check(&self) -> Result<(), TrainError> {
        let at_least = |key, value: usize, least: usize, expected| match value >= least {
            true => Ok(()),
            false => Err(TrainError::Recipe {
                key,
                found: value.to_string(),
                expected,
            }),
        };
        let within = |key, value: f64, ok: bool, expected| match ok && value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::Recipe {
                key,
                found: value.to_string(),
                expected,
            }),
        };
        self.sft.optimizer.check("sft.optimizer")?;
        self.reward.optimizer.check("reward.optimizer")?;
        self.policy.optimizer.check("policy.optimizer")?;
        at_least(
            "data.max_prompt_tokens",
            self.data.max_prompt_tokens,
            1,
            "1 or more",
        )?;
        at_least(
            "data.max_completion_tokens",
            self.data.max_completion_tokens,
            1,
            "1 or more",
        )?;
        at_least("sft.batch_size", self.sft.batch_size, 1, "1 or more")?;
        at_least("reward.steps", self.reward.steps, 1, "1 or more")?;
        at_least("reward.batch_size", self.reward.batch_size, 1, "1 or more")?;
        at_least(
            "reward.pool_window",
            self.reward.pool_window,
            1,
            "1 or more",
        )?;
        at_least("policy.steps", self.policy.steps, 1, "1 or more")?;
        at_least(
            "policy.inner_epochs",
            self.policy.inner_epochs,
            1,
            "1 or more",
        )?;
        at_least(
            "policy.mini_batch_size",
            self.policy.mini_batch_size,
            1,
            "1 or more",
        )?;
        at_least("gate.samples", self.gate.samples, 2, "2 or more")?;
        at_least("gate.patience", self.gate.patience, 1, "1 or more")?;
        at_least(
            "run.micro_batch_tokens",
            self.run.micro_batch_tokens,
            1,
            "1 or more",
        )?;
        at_least(
            "run.sample_batch_size",
            self.run.sample_batch_size,
            1,
            "1 or more",
        )?;
        let group = self.policy.samples_per_prompt;
        let least = if self.policy.solver == Solver::Ppo {
            1
        } else {
            2
        };
        at_least(
            "policy.samples_per_prompt",
            group,
            least,
            "2 or more; 1 or more with ppo",
        )?;
        if self.policy.batch_size == 0 || self.policy.batch_size % group != 0 {
            return Err(TrainError::Recipe {
                key: "policy.batch_size",
                found: self.policy.batch_size.to_string(),
                expected: "a multiple of policy.samples_per_prompt",
            });
        }
        let n = &self.negatives;
        at_least(
            "negatives",
            n.initial + n.sft + n.policy + n.greedy,
            1,
            "one kind of negatives at least",
        )?;
        if n.greedy > 1 {
            return Err(TrainError::Recipe {
                key: "negatives.greedy",
                found: n.greedy.to_string(),
                expected: "0 or 1: there is one greedy completion of a prompt",
            });
        }
        let temperature = self.policy.temperature;
        within(
            "policy.temperature",
            temperature,
            temperature > 0.0,
            "more than 0",
        )?;
        within(
            "negatives.temperature",
            n.temperature,
            n.temperature > 0.0,
            "more than 0",
        )?;
        within(
            "policy.kl_coef",
            self.policy.kl_coef,
            self.policy.kl_coef >= 0.0,
            "0 or more",
        )?;
        let (low, high) = (self.policy.clip_low, self.policy.clip_high);
        within("policy.clip_low", low, low > 0.0 && low < 1.0, "in (0, 1)")?;
        within("policy.clip_high", high, high > 0.0, "more than 0")?;
        within(
            "policy.missing_eos_value",
            self.policy.missing_eos_value,
            true,
            "a number",
        )?;
        let unit = |value: f64| (0.0..=1.0).contains(&value);
        within(
            "policy.gamma",
            self.policy.gamma,
            unit(self.policy.gamma),
            "in [0, 1]",
        )?;
        let lambda = self.policy.gae_lambda;
        within("policy.gae_lambda", lambda, unit(lambda), "in [0, 1]")?;
        within(
            "policy.value_clip",
            self.policy.value_clip,
            self.policy.value_clip > 0.0,
            "> 0",
        )?;
        within(
            "policy.value_coef",
            self.policy.value_coef,
            self.policy.value_coef > 0.0,
            "> 0",
        )?;
        within(
            "reward.l2",
            self.reward.l2,
            self.reward.l2 >= 0.0,
            "0 or more",
        )?;
        let floor = self.reward.scale_floor;
        within("reward.scale_floor", floor, floor > 0.0, "more than 0")?;
        within(
            "gate.min_accuracy",
            self.gate.min_accuracy,
            unit(self.gate.min_accuracy),
            "[0, 1]",
        )
    }

    /// Keys whose values differ, dotted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let table = |recipe: &Self| toml::Value::try_from(recipe).ok();
        let mut keys = Vec::new();
        if let (Some(a), Some(b)) = (table(self), table(other)) {
            compare(&a, &b, "", &mut keys);
        }
        keys
    }
}

fn comment(section: &str, field: &str) -> Option<&'static str> {
    let comments = match section {
        "model" => ModelSection::COMMENTS,
        "data" => DataSection::COMMENTS,
        "sft" => SftSection::COMMENTS,
        "negatives" => NegativesSection::COMMENTS,
        "reward" => RewardSection::COMMENTS,
        "policy" => PolicySection::COMMENTS,
        "gate" => GateSection::COMMENTS,
        "run" => RunSection::COMMENTS,
        "model.lora" => {
            return Some(match field {
                "r" => "Rank",
                "lora_alpha" => "Scale: lora_alpha / r",
                "target_modules" => {
                    "Layers by name; \"all-linear\" is every one but the output head"
                }
                "use_rslora" => "Scale by lora_alpha / √r instead",
                _ => return None,
            });
        }
        _ if section.ends_with(".optimizer") => {
            return Some(match field {
                "lr" => "Peak learning rate",
                "schedule" => "\"constant\", \"linear\" or \"cosine\"",
                "warmup_ratio" => "Share of the steps in which the rate rises from 0",
                "adam_epsilon" => "AdamW's ε",
                "weight_decay" => "Decoupled weight decay",
                "max_grad_norm" => "Bound of the gradient's global norm",
                _ => return None,
            });
        }
        _ => return None,
    };
    comments
        .iter()
        .find(|(name, _)| *name == field)
        .map(|(_, comment)| *comment)
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(given)) => merge(inner, given),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `a.b=value` as a table; a value that is not TOML is taken as a string.
fn override_table(item: &str) -> Result<toml::Table, toml::de::Error> {
    let parsed = toml::from_str(item);
    match (parsed, item.split_once('=')) {
        (Ok(table), _) => Ok(table),
        (Err(_), Some((key, value))) => toml::from_str(&format!(
            "{}={}",
            key,
            toml::Value::String(value.trim().into())
        )),
        (Err(error), None) => Err(error),
    }
}

fn compare(a: &toml::Value, b: &toml::Value, prefix: &str, keys: &mut Vec<String>) {
    match (a, b) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(a, b, &path, keys),
                    _ => keys.push(path),
                }
            }
        }
        _ if a != b => keys.push(prefix.to_owned()),
        _ => {}
    }
}
