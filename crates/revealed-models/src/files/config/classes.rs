//! `architectures`: the class that a checkpoint was saved from.

use serde_json::Value;

use super::HfConfig;
use super::families::FAMILIES;
use crate::error::ModelError;

/// What a folder is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A decoder with an output head.
    CausalLm,
    /// A decoder with one score.
    Classification,
}

impl HfConfig {
    /// Refuses classes whose tensors have the same names as those of `wanted`, and another meaning.
    ///
    /// As in Transformers `model_type` chooses the class; without `architectures` it is all that is
    /// known.
    pub(crate) fn check_class(&self, wanted: Class) -> Result<(), ModelError> {
        let Some(value) = self.present("architectures") else { return Ok(()) };
        let names: Vec<&str> = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            Value::String(name) => vec![name],
            _ => return Err(self.wrong("architectures", "a list of class names")),
        };
        for name in names {
            let lower = name.to_ascii_lowercase();
            let stems = FAMILIES.iter().flat_map(|family| [family.text_stem, family.class_stem]);
            let mut stems = stems.map(str::to_ascii_lowercase);
            let ending = stems.find_map(|stem| lower.strip_prefix(&stem));
            match (ending, wanted) {
                (Some("forcausallm" | "model"), _) => {}
                (Some("forsequenceclassification"), Class::Classification) => {}
                (Some("forsequenceclassification"), Class::CausalLm) => {
                    let reason = "the folder is a reward or classifier, which has scores and no output head; use it as a reward, or give a causal language model";
                    return Err(self.other_kind("architectures", value, reason));
                }
                _ => {
                    let stems: Vec<&str> =
                        FAMILIES.iter().map(|family| family.class_stem).collect();
                    let reason = format!(
                        "this class is not supported: models are …ForCausalLM or …Model, rewards …ForSequenceClassification, of {}; if the weights are those of such a class, name it here",
                        stems.join(", ")
                    );
                    return Err(self.other_kind("architectures", value, &reason));
                }
            }
        }
        Ok(())
    }

    /// Refuses a classifier of more than one label.
    pub(crate) fn check_one_label(&self) -> Result<(), ModelError> {
        let (field, labels) = match (self.present("id2label"), self.present("num_labels")) {
            (Some(Value::Object(names)), _) => ("id2label", Some(names.len() as u64)),
            (_, Some(value)) => ("num_labels", value.as_u64()),
            _ => return Ok(()),
        };
        match labels {
            Some(1) => Ok(()),
            _ => {
                Err(self
                    .wrong(field, "one label: a reward has one score, and this is a classifier"))
            }
        }
    }

    /// `pad_token_id` as it may be written, if it is there: null where it is outside the
    /// vocabulary.
    pub(crate) fn pad_token_to_write(&self) -> Option<Value> {
        let value = self.present("pad_token_id")?;
        let vocab = self.present("vocab_size").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let inside = value.as_u64().is_some_and(|id| id < vocab);
        Some(if inside { value.clone() } else { Value::Null })
    }
}
