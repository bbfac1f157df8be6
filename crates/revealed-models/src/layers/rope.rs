//! The rope settings of `config.json`, resolved as Transformers 5 resolves them.
//!
//! A non-empty `rope_scaling` replaces `rope_parameters` as a whole. Inside the chosen object
//! `rope_type` has priority over `type`, and its `rope_theta` and `partial_rotary_factor` have priority
//! over the fields of the same name at the top level (GPT-NeoX: over `rotary_emb_base` and
//! `rotary_pct`). For `original_max_position_embeddings` the top level has priority over the object,
//! and `max_position_embeddings` is the default.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::layers::rotary::Rotary;

pub(crate) mod kinds;

/// The kinds of rope that this crate computes.
const KINDS: &str = "default, linear, dynamic, yarn, longrope, llama3, proportional";

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
    config: &'a HfConfig,
    dialect: Dialect,
    /// The field that holds the object: `rope_scaling` or `rope_parameters`.
    field: &'static str,
    object: Cow<'a, Map<String, Value>>,
    kind: String,
    theta: f64,
    part: f64,
    head_dim: usize,
    /// `max_position_embeddings`.
    positions: usize,
}

/// Reads the rope of a model with heads of `head_dim` and `positions` positions; gives also the
/// longest row that it is for.
///
/// # Errors
/// When Transformers cannot compute the settings either, or they rotate a part of the head in a
/// family that rotates whole heads.
pub(crate) fn read(
    config: &HfConfig,
    dialect: Dialect,
    head_dim: usize,
    positions: usize,
) -> Result<(Rotary, usize), ModelError> {
    let (field, object) = chosen(config)?;
    for (key, value) in object.iter() {
        if value.is_object() {
            return Err(config.other_kind(
                &format!("{field}.{key}"),
                value,
                "these are rope settings for each kind of layer; the families that are supported have one for all layers",
            ));
        }
    }
    let mut settings = Settings {
        config,
        dialect,
        field,
        object,
        kind: String::new(),
        theta: 0.0,
        part: 1.0,
        head_dim,
        positions,
    };
    settings.kind = settings.read_kind()?;
    settings.theta = settings.read_theta()?;
    settings.part = settings.read_part()?;
    let rotary = match settings.kind.as_str() {
        "default" => kinds::default(&settings)?,
        "linear" => kinds::linear(&settings)?,
        "dynamic" => kinds::dynamic(&settings)?,
        "yarn" => kinds::yarn(&settings)?,
        "longrope" => kinds::longrope(&settings)?,
        "llama3" => kinds::llama3(&settings)?,
        "proportional" => kinds::proportional(&settings)?,
        other => {
            return Err(settings.wrong(
                "rope_type",
                &Value::from(other),
                &format!("one of {KINDS}"),
            ));
        }
    };
    let context = settings.context()?;
    Ok((rotary, context))
}

/// A field and the object in it.
type Chosen<'a> = (&'static str, Cow<'a, Map<String, Value>>);

/// The object that Transformers reads, and the name of its field.
fn chosen(config: &HfConfig) -> Result<Chosen<'_>, ModelError> {
    let object = |field: &str| match config.present(field) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(config.wrong(field, "an object")),
    };
    let (scaling, parameters) = (object("rope_scaling")?, object("rope_parameters")?);
    Ok(match (scaling, parameters) {
        (Some(map), _) if !map.is_empty() => ("rope_scaling", Cow::Borrowed(map)),
        (_, Some(map)) => ("rope_parameters", Cow::Borrowed(map)),
        _ => ("rope_scaling", Cow::Owned(Map::new())),
    })
}

impl Settings<'_> {
    fn wrong(&self, key: &str, found: &Value, expected: &str) -> ModelError {
        ModelError::Field {
            path: self.config.path().into(),
            field: format!("{}.{key}", self.field),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    fn read_kind(&self) -> Result<String, ModelError> {
        let default = Value::from("default");
        let kind = self.object.get("rope_type").or(self.object.get("type")).unwrap_or(&default);
        let key = if self.object.contains_key("rope_type") { "rope_type" } else { "type" };
        let expected = format!("one of {KINDS}");
        kind.as_str().map(String::from).ok_or_else(|| self.wrong(key, kind, &expected))
    }

    /// A number of the object, or where it has none of the field at the top level; null is no
    /// number.
    fn number_or(&self, key: &str, top: &str, default: f64) -> Result<f64, ModelError> {
        if let Some(value) = self.object.get(key) {
            return value.as_f64().ok_or_else(|| self.wrong(key, value, "a number"));
        }
        match self.config.fields().get(top) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.config.wrong(top, "a number")),
        }
    }

    fn read_theta(&self) -> Result<f64, ModelError> {
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

    fn read_part(&self) -> Result<f64, ModelError> {
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
    fn refuse_conflict(&self, top: &str, used: f64) -> Result<(), ModelError> {
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

    fn wrong_part(&self, part: f64) -> ModelError {
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
    fn dims(&self) -> Result<usize, ModelError> {
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
    fn even_dims(&self) -> Result<usize, ModelError> {
        match self.dims()? {
            dims if dims % 2 == 0 => Ok(dims),
            _ => Err(self.wrong_part(self.part)),
        }
    }

    /// A number that may be absent or null.
    fn optional(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.object.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.wrong(key, value, "a number")),
            },
        }
    }

    /// A positive number that may be absent or null.
    fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let number = self.optional(key)?;
        match number {
            Some(number) if number <= 0.0 => {
                Err(self.wrong(key, &Value::from(number), "a positive number"))
            }
            other => Ok(other),
        }
    }

    /// A positive number that must be there.
    fn needed(&self, key: &str) -> Result<f64, ModelError> {
        let expected = format!("a positive number, which rope type `{}` needs", self.kind);
        let found = self.object.get(key).cloned().unwrap_or(Value::from("nothing"));
        self.positive(key)?.ok_or_else(|| self.wrong(key, &found, &expected))
    }

    /// The context before it was extended.
    fn original(&self) -> Result<f64, ModelError> {
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
    fn context(&self) -> Result<usize, ModelError> {
        let stretched = match self.kind.as_str() {
            "linear" | "dynamic" => self.positions as f64 * self.needed("factor")?,
            "yarn" => self.original()? * self.positive("factor")?.unwrap_or(1.0),
            _ => 0.0,
        };
        Ok(self.positions.max(stretched.min(f64::from(u32::MAX)) as usize))
    }
}

/// Rope settings that are there and that nothing reads: the unused object, top-level fields that
/// the object overrides, and keys that the kind does not have.
pub(crate) fn unread(config: &HfConfig) -> Vec<String> {
    let Ok((field, object)) = chosen(config) else { return Vec::new() };
    let mut unread = Vec::new();
    let parameters = config.present("rope_parameters").and_then(Value::as_object);
    if field == "rope_scaling" && parameters.is_some_and(|map| !map.is_empty() && *map != *object) {
        unread.push("rope_parameters".into());
    }
    for (key, top) in [
        ("rope_theta", "rope_theta"),
        ("rope_theta", "rotary_emb_base"),
        ("partial_rotary_factor", "partial_rotary_factor"),
        ("partial_rotary_factor", "rotary_pct"),
    ] {
        let used = object.get(key).and_then(Value::as_f64);
        let other = config.present(top).and_then(Value::as_f64);
        if let (Some(used), Some(other)) = (used, other)
            && used != other
        {
            unread.push(top.into());
        }
    }
    let kind = object.get("rope_type").or(object.get("type")).and_then(Value::as_str);
    let known = kinds::keys(kind.unwrap_or("default"));
    let general = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
    let stray = |key: &str| !general.contains(&key) && !known.contains(&key);
    unread.extend(
        (object.iter().filter(|(key, value)| stray(key) && !value.is_null()))
            .map(|(key, _)| format!("{field}.{key}")),
    );
    if let (Some("default" | "linear" | "dynamic" | "proportional") | None, Some(_)) =
        (kind, config.present("original_max_position_embeddings"))
    {
        unread.push("original_max_position_embeddings".into());
    }
    unread
}
