//! GPT-NeoX (Pythia): parallel residual, partial rotary, layer norms with biases.
//!
//! `h ← h + attention(norm₁(h)) + mlp(norm₂(h))`, or one after the other where `use_parallel_residual` is
//! false, as in Transformers' `modeling_gpt_neox.py`.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

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
use crate::layers::{Embedding, LayerNorm, Linear, Weight};

/// `model_type`s that this file reads.
pub(crate) const MODEL_TYPES: &[&str] = &["gpt_neox"];

pub(crate) const NAMES: Names = Names {
    prefix: "gpt_neox",
    embedding: "gpt_neox.embed_in",
    heads: &["embed_out", "lm_head"],
    tied_by_default: false,
};

/// What `config.json` says of a GPT-NeoX model.
#[derive(Debug, Clone)]
pub struct GptNeoXConfig {
    /// Sizes that all architectures share.
    pub dims: ModelDims,
    layer_norm_eps: f64,
    pub(crate) rotary: Rotary,
    activation: Activation,
    attention_bias: bool,
    parallel: bool,
}

impl GptNeoXConfig {
    pub(crate) fn read(config: &HfConfig) -> Result<Self, ModelError> {
        config.refuse_other_kinds()?;
        let heads = config.size("num_attention_heads")?;
        let hidden_size = config.size("hidden_size")?;
        if hidden_size % heads != 0 {
            return Err(config.wrong("hidden_size", "a multiple of num_attention_heads"));
        }
        let head_dim = hidden_size / heads;
        if config.optional_size("head_dim")?.is_some_and(|width| width != head_dim) {
            return Err(
                config.wrong("head_dim", "hidden_size / num_attention_heads, or no such field")
            );
        }
        let positions = config.optional_size("max_position_embeddings")?.unwrap_or(2048);
        let (rotary, context) = rope::read(config, Dialect::GptNeoX, head_dim, positions)?;
        refuse_sliding(config, context)?;
        Ok(Self {
            dims: ModelDims {
                intermediate_size: config.size("intermediate_size")?,
                vocab_size: config.size("vocab_size")?,
                hidden_size,
                layers: config.size("num_hidden_layers")?,
                heads,
                kv_heads: heads,
                head_dim,
                context,
                tied: config.flag("tie_word_embeddings", false)?,
            },
            layer_norm_eps: config.number("layer_norm_eps", 1e-5)?,
            rotary,
            activation: Activation::read(config, "hidden_act", Activation::Gelu)?,
            attention_bias: config.flag("attention_bias", true)?,
            parallel: config.flag("use_parallel_residual", true)?,
        })
    }
}

/// GPT-NeoX's layers see all tokens before: refuses windows that a row can be longer than.
fn refuse_sliding(config: &HfConfig, context: usize) -> Result<(), ModelError> {
    let full = |value: &Value| {
        let items = value.as_array();
        items.is_some_and(|kinds| kinds.iter().all(|kind| kind == "full_attention"))
            || value.as_u64().is_some_and(|window| window >= context as u64)
    };
    for field in ["sliding_window", "layer_types"] {
        if let Some(value) = config.present(field).filter(|value| !full(value)) {
            let reason = "GPT-NeoX has no sliding layers; use the model_type whose layers slide so";
            return Err(config.other_kind(field, value, reason));
        }
    }
    Ok(())
}

/// The decoder without its output head.
#[derive(Module, Debug)]
pub struct GptNeoX {
    pub(crate) embed_in: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_layer_norm: LayerNorm,
    #[module(skip)]
    pub(crate) config: GptNeoXConfig,
}

/// One block.
#[derive(Module, Debug)]
pub struct Layer {
    input_layernorm: LayerNorm,
    post_attention_layernorm: LayerNorm,
    attention: SelfAttention,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct SelfAttention {
    query_key_value: Linear,
    dense: Linear,
}

#[derive(Module, Debug)]
struct Mlp {
    dense_h_to_4h: Linear,
    dense_4h_to_h: Linear,
    #[module(skip)]
    activation: Activation,
}

impl GptNeoX {
    pub(crate) fn build(
        config: &HfConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = GptNeoXConfig::read(config)?;
        let ModelDims { vocab_size, hidden_size, layers, .. } = config.dims;
        let name = "gpt_neox.embed_in.weight";
        let weight = source.weight(name, [vocab_size, hidden_size], device)?;
        let layers = (0..layers)
            .map(|layer| Layer::build(&config, layer, source, device))
            .collect::<Result<_, _>>()?;
        let final_layer_norm = norm(&config, "gpt_neox.final_layer_norm", source, device)?;
        Ok(Self { embed_in: Embedding { weight }, layers, final_layer_norm, config })
    }
}

impl Architecture for GptNeoX {
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
        &self.embed_in.weight
    }

    fn embedding_mut(&mut self) -> &mut Weight {
        &mut self.embed_in.weight
    }

    fn forward(&self, batch: &TokenBatch, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let past = cache.as_ref().map_or(0, |cache| cache.len);
        let attend = Attend::new(batch, &self.config.rotary, past, None);
        let mut hidden = self.embed_in.forward(batch.input_ids.clone());
        for (index, layer) in self.layers.iter().enumerate() {
            let x = layer.input_layernorm.forward(hidden.clone());
            let heads = self.config.dims.heads;
            let seen = layer.attention.forward(x, heads, &attend, index, cache.as_deref_mut());
            hidden = match self.config.parallel {
                true => {
                    let x = layer.post_attention_layernorm.forward(hidden.clone());
                    hidden + seen + layer.mlp.forward(x)
                }
                false => {
                    let hidden = hidden + seen;
                    let x = layer.post_attention_layernorm.forward(hidden.clone());
                    hidden + layer.mlp.forward(x)
                }
            };
        }
        if let Some(cache) = cache {
            cache.len += batch.shape()[1];
        }
        self.final_layer_norm.forward(hidden)
    }

    fn linears(&self) -> Vec<&Linear> {
        self.layers
            .iter()
            .flat_map(|layer| {
                let (attention, mlp) = (&layer.attention, &layer.mlp);
                [
                    &attention.query_key_value,
                    &attention.dense,
                    &mlp.dense_h_to_4h,
                    &mlp.dense_4h_to_h,
                ]
            })
            .collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(|layer| {
                let (attention, mlp) = (&mut layer.attention, &mut layer.mlp);
                [
                    &mut attention.query_key_value,
                    &mut attention.dense,
                    &mut mlp.dense_h_to_4h,
                    &mut mlp.dense_4h_to_h,
                ]
            })
            .collect()
    }

    fn named_tensors(&self) -> Vec<(String, TensorData)> {
        named_tensors(NAMES.prefix, self)
    }
}

fn norm(
    config: &GptNeoXConfig,
    name: &str,
    source: &mut Source,
    device: &Device,
) -> Result<LayerNorm, ModelError> {
    let width = config.dims.hidden_size;
    Ok(LayerNorm {
        weight: source.param(&format!("{name}.weight"), [width], Init::Ones, device)?,
        bias: source.param(&format!("{name}.bias"), [width], Init::Zeros, device)?,
        eps: config.layer_norm_eps,
    })
}

impl Layer {
    fn build(
        config: &GptNeoXConfig,
        layer: usize,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let width = config.dims.hidden_size;
        let at = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
        let mut dense = |part: &str, out: usize, width: usize, bias: bool| {
            linear(source, &at(part), [out, width], bias, device)
        };
        let bias = config.attention_bias;
        let attention = SelfAttention {
            query_key_value: dense("attention.query_key_value", 3 * width, width, bias)?,
            dense: dense("attention.dense", width, width, bias)?,
        };
        let middle = config.dims.intermediate_size;
        let mlp = Mlp {
            dense_h_to_4h: dense("mlp.dense_h_to_4h", middle, width, true)?,
            dense_4h_to_h: dense("mlp.dense_4h_to_h", width, middle, true)?,
            activation: config.activation,
        };
        Ok(Self {
            input_layernorm: norm(config, &at("input_layernorm"), source, device)?,
            post_attention_layernorm: norm(
                config,
                &at("post_attention_layernorm"),
                source,
                device,
            )?,
            attention,
            mlp,
        })
    }
}

impl SelfAttention {
    fn forward(
        &self,
        x: Tensor<3>,
        heads: usize,
        attend: &Attend,
        index: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [batch, time, hidden] = x.dims();
        let width = hidden / heads;
        let fused = self
            .query_key_value
            .forward(x)
            .reshape([batch, time, heads, 3 * width])
            .swap_dims(1, 2);
        let part = |which: usize| fused.clone().narrow(3, which * width, width);
        let q = rotate(part(0), &attend.cos, &attend.sin);
        let k = rotate(part(1), &attend.cos, &attend.sin);
        let (k, v) = match cache {
            Some(cache) => cache.append(index, k, part(2)),
            None => (k, part(2)),
        };
        self.dense.forward(attend.forward(q, k, v, 1.0 / (width as f64).sqrt(), None))
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.dense_4h_to_h.forward(self.activation.forward(self.dense_h_to_4h.forward(x)))
    }
}
