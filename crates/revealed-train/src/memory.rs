//! How much memory a run will want, before it starts.

use std::fmt;

use revealed_models::workers::max_concurrency;
use revealed_models::{ATTENTION_BLOCK, CausalLm};

use crate::recipe::{Average, Recipe, Solver, Tuning, ValidationReward};

/// Bytes by what they are for. Activations are an estimate; weights, optimizer state and caches are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Name and bytes.
    pub parts: Vec<(String, u64)>,
}

impl MemoryPlan {
    /// Counts what `recipe` asks of `model` (with its adapters attached under LoRA).
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
        // Of the rounds that are averaged, or of this one and of the last for a rollback.
        let rounds = match recipe.reward.average {
            Average::Rounds => recipe.run.rounds,
            Average::None => recipe.run.rounds.min(2),
        };
        let judge = u64::from(recipe.gate.validation_reward == ValidationReward::Independent);
        let rewards =
            (rounds.max(1) as u64).saturating_mul(recipe.reward.ensemble_size as u64) + judge;
        let rewards_are = |what: &str| match judge {
            0 => format!("{what}: {rewards} rewards"),
            _ => format!("{what}: {rewards} rewards, the judge among them"),
        };
        let critic = u64::from(recipe.policy.solver == Solver::Ppo);
        // Pieces of a mini-batch that are worked on at once have gradients of their own, which are then added up.
        let pieces = max_concurrency(&model.device(), 1, usize::MAX) as u64;
        let in_training = |weights: u64| (3 * (1 + critic) + pieces).saturating_mul(weights);
        let mut parts = Vec::new();
        let mut part = |name: String, floats: u64| parts.push((name, floats.saturating_mul(4)));
        match recipe.model.tuning {
            Tuning::Lora => {
                part("base weights, shared by all roles".into(), base);
                part("adapters: policy, SFT, candidate".into(), 3 * adapters);
                part(rewards_are("adapters"), rewards.saturating_mul(adapters));
                part("critic's adapter".into(), critic * adapters);
                part("gradients and AdamW of the roles in training".into(), in_training(adapters));
            }
            Tuning::Full => {
                part("weights: initial, SFT, policy, candidate".into(), 4 * base);
                part(rewards_are("weights"), rewards.saturating_mul(base));
                part("critic's weights".into(), critic * base);
                part("gradients and AdamW of the roles in training".into(), in_training(base));
            }
        }
        let tokens = recipe.run.micro_batch_tokens as u64;
        let row = (recipe.data.max_prompt_tokens + recipe.data.max_completion_tokens) as u64;
        // Each layer keeps about eight hidden-sized tensors for the backward pass, three of the feed-forward layer, and the attention weights of short rows, which
        // come under any limit; those of a block of a longer row are formed and gone.
        let layers = shape.layers as u64;
        let seen = row.min(ATTENTION_BLOCK as u64).saturating_mul(tokens * shape.heads as u64);
        let attention = layers.max(3) * seen;
        let width = 8 * shape.hidden_size as u64 + 3 * shape.intermediate_size as u64;
        let kept = (tokens * layers).saturating_mul(width);
        part("activations of one micro-batch (estimate)".into(), kept.saturating_add(attention));
        if recipe.model.tuning == Tuning::Full {
            let head = shape.vocab_size as u64 * shape.hidden_size as u64;
            part("the head's gradient, twice a piece".into(), (2 * pieces).saturating_mul(head));
        }
        part("a chunk of logits a piece, three times".into(), pieces * 3 * (8 << 20));
        let kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * recipe.run.sample_batch_size;
        part("KV cache while sampling, twice where rows leave".into(), 2 * kv as u64 * row);
        let rounded = u64::from(recipe.model.bf16) * all.div_ceil(2);
        part("weights in bfloat16 while sampling".into(), rounded);
        parts.retain(|(_, bytes)| *bytes > 0);
        Self { parts }
    }

    /// Sum of the parts.
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
            "{:>10.1} MiB  in all, if every part is at its largest at once",
            mib(self.total())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::World;

    /// Copies of the weights that rewards take.
    fn rewards(average: Average, rounds: usize, judge: ValidationReward) -> (String, u64) {
        let world = World::new(Tuning::Full, |recipe| {
            (recipe.reward.average, recipe.run.rounds) = (average, rounds);
            (recipe.reward.ensemble_size, recipe.gate.validation_reward) = (2, judge);
        });
        let weights = 4 * burn::module::Module::num_params(&world.base) as u64;
        let plan = MemoryPlan::new(&world.base, &world.recipe);
        let (name, bytes) = plan.parts.iter().find(|(name, _)| name.contains("reward")).unwrap();
        assert_eq!(bytes % weights, 0);
        assert_eq!(plan.total(), plan.parts.iter().map(|(_, bytes)| bytes).sum::<u64>());
        (name.clone(), bytes / weights)
    }

    #[test]
    fn sampling_in_bfloat16_rounds_all_weights_at_once() {
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
    fn every_piece_in_work_has_gradients_of_its_own() {
        let world = World::new(Tuning::Full, |recipe| recipe.policy.solver = Solver::Rloo);
        let weights = 4 * burn::module::Module::num_params(&world.base) as u64;
        let plan = MemoryPlan::new(&world.base, &world.recipe);
        let (_, bytes) = plan.parts.iter().find(|(name, _)| name.contains("gradients")).unwrap();
        let workers = max_concurrency(&world.base.device(), 1, usize::MAX) as u64;
        // Two moments, the sum, and a set a piece.
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
        // Short rows come under a long limit too.
        assert!(activations(300) >= activations(200));
        assert_eq!(activations(4000), activations(1000));
    }

    #[test]
    fn rewards_are_counted_with_those_of_kept_rounds_and_the_judge() {
        assert_eq!(rewards(Average::Rounds, 3, ValidationReward::Independent).1, 3 * 2 + 1);
        assert_eq!(rewards(Average::Rounds, 3, ValidationReward::None).1, 3 * 2);
        // This round's, and the last one's for a rollback.
        assert_eq!(rewards(Average::None, 3, ValidationReward::None).1, 2 * 2);
        let one = rewards(Average::None, 1, ValidationReward::Independent);
        assert_eq!(one, ("weights: 3 rewards, the judge among them".into(), 3));
        assert_eq!(rewards(Average::None, 0, ValidationReward::None).0, "weights: 2 rewards");
    }
}
