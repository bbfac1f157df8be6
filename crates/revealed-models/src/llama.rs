//! The Llama family: Llama 2 and 3, Mistral, SmolLM2, Qwen2, Qwen2.5 and Qwen3.
//!
//! `h ← h + attention(norm(h))`, `h ← h + down(silu(gate(norm(h))) · up(norm(h)))`, layer by layer, as in
//! Transformers' `modeling_llama.py`. The family's members differ in biases, in norms on queries and keys,
//! and in windows.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::json;

use crate::attention::{Attend, KvCache};
use crate::batch::TokenBatch;
use crate::config::HfConfig;
use crate::decoder::{Shape, linear};
use crate::error::ModelError;
use crate::layers::{Embedding, Linear, RmsNorm, swiglu};
use crate::rotary::{Rotary, rotate};
use crate::weights::{Init, Source};

/// `model_type`s that this file reads.
pub(crate) const MODEL_TYPES: &[&str] = &["llama", "mistral", "qwen2", "qwen3"];

const KNOWN: &[&str] = &[
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_interleaved",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_sliding_window",
];

/// What `config.json` says of a member of the family.
#[derive(Debug, Clone)]
pub struct LlamaConfig {
    /// Sizes that all architectures share.
    pub shape: Shape,
    rms_norm_eps: f64,
    rotary: Rotary,
    qkv_bias: bool,
    output_bias: bool,
    mlp_bias: bool,
    qk_norm: bool,
    window: Option<usize>,
    slides: Vec<bool>,
}

impl LlamaConfig {
    pub(crate) fn read(config: &HfConfig) -> Result<Self, ModelError> {
        config.refuse_unknown(KNOWN)?;
        config.only("hidden_act", &[json!("silu")])?;
        config.only("rope_interleaved", &[json!(false)])?;
        let model_type = config.model_type()?;
        let heads = config.size("num_attention_heads")?;
        let hidden_size = config.size("hidden_size")?;
        let kv_heads = config.optional_size("num_key_value_heads")?.unwrap_or(heads);
        if heads % kv_heads != 0 {
            return Err(config.wrong("num_key_value_heads", "a divisor of num_attention_heads"));
        }
        let head_dim = match config.optional_size("head_dim")? {
            Some(width) => width,
            None if model_type == "qwen3" => 128,
            None if hidden_size % heads == 0 => hidden_size / heads,
            None => return Err(config.wrong("hidden_size", "a multiple of num_attention_heads")),
        };
        let layers = config.size("num_hidden_layers")?;
        let rotary = Rotary::read(config, head_dim)?;
        if rotary.dims != head_dim {
            return Err(config.wrong("partial_rotary_factor", "1 for this architecture"));
        }
        let attention_bias = config.flag("attention_bias", false)?;
        let (window, slides) = windows(config, model_type, layers)?;
        Ok(Self {
            shape: Shape {
                intermediate_size: config.size("intermediate_size")?,
                vocab_size: config.size("vocab_size")?,
                hidden_size,
                layers,
                heads,
                kv_heads,
                head_dim,
                context: config.optional_size("max_position_embeddings")?.unwrap_or(2048),
                tied: config.flag("tie_word_embeddings", false)?,
            },
            rms_norm_eps: config.number("rms_norm_eps", 1e-6)?,
            rotary,
            qkv_bias: model_type == "qwen2" || attention_bias,
            output_bias: model_type != "qwen2" && attention_bias,
            mlp_bias: config.flag("mlp_bias", false)?,
            qk_norm: model_type == "qwen3",
            window,
            slides,
        })
    }
}

/// The window, and which layers slide: Mistral's all, Qwen's from `max_window_layers` on if it is used.
fn windows(
    config: &HfConfig,
    model_type: &str,
    layers: usize,
) -> Result<(Option<usize>, Vec<bool>), ModelError> {
    let qwen = model_type.starts_with("qwen");
    let used = match model_type {
        "mistral" => true,
        _ if qwen => config.flag("use_sliding_window", false)?,
        _ => false,
    };
    if let (false, false, Some(value)) = (used, qwen, config.present("sliding_window")) {
        return Err(config.unsupported("sliding_window", value));
    }
    let window = if used { config.optional_size("sliding_window")? } else { None };
    let slides = match config.layer_types(layers)? {
        Some(slides) => slides,
        None if qwen => {
            let first = config.count("max_window_layers", 28)?;
            (0..layers).map(|layer| layer >= first).collect()
        }
        None => vec![true; layers],
    };
    if let (None, Some(_), true) =
        (window, config.present("layer_types"), slides.iter().any(|slides| *slides))
    {
        return Err(config.wrong("sliding_window", "a size, as layer_types has sliding layers"));
    }
    Ok((window, slides))
}

/// The decoder without its output head.
#[derive(Module, Debug)]
pub struct Llama {
    pub(crate) embed_tokens: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: RmsNorm,
    #[module(skip)]
    pub(crate) config: LlamaConfig,
}

/// One block.
#[derive(Module, Debug)]
pub struct Layer {
    self_attn: SelfAttention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
}

#[derive(Module, Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl Llama {
    pub(crate) fn build(
        config: LlamaConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let Shape { vocab_size, hidden_size, layers, .. } = config.shape;
        let weight = source.param(
            "model.embed_tokens.weight",
            [vocab_size, hidden_size],
            Init::Normal,
            device,
        )?;
        let layers = (0..layers)
            .map(|layer| Layer::build(&config, layer, source, device))
            .collect::<Result<_, _>>()?;
        let norm = norm(&config, "model.norm", hidden_size, source, device)?;
        Ok(Self { embed_tokens: Embedding { weight }, layers, norm, config })
    }

    pub(crate) fn forward(&self, batch: &TokenBatch, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let past = cache.as_ref().map_or(0, |cache| cache.len);
        let attend = Attend::new(batch, &self.config.rotary, past, self.config.window);
        let mut hidden = self.embed_tokens.forward(batch.input_ids.clone());
        for (index, layer) in self.layers.iter().enumerate() {
            let window = self.config.window.filter(|_| self.config.slides[index]);
            hidden = layer.forward(hidden, &attend, window, index, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            cache.len += batch.shape()[1];
        }
        self.norm.forward(hidden)
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(|layer| {
            let (attention, mlp) = (&layer.self_attn, &layer.mlp);
            [
                &attention.q_proj,
                &attention.k_proj,
                &attention.v_proj,
                &attention.o_proj,
                &mlp.gate_proj,
                &mlp.up_proj,
                &mlp.down_proj,
            ]
        })
    }

    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers.iter_mut().flat_map(|layer| {
            let (attention, mlp) = (&mut layer.self_attn, &mut layer.mlp);
            [
                &mut attention.q_proj,
                &mut attention.k_proj,
                &mut attention.v_proj,
                &mut attention.o_proj,
                &mut mlp.gate_proj,
                &mut mlp.up_proj,
                &mut mlp.down_proj,
            ]
        })
    }
}

fn norm(
    config: &LlamaConfig,
    name: &str,
    width: usize,
    source: &mut Source,
    device: &Device,
) -> Result<RmsNorm, ModelError> {
    let weight = source.param(&format!("{name}.weight"), [width], Init::Ones, device)?;
    Ok(RmsNorm { weight, eps: config.rms_norm_eps })
}

impl Layer {
    fn build(
        config: &LlamaConfig,
        layer: usize,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let Shape { hidden_size, heads, kv_heads, head_dim, .. } = config.shape;
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        let mut dense = |part: &str, out: usize, width: usize, bias: bool| {
            linear(source, &at(part), [out, width], bias, device)
        };
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let q_proj = dense("self_attn.q_proj", queries, hidden_size, config.qkv_bias)?;
        let k_proj = dense("self_attn.k_proj", keys, hidden_size, config.qkv_bias)?;
        let v_proj = dense("self_attn.v_proj", keys, hidden_size, config.qkv_bias)?;
        let o_proj = dense("self_attn.o_proj", hidden_size, queries, config.output_bias)?;
        let middle = config.shape.intermediate_size;
        let mlp = Mlp {
            gate_proj: dense("mlp.gate_proj", middle, hidden_size, config.mlp_bias)?,
            up_proj: dense("mlp.up_proj", middle, hidden_size, config.mlp_bias)?,
            down_proj: dense("mlp.down_proj", hidden_size, middle, config.mlp_bias)?,
        };
        let mut norm = |part: &str, width| norm(config, &at(part), width, source, device);
        let (q_norm, k_norm) = match config.qk_norm {
            true => (
                Some(norm("self_attn.q_norm", head_dim)?),
                Some(norm("self_attn.k_norm", head_dim)?),
            ),
            false => (None, None),
        };
        Ok(Self {
            input_layernorm: norm("input_layernorm", hidden_size)?,
            post_attention_layernorm: norm("post_attention_layernorm", hidden_size)?,
            self_attn: SelfAttention { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm },
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
        let hidden = hidden + self.self_attn.forward(x, attend, window, index, cache);
        let x = self.post_attention_layernorm.forward(hidden.clone());
        let gated = swiglu(self.mlp.gate_proj.forward(x.clone()), self.mlp.up_proj.forward(x));
        hidden + self.mlp.down_proj.forward(gated)
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
        let heads = |y: Tensor<3>, norm: Option<&RmsNorm>| {
            let heads = y.dims()[2] / width;
            let y = y.reshape([batch, time, heads, width]);
            norm.map_or(y.clone(), |norm| norm.forward(y)).swap_dims(1, 2)
        };
        let q = heads(self.q_proj.forward(x.clone()), self.q_norm.as_ref());
        let k = heads(self.k_proj.forward(x.clone()), self.k_norm.as_ref());
        let v = heads(self.v_proj.forward(x), None);
        let q = rotate(q, &attend.cos, &attend.sin);
        let k = rotate(k, &attend.cos, &attend.sin);
        let (k, v) = match cache {
            Some(cache) => cache.append(index, k, v),
            None => (k, v),
        };
        let context = attend.forward(q, k, v, 1.0 / (width as f64).sqrt(), window);
        self.o_proj.forward(context)
    }
}
