//! Prompts of a policy evaluation.

use revealed_data::Prompt;

use crate::row_encoder::{RowEncoder, RowError};

/// A prompt to sample completions for.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedPrompt {
    /// Its id.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// Its tokens for the policy.
    pub ids: Vec<u32>,
}

/// An id with the reason why its prompt was not used.
pub(super) type FailedPrompt = (String, RowError);

/// Encodes prompts that leave room for completions of `max_tokens`; the others with the reason.
pub(super) fn encode(
    prompts: Vec<(String, Prompt)>,
    rows: &RowEncoder,
    max_tokens: usize,
) -> (Vec<EncodedPrompt>, Vec<FailedPrompt>) {
    let (mut encoded, mut failed) = (Vec::new(), Vec::new());
    for (id, prompt) in prompts {
        match rows.prompt(&prompt, max_tokens) {
            Ok(ids) => encoded.push(EncodedPrompt { id, prompt, ids }),
            Err(reason) => failed.push((id, reason)),
        }
    }
    (encoded, failed)
}
