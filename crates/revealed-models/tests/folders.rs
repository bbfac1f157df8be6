//! What is written is what is read: full models, adapters, rewards, merged weights.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use revealed_models::{
    CausalLm, LoraConfig, ModelError, PaddingSide, ScalarModel, TensorFiles, TokenBatch,
    copy_tokenizer, write_file,
};
use support::{MODELS, assert_close, device, golden, host, json_file, load, row_logits};

const ROW: [u32; 9] = [3, 14, 15, 9, 26, 5, 35, 8, 60];

/// A base with an adapter whose second factor is not zero.
fn adapted(base: &str, targets: &[&str], use_rslora: bool) -> CausalLm {
    let config = LoraConfig {
        r: 3,
        lora_alpha: 5.0,
        target_modules: targets.iter().map(|t| t.to_string()).collect(),
        use_rslora,
    };
    let mut model = load(base).with_lora(&config, 4).unwrap();
    fill_second_factors(&mut model);
    model
}

fn fill_second_factors(model: &mut CausalLm) {
    use burn::module::{Module, ModuleMapper, Param};
    struct Fill;
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            let shape = param.dims();
            let count: usize = shape.iter().product();
            let values = (0..count).map(|i| ((i * 37 % 11) as f32 - 5.0) * 0.05);
            let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
            param.map(|_| Tensor::from_data(data, &device().autodiff()).require_grad())
        }
    }
    *model = model.clone().map(&mut Fill);
}

fn scores(model: &ScalarModel) -> Vec<f32> {
    let rows = [ROW.to_vec(), ROW[..4].to_vec()];
    host(model.scores(&TokenBatch::new(&rows, 0, PaddingSide::Right, &device()).unwrap()))
}

#[test]
fn a_saved_model_loads_with_bit_equal_logits_and_the_same_config() {
    for name in MODELS {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("new/model");
        let model = load(name);
        model.save(&folder).unwrap();
        let back = CausalLm::load(&folder, &device()).unwrap();
        assert_eq!(row_logits(&back, &ROW), row_logits(&model, &ROW), "{name}");
        let (old, new) = (golden(name).join("config.json"), folder.join("config.json"));
        let (mut old, new) = (json_file(&old), json_file(&new));
        old["dtype"] = "float32".into();
        assert_eq!(old, new, "{name}");
    }
}

#[test]
fn a_trained_or_random_model_is_saved_as_it_is() {
    let out = tempfile::tempdir().unwrap();
    let config = load("qwen3").config().clone();
    let model = CausalLm::random(config.clone(), 7, &device()).unwrap();
    let again = CausalLm::random(config, 7, &device()).unwrap();
    assert_eq!(row_logits(&model, &ROW), row_logits(&again, &ROW));
    model.clone().trainable().save(out.path()).unwrap();
    let back = CausalLm::load(out.path(), &device()).unwrap();
    assert_eq!(row_logits(&back, &ROW), row_logits(&model, &ROW));
}

#[test]
fn a_saved_adapter_loads_with_bit_equal_logits() {
    for (base, targets, rslora) in [
        ("llama3", &["q_proj", "down_proj"][..], false),
        ("pythia", &["all-linear"], true),
        ("qwen2", &["layers.1.mlp.up_proj", "v_proj"], false),
    ] {
        let out = tempfile::tempdir().unwrap();
        let model = adapted(base, targets, rslora);
        model.save_adapter(out.path(), base).unwrap();
        let back = load(base).with_adapter(out.path()).unwrap();
        assert_eq!(row_logits(&back, &ROW), row_logits(&model, &ROW), "{base}");
        assert_ne!(row_logits(&back, &ROW), row_logits(&load(base), &ROW), "{base}");
        assert_eq!(back.lora().map(LoraConfig::scale), model.lora().map(LoraConfig::scale));
    }
}

#[test]
fn merged_weights_give_the_logits_of_base_and_adapter() {
    for (base, rslora) in [("llama3", false), ("pythia", true), ("qwen3-mixed", false)] {
        let model = adapted(base, &["all-linear"], rslora);
        let merged = model.clone().merged().unwrap();
        assert!(merged.lora().is_none());
        let (ours, theirs) = (row_logits(&merged, &ROW), row_logits(&model, &ROW));
        assert_close(&ours, &theirs, 1e-5, base);
        let out = tempfile::tempdir().unwrap();
        merged.save(out.path()).unwrap();
        let back = CausalLm::load(out.path(), &device()).unwrap();
        assert_eq!(row_logits(&back, &ROW), ours, "{base}");
    }
    assert!(matches!(load("qwen2").merged(), Err(ModelError::NoAdapter)));
}

#[test]
fn a_saved_reward_loads_with_bit_equal_scores() {
    for name in ["qwen2", "llama3", "pythia"] {
        let out = tempfile::tempdir().unwrap();
        let model = ScalarModel::new(load(name), 3);
        model.save(out.path(), 2).unwrap();
        let back = ScalarModel::load(out.path(), &device()).unwrap();
        assert_eq!(scores(&back), scores(&model), "{name}");
        let config = json_file(&out.path().join("config.json"));
        assert_eq!(config["pad_token_id"], 2);
        let class = config["architectures"][0].as_str().unwrap();
        assert!(class.ends_with("ForSequenceClassification"), "{class}");
    }
}

#[test]
fn a_reward_s_pad_token_is_one_of_the_vocabulary() {
    let out = tempfile::tempdir().unwrap();
    let message = ScalarModel::new(load("qwen2"), 3).save(out.path(), 64).unwrap_err().to_string();
    assert!(message.contains("pad_token_id") && message.contains("vocabulary of 64"), "{message}");
}

#[test]
fn a_saved_reward_adapter_loads_with_bit_equal_scores() {
    let out = tempfile::tempdir().unwrap();
    let model = ScalarModel::new(adapted("llama3", &["q_proj", "v_proj"], false), 3);
    model.save_adapter(out.path(), "llama3").unwrap();
    let back = ScalarModel::load_adapter(load("llama3"), out.path()).unwrap();
    assert_eq!(scores(&back), scores(&model));
}

#[test]
fn a_model_with_an_adapter_is_not_saved_as_a_full_one_by_mistake() {
    let out = tempfile::tempdir().unwrap();
    let model = adapted("qwen2", &["q_proj"], false);
    let message = model.save(out.path()).unwrap_err().to_string();
    assert!(message.contains("merge it"), "{message}");
    let reward = ScalarModel::new(model.clone(), 1);
    let message = reward.save(out.path(), 0).unwrap_err().to_string();
    assert!(message.contains("merge it"), "{message}");
    let bare = model.without_lora().save_adapter(out.path(), "x");
    assert!(matches!(bare, Err(ModelError::NoAdapter)));
    assert_eq!(files(out.path()), Vec::<String>::new());
}

#[test]
fn writing_leaves_complete_files_only_and_replaces_old_ones() {
    let out = tempfile::tempdir().unwrap();
    let model = load("qwen2");
    model.save(out.path()).unwrap();
    model.save(out.path()).unwrap();
    assert_eq!(files(out.path()), ["config.json", "model.safetensors"]);
    let mode = |file: &str| std::fs::metadata(out.path().join(file)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(mode("model.safetensors").permissions().mode() & 0o777, 0o644);
    }
    assert!(mode("config.json").len() > 100);
    let missing = out.path().join("absent/file.json");
    let message = write_file(&missing, b"{}").unwrap_err().to_string();
    assert!(message.contains("absent"), "{message}");
}

#[test]
fn the_tokenizer_travels_with_the_model() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(from.path().join("tokenizer.json"), "{}").unwrap();
    std::fs::write(from.path().join("unrelated.txt"), "x").unwrap();
    let target = to.path().join("model");
    copy_tokenizer(from.path(), &target).unwrap();
    copy_tokenizer(&target, &target).unwrap();
    assert_eq!(files(&target), ["tokenizer.json"]);
}

#[test]
fn f16_tensors_are_read_as_f32() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("half.safetensors");
    let header = r#"{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    // 1.5 and -0.25 by the bits of IEEE 754 binary16.
    bytes.extend([0x00, 0x3e, 0x00, 0xb4]);
    std::fs::write(&path, bytes).unwrap();
    let mut files = TensorFiles::open(std::slice::from_ref(&path), path.clone()).unwrap();
    assert_eq!(files.read("h", &[2]).unwrap(), [1.5, -0.25]);
}

#[test]
fn f64_tensors_are_read_as_f32() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("double.safetensors");
    let header = r#"{"d":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    [1.5f64, -0.25].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    std::fs::write(&path, bytes).unwrap();
    let mut files = TensorFiles::open(std::slice::from_ref(&path), path.clone()).unwrap();
    assert_eq!(files.read("d", &[2]).unwrap(), [1.5, -0.25]);
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
