//! Causal attention with grouped queries, left or right padding, sliding windows and a KV cache.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};

use crate::batch::TokenBatch;
use crate::rotary::Rotary;

/// A score so low that its softmax is 0; finite, so a row with nothing to see gives no NaN.
const HIDDEN: f32 = -1e30;

/// What all layers of one forward pass share: angles and masks.
pub(crate) struct Attend {
    pub cos: Tensor<4>,
    pub sin: Tensor<4>,
    full: Option<Tensor<5>>,
    sliding: Option<Tensor<5>>,
}

impl Attend {
    /// Prepares a pass over `batch`, whose keys follow `past` slots that are already in a cache.
    pub fn new(batch: &TokenBatch, rotary: &Rotary, past: usize, window: Option<usize>) -> Self {
        let (cos, sin) = rotary.angles(batch.position_ids.clone());
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
        Self { cos, sin, full: bias(None), sliding: window.and_then(|w| bias(Some(w))) }
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
        let [_, groups, keys, _] = k.dims();
        let shared = heads / groups;
        let q = q.mul_scalar(scale).reshape([batch, groups, shared * time, width]);
        let scores = q.matmul(k.swap_dims(2, 3)).reshape([batch, groups, shared, time, keys]);
        let bias = if window.is_some() { &self.sliding } else { &self.full };
        let scores = match bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let weights = activation::softmax(scores, 4).reshape([batch, groups, shared * time, keys]);
        weights.matmul(v).reshape([batch, heads, time, width]).swap_dims(1, 2).reshape([
            batch,
            time,
            heads * width,
        ])
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
