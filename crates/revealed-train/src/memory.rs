//! Estimate of the memory of a run, before it starts.

use std::fmt;

use revealed_models::workers::max_concurrency;
use revealed_models::{ATTENTION_BLOCK, CausalLm};

use crate::recipe::{Average, Recipe, Solver, Tuning, ValidationReward};

/// Bytes by purpose. Activations are estimated; weights, optimizer state and caches are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Purpose and bytes.
    pub parts: Vec<(String, u64)>,
}

impl MemoryPlan {
    /// The plan of a run of `recipe` with `model` (with adapters for LoRA).
    pub fn new(model: &CausalLm, recipe: &Recipe) -> Self {
        let shape = model.shape();
        let adapters: u64 = model
            .decoder
            .linears()
            .filter_map(|layer| layer.lora.as_ref())
            .map(|lora| {
                (lora.a.val().shape().num_elements() + lora.b.val().shape().num_elements()) as u64
            })
            .sum();
        let all: u64 = burn::module::Module::num_params(model) as u64;
        let base = all - adapters;
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
        let critic = u64::from(recipe.policy.solver == Solver::Ppo);
        // Micro-batches that run in parallel have separate gradients, which are then summed.
        let workers = max_concurrency(&model.device(), 1, usize::MAX) as u64;
        let in_training = |weights: u64| (3 * (1 + critic) + workers).saturating_mul(weights);
        let mut parts = Vec::new();
        let mut part = |name: String, floats: u64| parts.push((name, floats.saturating_mul(4)));
        match recipe.model.tuning {
            Tuning::Lora => {
                part("base weights, shared by all models".into(), base);
                part("adapters: policy, SFT, candidate".into(), 3 * adapters);
                part(rewards_are("adapters"), rewards.saturating_mul(adapters));
                part("adapter of the critic".into(), critic * adapters);
                part("gradients and AdamW of the models in training".into(), in_training(adapters));
            }
            Tuning::Full => {
                part("weights: initial, SFT, policy, candidate".into(), 4 * base);
                part(rewards_are("weights"), rewards.saturating_mul(base));
                part("weights of the critic".into(), critic * base);
                part("gradients and AdamW of the models in training".into(), in_training(base));
            }
        }
        let tokens = recipe.run.micro_batch_tokens as u64;
        let row = (recipe.data.max_prompt_tokens + recipe.data.max_completion_tokens) as u64;
        // Each layer keeps about eight hidden-sized tensors for the backward pass, three of the feed-forward layer, and the
        // attention weights of short rows; attention of longer rows is computed in blocks that are freed.
        let layers = shape.layers as u64;
        let attended = row.min(ATTENTION_BLOCK as u64).saturating_mul(tokens * shape.heads as u64);
        let attention = layers.max(3) * attended;
        let width = 8 * shape.hidden_size as u64 + 3 * shape.intermediate_size as u64;
        let kept = (tokens * layers).saturating_mul(width);
        part("activations of one micro-batch (estimate)".into(), kept.saturating_add(attention));
        if recipe.model.tuning == Tuning::Full {
            let head = shape.vocab_size as u64 * shape.hidden_size as u64;
            part(
                "gradient of the head, twice per micro-batch".into(),
                (2 * workers).saturating_mul(head),
            );
        }
        part("a chunk of logits per micro-batch, three times".into(), workers * 3 * (8 << 20));
        let kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * recipe.run.sample_batch_size;
        part("KV cache while sampling, twice when rows finish".into(), 2 * kv as u64 * row);
        let rounded = u64::from(recipe.model.bf16) * all.div_ceil(2);
        part("weights in bfloat16 while sampling".into(), rounded);
        parts.retain(|(_, bytes)| *bytes > 0);
        Self { parts }
    }

    /// Sum of all parts, bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
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
    use crate::support::World;

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
    fn micro_batches_that_run_in_parallel_have_separate_gradients() {
        let world = World::new(Tuning::Full, |recipe| recipe.policy.solver = Solver::Rloo);
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
