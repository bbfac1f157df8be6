//! A base stored in bf16: accuracy, bits, bytes, gradients of adapters through it, and what is written of it.
#![allow(clippy::unwrap_used)]

mod support;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};
use revealed_models::{
    CausalLm, CompletionBatch, Decoding, LoraConfig, PaddingSide, SamplingConfig, ScalarModel,
    Weight, WeightStorage, sample,
};
use support::{MODELS, completions, device, golden, host, load, max_difference, tiny_llama};

fn bf16(model: &CausalLm) -> CausalLm {
    model.clone().with_weight_storage(WeightStorage::Bf16).unwrap()
}

/// The model with every matrix rounded to bf16, stored as f32.
fn rounded(model: &CausalLm) -> CausalLm {
    bf16(model).with_weight_storage(WeightStorage::F32).unwrap()
}

fn rows() -> Vec<(Vec<u32>, usize)> {
    let row = |length: u32, step: u32| (0..length).map(|i| (i * step + 3) % 24).collect();
    vec![(row(9, 5), 4), (row(7, 3), 2), (row(12, 7), 1)]
}

fn batch() -> CompletionBatch {
    completions(&rows(), PaddingSide::Right)
}

/// Flat gradients of all factors of the adapters, in order.
fn adapter_gradients(model: &CausalLm, batch: &CompletionBatch) -> Vec<f32> {
    let backward = model.backward(batch, 0.8, |log_probs| (log_probs.clone() * log_probs).sum());
    let factors = model.decoder.linears().filter_map(|layer| layer.lora.as_ref());
    let ids = factors.flat_map(|lora| [lora.a.id, lora.b.id]);
    ids.flat_map(|id| host(backward.gradients.get::<2>(id).unwrap())).collect()
}

/// With factors `B` that are not 0, so that both factors have gradients.
fn adapted(model: &CausalLm) -> CausalLm {
    let config = LoraConfig { r: 3, ..LoraConfig::default() };
    model.clone().with_lora(&config, 5).unwrap().map(&mut Fill)
}

/// Adds numbers to what asks for gradients.
struct Fill;

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        param.map(|tensor| {
            let shape = tensor.shape();
            let values = (0..shape.num_elements()).map(|i| (i % 7) as f32 / 70.0).collect();
            let added = Tensor::from_data(TensorData::new::<f32, _>(values, shape), &device());
            (tensor.inner() + added).autodiff().require_grad()
        })
    }
}

#[test]
fn a_bf16_checkpoint_gives_the_same_bits_in_either_storage() {
    for (name, model) in [
        ("llama-bf16", load("llama-bf16")),
        ("tied", rounded(&tiny_llama(24, 16, true, 1))),
        ("untied", rounded(&tiny_llama(24, 16, false, 2))),
    ] {
        let stored = match name {
            "llama-bf16" => {
                CausalLm::load_stored(&golden(name), WeightStorage::Bf16, &device()).unwrap()
            }
            _ => bf16(&model),
        };
        assert_eq!(stored.weight_storage(), WeightStorage::Bf16);
        let numbers = |model: &CausalLm| {
            let scored = model.log_probs(&batch(), 0.7);
            [host(scored.log_probs), host(scored.entropy)]
        };
        assert_eq!(numbers(&stored), numbers(&model), "{name}");
        let config =
            SamplingConfig { max_new_tokens: 8, samples_per_prompt: 3, ..Default::default() };
        let prompts = vec![vec![1, 2, 3], vec![4, 5]];
        for decoding in [Decoding::Greedy, Decoding::Sample] {
            let config = SamplingConfig { decoding, ..config.clone() };
            let drawn = |model: &CausalLm| sample(model, &prompts, &config).unwrap();
            assert_eq!(drawn(&stored), drawn(&model), "{name}");
        }
        let scores = |model: &CausalLm| {
            let batch = batch();
            host(ScalarModel::new(model.clone(), 3).row_scores(&batch).inner())
        };
        assert_eq!(scores(&stored), scores(&model), "{name}");
        // Small matrices are converted in one block: the same products in the same order.
        let gradients = |model: &CausalLm| adapter_gradients(&adapted(model), &batch());
        assert_eq!(gradients(&stored), gradients(&model), "{name}");
    }
}

#[test]
fn rounding_a_random_base_moves_log_probs_by_about_a_bf16_rounding() {
    // A rounding moves a weight by up to 2^-9 of itself, and so moves a logit of size l by about 2^-9·l for each matrix on
    // its path: here 16 (two layers of seven, embedding, head) and |l| < 8. A log-prob has the errors of two logits. Errors
    // of one sign add up to 2·16·8·2^-9; independent ones, as in the mean over tokens, to √2·√16·8·2^-9.
    let (aligned, independent) = (2.0 * 16.0 * 8.0 / 512.0, 2f32.sqrt() * 4.0 * 8.0 / 512.0);
    for seed in 0..4 {
        let model = tiny_llama(24, 16, seed % 2 == 0, seed);
        let logits = host(model.logits(&batch().tokens));
        assert!(logits.iter().all(|logit| logit.abs() < 8.0), "{logits:?}");
        let log_probs = |model: &CausalLm| host(model.log_probs(&batch(), 1.0).log_probs);
        let (stored, exact) = (log_probs(&bf16(&model)), log_probs(&model));
        let worst = max_difference(&stored, &exact);
        assert!(worst > 0.0 && worst < aligned, "{worst} of {aligned}");
        let all = stored.iter().zip(&exact).map(|(a, b)| (a - b).abs()).sum::<f32>();
        let mean = all / batch().completion_tokens() as f32;
        assert!(mean < independent, "{mean} of {independent}");
    }
}

#[test]
fn matrices_stored_in_bf16_take_half_the_bytes() {
    for name in MODELS {
        let model = load(name);
        let stored = CausalLm::load_stored(&golden(name), WeightStorage::Bf16, &device()).unwrap();
        let dims = |model: &CausalLm| {
            let linears = model.decoder.linears().map(|layer| layer.weight.dims());
            let head = model.head_weight().dims();
            let embedding = [head, head][..if model.shape().tied { 1 } else { 2 }].to_vec();
            linears.chain(embedding).map(|[out, width]| (out * width) as u64).sum::<u64>()
        };
        assert_eq!(model.base_bytes(), 4 * model.num_params() as u64, "{name}");
        assert_eq!(model.base_bytes() - stored.base_bytes(), 2 * dims(&model), "{name}");
        // Adapters on it share it, and are no part of the base.
        let adapted = stored.clone().with_lora(&LoraConfig::default(), 1).unwrap();
        assert_eq!(adapted.base_bytes(), stored.base_bytes(), "{name}");
    }
}

#[test]
fn a_head_of_several_blocks_has_the_gradients_of_f32() {
    // 2^19 rows of 16 numbers are two blocks of 2^22.
    let vocab = 1 << 19;
    let ids: Vec<u32> = (0..20).map(|i| i * 26_003 % vocab).collect();
    let batch = completions(&[(ids, 3)], PaddingSide::Right);
    let model = rounded(&tiny_llama(vocab as usize, 16, true, 4));
    let [expected, found] =
        [&model, &bf16(&model)].map(|model| adapter_gradients(&adapted(model), &batch));
    let size = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    // Partial sums in another order, in f32.
    assert!(size > 0.0 && max_difference(&found, &expected) < 1e-5 * size);
}

#[test]
fn products_in_bf16_read_a_stored_weight_as_it_is() {
    let model = rounded(&tiny_llama(24, 16, true, 6));
    let numbers = |model: &CausalLm| {
        let model = model.clone().with_compute_dtype(FloatDType::BF16).unwrap();
        let adapted = adapted(&model);
        (host(model.log_probs(&batch(), 1.0).log_probs), adapter_gradients(&adapted, &batch()))
    };
    assert_eq!(numbers(&bf16(&model)), numbers(&model));
}

#[test]
fn what_is_merged_trained_or_written_is_f32() {
    let folder = tempfile::tempdir().unwrap();
    let model = rounded(&tiny_llama(24, 16, false, 7));
    let stored = bf16(&model);
    let logits = |model: &CausalLm| host(model.logits(&batch().tokens));
    let [expected, merged] = [&model, &stored].map(|model| adapted(model).merged().unwrap());
    assert_eq!(merged.weight_storage(), WeightStorage::F32);
    assert_eq!(logits(&merged), logits(&expected));
    assert!(merged.decoder.linears().all(|layer| matches!(layer.weight, Weight::F32(_))));
    stored.save(folder.path()).unwrap();
    let back = CausalLm::load(folder.path(), &device()).unwrap();
    assert_eq!(back.base_bytes(), model.base_bytes());
    assert_eq!(logits(&back), logits(&model));
    assert_eq!(stored.clone().trainable().weight_storage(), WeightStorage::F32);
}
