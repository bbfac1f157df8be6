//! The interface that every architecture implements.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use crate::batching::batch::TokenBatch;
use crate::error::ModelError;
use crate::files::output_head::Names;
use crate::files::weights::{Init, Source};
use crate::layers::kv_cache::KvCache;
use crate::layers::rotary::Rotary;
use crate::layers::{Linear, Weight};

/// Sizes that all architectures share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelDims {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Decoder layers.
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

/// A decoder without an output head. Its fields carry Hugging Face's names, so a parameter's path in
/// the module is its name in `model.safetensors`.
pub(crate) trait Architecture {
    fn dims(&self) -> ModelDims;

    /// The names of its modules in `model.safetensors`.
    fn names(&self) -> &'static Names;

    /// The rotary embeddings of its layers, one per kind of layer.
    fn rotaries(&self) -> Vec<&Rotary>;

    /// Hidden states after the last norm, `[B, T, D]`. With a cache, its keys and values come first
    /// and those of `batch` are appended.
    fn forward(&self, batch: &TokenBatch, cache: Option<&mut KvCache>) -> Tensor<3>;

    /// The embedding `[V, D]`, which a tied head shares.
    fn embedding(&self) -> &Weight;

    fn embedding_mut(&mut self) -> &mut Weight;

    /// The linear layers, which adapters can be attached to, in the order of the forward pass.
    fn linears(&self) -> Vec<&Linear>;

    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// Every weight but the adapters', with its name in `model.safetensors`.
    fn named_tensors(&self) -> Vec<(String, TensorData)>;
}

/// Linear layer `name` with weight `[out, in]`, read from the files or initialised.
pub(crate) fn linear(
    source: &mut Source,
    name: &str,
    shape: [usize; 2],
    bias: bool,
    device: &Device,
) -> Result<Linear, ModelError> {
    let weight = source.weight(&format!("{name}.weight"), shape, device)?;
    let bias = match bias {
        true => Some(source.param(&format!("{name}.bias"), [shape[0]], Init::Zeros, device)?),
        false => None,
    };
    Ok(Linear { weight, bias, lora: None, name: name.into(), compute_dtype: FloatDType::F32 })
}

/// Weights of a module by their paths, which begin with `prefix`; the adapters' are left out.
pub(crate) fn named_tensors<M: Module>(prefix: &str, module: &M) -> Vec<(String, TensorData)> {
    struct Collect {
        path: Vec<String>,
        found: Vec<(String, TensorData)>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            if container_type != Weight::CONTAINER_TYPE {
                self.path.push(name.into());
            }
        }
        fn exit_module(&mut self, _name: &str, container_type: &str) {
            if container_type != Weight::CONTAINER_TYPE {
                self.path.pop();
            }
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
