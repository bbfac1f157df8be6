//! A run's settings: one commented TOML, every field with a default that works.

use std::path::PathBuf;

use burn::tensor::FloatDType;
use revealed_data::{EncodeOptions, LongCompletion, LongPrompt, TemplateChoice, TooLong};
use revealed_models::LoraConfig;
use revealed_objectives::{GroupScale, PairLoss, PairObjective};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::OptimizerConfig;

mod check;
mod choices;
mod file;
mod renamed;

pub use choices::{
    Alternation, Average, Keep, KlPlacement, KlReference, LengthControl, MissingEos,
    NegativeReweighting, Normalization, Pool, RewardStart, ScaleFrom, SftObjective, Solver, Stop,
    Tuning, ValidationReward,
};

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
    OptimizerConfig { lr, ..Default::default() }
}

section! {
    /// `[model]`
    ModelSection {
        /// Hugging Face model folder, or hub id
        path: String = String::new(),
        /// "lora" (adapters on one shared base) or "full"
        tuning: Tuning = Tuning::Lora,
        /// Mixed precision: products of linear layers and of the head in bfloat16, all else and the weights in float32
        bf16: bool = false,
        /// Rank, scale and target modules of the adapters
        lora: LoraConfig = LoraConfig::default(),
    }
}

section! {
    /// `[data]`
    DataSection {
        /// Demonstrations: a .jsonl, .json, .parquet or .csv file, a folder or pattern of them, or hf://datasets/OWNER/NAME?split=SPLIT
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
        /// What a template that shows the date takes for now, in seconds since 1970; 0 for the run's first start
        now: u64 = 0,
    }
}

section! {
    /// `[sft]`
    SftSection {
        /// "likelihood", or "iq-learn": likelihood plus iq_lambda times the squared implied reward
        objective: SftObjective = SftObjective::Likelihood,
        /// IQ-Learn: weight of the squared reward
        iq_lambda: f64 = 0.01,
        /// IQ-Learn: discount
        iq_gamma: f64 = 1.0,
        /// Passes over the demonstrations; 0 skips SFT
        epochs: usize = 3,
        /// Upper bound of optimizer steps; 0 for none
        max_steps: usize = 0,
        /// Rows an optimizer step
        batch_size: usize = 16,
        /// Early stopping: epochs without improvement of the held-out loss before SFT stops
        early_stopping_patience: usize = 1,
        /// The epoch that is kept: the "best" on held-out demonstrations, or the "last"
        keep: Keep = Keep::Best,
        /// AdamW
        optimizer: OptimizerConfig = optimizer(2e-4),
    }
}

section! {
    /// `[negatives]`: completions each demonstration is compared with, by where they come from
    NegativesSection {
        /// Samples of the initial model, drawn once: in docs/evidence.md what a reward learns comes from them
        initial: usize = 4,
        /// Samples of the SFT model, drawn once
        sft: usize = 0,
        /// Samples of the current policy, drawn every round: 0, for in docs/evidence.md they teach the demonstrations' flaws
        policy: usize = 0,
        /// Greedy completions of the current policy (0 or 1)
        greedy: usize = 0,
        /// Demonstrations of other prompts
        other_prompts: usize = 0,
        /// Beginnings of the demonstration itself, ended too early
        truncated: usize = 0,
        /// Sampling temperature; keep it at the policy's
        temperature: f64 = 1.0,
        /// What their pairs weigh
        weights: NegativeWeights = NegativeWeights::default(),
    }
}

section! {
    /// `[negatives.weights]`: what a pair weighs in the reward's loss, by where its negative comes from
    NegativeWeights {
        /// Samples of the initial model
        initial: f64 = 1.0,
        /// Samples of the SFT model
        sft: f64 = 1.0,
        /// Samples of the policies
        policy: f64 = 1.0,
        /// Greedy completions
        greedy: f64 = 1.0,
        /// Demonstrations of other prompts
        other_prompts: f64 = 1.0,
        /// Beginnings of demonstrations
        truncated: f64 = 1.0,
    }
}

section! {
    /// `[reward]`
    RewardSection {
        /// "pairwise-logistic", "linear-difference", "bce", "hinge" or "least-squares"
        objective: PairLoss = PairLoss::PairwiseLogistic,
        /// Share of pairs taken to be the wrong way round: pairwise-logistic, bce and least-squares
        label_smoothing: f64 = 0.0,
        /// Lead, in raw reward, that demonstrations are asked for: pairwise-logistic (0) and hinge (0 stands for 1)
        margin: f64 = 0.0,
        /// Weight of ½(r_demonstration² + r_sample²), which bounds the reward
        l2: f64 = 0.01,
        /// Weight of (r_demonstration + r_sample)², which centres it
        center_rewards_coef: f64 = 0.0,
        /// "none", or "expert": what length alone explains is left to a frozen expert and not learned
        length_control: LengthControl = LengthControl::None,
        /// "none", or "validation-reward": pairs weigh less where the judge puts the sample above its demonstration
        negative_reweighting: NegativeReweighting = NegativeReweighting::None,
        /// Each round starts from "reset" (the SFT model) or "warm" (the last reward); level in docs/evidence.md
        start: RewardStart = RewardStart::Reset,
        /// Pairs of "every" round, of a "window" of rounds, or of this "round"
        pool: Pool = Pool::Every,
        /// Rounds in the window
        pool_window: usize = 2,
        /// Optimizer steps a round
        steps: usize = 100,
        /// Pairs an optimizer step
        batch_size: usize = 32,
        /// Rewards fitted apart, whose mean is the reward
        ensemble_size: usize = 1,
        /// Reward given up for each standard deviation between members, those of averaged rounds among them
        uncertainty_penalty: f64 = 0.0,
        /// The policy is improved against the round's own reward ("none"), or the mean over all kept "rounds" and it; level in docs/evidence.md
        average: Average = Average::Rounds,
        /// One unit of a round's reward is the spread within prompts of samples of "policy" or "sft"
        scale_from: ScaleFrom = ScaleFrom::Sft,
        /// Smallest within-prompt spread of raw scores to divide by
        scale_floor: f64 = 0.1,
        /// AdamW
        optimizer: OptimizerConfig = optimizer(1e-4),
    }
}

section! {
    /// `[policy]`
    PolicySection {
        /// "rloo", "grpo", "ppo" or "reinforce": in docs/evidence.md rloo's rounds add up, ppo's are level and grpo's second breaks the policy
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
        num_ppo_epochs: usize = 2,
        /// Sampling temperature; log-probs are taken at it too
        temperature: f64 = 1.0,
        /// "round-wise" or "step-wise" (after every policy step a reward step on its samples of prompts that have demonstrations, each pair of weight 1); worse in docs/evidence.md
        alternation: Alternation = Alternation::RoundWise,
        /// The KL's reference: "sft" or "moving" (the round's first policy); level in docs/evidence.md
        reference: KlReference = KlReference::Sft,
        /// Weight of the KL, in calibrated reward a nat
        kl_coef: f64 = 0.1,
        /// The KL stands in the "reward", in the "loss" (k3), or where the "solver" has it by custom
        kl_placement: KlPlacement = KlPlacement::Solver,
        /// KL, nats a completion, towards which kl_coef is adapted after every rollout of a round, from kl_coef on; 0 keeps it fixed
        kl_target: f64 = 0.0,
        /// Completions over which it adapts
        kl_horizon: f64 = 10_000.0,
        /// REINFORCE: what of a round's running baseline a rollout leaves
        baseline_decay: f64 = 0.9,
        /// Lower clip of the ratio
        epsilon: f64 = 0.2,
        /// Upper clip of the ratio
        epsilon_high: f64 = 0.2,
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
        /// Smallest lead of its accuracy over the better of two probes, one on length and one on words
        min_shortcut_margin: f64 = -0.1,
        /// Smallest accuracy on held-out pairs of like length that its 95 % interval has to reach
        min_length_matched_accuracy: f64 = 0.5,
        /// Largest correlation of reward and length within prompts, up or down
        max_length_correlation: f64 = 0.9,
        /// What the round maximises, the samples' mean calibrated reward less policy.kl_coef times their KL to the SFT model, has to rise by more than this; a round at its ceiling moves by noise alone. In docs/evidence.md it finds the rounds that cost gold
        min_gain: f64 = -0.05,
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
        stop: Stop = Stop::Never,
        /// Rejected rounds in a row before the run stops
        patience: usize = 1,
        /// "independent" (a second reward that nothing is optimised against) or "none"
        validation_reward: ValidationReward = ValidationReward::Independent,
        /// Smallest rise of the samples' mean score by the judge, in its standard errors: -2 rejects what has fallen beyond noise
        min_validation_gain: f64 = -2.0,
    }
}

section! {
    /// `[health]`: what is put up with within a stage; a recipe's other numbers decide what is healthy
    HealthSection {
        /// Optimizer steps of a stage that are skipped because their loss or gradient is not finite, or above max_unclipped_norm; one more ends the run
        max_skipped_steps: usize = 3,
        /// Largest norm of a gradient before it is clipped; inf for any that is finite
        max_unclipped_norm: f64 = 1e4,
        /// Largest mean KL of a rollout to its anchor, nats a completion: beyond it the round's steps end and the round is rolled back
        max_kl: f64 = 100.0,
        /// Largest factor by which a rollout's mean length may differ from that of the round's first, up or down: likewise
        max_length_factor: f64 = 4.0,
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
        rounds: usize = 3,
        /// Optimizer steps or rollouts between checkpoints within a phase; 0 for none but at the ends of phases
        save_steps: usize = 50,
        /// Complete checkpoints that are kept, the newest: one to go on from, others for when it is damaged
        save_total_limit: usize = 2,
        /// Padded tokens worked on at once, on the CPU in up to four pieces side by side: memory, not results
        micro_batch_tokens: usize = 2048,
        /// A run whose memory plan needs more, in GiB, does not start; 0 for what the machine has free, inf for no limit
        memory_limit_gib: f64 = 0.0,
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
    /// `[health]`
    pub health: HealthSection,
    /// `[run]`
    pub run: RunSection,
}

impl ModelSection {
    /// What models compute their products in, for [`CausalLm::with_compute_dtype`](revealed_models::CausalLm::with_compute_dtype).
    pub fn compute_dtype(&self) -> FloatDType {
        if self.bf16 { FloatDType::BF16 } else { FloatDType::F32 }
    }
}

impl PolicySection {
    /// Whether the KL is taken from the reward; else it is added to the loss.
    pub fn kl_in_reward(&self) -> bool {
        match self.kl_placement {
            KlPlacement::Solver => self.solver != Solver::Grpo,
            KlPlacement::Reward => true,
            KlPlacement::Loss => false,
        }
    }

    /// Its weight in the reward and in the loss: one of them is 0.
    pub(crate) fn kl_coefs(&self) -> [f64; 2] {
        if self.kl_in_reward() { [self.kl_coef, 0.0] } else { [0.0, self.kl_coef] }
    }
}

impl GateSection {
    /// The same without bounds and stop rule: every round is kept, whatever it does. What is sampled, judged and
    /// reported stays.
    pub fn without_bounds(self) -> Self {
        Self {
            min_accuracy: 0.0,
            min_shortcut_margin: f64::NEG_INFINITY,
            min_length_matched_accuracy: 0.0,
            max_length_correlation: f64::INFINITY,
            min_gain: f64::NEG_INFINITY,
            min_validation_gain: f64::NEG_INFINITY,
            max_kl: f64::INFINITY,
            max_likelihood_drop: f64::INFINITY,
            max_terminated_drop: f64::INFINITY,
            max_repetition_rise: f64::INFINITY,
            min_distinct_share: 0.0,
            max_length_factor: f64::INFINITY,
            stop: Stop::Never,
            ..self
        }
    }
}

impl RewardSection {
    /// The loss of a pair with its numbers, as a [`Run`](crate::Run) takes it.
    pub fn pair_objective(&self) -> PairObjective {
        let objective = PairObjective::from(self.objective);
        let margin = if self.margin > 0.0 { self.margin } else { objective.margin };
        PairObjective { label_smoothing: self.label_smoothing, margin, ..objective }
    }
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
            too_long: TooLong { prompts: self.long_prompts, completions: self.long_completions },
            now: (self.now > 0).then_some(self.now),
        }
    }
}
