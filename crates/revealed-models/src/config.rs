//! Reading `config.json` in the spellings of Transformers 4 and 5, strictly.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::ModelError;

/// The fields of one `config.json`, with its path for messages.
#[derive(Debug, Clone)]
pub struct HfConfig {
    path: PathBuf,
    fields: Map<String, Value>,
}

/// Fields that never change the logits of a forward pass without dropout.
const HARMLESS: &[&str] = &[
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "max_position_embeddings",
    "max_window_layers",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "transformers.js_config",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "vocab_size",
    "revealed",
    "name_or_path",
    "summary_type",
    "seq_length",
    "bos_token",
    "eos_token",
];

impl HfConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// When the file is missing, not JSON, or not an object.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
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
            value: value.to_string(),
        }
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

    /// Refuses a field unless it is missing or has one of the listed values.
    pub(crate) fn only(&self, field: &str, accepted: &[Value]) -> Result<(), ModelError> {
        match self.present(field) {
            Some(value) if !accepted.contains(value) => Err(self.unsupported(field, value)),
            _ => Ok(()),
        }
    }

    /// Refuses every field that is neither known to the architecture nor harmless.
    pub(crate) fn refuse_unknown(&self, known: &[&str]) -> Result<(), ModelError> {
        for (field, value) in &self.fields {
            let silent =
                matches!(value, Value::Null | Value::Bool(false)) || field.starts_with('_');
            if !silent && !known.contains(&field.as_str()) && !HARMLESS.contains(&field.as_str()) {
                return Err(self.unsupported(field, value));
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
                    Some("full_attention") => Some(false),
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
