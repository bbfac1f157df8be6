//! What every architecture gives to the rest of the crate. A new one is a file beside
//! [`llama`](crate::arch::llama) and a variant here.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use crate::arch::gpt_neox::{self, GptNeoX, GptNeoXConfig};
use crate::arch::llama::{self, Llama, LlamaConfig};
use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::weights::{Init, Source};
use crate::layers::Linear;
use crate::layers::kv_cache::KvCache;
use crate::layers::rotary::Rotary;

/// Sizes that all architectures share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelDims {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Blocks.
    pub layers: usize,
    /// Width within the feed-forward layers.
    pub intermediate_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The longest row, in tokens.
    pub context: usize,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

/// A decoder without an output head.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Decoder {
    /// Llama, Mistral, SmolLM2, Qwen2, Qwen3.
    Llama(Llama),
    /// GPT-NeoX, Pythia.
    GptNeoX(GptNeoX),
}

impl Decoder {
    pub(crate) fn build(
        config: &HfConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check_model_type()?;
        let found = config.model_type()?;
        if llama::MODEL_TYPES.contains(&found) {
            return Llama::build(LlamaConfig::read(config)?, source, device).map(Self::Llama);
        }
        if gpt_neox::MODEL_TYPES.contains(&found) {
            return GptNeoX::build(GptNeoXConfig::read(config)?, source, device).map(Self::GptNeoX);
        }
        Err(config.unsupported_model())
    }

    /// The sizes that a config gives.
    pub(crate) fn shape_of(config: &HfConfig) -> Result<ModelDims, ModelError> {
        config.check_model_type()?;
        match gpt_neox::MODEL_TYPES.contains(&config.model_type()?) {
            true => Ok(GptNeoXConfig::read(config)?.shape),
            false => Ok(LlamaConfig::read(config)?.shape),
        }
    }

    /// Sizes.
    pub fn shape(&self) -> ModelDims {
        match self {
            Self::Llama(model) => model.config.shape,
            Self::GptNeoX(model) => model.config.shape,
        }
    }

    /// Its rotary position embedding.
    pub(crate) fn rotary(&self) -> &Rotary {
        match self {
            Self::Llama(model) => &model.config.rotary,
            Self::GptNeoX(model) => &model.config.rotary,
        }
    }

    /// Hidden states after the last norm.
    ///
    /// # Shapes
    /// - output: `[B, T, D]`
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<3> {
        self.forward_cached(batch, None)
    }

    pub(crate) fn forward_cached(
        &self,
        batch: &TokenBatch,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        match self {
            Self::Llama(model) => model.forward(batch, cache),
            Self::GptNeoX(model) => model.forward(batch, cache),
        }
    }

    /// The embedding `[V, D]`, which a tied head shares.
    pub(crate) fn embedding(&self) -> &Param<Tensor<2>> {
        match self {
            Self::Llama(model) => &model.embed_tokens.weight,
            Self::GptNeoX(model) => &model.embed_in.weight,
        }
    }

    /// The linear layers, which adapters can be attached to.
    pub fn linears(&self) -> Box<dyn Iterator<Item = &Linear> + '_> {
        match self {
            Self::Llama(model) => Box::new(model.linears()),
            Self::GptNeoX(model) => Box::new(model.linears()),
        }
    }

    pub(crate) fn linears_mut(&mut self) -> Box<dyn Iterator<Item = &mut Linear> + '_> {
        match self {
            Self::Llama(model) => Box::new(model.linears_mut()),
            Self::GptNeoX(model) => Box::new(model.linears_mut()),
        }
    }

    /// The name of the output head's tensor in a folder.
    pub(crate) fn head_name(&self) -> &'static str {
        match self {
            Self::Llama(_) => "lm_head",
            Self::GptNeoX(_) => "embed_out",
        }
    }

    /// The name of the embedding's module in a folder.
    pub(crate) fn embedding_name(&self) -> &'static str {
        match self {
            Self::Llama(_) => "model.embed_tokens",
            Self::GptNeoX(_) => "gpt_neox.embed_in",
        }
    }

    /// Names of the classes in Transformers, for `architectures`: causal, classification.
    pub(crate) fn class_names(&self, model_type: &str) -> [String; 2] {
        let stem = match model_type {
            "mistral" => "Mistral",
            "qwen2" => "Qwen2",
            "qwen3" => "Qwen3",
            "gpt_neox" => "GPTNeoX",
            _ => "Llama",
        };
        [format!("{stem}ForCausalLM"), format!("{stem}ForSequenceClassification")]
    }

    /// Every weight but the adapters', with its name in a Hugging Face folder.
    pub(crate) fn named_tensors(&self) -> Vec<(String, TensorData)> {
        match self {
            Self::Llama(model) => named_tensors("model", model),
            Self::GptNeoX(model) => named_tensors("gpt_neox", model),
        }
    }
}

/// A linear layer by its name, read or fresh.
pub(crate) fn linear(
    source: &mut Source,
    name: &str,
    shape: [usize; 2],
    bias: bool,
    device: &Device,
) -> Result<Linear, ModelError> {
    let weight = source.param(&format!("{name}.weight"), shape, Init::Normal, device)?;
    let bias = match bias {
        true => Some(source.param(&format!("{name}.bias"), [shape[0]], Init::Zeros, device)?),
        false => None,
    };
    Ok(Linear { weight, bias, lora: None, name: name.into(), compute_dtype: FloatDType::F32 })
}

/// Fields carry Hugging Face's names, so a parameter's path in the module is its name on disk.
fn named_tensors<M: Module>(prefix: &str, module: &M) -> Vec<(String, TensorData)> {
    struct Collect {
        path: Vec<String>,
        found: Vec<(String, TensorData)>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.path.iter().any(|part| part == "lora") {
                self.found.push((self.path.join("."), param.val().into_data()));
            }
        }
    }
    let mut collect = Collect { path: vec![prefix.into()], found: vec![] };
    module.visit(&mut collect);
    collect.found
}
