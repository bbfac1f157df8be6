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

mod kinds;
mod settings;

pub(crate) use settings::Dialect;
use settings::{KINDS, Settings};

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
        // Objects are settings of one kind of layer.
        (object.iter())
            .filter(|(key, value)| stray(key) && !value.is_null() && !value.is_object())
            .map(|(key, _)| format!("{field}.{key}")),
    );
    if let (Some("default" | "linear" | "dynamic" | "proportional") | None, Some(_)) =
        (kind, config.present("original_max_position_embeddings"))
    {
        unread.push("original_max_position_embeddings".into());
    }
    unread
}
