//! Keys and values of earlier tokens, for decoding and for prompts that rows share.

use burn::tensor::{Device, Int, Tensor};

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
