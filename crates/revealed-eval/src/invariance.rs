//! Checks that a score does not depend on the other rows of its batch, as half precision, a wrong mask or a wrong position
//! would make it.

use revealed_reward::RewardEnsemble;
use serde::Serialize;

use crate::error::EvalError;

/// Result of the batch check.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Invariance {
    /// Rows that were scored again.
    pub rows: usize,
    /// Largest difference from a row's first score, in the reward's unit.
    pub largest: f64,
}

/// Scores rows again, each alone without padding, and each in a batch with the row whose length differs most.
///
/// `scores` are the first ones, computed in batches of rows of similar length.
///
/// # Errors
/// When a row cannot be scored.
pub fn batch_invariance(
    reward: &RewardEnsemble,
    rows: &[&[u32]],
    scores: &[f64],
    pad_id: u32,
) -> Result<Invariance, EvalError> {
    let mut largest = 0.0f64;
    let mut compare = |index: usize, again: f64| {
        largest = largest.max((again - scores[index]).abs());
    };
    // A budget of one token leaves each row its own batch.
    for (index, again) in reward.scores(rows, pad_id, 1)?.into_iter().enumerate() {
        compare(index, again);
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|row| rows[*row].len());
    for (&short, &long) in order.iter().zip(order.iter().rev()).take(rows.len().div_ceil(2)) {
        let both = reward.scores(&[rows[short], rows[long]], pad_id, usize::MAX)?;
        compare(short, both[0]);
        compare(long, both[1]);
    }
    Ok(Invariance { rows: rows.len(), largest })
}

#[cfg(test)]
mod tests {

    use burn::tensor::Device;
    use revealed_models::{CausalLm, HfConfig};
    use revealed_reward::RewardModel;

    use super::*;

    const CONFIG: &str = r#"{
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 121,
        "hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu",
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "initializer_range": 0.08, "tie_word_embeddings": true
    }"#;

    fn reward() -> RewardEnsemble {
        let fields = serde_json::from_str(CONFIG).unwrap();
        let config = HfConfig::new("config.json", fields);
        RewardModel::new(CausalLm::random(config, 1, &Device::default()).unwrap(), 2).into()
    }

    #[test]
    fn scores_do_not_depend_on_the_batch_and_other_scores_are_seen() {
        let reward = reward();
        let rows: Vec<Vec<u32>> =
            (1..8).map(|n| (0..3 * n).map(|t| 3 + t % 90).collect()).collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let mut scores = reward.scores(&rows, 0, 64).unwrap();
        let found = batch_invariance(&reward, &rows, &scores, 0).unwrap();
        assert_eq!(found.rows, 7);
        assert!(found.largest < 1e-5, "{}", found.largest);
        scores[3] += 0.5;
        let found = batch_invariance(&reward, &rows, &scores, 0).unwrap();
        assert!((found.largest - 0.5).abs() < 1e-5, "{}", found.largest);
    }
}
