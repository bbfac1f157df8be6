//! Scoring rows of tokens that begin alike: what they share is run through the model once.
//!
//! The cache holds the keys and values of one row. The rows of the next call keep as many of its slots as their
//! common beginning agrees with it, and add the rest: the choices of one question share its context, and the
//! questions of one task share its examples, without anybody having to say so.

use burn::tensor::{Int, Tensor, activation};

use crate::batching::batch::{PaddingSide, TokenBatch};
use crate::causal_lm::CausalLm;
use crate::error::ModelError;
use crate::layers::kv_cache::KvCache;

/// Tokens of a beginning that are run at once.
const PREFILL: usize = 512;
/// Entries of one chunk of logits, 32 MiB in f32.
const LOGITS: usize = 8 << 20;
/// Never seen: rows are filled up on the right.
const FILLER: u32 = 0;

/// A model and the keys and values of the row that it read last.
pub struct PrefixCache {
    pub(crate) model: CausalLm,
    pub(crate) cache: KvCache,
    /// The tokens in the cache.
    ids: Vec<u32>,
    /// Whether they have the rope frequencies of long rows.
    long: bool,
    capacity: usize,
    computed: usize,
}

/// What a model thinks of the tokens of one continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredTokens {
    /// `log π` of each, in nats.
    pub log_probs: Vec<f32>,
    /// Whether each is the likeliest token in its place.
    pub greedy: Vec<bool>,
}

impl PrefixCache {
    /// Nothing read yet; the model is used without gradients.
    pub fn new(model: &CausalLm) -> Self {
        let model = model.for_decoding();
        let cache = empty(&model, 1);
        Self { model, cache, ids: Vec::new(), long: false, capacity: 1, computed: 0 }
    }

    /// Tokens run through the model so far, filler left out.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// Log-probs of the tokens from `start` on of `(tokens, start)` rows, at temperature 1.
    ///
    /// Equal to [`CausalLm::log_probs`] up to the order of sums. A row may have one token more than the model's context, as
    /// its last token is never read.
    ///
    /// # Errors
    /// When a row has nothing before `start` or nothing from it on, is longer than that, names a token outside the
    /// vocabulary, or a log-prob is not a number.
    pub fn score<R: AsRef<[u32]>>(
        &mut self,
        rows: &[(R, usize)],
    ) -> Result<Vec<ScoredTokens>, ModelError> {
        for (row, (ids, start)) in rows.iter().enumerate() {
            self.check(row, ids.as_ref(), *start)?;
        }
        // A row's last context token predicts its first continuation token, so it is never part of what is shared.
        let Some(mut shared) = shared(rows) else { return Ok(Vec::new()) };
        let lengths = rows.iter().map(|(ids, _)| ids.as_ref().len());
        let longest = lengths.clone().max().unwrap_or(0);
        // Long rows whose rope depends on their length share no states.
        if self.model.decoder.has_long(lengths) {
            shared = 0;
        }
        let first: Vec<u32> = rows.first().map_or(vec![], |(ids, _)| ids.as_ref()[..shared].into());
        self.advance(&first, longest)?;
        let mut inputs: Vec<&[u32]> = Vec::new();
        // Rows that differ in their last token alone are one row to the model.
        let places: Vec<usize> = rows
            .iter()
            .map(|(ids, _)| {
                let input = &ids.as_ref()[shared..ids.as_ref().len() - 1];
                inputs.iter().position(|other| *other == input).unwrap_or_else(|| {
                    inputs.push(input);
                    inputs.len() - 1
                })
            })
            .collect();
        let hidden = self.branches(&inputs)?;
        self.read(rows, &places, shared, hidden)
    }

    /// Hidden states `[B, T, D]` of rows that go on after the cache, each by itself.
    fn branches(&mut self, inputs: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        let device = self.model.device();
        let past = self.cache.len;
        let mut batch = TokenBatch::new(inputs, FILLER, PaddingSide::Right, &device)?;
        self.computed += batch.lengths.iter().sum::<usize>();
        // A row's last token is part of the row, and is not read.
        batch.row_lengths = batch.lengths.iter().map(|length| past + length + 1).collect();
        if past == 0 {
            return Ok(self.model.decoder.forward(&batch));
        }
        batch.position_ids = batch.position_ids + past as i32;
        let mut cache = self.cache.clone();
        cache.select_rows(&vec![0; inputs.len()], past + batch.shape()[1], &device);
        Ok(self.model.decoder.forward_cached(&batch, Some(&mut cache)))
    }

    /// Takes each row's scores from the states that predict its continuation.
    fn read<R: AsRef<[u32]>>(
        &self,
        rows: &[(R, usize)],
        places: &[usize],
        shared: usize,
        hidden: Tensor<3>,
    ) -> Result<Vec<ScoredTokens>, ModelError> {
        let [branches, time, width] = hidden.dims();
        let (mut predicts, mut targets) = (Vec::new(), Vec::new());
        for ((ids, start), place) in rows.iter().zip(places) {
            for (offset, token) in ids.as_ref()[*start..].iter().enumerate() {
                predicts.push((place * time + start + offset - 1 - shared) as i32);
                targets.push(*token as i32);
            }
        }
        let all = self.project(hidden.reshape([branches * time, width]), &predicts, &targets)?;
        let mut rest = all.as_slice();
        rows.iter()
            .enumerate()
            .map(|(row, (ids, start))| {
                let (own, others) = rest.split_at(ids.as_ref().len() - start);
                rest = others;
                let (log_probs, greedy): (Vec<f32>, Vec<bool>) = own.iter().copied().unzip();
                match log_probs.iter().all(|value| value.is_finite()) {
                    true => Ok(ScoredTokens { log_probs, greedy }),
                    false => Err(ModelError::NonFinite { what: "log-probs", row }),
                }
            })
            .collect()
    }

    /// Log-prob of each target at its state among `[N, D]`, and whether it is the likeliest, in chunks of logits.
    fn project(
        &self,
        hidden: Tensor<2>,
        predicts: &[i32],
        targets: &[i32],
    ) -> Result<Vec<(f32, bool)>, ModelError> {
        let dtype = self.model.compute_dtype();
        let head = self.model.head_weight();
        let device = self.model.device();
        let failed = |error| ModelError::Device(format!("{error}"));
        let size = (LOGITS / self.model.shape().vocab_size).max(16);
        let mut all = Vec::with_capacity(targets.len());
        for (at, wanted) in predicts.chunks(size).zip(targets.chunks(size)) {
            let ints = |values: &[i32]| Tensor::<1, Int>::from_ints(values, &device);
            let states = hidden.clone().select(0, ints(at));
            let logits = head.project(states, dtype);
            let likeliest = logits.clone().argmax(1).squeeze_dim::<1>(1);
            let log_probs = activation::log_softmax(logits, 1);
            let taken = log_probs.gather(1, ints(wanted).unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1);
            let taken = taken.try_into_vec_as::<f32>().map_err(failed)?;
            let likeliest = likeliest.try_into_vec_as::<i32>().map_err(failed)?;
            let greedy = likeliest.iter().zip(wanted).map(|(a, b)| a == b);
            all.extend(taken.into_iter().zip(greedy));
        }
        Ok(all)
    }

    /// Makes `ids` what the cache holds, as the beginning of rows of up to `row_length` tokens.
    pub(crate) fn advance(&mut self, ids: &[u32], row_length: usize) -> Result<(), ModelError> {
        let long = self.model.decoder.has_long(std::iter::once(row_length));
        let kept = if long == self.long { common(&self.ids, ids) } else { 0 };
        self.long = long;
        self.ids.truncate(kept);
        self.cache.len = kept;
        let device = self.model.device();
        if ids.len() > self.capacity {
            self.capacity = ids.len().next_power_of_two();
            match kept {
                0 => self.cache = empty(&self.model, self.capacity),
                _ => self.cache.select_rows(&[0], self.capacity, &device),
            }
        }
        for piece in ids[kept..].chunks(PREFILL) {
            let mut batch = TokenBatch::new(&[piece], FILLER, PaddingSide::Right, &device)?;
            batch.position_ids = batch.position_ids + self.cache.len as i32;
            batch.row_lengths = vec![row_length];
            self.model.decoder.forward_cached(&batch, Some(&mut self.cache));
            self.ids.extend(piece);
            self.computed += piece.len();
        }
        Ok(())
    }

    fn check(&self, row: usize, ids: &[u32], start: usize) -> Result<(), ModelError> {
        if start == 0 || start >= ids.len() {
            let reason = format!(
                "its continuation starts at token {start} of {}; a token before and one from there on are needed",
                ids.len()
            );
            return Err(ModelError::Row { row, reason });
        }
        self.within(row, ids, ids.len() - 1)
    }

    /// Whether the model can take a row of which it reads `read` tokens.
    pub(crate) fn within(&self, row: usize, ids: &[u32], read: usize) -> Result<(), ModelError> {
        let shape = self.model.shape();
        if read > shape.context {
            let limit = shape.context;
            let reason = format!("it has {read} tokens to read; the model's context is {limit}");
            return Err(ModelError::Row { row, reason });
        }
        if let Some(token) = ids.iter().find(|token| **token as usize >= shape.vocab_size) {
            let vocab = shape.vocab_size;
            let reason = format!("token {token} is outside the model's vocabulary of {vocab}");
            return Err(ModelError::Row { row, reason });
        }
        Ok(())
    }
}

fn empty(model: &CausalLm, capacity: usize) -> KvCache {
    let shape = model.shape();
    KvCache::new(shape.layers, 1, shape.kv_heads, capacity, shape.head_dim, &model.device())
}

/// Tokens with which all rows begin, one context token of each left out; `None` without rows.
fn shared<R: AsRef<[u32]>>(rows: &[(R, usize)]) -> Option<usize> {
    let (first, start) = rows.first()?;
    let agree = rows.iter().map(|(ids, at)| common(first.as_ref(), ids.as_ref()).min(at - 1));
    Some(agree.fold(start - 1, usize::min))
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
