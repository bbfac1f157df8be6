//! Models of every family, their adapters and gradients, and sampling.

use revealed::Device;
use revealed::burn::module::{Module, ModuleVisitor, Param};
use revealed::burn::optim::GradientsParams;
use revealed::burn::tensor::{FloatDType, Tensor};
use revealed::models::{
    CausalLm, CompletionBatch, Decoding, LoraConfig, PaddingSide, PrefixCache, SamplingConfig,
    ScalarModel, TokenBatch, sample,
};
use revealed::objectives::likelihood::token_cross_entropy;
use revealed::objectives::reduce::token_mean;

use crate::{Other, close, devices, flex, golden, host};

/// One of every family, with GQA, biases, sliding windows, exact GELU and both kinds of residual.
const MODELS: [&str; 6] =
    ["pythia", "neox-sequential", "qwen2", "qwen3-mixed", "mistral", "llama3"];

/// Prompts with completions from the third token on, of several lengths.
fn rows() -> Vec<(Vec<u32>, usize)> {
    [5, 9, 12].map(|length| ((0..length).map(|i| 3 + (i * 11) % 60).collect(), 3)).to_vec()
}

fn model(name: &str, device: &Device) -> CausalLm {
    CausalLm::load(&golden(name), device).unwrap()
}

fn batch(side: PaddingSide, device: &Device) -> CompletionBatch {
    CompletionBatch::new(&rows(), 0, side, device).unwrap()
}

#[test]
fn logits_log_probs_and_entropy_with_padding_on_either_side() {
    for other in devices() {
        for name in MODELS {
            let of = |device: &Device| {
                let model = model(name, device);
                let tokens: Vec<Vec<u32>> = rows().into_iter().map(|(row, _)| row).collect();
                let mut all = Vec::new();
                for side in [PaddingSide::Left, PaddingSide::Right] {
                    let longest = &tokens[2..];
                    all.extend(host(
                        model.logits(&TokenBatch::new(longest, 0, side, device).unwrap()),
                    ));
                    let found = model.log_probs(&batch(side, device), 0.7);
                    all.extend(host(found.log_probs));
                    all.extend(host(found.entropy));
                }
                all
            };
            close(&of(&other.device), &of(&flex()), &other, name);
        }
    }
}

/// The gradients of every parameter that has one, in the module's order.
fn gradients<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<Vec<f32>> {
    struct Collect<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(self.0.get::<D>(param.id).map(host));
        }
    }
    let mut all = Collect(gradients, vec![]);
    model.visit(&mut all);
    all.1
}

fn backward(model: &CausalLm, device: &Device) -> Vec<Vec<f32>> {
    backward_of(model, &batch(PaddingSide::Right, device))
}

fn backward_of(model: &CausalLm, batch: &CompletionBatch) -> Vec<Vec<f32>> {
    let mask = batch.completion_mask.clone();
    let done = model.backward(batch, 1.0, |log_probs| {
        token_mean(token_cross_entropy(log_probs, mask.clone()), mask, 17.0)
    });
    gradients(model, &done.gradients)
}

/// Compares gradients, a parameter's in the unit of its largest entry on flex: what sums lose by rounding goes by the size of what is
/// summed.
fn close_each(found: &[Vec<f32>], wanted: &[Vec<f32>], other: &Other, what: &str) {
    assert!(wanted.len() >= 4 && found.len() == wanted.len(), "{}: {what}", other.name);
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let unit = wanted.iter().fold(0.0f32, |most, value| most.max(value.abs())).max(1e-6);
        let scaled = |values: &[f32]| values.iter().map(|v| v / unit).collect::<Vec<_>>();
        close(&scaled(found), &scaled(wanted), other, &format!("{what}, parameter {index}"));
    }
}

#[test]
fn gradients_of_full_models_and_of_adapters() {
    for other in devices() {
        for name in MODELS {
            let of = |device: &Device| backward(&model(name, device).trainable(), device);
            let wanted = of(&flex());
            close_each(&of(&other.device), &wanted, &other, &format!("{name}, full"));
            // All rows begin with one prompt, computed once.
            let of = |device: &Device| {
                let shared = CompletionBatch::sharing_prompts(&rows(), 0, device).unwrap();
                backward_of(&model(name, device).trainable(), &shared)
            };
            let wanted = of(&flex());
            close_each(
                &of(&other.device),
                &wanted,
                &other,
                &format!("{name}, full, shared prompt"),
            );
        }
        for name in ["llama3", "pythia"] {
            let of = |device: &Device| {
                let adapter = golden(&format!("{name}-lora"));
                let model = model(name, device).with_adapter(&adapter).unwrap().trainable();
                backward(&model, device)
            };
            let (found, wanted) = (of(&other.device), of(&flex()));
            // These adapters are large, and amplify: PyTorch's own gradients in f32 are up to 1.1e-4 from those in f64.
            let loose =
                Other { tolerance: (3.0 * 1.1e-4f32).max(other.tolerance), ..other.clone() };
            close_each(&found, &wanted, &loose, &format!("{name}, adapter"));
        }
    }
}

/// Attention takes rows of more than 256 tokens in blocks, and forms their weights again in the backward pass.
#[test]
fn gradients_of_rows_longer_than_a_block() {
    let rows = [(600, 20), (300, 290)].map(|(length, start)| {
        ((0..length).map(|i| 3 + (i * 11) % 60).collect::<Vec<u32>>(), start)
    });
    for other in devices() {
        for name in ["llama3", "mistral"] {
            let of = |device: &Device| {
                let batch = CompletionBatch::new(&rows, 0, PaddingSide::Left, device).unwrap();
                backward_of(&model(name, device).trainable(), &batch)
            };
            close_each(&of(&other.device), &of(&flex()), &other, &format!("{name}, long rows"));
        }
    }
}

/// Against the same device's f32: a product's operands and results keep 8 bits, and layers add up.
#[test]
fn mixed_precision_follows_f32_where_the_device_has_bfloat16() {
    for other in devices() {
        let device = other.device.clone();
        for name in ["llama3", "pythia"] {
            let plain = model(name, &device);
            let mixed = match plain.clone().with_compute_dtype(FloatDType::BF16) {
                Ok(mixed) => mixed,
                Err(error) => {
                    assert!(!device.supports_dtype(FloatDType::BF16), "{error}");
                    println!("{}: {error}", other.name);
                    continue;
                }
            };
            let batch = batch(PaddingSide::Right, &device);
            let log_probs = |model: &CausalLm| host(model.log_probs(&batch, 1.0).log_probs);
            let (a, b) = (log_probs(&plain), log_probs(&mixed));
            let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart > 0.0 && apart < 0.1, "{}, {name}: {apart}", other.name);
            // Full training, and a fresh adapter: the stored ones are large, and amplify any rounding a thousandfold.
            for lora in [false, true] {
                let with = |model: &CausalLm| match lora {
                    true => model.clone().with_lora(&LoraConfig::default(), 1).unwrap(),
                    false => model.clone(),
                };
                let of = |model: &CausalLm| backward(&with(model).trainable(), &device);
                let (a, b) = (of(&plain).concat(), of(&mixed).concat());
                let dot = |a: &[f32], b: &[f32]| {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                };
                let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
                assert!(cosine > 0.999, "{}, {name}, adapter {lora}: {cosine}", other.name);
            }
        }
    }
}

/// Against the values of the states too, as self-imitation takes them.
#[test]
fn gradients_of_values_and_log_probs_together() {
    for other in devices() {
        for name in ["llama3", "qwen2"] {
            let of = |device: &Device| {
                let model = model(name, device).trainable();
                let batch = batch(PaddingSide::Right, device);
                let done = model.backward_with_values(&batch, 0.7, |log_probs, values| {
                    (log_probs * 0.5 + values.square() * 0.1).sum()
                });
                gradients(&model, &done.gradients)
            };
            close_each(&of(&other.device), &of(&flex()), &other, &format!("{name}, values"));
        }
    }
}

/// Caches that are written in place, cut back and copied: a backend whose tensors share memory must not let one see the other.
#[test]
fn a_cache_that_rows_share_gives_each_its_own() {
    let rows: Vec<(Vec<u32>, usize)> = rows().into_iter().rev().chain(rows()).collect();
    let prompts: Vec<&[u32]> = rows.iter().map(|(row, _)| row.as_slice()).collect();
    for other in devices() {
        for name in MODELS {
            let of = |device: &Device| {
                let mut cache = PrefixCache::new(&model(name, device));
                let scored = cache.score(&rows).unwrap();
                let greedy = cache.greedy(&prompts, 8, |_| false).unwrap();
                let again = cache.score(&rows).unwrap();
                let log_probs = scored.iter().chain(&again).flat_map(|row| row.log_probs.clone());
                (log_probs.collect::<Vec<_>>(), greedy)
            };
            let (found, wanted) = (of(&other.device), of(&flex()));
            close(&found.0, &wanted.0, &other, name);
            assert_eq!(found.1, wanted.1, "{}: {name}", other.name);
        }
    }
}

#[test]
fn an_adapter_folded_into_its_weights() {
    for other in devices() {
        let of = |device: &Device| {
            let model = model("llama3", device).with_adapter(&golden("llama3-lora")).unwrap();
            let merged = model.merged().unwrap();
            host(merged.log_probs(&batch(PaddingSide::Left, device), 1.0).log_probs)
        };
        close(&of(&other.device), &of(&flex()), &other, "merged");
    }
}

#[test]
fn a_reward_s_scores_and_a_critic_s_values() {
    for other in devices() {
        let of = |device: &Device| {
            let reward = ScalarModel::new(model("qwen2", device), 3);
            let tokens: Vec<Vec<u32>> = rows().into_iter().map(|(row, _)| row).collect();
            let batch_of = |side| TokenBatch::new(&tokens, 0, side, device).unwrap();
            let scores = [PaddingSide::Left, PaddingSide::Right]
                .map(|side| host(reward.scores(&batch_of(side)).inner()));
            let values = host(reward.values(&batch(PaddingSide::Right, device)).inner());
            [scores.concat(), values].concat()
        };
        close(&of(&other.device), &of(&flex()), &other, "scores");
    }
}

#[test]
fn greedy_ids_are_the_same_and_so_are_draws_of_a_seed() {
    let prompts: Vec<Vec<u32>> = rows().into_iter().map(|(row, _)| row).collect();
    for other in devices() {
        for name in MODELS {
            for decoding in [Decoding::Greedy, Decoding::Sample] {
                let config = SamplingConfig {
                    decoding,
                    max_new_tokens: 12,
                    samples_per_prompt: 2,
                    stop_ids: vec![2],
                    seed: 7,
                    ..SamplingConfig::default()
                };
                let of = |device: &Device| sample(&model(name, device), &prompts, &config).unwrap();
                let (found, wanted) = (of(&other.device), of(&flex()));
                for (found, wanted) in found.iter().zip(&wanted) {
                    // Draws are made on the host from the device's logits: they part only where two are level to rounding.
                    assert_eq!(found.token_ids, wanted.token_ids, "{}: {name}", other.name);
                    close(&found.log_probs, &wanted.log_probs, &other, name);
                }
            }
        }
    }
}
