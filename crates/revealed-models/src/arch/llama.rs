//! The Llama family: Llama 2 and 3, Mistral, SmolLM2, Qwen2, Qwen2.5 and Qwen3.
//!
//! `h ← h + attention(norm(h))`, `h ← h + down(act(gate(norm(h))) · up(norm(h)))`, layer by layer,
//! as in Transformers' `modeling_llama.py`. The family's members differ in biases, in norms on
//! queries and keys, and in windows.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

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
use crate::layers::{Embedding, Linear, RmsNorm, Weight, swiglu};

/// `model_type`s that this file reads.
pub(crate) const MODEL_TYPES: &[&str] = &["llama", "mistral", "qwen2", "qwen3"];

pub(crate) const NAMES: Names = Names {
    prefix: "model",
    embedding: "model.embed_tokens",
    heads: &["lm_head"],
    tied_by_default: false,
};

/// What `config.json` says of a member of the family.
#[derive(Debug, Clone)]
pub struct LlamaConfig {
    /// Sizes that all architectures share.
    pub dims: ModelDims,
    activation: Activation,
    rms_norm_eps: f64,
    pub(crate) rotary: Rotary,
    qkv_bias: bool,
    output_bias: bool,
    mlp_bias: bool,
    qk_norm: bool,
    window: Option<usize>,
    slides: Vec<bool>,
}

/// What a class has where a field is missing.
struct Missing {
    kv_heads: Option<usize>,
    positions: usize,
    head_dim: Option<usize>,
}

impl Missing {
    fn of(model_type: &str) -> Self {
        match model_type {
            "mistral" => Self { kv_heads: Some(8), positions: 1 << 17, head_dim: None },
            "qwen2" => Self { kv_heads: Some(32), positions: 1 << 15, head_dim: None },
            "qwen3" => Self { kv_heads: Some(32), positions: 1 << 15, head_dim: Some(128) },
            _ => Self { kv_heads: None, positions: 2048, head_dim: None },
        }
    }
}

impl LlamaConfig {
    pub(crate) fn read(config: &HfConfig) -> Result<Self, ModelError> {
        config.refuse_other_kinds()?;
        let model_type = config.model_type()?;
        let missing = Missing::of(model_type);
        let heads = config.size("num_attention_heads")?;
        let hidden_size = config.size("hidden_size")?;
        let (kv_heads, head_dim) = head_sizes(config, &missing, [heads, hidden_size])?;
        let layers = config.size("num_hidden_layers")?;
        let positions = config.optional_size("max_position_embeddings")?;
        let positions = positions.unwrap_or(missing.positions);
        let (rotary, context) = rope::read(config, Dialect::Llama, head_dim, positions)?;
        let reads_bias = ["llama", "qwen3"].contains(&model_type);
        let attention_bias = reads_bias && config.flag("attention_bias", false)?;
        let (window, slides) = windows(config, model_type, layers, context)?;
        Ok(Self {
            dims: ModelDims {
                intermediate_size: config.size("intermediate_size")?,
                vocab_size: config.size("vocab_size")?,
                hidden_size,
                layers,
                heads,
                kv_heads,
                head_dim,
                context,
                tied: config.flag("tie_word_embeddings", false)?,
            },
            activation: Activation::read(config, "hidden_act", Activation::Silu)?,
            rms_norm_eps: config.number("rms_norm_eps", 1e-6)?,
            rotary,
            qkv_bias: model_type == "qwen2" || attention_bias,
            output_bias: attention_bias,
            mlp_bias: model_type == "llama" && config.flag("mlp_bias", false)?,
            qk_norm: model_type == "qwen3",
            window,
            slides,
        })
    }
}

/// Heads of keys and values, and the width of a head.
fn head_sizes(
    config: &HfConfig,
    missing: &Missing,
    [heads, hidden_size]: [usize; 2],
) -> Result<(usize, usize), ModelError> {
    let kv_heads = match missing.kv_heads {
        None => config.optional_size("num_key_value_heads")?,
        Some(count) => config.size_or("num_key_value_heads", count)?,
    };
    let kv_heads = kv_heads.unwrap_or(heads);
    if heads % kv_heads != 0 {
        return Err(config.wrong("num_key_value_heads", "a divisor of num_attention_heads"));
    }
    // Llama asks for whole heads even where their width is given.
    if config.model_type()? == "llama" && hidden_size % heads != 0 {
        return Err(config.wrong("hidden_size", "a multiple of num_attention_heads"));
    }
    let own = config.optional_size("head_dim")?.or(missing.head_dim);
    match own.unwrap_or(hidden_size / heads) {
        0 => Err(config.wrong("hidden_size", "at least num_attention_heads")),
        head_dim => Ok((kv_heads, head_dim)),
    }
}

/// The window, and which layers slide: Mistral's all, Qwen's from `max_window_layers` on if it is used.
fn windows(
    config: &HfConfig,
    model_type: &str,
    layers: usize,
    context: usize,
) -> Result<(Option<usize>, Vec<bool>), ModelError> {
    let qwen = model_type.starts_with("qwen");
    let window = match model_type {
        "mistral" => config.size_or("sliding_window", 4096)?,
        _ if qwen && config.flag("use_sliding_window", false)? => {
            config.size_or("sliding_window", 4096)?
        }
        _ => None,
    };
    if !qwen {
        refuse_mixed_layers(config, layers, window, context)?;
        return Ok((window, vec![true; layers]));
    }
    let slides = match config.layer_types(layers)? {
        Some(slides) => slides,
        None => {
            let first = config.count("max_window_layers", 28)?;
            (0..layers).map(|layer| layer >= first).collect()
        }
    };
    if let (None, Some(_), true) =
        (window, config.present("layer_types"), slides.iter().any(|slides| *slides))
    {
        return Err(config.wrong("sliding_window", "a size, as layer_types has sliding layers"));
    }
    Ok((window, slides))
}

/// Llama and Mistral have one kind of layer: refuses configs that ask for others.
fn refuse_mixed_layers(
    config: &HfConfig,
    layers: usize,
    window: Option<usize>,
    context: usize,
) -> Result<(), ModelError> {
    let reason =
        "classes of this model_type have no such layers; use the model_type whose layers slide so";
    let seen = |size: Option<usize>| size.is_none_or(|size| size >= context);
    if window.is_none() {
        let size = config.present("sliding_window");
        let size = size.filter(|size| !seen(size.as_u64().map(|size| size as usize)));
        if let Some(value) = size {
            return Err(config.other_kind("sliding_window", value, reason));
        }
    }
    let slides = config.layer_types(layers)?.unwrap_or_default();
    match config.present("layer_types") {
        Some(value) if !seen(window) && slides.contains(&false) => {
            Err(config.other_kind("layer_types", value, reason))
        }
        Some(value) if window.is_none() && slides.contains(&true) => {
            Err(config.other_kind("layer_types", value, reason))
        }
        _ => Ok(()),
    }
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
    #[module(skip)]
    activation: Activation,
}

impl Llama {
    pub(crate) fn build(
        config: &HfConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = LlamaConfig::read(config)?;
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

impl Architecture for Llama {
    fn dims(&self) -> ModelDims {
        self.config.dims
    }

    fn names(&self) -> &'static Names {
        &NAMES
    }

    fn rotaries(&self) -> Vec<&Rotary> {
        vec![&self.config.rotary]
    }

    fn embedding(&self) -> &Weight {
        &self.embed_tokens.weight
    }

    fn embedding_mut(&mut self) -> &mut Weight {
        &mut self.embed_tokens.weight
    }

    fn forward(&self, batch: &TokenBatch, mut cache: Option<&mut KvCache>) -> Tensor<3> {
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

    fn linears(&self) -> Vec<&Linear> {
        self.layers
            .iter()
            .flat_map(|layer| {
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
            .collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(|layer| {
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
            .collect()
    }

    fn named_tensors(&self) -> Vec<(String, TensorData)> {
        named_tensors(NAMES.prefix, self)
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
        let ModelDims { hidden_size, heads, kv_heads, head_dim, .. } = config.dims;
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        let mut dense = |part: &str, out: usize, width: usize, bias: bool| {
            linear(source, &at(part), [out, width], bias, device)
        };
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let q_proj = dense("self_attn.q_proj", queries, hidden_size, config.qkv_bias)?;
        let k_proj = dense("self_attn.k_proj", keys, hidden_size, config.qkv_bias)?;
        let v_proj = dense("self_attn.v_proj", keys, hidden_size, config.qkv_bias)?;
        let o_proj = dense("self_attn.o_proj", hidden_size, queries, config.output_bias)?;
        let middle = config.dims.intermediate_size;
        let mlp = Mlp {
            gate_proj: dense("mlp.gate_proj", middle, hidden_size, config.mlp_bias)?,
            up_proj: dense("mlp.up_proj", middle, hidden_size, config.mlp_bias)?,
            down_proj: dense("mlp.down_proj", hidden_size, middle, config.mlp_bias)?,
            activation: config.activation,
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
        hidden + self.mlp.forward(x)
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (gate, up) = (self.gate_proj.forward(x.clone()), self.up_proj.forward(x));
        let gated = match self.activation {
            Activation::Silu => swiglu(gate, up),
            other => other.forward(gate) * up,
        };
        self.down_proj.forward(gated)
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
