//! The frequencies of each kind of rope.
//!
//! Computed in f32 step by step, as Transformers computes them, so that far positions have the same
//! angles. Sources: RoFormer <https://arxiv.org/abs/2104.09864>, YaRN
//! <https://arxiv.org/abs/2309.00071>, LongRoPE <https://arxiv.org/abs/2402.13753>; Llama 3's bands
//! and the dynamic base as in Transformers.

use std::f64::consts::PI;

use serde_json::Value;

use super::settings::Settings;
use crate::error::ModelError;
use crate::layers::frequencies::{inverse, powers};
use crate::layers::rotary::{Beyond, LongRows, Rotary};

/// The keys that a kind reads, without those that all kinds have.
pub(super) fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "linear" | "dynamic" | "proportional" => &["factor"],
        "yarn" => &[
            "factor",
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ],
        "longrope" => &[
            "factor",
            "original_max_position_embeddings",
            "attention_factor",
            "short_factor",
            "long_factor",
        ],
        "llama3" => {
            &["factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"]
        }
        _ => &[],
    }
}

fn plain(frequencies: Vec<f32>) -> Rotary {
    Rotary { dims: 2 * frequencies.len(), frequencies, scale: 1.0, beyond: None }
}

pub(super) fn default(settings: &Settings) -> Result<Rotary, ModelError> {
    Ok(plain(inverse(settings.theta, settings.dims()?)))
}

/// All frequencies divided by a factor.
pub(super) fn linear(settings: &Settings) -> Result<Rotary, ModelError> {
    let mut rotary = default(settings)?;
    let factor = settings.needed("factor")? as f32;
    rotary.frequencies.iter_mut().for_each(|f| *f /= factor);
    Ok(rotary)
}

/// The first share of all pairs rotates, with exponents over the whole head; the others stay.
pub(super) fn proportional(settings: &Settings) -> Result<Rotary, ModelError> {
    let width = settings.head_dim;
    if width % 2 == 1 {
        return Err(settings.config.wrong("head_dim", "an even number, as rope rotates pairs"));
    }
    let factor = settings.positive("factor")?.unwrap_or(1.0) as f32;
    let turned = (settings.part * width as f64 / 2.0).floor() as usize;
    let frequencies = inverse(settings.theta, width).into_iter().enumerate();
    Ok(plain(frequencies.map(|(i, f)| if i < turned { f / factor } else { 0.0 }).collect()))
}

/// Rows beyond `max_position_embeddings` have a larger base, the longer the larger.
pub(super) fn dynamic(settings: &Settings) -> Result<Rotary, ModelError> {
    let dims = settings.dims()?;
    let factor = settings.needed("factor")?;
    if dims == 2 {
        let part = Value::from(settings.part);
        let expected = "more than two rotated dimensions, which rope type `dynamic` needs";
        return Err(settings.wrong("partial_rotary_factor", &part, expected));
    }
    let (theta, length) = (settings.theta, settings.positions);
    let rule = LongRows::Dynamic { theta, factor, dims };
    Ok(Rotary { beyond: Some(Beyond { length, rule }), ..plain(inverse(theta, dims)) })
}

/// Long wavelengths are stretched, short ones kept, those between blended; attention's scale
/// depends on the factor.
pub(super) fn yarn(settings: &Settings) -> Result<Rotary, ModelError> {
    let dims = settings.even_dims()?;
    let original = settings.original()?;
    let factor = match settings.object.get("factor") {
        Some(Value::Null) => settings.positions as f64 / original,
        _ => settings.needed("factor")?,
    };
    if settings.theta == 1.0 {
        let theta = Value::from(settings.theta);
        return Err(settings.wrong(
            "rope_theta",
            &theta,
            "another number than 1 for rope type `yarn`",
        ));
    }
    let scale = match settings.optional("attention_factor")? {
        Some(scale) => scale,
        None => {
            let some = |key| settings.optional(key).map(|n| n.filter(|n| *n != 0.0));
            match (some("mscale")?, some("mscale_all_dim")?) {
                (Some(own), Some(all)) => magnitude(factor, own) / magnitude(factor, all),
                _ => magnitude(factor, 1.0),
            }
        }
    };
    let turns = |key: &str, default: f64| -> Result<f64, ModelError> {
        match settings.optional(key)? {
            None | Some(0.0) => Ok(default),
            Some(_) => settings.needed(key),
        }
    };
    let truncate = match settings.object.get("truncate") {
        None | Some(Value::Bool(true)) => true,
        Some(Value::Null | Value::Bool(false)) => false,
        Some(other) => return Err(settings.wrong("truncate", other, "true or false")),
    };
    // The dimension that turns so many times within the original context.
    let dimension = |turns: f64| {
        dims as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * settings.theta.ln())
    };
    let (mut low, mut high) =
        (dimension(turns("beta_fast", 32.0)?), dimension(turns("beta_slow", 1.0)?));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dims as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let blend = |(pair, power): (usize, f32)| {
        let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        let kept = 1.0 - ramp;
        1.0 / (factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
    };
    let frequencies = powers(settings.theta, dims).enumerate().map(blend).collect();
    Ok(Rotary { scale: scale as f32, ..plain(frequencies) })
}

/// YaRN's scale of attention.
fn magnitude(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
}

/// One list of factors for rows within the original context, another for longer rows.
pub(super) fn longrope(settings: &Settings) -> Result<Rotary, ModelError> {
    let dims = settings.dims()?;
    let original = settings.original()?;
    let [short, long] =
        [factors(settings, "short_factor", dims)?, factors(settings, "long_factor", dims)?];
    let scale = match settings.optional("attention_factor")? {
        Some(scale) => scale,
        None => {
            let ratio = settings.positions as f64 / original;
            let factor = settings.positive("factor")?.unwrap_or(ratio);
            if factor > 1.0 && original == 1.0 {
                let expected = "more than 1 for rope type `longrope`";
                let found = Value::from(original);
                return Err(settings.wrong("original_max_position_embeddings", &found, expected));
            }
            if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() }
        }
    };
    let frequencies = |factors: &[f32]| {
        powers(settings.theta, dims).zip(factors).map(|(power, f)| 1.0 / (f * power)).collect()
    };
    let beyond = Beyond { length: original as usize, rule: LongRows::Fixed(frequencies(&long)) };
    Ok(Rotary { scale: scale as f32, beyond: Some(beyond), ..plain(frequencies(&short)) })
}

/// A list of positive numbers, one for each pair of rotated dimensions.
fn factors(settings: &Settings, key: &str, dims: usize) -> Result<Vec<f32>, ModelError> {
    let pairs = dims.div_ceil(2);
    let expected = format!("a list of {pairs} positive numbers, which rope type `longrope` needs");
    let nothing = Value::from("nothing");
    let found = settings.object.get(key).unwrap_or(&nothing);
    let numbers: Option<Vec<f32>> = found.as_array().and_then(|items| {
        let number = |item: &Value| item.as_f64().map(|n| n as f32).filter(|n| *n > 0.0);
        items.iter().map(number).collect()
    });
    numbers.filter(|n| n.len() == pairs).ok_or_else(|| settings.wrong(key, found, &expected))
}

/// Llama 3's three bands by wavelength, within the original context.
pub(super) fn llama3(settings: &Settings) -> Result<Rotary, ModelError> {
    let dims = settings.dims()?;
    let [factor, low, high] = ["factor", "low_freq_factor", "high_freq_factor"]
        .map(|key| settings.needed(key).map(|n| n as f32));
    let (factor, low, high) = (factor?, low?, high?);
    let context = settings.original()? as f32;
    let scaled = |f: f32| {
        let wavelength = (2.0 * PI) as f32 / f;
        let (long, short) = (wavelength > context / low, wavelength < context / high);
        if long || short {
            return if long { f / factor } else { f };
        }
        let smooth = (context / wavelength - low) / (high - low);
        (1.0 - smooth) * f / factor + smooth * f
    };
    Ok(plain(inverse(settings.theta, dims).into_iter().map(scaled).collect()))
}
