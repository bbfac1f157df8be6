//! Causal attention with grouped queries, left or right padding, sliding windows and a KV cache.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};

use crate::batch::TokenBatch;
use crate::custom_op::{CustomOp, apply};
#[cfg(feature = "flex")]
use crate::flex;
use crate::rotary::Rotary;

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
struct Kept {
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    /// Where there is one block alone, of few keys.
    weights: Option<Tensor<4>>,
}

impl CustomOp<3, 4> for Attention {
    type Kept = Kept;

    fn forward(&self, [q, k, v]: [Tensor<4>; 3]) -> (Tensor<4>, Kept) {
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
        (context, Kept { q, k, v, weights: kept })
    }

    fn backward(&self, kept: Kept, gradient: Tensor<4>, _: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let Kept { q, k, v, mut weights } = kept;
        let [batch, heads, time, width] = q.dims();
        let groups = k.dims()[1];
        let blocks = self.blocks(time);
        let mut of_q = Vec::with_capacity(blocks.len());
        let mut of_k_and_v: Option<[Tensor<4>; 2]> = None;
        // From the last block on, which sees the most keys.
        for block in blocks.rev() {
            let queries = block.of_queries(&q, groups).mul_scalar(self.scale);
            let gradient = block.of_queries(&gradient, groups);
            let (keys, values) = (block.of_keys(&k), block.of_keys(&v));
            let weights = match weights.take() {
                Some(weights) => weights,
                None => self.weights(queries.clone(), keys.clone(), block),
            };
            let of_values = weights.clone().swap_dims(2, 3).matmul(gradient.clone());
            let of_weights = gradient.matmul(values.swap_dims(2, 3));
            let scores = self.softmax_backward(weights, of_weights, block);
            let of_keys = scores.clone().swap_dims(2, 3).matmul(queries);
            let of_queries = scores.matmul(keys).mul_scalar(self.scale);
            of_q.push(of_queries.reshape([batch, heads, block.queries, width]));
            of_k_and_v = Some(match of_k_and_v {
                None if block.keys == k.dims()[2] => [of_keys, of_values],
                None => [block.add(k.zeros_like(), of_keys), block.add(v.zeros_like(), of_values)],
                Some([all_k, all_v]) => [block.add(all_k, of_keys), block.add(all_v, of_values)],
            });
        }
        of_q.reverse();
        let of_q = if of_q.len() == 1 { of_q.remove(0) } else { Tensor::cat(of_q, 2) };
        let [of_k, of_v] = of_k_and_v.map_or([None, None], |both| both.map(Some));
        [Some(of_q), of_k, of_v]
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

/// Keys and values of one layer in a buffer that is allocated once.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache {
    k: Tensor<4>,
    v: Tensor<4>,
}

/// Keys and values of all layers.
#[derive(Debug, Clone)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    /// Slots in use.
    pub len: usize,
    kind: Kind,
}

/// What becomes of new keys and values.
#[derive(Debug, Clone)]
enum Kind {
    /// They are written into buffers, in place: for decoding.
    Buffers,
    /// They are kept as they are, with their gradients: those of prompts.
    Prompts,
    /// They stand behind those of the prompts that rows `[N]` begin with, and are not kept.
    Behind(Tensor<1, Int>),
}

impl KvCache {
    pub fn new(
        layers: usize,
        rows: usize,
        kv_heads: usize,
        capacity: usize,
        width: usize,
        device: &Device,
    ) -> Self {
        let buffer = || Tensor::zeros([rows, kv_heads, capacity, width], device);
        let layers = (0..layers).map(|_| LayerCache { k: buffer(), v: buffer() }).collect();
        Self { layers, len: 0, kind: Kind::Buffers }
    }

    /// An empty one for a pass over prompts.
    pub fn prompts() -> Self {
        Self { layers: vec![], len: 0, kind: Kind::Prompts }
    }

    /// For a pass over rows that begin with the prompts that this one holds, by `source` `[N]`.
    pub fn behind(self, source: Tensor<1, Int>) -> Self {
        Self { kind: Kind::Behind(source), ..self }
    }

    /// Puts the new keys and values behind those of layer `layer`, and gives all of them back.
    pub fn append(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        match &self.kind {
            Kind::Buffers => {}
            Kind::Prompts => {
                self.layers.push(LayerCache { k: k.clone(), v: v.clone() });
                return (k, v);
            }
            Kind::Behind(source) => {
                let LayerCache { k: first_k, v: first_v } = self.layers[layer].clone();
                let behind = |first: Tensor<4>, new: Tensor<4>| {
                    Tensor::cat(vec![first.select(0, source.clone()), new], 2)
                };
                return (behind(first_k, k), behind(first_v, v));
            }
        }
        let start = self.len;
        let cache = &mut self.layers[layer];
        let write = |buffer: &mut Tensor<4>, new: Tensor<4>| {
            let [rows, heads, time, width] = new.dims();
            let end = start + time;
            buffer.inplace(|b| b.slice_assign([0..rows, 0..heads, start..end, 0..width], new));
            buffer.clone().narrow(2, 0, end)
        };
        (write(&mut cache.k, k), write(&mut cache.v, v))
    }

    /// Keeps the named rows, in that order; a row may be named more than once.
    pub fn select_rows(&mut self, rows: &[usize], capacity: usize, device: &Device) {
        let index: Vec<i32> = rows.iter().map(|r| *r as i32).collect();
        let index = Tensor::<1, Int>::from_ints(index.as_slice(), device);
        let used = self.len;
        for layer in &mut self.layers {
            for buffer in [&mut layer.k, &mut layer.v] {
                let [_, heads, _, width] = buffer.dims();
                let kept = buffer.clone().narrow(2, 0, used).select(0, index.clone());
                let wider = Tensor::zeros([rows.len(), heads, capacity, width], device);
                *buffer = wider.slice_assign([0..rows.len(), 0..heads, 0..used, 0..width], kept);
            }
        }
    }

    /// Caches of one row each as one, ended in the same slot: filler stands before the shorter ones.
    pub fn left_padded(rows: &[KvCache], capacity: usize, device: &Device) -> Self {
        let len = rows.iter().map(|row| row.len).max().unwrap_or(0);
        let together = |buffers: Vec<&Tensor<4>>| {
            let each = buffers.into_iter().zip(rows).map(|(buffer, row)| {
                let [_, heads, _, width] = buffer.dims();
                let zeros = |slots| Tensor::zeros([1, heads, slots, width], device);
                let mut parts = vec![zeros(len - row.len), zeros(capacity - len)];
                if row.len > 0 {
                    parts.insert(1, buffer.clone().narrow(2, 0, row.len));
                }
                parts.retain(|part| part.dims()[2] > 0);
                Tensor::cat(parts, 2)
            });
            Tensor::cat(each.collect(), 0)
        };
        let layers = (0..rows.first().map_or(0, |row| row.layers.len()))
            .map(|layer| LayerCache {
                k: together(rows.iter().map(|row| &row.layers[layer].k).collect()),
                v: together(rows.iter().map(|row| &row.layers[layer].v).collect()),
            })
            .collect();
        Self { layers, len, kind: Kind::Buffers }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::custom_op::{assert_as_autodiff, some_numbers};

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
