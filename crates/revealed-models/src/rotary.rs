//! Rotary position embeddings by position id, halves rotated (not interleaved), whole or partial.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>; the scaling of Llama 3 as in Transformers'
//! `modeling_rope_utils.py`.

use burn::tensor::{Device, Int, Tensor};
use serde_json::{Map, Value};

use crate::config::HfConfig;
use crate::error::ModelError;
#[cfg(feature = "flex")]
use crate::flex;
use crate::operation::{Operation, apply};

/// How positions become angles.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Rotated dimensions of a head; the others pass unchanged.
    pub dims: usize,
    /// One frequency for each pair of rotated dimensions, in radians a position.
    pub frequencies: Vec<f32>,
}

impl Rotary {
    /// Reads the fields of Transformers 4 (`rope_theta`, `rope_scaling`, `rotary_pct`,
    /// `rotary_emb_base`) or 5 (`rope_parameters`).
    ///
    /// # Errors
    /// When a field is out of range, or the kind of scaling is not `default`, `linear` or `llama3`.
    pub(crate) fn read(config: &HfConfig, head_dim: usize) -> Result<Self, ModelError> {
        let empty = Map::new();
        let object = |field: &str| match config.present(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(config.wrong(field, "an object")),
        };
        let (field, scaling) = match (object("rope_parameters")?, object("rope_scaling")?) {
            (Some(map), _) => ("rope_parameters", map),
            (None, map) => ("rope_scaling", map.unwrap_or(&empty)),
        };
        refuse_unknown(config, field, scaling)?;
        let number = |field: &str| scaling.get(field).and_then(Value::as_f64);

        let theta = match number("rope_theta") {
            Some(theta) => theta,
            None => config.number("rope_theta", config.number("rotary_emb_base", 10_000.0)?)?,
        };
        let part = match number("partial_rotary_factor") {
            Some(part) => part,
            None => config.number("partial_rotary_factor", config.number("rotary_pct", 1.0)?)?,
        };
        if !(theta.is_finite() && theta > 0.0) {
            return Err(config.wrong("rope_theta", "a positive number"));
        }
        let dims = (head_dim as f64 * part) as usize;
        if !(part > 0.0 && part <= 1.0) || dims == 0 || dims % 2 == 1 {
            return Err(config.wrong(
                "partial_rotary_factor",
                "a share in (0, 1] that leaves an even number of dimensions",
            ));
        }
        let mut frequencies: Vec<f64> =
            (0..dims / 2).map(|i| theta.powf(-((2 * i) as f64) / dims as f64)).collect();
        let kind = scaling.get("rope_type").or(scaling.get("type")).and_then(Value::as_str);
        let needed = |name: &str| {
            number(name)
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| config.wrong(field, &format!("an object with a positive `{name}`")))
        };
        match kind.unwrap_or("default") {
            "default" => {}
            "linear" => {
                let factor = needed("factor")?;
                frequencies.iter_mut().for_each(|f| *f /= factor);
            }
            "llama3" => {
                let bands = Llama3 {
                    factor: needed("factor")?,
                    low: needed("low_freq_factor")?,
                    high: needed("high_freq_factor")?,
                    context: needed("original_max_position_embeddings")?,
                };
                frequencies.iter_mut().for_each(|f| *f = bands.scale(*f));
            }
            other => return Err(config.unsupported("rope_type", &Value::from(other))),
        }
        Ok(Self { dims, frequencies: frequencies.iter().map(|f| *f as f32).collect() })
    }

    /// Cosines and sines of every position.
    ///
    /// # Shapes
    /// - position_ids: `[B, T]`
    /// - output: two of `[B, 1, T, dims / 2]`
    pub(crate) fn angles(&self, position_ids: Tensor<2, Int>) -> (Tensor<4>, Tensor<4>) {
        let [batch, time] = position_ids.dims();
        let device: Device = position_ids.device();
        let pairs = self.frequencies.len();
        let frequencies = Tensor::<1>::from_floats(self.frequencies.as_slice(), &device)
            .reshape([1, 1, 1, pairs]);
        let angles = position_ids.float().reshape([batch, 1, time, 1]) * frequencies;
        (angles.clone().cos(), angles.sin())
    }
}

/// Refuses keys of the rope object that this file does not read, and values of another kind.
fn refuse_unknown(
    config: &HfConfig,
    field: &str,
    scaling: &Map<String, Value>,
) -> Result<(), ModelError> {
    for (key, value) in scaling {
        let understood = match key.as_str() {
            "rope_type" | "type" => value.is_string(),
            "rope_theta"
            | "partial_rotary_factor"
            | "factor"
            | "low_freq_factor"
            | "high_freq_factor"
            | "original_max_position_embeddings" => value.is_number(),
            _ => false,
        };
        // Kinds of scaling that are not supported have their own keys, and are refused by their name.
        let kind = scaling.get("rope_type").or(scaling.get("type"));
        let other = kind
            .and_then(Value::as_str)
            .is_some_and(|kind| !["default", "linear", "llama3"].contains(&kind));
        if !understood && !value.is_null() && !other {
            return Err(config.unsupported(&format!("{field}.{key}"), value));
        }
    }
    Ok(())
}

/// Llama 3's three bands: long wavelengths are stretched, short ones kept, those between blended.
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    context: f64,
}

impl Llama3 {
    fn scale(&self, frequency: f64) -> f64 {
        let wavelength = 2.0 * std::f64::consts::PI / frequency;
        if wavelength < self.context / self.high {
            return frequency;
        }
        if wavelength > self.context / self.low {
            return frequency / self.factor;
        }
        let smooth = (self.context / wavelength - self.low) / (self.high - self.low);
        (1.0 - smooth) * frequency / self.factor + smooth * frequency
    }
}

/// Rotates the first `2 · pairs` dimensions of every head: `(a, b) → (a·cos − b·sin, b·cos + a·sin)`
/// where `a` and `b` are their first and second halves.
///
/// # Shapes
/// - x: `[B, H, T, D]`; cos, sin: `[B, 1, T, pairs]`
pub(crate) fn rotate(x: Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Tensor<4> {
    apply(&Rotation { cos: cos.clone(), sin: sin.clone() }, [x])
}

/// A rotation, whose gradient is the result's rotated back.
#[derive(Debug, Clone)]
struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Operation<1, 4> for Rotation {
    type Kept = ();

    fn forward(&self, [x]: [Tensor<4>; 1]) -> (Tensor<4>, ()) {
        let (cos, sin) = (&self.cos, &self.sin);
        #[cfg(feature = "flex")]
        if [&x, cos, sin].into_iter().all(flex::plain) {
            return (flex::rows::rotate(x, cos.clone(), sin.clone()), ());
        }
        let width = x.dims()[3];
        let pairs = cos.dims()[3];
        let a = x.clone().narrow(3, 0, pairs);
        let b = x.clone().narrow(3, pairs, pairs);
        let first = a.clone() * cos.clone() - b.clone() * sin.clone();
        let second = b * cos.clone() + a * sin.clone();
        let mut parts = vec![first, second];
        if 2 * pairs < width {
            parts.push(x.narrow(3, 2 * pairs, width - 2 * pairs));
        }
        (Tensor::cat(parts, 3), ())
    }

    fn backward(&self, (): (), gradient: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        let back = Self { cos: self.cos.clone(), sin: self.sin.clone().neg() };
        [Some(back.forward([gradient]).0)]
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::operation::{assert_as_autodiff, some_numbers};

    #[test]
    fn a_rotation_has_autodiff_s_gradient() {
        for (pairs, width) in [(4, 8), (3, 8), (17, 40)] {
            let angles = some_numbers([2, 1, 5, pairs], 1).mul_scalar(9.0);
            let rotation = Rotation { cos: angles.clone().cos(), sin: angles.sin() };
            assert_as_autodiff(&rotation, [some_numbers([2, 3, 5, width], 2)], 1e-6);
            // Heads that lie beside each other in memory, as a projection leaves them.
            let aside = some_numbers([2, 5, 3, width], 3).swap_dims(1, 2);
            assert_as_autodiff(&rotation, [aside], 1e-6);
        }
    }
}
