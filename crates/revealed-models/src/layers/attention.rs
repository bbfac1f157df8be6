//! Causal attention with grouped queries, left or right padding, sliding windows and a KV cache.

use burn::tensor::{Bool, Device, Tensor, TensorData, activation};

use crate::batching::batch::TokenBatch;
use crate::layers::rotary::Rotary;
#[cfg(feature = "flex")]
use crate::ops::flex;
use crate::ops::{CustomOp, apply};

/// A score so low that its softmax is 0; finite, so a row with nothing to see gives no NaN.
const HIDDEN: f32 = -1e30;

/// Queries of a row whose weights over the keys are formed at once; longer rows go through in blocks. Where there are more, or more keys, no
/// `[T, S]` weights are kept for a backward pass: it forms each block's again.
pub const BLOCK: usize = 256;

/// What all layers of one forward pass share: angles and masks.
pub(crate) struct Attend {
    pub cos: Tensor<4>,
    pub sin: Tensor<4>,
    past: usize,
    full: Option<Tensor<5>>,
    sliding: Option<Tensor<5>>,
}

impl Attend {
    /// Prepares a pass over `batch`, whose keys follow `past` slots that are already in a cache.
    pub fn new(batch: &TokenBatch, rotary: &Rotary, past: usize, window: Option<usize>) -> Self {
        let (cos, sin) = rotary.angles(batch);
        let time = batch.input_ids.dims()[1];
        let device = batch.input_ids.device();
        let padding = batch.key_padding.clone().map(|mask| hide(mask.bool_not()));
        let bias = |window: Option<usize>| {
            let causal = causal(time, past, window, &device);
            match (causal, padding.clone()) {
                (Some(causal), Some(padding)) => Some(causal + padding),
                (causal, padding) => causal.or(padding),
            }
        };
        Self { cos, sin, past, full: bias(None), sliding: window.and_then(|w| bias(Some(w))) }
    }

    /// Attention of every query over the keys it may see.
    ///
    /// # Shapes
    /// - q: `[B, H, T, D]`; k, v: `[B, H_kv, S, D]` with `H` a multiple of `H_kv`
    /// - output: `[B, T, H·D]`
    pub fn forward(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        scale: f64,
        window: Option<usize>,
    ) -> Tensor<3> {
        let [batch, heads, time, width] = q.dims();
        let bias = if window.is_some() { &self.sliding } else { &self.full };
        let attention = Attention { scale, past: self.past, window, bias: bias.clone() };
        apply(&attention, [q, k, v]).swap_dims(1, 2).reshape([batch, time, heads * width])
    }
}

/// `softmax(s·Q·Kᵀ + bias)·V`, block by block of the queries.
///
/// Backward, with the weights `P` and the result's gradient `G`: `∂V = Pᵀ·G`, `∂P = G·Vᵀ`,
/// `∂S = P ∘ (∂P − Σ_keys P ∘ ∂P)`, `∂Q = s·∂S·K`, `∂K = s·∂Sᵀ·Q`.
#[derive(Debug, Clone)]
struct Attention {
    scale: f64,
    /// Keys before the first query's own.
    past: usize,
    window: Option<usize>,
    bias: Option<Tensor<5>>,
}

/// Queries of a row, and the keys that some of them see.
#[derive(Debug, Clone, Copy)]
struct Block {
    query: usize,
    queries: usize,
    key: usize,
    keys: usize,
}

impl Attention {
    fn blocks(&self, time: usize) -> impl DoubleEndedIterator<Item = Block> + ExactSizeIterator {
        let (past, window) = (self.past, self.window);
        (0..time.div_ceil(BLOCK)).map(move |index| {
            let query = index * BLOCK;
            let queries = BLOCK.min(time - query);
            let end = past + query + queries;
            let key = window.map_or(0, |w| (past + query + 1).saturating_sub(w));
            Block { query, queries, key, keys: end - key }
        })
    }

    /// `[B, H_kv, H / H_kv · queries, keys]` of scaled queries of the same shape but for `D`.
    fn weights(&self, q: Tensor<4>, k: Tensor<4>, block: Block) -> Tensor<4> {
        let [batch, groups, rows, _] = q.dims();
        let Block { query, queries, key, keys } = block;
        let scores = q.matmul(k.swap_dims(2, 3));
        let bias = self.bias.clone().map(|bias| match bias.dims()[3] {
            1 => bias.narrow(4, key, keys),
            _ => bias.narrow(3, query, queries).narrow(4, key, keys),
        });
        #[cfg(feature = "flex")]
        if flex::plain(&scores) && bias.as_ref().is_none_or(flex::plain) {
            return flex::rows::softmax(scores, bias, self.seen(block));
        }
        let scores = scores.reshape([batch, groups, rows / queries, queries, keys]);
        let scores = match bias {
            Some(bias) => scores + bias,
            None => scores,
        };
        activation::softmax(scores, 4).reshape([batch, groups, rows, keys])
    }

    /// `P ∘ (G − Σ_keys P ∘ G)` for weights `P` and their gradient `G`.
    fn softmax_backward(
        &self,
        weights: Tensor<4>,
        gradient: Tensor<4>,
        #[cfg_attr(not(feature = "flex"), allow(unused))] block: Block,
    ) -> Tensor<4> {
        #[cfg(feature = "flex")]
        if flex::plain(&weights) && flex::plain(&gradient) {
            return flex::rows::softmax_backward(weights, gradient, self.seen(block));
        }
        let mean = (weights.clone() * gradient.clone()).sum_dim(3);
        (gradient - mean) * weights
    }

    /// How many of a block's keys its queries see.
    #[cfg(feature = "flex")]
    fn seen(&self, block: Block) -> flex::rows::Seen {
        let first = self.past + block.query + 1 - block.key;
        flex::rows::Seen { queries: block.queries, first }
    }
}

impl Block {
    /// A block's queries (or gradients of their results), `[B, H, T, D]` to `[B, H_kv, H / H_kv · queries, D]`.
    fn of_queries(self, q: &Tensor<4>, groups: usize) -> Tensor<4> {
        let [batch, heads, _, width] = q.dims();
        let part = q.clone().narrow(2, self.query, self.queries);
        part.reshape([batch, groups, heads / groups * self.queries, width])
    }

    /// A block's keys or values.
    fn of_keys(self, k: &Tensor<4>) -> Tensor<4> {
        k.clone().narrow(2, self.key, self.keys)
    }

    /// Adds gradients of the block's keys (or values) to those of all.
    fn add(self, sum: Tensor<4>, part: Tensor<4>) -> Tensor<4> {
        let [batch, groups, keys, width] = sum.dims();
        if self.keys == keys {
            return sum + part;
        }
        let range = [0..batch, 0..groups, self.key..self.key + self.keys, 0..width];
        let part = sum.clone().slice(range.clone()) + part;
        sum.slice_assign(range, part)
    }
}

/// What attention's backward pass is made of.
#[derive(Debug, Clone)]
struct Saved {
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    /// Where there is one block alone, of few keys.
    weights: Option<Tensor<4>>,
}

impl CustomOp<3, 4> for Attention {
    type Saved = Saved;

    fn forward(&self, [q, k, v]: [Tensor<4>; 3]) -> (Tensor<4>, Saved) {
        let [batch, heads, time, width] = q.dims();
        let groups = k.dims()[1];
        let blocks = self.blocks(time);
        let alone = blocks.len() == 1;
        let mut kept = None;
        let context = blocks.map(|block| {
            let queries = block.of_queries(&q, groups).mul_scalar(self.scale);
            let weights = self.weights(queries, block.of_keys(&k), block);
            kept = (alone && block.keys <= BLOCK).then(|| weights.clone());
            let context = weights.matmul(block.of_keys(&v));
            context.reshape([batch, heads, block.queries, width])
        });
        let mut context: Vec<_> = context.collect();
        let context = if alone { context.remove(0) } else { Tensor::cat(context, 2) };
        (context, Saved { q, k, v, weights: kept })
    }

    fn backward(&self, kept: Saved, gradient: Tensor<4>, _: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let Saved { q, k, v, mut weights } = kept;
        let [batch, heads, time, width] = q.dims();
        let groups = k.dims()[1];
        let blocks = self.blocks(time);
        let mut grad_q = Vec::with_capacity(blocks.len());
        let mut grad_k_and_v: Option<[Tensor<4>; 2]> = None;
        // From the last block on, which sees the most keys.
        for block in blocks.rev() {
            let queries = block.of_queries(&q, groups).mul_scalar(self.scale);
            let gradient = block.of_queries(&gradient, groups);
            let (keys, values) = (block.of_keys(&k), block.of_keys(&v));
            let weights = match weights.take() {
                Some(weights) => weights,
                None => self.weights(queries.clone(), keys.clone(), block),
            };
            let grad_values = weights.clone().swap_dims(2, 3).matmul(gradient.clone());
            let grad_weights = gradient.matmul(values.swap_dims(2, 3));
            let scores = self.softmax_backward(weights, grad_weights, block);
            let grad_keys = scores.clone().swap_dims(2, 3).matmul(queries);
            let grad_queries = scores.matmul(keys).mul_scalar(self.scale);
            grad_q.push(grad_queries.reshape([batch, heads, block.queries, width]));
            grad_k_and_v = Some(match grad_k_and_v {
                None if block.keys == k.dims()[2] => [grad_keys, grad_values],
                None => {
                    [block.add(k.zeros_like(), grad_keys), block.add(v.zeros_like(), grad_values)]
                }
                Some([all_k, all_v]) => {
                    [block.add(all_k, grad_keys), block.add(all_v, grad_values)]
                }
            });
        }
        grad_q.reverse();
        let grad_q = if grad_q.len() == 1 { grad_q.remove(0) } else { Tensor::cat(grad_q, 2) };
        let [grad_k, grad_v] = grad_k_and_v.map_or([None, None], |both| both.map(Some));
        [Some(grad_q), grad_k, grad_v]
    }
}

/// 0 where seen and `HIDDEN` where not, `[B, S]` to `[B, 1, 1, 1, S]`.
fn hide(hidden: Tensor<2, Bool>) -> Tensor<5> {
    let [batch, keys] = hidden.dims();
    hidden.float().mul_scalar(HIDDEN).reshape([batch, 1, 1, 1, keys])
}

/// The causal (and sliding) mask as a bias `[1, 1, 1, T, S]`; none where every key is seen.
fn causal(time: usize, past: usize, window: Option<usize>, device: &Device) -> Option<Tensor<5>> {
    let keys = past + time;
    if time == 1 && window.is_none_or(|w| keys <= w) {
        return None;
    }
    let mut bias = vec![0f32; time * keys];
    for query in 0..time {
        let now = past + query;
        let oldest = window.map_or(0, |w| (now + 1).saturating_sub(w));
        for (key, value) in bias[query * keys..(query + 1) * keys].iter_mut().enumerate() {
            if key > now || key < oldest {
                *value = HIDDEN;
            }
        }
    }
    Some(Tensor::from_data(TensorData::new(bias, [1, 1, 1, time, keys]), device))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::ops::{assert_as_autodiff, some_numbers};

    fn attention(time: usize, past: usize, window: Option<usize>, padding: usize) -> Attention {
        let device = Device::flex();
        let keys = past + time;
        let padding = (padding > 0).then(|| {
            let seen = (0..2 * keys).map(|i| i >= padding).collect::<Vec<bool>>();
            hide(Tensor::<2, Bool>::from_data(TensorData::new(seen, [2, keys]), &device).bool_not())
        });
        let bias = match (causal(time, past, window, &device), padding) {
            (Some(causal), Some(padding)) => Some(causal + padding),
            (causal, padding) => causal.or(padding),
        };
        Attention { scale: 0.35, past, window, bias }
    }

    fn inputs(time: usize, past: usize) -> [Tensor<4>; 3] {
        let keys = |seed| some_numbers([2, 2, past + time, 8], seed).mul_scalar(2.0);
        [some_numbers([2, 6, time, 8], 1).mul_scalar(3.0), keys(2), keys(3)]
    }

    #[test]
    fn attention_has_autodiff_s_gradients() {
        for (time, past, window, padding) in [
            (1, 0, None, 0),
            (1, 9, None, 0),
            (1, 9, Some(4), 0),
            (17, 0, None, 0),
            (17, 5, None, 3),
            (17, 5, Some(6), 0),
            (BLOCK + 1, 0, None, 0),
            (2 * BLOCK + 19, 11, None, 4),
            (2 * BLOCK + 19, 11, Some(37), 0),
            (2 * BLOCK, 3, Some(BLOCK + 5), 2),
        ] {
            let attention = attention(time, past, window, padding);
            assert_as_autodiff(&attention, inputs(time, past), 3e-5);
        }
    }

    #[test]
    fn blocks_are_one_softmax_over_all_keys() {
        let (time, past) = (2 * BLOCK + 40, 7);
        for window in [None, Some(50)] {
            let attention = attention(time, past, window, 3);
            let [q, k, v] = inputs(time, past);
            let found = apply(&attention, [q.clone(), k.clone(), v.clone()]);
            let repeated = |x: Tensor<4>| {
                let [batch, groups, keys, width] = x.dims();
                let x = x.unsqueeze_dim::<5>(2).expand([batch, groups, 3, keys, width]);
                x.reshape([batch, groups * 3, keys, width])
            };
            let scores = q.mul_scalar(0.35).matmul(repeated(k).swap_dims(2, 3));
            let bias = attention.bias.clone().unwrap().squeeze_dim::<4>(1);
            let expected = activation::softmax(scores + bias, 3).matmul(repeated(v));
            let difference = (found - expected).abs().max().into_scalar::<f32>();
            assert!(difference < 2e-6, "{difference}");
        }
    }
}
