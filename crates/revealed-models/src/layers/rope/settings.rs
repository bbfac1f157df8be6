//! The rope settings that are read whatever the kind.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::ModelError;
use crate::files::config::HfConfig;

/// The kinds of rope that this crate computes.
pub(super) const KINDS: &str = "default, linear, dynamic, yarn, longrope, llama3, proportional";

/// How a family spells the settings, and what it rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Llama, Mistral, Qwen: `rope_theta`, whole heads.
    Llama,
    /// `rotary_emb_base` and `rotary_pct`, a part of each head.
    GptNeoX,
}

/// What is read of the settings whatever the kind.
pub(crate) struct Settings<'a> {
    pub(super) config: &'a HfConfig,
    pub(super) dialect: Dialect,
    /// The field that holds the object: `rope_scaling` or `rope_parameters`.
    pub(super) field: &'static str,
    pub(super) object: Cow<'a, Map<String, Value>>,
    pub(super) kind: String,
    pub(super) theta: f64,
    pub(super) part: f64,
    pub(super) head_dim: usize,
    /// `max_position_embeddings`.
    pub(super) positions: usize,
}

impl Settings<'_> {
    pub(super) fn wrong(&self, key: &str, found: &Value, expected: &str) -> ModelError {
        ModelError::Field {
            path: self.config.path().into(),
            field: format!("{}.{key}", self.field),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(super) fn read_kind(&self) -> Result<String, ModelError> {
        let default = Value::from("default");
        let kind = self.object.get("rope_type").or(self.object.get("type")).unwrap_or(&default);
        let key = if self.object.contains_key("rope_type") { "rope_type" } else { "type" };
        let expected = format!("one of {KINDS}");
        kind.as_str().map(String::from).ok_or_else(|| self.wrong(key, kind, &expected))
    }

    /// A number of the object, or where it has none of the field at the top level; null is no
    /// number.
    pub(super) fn number_or(&self, key: &str, top: &str, default: f64) -> Result<f64, ModelError> {
        if let Some(value) = self.object.get(key) {
            return value.as_f64().ok_or_else(|| self.wrong(key, value, "a number"));
        }
        match self.config.fields().get(top) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.config.wrong(top, "a number")),
        }
    }

    pub(super) fn read_theta(&self) -> Result<f64, ModelError> {
        let top = match self.dialect {
            Dialect::Llama => "rope_theta",
            Dialect::GptNeoX => "rotary_emb_base",
        };
        let theta = self.number_or("rope_theta", top, 10_000.0)?;
        if !(theta.is_finite() && theta > 0.0) {
            return Err(match self.object.get("rope_theta") {
                Some(value) => self.wrong("rope_theta", value, "a positive number"),
                None => self.config.wrong(top, "a positive number"),
            });
        }
        self.refuse_conflict("rope_theta", theta)?;
        Ok(theta)
    }

    pub(super) fn read_part(&self) -> Result<f64, ModelError> {
        let (top, default) = match self.dialect {
            Dialect::Llama => ("partial_rotary_factor", 1.0),
            Dialect::GptNeoX => ("rotary_pct", 0.25),
        };
        let null_at_top = self.config.fields().get(top).is_some_and(Value::is_null);
        let part = match self.dialect == Dialect::Llama && null_at_top {
            true => self.number_or("partial_rotary_factor", "", default)?,
            false => self.number_or("partial_rotary_factor", top, default)?,
        };
        if !(part > 0.0 && part <= 1.0) {
            return Err(self.wrong_part(part));
        }
        self.refuse_conflict("partial_rotary_factor", part)?;
        Ok(part)
    }

    /// GPT-NeoX reads neither `rope_theta` nor `partial_rotary_factor` at the top level.
    pub(super) fn refuse_conflict(&self, top: &str, used: f64) -> Result<(), ModelError> {
        match (self.dialect, self.config.present(top)) {
            (Dialect::GptNeoX, Some(value)) if value.as_f64() != Some(used) => {
                let reason = format!(
                    "GPT-NeoX does not read this field, and the fields that it reads give {used}; set rotary_emb_base, rotary_pct or rope_parameters to the right values and remove this one"
                );
                Err(self.config.other_kind(top, value, &reason))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn wrong_part(&self, part: f64) -> ModelError {
        let key = "partial_rotary_factor";
        let (top, expected) = match self.dialect {
            Dialect::Llama => (key, "1, as this family rotates whole heads"),
            Dialect::GptNeoX => ("rotary_pct", "a share in (0, 1] whose dimensions fit in a head"),
        };
        match self.object.contains_key(key) {
            true => self.wrong(key, &Value::from(part), expected),
            false => self.config.wrong(top, expected),
        }
    }

    /// Rotated dimensions, `int(head_dim · part)`; pairs of them fit in the head.
    pub(super) fn dims(&self) -> Result<usize, ModelError> {
        let dims = (self.head_dim as f64 * self.part) as usize;
        let whole = self.dialect == Dialect::Llama;
        if dims == 0 || dims.div_ceil(2) * 2 > self.head_dim || (whole && dims != self.head_dim) {
            return match whole && dims == self.head_dim {
                true => Err(self.config.wrong("head_dim", "an even number, as rope rotates pairs")),
                false => Err(self.wrong_part(self.part)),
            };
        }
        Ok(dims)
    }

    /// The same where the kind needs an even number.
    pub(super) fn even_dims(&self) -> Result<usize, ModelError> {
        match self.dims()? {
            dims if dims % 2 == 0 => Ok(dims),
            _ => Err(self.wrong_part(self.part)),
        }
    }

    /// A number that may be absent or null.
    pub(super) fn optional(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.object.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.wrong(key, value, "a number")),
            },
        }
    }

    /// A positive number that may be absent or null.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let number = self.optional(key)?;
        match number {
            Some(number) if number <= 0.0 => {
                Err(self.wrong(key, &Value::from(number), "a positive number"))
            }
            other => Ok(other),
        }
    }

    /// A positive number that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<f64, ModelError> {
        let expected = format!("a positive number, which rope type `{}` needs", self.kind);
        let found = self.object.get(key).cloned().unwrap_or(Value::from("nothing"));
        self.positive(key)?.ok_or_else(|| self.wrong(key, &found, &expected))
    }

    /// The context before it was extended.
    pub(super) fn original(&self) -> Result<f64, ModelError> {
        let key = "original_max_position_embeddings";
        let valid = |value: &Value| value.as_f64().filter(|n| n.is_finite() && *n > 0.0);
        if let Some(value) = self.config.fields().get(key) {
            return valid(value).ok_or_else(|| self.config.wrong(key, "a positive number"));
        }
        match self.object.get(key) {
            None => Ok(self.positions as f64),
            Some(value) => valid(value).ok_or_else(|| self.wrong(key, value, "a positive number")),
        }
    }

    /// The longest row: `max_position_embeddings`, stretched by kinds whose factor is not part of
    /// it.
    pub(super) fn context(&self) -> Result<usize, ModelError> {
        let stretched = match self.kind.as_str() {
            "linear" | "dynamic" => self.positions as f64 * self.needed("factor")?,
            "yarn" => self.original()? * self.positive("factor")?.unwrap_or(1.0),
            _ => 0.0,
        };
        Ok(self.positions.max(stretched.min(f64::from(u32::MAX)) as usize))
    }
}
