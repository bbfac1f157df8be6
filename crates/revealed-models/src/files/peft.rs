//! Adapters as PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.

mod pattern;
mod settings;
mod targets;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use self::settings::{CONFIG, Settings};
use crate::causal_lm::{CausalLm, harmless};
use crate::error::ModelError;
use crate::files::folder::{write_json, write_tensors};
use crate::files::weights::TensorFiles;
use crate::layers::Linear;
use crate::lora::{Factors, LoraConfig};
use crate::scalar::ScalarModel;

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
    /// When it is not a LoRA adapter for this model that computes what PEFT's does, or a tensor is
    /// missing, extra or misshapen.
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self, ModelError> {
        let settings = Settings::read(folder)?;
        if let Some(name) = settings.saved.first() {
            let reason = match HEADS.contains(&name.as_str()) {
                true => {
                    "it is an adapter of a classifier, which is a reward here and no language model"
                }
                false => "modules that an adapter holds whole are not read",
            };
            return Err(settings.refuse("modules_to_save", reason));
        }
        for module in [self.decoder.names().heads[0], self.decoder.names().embedding] {
            refuse_target(&settings, module)?;
        }
        attach(&mut self, &settings, folder)?.finish(harmless)?;
        Ok(self)
    }
}

impl ScalarModel {
    /// Writes adapter and head as a PEFT folder of task `SEQ_CLS`, the head under
    /// `modules_to_save`.
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
        let settings = Settings::read(folder)?;
        if settings.saved.iter().any(|name| !HEADS.contains(&name.as_str())) {
            let reason = "of modules that an adapter holds whole only the head `score` is read";
            return Err(settings.refuse("modules_to_save", reason));
        }
        for module in [Self::HEAD, base.decoder.names().embedding] {
            refuse_target(&settings, module)?;
        }
        let mut files = attach(&mut base, &settings, folder)?;
        let width = base.shape().hidden_size;
        if let Some(found) = files.shape(&head_name()).filter(|shape| *shape != [1, width]) {
            let reason = match found {
                [outputs, found] if *found == width => {
                    format!("it has {outputs} outputs; a reward has one")
                }
                found => misfit(found, &[1, width], &settings),
            };
            let path = folder.join(WEIGHTS);
            return Err(ModelError::Tensor { path, tensor: head_name(), reason });
        }
        let head = files.read(&head_name(), &[1, width])?;
        files.finish(harmless)?;
        Ok(Self::with_head(base, head))
    }
}

/// Names under which PEFT saves a classifier's head.
const HEADS: [&str; 2] = ["score", "classifier"];

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
    let (ranks, alphas) = exceptions(model, config);
    json!({
        "alpha_pattern": alphas,
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
        "rank_pattern": ranks,
        "target_modules": target_names(model, config),
        "task_type": task,
        "use_dora": false,
        "use_rslora": config.use_rslora,
    })
}

/// The names that the settings have, where they mean the layers with factors, else those layers by
/// their whole names.
fn target_names<'a>(model: &'a CausalLm, config: &'a LoraConfig) -> Vec<&'a str> {
    let exact = (model.decoder.linears())
        .all(|layer| layer.lora.is_some() == config.applies_to(&layer.name));
    let mut targets: Vec<&str> = match (exact, config.all_linear()) {
        // PEFT counts the reward's head among all linear layers, so that word is not passed on.
        (true, true) => {
            (model.decoder.linears()).filter_map(|layer| layer.name.rsplit('.').next()).collect()
        }
        (true, false) => config.target_modules.iter().map(String::as_str).collect(),
        (false, _) => {
            let adapted = model.decoder.linears().filter(|layer| layer.lora.is_some());
            adapted.map(|layer| layer.name.as_str()).collect()
        }
    };
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// Layers whose rank or scale is not that of the settings, as `rank_pattern` and `alpha_pattern`.
fn exceptions(model: &CausalLm, config: &LoraConfig) -> (Map<String, Value>, Map<String, Value>) {
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for layer in model.decoder.linears() {
        let Some(lora) = &layer.lora else { continue };
        let [r, _] = lora.a.val().dims();
        if r != config.r {
            ranks.insert(layer.name.clone(), json!(r));
        }
        let same = LoraConfig { r, ..config.clone() };
        if lora.scale != same.scale() {
            // The scale of a numerator of 1.
            let unit = LoraConfig { lora_alpha: 1.0, ..same }.scale();
            alphas.insert(layer.name.clone(), json!(lora.scale / unit));
        }
    }
    (ranks, alphas)
}

/// Refuses factors of a module that is no linear layer of the decoder.
fn refuse_target(settings: &Settings, module: &str) -> Result<(), ModelError> {
    // Without a pattern the embedding and the head are not among the linear layers that are meant.
    match !settings.targets.all_linear() && settings.targets(module)? {
        true => {
            let reason = format!("factors of `{module}` are not read");
            Err(settings.refuse("target_modules", &reason))
        }
        false => Ok(()),
    }
}

/// Attaches the factors in a folder and gives the file, whose other tensors are still to be read.
fn attach(
    model: &mut CausalLm,
    settings: &Settings,
    folder: &Path,
) -> Result<TensorFiles, ModelError> {
    let path = folder.join(WEIGHTS);
    if !path.is_file() {
        return Err(no_weights(folder));
    }
    let mut files = TensorFiles::open(std::slice::from_ref(&path), path.clone())?;
    check_names(&files, &path)?;
    let mut adapted: Vec<String> = Vec::new();
    for layer in model.decoder.linears() {
        if settings.targets(&layer.name)? {
            adapted.push(layer.name.clone());
        }
    }
    if adapted.is_empty() {
        return Err(no_target(model, settings));
    }
    let config = lora_config(model, settings, &adapted);
    config.check_numbers()?;
    model.set_lora(config, |layer| {
        if !adapted.contains(&layer.name) {
            return Ok(None);
        }
        let (r, lora_alpha) = settings.rank_and_alpha(&layer.name)?;
        let one =
            LoraConfig { r, lora_alpha, use_rslora: settings.use_rslora, target_modules: vec![] };
        one.check_numbers()?;
        let scale = one.scale();
        let [a, b] = read_factors(&mut files, &path, layer, r, settings)?;
        Ok(Some(Factors { r, scale, a, b }))
    })?;
    Ok(files)
}

/// The settings in the form that is written again: the names as they are where they are a plain
/// list, else the names of the layers.
fn lora_config(model: &CausalLm, settings: &Settings, adapted: &[String]) -> LoraConfig {
    let mut config = LoraConfig {
        r: settings.r,
        lora_alpha: settings.lora_alpha,
        use_rslora: settings.use_rslora,
        target_modules: match settings.targets.all_linear() {
            true => vec!["all-linear".into()],
            false => settings.targets.list().to_vec(),
        },
    };
    let same = |layer: &Linear| config.applies_to(&layer.name) == adapted.contains(&layer.name);
    if !model.decoder.linears().all(same) {
        config.target_modules = adapted.to_vec();
    }
    config
}

fn no_target(model: &CausalLm, settings: &Settings) -> ModelError {
    let target = match settings.config.fields().get("target_modules") {
        Some(Value::String(text)) => {
            format!("{text} (a text is a regular expression for whole names, a list holds names)")
        }
        Some(names) => names.to_string(),
        None => String::new(),
    };
    let mut last: Vec<&str> =
        model.decoder.linears().filter_map(|layer| layer.name.rsplit('.').next()).collect();
    last.sort_unstable();
    last.dedup();
    ModelError::NoTarget { target, available: last.join(", ") }
}

fn no_weights(folder: &Path) -> ModelError {
    let pickle = folder.join("adapter_model.bin");
    match pickle.is_file() {
        true => ModelError::Weights {
            path: pickle,
            reason: "the adapter's weights are a pickle, which can run code when it is read; load the adapter with PEFT and save it again (save_pretrained), which writes adapter_model.safetensors".into(),
        },
        false => ModelError::MissingFile { folder: folder.into(), file: WEIGHTS },
    }
}

/// Refuses names that PEFT's `save_pretrained` does not write, and biases.
fn check_names(files: &TensorFiles, path: &Path) -> Result<(), ModelError> {
    for name in files.names() {
        let reason = if name.ends_with(".bias") {
            "it is a trained bias (bias = \"all\" or \"lora_only\" in adapter_config.json), which is not read; fold the adapter into its base with PEFT (merge_and_unload)"
        } else if name.contains(".lora_magnitude_vector") {
            "it is a factor of DoRA, which is not supported; fold the adapter into its base with PEFT (merge_and_unload)"
        } else if name.contains(".lora_A.") || name.contains(".lora_B.") {
            let plain = name.starts_with("base_model.model.")
                && (name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight"));
            if plain {
                continue;
            }
            "PEFT does not load a factor of this name; expected base_model.model.LAYER.lora_A.weight, as PEFT's save_pretrained writes it"
        } else {
            continue;
        };
        return Err(ModelError::Tensor { path: path.into(), tensor: name, reason: reason.into() });
    }
    Ok(())
}

fn read_factors(
    files: &mut TensorFiles,
    path: &Path,
    layer: &Linear,
    r: usize,
    settings: &Settings,
) -> Result<[Vec<f32>; 2], ModelError> {
    let [out, width] = layer.weight.dims();
    let mut read = |factor: &str, shape: [usize; 2]| {
        let tensor = format!("base_model.model.{}.{factor}.weight", layer.name);
        if let Some(found) = files.shape(&tensor).filter(|found| *found != shape) {
            let reason = misfit(found, &shape, settings);
            return Err(ModelError::Tensor { path: path.into(), tensor, reason });
        }
        files.read(&tensor, &shape)
    };
    Ok([read("lora_A", [r, width])?, read("lora_B", [out, r])?])
}

fn misfit(found: &[usize], expected: &[usize], settings: &Settings) -> String {
    format!(
        "found shape {found:?}, this model and the adapter's rank ask for {expected:?}; the adapter was made for {}",
        settings.base()
    )
}
