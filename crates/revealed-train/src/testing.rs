//! Test fixtures: a tokenizer of 20 words, random Llama models of width 16, demonstrations.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crate::{
    Average, Event, Metric, MissingEos, Observer, Recipe, RoundReport, Run, ScaleFrom, State, Task,
    Tuning, ValidationReward, align,
};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use revealed_data::Encoder;
use revealed_models::{CausalLm, HfConfig};
use revealed_objectives::RewardObjective;
use serde_json::{Value, json};
use tempfile::TempDir;

pub const EOS: u32 = 2;
/// The first of 17 words, `a` to `q`.
pub const WORDS: u32 = 3;
pub const VOCAB: usize = 20;
/// Prompts have two words and a BOS.
pub const PROMPT: usize = 3;

/// Data, recipe and models of a test; the folder is removed with it.
pub struct World {
    pub folder: TempDir,
    pub recipe: Recipe,
    pub task: Task,
    pub base: CausalLm,
    pub policy: CausalLm,
}

impl World {
    /// 20 training demonstrations and 4 held out; every phase has one to three steps, and no gate rejects.
    pub fn new(tuning: Tuning, change: impl FnOnce(&mut Recipe)) -> Self {
        Self::with_rows(tuning, &demonstrations(), change)
    }

    pub fn with_rows(
        tuning: Tuning,
        rows: &[(String, String)],
        change: impl FnOnce(&mut Recipe),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tokenizer(folder.path());
        let data = write_rows(folder.path(), "demonstrations.jsonl", rows);
        let base = model(1);
        base.save(folder.path()).unwrap();
        let mut recipe = small(tuning);
        recipe.model.path = folder.path().display().to_string();
        recipe.data.demonstrations = data;
        recipe.run.out = folder.path().join("run");
        change(&mut recipe);
        recipe.check().unwrap();
        let task = task(folder.path(), &recipe).unwrap();
        let base = base.with_compute_dtype(recipe.model.compute_dtype()).unwrap();
        let base = base.with_weight_storage(recipe.model.weights).unwrap();
        let policy = match tuning {
            Tuning::Full => base.clone(),
            Tuning::Lora => base.clone().with_lora(&recipe.model.lora, recipe.run.seed).unwrap(),
        };
        Self { folder, recipe, task, base, policy }
    }

    pub fn state(&self) -> State {
        State::new(self.base.clone(), self.policy.clone())
    }

    /// With the recipe's objective and an observer.
    pub fn run<T>(&self, observer: &mut dyn Observer, work: impl FnOnce(&mut Run<'_>) -> T) -> T {
        self.run_with(&self.recipe.reward.pair_objective(), observer, work)
    }

    pub fn run_with<T>(
        &self,
        objective: &dyn RewardObjective,
        observer: &mut dyn Observer,
        work: impl FnOnce(&mut Run<'_>) -> T,
    ) -> T {
        work(&mut Run { task: &self.task, recipe: &self.recipe, objective, observer })
    }

    /// From the start to the end; also the states after each phase.
    pub fn align(&self) -> (State, Vec<State>) {
        let mut states = Vec::new();
        let end = self.run(&mut (), |run| {
            align(self.state(), run, |state| {
                states.push(state.clone());
                Ok(())
            })
        });
        (end.unwrap(), states)
    }
}

fn small(tuning: Tuning) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.model.tuning = tuning;
    recipe.model.lora.r = 2;
    recipe.data.held_out = 4;
    recipe.data.max_prompt_tokens = 8;
    recipe.data.max_completion_tokens = 6;
    recipe.sft.epochs = 1;
    recipe.sft.batch_size = 8;
    recipe.sft.optimizer.lr = 1e-2;
    recipe.negatives.initial = 1;
    recipe.reward.steps = 3;
    recipe.reward.batch_size = 8;
    recipe.reward.optimizer.lr = 1e-2;
    recipe.policy.steps = 2;
    recipe.policy.batch_size = 8;
    recipe.policy.mini_batch_size = 4;
    recipe.policy.samples_per_prompt = 2;
    recipe.policy.optimizer.lr = 1e-2;
    // Few completions of a random model end, and the default gives all others the same score.
    recipe.policy.missing_eos = MissingEos::Penalty;
    // Both kinds of negatives, and a validation reward only in tests that ask for it.
    recipe.negatives.policy = 2;
    recipe.gate.validation_reward = ValidationReward::None;
    recipe.run.rounds = 1;
    recipe.run.seed = 5;
    recipe.run.shown_samples = 2;
    recipe.gate = recipe.gate.without_bounds();
    // Lengths from 1 to 6 are no divergence here; the first NaN is an error.
    (recipe.health.max_kl, recipe.health.max_length_factor) = (f64::INFINITY, f64::INFINITY);
    recipe.health.max_skipped_steps = 0;
    // One reward per round, in the unit of the policy, unless a test changes it.
    (recipe.reward.average, recipe.reward.scale_from) = (Average::None, ScaleFrom::Policy);
    recipe
}

pub fn task(folder: &Path, recipe: &Recipe) -> Result<Task, crate::TrainError> {
    let encoder = Encoder::from_folder(folder, recipe.data.encode_options())?;
    Task::load(&recipe.data, encoder, recipe.run.seed)
}

pub fn word(index: usize) -> String {
    char::from(b'a' + (index % 17) as u8).to_string()
}

/// Two words, answered by the second and the first, once, twice or three times; no prompt comes twice.
pub fn demonstrations() -> Vec<(String, String)> {
    (0..24)
        .map(|i| {
            let (first, second) = (word(i), word(i / 2 + 3));
            let answer = format!(" {second} {first}");
            (format!("{first} {second}"), answer.repeat(1 + i % 3)[..].chars().take(10).collect())
        })
        .collect()
}

pub fn write_rows(folder: &Path, name: &str, rows: &[(String, String)]) -> PathBuf {
    let path = folder.join(name);
    let lines: String = rows
        .iter()
        .map(|(prompt, completion)| {
            format!("{}\n", json!({"prompt": prompt, "completion": completion}))
        })
        .collect();
    std::fs::write(&path, lines).unwrap();
    path
}

pub fn device() -> Device {
    Device::flex()
}

/// A fresh model of the tiny world.
pub fn model(seed: u64) -> CausalLm {
    let fields = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "hidden_act": "silu",
        "max_position_embeddings": 32,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "initializer_range": 0.3,
        "tie_word_embeddings": true,
        "bos_token_id": 1,
        "eos_token_id": EOS,
    });
    let Value::Object(fields) = fields else { unreachable!() };
    CausalLm::random(HfConfig::new("config.json", fields), seed, &device()).unwrap()
}

fn write_tokenizer(folder: &Path) {
    let specials = ["<pad>", "<bos>", "<eos>"];
    let mut vocab: serde_json::Map<String, Value> = serde_json::Map::new();
    for (id, token) in specials.iter().enumerate() {
        vocab.insert((*token).into(), json!(id));
    }
    for index in 0..17 {
        vocab.insert(word(index), json!(WORDS as usize + index));
    }
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"});
    write_tokenizer_json(folder, &specials, model, Value::Null);
}

/// A tokenizer with the given specials (pad, BOS, EOS) that puts BOS in front of a text; without a decoder
/// tokens are joined by spaces.
pub fn write_tokenizer_json(folder: &Path, specials: &[&str; 3], model: Value, decoder: Value) {
    let added: Vec<Value> = specials
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let bos = specials[1];
    let first = json!({"SpecialToken": {"id": bos, "type_id": 0}});
    let text = |name: &str, id: u8| json!({"Sequence": {"id": name, "type_id": id}});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, text("A", 0)], "pair": [first, text("A", 0), text("B", 1)],
            "special_tokens": {bos: {"id": bos, "ids": [1], "tokens": [bos]}},
        },
        "decoder": decoder, "model": model,
    });
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": specials[0], "bos_token": bos, "eos_token": specials[2],
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// All parameters in the order of the module; equal only if bit-identical.
#[derive(Clone)]
pub struct Weights(pub Vec<f32>);

impl PartialEq for Weights {
    fn eq(&self, other: &Self) -> bool {
        let bits = |weights: &Self| weights.0.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
        bits(self) == bits(other)
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} weights, {:?} …", self.0.len(), &self.0[..self.0.len().min(4)])
    }
}

/// The parameters of a module.
pub fn weights<M: Module>(module: &M) -> Weights {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut all = Collect(vec![]);
    module.visit(&mut all);
    Weights(all.0)
}

/// Whether no parameter has gradients.
pub fn is_plain<M: Module>(module: &M) -> bool {
    struct Plain(bool);
    impl ModuleVisitor for Plain {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= !param.val().is_autodiff();
        }
    }
    let mut plain = Plain(true);
    module.visit(&mut plain);
    plain.0
}

/// The module with every parameter NaN.
pub fn poisoned<M: Module>(module: M) -> M {
    struct Poison;
    impl ModuleMapper for Poison {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.mul_scalar(f32::NAN))
        }
    }
    module.map(&mut Poison)
}

pub fn largest_difference(a: &Weights, b: &Weights) -> f32 {
    assert_eq!(a.0.len(), b.0.len());
    (a.0.iter()).zip(&b.0).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d <= m { m } else { d })
}

/// Keeps all events.
#[derive(Default)]
pub struct RecordingObserver {
    /// Kind, round, phase, step, steps.
    pub events: Vec<(&'static str, usize, String, usize, usize)>,
    pub metrics: Vec<Vec<Metric>>,
    pub reports: Vec<RoundReport>,
    pub notes: Vec<String>,
}

impl RecordingObserver {
    /// The losses of the reward's steps, in order.
    pub fn losses(&self) -> Vec<f64> {
        let of = |metrics: &Vec<Metric>| {
            let named = |name| metrics.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            named("rewards/margins").and(named("loss"))
        };
        self.metrics.iter().filter_map(of).collect()
    }
}

impl Observer for RecordingObserver {
    fn observe(&mut self, event: &Event<'_>) {
        let (kind, at, steps) = match event {
            Event::Started { at, steps } => ("started", at, *steps),
            Event::Step { at, steps, metrics } => {
                self.metrics.push(metrics.to_vec());
                ("step", at, *steps)
            }
            Event::Ended { at, metrics } => {
                self.metrics.push(metrics.to_vec());
                ("ended", at, 0)
            }
            Event::Note(text) => return self.notes.push(text.clone()),
            Event::Round(report) => return self.reports.push((*report).clone()),
            _ => return,
        };
        self.events.push((kind, at.round, at.phase.to_string(), at.step, steps));
    }
}
