//! Estimate of the memory of a run, before it starts.

use std::fmt;

use revealed_models::workers::max_concurrency;
use revealed_models::{ATTENTION_BLOCK, CausalLm, WeightStorage};

use crate::recipe::{Average, Recipe, Tuning, ValidationReward};

/// Bytes by purpose. Activations are estimated; weights, optimizer state and caches are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Purpose and bytes.
    pub parts: Vec<(String, u64)>,
}

impl MemoryPlan {
    /// The plan of a run of `recipe` with `model` (with adapters for LoRA).
    pub fn new(model: &CausalLm, recipe: &Recipe) -> Self {
        // Micro-batches that run in parallel have separate gradients, which are then summed.
        let workers = max_concurrency(&model.device(), 1, usize::MAX) as u64;
        let mut plan = Self { parts: vec![] };
        plan.add_weights(model, recipe, workers);
        plan.add_training(model, recipe, workers);
        plan.add_sampling(model, recipe);
        plan.parts.retain(|(_, bytes)| *bytes > 0);
        plan
    }

    fn add(&mut self, name: impl Into<String>, floats: u64) {
        self.parts.push((name.into(), floats.saturating_mul(4)));
    }

    /// Weights of all models, and gradients and moments of those in training.
    fn add_weights(&mut self, model: &CausalLm, recipe: &Recipe, workers: u64) {
        let adapters = adapter_parameters(model);
        let base = burn::module::Module::num_params(model) as u64 - adapters;
        // Rewards of all averaged rounds, or of this round and the last one for a rollback.
        let rounds = match recipe.reward.average {
            Average::Rounds => recipe.run.rounds,
            Average::None => recipe.run.rounds.min(2),
        };
        let validation = u64::from(recipe.gate.validation_reward == ValidationReward::Independent);
        let rewards =
            (rounds.max(1) as u64).saturating_mul(recipe.reward.ensemble_size as u64) + validation;
        let rewards_are = |what: &str| match validation {
            0 => format!("{what}: {rewards} rewards"),
            _ => format!("{what}: {rewards} rewards, validation reward included"),
        };
        let critic = u64::from(recipe.policy.solver.solver().uses_critic());
        let trained = match recipe.model.tuning {
            Tuning::Lora => {
                self.parts.push(("base weights, shared by all models".into(), model.base_bytes()));
                self.add("adapters: policy, SFT, candidate", 3 * adapters);
                self.add(rewards_are("adapters"), rewards.saturating_mul(adapters));
                self.add("adapter of the critic", critic * adapters);
                adapters
            }
            Tuning::Full => {
                self.add("weights: initial, SFT, policy, candidate", 4 * base);
                self.add(rewards_are("weights"), rewards.saturating_mul(base));
                self.add("weights of the critic", critic * base);
                base
            }
        };
        let copies = 3 * (1 + critic) + workers;
        self.add("gradients and AdamW of the models in training", copies.saturating_mul(trained));
    }

    /// Activations and logits of the micro-batches of a step.
    fn add_training(&mut self, model: &CausalLm, recipe: &Recipe, workers: u64) {
        let shape = model.shape();
        let tokens = recipe.run.micro_batch_tokens as u64;
        // Each layer keeps about eight hidden-sized tensors for the backward pass, three of the feed-forward layer, and the
        // attention weights of short rows; attention of longer rows is computed in blocks that are freed.
        let layers = shape.layers as u64;
        let attended = longest_row(recipe)
            .min(ATTENTION_BLOCK as u64)
            .saturating_mul(tokens * shape.heads as u64);
        let attention = layers.max(3) * attended;
        let width = 8 * shape.hidden_size as u64 + 3 * shape.intermediate_size as u64;
        let kept = (tokens * layers).saturating_mul(width);
        self.add("activations of one micro-batch (estimate)", kept.saturating_add(attention));
        if recipe.model.tuning == Tuning::Full {
            let head = shape.vocab_size as u64 * shape.hidden_size as u64;
            let gradients = (2 * workers).saturating_mul(head);
            self.add("gradient of the head, twice per micro-batch", gradients);
        }
        self.add("a chunk of logits per micro-batch, three times", workers * 3 * (8 << 20));
    }

    /// Caches and rounded weights while sampling.
    fn add_sampling(&mut self, model: &CausalLm, recipe: &Recipe) {
        let shape = model.shape();
        let kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * recipe.run.sample_batch_size;
        let caches = 2 * kv as u64 * longest_row(recipe);
        self.add("KV cache while sampling, twice when rows finish", caches);
        // A base in bf16 is not rounded again.
        let rounded = match recipe.model.weights {
            WeightStorage::F32 => burn::module::Module::num_params(model) as u64,
            WeightStorage::Bf16 => adapter_parameters(model),
        };
        let rounded = u64::from(recipe.model.bf16) * rounded.div_ceil(2);
        self.add("weights in bfloat16 while sampling", rounded);
    }

    /// Sum of all parts, bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

/// Parameters of the LoRA adapters of a model.
fn adapter_parameters(model: &CausalLm) -> u64 {
    let adapters = model.decoder.linears().filter_map(|layer| layer.lora.as_ref());
    let size = |tensor: burn::tensor::Shape| tensor.num_elements() as u64;
    adapters.map(|lora| size(lora.a.val().shape()) + size(lora.b.val().shape())).sum()
}

/// Tokens of the longest prompt with the longest completion.
fn longest_row(recipe: &Recipe) -> u64 {
    (recipe.data.max_prompt_tokens + recipe.data.max_completion_tokens) as u64
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for (name, bytes) in &self.parts {
            writeln!(f, "{:>10.1} MiB  {name}", mib(*bytes))?;
        }
        write!(
            f,
            "{:>10.1} MiB  in total, if all parts are at their maximum at once",
            mib(self.total())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::SolverName;
    use crate::testing::World;

    /// Copies of the weights in all rewards.
    fn rewards(average: Average, rounds: usize, validation: ValidationReward) -> (String, u64) {
        let world = World::new(Tuning::Full, |recipe| {
            (recipe.reward.average, recipe.run.rounds) = (average, rounds);
            (recipe.reward.ensemble_size, recipe.gate.validation_reward) = (2, validation);
        });
        let weights = 4 * burn::module::Module::num_params(&world.base) as u64;
        let plan = MemoryPlan::new(&world.base, &world.recipe);
        let (name, bytes) = plan.parts.iter().find(|(name, _)| name.contains("reward")).unwrap();
        assert_eq!(bytes % weights, 0);
        assert_eq!(plan.total(), plan.parts.iter().map(|(_, bytes)| bytes).sum::<u64>());
        (name.clone(), bytes / weights)
    }

    #[test]
    fn sampling_in_bfloat16_keeps_a_rounded_copy_of_all_weights() {
        let sampling = |bf16| {
            let world = World::new(Tuning::Lora, |recipe| recipe.model.bf16 = bf16);
            let plan = MemoryPlan::new(&world.base, &world.recipe);
            let weights = burn::module::Module::num_params(&world.base) as u64;
            (plan.parts.iter().find(|(name, _)| name.contains("bfloat16")).map(|p| p.1), weights)
        };
        assert_eq!(sampling(false).0, None);
        let (bytes, weights) = sampling(true);
        assert!(bytes.is_some_and(|bytes| bytes.abs_diff(2 * weights) < 4), "{bytes:?}");
    }

    #[test]
    fn a_base_in_bf16_is_counted_as_it_is_stored() {
        let base = |weights| {
            let world = World::new(Tuning::Lora, |recipe| recipe.model.weights = weights);
            let plan = MemoryPlan::new(&world.policy, &world.recipe);
            let part = plan.parts.iter().find(|(name, _)| name.starts_with("base weights"));
            (part.unwrap().1, world.base.base_bytes())
        };
        let [f32, bf16] = [WeightStorage::F32, WeightStorage::Bf16].map(base);
        assert_eq!((f32.0, bf16.0), (f32.1, bf16.1));
        // All but the norms.
        assert!(bf16.0 < f32.0 * 55 / 100, "{f32:?} {bf16:?}");
    }

    #[test]
    fn micro_batches_that_run_in_parallel_have_separate_gradients() {
        let world = World::new(Tuning::Full, |recipe| recipe.policy.solver = SolverName::RLOO);
        let weights = 4 * burn::module::Module::num_params(&world.base) as u64;
        let plan = MemoryPlan::new(&world.base, &world.recipe);
        let (_, bytes) = plan.parts.iter().find(|(name, _)| name.contains("gradients")).unwrap();
        let workers = max_concurrency(&world.base.device(), 1, usize::MAX) as u64;
        // Two moments, the sum, and one set per worker.
        assert_eq!(*bytes, (2 + 1 + workers) * weights);
    }

    #[test]
    fn activations_grow_with_tokens_and_not_with_the_length_of_rows() {
        let activations = |prompt: usize| {
            let world = World::new(Tuning::Full, |recipe| {
                recipe.data.max_prompt_tokens = prompt;
                recipe.run.micro_batch_tokens = 1 << 14;
            });
            let plan = MemoryPlan::new(&world.base, &world.recipe);
            let named = |(name, _): &&(String, u64)| name.contains("activations");
            plan.parts.iter().find(named).unwrap().1
        };
        assert!(activations(200) > activations(100));
        // The plan must cover short rows too.
        assert!(activations(300) >= activations(200));
        assert_eq!(activations(4000), activations(1000));
    }

    #[test]
    fn rewards_of_kept_rounds_and_the_validation_reward_are_counted() {
        assert_eq!(rewards(Average::Rounds, 3, ValidationReward::Independent).1, 3 * 2 + 1);
        assert_eq!(rewards(Average::Rounds, 3, ValidationReward::None).1, 3 * 2);
        // Rewards of this round, and of the last one for a rollback.
        assert_eq!(rewards(Average::None, 3, ValidationReward::None).1, 2 * 2);
        let one = rewards(Average::None, 1, ValidationReward::Independent);
        assert_eq!(one, ("weights: 3 rewards, validation reward included".into(), 3));
        assert_eq!(rewards(Average::None, 0, ValidationReward::None).0, "weights: 2 rewards");
    }
}
