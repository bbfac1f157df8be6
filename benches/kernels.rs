//! The parts that a step is made of, on flex, with SmolLM2-135M's widths.
//!
//! `cargo bench -p revealed-models --features flex --bench kernels`, with a part of a name to choose by; numbers of a second are tokens. For the stages of the
//! loop on real models there is the bench `stages`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use burn::module::Param;
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use revealed_models::layers::{Linear, RmsNorm};
use revealed_models::{
    CausalLm, CompletionBatch, HfConfig, LoraConfig, PaddingSide, SamplingConfig, TokenBatch,
    Weight, sample,
};
use serde_json::{Value, json};

const WIDTH: usize = 576;
const MIDDLE: usize = 1536;
const VOCAB: usize = 49152;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Default, &Device::flex())
}

/// A model of a few blocks, so that a pass is quick.
fn model(layers: usize, vocab: usize) -> CausalLm {
    let fields = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": vocab, "hidden_size": WIDTH, "intermediate_size": MIDDLE,
        "num_hidden_layers": layers, "num_attention_heads": 9, "num_key_value_heads": 3,
        "head_dim": 64, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    let Value::Object(fields) = fields else { unreachable!() };
    CausalLm::random(HfConfig::new("config.json", fields), 0, &Device::flex()).unwrap()
}

fn ids(rows: usize, length: usize) -> Vec<Vec<u32>> {
    (0..rows)
        .map(|row| (0..length).map(|i| 3 + (row * 31 + i * 7) as u32 % 200).collect())
        .collect()
}

fn completions(rows: usize, length: usize) -> CompletionBatch {
    let rows: Vec<(Vec<u32>, usize)> =
        ids(rows, length).into_iter().map(|row| (row, length / 2)).collect();
    CompletionBatch::new(&rows, 0, PaddingSide::Right, &Device::flex()).unwrap()
}

/// The widest linear layer: few rows, as in decoding, and many.
fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear 576 to 1536");
    let layer = Linear {
        weight: Weight::F32(Param::from_tensor(random([MIDDLE, WIDTH]))),
        bias: None,
        lora: None,
        name: "up_proj".into(),
        compute_dtype: FloatDType::F32,
    };
    for rows in [1, 8, 64, 512] {
        group.throughput(Throughput::Elements(rows as u64));
        let x = random([rows, 1, WIDTH]);
        group.bench_function(BenchmarkId::from_parameter(rows), |b| {
            b.iter(|| black_box(layer.forward(x.clone())));
        });
    }
}

fn norm(c: &mut Criterion) {
    let mut group = c.benchmark_group("rms norm");
    let layer = RmsNorm { weight: Param::from_tensor(random([WIDTH])), eps: 1e-5 };
    let x = random([4, 128, WIDTH]);
    group.throughput(Throughput::Elements(512));
    group.bench_function("512", |b| b.iter(|| black_box(layer.forward(x.clone()))));
}

/// One block, in which attention's share grows with the length.
fn block(c: &mut Criterion) {
    let mut group = c.benchmark_group("a block, rows of");
    let model = model(1, 256);
    for length in [64, 256, 1024] {
        let batch =
            TokenBatch::new(&ids(1024 / length, length), 0, PaddingSide::Right, &Device::flex());
        let batch = batch.unwrap();
        group.throughput(Throughput::Elements(1024));
        group.bench_function(BenchmarkId::from_parameter(length), |b| {
            b.iter(|| black_box(model.hidden(&batch)));
        });
    }
}

/// Log-probs and their backward pass, where the output head is most of the work.
fn head(c: &mut Criterion) {
    let mut group = c.benchmark_group("one block and the head");
    let model = model(1, VOCAB);
    let batch = completions(2, 64);
    group.throughput(Throughput::Elements(64));
    group.bench_function("log-probs", |b| b.iter(|| black_box(model.log_probs(&batch, 1.0))));
    let adapted = model.clone().with_lora(&LoraConfig::default(), 0).unwrap();
    let whole = model.trainable();
    for (name, model) in [("backward, adapters", adapted), ("backward, every weight", whole)] {
        group.bench_function(name, |b| {
            b.iter(|| model.backward(&batch, 1.0, |log_probs| log_probs.sum().neg()).loss);
        });
    }
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decoding 8 tokens, rows");
    let model = model(2, 4096);
    for rows in [1, 8, 64] {
        let prompts = ids(rows, 16);
        let config = SamplingConfig { max_new_tokens: 8, ..SamplingConfig::default() };
        group.throughput(Throughput::Elements(8 * rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |b| {
            b.iter(|| sample(&model, &prompts, &config).unwrap());
        });
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20);
    targets = linear, norm, block, head, decoding
}
criterion_main!(kernels);
