//! What `sample` writes, read again by `log-probs`: the same tokens, whatever the tokenizer.

use std::path::{Path, PathBuf};

use revealed::models::{CausalLm, HfConfig};
use serde_json::{Value, json};

use crate::world::{World, revealed};

/// Folders with real tokenizers; none where the folder of shared files is missing.
fn tokenizers() -> Vec<PathBuf> {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let Ok(entries) = std::fs::read_dir(shared.join("tokenizers")) else {
        eprintln!("skipped: no folder {}", shared.join("tokenizers").display());
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.push(shared.join("models/stories260k"));
    all.push(shared.join("models/smollm2-135m-instruct"));
    all
}

/// A model of random weights with a copy of the tokenizer.
fn model(folder: &Path, tokenizer: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let files = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
    for file in files.iter().filter(|file| tokenizer.join(file).is_file()) {
        std::fs::copy(tokenizer.join(file), folder.join(file)).unwrap();
    }
    let text = std::fs::read(folder.join("tokenizer.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let added = file["added_tokens"].as_array().unwrap().iter().map(|token| &token["id"]);
    let known = file["model"]["vocab"].as_object().unwrap().values().chain(added);
    let size = known.map(|id| id.as_u64().unwrap()).max().unwrap() + 1;
    // Tokenizers without a configuration name no end token.
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": size,
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_act": "silu",
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0,
    });
    let Value::Object(fields) = config else { unreachable!() };
    let config = HfConfig::new(folder.join("config.json"), fields);
    let device = revealed::device("flex").unwrap();
    CausalLm::random(config, 0, &device).unwrap().save(folder).unwrap();
}

#[test]
fn samples_read_back_to_their_tokens_with_every_tokenizer() {
    for tokenizer in tokenizers() {
        let scratch = tempfile::tempdir().unwrap();
        model(&scratch.path().join("model"), &tokenizer);
        let prompts = ["The sun", "a", " Two  spaces ", "Größe 你好 🙂", "x\n\n"];
        let rows: String =
            prompts.iter().map(|prompt| format!("{}\n", json!({"prompt": prompt}))).collect();
        std::fs::write(scratch.path().join("prompts.jsonl"), rows).unwrap();
        let sample = ["sample", "--model", "model", "--prompts", "prompts.jsonl"];
        let more = ["--max-tokens", "24", "--samples", "4"];
        let samples = revealed(scratch.path(), &[&sample[..], &more].concat()).ok();
        std::fs::write(scratch.path().join("samples.jsonl"), &samples.stdout).unwrap();
        let args = ["log-probs", "--model", "model", "--data", "samples.jsonl"];
        let done = revealed(scratch.path(), &args).ok();
        assert!(!done.stderr.contains("completion_ids"), "{}", done.stderr);
        let (samples, rows) = (samples.lines(), done.lines());
        assert_eq!((samples.len(), rows.len()), (20, 20));
        for (sample, row) in samples.iter().zip(&rows) {
            let start = row["completion_start"].as_u64().unwrap() as usize;
            let ids = &row["input_ids"].as_array().unwrap()[start..];
            assert_eq!(sample["completion_ids"].as_array().unwrap(), ids, "{tokenizer:?}");
        }
    }
}

#[test]
fn tokens_of_another_tokenizer_are_not_used_and_that_is_noted() {
    let world = World::new("llama");
    let args = ["sample", "--model", "model", "--prompts", "pairs.jsonl", "--max-tokens", "8"];
    let mut samples = world.revealed(&args).ok().lines();
    samples.truncate(3);
    let plain: String = samples.iter().map(|row| format!("{row}\n")).collect();
    world.write("own.jsonl", &plain);
    for row in &mut samples[..2] {
        let ids = row["completion_ids"].as_array_mut().unwrap();
        ids[0] = json!((ids[0].as_u64().unwrap() + 1) % 40 + 3);
    }
    samples[1]["completion_ids"] = json!([999_999]);
    let other: String = samples.iter().map(|row| format!("{row}\n")).collect();
    world.write("other.jsonl", &other);
    let run = |data: &str| world.revealed(&["log-probs", "--model", "model", "--data", data]).ok();
    let (own, other) = (run("own.jsonl"), run("other.jsonl"));
    assert!(!own.stderr.contains("completion_ids"), "{}", own.stderr);
    assert!(other.stderr.contains("2 rows have completion_ids"), "{}", other.stderr);
    assert_eq!(own.lines()[2], other.lines()[2]);
}
