//! `hidden_act`: the activation functions of feed-forward layers, by the names of Transformers.

use burn::tensor::{Tensor, activation};

use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::layers::gelu;

/// A function of each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    Gelu,
    GeluTanh,
    GeluClipped,
    QuickGelu,
    Relu,
    ReluSquared,
    Relu6,
    LeakyRelu,
    Tanh,
    Sigmoid,
    Linear,
    Mish,
    HardSwish,
    Laplace,
    SqrtSoftplus,
}

/// The names of each function.
const NAMES: &[(&str, Activation)] = &[
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_10", Activation::GeluClipped),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("relu2", Activation::ReluSquared),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LeakyRelu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("linear", Activation::Linear),
    ("mish", Activation::Mish),
    ("hardswish", Activation::HardSwish),
    ("laplace", Activation::Laplace),
    ("sqrtsoftplus", Activation::SqrtSoftplus),
];

impl Activation {
    /// Reads `hidden_act`; `missing` is what the class has without it.
    ///
    /// # Errors
    /// When the name is not one that Transformers has for functions without parameters.
    pub fn read(config: &HfConfig, field: &str, missing: Self) -> Result<Self, ModelError> {
        if !config.fields().contains_key(field) {
            return Ok(missing);
        }
        let name = config.text(field)?.unwrap_or_default();
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, activation)| *activation).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            config.wrong(field, &format!("one of {}", known.join(", ")))
        })
    }

    /// The function of every number of a tensor.
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Silu => activation::silu(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh => {
                let scale = (2.0 / std::f64::consts::PI).sqrt();
                let cubic = x.clone() * (x.clone().square() * 0.044_715 + 1.0);
                x * (cubic.mul_scalar(scale).tanh() + 1.0) * 0.5
            }
            Self::GeluClipped => gelu(x).clamp(-10.0, 10.0),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Relu => activation::relu(x),
            Self::ReluSquared => activation::relu(x).square(),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::LeakyRelu => activation::relu(x.clone()) - activation::relu(x.neg()) * 0.01,
            Self::Tanh => x.tanh(),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Linear => x,
            Self::Mish => x.clone() * softplus(x).tanh(),
            Self::HardSwish => x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::Laplace => {
                let mean = std::f64::consts::FRAC_1_SQRT_2;
                let deviation = 0.282_095 * std::f64::consts::SQRT_2;
                (((x - mean) / deviation).erf() + 1.0) * 0.5
            }
            Self::SqrtSoftplus => softplus(x).sqrt(),
        }
    }
}

/// `log(1 + exp(x))`, without overflow.
fn softplus(x: Tensor<3>) -> Tensor<3> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}
