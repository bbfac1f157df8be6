//! Settings of reward evaluations.

/// Settings of an evaluation of rewards.
///
/// | field | default | range | purpose |
/// |---|---|---|---|
/// | `batch_tokens` | 1024 | ≥ 1 | tokens per forward pass, padding included: memory and speed, not results |
/// | `seed` | 0 | | draws the answers of the [batch check](crate::batch_invariance) |
/// | `checked_answers` | 16 | ≥ 0 | answers that are scored again in other batches |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardSettings {
    /// Tokens per forward pass, padding included.
    pub batch_tokens: usize,
    /// Seed that draws the answers of the batch check.
    pub seed: u64,
    /// Answers that are scored again in other batches.
    pub checked_answers: usize,
}

impl Default for RewardSettings {
    fn default() -> Self {
        Self { batch_tokens: 1024, seed: 0, checked_answers: 16 }
    }
}
