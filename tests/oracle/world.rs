//! The world: two prompts, three words, a table of what demonstrators write, and a policy that knows nothing.

use std::path::Path;

use revealed::burn::tensor::Device;
use revealed::data::Encoder;
use revealed::models::{CausalLm, CompletionBatch, HfConfig, PaddingSide};
use revealed::objectives::{PairLoss, RewardObjective};
use revealed::train::{
    Average, KlReference, MissingEos, Pool, Recipe, RewardStart, Row, Run, ScaleFrom, Task, Tuning,
    ValidationReward,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const TOKENS: [&str; 6] = ["<pad>", "<bos>", "<eos>", "a", "b", "c"];
pub const PAD: u32 = 0;
pub const BOS: u32 = 1;
pub const EOS: u32 = 2;
/// The first word.
pub const WORD: u32 = 3;
/// `a` and `b`.
pub const PROMPTS: u32 = 2;
/// Two words and EOS.
pub const LONGEST: usize = 3;
/// Demonstrations of a prompt.
pub const EACH: usize = 16;

/// `π_demo`: completions with their counts, of 16. Each word is one of three with chances ½, ¼, ¼; which one
/// is the likely one depends on the prompt and, for the second, also on the first.
pub fn table(prompt: u32) -> Vec<([u32; LONGEST], usize)> {
    let mut table = Vec::new();
    for (i, chance) in (0..).zip([2, 1, 1]) {
        for (j, then) in (0..).zip([2, 1, 1]) {
            let first = (prompt + i) % 3;
            let second = (2 * prompt + first + j) % 3;
            table.push(([WORD + first, WORD + second, EOS], chance * then));
        }
    }
    table
}

/// Everything a policy can write.
pub fn all(prompt: u32) -> Vec<Row> {
    let (mut done, mut open) = (vec![], vec![vec![]]);
    while let Some(ids) = open.pop() {
        if ids.len() == LONGEST || ids.last() == Some(&EOS) {
            done.push(row(prompt, &ids));
        } else {
            open.extend((0..TOKENS.len() as u32).map(|id| [ids.as_slice(), &[id]].concat()));
        }
    }
    done
}

/// The published objective.
pub const DEFAULT: PairLoss = PairLoss::PairwiseLogistic;

pub struct World {
    /// Where the encoder's tokenizer is; it goes with the world.
    _folder: TempDir,
    pub task: Task,
    pub recipe: Recipe,
    pub policy: CausalLm,
}

impl World {
    pub fn new(seed: u64, change: impl FnOnce(&mut Recipe)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tokenizer(folder.path());
        let mut recipe = recipe(seed);
        change(&mut recipe);
        let encoder = Encoder::from_folder(folder.path(), recipe.data.encode_options()).unwrap();
        let train: Vec<Row> = (0..PROMPTS).flat_map(|prompt| repeated(prompt, prompt)).collect();
        let task = Task {
            encoder,
            prompts: train.iter().map(|row| row.prompt().to_vec()).collect(),
            // No gate decides here.
            held_out: train.clone(),
            train,
            max_completion_tokens: LONGEST,
            notes: vec![],
        };
        for row in (0..PROMPTS).flat_map(all) {
            assert_eq!(task.canonical(row.prompt(), row.completion()), row, "text hides nothing");
        }
        Self { _folder: folder, task, recipe, policy: model(seed) }
    }

    pub fn run<T>(
        &self,
        objective: &dyn RewardObjective,
        work: impl FnOnce(&mut Run<'_>) -> T,
    ) -> T {
        work(&mut Run { task: &self.task, recipe: &self.recipe, objective, observer: &mut () })
    }

    /// `KL(π_demo ‖ π)`, nats a completion, the mean over prompts.
    pub fn kl(&self, policy: &CausalLm) -> f64 {
        let of_prompt = |prompt| {
            let table = table(prompt);
            let rows: Vec<Row> = table.iter().map(|(ids, _)| row(prompt, ids)).collect();
            let shares = table.iter().map(|(_, count)| *count as f64 / EACH as f64);
            shares.zip(log_probs(policy, &rows)).map(|(p, l)| p * (p.ln() - l)).sum::<f64>()
        };
        (0..PROMPTS).map(of_prompt).sum::<f64>() / f64::from(PROMPTS)
    }
}

pub fn row(prompt: u32, completion: &[u32]) -> Row {
    Row {
        input_ids: [&[BOS, WORD + prompt], completion].concat(),
        completion_start: 2,
        terminated: completion.last() == Some(&EOS),
    }
}

/// A prompt with the completions of a table, each as often as it counts.
pub fn repeated(prompt: u32, of: u32) -> Vec<Row> {
    table(of).into_iter().flat_map(|(ids, count)| vec![row(prompt, &ids); count]).collect()
}

/// `log π(y|x)` of whole completions.
pub fn log_probs(model: &CausalLm, rows: &[Row]) -> Vec<f64> {
    let rows: Vec<_> = rows.iter().map(|row| (row, row.completion_start)).collect();
    let batch = CompletionBatch::new(&rows, PAD, PaddingSide::Right, &model.device()).unwrap();
    model.log_probs(&batch, 1.0).log_probs.sum_dim(1).into_data().iter::<f64>().collect()
}

fn recipe(seed: u64) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.model.tuning = Tuning::Full;
    recipe.data.max_completion_tokens = LONGEST;
    recipe.sft.epochs = 0;
    // The paper's negatives: of the current policy, of this round alone.
    recipe.negatives.initial = 0;
    recipe.negatives.policy = 8;
    recipe.reward.pool = Pool::Round;
    recipe.reward.start = RewardStart::Warm;
    recipe.reward.steps = 80;
    recipe.reward.batch_size = 128;
    // Near the end the reward is small and must stay so: a spread below 1 is not scaled up.
    recipe.reward.scale_floor = 1.0;
    recipe.reward.optimizer.lr = 2e-3;
    recipe.policy.steps = 20;
    recipe.policy.samples_per_prompt = 8;
    recipe.policy.batch_size = 8 * EACH * PROMPTS as usize;
    recipe.policy.mini_batch_size = recipe.policy.batch_size;
    recipe.policy.num_ppo_epochs = 1;
    recipe.policy.reference = KlReference::Moving;
    recipe.policy.kl_coef = 2.0;
    // The reward alone says what a missing end is worth.
    recipe.policy.missing_eos = MissingEos::Penalty;
    recipe.policy.missing_eos_value = 0.0;
    recipe.policy.optimizer.lr = 3e-3;
    recipe.run.seed = seed;
    recipe.run.rounds = 14;
    recipe.run.micro_batch_tokens = 1 << 14;
    recipe.run.sample_batch_size = 1 << 10;
    recipe.gate.validation_reward = ValidationReward::None;
    recipe.gate = recipe.gate.without_bounds();
    // One reward a round, in the policy's unit, unless a test asks otherwise.
    (recipe.reward.average, recipe.reward.scale_from) = (Average::None, ScaleFrom::Policy);
    recipe
}

/// One layer, and weights so small that it begins near the uniform policy: what is never sampled is never
/// learned.
pub fn model(seed: u64) -> CausalLm {
    let fields = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": TOKENS.len(), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "head_dim": 16, "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "initializer_range": 0.1, "tie_word_embeddings": false,
        "bos_token_id": BOS, "eos_token_id": EOS,
    });
    let Value::Object(fields) = fields else { unreachable!() };
    CausalLm::random(HfConfig::new("config.json", fields), seed, &Device::flex()).unwrap()
}

fn write_tokenizer(folder: &Path) {
    let vocab = (0..).zip(TOKENS).map(|(id, token)| (token.into(), json!(id)));
    let vocab: serde_json::Map<String, Value> = vocab.collect();
    let special = |id: u32| {
        json!({"id": id, "content": TOKENS[id as usize], "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": ([PAD, BOS, EOS].map(special)),
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    });
    let [pad, bos, eos] = [PAD, BOS, EOS].map(|id| TOKENS[id as usize]);
    let config = json!({"tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad, "bos_token": bos, "eos_token": eos});
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}
