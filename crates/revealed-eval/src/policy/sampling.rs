//! Draws completions of every prompt, and sets their KL to the reference.

use revealed_data::Encoded;
use revealed_models::{CausalLm, SamplingConfig, derive, sample};

use super::completion::{SampledCompletion, kl_terms};
use super::prompts::EncodedPrompt;
use super::settings::PolicySettings;
use crate::error::EvalError;
use crate::log_probs::completion_log_probs;
use crate::progress::{Progress, Stage};
use crate::rewards::PolicyAndReference;
use crate::row_encoder::RowEncoder;

/// Prompts per call of the sampler.
const PROMPTS: usize = 32;

/// Draws completions of every prompt; one seed gives each prompt the same noise for every model.
///
/// # Errors
/// When the model gives log-probs that are not finite.
pub(super) fn draw(
    stage: &str,
    model: &CausalLm,
    prompts: &[EncodedPrompt],
    rows: &RowEncoder,
    config: &SamplingConfig,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Vec<SampledCompletion>>, EvalError> {
    let mut all: Vec<Vec<SampledCompletion>> = prompts.iter().map(|_| Vec::new()).collect();
    let mut stage = Stage::start(stage, prompts.len(), on_progress);
    for (call, chunk) in prompts.chunks(PROMPTS).enumerate() {
        let ids: Vec<Vec<u32>> = chunk.iter().map(|one| one.ids.clone()).collect();
        let seed = derive(config.seed, 0, "sample", call);
        let mut tokens = 0;
        for drawn in sample(model, &ids, &SamplingConfig { seed, ..config.clone() })? {
            tokens += drawn.token_ids.len();
            all[call * PROMPTS + drawn.prompt].push(SampledCompletion {
                text: rows.encoder.completion_text(&ids[drawn.prompt], &drawn.token_ids),
                tokens: drawn.token_ids,
                finished: drawn.finished,
                ..SampledCompletion::default()
            });
        }
        stage.add(chunk.len(), tokens);
    }
    Ok(all)
}

/// Sets k1 and k3 of the policy's completions, at the temperature that they were sampled at.
///
/// # Errors
/// When a model gives log-probs that are not finite.
pub(super) fn set_kl(
    completions: &mut [Vec<SampledCompletion>],
    prompts: &[EncodedPrompt],
    models: &PolicyAndReference,
    settings: &PolicySettings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), EvalError> {
    let pad_id = models.rows.encoder.pad_id();
    let mut stage = Stage::start("log-probs", prompts.len(), on_progress);
    for (own, prompt) in completions.iter_mut().zip(prompts) {
        let rows: Vec<Encoded> = own.iter().map(|one| row(&prompt.ids, one)).collect();
        let rows: Vec<&Encoded> = rows.iter().collect();
        let PolicySettings { batch_tokens, temperature, .. } = *settings;
        let log_probs =
            |model| completion_log_probs(model, &rows, pad_id, batch_tokens, temperature);
        let (policy, reference) = (log_probs(&models.policy)?, log_probs(&models.reference)?);
        for ((completion, policy), reference) in own.iter_mut().zip(&policy).zip(&reference) {
            let (k1, k3) = kl_terms(policy, reference);
            (completion.k1, completion.k3) = (Some(k1), Some(k3));
        }
        stage.add(1, 2 * rows.iter().map(|row| row.input_ids.len()).sum::<usize>());
    }
    Ok(())
}

/// The tokens that were sampled, after their prompt.
pub(super) fn row(prompt: &[u32], completion: &SampledCompletion) -> Encoded {
    Encoded {
        input_ids: [prompt, &completion.tokens].concat(),
        completion_start: prompt.len(),
        terminated: completion.finished,
        truncated: false,
    }
}
