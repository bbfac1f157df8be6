//! Damaged and unsupported folders are errors that name the file and what is wrong in it.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use proptest::prelude::*;
use revealed_models::{CausalLm, LoraConfig, ScalarModel, TensorFiles, write_tensors};
use serde_json::{Value, json};
use support::{device, golden, json_file, load};

const WEIGHTS: &str = "model.safetensors";

/// Copies a golden folder, changes the copy, and gives the message with which it is refused.
fn refused(name: &str, change: impl FnOnce(&Path)) -> String {
    let out = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, out.path().join(path.file_name().unwrap())).unwrap();
    }
    change(out.path());
    match name {
        "llama3-lora" => load("llama3").with_adapter(out.path()).map(|_| ()),
        "llama3-reward-lora" => ScalarModel::load_adapter(load("llama3"), out.path()).map(|_| ()),
        "qwen2-reward" => ScalarModel::load(out.path(), &device()).map(|_| ()),
        _ => CausalLm::load(out.path(), &device()).map(|_| ()),
    }
    .expect_err("the folder was accepted")
    .to_string()
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// Rewrites a weights file with its tensors changed.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<(String, Vec<f32>, Vec<usize>)>)) {
    let mut files = TensorFiles::open(&[path.to_path_buf()], path.into()).unwrap();
    let mut tensors = Vec::new();
    for name in files.names() {
        let shape = files.shape(&name).unwrap().to_vec();
        tensors.push((name.clone(), files.read(&name, &shape).unwrap(), shape));
    }
    change(&mut tensors);
    let tensors = tensors
        .into_iter()
        .map(|(name, values, shape)| (name, burn::tensor::TensorData::new(values, shape)));
    write_tensors(path, tensors.collect()).unwrap();
}

/// A safetensors file of any header and data.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn set(folder: &Path, file: &str, field: &str, value: Value) {
    let path = folder.join(file);
    let mut fields = json_file(&path);
    match value {
        Value::Null => drop(fields.as_object_mut().unwrap().remove(field)),
        value => fields[field] = value,
    }
    std::fs::write(path, fields.to_string()).unwrap();
}

#[test]
fn every_tensor_is_accounted_for() {
    let q_proj = "model.layers.1.self_attn.q_proj.weight";
    let message = refused("qwen3", |folder| {
        rewrite(&folder.join(WEIGHTS), |t| t.retain(|(name, ..)| name != q_proj));
    });
    assert_names(&message, &[WEIGHTS, q_proj, "missing"]);

    let message = refused("qwen3", |folder| {
        rewrite(&folder.join(WEIGHTS), |t| {
            t.push(("model.layers.2.stray".into(), vec![0.0; 2], vec![2]));
        });
    });
    assert_names(&message, &[WEIGHTS, "model.layers.2.stray", "does not use"]);

    let message = refused("qwen3", |folder| {
        rewrite(&folder.join(WEIGHTS), |tensors| {
            let tensor = tensors.iter_mut().find(|(name, ..)| name == q_proj).unwrap();
            tensor.2.reverse();
        });
    });
    assert_names(&message, &[WEIGHTS, q_proj, "found shape [16, 32]", "[32, 16]"]);

    let message = refused("qwen2-reward", |folder| {
        rewrite(&folder.join(WEIGHTS), |t| t.retain(|(name, ..)| name != "score.weight"));
    });
    assert_names(&message, &[WEIGHTS, "score.weight", "missing"]);
}

#[test]
fn damaged_weights_name_the_file() {
    let damaged = |change: fn(Vec<u8>) -> Vec<u8>| {
        let message = refused("llama3", |folder| {
            let path = folder.join(WEIGHTS);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, change(bytes)).unwrap();
        });
        assert_names(&message, &[WEIGHTS, "damaged"]);
        message
    };
    assert_names(&damaged(|b| b[..b.len() - 1].to_vec()), &["promises"]);
    assert_names(&damaged(|b| b[..100].to_vec()), &["header claims"]);
    assert_names(&damaged(|_| vec![]), &["0 bytes"]);
    let absurd = |mut bytes: Vec<u8>| {
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes
    };
    assert_names(&damaged(absurd), &["18446744073709551615"]);
    assert_names(&damaged(|_| raw("not JSON at all", &[])), &["header is invalid"]);
    assert_names(&damaged(|b| [b, vec![0; 4]].concat()), &["promises"]);
    let vast = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let vast = raw(vast, &[0; 16]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(WEIGHTS);
    std::fs::write(&path, vast).unwrap();
    let error = TensorFiles::open(std::slice::from_ref(&path), path.clone()).unwrap_err();
    assert_names(&error.to_string(), &["promises 4398046511104 bytes"]);
}

#[test]
fn offsets_whose_sum_overflows_are_refused() {
    // Sixteen tensors of 2^60 bytes: together 2^64, so that a sum with the header's size would wrap.
    let tensor = |i: u64| {
        let (from, to) = (u128::from(i) << 60, (u128::from(i) + 1) << 60);
        let to = to.min(u128::from(u64::MAX));
        format!(r#""t{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[{from},{to}]}}"#, to - from)
    };
    let header: Vec<String> = (0..16).map(tensor).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(WEIGHTS);
    std::fs::write(&path, raw(&format!("{{{}}}", header.join(",")), &[])).unwrap();
    let error = TensorFiles::open(std::slice::from_ref(&path), path.clone()).unwrap_err();
    assert_names(&error.to_string(), &[WEIGHTS, "promises 18446744073709551615"]);
}

#[test]
fn an_unsupported_dtype_names_the_tensor() {
    let message = refused("qwen2", |folder| {
        let path = folder.join(WEIGHTS);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(5).position(|w| w == b"\"F32\"").unwrap();
        bytes[at..at + 5].copy_from_slice(b"\"I32\"");
        std::fs::write(path, bytes).unwrap();
    });
    assert_names(&message, &[WEIGHTS, "model.", "I32", "F32, F16 or BF16"]);
}

#[test]
fn an_index_must_name_shards_in_the_folder_that_hold_its_tensors() {
    let index = "model.safetensors.index.json";
    let first = "model.embed_tokens.weight";
    let point = |shard: &'static str| {
        refused("llama-bf16", |folder| {
            let mut json = json_file(&folder.join(index));
            json["weight_map"][first] = shard.into();
            std::fs::write(folder.join(index), json.to_string()).unwrap();
        })
    };
    assert_names(&point("../x.safetensors"), &[index, "../x.safetensors", "outside"]);
    assert_names(&point("/etc/passwd"), &[index, "outside"]);
    let moved = point("model-00003-of-00003.safetensors");
    assert_names(&moved, &[index, first, "00003", "not there"]);
    assert_names(&point("absent.safetensors"), &["absent.safetensors"]);
    let gone = refused("llama-bf16", |folder| {
        std::fs::remove_file(folder.join("model-00002-of-00003.safetensors")).unwrap();
    });
    assert_names(&gone, &["model-00002-of-00003.safetensors"]);
    let bare = refused("llama-bf16", |folder| {
        std::fs::remove_file(folder.join(index)).unwrap();
    });
    assert_names(&bare, &["no model.safetensors"]);
    let empty = refused("llama-bf16", |folder| std::fs::write(folder.join(index), "[]").unwrap());
    assert_names(&empty, &[index, "not valid JSON"]);
}

#[test]
fn a_config_must_be_there_and_be_an_object() {
    let gone = |folder: &Path| std::fs::remove_file(folder.join("config.json")).unwrap();
    assert_names(&refused("llama3", gone), &["no config.json"]);
    for text in ["", "{", "[1]", "\"llama\""] {
        let message = refused("llama3", |folder| {
            std::fs::write(folder.join("config.json"), text).unwrap();
        });
        assert_names(&message, &["config.json", "not valid JSON"]);
    }
}

#[test]
fn fields_that_would_change_the_result_are_refused_by_name() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "beta_fast": 32});
    let nested = json!({"full_attention": {"rope_type": "default", "rope_theta": 1e4}});
    for (model, field, value, parts) in [
        ("llama3", "model_type", json!("mamba"), &["mamba", "llama, mistral"][..]),
        ("llama3", "rope_parameters", yarn, &["rope_type", "yarn"]),
        ("llama3", "rope_parameters", nested, &["rope_parameters.full_attention"]),
        ("llama3", "rope_parameters", json!({"rope_theta": "x"}), &["rope_parameters.rope_theta"]),
        ("llama3", "rope_parameters", json!({"rope_type": "llama3"}), &["factor"]),
        ("llama3", "hidden_act", json!("gelu"), &["hidden_act", "gelu"]),
        ("llama3", "quantization_config", json!({"bits": 4}), &["quantization_config"]),
        ("llama3", "rope_interleaved", json!(true), &["rope_interleaved"]),
        ("llama3", "residual_multiplier", json!(0.5), &["residual_multiplier", "0.5"]),
        ("llama3", "sliding_window", json!(4), &["sliding_window"]),
        ("llama3", "partial_rotary_factor", json!(0.5), &["partial_rotary_factor"]),
        ("pythia", "hidden_act", json!("gelu_new"), &["hidden_act", "gelu_new"]),
        ("qwen3-mixed", "layer_types", json!(["full_attention"]), &["layer_types"]),
        ("qwen3-mixed", "sliding_window", json!("4"), &["sliding_window"]),
    ] {
        let message = refused(model, |folder| {
            // The rope's own fields win over those beside it.
            if field == "partial_rotary_factor" {
                set(folder, "config.json", "rope_parameters", Value::Null);
            }
            set(folder, "config.json", field, value);
        });
        assert_names(&message, &["config.json"]);
        assert_names(&message, parts);
    }
}

#[test]
fn fields_that_are_missing_or_of_the_wrong_kind_are_refused_by_name() {
    for (field, value) in [
        ("hidden_size", Value::Null),
        ("hidden_size", json!("16")),
        ("hidden_size", json!(-16)),
        ("num_hidden_layers", json!(0)),
        ("num_attention_heads", json!(1.5)),
        ("num_key_value_heads", json!(3)),
        ("vocab_size", json!(1u64 << 40)),
        ("rms_norm_eps", json!("small")),
        ("tie_word_embeddings", json!("yes")),
        ("model_type", Value::Null),
    ] {
        let message = refused("llama3", |folder| set(folder, "config.json", field, value));
        assert_names(&message, &["config.json", field, "expected"]);
    }
}

#[test]
fn adapters_that_are_not_plain_lora_are_refused_by_the_setting() {
    let file = "adapter_config.json";
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("use_dora", json!(true)),
        ("rank_pattern", json!({"q_proj": "8"})),
        ("alpha_pattern", json!(8)),
        ("layers_to_transform", json!("0")),
        ("modules_to_save", json!(["lm_head"])),
        ("init_lora_weights", json!("pissa")),
        ("exclude_modules", json!([1])),
        ("use_new_thing", json!(true)),
        ("target_modules", json!([])),
        ("target_modules", json!(3)),
        ("r", json!(0)),
        ("lora_alpha", json!("8")),
    ] {
        let message = refused("llama3-lora", |folder| set(folder, file, field, value));
        assert_names(&message, &[file, field]);
    }
    let targets = json!(["w_pack"]);
    let message = refused("llama3-lora", |folder| set(folder, file, "target_modules", targets));
    assert_names(&message, &["w_pack", "q_proj", "down_proj"]);
    let message = refused("llama3-lora", |folder| set(folder, file, "r", json!(3)));
    assert_names(&message, &["adapter_model.safetensors", "lora_A", "found shape"]);
    let message = refused("llama3-lora", |folder| {
        set(folder, file, "target_modules", json!(["q_proj"]));
    });
    assert_names(&message, &["adapter_model.safetensors", "v_proj", "does not use"]);
    for gone in [file, "adapter_model.safetensors"] {
        let message = refused("llama3-lora", |folder| {
            std::fs::remove_file(folder.join(gone)).unwrap();
        });
        assert_names(&message, &[&format!("no {gone}")]);
    }
    let headless = refused("llama3-reward-lora", |folder| {
        rewrite(&folder.join("adapter_model.safetensors"), |t| {
            t.retain(|(name, ..)| !name.contains("score"));
        });
    });
    assert_names(&headless, &["adapter_model.safetensors", "score", "missing"]);
}

#[test]
fn lora_settings_that_fit_no_layer_are_refused() {
    let with = |config: LoraConfig| {
        let refused = load("pythia").with_lora(&config, 0);
        refused.err().map(|error| error.to_string())
    };
    let targets =
        |name: &str| LoraConfig { target_modules: vec![name.into()], ..LoraConfig::default() };
    assert!(with(LoraConfig::default()).is_none());
    assert_names(&with(targets("q_proj")).unwrap(), &["q_proj", "query_key_value"]);
    assert!(with(targets("ense")).is_some(), "part of a name is not the name");
    let zero = LoraConfig { r: 0, ..LoraConfig::default() };
    assert_names(&with(zero).unwrap(), &["`r` = 0"]);
    let empty = LoraConfig { target_modules: vec![], ..LoraConfig::default() };
    assert_names(&with(empty).unwrap(), &["target_modules"]);
}

/// Reads whatever the file says it has; an answer is never larger than the file allows.
fn read_all(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(WEIGHTS);
    std::fs::write(&path, bytes).unwrap();
    if let Ok(mut files) = TensorFiles::open(std::slice::from_ref(&path), path.clone()) {
        for name in files.names() {
            let shape = files.shape(&name).unwrap().to_vec();
            if let Ok(values) = files.read(&name, &shape) {
                assert!(values.len() * 2 <= bytes.len());
            }
        }
    }
}

fn small_file() -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}"#;
    raw(header, &[7; 22])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        let header: String = bytes.iter().map(|b| char::from(b % 96 + 32)).collect();
        read_all(&raw(&header, &bytes));
    }

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..160, any::<u8>()), 1..4), end in 0usize..160) {
        let mut bytes = small_file();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        read_all(&bytes);
        bytes.truncate(end);
        read_all(&bytes);
    }

    #[test]
    fn changed_digits_of_shapes_and_offsets_never_panic(changes in prop::collection::vec((0usize..160, 0u8..10), 1..4)) {
        let mut bytes = small_file();
        for (at, digit) in changes {
            if let Some(byte) = bytes.get_mut(at).filter(|byte| byte.is_ascii_digit()) {
                *byte = b'0' + digit;
            }
        }
        read_all(&bytes);
    }
}
