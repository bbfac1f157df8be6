//! Adapters by other programs: what PEFT computes with their settings, or a refusal by name.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use revealed_models::{CausalLm, PaddingSide, ScalarModel, TokenBatch};
use serde_json::{Value, json};
use support::{assert_close, device, host, ids, json_file, load, numbers, row_log_probs};

/// See `golden/README.md`.
const TOLERANCE: f32 = 1e-4;
const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

fn adapters(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/adapters")).join(name)
}

fn check(name: &str, folder: &Path, case: &Value) {
    let (base, rows) = (load(case["base"].as_str().unwrap()), ids(&case["rows"]));
    if let Some(scores) = case.get("scores") {
        let model = ScalarModel::load_adapter(base, folder).unwrap();
        let batch = TokenBatch::new(&rows, 0, PaddingSide::Right, &device()).unwrap();
        assert_close(&host(model.scores(&batch)), &numbers(scores), TOLERANCE, name);
        return;
    }
    let model = base.with_adapter(folder).unwrap_or_else(|error| panic!("{name}: {error}"));
    let whole: Vec<(Vec<u32>, usize)> = rows.into_iter().map(|row| (row, 1)).collect();
    let ours = row_log_probs(&model, &whole, PaddingSide::Right, 1.0).concat();
    assert_close(&ours, &numbers(&case["log_probs"]), TOLERANCE, name);
}

#[test]
fn every_golden_adapter_gives_what_peft_gives() {
    let expected = json_file(&adapters("expected.json"));
    for (name, case) in expected["cases"].as_object().unwrap() {
        check(name, &adapters(name), case);
    }
}

#[test]
fn a_loaded_adapter_is_saved_with_the_same_result() {
    let expected = json_file(&adapters("expected.json"));
    for (name, case) in expected["cases"].as_object().unwrap() {
        let out = tempfile::tempdir().unwrap();
        let base = load(case["base"].as_str().unwrap());
        match case.get("scores") {
            Some(_) => ScalarModel::load_adapter(base, &adapters(name))
                .unwrap()
                .save_adapter(out.path(), "base")
                .unwrap(),
            None => {
                base.with_adapter(&adapters(name))
                    .unwrap()
                    .save_adapter(out.path(), "base")
                    .unwrap();
            }
        }
        check(name, out.path(), case);
    }
    let out = tempfile::tempdir().unwrap();
    let model = load("llama3").with_adapter(&adapters("ranks")).unwrap();
    model.save_adapter(out.path(), "base").unwrap();
    let config = json_file(&out.path().join(CONFIG));
    assert_eq!(config["rank_pattern"]["model.layers.0.self_attn.q_proj"], 1);
    assert_eq!(config["target_modules"], json!(["q_proj", "up_proj", "v_proj"]));
}

/// A copy of a golden adapter with one setting changed.
fn with(name: &str, field: &str, value: Value) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    for file in [CONFIG, WEIGHTS] {
        fs::copy(adapters(name).join(file), out.path().join(file)).unwrap();
    }
    let mut config = json_file(&out.path().join(CONFIG));
    config[field] = value;
    fs::write(out.path().join(CONFIG), config.to_string()).unwrap();
    out
}

fn refused(folder: &Path) -> String {
    load("llama3").with_adapter(folder).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn settings_that_compute_something_else_are_refused_with_what_to_do() {
    for (field, value, part) in [
        ("use_dora", json!(true), "DoRA"),
        ("use_qalora", json!(true), "QALoRA"),
        ("use_bdlora", json!({"target_modules_bd_a": []}), "block-diagonal"),
        ("lora_bias", json!(true), "bias"),
        ("layer_replication", json!([[0, 2]]), "more layers"),
        ("alora_invocation_tokens", json!([3]), "invocation"),
        ("target_parameters", json!(["w"]), "parameters"),
        ("trainable_token_indices", json!([3]), "rows of the embedding"),
        ("arrow_config", json!({"top_k": 3}), "Arrow"),
        ("kasa_config", json!({"beta": 1}), "KaSA"),
        ("monteclora_config", json!({"num_samples": 1}), "samples"),
        ("megatron_config", json!({"tp": 2}), "Megatron"),
        ("peft_type", json!("IA3"), "\"LORA\""),
        ("peft_type", json!("PROMPT_TUNING"), "\"LORA\""),
        ("init_lora_weights", json!("pissa"), "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", json!("pissa_niter_4"), "change the base's weights"),
        ("init_lora_weights", json!("olora"), "change the base's weights"),
        ("init_lora_weights", json!("corda"), "change the base's weights"),
        ("init_lora_weights", json!("loftq"), "change the base's weights"),
        ("init_lora_weights", json!("lora_ga"), "change the base's weights"),
        ("modules_to_save", json!(["lm_head"]), "holds whole"),
        ("modules_to_save", json!(["embed_tokens", "lm_head"]), "holds whole"),
        ("modules_to_save", json!(["score"]), "classifier"),
        ("target_modules", json!(["q_proj", "lm_head"]), "`lm_head`"),
        ("target_modules", json!(["q_proj", "embed_tokens"]), "`model.embed_tokens`"),
        ("target_modules", json!(".*"), "`lm_head`"),
    ] {
        let message = refused(with("start-gaussian", field, value).path());
        for part in [CONFIG, field, part, "merge_and_unload"] {
            assert!(message.contains(part), "{field}: {message}");
        }
    }
}

#[test]
fn settings_that_cannot_be_read_are_refused_by_name() {
    for (field, value, part) in [
        ("target_modules", json!("("), "not a regular expression"),
        ("target_modules", json!("q_[[]proj"), "Python's"),
        ("target_modules", Value::Null, "\"all-linear\""),
        ("exclude_modules", json!(7), "a list of names"),
        ("exclude_modules", json!("("), "not a regular expression"),
        ("layers_to_transform", json!("0"), "a layer's number"),
        ("layers_pattern", json!("layers"), "without layers_to_transform"),
        ("rank_pattern", json!({"q_proj": 0}), "numbers"),
        ("rank_pattern", json!(["q_proj"]), "an object"),
        ("alpha_pattern", json!({"(": 3}), "not a regular expression"),
        ("alpha_pattern", json!({"q_proj": "3"}), "numbers"),
        ("bias", json!("some"), "\"lora_only\""),
        ("init_lora_weights", json!(3), "a name"),
        ("r", json!(-1), "a positive whole number"),
        ("new_setting", json!({"a": 1}), "could change the result"),
    ] {
        let message = refused(with("start-gaussian", field, value).path());
        assert!(message.contains(CONFIG) && message.contains(field), "{message}");
        assert!(message.contains(part), "{message}");
    }
    let message = refused(with("regex", "layers_to_transform", json!([0])).path());
    assert!(message.contains("nothing where target_modules is a text"), "{message}");
    let message = refused(with("regex", "target_modules", json!("q_proj")).path());
    assert!(
        message.contains("`q_proj (a text is a regular expression")
            && message.contains("down_proj"),
        "{message}"
    );
}

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// A copy of a golden adapter with other tensors.
fn rewritten(name: &str, change: impl FnOnce(&mut Tensors)) -> tempfile::TempDir {
    let out = with(name, "revision", Value::Null);
    let path = out.path().join(WEIGHTS);
    let mut files = revealed_models::TensorFiles::open(&[path.clone()], path.clone()).unwrap();
    let mut tensors: Tensors = Vec::new();
    for name in files.names() {
        let shape = files.shape(&name).unwrap().to_vec();
        let values = files.read(&name, &shape).unwrap();
        tensors.push((name, shape, values));
    }
    change(&mut tensors);
    let data = tensors
        .into_iter()
        .map(|(name, shape, values)| (name, burn::tensor::TensorData::new(values, shape)));
    revealed_models::write_tensors(&path, data.collect()).unwrap();
    out
}

#[test]
fn tensors_that_peft_would_not_load_are_named() {
    let renamed = |from: &'static str, to: &'static str| {
        refused(
            rewritten("start-gaussian", |tensors| {
                tensors.iter_mut().for_each(|(name, ..)| *name = name.replace(from, to));
            })
            .path(),
        )
    };
    for (from, to) in [("lora_A.weight", "lora_A.default.weight"), ("base_model.model.", "")] {
        let message = renamed(from, to);
        assert!(message.contains("PEFT does not load") && message.contains(WEIGHTS), "{message}");
    }
    let message = renamed("lora_A.weight", "lora_magnitude_vector");
    assert!(message.contains("DoRA"), "{message}");
    for (from, to) in [("layers.1.", "layers.7."), ("base_model.model.", "base_model.")] {
        let message = renamed(from, to);
        assert!(message.contains("layers.") && message.contains("missing"), "{message}");
    }
    let bias = rewritten("bias-without-biases", |tensors| {
        let name = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias";
        tensors.push((name.into(), vec![1], vec![0.0]));
    });
    let message = refused(bias.path());
    assert!(message.contains("trained bias"), "{message}");
    // Buffers that old versions of Transformers saved hold no weights.
    let buffer = rewritten("start-gaussian", |tensors| {
        let name = "base_model.model.model.layers.0.self_attn.rotary_emb.inv_freq";
        tensors.push((name.into(), vec![1], vec![0.0]));
    });
    load("llama3").with_adapter(buffer.path()).unwrap();
}

#[test]
fn an_adapter_of_another_base_is_named() {
    let expected = ["found shape", "the adapter was made for `../../models/llama3`"];
    let other = CausalLm::with_adapter(load("llama-bias"), &adapters("names"));
    let other = other.err().map(|error| error.to_string());
    let pythia = load("pythia").with_adapter(&adapters("names")).map(|_| ()).unwrap_err();
    assert!(pythia.to_string().contains("query_key_value"), "{pythia}");
    if let Some(message) = other {
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    }
    let wide = rewritten("start-gaussian", |tensors| {
        for (name, shape, values) in tensors {
            if name.ends_with("lora_A.weight") {
                *shape = vec![shape[0], 2 * shape[1]];
                values.extend(values.clone());
            }
        }
    });
    let message = refused(wide.path());
    assert!(expected.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn pickled_weights_are_refused_with_what_to_do() {
    let out = with("start-gaussian", "revision", Value::Null);
    fs::rename(out.path().join(WEIGHTS), out.path().join("adapter_model.bin")).unwrap();
    let message = refused(out.path());
    assert!(
        message.contains("adapter_model.bin") && message.contains("save_pretrained"),
        "{message}"
    );
}

#[test]
fn a_reward_s_adapter_has_one_head_of_one_output() {
    let reward = |folder: &Path| {
        ScalarModel::load_adapter(load("llama3"), folder).map(|_| ()).unwrap_err().to_string()
    };
    let message =
        reward(with("reward", "modules_to_save", json!(["score", "embed_tokens"])).path());
    assert!(message.contains("modules_to_save") && message.contains("`score`"), "{message}");
    let two = rewritten("reward", |tensors| {
        for (name, shape, values) in tensors {
            if name.ends_with("score.weight") {
                shape[0] = 2;
                values.extend(values.clone());
            }
        }
    });
    let message = reward(two.path());
    assert!(message.contains("2 outputs"), "{message}");
    let message = reward(&adapters("regex"));
    assert!(message.contains("score.weight") && message.contains("missing"), "{message}");
}
