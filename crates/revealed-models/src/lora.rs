//! Low-rank adapters: `y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ` with `W` frozen and untracked.
//!
//! Source: LoRA, <https://arxiv.org/abs/2106.09685>; initial values and files as PEFT's.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::files::weights::named_param;
use crate::layers::{Linear, LoraWeights};

/// Which layers get an adapter, and of what rank.
///
/// | field | default | range |
/// |---|---|---|
/// | `r` | 16 | 1 … the layer's width |
/// | `lora_alpha` | 32 | > 0; the scale is `lora_alpha / r`, with `use_rslora` `lora_alpha / √r` |
/// | `target_modules` | `["all-linear"]` | names of layers, whole or their last parts |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the two factors.
    pub r: usize,
    /// Numerator of the scale.
    pub lora_alpha: f64,
    /// Layers by name, such as `q_proj`; `all-linear` is every layer but the output head.
    pub target_modules: Vec<String>,
    /// Divide by `√r` instead of `r` (<https://arxiv.org/abs/2312.03732>).
    pub use_rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            target_modules: vec!["all-linear".into()],
            use_rslora: false,
        }
    }
}

impl LoraConfig {
    /// The factor `s`.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Whether every layer but the output head gets an adapter.
    pub(crate) fn all_linear(&self) -> bool {
        self.target_modules.iter().any(|target| target == "all-linear")
    }

    /// Whether a layer of this name gets an adapter.
    pub(crate) fn applies_to(&self, name: &str) -> bool {
        let matches = |target: &String| {
            name.strip_suffix(target.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.all_linear() || self.target_modules.iter().any(matches)
    }

    /// Refuses a rank of zero, and targets that match none of the given layers.
    pub(crate) fn check<'a>(
        &self,
        layers: impl Iterator<Item = &'a Linear>,
    ) -> Result<(), ModelError> {
        self.check_numbers()?;
        self.check_targets(layers)
    }

    /// Refuses a rank or a numerator out of range.
    pub(crate) fn check_numbers(&self) -> Result<(), ModelError> {
        if !(1..=1 << 16).contains(&self.r) {
            return Err(ModelError::Adapter {
                field: "r",
                found: self.r.to_string(),
                expected: "a rank from 1 to 65536",
            });
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Err(ModelError::Adapter {
                field: "lora_alpha",
                found: self.lora_alpha.to_string(),
                expected: "a positive number",
            });
        }
        Ok(())
    }

    fn check_targets<'a>(
        &self,
        layers: impl Iterator<Item = &'a Linear>,
    ) -> Result<(), ModelError> {
        if self.target_modules.is_empty() {
            return Err(ModelError::Adapter {
                field: "target_modules",
                found: "[]".into(),
                expected: "names of linear layers, or \"all-linear\"",
            });
        }
        let names: Vec<&str> = layers.map(|layer| layer.name.as_str()).collect();
        for target in &self.target_modules {
            let one = Self { target_modules: vec![target.clone()], ..self.clone() };
            if !names.iter().any(|name| one.applies_to(name)) {
                let mut last: Vec<&str> =
                    names.iter().filter_map(|name| name.rsplit('.').next()).collect();
                last.sort_unstable();
                last.dedup();
                return Err(ModelError::NoTarget {
                    target: target.clone(),
                    available: last.join(", "),
                });
            }
        }
        Ok(())
    }
}

/// Attaches fresh adapters: `A` uniform in `±1/√in`, `B` zero, so the model's output is unchanged.
pub(crate) fn attach<'a>(
    layers: impl Iterator<Item = &'a mut Linear>,
    config: &LoraConfig,
    seed: u64,
    device: &Device,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for layer in layers.filter(|layer| config.applies_to(&layer.name)) {
        let [out, width] = layer.weight.dims();
        let bound = 1.0 / (width as f32).sqrt();
        let a = (0..config.r * width).map(|_| rng.random_range(-bound..bound)).collect();
        let b = vec![0f32; out * config.r];
        set(layer, Factors { r: config.r, scale: config.scale(), a, b }, device);
    }
}

/// The factors of one layer: `a` `[r, in]`, `b` `[out, r]`, and their scale.
pub(crate) struct Factors {
    pub r: usize,
    pub scale: f64,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

/// Gives a layer its factors, trainable.
pub(crate) fn set(layer: &mut Linear, factors: Factors, device: &Device) {
    let [out, width] = layer.weight.dims();
    let Factors { r, scale, a, b } = factors;
    let tracked = device.clone().autodiff();
    let param = |suffix: &str, values: Vec<f32>, shape: [usize; 2]| {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &tracked).require_grad();
        named_param(&format!("{}.{suffix}", layer.name), tensor)
    };
    layer.lora = Some(LoraWeights {
        a: param("lora_A.weight", a, [r, width]),
        b: param("lora_B.weight", b, [out, r]),
        scale,
    });
}
