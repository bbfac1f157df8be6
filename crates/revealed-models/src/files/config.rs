//! Reading `config.json` in the spellings of Transformers 4 and 5.
//!
//! Fields that the model's class reads in Transformers are honoured, or refused by name. Fields
//! that it does not read are accepted, as Transformers accepts them, and listed by
//! [`HfConfig::ignored_fields`]; unless they are a sign of another kind of model, whose weights
//! would be read wrongly: these are refused by name, with the reason.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::ModelError;

mod classes;
mod families;
mod ignored;
mod signs;

pub(crate) use classes::Class;
use families::FAMILIES;

/// The fields of one `config.json`, with its path for messages.
#[derive(Debug, Clone)]
pub struct HfConfig {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl HfConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// When the file is missing, not JSON, or not an object.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        if !path.is_file() && folder.join("adapter_config.json").is_file() {
            let base = adapter_base(folder);
            return Err(ModelError::AdapterFolder { folder: folder.into(), base });
        }
        if !path.is_file() {
            return Err(ModelError::MissingFile { folder: folder.into(), file: "config.json" });
        }
        let text = std::fs::read_to_string(&path).map_err(ModelError::io(&path))?;
        let fields = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: path.clone(), source })?;
        Ok(Self { path, fields })
    }

    /// Takes fields that are already in memory; `path` is used in messages only.
    pub fn new(path: impl Into<PathBuf>, fields: Map<String, Value>) -> Self {
        Self { path: path.into(), fields }
    }

    /// All fields, as they will be written again.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Where the config was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `model_type`, which chooses the architecture.
    pub(crate) fn model_type(&self) -> Result<&str, ModelError> {
        self.fields
            .get("model_type")
            .and_then(Value::as_str)
            .ok_or_else(|| self.wrong("model_type", "a string"))
    }

    /// Refuses a `model_type` that this crate does not have.
    pub(crate) fn check_model_type(&self) -> Result<(), ModelError> {
        match families::family(self.model_type()?) {
            None => Err(self.unsupported_model()),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn unsupported_model(&self) -> ModelError {
        ModelError::UnsupportedModel {
            path: self.path.clone(),
            found: self.model_type().unwrap_or_default().into(),
            supported: FAMILIES.iter().map(|f| f.model_type).collect::<Vec<_>>().join(", "),
        }
    }

    /// Names of the classes in Transformers, for `architectures`: causal, classification.
    pub(crate) fn class_names(&self) -> Result<[String; 2], ModelError> {
        let family =
            families::family(self.model_type()?).ok_or_else(|| self.unsupported_model())?;
        let (causal, text) = (family.class_stem, family.text_stem);
        Ok([format!("{causal}ForCausalLM"), format!("{text}ForSequenceClassification")])
    }

    pub(crate) fn wrong(&self, field: &str, expected: &str) -> ModelError {
        ModelError::Field {
            path: self.path.clone(),
            field: field.into(),
            found: self.fields.get(field).map_or("nothing".into(), Value::to_string),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(&self, field: &str, value: &Value) -> ModelError {
        ModelError::UnsupportedField {
            path: self.path.clone(),
            field: field.into(),
            value: short(value),
        }
    }

    /// A field that is a sign of another kind of model.
    pub(crate) fn other_kind(&self, field: &str, value: &Value, reason: &str) -> ModelError {
        ModelError::OtherKind {
            path: self.path.clone(),
            field: field.into(),
            value: short(value),
            reason: reason.into(),
        }
    }

    /// Sets a field to what was found to be right, so that it is written so.
    pub(crate) fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.into(), value);
    }

    /// A field that is there and not null.
    pub(crate) fn present(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, field: &str) -> Result<usize, ModelError> {
        self.optional_size(field)?.ok_or_else(|| self.wrong(field, "a positive whole number"))
    }

    pub(crate) fn optional_size(&self, field: &str) -> Result<Option<usize>, ModelError> {
        const LARGEST: u64 = 1 << 31;
        match self.present(field) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(n) if (1..=LARGEST).contains(&n) => Ok(Some(n as usize)),
                _ => Err(self.wrong(field, "a positive whole number")),
            },
        }
    }

    /// A size that a class has a value of its own for where the field is missing; null is `None`.
    pub(crate) fn size_or(&self, field: &str, missing: usize) -> Result<Option<usize>, ModelError> {
        match self.fields.contains_key(field) {
            true => self.optional_size(field),
            false => Ok(Some(missing)),
        }
    }

    /// A count that may be zero.
    pub(crate) fn count(&self, field: &str, default: usize) -> Result<usize, ModelError> {
        match self.present(field) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .map(|n| n as usize)
                .ok_or_else(|| self.wrong(field, "a whole number")),
        }
    }

    pub(crate) fn number(&self, field: &str, default: f64) -> Result<f64, ModelError> {
        match self.present(field) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(field, "a number")),
        }
    }

    pub(crate) fn flag(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.present(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "true or false")),
        }
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>, ModelError> {
        match self.present(field) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(field, "a string")),
        }
    }

    /// Refuses fields that show that the checkpoint is of another kind than its `model_type`.
    pub(crate) fn refuse_other_kinds(&self) -> Result<(), ModelError> {
        let model_type = self.model_type()?;
        for (field, value) in &self.fields {
            if families::read_by(model_type).contains(&field.as_str()) {
                continue;
            }
            if let Some(reason) = signs::other_kind(model_type, field, value) {
                return Err(self.other_kind(field, value, &reason));
            }
        }
        Ok(())
    }

    /// `layer_types` (Transformers 5): per layer, whether it slides.
    pub(crate) fn layer_types(&self, layers: usize) -> Result<Option<Vec<bool>>, ModelError> {
        let Some(value) = self.present("layer_types") else {
            return Ok(None);
        };
        let kinds: Option<Vec<bool>> = value.as_array().and_then(|kinds| {
            kinds
                .iter()
                .map(|kind| match kind.as_str() {
                    Some("full_attention" | "attention") => Some(false),
                    Some("sliding_attention") => Some(true),
                    _ => None,
                })
                .collect()
        });
        match kinds {
            Some(kinds) if kinds.len() == layers => Ok(Some(kinds)),
            _ => Err(self.wrong(
                "layer_types",
                "one of \"full_attention\", \"sliding_attention\" for each layer",
            )),
        }
    }
}

/// A value as messages show it.
fn short(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The base that an adapter's config names, for messages.
fn adapter_base(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap_or_default();
    let fields: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let base = fields.get("base_model_name_or_path").and_then(Value::as_str);
    base.filter(|base| !base.is_empty()).unwrap_or("its base model").into()
}
