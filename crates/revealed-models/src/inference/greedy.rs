//! Greedy decoding after prompts that begin alike, ended by a rule of the caller's.

use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::inference::prefix::PrefixCache;
use crate::inference::sampling::draw::likeliest;
use crate::layers::kv_cache::KvCache;

/// A row being decoded.
struct Row {
    prompt: usize,
    /// Prompt tokens and those decoded.
    length: usize,
    last: u32,
    tokens: Vec<u32>,
}

impl PrefixCache {
    /// The likeliest tokens after every prompt, decoded together, each until `ended` says so of its tokens so far or
    /// there are `max_new_tokens`.
    ///
    /// # Errors
    /// When a prompt is empty, names a token outside the vocabulary or does not fit the model's context with
    /// `max_new_tokens` behind it, or a logit is not finite.
    pub fn greedy<R: AsRef<[u32]>>(
        &mut self,
        prompts: &[R],
        max_new_tokens: usize,
        ended: impl Fn(&[u32]) -> bool,
    ) -> Result<Vec<Vec<u32>>, ModelError> {
        let mut done: Vec<Vec<u32>> = vec![Vec::new(); prompts.len()];
        let (caches, mut active) = self.begin(prompts, max_new_tokens)?;
        if active.is_empty() || max_new_tokens == 0 {
            return Ok(done);
        }
        let device = self.model.device();
        let width = caches.iter().map(|cache| cache.len).max().unwrap_or(0);
        let capacity = width + max_new_tokens;
        let mut cache = KvCache::left_padded(&caches, capacity, &device);
        drop(caches);
        while !active.is_empty() {
            let last: Vec<i32> = active.iter().map(|row| row.last as i32).collect();
            let lengths = active.iter().map(|row| row.length).collect();
            let batch = TokenBatch::decoding_step(&last, lengths, cache.len + 1, &device);
            self.step(&batch, &mut cache, &mut active)?;
            let (kept, over): (Vec<_>, Vec<_>) = active
                .into_iter()
                .enumerate()
                .partition(|(_, row)| row.tokens.len() < max_new_tokens && !ended(&row.tokens));
            let rows: Vec<usize> = kept.iter().map(|(row, _)| *row).collect();
            if !over.is_empty() && !rows.is_empty() {
                cache.select_rows(&rows, capacity, &device);
            }
            over.into_iter().for_each(|(_, row)| done[row.prompt] = row.tokens);
            active = kept.into_iter().map(|(_, row)| row).collect();
        }
        Ok(done)
    }

    /// Every prompt but its last token in a cache of its own.
    fn begin<R: AsRef<[u32]>>(
        &mut self,
        prompts: &[R],
        max_new_tokens: usize,
    ) -> Result<(Vec<KvCache>, Vec<Row>), ModelError> {
        let context = self.model.shape().context;
        let (mut caches, mut rows) = (Vec::new(), Vec::new());
        for (prompt, ids) in prompts.iter().enumerate() {
            let ids = ids.as_ref();
            self.within(prompt, ids, ids.len())?;
            let Some((&last, before)) = ids.split_last() else {
                return Err(ModelError::Row { row: prompt, reason: "it has no tokens".into() });
            };
            if ids.len().saturating_add(max_new_tokens) > context {
                let reason = format!(
                    "it has {} tokens and {max_new_tokens} more are asked for; the model's context is {context}",
                    ids.len()
                );
                return Err(ModelError::Row { row: prompt, reason });
            }
            self.model.check_growth(prompt, ids.len(), max_new_tokens)?;
            self.advance(before, ids.len())?;
            caches.push(self.cache.clone());
            rows.push(Row { prompt, length: ids.len(), last, tokens: Vec::new() });
        }
        Ok((caches, rows))
    }

    /// One token more for every row.
    fn step(
        &self,
        batch: &TokenBatch,
        cache: &mut KvCache,
        active: &mut [Row],
    ) -> Result<(), ModelError> {
        let hidden = self.model.decoder.forward_cached(batch, Some(cache));
        let [rows, _, width] = hidden.dims();
        let logits = self.model.project(hidden.reshape([rows, width]));
        let logits = logits.try_into_vec_as::<f32>();
        let logits = logits.map_err(|error| ModelError::Device(error.to_string()))?;
        let vocab = self.model.shape().vocab_size;
        for (row, logits) in active.iter_mut().zip(logits.chunks_exact(vocab)) {
            row.last = likeliest(logits)
                .ok_or(ModelError::NonFinite { what: "logits", row: row.prompt })?;
            row.tokens.push(row.last);
            row.length += 1;
        }
        Ok(())
    }
}
