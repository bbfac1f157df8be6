//! A causal language model: decoder and output head, loaded from and saved to Hugging Face folders.

use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use serde_json::{Value, json};

use crate::arch::architecture::{ModelDims, linear};
use crate::arch::decoder::{self, Decoder};
use crate::batching::batch::{CompletionBatch, Prompts, TokenBatch};
use crate::error::ModelError;
use crate::files::config::{Class, HfConfig};
use crate::files::folder;
use crate::files::output_head;
use crate::files::weights::{Source, TensorFiles};
use crate::layers::kv_cache::KvCache;
use crate::layers::{Linear, LoraWeights, Weight, WeightStorage, rounded};
use crate::lora::{self, Factors, LoraConfig};

/// A decoder with its output head. The head is absent where it is tied to the embedding.
///
/// Clones share their tensors. Weights are frozen until [`CausalLm::trainable`]; fresh adapters are trained.
/// `valid()` of Burn's `Module` gives the same model without gradients.
#[derive(Module, Debug)]
pub struct CausalLm {
    /// The decoder.
    pub decoder: Decoder,
    /// The untied output head.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: HfConfig,
    #[module(skip)]
    lora: Option<LoraConfig>,
    #[module(skip)]
    compute_dtype: FloatDType,
}

impl CausalLm {
    /// Reads a model folder: `config.json` and `model.safetensors`, or shards and their index.
    ///
    /// Weights in f16 and bf16 become f32.
    ///
    /// # Errors
    /// When the config is not supported or a tensor is missing, extra, of another shape or damaged.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        Self::load_stored(folder, WeightStorage::F32, device)
    }

    /// Reads a model folder and holds its matrices (linear layers, embedding, head) as `storage`. With
    /// [`WeightStorage::Bf16`] they are frozen and take half the memory: the base of adapters. A bf16 checkpoint loses
    /// nothing; f32 and f16 checkpoints are rounded to bf16.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the device cannot hold bf16.
    pub fn load_stored(
        folder: &Path,
        storage: WeightStorage,
        device: &Device,
    ) -> Result<Self, ModelError> {
        storage.check(device)?;
        let (mut config, mut files) = open(folder, Class::CausalLm)?;
        output_head::settle(decoder::names(&config)?, &mut config, &mut files)?;
        let mut source = Source::Files { files, storage };
        let model = Self::build(config, Class::CausalLm, &mut source, device)?;
        if let Source::Files { files, .. } = source {
            files.finish(harmless)?;
        }
        Ok(model)
    }

    /// A model with fresh weights: normal with `initializer_range` (0.02), norms 1, biases 0.
    ///
    /// # Errors
    /// When the config is not supported.
    pub fn random(config: HfConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let std = config.number("initializer_range", 0.02)?;
        Self::build(config, Class::CausalLm, &mut Source::random(seed, std), device)
    }

    /// Of a [`Class::Classification`] the output head is neither read nor used.
    pub(crate) fn build(
        config: HfConfig,
        class: Class,
        source: &mut Source,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let decoder = Decoder::build(&config, source, device)?;
        let ModelDims { vocab_size, hidden_size, tied, .. } = decoder.shape();
        let lm_head = match tied || class == Class::Classification {
            true => None,
            false => {
                let name = decoder.names().heads[0];
                Some(linear(source, name, [vocab_size, hidden_size], false, device)?)
            }
        };
        Ok(Self { decoder, lm_head, config, lora: None, compute_dtype: FloatDType::F32 })
    }

    /// Sizes.
    pub fn shape(&self) -> ModelDims {
        self.decoder.shape()
    }

    /// The config as read, written again by [`save`](Self::save).
    pub fn config(&self) -> &HfConfig {
        &self.config
    }

    /// The settings of the attached adapter.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// Where the weights are, without gradients.
    pub fn device(&self) -> Device {
        self.head_weight().tensor().device().without_autodiff()
    }

    /// The output head `[V, D]`.
    pub fn head_weight(&self) -> &Weight {
        self.lm_head.as_ref().map_or(self.decoder.embedding(), |head| &head.weight)
    }

    /// Hidden states after the last norm.
    ///
    /// # Shapes
    /// - output: `[B, T, D]`
    pub fn hidden(&self, batch: &TokenBatch) -> Tensor<3> {
        self.decoder.forward(batch)
    }

    /// Hidden states of all tokens, `[B·T, D]`; of shared prompts, the last state for each row,
    /// followed by the completions'.
    pub(crate) fn flat_hidden(&self, batch: &CompletionBatch) -> Tensor<2> {
        let flat = |hidden: Tensor<3>| {
            let [rows, time, width] = hidden.dims();
            hidden.reshape([rows * time, width])
        };
        let Some(prompts) = &batch.prompts else {
            return flat(self.hidden(&batch.tokens));
        };
        // Where rope depends on a row's length, a prompt's states do too, and rows share none.
        if self.decoder.has_long(batch.tokens.row_lengths.iter().copied()) {
            let (rows, last) = batch.whole_rows(prompts);
            let hidden = self.hidden(&rows);
            let time = hidden.dims()[1] - last - 1;
            let ends = flat(hidden.clone().narrow(1, last, 1));
            return Tensor::cat(vec![ends, flat(hidden.narrow(1, last + 1, time))], 0);
        }
        let Prompts { tokens, source } = prompts;
        let mut cache = KvCache::prompts();
        let states = self.decoder.forward_cached(tokens, Some(&mut cache));
        let last = states.dims()[1] - 1;
        let mut cache = cache.behind(source.clone());
        let completions = self.decoder.forward_cached(&batch.tokens, Some(&mut cache));
        let ends = flat(states.narrow(1, last, 1)).select(0, source.clone());
        Tensor::cat(vec![ends, flat(completions)], 0)
    }

    /// All logits, for inspection and tests; training and scoring use
    /// [`log_probs`](Self::log_probs), which never forms them at once.
    ///
    /// # Shapes
    /// - output: `[B, T, V]`
    pub fn logits(&self, batch: &TokenBatch) -> Tensor<3> {
        let hidden = self.hidden(batch);
        let [rows, time, width] = hidden.dims();
        let logits = self.project(hidden.reshape([rows * time, width]));
        let vocab = logits.dims()[1];
        logits.reshape([rows, time, vocab])
    }

    /// `[N, D]` to logits `[N, V]`.
    pub(crate) fn project(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.head_weight().project(hidden, self.compute_dtype)
    }

    /// Refuses to sample up to `new` tokens after a prompt of `prompt` tokens where rope would
    /// change on the way: see the crate's introduction. Sampling checks this too; `row` is what the
    /// error names.
    ///
    /// # Errors
    /// When the row could grow past the length at which its rope changes.
    pub fn check_growth(&self, row: usize, prompt: usize, new: usize) -> Result<(), ModelError> {
        self.decoder.check_growth(row, prompt, new)
    }

    /// What the products of its linear layers and its head are computed in: f32, unless
    /// [`with_compute_dtype`](Self::with_compute_dtype) says otherwise.
    pub fn compute_dtype(&self) -> FloatDType {
        self.compute_dtype
    }

    /// Computes the products of linear layers, adapters and head in `dtype`, as in mixed precision: weights, their gradients, attention,
    /// norms, softmax and losses stay f32. Every model made of this one does so too.
    ///
    /// # Errors
    /// When the device cannot compute in `dtype`.
    pub fn with_compute_dtype(mut self, dtype: FloatDType) -> Result<Self, ModelError> {
        if !self.device().supports_dtype(dtype) {
            let device = format!("{:?}", self.device());
            return Err(ModelError::ComputeDtype { dtype: format!("{dtype:?}"), device });
        }
        let head = self.lm_head.as_mut();
        for layer in self.decoder.linears_mut().chain(head) {
            layer.compute_dtype = dtype;
        }
        self.compute_dtype = dtype;
        Ok(self)
    }

    /// Without gradients, and with its weights rounded once to what products are computed in: for many passes of few tokens,
    /// which each round all weights otherwise. Not to be saved: a tied head stands beside the embedding.
    pub(crate) fn for_decoding(&self) -> Self {
        let (mut model, dtype) = (self.valid(), self.compute_dtype);
        if dtype == FloatDType::F32 {
            return model;
        }
        model.lm_head.get_or_insert_with(|| Linear {
            weight: model.decoder.embedding().clone(),
            bias: None,
            lora: None,
            name: self.decoder.names().heads[0].into(),
            compute_dtype: dtype,
        });
        let head = model.lm_head.as_mut();
        for layer in model.decoder.linears_mut().chain(head) {
            let factors = layer.lora.iter_mut().flat_map(|lora| [&mut lora.a, &mut lora.b]);
            let (Weight::F32(weight) | Weight::Bf16(weight)) = &mut layer.weight;
            for weight in factors.chain([weight]) {
                *weight = weight.clone().map(|weight| rounded(weight, dtype));
            }
        }
        model
    }

    /// How its matrices are stored.
    pub fn weight_storage(&self) -> WeightStorage {
        self.head_weight().storage()
    }

    /// Holds its matrices as `storage`, frozen where that is bf16; adapters stay as they are. To load a model without an f32
    /// copy use [`load_stored`](Self::load_stored).
    ///
    /// # Errors
    /// When the device cannot hold bf16.
    pub fn with_weight_storage(mut self, storage: WeightStorage) -> Result<Self, ModelError> {
        storage.check(&self.device())?;
        self.store_as(storage);
        Ok(self)
    }

    /// Bytes of all weights as they are stored, adapters left out.
    pub fn base_bytes(&self) -> u64 {
        let mut bytes = Bytes { lora: 0, sum: 0 };
        self.visit(&mut bytes);
        bytes.sum
    }

    fn store_as(&mut self, storage: WeightStorage) {
        let change = |weight: &mut Weight| *weight = weight.clone().stored_as(storage);
        change(self.decoder.embedding_mut());
        let layers = self.decoder.linears_mut().chain(self.lm_head.as_mut());
        layers.for_each(|layer| change(&mut layer.weight));
    }

    /// Asks for gradients: of the adapters where some are attached, of every weight otherwise, which makes weights stored as
    /// bf16 f32 again.
    pub fn trainable(mut self) -> Self {
        if self.lora.is_none() {
            self.store_as(WeightStorage::F32);
            return self.map(&mut Track);
        }
        for layer in self.decoder.linears_mut() {
            layer.lora = layer.lora.take().map(|lora| lora.map(&mut Track));
        }
        self
    }

    /// Attaches fresh adapters, trainable; the model's output is unchanged.
    ///
    /// # Errors
    /// When a target matches no layer, or the rank is 0.
    pub fn with_lora(mut self, config: &LoraConfig, seed: u64) -> Result<Self, ModelError> {
        config.check(self.decoder.linears())?;
        let device = self.device();
        lora::attach(self.decoder.linears_mut(), config, seed, &device);
        self.lora = Some(config.clone());
        Ok(self)
    }

    /// Takes the adapters off.
    pub fn without_lora(mut self) -> Self {
        self.decoder.linears_mut().for_each(|layer| layer.lora = None);
        self.lora = None;
        self
    }

    /// Attaches the factors that are given for a layer; `config` is what [`lora`](Self::lora) gives
    /// afterwards.
    pub(crate) fn set_lora(
        &mut self,
        config: LoraConfig,
        mut factors: impl FnMut(&Linear) -> Result<Option<Factors>, ModelError>,
    ) -> Result<(), ModelError> {
        let device = self.device();
        for layer in self.decoder.linears_mut() {
            if let Some(factors) = factors(layer)? {
                lora::set(layer, factors, &device);
            }
        }
        self.lora = Some(config);
        Ok(())
    }

    /// The adapters folded into the weights, in f32: `W + s·B·A`.
    ///
    /// # Errors
    /// When no adapter is attached.
    pub fn merged(self) -> Result<Self, ModelError> {
        if self.lora.is_none() {
            return Err(ModelError::NoAdapter);
        }
        let mut model = self.valid();
        for layer in model.decoder.linears_mut() {
            if let Some(LoraWeights { a, b, scale }) = layer.lora.take() {
                let delta = LoraWeights { a, b, scale }.delta();
                layer.weight = layer.weight.clone().map_f32(|weight| weight + delta);
            }
        }
        model.store_as(WeightStorage::F32);
        model.lora = None;
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` (f32), which Transformers loads as they are.
    ///
    /// The tokenizer's files are not the model's; [`copy_tokenizer`](crate::copy_tokenizer) brings them.
    ///
    /// # Errors
    /// When an adapter is attached (save it, or merge first) or the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        if self.lora.is_some() {
            return Err(ModelError::Adapter {
                field: "adapter",
                found: "attached".into(),
                expected: "none: save the adapter itself, or merge it before saving the full model",
            });
        }
        let [class, _] = self.config.class_names()?;
        let fields = folder::with_fields(&self.config, &[("architectures", json!([class]))]);
        let mut tensors = self.decoder.named_tensors();
        if let Some(head) = &self.lm_head {
            tensors.push((format!("{}.weight", head.name), head.weight.tensor().into_data()));
        }
        folder::write_model(folder, &Value::Object(fields), tensors)
    }

    /// The attached adapters' factors as PEFT names them.
    pub(crate) fn adapter_tensors(&self) -> Vec<(String, TensorData)> {
        let mut tensors = Vec::new();
        for layer in self.decoder.linears() {
            if let Some(lora) = &layer.lora {
                let name = |factor| format!("base_model.model.{}.{factor}.weight", layer.name);
                tensors.push((name("lora_A"), lora.a.val().into_data()));
                tensors.push((name("lora_B"), lora.b.val().into_data()));
            }
        }
        tensors
    }
}

/// Config and weights of a folder that is to be loaded as `class`.
pub(crate) fn open(folder: &Path, class: Class) -> Result<(HfConfig, TensorFiles), ModelError> {
    let config = HfConfig::read(folder)?;
    if folder.join("adapter_config.json").is_file() {
        return Err(ModelError::ModelWithAdapter { folder: folder.into() });
    }
    config.check_model_type()?;
    config.refuse_other_kinds()?;
    config.check_class(class)?;
    let files = TensorFiles::open_folder(folder)?;
    let prefix = decoder::names(&config)?.prefix;
    Ok((config, files.with_prefix(prefix)))
}

/// Tensors of old checkpoints that hold no weights.
pub(crate) fn harmless(name: &str) -> bool {
    let buffers = ["rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"];
    buffers.iter().any(|end| name.ends_with(end))
}

/// Counts bytes of parameters outside of adapters.
struct Bytes {
    lora: usize,
    sum: u64,
}

impl ModuleVisitor for Bytes {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.lora += usize::from(name == "lora");
    }

    fn exit_module(&mut self, name: &str, _container_type: &str) {
        self.lora -= usize::from(name == "lora");
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.lora == 0 {
            let tensor = param.val();
            self.sum += (tensor.shape().num_elements() * tensor.dtype().size()) as u64;
        }
    }
}

struct Track;

impl ModuleMapper for Track {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let tensor = param.val();
        let tracked = if tensor.is_autodiff() { tensor } else { tensor.autodiff() };
        Param::initialized(param.id, tracked.detach().require_grad())
    }
}
