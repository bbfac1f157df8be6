//! Adapters as PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::causal_lm::CausalLm;
use crate::config::HfConfig;
use crate::error::ModelError;
use crate::folder::{write_json, write_tensors};
use crate::lora::LoraConfig;
use crate::scalar::ScalarModel;
use crate::weights::TensorFiles;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

impl CausalLm {
    /// Writes the attached adapter as a PEFT folder; `base` is its `base_model_name_or_path`.
    ///
    /// # Errors
    /// When no adapter is attached, or the folder cannot be written.
    pub fn save_adapter(&self, folder: &Path, base: &str) -> Result<(), ModelError> {
        let config = self.lora().ok_or(ModelError::NoAdapter)?;
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        write_tensors(&folder.join(WEIGHTS), self.adapter_tensors())?;
        write_json(&folder.join(CONFIG), &adapter_json(self, config, base, "CAUSAL_LM", None))
    }

    /// Attaches the adapter of a PEFT folder, trainable.
    ///
    /// # Errors
    /// When it is not a plain LoRA adapter for this model, or a tensor is missing, extra or misshapen.
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self, ModelError> {
        let files = attach(&mut self, folder)?;
        files.finish(|_| false)?;
        Ok(self)
    }
}

impl ScalarModel {
    /// Writes adapter and head as a PEFT folder of task `SEQ_CLS`, the head under `modules_to_save`.
    ///
    /// # Errors
    /// When no adapter is attached, or the folder cannot be written.
    pub fn save_adapter(&self, folder: &Path, base: &str) -> Result<(), ModelError> {
        let config = self.backbone.lora().ok_or(ModelError::NoAdapter)?;
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let mut tensors = self.backbone.adapter_tensors();
        tensors.push((head_name(), self.head_data()));
        write_tensors(&folder.join(WEIGHTS), tensors)?;
        let json = adapter_json(&self.backbone, config, base, "SEQ_CLS", Some(Self::HEAD));
        write_json(&folder.join(CONFIG), &json)
    }

    /// Puts adapter and head of a PEFT folder on a base model.
    ///
    /// # Errors
    /// As [`CausalLm::with_adapter`].
    pub fn load_adapter(mut base: CausalLm, folder: &Path) -> Result<Self, ModelError> {
        let mut files = attach(&mut base, folder)?;
        let width = base.shape().hidden_size;
        let head = files.read(&head_name(), &[1, width])?;
        files.finish(|_| false)?;
        Ok(Self::with_head(base, head))
    }
}

fn head_name() -> String {
    format!("base_model.model.{}.weight", ScalarModel::HEAD)
}

fn adapter_json(
    model: &CausalLm,
    config: &LoraConfig,
    base: &str,
    task: &str,
    saved: Option<&str>,
) -> Value {
    // PEFT counts the reward's head among all linear layers, so that word is not passed on.
    let mut targets: Vec<&str> = match config.all_linear() {
        true => {
            (model.decoder.linears()).filter_map(|layer| layer.name.rsplit('.').next()).collect()
        }
        false => config.target_modules.iter().map(String::as_str).collect(),
    };
    targets.sort_unstable();
    targets.dedup();
    json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": 0.0,
        "modules_to_save": saved.map(|name| vec![name]),
        "peft_type": "LORA",
        "r": config.r,
        "target_modules": targets,
        "task_type": task,
        "use_dora": false,
        "use_rslora": config.use_rslora,
    })
}

/// Settings that are read, or that do not change what a trained adapter computes.
const KNOWN: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Refuses settings under which an adapter would compute something else than `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`.
fn read_config(folder: &Path) -> Result<LoraConfig, ModelError> {
    let path = folder.join(CONFIG);
    if !path.is_file() {
        return Err(ModelError::MissingFile { folder: folder.into(), file: CONFIG });
    }
    let text = fs::read_to_string(&path).map_err(ModelError::io(&path))?;
    let fields: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|source| ModelError::Json { path: path.clone(), source })?;
    let config = HfConfig::new(&path, fields);
    if config.text("peft_type")? != Some("LORA") {
        return Err(config.wrong("peft_type", "\"LORA\""));
    }
    let plain = [("bias", json!("none")), ("init_lora_weights", json!(true))];
    for (field, value) in plain {
        config.only(field, &[value])?;
    }
    for (field, value) in config.fields() {
        let unset = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !unset && !KNOWN.contains(&field.as_str()) {
            return Err(config.unsupported(field, value));
        }
    }
    if let Some(saved) = config.present("modules_to_save") {
        let heads = |names: &Vec<Value>| names.iter().all(|n| n == "score" || n == "classifier");
        if !saved.as_array().is_some_and(heads) {
            return Err(config.unsupported("modules_to_save", saved));
        }
    }
    let targets = match config.present("target_modules") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(|name| name.as_str().map(String::from)).collect()
        }
        _ => Vec::new(),
    };
    if targets.is_empty() {
        return Err(config.wrong("target_modules", "a list of layer names"));
    }
    let r = config.size("r")?;
    Ok(LoraConfig {
        r,
        lora_alpha: config.number("lora_alpha", 8.0)?,
        target_modules: targets,
        use_rslora: config.flag("use_rslora", false)?,
    })
}

fn attach(model: &mut CausalLm, folder: &Path) -> Result<TensorFiles, ModelError> {
    let config = read_config(folder)?;
    let path = folder.join(WEIGHTS);
    if !path.is_file() {
        return Err(ModelError::MissingFile { folder: folder.into(), file: WEIGHTS });
    }
    let mut files = TensorFiles::open(std::slice::from_ref(&path), path.clone())?;
    model.set_lora(&config, |layer| {
        let [out, width] = layer.weight.val().dims();
        let name = |factor| format!("base_model.model.{}.{factor}.weight", layer.name);
        if !config.applies_to(&layer.name) {
            return Ok(None);
        }
        let a = files.read(&name("lora_A"), &[config.r, width])?;
        let b = files.read(&name("lora_B"), &[out, config.r])?;
        Ok(Some((a, b)))
    })?;
    Ok(files)
}
