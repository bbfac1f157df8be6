//! `adapter_config.json`: what PEFT would compute with it, or a refusal by name.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::pattern::Pattern;
use super::targets::{Targets, texts};
use crate::error::ModelError;
use crate::files::config::HfConfig;

/// The file of an adapter's settings.
pub(super) const CONFIG: &str = "adapter_config.json";

/// Settings that are read.
const READ: &[&str] = &[
    "alpha_pattern",
    "base_model_name_or_path",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Settings that do not change what a trained adapter of linear layers computes.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "corda_config",
    // Ties what is saved whole or what is targeted to a tied head; neither is accepted.
    "ensure_weight_tying",
    "eva_config",
    // PEFT sets it to false for linear layers.
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_dtype",
    "lora_ga_config",
    // Learning rates of another program.
    "lorap_emb_lr",
    "lorap_lr_ratio",
    "megatron_core",
    "merge_weights",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    // A backward pass of its own.
    "velora_config",
];

/// What to do with an adapter that is refused.
const MERGE: &str = "fold it into its base with PEFT (merge_and_unload, then save_pretrained) and use the folder of the merged model";

/// Settings under which an adapter computes something else, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("alora_invocation_tokens", "an activated LoRA works on the tokens behind an invocation alone"),
    ("arrow_config", "Arrow routes each token among several adapters"),
    ("kasa_config", "KaSA truncates the base's weights and puts a diagonal between the factors"),
    ("layer_replication", "it makes a model with more layers than the base"),
    ("lora_bias", "the second factor has a bias"),
    ("megatron_config", "it is an adapter of Megatron's parallel layers"),
    ("monteclora_config", "it samples the adapter's weights"),
    ("target_parameters", "it adapts parameters that are no linear layers"),
    ("trainable_token_indices", "it replaces rows of the embedding"),
    ("use_bdlora", "its factors are block-diagonal"),
    ("use_dora", "DoRA also scales the norm of every row of the weights"),
    ("use_qalora", "QALoRA pools the inputs of a layer"),
];

/// Initial values that leave the base's weights as they are.
const PLAIN_STARTS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// An adapter's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    pub config: HfConfig,
    pub targets: Targets,
    pub r: usize,
    pub lora_alpha: f64,
    pub use_rslora: bool,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    /// Modules that are saved whole.
    pub saved: Vec<String>,
}

impl Settings {
    /// Reads the settings of an adapter's folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(CONFIG);
        if !path.is_file() {
            return Err(ModelError::MissingFile { folder: folder.into(), file: CONFIG });
        }
        let text = fs::read_to_string(&path).map_err(ModelError::io(&path))?;
        let fields: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: path.clone(), source })?;
        let config = HfConfig::new(&path, fields);
        check(&config)?;
        Ok(Self {
            targets: Targets::read(&config)?,
            r: config.size("r")?,
            lora_alpha: config.number("lora_alpha", 8.0)?,
            use_rslora: config.flag("use_rslora", false)?,
            ranks: patterns(&config, "rank_pattern", |value| {
                value.as_u64().filter(|r| (1..=1 << 16).contains(r)).map(|r| r as usize)
            })?,
            alphas: patterns(&config, "alpha_pattern", Value::as_f64)?,
            saved: texts(&config, "modules_to_save")?,
            config,
        })
    }

    /// Rank and numerator of the scale of a layer.
    pub fn rank_and_alpha(&self, name: &str) -> Result<(usize, f64), ModelError> {
        let rank = first(&self.ranks, name).map_err(|r| self.config.wrong("rank_pattern", &r))?;
        let alpha =
            first(&self.alphas, name).map_err(|r| self.config.wrong("alpha_pattern", &r))?;
        Ok((rank.unwrap_or(self.r), alpha.unwrap_or(self.lora_alpha)))
    }

    /// Whether a module gets factors.
    pub fn targets(&self, name: &str) -> Result<bool, ModelError> {
        let found = self.targets.contain(name);
        found.map_err(|reason| self.config.wrong("target_modules", &reason))
    }

    /// The base that the adapter was made for, for messages.
    pub fn base(&self) -> String {
        let base = self.config.fields().get("base_model_name_or_path").and_then(Value::as_str);
        base.map_or("another model".into(), |base| format!("`{base}`"))
    }

    /// Refuses a module with a reason and what to do.
    pub fn refuse(&self, field: &str, reason: &str) -> ModelError {
        self.config.wrong(field, &format!("other modules: {reason}; {MERGE}"))
    }
}

fn first<T: Copy>(patterns: &[(Pattern, T)], name: &str) -> Result<Option<T>, String> {
    for (pattern, value) in patterns {
        if pattern.matches(name)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

/// A setting that gives values to names, in its order.
fn patterns<T>(
    config: &HfConfig,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Pattern, T)>, ModelError> {
    let Some(value) = config.present(field) else { return Ok(Vec::new()) };
    let wrong = || config.wrong(field, "an object of names or regular expressions and numbers");
    let entries = value.as_object().ok_or_else(wrong)?;
    let mut patterns = Vec::new();
    for (key, value) in entries {
        let pattern = Pattern::within(key, r"(.*\.)?(", r")$");
        let pattern = pattern.map_err(|reason| config.wrong(field, &reason))?;
        patterns.push((pattern, read(value).ok_or_else(wrong)?));
    }
    Ok(patterns)
}

/// Refuses settings under which an adapter would compute something else than `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`.
fn check(config: &HfConfig) -> Result<(), ModelError> {
    if config.text("peft_type")? != Some("LORA") {
        return Err(config
            .wrong("peft_type", &format!("\"LORA\"; other methods are not supported: {MERGE}")));
    }
    for (field, reason) in REFUSED {
        if config.fields().get(*field).is_some_and(set) {
            return Err(config.wrong(field, &format!("no such setting: {reason}; {MERGE}")));
        }
    }
    for (field, value) in config.fields() {
        let known = READ.contains(&field.as_str()) || HARMLESS.contains(&field.as_str());
        if !known && set(value) {
            return Err(config.unsupported(field, value));
        }
    }
    start(config)?;
    let biases = [json!("none"), json!("all"), json!("lora_only")];
    match config.present("bias") {
        Some(value) if !biases.contains(value) => {
            Err(config.wrong("bias", "\"none\", \"all\" or \"lora_only\""))
        }
        _ => Ok(()),
    }
}

/// Whether a setting has a value that can mean something.
fn set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base's weights when an adapter starts, so that
/// the plain base is not the one that the adapter belongs to.
fn start(config: &HfConfig) -> Result<(), ModelError> {
    let field = "init_lora_weights";
    match config.present(field) {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(name)) if PLAIN_STARTS.contains(&name.to_lowercase().as_str()) => Ok(()),
        Some(Value::String(_)) => Err(config.wrong(
            field,
            &format!(
                "true, false, \"gaussian\", \"eva\", \"orthogonal\" or \"mica\": others change the base's weights when training starts, so the adapter does not belong to the plain base; save it with PEFT's save_pretrained(path_initial_model_for_weight_conversion=…), or {MERGE}"
            ),
        )),
        Some(_) => Err(config.wrong(field, "true, false or a name")),
    }
}
