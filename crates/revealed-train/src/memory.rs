//! How much memory a run will want, before it starts.

use std::fmt;

use revealed_models::CausalLm;

use crate::recipe::{Recipe, Solver, Tuning};

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
        let critic = u64::from(recipe.policy.solver == Solver::Ppo);
        let mut parts = Vec::new();
        let mut part = |name: String, floats: u64| parts.push((name, 4 * floats));
        match recipe.model.tuning {
            Tuning::Lora => {
                part("base weights, shared by all roles".into(), base);
                part("adapters: policy, SFT, reward, candidate".into(), 4 * adapters);
                part("critic's adapter".into(), critic * adapters);
                part(
                    "gradients and AdamW of the roles in training".into(),
                    3 * adapters * (1 + critic),
                );
            }
            Tuning::Full => {
                part("weights: initial, SFT, policy, candidate, reward".into(), 5 * base);
                part("critic's weights".into(), critic * base);
                part(
                    "gradients and AdamW of the roles in training".into(),
                    3 * base * (1 + critic),
                );
            }
        }
        let tokens = recipe.run.micro_batch_tokens as u64;
        let row = (recipe.data.max_prompt_tokens + recipe.data.max_completion_tokens) as u64;
        // Each block keeps about 16 hidden-sized tensors and the attention weights for the backward pass.
        let per_block =
            16 * tokens * shape.hidden_size as u64 + 3 * tokens * row * shape.heads as u64;
        part("activations of one micro-batch (estimate)".into(), per_block * shape.layers as u64);
        part("one chunk of logits, three times".into(), 3 * (8 << 20));
        let kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * recipe.run.sample_batch_size;
        part("KV cache while sampling, twice where rows leave".into(), 2 * kv as u64 * row);
        parts.retain(|(_, bytes)| *bytes > 0);
        Self { parts }
    }

    /// Sum of the parts.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
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
