//! Equality with Transformers and PEFT on the folders of `golden/models`, and on two real models.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use revealed_models::{
    CausalLm, Decoding, PaddingSide, SamplingConfig, ScalarModel, TokenBatch, sample,
};
use serde_json::Value;
use support::{
    MODELS, assert_close, device, golden, host, ids, json_file, load, max_difference, numbers,
    row_log_probs, row_logits, shared,
};

/// See `golden/README.md`: PyTorch's own f32 is up to 7e-6 from f64, a mistake is above 1e-3.
const TOLERANCE: f32 = 1e-4;

fn greedy(model: &CausalLm, rows: &[Vec<u32>], tokens: usize, stop: &[u32]) -> Vec<Vec<u32>> {
    let config = SamplingConfig {
        decoding: Decoding::Greedy,
        max_new_tokens: tokens,
        stop_ids: stop.to_vec(),
        ..SamplingConfig::default()
    };
    let samples = sample(model, rows, &config).unwrap();
    samples.into_iter().map(|s| s.token_ids).collect()
}

/// Compares logits, log-probs and greedy ids with `expected.json`.
fn check_language_model(name: &str, model: &CausalLm, expected: &Value) {
    let rows = ids(&expected["rows"]);
    for (row, logits) in rows.iter().zip(expected["logits"].as_array().unwrap()) {
        assert_close(&row_logits(model, row), &numbers(logits), TOLERANCE, name);
    }
    let whole: Vec<(Vec<u32>, usize)> = rows.iter().map(|row| (row.clone(), 1)).collect();
    for side in [PaddingSide::Left, PaddingSide::Right] {
        let ours = row_log_probs(model, &whole, side, 1.0).concat();
        assert_close(&ours, &numbers(&expected["log_probs"]), TOLERANCE, name);
    }
    let greedy_ids = ids(&expected["greedy"]);
    assert_eq!(greedy(model, &rows, greedy_ids[0].len(), &[]), greedy_ids, "{name}");
}

fn scores(model: &ScalarModel, rows: &[Vec<u32>], side: PaddingSide) -> Vec<f32> {
    host(model.scores(&TokenBatch::new(rows, 0, side, &device()).unwrap()))
}

#[test]
fn every_golden_model_gives_the_logits_log_probs_and_greedy_ids_of_transformers() {
    for name in MODELS {
        let expected = json_file(&golden(name).join("expected.json"));
        check_language_model(name, &load(name), &expected);
    }
}

#[test]
fn the_config_spelling_of_transformers_4_gives_bit_equal_logits() {
    for name in MODELS {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(golden(name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let config = golden(name).join("config.v4.json");
        std::fs::copy(config, copy.path().join("config.json")).unwrap();
        let (new, old) = (load(name), CausalLm::load(copy.path(), &device()).unwrap());
        let row = &ids(&json_file(&golden(name).join("expected.json"))["rows"])[2];
        assert_eq!(row_logits(&new, row), row_logits(&old, row), "{name}");
    }
}

#[test]
fn a_scalar_head_reads_the_last_token_as_transformers_does() {
    for name in MODELS {
        let expected = json_file(&golden(name).join("expected.json"));
        let classification = &expected["classification"];
        let head = numbers(&classification["score_weight"]);
        let model = ScalarModel::with_head(load(name), head);
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let ours = scores(&model, &ids(&expected["rows"]), side);
            assert_close(&ours, &numbers(&classification["scores"]), TOLERANCE, name);
        }
    }
}

#[test]
fn peft_adapters_give_the_numbers_of_peft() {
    let adapters =
        [("llama3-lora", "llama3"), ("pythia-lora", "pythia"), ("gemma3-lora", "gemma3")];
    for (name, base) in adapters {
        let expected = json_file(&golden(name).join("expected.json"));
        let model = load(base).with_adapter(&golden(name)).unwrap();
        check_language_model(name, &model, &expected);
        let without = row_logits(&model.without_lora(), &ids(&expected["rows"])[0]);
        let with = numbers(&expected["logits"][0]);
        assert!(max_difference(&without, &with) > 1e-2, "{name} changes nothing");
    }
}

#[test]
fn a_sequence_classification_folder_gives_the_scores_of_transformers() {
    let folder = golden("qwen2-reward");
    let expected = json_file(&folder.join("expected.json"));
    let model = ScalarModel::load(&folder, &device()).unwrap();
    for side in [PaddingSide::Left, PaddingSide::Right] {
        let ours = scores(&model, &ids(&expected["rows"]), side);
        assert_close(&ours, &numbers(&expected["scores"]), TOLERANCE, "qwen2-reward");
    }
}

#[test]
fn a_peft_reward_adapter_gives_the_scores_of_peft() {
    for (name, base) in [("llama3-reward-lora", "llama3"), ("gemma3-reward-lora", "gemma3")] {
        let folder = golden(name);
        let expected = json_file(&folder.join("expected.json"));
        let model = ScalarModel::load_adapter(load(base), &folder).unwrap();
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let ours = scores(&model, &ids(&expected["rows"]), side);
            assert_close(&ours, &numbers(&expected["scores"]), TOLERANCE, name);
        }
    }
}

/// Compares with the golden file of a real model: ten logits, mean, deviation, log-probs, greedy ids.
fn check_real_model(folder: &Path, golden: &Path, stop: &[u32]) {
    let model = CausalLm::load(folder, &device()).unwrap();
    let vocab = model.shape().vocab_size;
    let (mut logit, mut log_prob) = (0f32, 0f32);
    for case in json_file(golden)["cases"].as_array().unwrap() {
        let row: Vec<u32> = serde_json::from_value(case["input_ids"].clone()).unwrap();
        let logits = row_logits(&model, &row);
        let last = &logits[(row.len() - 1) * vocab..];
        let top: Vec<usize> =
            serde_json::from_value(case["last_logits_top10_ids"].clone()).unwrap();
        let ours: Vec<f32> = top.iter().map(|token| last[*token]).collect();
        logit = logit.max(max_difference(&ours, &numbers(&case["last_logits_top10"])));
        let mean = last.iter().sum::<f32>() / vocab as f32;
        let theirs = numbers(&case["last_logits_mean"]);
        assert_close(&[mean], &theirs, 1e-3, "mean of the last logits");
        if row.len() > 1 {
            let ours = row_log_probs(&model, &[(row.clone(), 1)], PaddingSide::Left, 1.0);
            let theirs = numbers(&case["token_logprobs"]);
            log_prob = log_prob.max(max_difference(&ours[0], &theirs));
        }
        let wanted: Vec<u32> = serde_json::from_value(case["greedy_ids"].clone()).unwrap();
        let ids = greedy(&model, std::slice::from_ref(&row), wanted.len(), stop);
        assert_eq!(ids[0], wanted, "{}", case["prompt"]);
    }
    println!(
        "{}: largest difference of a logit {logit:e}, of a log-prob {log_prob:e}",
        folder.display()
    );
    // The file has five decimals; f32 sums over 576 or 64 dimensions differ in order.
    assert!(logit <= 5e-4, "logits differ by {logit:e}");
    assert!(log_prob <= 2e-4, "log-probs differ by {log_prob:e}");
}

#[test]
fn stories260k_gives_the_numbers_of_transformers() {
    let Some(folder) = shared("models/stories260k") else {
        return;
    };
    check_real_model(&folder, &folder.join("golden.json"), &[]);
}

#[test]
fn smollm2_gives_the_numbers_of_transformers() {
    let Some(golden) = shared("models/smollm2-135m-instruct/golden.json") else {
        return;
    };
    let Some(folder) = std::env::var_os("REVEALED_SMOLLM2") else {
        println!("skipped: REVEALED_SMOLLM2 does not name the folder of SmolLM2-135M-Instruct");
        return;
    };
    check_real_model(Path::new(&folder), &golden, &[2]);
}
