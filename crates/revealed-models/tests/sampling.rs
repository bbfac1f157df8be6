//! Sampling: equal to scoring, independent of the batch, distributed as the model says.
#![allow(clippy::unwrap_used)]

mod support;

use revealed_models::{
    CausalLm, Decoding, ModelError, PaddingSide, Sample, SamplingConfig, Weight, sample,
};
use support::{MODELS, assert_close, golden, load, row_log_probs, row_logits, tiny_llama};

fn prompts() -> Vec<Vec<u32>> {
    let row = |length: u32, step: u32| (0..length).map(|i| (i * step + 3) % 64).collect();
    vec![row(7, 5), row(2, 9), row(16, 7), row(1, 1), row(7, 13)]
}

fn config() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 20, seed: 11, ..SamplingConfig::default() }
}

fn tokens(samples: &[Sample]) -> Vec<Vec<u32>> {
    samples.iter().map(|s| s.token_ids.clone()).collect()
}

/// Cached decoding of left-padded ragged prompts against one uncached pass over the finished rows.
fn assert_scored_as_drawn(name: &str, model: &CausalLm, config: &SamplingConfig) {
    let drawn = sample(model, &prompts(), config).unwrap();
    let rows: Vec<(Vec<u32>, usize)> = drawn
        .iter()
        .map(|s| {
            let prompt = &prompts()[s.prompt];
            ([prompt.as_slice(), &s.token_ids].concat(), prompt.len())
        })
        .collect();
    let theirs: Vec<f32> = drawn.iter().flat_map(|s| s.log_probs.clone()).collect();
    for side in [PaddingSide::Left, PaddingSide::Right] {
        let ours = row_log_probs(model, &rows, side, config.temperature).concat();
        assert_close(&ours, &theirs, 2e-5, name);
    }
}

#[test]
fn cached_decoding_gives_the_log_probs_of_an_uncached_pass() {
    for name in MODELS {
        let model = load(name);
        assert_scored_as_drawn(name, &model, &config());
        let stops = (0..64).filter(|t| t % 9 == 0).collect();
        let ragged = SamplingConfig {
            temperature: 0.7,
            top_k: 20,
            top_p: 0.95,
            samples_per_prompt: 3,
            stop_ids: stops,
            ..config()
        };
        assert_scored_as_drawn(name, &model, &ragged);
    }
    for (name, base) in [("llama3-lora", "llama3"), ("pythia-lora", "pythia")] {
        let model = load(base).with_adapter(&golden(name)).unwrap();
        assert_scored_as_drawn(name, &model, &config());
    }
}

/// Its weights are rounded once a call there, and with every pass elsewhere.
#[test]
fn cached_decoding_in_bfloat16_gives_the_log_probs_of_an_uncached_pass() {
    for (name, adapter) in [("qwen2", None), ("pythia", None), ("llama3", Some("llama3-lora"))] {
        let model = load(name);
        let model = match adapter {
            Some(adapter) => model.with_adapter(&golden(adapter)).unwrap(),
            None => model,
        };
        let mixed = model.clone().with_compute_dtype(burn::tensor::FloatDType::BF16).unwrap();
        let drawn = sample(&mixed, &prompts(), &config()).unwrap();
        let (mut worst, mut of_f32) = (0.0f32, 0.0f32);
        for drawn in drawn {
            let prompt = &prompts()[drawn.prompt];
            let row = [([prompt.as_slice(), &drawn.token_ids].concat(), prompt.len())];
            for (model, worst) in [(&mixed, &mut worst), (&model, &mut of_f32)] {
                let scored = row_log_probs(model, &row, PaddingSide::Right, 1.0).concat();
                for (ours, theirs) in scored.iter().zip(&drawn.log_probs) {
                    *worst = worst.max((ours - theirs).abs());
                }
            }
        }
        // The same roundings but where sums of another order fall to the other side of one.
        assert!(worst < 2e-3 && of_f32 > 3.0 * worst, "{name}: {worst}, of f32 {of_f32}");
    }
}

#[test]
fn greedy_decoding_takes_the_argmax_of_an_uncached_pass() {
    for name in ["pythia", "qwen3-mixed", "llama3"] {
        let model = load(name);
        let greedy = SamplingConfig { decoding: Decoding::Greedy, ..config() };
        for drawn in sample(&model, &prompts(), &greedy).unwrap() {
            let mut row = prompts()[drawn.prompt].clone();
            for token in drawn.token_ids {
                let logits = row_logits(&model, &row);
                let last = &logits[logits.len() - 64..];
                let best = (0..64).max_by(|a, b| last[*a].total_cmp(&last[*b]));
                assert_eq!(best, Some(token as usize), "{name}");
                row.push(token);
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_batch_size_or_on_the_number_of_samples() {
    let model = load("qwen3-mixed");
    let drawn = |samples_per_prompt, batch_size| {
        let config = SamplingConfig { samples_per_prompt, batch_size, ..config() };
        sample(&model, &prompts(), &config).unwrap()
    };
    let shared = drawn(4, 64);
    assert_eq!(shared.len(), 20);
    let places: Vec<(usize, usize)> = shared.iter().map(|s| (s.prompt, s.index)).collect();
    assert!(places.is_sorted());
    for batch_size in [1, 7, 12] {
        assert_eq!(tokens(&shared), tokens(&drawn(4, batch_size)));
    }
    let first: Vec<Sample> = shared.iter().filter(|s| s.index == 0).cloned().collect();
    assert_eq!(tokens(&first), tokens(&drawn(1, 3)));
    let distinct: std::collections::BTreeSet<_> = tokens(&shared).into_iter().collect();
    assert_eq!(distinct.len(), 20, "samples of one prompt have their own noise");
    let other = SamplingConfig { seed: 12, ..config() };
    assert_ne!(tokens(&first), tokens(&sample(&model, &prompts(), &other).unwrap()));
}

#[test]
fn rows_that_leave_the_batch_change_nothing_for_the_others() {
    let model = load("mistral");
    let config = SamplingConfig { samples_per_prompt: 4, ..config() };
    let whole = sample(&model, &prompts(), &config).unwrap();
    let stop_ids: Vec<u32> = (0..64).filter(|t| t % 8 == 1).collect();
    let stopping = SamplingConfig { stop_ids: stop_ids.clone(), ..config };
    let stopped = sample(&model, &prompts(), &stopping).unwrap();
    let mut ended = 0;
    for (whole, stopped) in whole.iter().zip(&stopped) {
        let end = whole.token_ids.iter().position(|t| stop_ids.contains(t));
        let length = end.map_or(20, |end| end + 1);
        ended += usize::from(length < 20);
        assert_eq!(stopped.token_ids, whole.token_ids[..length]);
        assert_eq!(stopped.finished, end.is_some());
        assert_close(&stopped.log_probs, &whole.log_probs[..length], 2e-5, "log-probs");
    }
    assert!((5..20).contains(&ended), "{ended} of 20 rows ended early");
}

/// Frequencies of the first token of 20,000 samples against probabilities, by the χ² statistic.
fn assert_drawn_from(config: SamplingConfig, keep: impl Fn(f64) -> bool) {
    let model = tiny_llama(24, 8, false, 3);
    let prompt = vec![3, 1, 4, 1, 5];
    let logits = row_logits(&model, &prompt);
    let last = &logits[logits.len() - 24..];
    let weights: Vec<f64> =
        last.iter().map(|l| (f64::from(*l) / config.temperature).exp()).collect();
    let best = weights.iter().copied().fold(0.0, f64::max);
    let kept: Vec<f64> = weights.iter().map(|w| if keep(w / best) { *w } else { 0.0 }).collect();
    let total: f64 = kept.iter().sum();
    let count = 20_000;
    let config = SamplingConfig { max_new_tokens: 1, samples_per_prompt: count, ..config };
    let mut seen = [0.0; 24];
    for drawn in sample(&model, &[prompt], &config).unwrap() {
        let token = drawn.token_ids[0] as usize;
        seen[token] += 1.0;
        // The log-prob is of the full distribution, whatever the filters.
        let full = (weights[token] / weights.iter().sum::<f64>()).ln();
        assert!((f64::from(drawn.log_probs[0]) - full).abs() < 1e-5);
    }
    let (mut statistic, mut cells) = (0.0, 0.0);
    for (seen, weight) in seen.iter().zip(&kept) {
        let expected = count as f64 * weight / total;
        if *weight == 0.0 {
            assert_eq!(*seen, 0.0, "a token that the filters drop was drawn");
        } else {
            statistic += (seen - expected) * (seen - expected) / expected;
            cells += 1.0;
        }
    }
    // Mean `cells − 1`, variance twice that: five standard deviations above.
    let freedom: f64 = cells - 1.0;
    assert!(freedom >= 2.0);
    let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(statistic < bound, "χ² = {statistic} above {bound}");
}

#[test]
fn tokens_are_drawn_as_often_as_the_distribution_says() {
    assert_drawn_from(SamplingConfig::default(), |_| true);
    let hot = SamplingConfig { temperature: 1.7, seed: 1, ..SamplingConfig::default() };
    assert_drawn_from(hot, |_| true);
    let filtered = SamplingConfig { temperature: 1.7, min_p: 0.3, ..SamplingConfig::default() };
    assert_drawn_from(filtered, |relative| relative >= 0.3);
}

#[test]
fn weights_with_nan_are_an_error_and_not_a_token() {
    let mut model = tiny_llama(24, 8, false, 3);
    let head = model.lm_head.as_mut().unwrap();
    let (Weight::F32(weight) | Weight::Bf16(weight)) = &mut head.weight;
    *weight = weight.clone().map(|weight| weight * f32::NAN);
    for decoding in [Decoding::Sample, Decoding::Greedy] {
        let config = SamplingConfig { decoding, ..config() };
        let error = sample(&model, &[vec![1], vec![2, 3]], &config).unwrap_err();
        assert!(matches!(error, ModelError::NonFinite { .. }), "{error}");
    }
}

#[test]
fn prompts_that_do_not_fit_the_model_are_refused_by_their_index() {
    let model = tiny_llama(24, 8, false, 3);
    let refused = |prompt: Vec<u32>| {
        let error = sample(&model, &[vec![1], prompt], &config()).unwrap_err();
        assert!(matches!(error, ModelError::Row { row: 1, .. }));
        error.to_string()
    };
    let message = refused(vec![1; 45]);
    assert!(message.contains("45 tokens") && message.contains("context is 64"), "{message}");
    assert!(refused(vec![]).contains("no tokens"));
    assert!(refused(vec![24]).contains("vocabulary of 24"));
    let fits = sample(&model, &[vec![1; 44]], &config()).unwrap();
    assert_eq!(fits[0].token_ids.len(), 20);
    assert_eq!(sample(&model, &[], &config()).unwrap(), vec![]);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let model = tiny_llama(24, 8, false, 3);
    type Change = fn(&mut SamplingConfig);
    let wrong: [(&str, Change); 8] = [
        ("temperature", |c| c.temperature = 0.0),
        ("temperature", |c| c.temperature = f64::NAN),
        ("top_p", |c| c.top_p = 0.0),
        ("top_p", |c| c.top_p = 1.1),
        ("min_p", |c| c.min_p = 1.0),
        ("max_new_tokens", |c| c.max_new_tokens = 0),
        ("samples_per_prompt", |c| c.samples_per_prompt = 0),
        ("batch_size", |c| c.batch_size = 0),
    ];
    for (field, change) in wrong {
        let mut config = config();
        change(&mut config);
        let message = sample(&model, &[vec![1]], &config).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}
