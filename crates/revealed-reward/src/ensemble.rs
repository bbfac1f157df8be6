//! Ensemble of rewards: the mean score, with a penalty for disagreement between members.
//!
//! `r(x, y) = mean_k r_k(x, y) − λ · std_k r_k(x, y)`, with `r_k` calibrated and `std` the population standard deviation (`1/K`).
//!
//! | choice | <https://arxiv.org/abs/2310.02743>, uncertainty-weighted optimisation | here |
//! |---|---|---|
//! | penalty | λ times the variance | λ times the standard deviation, which has the reward's own unit |
//! | scores | as trained | each member calibrated, so that all have the same scale |
//!
//! The mean score of demonstrations is `−λ · mean std`: 0 only if `uncertainty_penalty` is 0.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use revealed_models::{ModelError, Scoring, ScoringProgress, write_file};
use serde::{Deserialize, Serialize};

use crate::error::RewardError;
use crate::reward::{RewardFile, RewardModel};

/// File that lists the members of an ensemble's folder.
pub const ENSEMBLE_FILE: &str = "ensemble.json";

/// Rewards of one task that were fitted separately: with other seeds, heads or adapters.
#[derive(Debug, Clone)]
pub struct RewardEnsemble {
    /// Members, at least one.
    pub members: Vec<RewardModel>,
    /// λ, at least 0: calibrated reward subtracted per standard deviation between members.
    pub uncertainty_penalty: f64,
}

/// `ensemble.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnsembleFile {
    members: usize,
    uncertainty_penalty: f64,
}

impl From<RewardModel> for RewardEnsemble {
    /// An ensemble of one member; its scores equal the member's.
    fn from(member: RewardModel) -> Self {
        Self { members: vec![member], uncertainty_penalty: 0.0 }
    }
}

impl RewardEnsemble {
    /// Scores of rows of prompt and completion: calibrated means minus the uncertainty penalty.
    ///
    /// # Errors
    /// As [`RewardModel::raw_scores`], and without members.
    pub fn scores<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        pad_id: u32,
        batch_tokens: usize,
    ) -> Result<Vec<f64>, RewardError> {
        self.combined(&self.member_scores(rows, pad_id, batch_tokens)?)
    }

    /// The same of `(input_ids, completion_start)` rows; a prompt that several rows begin with is computed once.
    ///
    /// # Errors
    /// When a row is empty or a score is not finite, and without members.
    pub fn score_rows(
        &self,
        rows: &[(&[u32], usize)],
        scoring: &mut Scoring<'_>,
    ) -> Result<Vec<f64>, RewardError> {
        let (pad_id, batch_tokens) = (scoring.pad_id, scoring.batch_tokens);
        let passes = self.members.len();
        let mut members = Vec::with_capacity(passes);
        for (pass, member) in self.members.iter().enumerate() {
            let mut report = |done: ScoringProgress| scoring.report(done.of_pass(pass, passes));
            let mut one = Scoring::new(pad_id, batch_tokens).on_progress(&mut report);
            members.push(member.score_rows(rows, &mut one)?);
        }
        self.combined(&members)
    }

    /// Combined score per row, from the members' calibrated scores `members[k][row]`.
    ///
    /// # Errors
    /// Without members.
    pub fn combined(&self, members: &[Vec<f64>]) -> Result<Vec<f64>, RewardError> {
        self.not_empty()?;
        Ok(pessimistic_mean(members, self.uncertainty_penalty))
    }

    /// Calibrated scores of each member: `members[k][row]`.
    ///
    /// # Errors
    /// As [`scores`](Self::scores).
    pub fn member_scores<R: AsRef<[u32]>>(
        &self,
        rows: &[R],
        pad_id: u32,
        batch_tokens: usize,
    ) -> Result<Vec<Vec<f64>>, RewardError> {
        self.not_empty()?;
        self.members.iter().map(|member| member.scores(rows, pad_id, batch_tokens)).collect()
    }

    /// Writes the first member to the folder itself, where Transformers finds it, as [`RewardModel::save`] does; the others to
    /// `members/2`, `members/3`, …; and `ensemble.json` if there is more than one member.
    ///
    /// # Errors
    /// When the folder cannot be written, or without members.
    pub fn save(
        &self,
        folder: &Path,
        pad_token_id: u32,
        text: &serde_json::Value,
    ) -> Result<(), RewardError> {
        self.write(folder, |member, folder| member.save(folder, pad_token_id, text))
    }

    /// The same with adapters and heads only, as [`RewardModel::save_adapter`] does.
    ///
    /// # Errors
    /// As [`save`](Self::save), and when a member has no adapter.
    pub fn save_adapter(
        &self,
        folder: &Path,
        base: &str,
        pad_token_id: u32,
        text: &serde_json::Value,
    ) -> Result<(), RewardError> {
        self.write(folder, |member, folder| member.save_adapter(folder, base, pad_token_id, text))
    }

    fn write(
        &self,
        folder: &Path,
        save: impl Fn(&RewardModel, &Path) -> Result<(), RewardError>,
    ) -> Result<(), RewardError> {
        self.not_empty()?;
        let path = folder.join(ENSEMBLE_FILE);
        // Of an earlier ensemble; until the new one is complete, the folder is that of one reward.
        if path.exists() {
            std::fs::remove_file(&path)
                .map_err(|source| ModelError::Io { path: path.clone(), source })?;
        }
        for (index, member) in self.members.iter().enumerate() {
            save(member, &member_folder(folder, index))?;
        }
        if let [_] = self.members[..] {
            return Ok(());
        }
        let file = EnsembleFile {
            members: self.members.len(),
            uncertainty_penalty: self.uncertainty_penalty,
        };
        let json = serde_json::to_string_pretty(&file).map_err(|error| wrong(&path, error))?;
        Ok(write_file(&path, format!("{json}\n").as_bytes())?)
    }

    /// Reads a folder of one reward or of several, without gradients; adapters share one base, given or named as in
    /// [`RewardModel::load`]. The file is the first member's.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn load(
        folder: &Path,
        base: Option<&str>,
        device: &Device,
    ) -> Result<(Self, RewardFile), RewardError> {
        let base = RewardModel::base(folder, base, device)?;
        let (first, file) = RewardModel::load_on(base.as_ref(), folder, device)?;
        let mut ensemble = Self::from(first);
        if let Some(shape) = read_file(folder)? {
            ensemble.uncertainty_penalty = shape.uncertainty_penalty;
            for index in 1..shape.members {
                let folder = member_folder(folder, index);
                let (member, _) = RewardModel::load_on(base.as_ref(), &folder, device)?;
                ensemble.members.push(member);
            }
        }
        Ok((ensemble, file))
    }

    fn not_empty(&self) -> Result<(), RewardError> {
        match self.members.is_empty() {
            true => Err(RewardError::TooFew { needed: "members of the ensemble", found: 0 }),
            false => Ok(()),
        }
    }
}

/// `mean_k s_k − uncertainty_penalty · √(mean_k (s_k − mean)²)` for each row of `members[k][row]`.
///
/// The scores of a single member are returned unchanged.
///
/// # Panics
/// If the members' numbers of rows differ.
pub fn pessimistic_mean(members: &[Vec<f64>], uncertainty_penalty: f64) -> Vec<f64> {
    let [first, rest @ ..] = members else { return Vec::new() };
    assert!(rest.iter().all(|m| m.len() == first.len()), "one score a row from each member");
    let count = members.len() as f64;
    let score = |row: usize| {
        let mean = members.iter().map(|scores| scores[row]).sum::<f64>() / count;
        let squares = members.iter().map(|scores| (scores[row] - mean).powi(2)).sum::<f64>();
        mean - uncertainty_penalty * (squares / count).sqrt()
    };
    (0..first.len()).map(score).collect()
}

/// `index` is from 0, the folders' names from 2.
fn member_folder(folder: &Path, index: usize) -> PathBuf {
    match index {
        0 => folder.into(),
        _ => folder.join("members").join((index + 1).to_string()),
    }
}

/// Reads a folder's `ensemble.json`; `None` for a single reward.
fn read_file(folder: &Path) -> Result<Option<EnsembleFile>, RewardError> {
    let path = folder.join(ENSEMBLE_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path, error)),
    };
    let file: EnsembleFile = serde_json::from_str(&text).map_err(|error| wrong(&path, error))?;
    if file.members == 0
        || !(file.uncertainty_penalty.is_finite() && file.uncertainty_penalty >= 0.0)
    {
        return Err(wrong(
            &path,
            "members must be 1 or more, uncertainty_penalty finite and 0 or more",
        ));
    }
    Ok(Some(file))
}

fn wrong(path: &Path, reason: impl std::fmt::Display) -> RewardError {
    RewardError::File { path: path.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disagreement_costs_its_standard_deviation() {
        // Row 0: mean 2, population deviation √(2/3)·1; row 1: agreement.
        let members = [vec![1.0, 5.0], vec![2.0, 5.0], vec![3.0, 5.0]];
        assert_eq!(pessimistic_mean(&members, 0.0), [2.0, 5.0]);
        let scores = pessimistic_mean(&members, 0.5);
        assert!((scores[0] - (2.0 - 0.5 * (2.0f64 / 3.0).sqrt())).abs() < 1e-12);
        assert_eq!(scores[1], 5.0);
    }

    #[test]
    fn one_member_is_itself_to_the_last_bit() {
        let scores = vec![0.1, -1.0 / 3.0, 1e-300, -0.0];
        assert_eq!(pessimistic_mean(std::slice::from_ref(&scores), 3.0), scores);
        assert!(pessimistic_mean(&[], 1.0).is_empty());
    }
}
