//! The decoder of a model: one of the architectures. A new one is a file beside [`llama`], a variant
//! of [`Decoder`] and an entry of [`ARCHITECTURES`] here, and its config fields in
//! `files/config/families.rs`.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::architecture::{Architecture, ModelDims};
use super::{gemma3, gpt_neox, llama};
use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::output_head::Names;
use crate::files::weights::Source;
use crate::layers::kv_cache::KvCache;
use crate::layers::{Linear, Weight};

/// A decoder without an output head.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Decoder {
    /// Llama, Mistral, SmolLM2, Qwen2, Qwen3.
    Llama(llama::Llama),
    /// GPT-NeoX, Pythia.
    GptNeoX(gpt_neox::GptNeoX),
    /// Gemma 3, text only.
    Gemma3(gemma3::Gemma3),
}

/// How an architecture is read from a folder.
struct Entry {
    model_types: &'static [&'static str],
    names: &'static Names,
    dims: fn(&HfConfig) -> Result<ModelDims, ModelError>,
    build: fn(&HfConfig, &mut Source, &Device) -> Result<Decoder, ModelError>,
}

const ARCHITECTURES: &[Entry] = &[
    Entry {
        model_types: llama::MODEL_TYPES,
        names: &llama::NAMES,
        dims: |config| Ok(llama::LlamaConfig::read(config)?.dims),
        build: |config, source, device| {
            llama::Llama::build(config, source, device).map(Decoder::Llama)
        },
    },
    Entry {
        model_types: gpt_neox::MODEL_TYPES,
        names: &gpt_neox::NAMES,
        dims: |config| Ok(gpt_neox::GptNeoXConfig::read(config)?.dims),
        build: |config, source, device| {
            gpt_neox::GptNeoX::build(config, source, device).map(Decoder::GptNeoX)
        },
    },
    Entry {
        model_types: gemma3::MODEL_TYPES,
        names: &gemma3::NAMES,
        dims: |config| Ok(gemma3::Gemma3Config::read(config)?.dims),
        build: |config, source, device| {
            gemma3::Gemma3::build(config, source, device).map(Decoder::Gemma3)
        },
    },
];

fn entry(config: &HfConfig) -> Result<&'static Entry, ModelError> {
    config.check_model_type()?;
    let found = config.model_type()?;
    let entry = ARCHITECTURES.iter().find(|entry| entry.model_types.contains(&found));
    entry.ok_or_else(|| config.unsupported_model())
}

/// The names of modules in `model.safetensors` for a config.
pub(crate) fn names(config: &HfConfig) -> Result<&'static Names, ModelError> {
    Ok(entry(config)?.names)
}

impl HfConfig {
    /// The longest row that a model of this config takes, in tokens: `max_position_embeddings`,
    /// stretched by kinds of rope whose factor is not part of it.
    ///
    /// # Errors
    /// When the config is not supported.
    pub fn context(&self) -> Result<usize, ModelError> {
        Ok((entry(self)?.dims)(self)?.context)
    }
}

impl Decoder {
    pub(crate) fn build(
        config: &HfConfig,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        (entry(config)?.build)(config, source, device)
    }

    fn inner(&self) -> &dyn Architecture {
        match self {
            Self::Llama(model) => model,
            Self::GptNeoX(model) => model,
            Self::Gemma3(model) => model,
        }
    }

    fn inner_mut(&mut self) -> &mut dyn Architecture {
        match self {
            Self::Llama(model) => model,
            Self::GptNeoX(model) => model,
            Self::Gemma3(model) => model,
        }
    }

    /// Sizes.
    pub fn shape(&self) -> ModelDims {
        self.inner().dims()
    }

    /// Whether a row of one of these lengths, in tokens, has other rotary frequencies than short rows.
    pub(crate) fn has_long(&self, mut lengths: impl Iterator<Item = usize>) -> bool {
        let rotaries = self.inner().rotaries();
        lengths.any(|length| rotaries.iter().any(|rotary| rotary.is_long(length)))
    }

    /// Refuses a row whose rotary frequencies would change while it grows from `prompt` tokens by up to
    /// `new`.
    pub(crate) fn check_growth(
        &self,
        row: usize,
        prompt: usize,
        new: usize,
    ) -> Result<(), ModelError> {
        let rotaries = self.inner().rotaries();
        rotaries.into_iter().try_for_each(|rotary| rotary.check_growth(row, prompt, new))
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
        self.inner().forward(batch, cache)
    }

    /// The embedding `[V, D]`, which a tied head shares.
    pub(crate) fn embedding(&self) -> &Weight {
        self.inner().embedding()
    }

    pub(crate) fn embedding_mut(&mut self) -> &mut Weight {
        self.inner_mut().embedding_mut()
    }

    /// The linear layers, which adapters can be attached to.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.inner().linears().into_iter()
    }

    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.inner_mut().linears_mut().into_iter()
    }

    /// The names of its modules in `model.safetensors`.
    pub(crate) fn names(&self) -> &'static Names {
        self.inner().names()
    }

    /// Every weight but the adapters', with its name in `model.safetensors`.
    pub(crate) fn named_tensors(&self) -> Vec<(String, TensorData)> {
        self.inner().named_tensors()
    }
}
