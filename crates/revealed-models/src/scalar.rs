//! A decoder with one number a token instead of logits: the shape of a reward and of a critic.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::arch::decoder::Decoder;
use crate::batching::batch::{CompletionBatch, TokenBatch};
use crate::causal_lm::{CausalLm, harmless, open};
use crate::error::ModelError;
use crate::files::config::Class;
use crate::files::folder;
use crate::files::weights::{Init, Source, named_param, normals};
use crate::layers::WeightStorage;

/// A backbone and a linear head of one output, without bias.
#[derive(Module, Debug)]
pub struct ScalarModel {
    /// The decoder, with its adapters if it has some. Its output head is never used.
    pub backbone: CausalLm,
    /// `[1, D]`.
    pub score: Param<Tensor<2>>,
}

impl ScalarModel {
    /// Puts a fresh head, `N(0, 1/√(D + 1))`, on a backbone; the head is trainable.
    pub fn new(backbone: CausalLm, seed: u64) -> Self {
        let width = backbone.shape().hidden_size;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let weights = normals(&mut rng, width, 1.0 / ((width + 1) as f64).sqrt());
        Self::with_head(backbone, weights)
    }

    /// Puts a given head of `D` weights on a backbone; the head is trainable.
    ///
    /// # Panics
    /// When the number of weights is not the backbone's width.
    pub fn with_head(backbone: CausalLm, weights: Vec<f32>) -> Self {
        let width = backbone.shape().hidden_size;
        assert_eq!(weights.len(), width, "one head weight for each hidden dimension");
        let device = backbone.device().autodiff();
        let tensor = Tensor::from_data(TensorData::new(weights, [1, width]), &device);
        Self { backbone, score: named_param("score.weight", tensor.require_grad()) }
    }

    /// Asks for gradients: of the head, and of the backbone as [`CausalLm::trainable`] does.
    pub fn trainable(mut self) -> Self {
        self.backbone = self.backbone.trainable();
        let head = self.score.val();
        let head = if head.is_autodiff() { head } else { head.autodiff() };
        self.score = named_param("score.weight", head.detach().require_grad());
        self
    }

    /// One number a token.
    ///
    /// # Shapes
    /// - output: `[B, T]`
    pub fn token_scores(&self, batch: &TokenBatch) -> Tensor<2> {
        let hidden = self.backbone.hidden(batch);
        let [rows, time, width] = hidden.dims();
        let scores = hidden.reshape([rows * time, width]).matmul(self.score.val().transpose());
        scores.reshape([rows, time])
    }

    /// The number at each row's last real token.
    ///
    /// # Shapes
    /// - output: `[B]`
    pub fn scores(&self, batch: &TokenBatch) -> Tensor<1> {
        let last = batch.last_token().unsqueeze_dim::<2>(1);
        self.token_scores(batch).gather(1, last).squeeze_dim::<1>(1)
    }

    /// The number at the state before each completion token, as a critic gives it.
    ///
    /// # Shapes
    /// - output: `[B, C]`, 0 at filler
    pub fn values(&self, batch: &CompletionBatch) -> Tensor<2> {
        batch.to_rows(self.flat_scores(batch).select(0, batch.predicts.clone()))
    }

    /// The number at each row's last token, as [`scores`](Self::scores) gives it.
    ///
    /// # Shapes
    /// - output: `[B]`
    pub fn row_scores(&self, batch: &CompletionBatch) -> Tensor<1> {
        self.flat_scores(batch).select(0, batch.last.clone())
    }

    fn flat_scores(&self, batch: &CompletionBatch) -> Tensor<1> {
        let hidden = self.backbone.flat_hidden(batch);
        hidden.matmul(self.score.val().transpose()).squeeze_dim::<1>(1)
    }

    /// Reads a `…ForSequenceClassification` folder with one label.
    ///
    /// # Errors
    /// As [`CausalLm::load`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (config, files) = open(folder, Class::Classification)?;
        config.check_one_label()?;
        let mut source = Source::Files { files, storage: WeightStorage::F32 };
        let backbone = CausalLm::build(config, Class::Classification, &mut source, device)?;
        let width = backbone.shape().hidden_size;
        let head = source.param("score.weight", [1, width], Init::Normal, device)?;
        if let Source::Files { files, .. } = source {
            files.finish(harmless)?;
        }
        Ok(Self { backbone, score: head })
    }

    /// Writes a `…ForSequenceClassification` folder: `num_labels` 1, `score.weight` `[1, D]`.
    ///
    /// `pad_token_id` must be a token that no row ends in for Transformers to read at the last real token;
    /// it is what a padded batch is filled with there.
    ///
    /// # Errors
    /// When an adapter is attached, the pad token is outside the vocabulary, or the folder cannot
    /// be written.
    pub fn save(&self, folder: &Path, pad_token_id: u32) -> Result<(), ModelError> {
        if self.backbone.lora().is_some() {
            return Err(ModelError::Adapter {
                field: "adapter",
                found: "attached".into(),
                expected: "none: save the adapter itself, or merge it before saving the full model",
            });
        }
        let config = self.backbone.config();
        let vocab = self.backbone.shape().vocab_size;
        if pad_token_id as usize >= vocab {
            return Err(ModelError::Field {
                path: folder.join("config.json"),
                field: "pad_token_id".into(),
                found: pad_token_id.to_string(),
                expected: format!("a token of the vocabulary of {vocab}, to pad batches with"),
            });
        }
        let [_, class] = config.class_names()?;
        let fields = folder::with_fields(
            config,
            &[
                ("architectures", json!([class])),
                ("num_labels", json!(1)),
                ("id2label", json!({"0": "LABEL_0"})),
                ("label2id", json!({"LABEL_0": 0})),
                ("problem_type", json!("regression")),
                ("pad_token_id", json!(pad_token_id)),
            ],
        );
        let mut tensors = self.backbone.decoder.named_tensors();
        tensors.push(("score.weight".into(), self.score.val().into_data()));
        folder::write_model(folder, &Value::Object(fields), tensors)
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.backbone.decoder
    }

    pub(crate) fn head_data(&self) -> TensorData {
        self.score.val().into_data()
    }

    /// The head as a linear layer's name in PEFT's `modules_to_save`.
    pub(crate) const HEAD: &'static str = "score";
}
