//! Batched sampling with a preallocated KV cache.
//!
//! Prompts are prefilled once each, left-padded; their cache rows are then repeated for the samples of the
//! prompt. Rows leave the batch when they end. The next token is drawn on the host by the Gumbel-max trick in
//! its one-logarithm form, `argmin_v E_v / p_v` with `E_v` exponential noise from a generator seeded by
//! (seed, prompt, sample), so a row's tokens do not depend on what else is in the batch.

use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::batching::batch::{PaddingSide, TokenBatch};
use crate::batching::workers::{map_parallel, max_concurrency, piece_size};
use crate::causal_lm::CausalLm;
use crate::error::ModelError;
use crate::layers::kv_cache::KvCache;

mod config;
pub(crate) mod draw;

pub use config::{Decoding, SamplingConfig};

use draw::choose;

/// Rows that should be decoded together for a step to be worth reading the weights for.
const LEAST: usize = 32;

/// One completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Index of its prompt in the call.
    pub prompt: usize,
    /// Index among the prompt's samples.
    pub index: usize,
    /// The tokens, with the terminator if one was drawn. All are real: the mask of a row is its length.
    pub token_ids: Vec<u32>,
    /// `log π` of each token under the full distribution at the temperature (before top-k, top-p, min-p).
    pub log_probs: Vec<f32>,
    /// Whether a stop token ended it.
    pub finished: bool,
}

/// Completions of every prompt, in order of prompt and sample.
///
/// # Errors
/// When a setting is out of range, a prompt is empty, prompt and completion exceed the model's context, or a
/// logit is not finite.
pub fn sample(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    config: &SamplingConfig,
) -> Result<Vec<Sample>, ModelError> {
    config.check()?;
    let context = model.shape().context;
    let vocab = model.shape().vocab_size;
    for (row, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() {
            let reason = "its prompt has no tokens".into();
            return Err(ModelError::Row { row, reason });
        }
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocab) {
            let reason = format!("token {token} is outside the model's vocabulary of {vocab}");
            return Err(ModelError::Row { row, reason });
        }
        if prompt.len().saturating_add(config.max_new_tokens) > context {
            let reason = format!(
                "its prompt has {} tokens and {} more are asked for; the model's context is {context}",
                prompt.len(),
                config.max_new_tokens
            );
            return Err(ModelError::Row { row, reason });
        }
        model.check_growth(row, prompt.len(), config.max_new_tokens)?;
    }
    let model = model.for_decoding();
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|prompt| prompts[*prompt].len());
    let (device, copies) = (model.device(), config.samples_per_prompt);
    let rows = prompts.len().saturating_mul(copies);
    let size = (piece_size(&device, rows, config.batch_size, LEAST) / copies).max(1);
    let waves: Vec<&[usize]> = order.chunks(size).collect();
    let concurrency = max_concurrency(&device, size * copies, config.batch_size);
    let mut samples = Vec::new();
    let work = |wave: &&[usize]| decode_wave(&model, prompts, wave, config);
    map_parallel(concurrency, &waves, work, |wave| {
        samples.extend(wave);
        Ok::<_, ModelError>(())
    })?;
    samples.sort_by_key(|sample| (sample.prompt, sample.index));
    Ok(samples)
}

/// A row being decoded.
struct Row {
    sample: Sample,
    rng: ChaCha8Rng,
    /// Tokens in the cache that belong to the row.
    length: usize,
}

fn decode_wave(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    wave: &[usize],
    config: &SamplingConfig,
) -> Result<Vec<Sample>, ModelError> {
    let device = model.device();
    let rows: Vec<&[u32]> = wave.iter().map(|prompt| prompts[*prompt].as_slice()).collect();
    let batch = TokenBatch::new(&rows, config.pad_id, PaddingSide::Left, &device)?;
    let width = batch.shape()[1];
    let shape = model.shape();
    let mut cache =
        KvCache::new(shape.layers, rows.len(), shape.kv_heads, width, shape.head_dim, &device);
    let hidden = model.decoder.forward_cached(&batch, Some(&mut cache));
    let logits = last_logits(model, hidden.narrow(1, width - 1, 1));

    let copies = config.samples_per_prompt;
    let source: Vec<usize> = (0..wave.len() * copies).map(|row| row / copies).collect();
    cache.select_rows(&source, width + config.max_new_tokens, &device);
    let mut active: Vec<Row> = source
        .iter()
        .enumerate()
        .map(|(row, of)| {
            let (prompt, index) = (wave[*of], row % copies);
            Row {
                sample: Sample {
                    prompt,
                    index,
                    token_ids: vec![],
                    log_probs: vec![],
                    finished: false,
                },
                rng: row_rng(config.seed, prompt, index),
                length: prompts[prompt].len(),
            }
        })
        .collect();

    let vocab = shape.vocab_size;
    let mut logits = read(logits)?;
    draw(&mut active, |row| &logits[source[row] * vocab..][..vocab], config)?;
    let mut done = Vec::new();
    loop {
        let (kept, ended): (Vec<_>, Vec<_>) =
            active.into_iter().enumerate().partition(|(_, row)| {
                !row.sample.finished && row.sample.token_ids.len() < config.max_new_tokens
            });
        done.extend(ended.iter().map(|(_, row)| row.sample.clone()));
        if kept.is_empty() {
            return Ok(done);
        }
        if !ended.is_empty() {
            let rows: Vec<usize> = kept.iter().map(|(row, _)| *row).collect();
            cache.select_rows(&rows, width + config.max_new_tokens, &device);
        }
        active = kept.into_iter().map(|(_, row)| row).collect();
        let batch = next_batch(&active, cache.len + 1, &device);
        let hidden = model.decoder.forward_cached(&batch, Some(&mut cache));
        logits = read(last_logits(model, hidden))?;
        active.iter_mut().for_each(|row| row.length += 1);
        draw(&mut active, |row| &logits[row * vocab..][..vocab], config)?;
    }
}

fn row_rng(seed: u64, prompt: usize, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((prompt as u64) << 24) | index as u64);
    rng
}

/// `[B, 1, D]` to `[B, V]`.
fn last_logits(model: &CausalLm, hidden: Tensor<3>) -> Tensor<2> {
    let [rows, _, width] = hidden.dims();
    model.project(hidden.reshape([rows, width]))
}

fn read(logits: Tensor<2>) -> Result<Vec<f32>, ModelError> {
    logits.try_into_vec_as::<f32>().map_err(|error| ModelError::Device(error.to_string()))
}

/// Each row's last token as a batch of one column over `keys` cached slots.
fn next_batch(active: &[Row], keys: usize, device: &Device) -> TokenBatch {
    let last: Vec<i32> =
        active.iter().map(|row| row.sample.token_ids.last().map_or(0, |t| *t as i32)).collect();
    let lengths: Vec<usize> = active.iter().map(|row| row.length + 1).collect();
    TokenBatch::decoding_step(&last, lengths, keys, device)
}

/// Draws one token for every row, rows in parallel.
fn draw<'a>(
    active: &mut [Row],
    logits: impl Fn(usize) -> &'a [f32] + Sync,
    config: &SamplingConfig,
) -> Result<(), ModelError> {
    active.par_iter_mut().enumerate().try_for_each(|(index, row)| {
        let drawn = choose(logits(index), config, &mut row.rng)
            .ok_or(ModelError::NonFinite { what: "logits", row: row.sample.prompt })?;
        row.sample.token_ids.push(drawn.0);
        row.sample.log_probs.push(drawn.1);
        row.sample.finished = config.stop_ids.contains(&drawn.0);
        Ok(())
    })
}
