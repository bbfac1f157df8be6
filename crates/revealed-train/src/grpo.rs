//! GRPO: advantages relative to the prompt's group, the KL in the loss.
//!
//! Objective: `max E[ clipped surrogate(A) − β·k3 ]` a token. Source: <https://arxiv.org/abs/2402.03300>.
//!
//! | here | paper |
//! |---|---|
//! | `A = (r − mean) / (std + 1e-4)`, or without the division | with it |
//! | mean within completions, then over them; or over all tokens | the former |
//! | clips `1 − clip_low`, `1 + clip_high` | one ε |

use burn::tensor::{Bool, Device, Tensor};
use revealed_objectives::advantages::{grpo, on_every_token};
use revealed_objectives::kl::k3;
use revealed_objectives::policy::clipped_surrogate;
use revealed_objectives::reduce::{sequence_mean, token_mean};

use crate::recipe::{Normalization, PolicySection};
use crate::rollout::Rollout;

/// `A`, one a completion.
pub(crate) fn advantages(rollout: &Rollout, config: &PolicySection, device: &Device) -> Tensor<1> {
    let scores: Vec<f32> = rollout.scores.iter().map(|score| *score as f32).collect();
    grpo(Tensor::from_floats(scores.as_slice(), device), rollout.group, config.group_scale)
}

/// The share of a mini-batch of `rows` completions and `tokens` tokens in its loss.
///
/// # Shapes
/// - log_probs, old_log_probs, ref_log_probs, mask: `[B, C]`; advantages: `[B]`
pub(crate) fn loss(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    ref_log_probs: Tensor<2>,
    mask: Tensor<2, Bool>,
    advantages: Tensor<1>,
    (rows, tokens): (usize, usize),
    config: &PolicySection,
) -> Tensor<1> {
    let advantages = on_every_token(advantages, mask.clone());
    let surrogate = clipped_surrogate(
        log_probs.clone(),
        old_log_probs,
        advantages,
        config.clip_low,
        config.clip_high,
    );
    let per_token = surrogate + k3(log_probs, ref_log_probs).mul_scalar(config.kl_coef);
    match config.normalization {
        Normalization::Sequence => sequence_mean(per_token, mask).sum().div_scalar(rows as f64),
        Normalization::Token => token_mean(per_token, mask, tokens as f64),
    }
}
