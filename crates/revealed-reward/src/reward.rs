//! A reward model with its calibration, and its folder.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use revealed_models::{CausalLm, ScalarModel, Scoring, write_file};
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::error::RewardError;

/// File with the calibration and the text settings, in the folder of the weights.
pub const REWARD_FILE: &str = "reward.json";

/// A learned reward `r(x, y)`: one number for a prompt and its completion.
#[derive(Debug, Clone)]
pub struct RewardModel {
    /// Decoder with a scalar head.
    pub model: ScalarModel,
    /// Shift and scale of raw scores.
    pub calibration: Calibration,
}

/// `reward.json`: settings that the weights do not contain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardFile {
    /// Shift and scale of raw scores.
    pub calibration: Calibration,
    /// Pad token id that Transformers must use to read at the last token that is not padding.
    pub pad_token_id: u32,
    /// Settings that turn text into ids, as `revealed-data` writes and reads it.
    pub text: serde_json::Value,
    /// Base model of the adapter; `None` for full weights.
    pub base_model: Option<String>,
}

impl RewardModel {
    /// A new head on a decoder, uncalibrated.
    pub fn new(backbone: CausalLm, seed: u64) -> Self {
        Self { model: ScalarModel::new(backbone, seed), calibration: Calibration::default() }
    }

    /// Raw scores of token rows of prompt and completion, without gradient, in micro-batches within a token budget.
    ///
    /// # Errors
    /// When a row is empty, or a score is not finite.
    pub fn raw_scores<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        pad_id: u32,
        batch_tokens: usize,
    ) -> Result<Vec<f64>, RewardError> {
        let rows: Vec<(&[u32], usize)> = rows.iter().map(|row| (row.as_ref(), 0)).collect();
        Ok(self.model.score_rows(&rows, &mut Scoring::new(pad_id, batch_tokens))?)
    }

    /// Calibrated scores; see [`raw_scores`](Self::raw_scores).
    ///
    /// # Errors
    /// As [`raw_scores`](Self::raw_scores).
    pub fn scores<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        pad_id: u32,
        batch_tokens: usize,
    ) -> Result<Vec<f64>, RewardError> {
        let raw = self.raw_scores(rows, pad_id, batch_tokens)?;
        Ok(raw.into_iter().map(|score| self.calibration.apply(score)).collect())
    }

    /// Calibrated scores of `(input_ids, completion_start)` rows; a prompt that several rows begin with is computed once.
    ///
    /// # Errors
    /// When a row is empty, or a score is not finite.
    pub fn score_rows(
        &self,
        rows: &[(&[u32], usize)],
        scoring: &mut Scoring<'_>,
    ) -> Result<Vec<f64>, RewardError> {
        let raw = self.model.score_rows(rows, scoring)?;
        Ok(raw.into_iter().map(|score| self.calibration.apply(score)).collect())
    }

    /// Writes full weights as `…ForSequenceClassification`, adapters merged in, and `reward.json`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(
        &self,
        folder: &Path,
        pad_token_id: u32,
        text: &serde_json::Value,
    ) -> Result<(), RewardError> {
        let mut model = self.model.valid();
        if model.backbone.lora().is_some() {
            model.backbone = model.backbone.merged()?;
        }
        model.save(folder, pad_token_id)?;
        self.write_file(folder, pad_token_id, text, None)
    }

    /// Writes adapter and head as a PEFT folder of task `SEQ_CLS`, and `reward.json`.
    ///
    /// # Errors
    /// When no adapter is attached, or the folder cannot be written.
    pub fn save_adapter(
        &self,
        folder: &Path,
        base: &str,
        pad_token_id: u32,
        text: &serde_json::Value,
    ) -> Result<(), RewardError> {
        self.model.save_adapter(folder, base)?;
        self.write_file(folder, pad_token_id, text, Some(base.into()))
    }

    fn write_file(
        &self,
        folder: &Path,
        pad_token_id: u32,
        text: &serde_json::Value,
        base_model: Option<String>,
    ) -> Result<(), RewardError> {
        let file = RewardFile {
            calibration: self.calibration,
            pad_token_id,
            text: text.clone(),
            base_model,
        };
        let path = folder.join(REWARD_FILE);
        let json = serde_json::to_string_pretty(&file)
            .map_err(|error| RewardError::File { path: path.clone(), reason: error.to_string() })?;
        Ok(write_file(&path, format!("{json}\n").as_bytes())?)
    }

    /// Reads a reward's folder, full weights or adapter, without gradients; an adapter goes on `base`, or else on the model
    /// that its `reward.json` names.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn load(
        folder: &Path,
        base: Option<&str>,
        device: &Device,
    ) -> Result<(Self, RewardFile), RewardError> {
        let base = Self::base(folder, base, device)?;
        Self::load_on(base.as_ref(), folder, device)
    }

    /// Base model of a folder's adapter, given or named by its `reward.json`; `None` for full weights.
    pub(crate) fn base(
        folder: &Path,
        given: Option<&str>,
        device: &Device,
    ) -> Result<Option<CausalLm>, RewardError> {
        let named = Self::read_file(folder)?.base_model;
        match given.or(named.as_deref()) {
            Some(base) if folder.join("adapter_config.json").is_file() => {
                Ok(Some(CausalLm::load(&revealed_models::resolve(base)?, device)?))
            }
            _ => Ok(None),
        }
    }

    /// Reads an adapter onto a base whose tensors it shares, or full weights.
    pub(crate) fn load_on(
        base: Option<&CausalLm>,
        folder: &Path,
        device: &Device,
    ) -> Result<(Self, RewardFile), RewardError> {
        let file = Self::read_file(folder)?;
        let model = match base {
            Some(base) => ScalarModel::load_adapter(base.clone(), folder)?,
            None => ScalarModel::load(folder, device)?,
        };
        Ok((Self { model: model.valid(), calibration: file.calibration }, file))
    }

    /// Reads a folder's `reward.json`.
    ///
    /// # Errors
    /// When it is missing or does not parse.
    pub fn read_file(folder: &Path) -> Result<RewardFile, RewardError> {
        let path = folder.join(REWARD_FILE);
        let wrong = |reason: String| RewardError::File { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    }
}
