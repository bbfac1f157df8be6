//! Gemma 3, text only: norms before and after each part of a layer, norms on queries and keys, and
//! sliding layers with a rotary base of their own between global layers.
//!
//! `h ← h + norm(attention(norm(h)))`, `h ← h + norm(down(act(gate(norm(h))) · up(norm(h))))`, layer by
//! layer, with `norm(x) = x / rms(x) · (1 + w)` and the embedding scaled by `√hidden_size`, as in
//! Transformers' `modeling_gemma3.py`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value, json};

use super::architecture::{Architecture, ModelDims, linear, named_tensors};
use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::output_head::Names;
use crate::files::weights::{Init, Source};
use crate::layers::activation::Activation;
use crate::layers::attention::Attend;
use crate::layers::kv_cache::KvCache;
use crate::layers::rope::{self, Dialect};
use crate::layers::rotary::{Rotary, rotate};
use crate::layers::{Embedding, Linear, Weight, rms_norm};

/// `model_type`s that this file reads.
pub(crate) const MODEL_TYPES: &[&str] = &["gemma3_text"];

pub(crate) const NAMES: Names = Names {
    prefix: "model",
    embedding: "model.embed_tokens",
    heads: &["lm_head"],
    tied_by_default: true,
};

/// The settings of `config.json`.
#[derive(Debug, Clone)]
pub struct Gemma3Config {
    /// Sizes that all architectures share.
    pub dims: ModelDims,
    activation: Activation,
    rms_norm_eps: f64,
    attention_bias: bool,
    /// `query_pre_attn_scalar`: scores are divided by its square root.
    query_scalar: f64,
    /// Of global layers.
    rotary: Rotary,
    /// Of sliding layers.
    local_rotary: Rotary,
    /// Tokens that a query of a sliding layer sees, its own included.
    window: usize,
    /// Whether each layer slides.
    slides: Vec<bool>,
}

impl Gemma3Config {
    pub(crate) fn read(config: &HfConfig) -> Result<Self, ModelError> {
        config.refuse_other_kinds()?;
        let heads = config.optional_size("num_attention_heads")?.unwrap_or(8);
        let kv_heads = config.optional_size("num_key_value_heads")?.unwrap_or(4);
        if heads % kv_heads != 0 {
            return Err(config.wrong("num_key_value_heads", "a divisor of num_attention_heads"));
        }
        let head_dim = config.optional_size("head_dim")?.unwrap_or(256);
        let layers = config.optional_size("num_hidden_layers")?.unwrap_or(26);
        let context = config.optional_size("max_position_embeddings")?.unwrap_or(1 << 17);
        let query_scalar = config.number("query_pre_attn_scalar", 256.0)?;
        if !(query_scalar.is_finite() && query_scalar > 0.0) {
            return Err(config.wrong("query_pre_attn_scalar", "a positive number"));
        }
        let rotary = |kind| -> Result<Rotary, ModelError> {
            let (rotary, _) =
                rope::read(&rope_of(config, kind)?, Dialect::Llama, head_dim, context)?;
            Ok(rotary)
        };
        Ok(Self {
            dims: ModelDims {
                intermediate_size: config.size("intermediate_size")?,
                vocab_size: config.size("vocab_size")?,
                hidden_size: config.size("hidden_size")?,
                layers,
                heads,
                kv_heads,
                head_dim,
                context,
                tied: config.flag("tie_word_embeddings", NAMES.tied_by_default)?,
            },
            activation: Activation::read(config, "hidden_activation", Activation::GeluTanh)?,
            rms_norm_eps: config.number("rms_norm_eps", 1e-6)?,
            attention_bias: config.flag("attention_bias", false)?,
            query_scalar,
            rotary: rotary(Kind::Global)?,
            local_rotary: rotary(Kind::Sliding)?,
            window: config.optional_size("sliding_window")?.unwrap_or(4096),
            slides: slides(config, layers)?,
        })
    }
}

/// A kind of layer.
#[derive(Clone, Copy)]
enum Kind {
    Global,
    Sliding,
}

/// Whether each layer slides: `layer_types`, or all but each `sliding_window_pattern`-th.
fn slides(config: &HfConfig, layers: usize) -> Result<Vec<bool>, ModelError> {
    if let Some(slides) = config.layer_types(layers)? {
        return Ok(slides);
    }
    let pattern = config.optional_size("sliding_window_pattern")?.unwrap_or(6);
    Ok((1..=layers).map(|layer| layer % pattern != 0).collect())
}

/// The config with the rope settings of one kind of layer: those under its name in
/// `rope_parameters`, or the older fields `rope_theta` and `rope_scaling` (global layers) and
/// `rope_local_base_freq` (sliding layers).
fn rope_of(config: &HfConfig, kind: Kind) -> Result<HfConfig, ModelError> {
    let mut fields = config.fields().clone();
    let (name, field, default) = match kind {
        Kind::Global => ("full_attention", "rope_theta", 1e6),
        Kind::Sliding => ("sliding_attention", "rope_local_base_freq", 1e4),
    };
    let nested = config.present("rope_parameters").and_then(|value| value.get(name));
    let theta = json!(config.number(field, default)?);
    if let Some(nested) = nested {
        let mut object = nested.as_object().cloned().ok_or_else(|| {
            config.wrong("rope_parameters", "an object of rope settings for each kind of layer")
        })?;
        object.entry("rope_theta").or_insert(theta);
        fields.remove("rope_scaling");
        fields.remove("rope_theta");
        fields.insert("rope_parameters".into(), Value::Object(object));
    } else if let Kind::Sliding = kind {
        let object = Map::from_iter([("rope_theta".to_owned(), theta)]);
        fields.remove("rope_scaling");
        fields.remove("rope_theta");
        fields.insert("rope_parameters".into(), Value::Object(object));
    } else {
        fields.insert("rope_theta".into(), theta);
    }
    Ok(HfConfig::new(config.path(), fields))
}

/// The decoder without its output head.
#[derive(Module, Debug)]
pub struct Gemma3 {
    pub(crate) embed_tokens: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Norm,
    #[module(skip)]
    pub(crate) config: Gemma3Config,
}

/// `x / rms(x) · (1 + w)` over the last dimension.
#[derive(Module, Debug)]
pub struct Norm {
    /// `w`, `[D]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
}

/// One decoder layer.
#[derive(Module, Debug)]
pub struct Layer {
    self_attn: SelfAttention,
    mlp: Mlp,
    input_layernorm: Norm,
    post_attention_layernorm: Norm,
    pre_feedforward_layernorm: Norm,
    post_feedforward_layernorm: Norm,
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Norm,
    k_norm: Norm,
    /// `1 / √query_pre_attn_scalar`.
    scale: f64,
}

#[derive(Module, Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Gemma3 {
    pub(crate) fn build(
        config: &HfConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = Gemma3Config::read(config)?;
        let ModelDims { vocab_size, hidden_size, layers, .. } = config.dims;
        let name = "model.embed_tokens.weight";
        let weight = source.weight(name, [vocab_size, hidden_size], device)?;
        let layers = (0..layers)
            .map(|layer| Layer::build(&config, layer, source, device))
            .collect::<Result<_, _>>()?;
        let norm = norm(&config, "model.norm", hidden_size, source, device)?;
        Ok(Self { embed_tokens: Embedding { weight }, layers, norm, config })
    }
}

impl Architecture for Gemma3 {
    fn dims(&self) -> ModelDims {
        self.config.dims
    }

    fn names(&self) -> &'static Names {
        &NAMES
    }

    fn rotaries(&self) -> Vec<&Rotary> {
        vec![&self.config.rotary, &self.config.local_rotary]
    }

    fn embedding(&self) -> &Weight {
        &self.embed_tokens.weight
    }

    fn embedding_mut(&mut self) -> &mut Weight {
        &mut self.embed_tokens.weight
    }

    fn forward(&self, batch: &TokenBatch, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let config = &self.config;
        let past = cache.as_ref().map_or(0, |cache| cache.len);
        let global = Attend::new(batch, &config.rotary, past, None);
        let sliding = Attend::new(batch, &config.local_rotary, past, Some(config.window));
        let scale = (config.dims.hidden_size as f64).sqrt();
        let mut hidden = self.embed_tokens.forward(batch.input_ids.clone()).mul_scalar(scale);
        for (index, (layer, slides)) in self.layers.iter().zip(&config.slides).enumerate() {
            let (attend, window) = match slides {
                true => (&sliding, Some(config.window)),
                false => (&global, None),
            };
            hidden = layer.forward(hidden, attend, window, index, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            cache.len += batch.shape()[1];
        }
        self.norm.forward(hidden)
    }

    fn linears(&self) -> Vec<&Linear> {
        self.layers
            .iter()
            .flat_map(|layer| {
                let SelfAttention { q_proj, k_proj, v_proj, o_proj, .. } = &layer.self_attn;
                let Mlp { gate_proj, up_proj, down_proj, .. } = &layer.mlp;
                [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
            })
            .collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(|layer| {
                let SelfAttention { q_proj, k_proj, v_proj, o_proj, .. } = &mut layer.self_attn;
                let Mlp { gate_proj, up_proj, down_proj, .. } = &mut layer.mlp;
                [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
            })
            .collect()
    }

    fn named_tensors(&self) -> Vec<(String, TensorData)> {
        named_tensors(NAMES.prefix, self)
    }
}

fn norm(
    config: &Gemma3Config,
    name: &str,
    width: usize,
    source: &mut Source,
    device: &Device,
) -> Result<Norm, ModelError> {
    let weight = source.param(&format!("{name}.weight"), [width], Init::Zeros, device)?;
    Ok(Norm { weight, eps: config.rms_norm_eps })
}

impl Norm {
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        rms_norm(x, self.weight.val() + 1.0, self.eps)
    }
}

impl Layer {
    fn build(
        config: &Gemma3Config,
        layer: usize,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let ModelDims { hidden_size, heads, kv_heads, head_dim, intermediate_size, .. } =
            config.dims;
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        let bias = config.attention_bias;
        let mut dense = |part: &str, shape: [usize; 2], bias: bool| {
            linear(source, &at(part), shape, bias, device)
        };
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let q_proj = dense("self_attn.q_proj", [queries, hidden_size], bias)?;
        let k_proj = dense("self_attn.k_proj", [keys, hidden_size], bias)?;
        let v_proj = dense("self_attn.v_proj", [keys, hidden_size], bias)?;
        let o_proj = dense("self_attn.o_proj", [hidden_size, queries], bias)?;
        let mlp = Mlp {
            gate_proj: dense("mlp.gate_proj", [intermediate_size, hidden_size], false)?,
            up_proj: dense("mlp.up_proj", [intermediate_size, hidden_size], false)?,
            down_proj: dense("mlp.down_proj", [hidden_size, intermediate_size], false)?,
            activation: config.activation,
        };
        let mut norm = |part: &str, width| norm(config, &at(part), width, source, device);
        let (q_norm, k_norm) =
            (norm("self_attn.q_norm", head_dim)?, norm("self_attn.k_norm", head_dim)?);
        let scale = 1.0 / config.query_scalar.sqrt();
        Ok(Self {
            input_layernorm: norm("input_layernorm", hidden_size)?,
            post_attention_layernorm: norm("post_attention_layernorm", hidden_size)?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm", hidden_size)?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm", hidden_size)?,
            self_attn: SelfAttention { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, scale },
            mlp,
        })
    }

    fn forward(
        &self,
        hidden: Tensor<3>,
        attend: &Attend,
        window: Option<usize>,
        index: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let x = self.input_layernorm.forward(hidden.clone());
        let x = self.self_attn.forward(x, attend, window, index, cache);
        let hidden = hidden + self.post_attention_layernorm.forward(x);
        let x = self.pre_feedforward_layernorm.forward(hidden.clone());
        hidden + self.post_feedforward_layernorm.forward(self.mlp.forward(x))
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.activation.forward(self.gate_proj.forward(x.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(x))
    }
}

impl SelfAttention {
    fn forward(
        &self,
        x: Tensor<3>,
        attend: &Attend,
        window: Option<usize>,
        index: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [batch, time, _] = x.dims();
        let width = attend.cos.dims()[3] * 2;
        let heads = |y: Tensor<3>| {
            let heads = y.dims()[2] / width;
            y.reshape([batch, time, heads, width])
        };
        let q = self.q_norm.forward(heads(self.q_proj.forward(x.clone()))).swap_dims(1, 2);
        let k = self.k_norm.forward(heads(self.k_proj.forward(x.clone()))).swap_dims(1, 2);
        let v = heads(self.v_proj.forward(x)).swap_dims(1, 2);
        let q = rotate(q, &attend.cos, &attend.sin);
        let k = rotate(k, &attend.cos, &attend.sin);
        let (k, v) = match cache {
            Some(cache) => cache.append(index, k, v),
            None => (k, v),
        };
        self.o_proj.forward(attend.forward(q, k, v, self.scale, window))
    }
}
