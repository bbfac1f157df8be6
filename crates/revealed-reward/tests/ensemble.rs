//! Ensembles on the golden models' random weights: scoring, saving, loading.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use revealed_models::{CausalLm, LoraConfig};
use revealed_reward::{
    Calibration, ENSEMBLE_FILE, REWARD_FILE, RewardEnsemble, RewardError, RewardModel,
};
use serde_json::json;

const PAD: u32 = 0;

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/models")).join(name)
}

fn device() -> Device {
    Device::flex()
}

fn backbone() -> CausalLm {
    CausalLm::load(&golden("llama3"), &device()).unwrap()
}

/// A head of its own from the seed, and a calibration.
fn member(backbone: CausalLm, seed: u64) -> RewardModel {
    let calibration = Calibration { shift: 0.1 * seed as f64, scale: 0.5 + seed as f64 };
    RewardModel { calibration, ..RewardModel::new(backbone, seed) }
}

fn three(backbone: &CausalLm) -> RewardEnsemble {
    RewardEnsemble {
        members: (1..=3).map(|seed| member(backbone.clone(), seed)).collect(),
        uncertainty_penalty: 0.3,
    }
}

fn rows() -> Vec<Vec<u32>> {
    vec![vec![3, 4, 5], vec![9, 8, 7, 6, 5, 4], vec![11], vec![20, 21, 22, 23]]
}

fn scores(ensemble: &RewardEnsemble) -> Vec<f64> {
    ensemble.scores(&rows(), PAD, 64).unwrap()
}

#[test]
fn one_member_scores_exactly_as_itself() {
    let reward = member(backbone(), 3);
    let ensemble =
        RewardEnsemble { uncertainty_penalty: 2.0, ..RewardEnsemble::from(reward.clone()) };
    assert_eq!(scores(&ensemble), reward.scores(&rows(), PAD, 64).unwrap());
    assert_eq!(RewardEnsemble::from(reward).uncertainty_penalty, 0.0);
}

#[test]
fn members_are_calibrated_apart_and_their_disagreement_is_paid_for() {
    let ensemble = three(&backbone());
    let each: Vec<Vec<f64>> =
        ensemble.members.iter().map(|m| m.scores(&rows(), PAD, 64).unwrap()).collect();
    assert_eq!(ensemble.member_scores(&rows(), PAD, 64).unwrap(), each);
    for (row, score) in scores(&ensemble).into_iter().enumerate() {
        let [a, b, c] = [each[0][row], each[1][row], each[2][row]];
        let mean = (a + b + c) / 3.0;
        let deviation = ((a * a + b * b + c * c) / 3.0 - mean * mean).sqrt();
        assert!(deviation > 0.05, "heads differ");
        assert!((score - (mean - 0.3 * deviation)).abs() < 1e-9);
    }
}

#[test]
fn an_ensemble_comes_back_and_its_folder_is_also_its_first_member() {
    let folder = tempfile::tempdir().unwrap();
    let (ensemble, text) = (three(&backbone()), json!({"terminator": 2}));
    ensemble.save(folder.path(), PAD, &text).unwrap();
    let (again, file) = RewardEnsemble::load(folder.path(), None, &device()).unwrap();
    assert_eq!((again.members.len(), again.uncertainty_penalty), (3, 0.3));
    assert_eq!((file.text, file.base_model), (text, None));
    assert_eq!(scores(&again), scores(&ensemble));
    let (first, _) = RewardModel::load(folder.path(), None, &device()).unwrap();
    assert_eq!(
        first.scores(&rows(), PAD, 64).unwrap(),
        ensemble.members[0].scores(&rows(), PAD, 64).unwrap()
    );
    assert!(folder.path().join("members/3").join(REWARD_FILE).is_file());
}

#[test]
fn one_member_is_written_as_a_reward_and_forgets_an_earlier_ensemble() {
    let folder = tempfile::tempdir().unwrap();
    three(&backbone()).save(folder.path(), PAD, &json!({})).unwrap();
    let alone = RewardEnsemble::from(member(backbone(), 5));
    alone.save(folder.path(), PAD, &json!({})).unwrap();
    assert!(!folder.path().join(ENSEMBLE_FILE).exists());
    let (again, _) = RewardEnsemble::load(folder.path(), None, &device()).unwrap();
    assert_eq!((again.members.len(), again.uncertainty_penalty), (1, 0.0));
    assert_eq!(scores(&again), scores(&alone));
}

#[test]
fn adapters_come_back_on_one_base() {
    let folder = tempfile::tempdir().unwrap();
    let lora = LoraConfig { r: 2, ..LoraConfig::default() };
    let ensemble = three(&backbone().with_lora(&lora, 3).unwrap());
    let base = golden("llama3").display().to_string();
    ensemble.save_adapter(folder.path(), &base, PAD, &json!({})).unwrap();
    for given in [None, Some(base.as_str())] {
        let (again, file) = RewardEnsemble::load(folder.path(), given, &device()).unwrap();
        assert_eq!(file.base_model.as_ref(), Some(&base));
        assert_eq!(scores(&again), scores(&ensemble));
        assert!(again.members.iter().all(|member| member.model.backbone.lora().is_some()));
    }
}

#[test]
fn no_members_lost_members_and_impossible_files_are_errors() {
    let none = RewardEnsemble { members: vec![], uncertainty_penalty: 0.0 };
    let folder = tempfile::tempdir().unwrap();
    let few = |error: RewardError| matches!(error, RewardError::TooFew { .. });
    assert!(few(none.scores(&rows(), PAD, 64).unwrap_err()));
    assert!(few(none.save(folder.path(), PAD, &json!({})).unwrap_err()));
    assert!(RewardEnsemble::load(folder.path(), None, &device()).is_err());

    three(&backbone()).save(folder.path(), PAD, &json!({})).unwrap();
    let file = folder.path().join(ENSEMBLE_FILE);
    for damaged in [
        "{\"members\": 0, \"uncertainty_penalty\": 0.1}",
        "{\"members\": 2, \"uncertainty_penalty\": -0.1}",
        "{\"members\": 2, \"uncertainty_penalty\": 0.1, \"penalty\": 1}",
        "{\"members\": 2",
    ] {
        std::fs::write(&file, damaged).unwrap();
        let error = RewardEnsemble::load(folder.path(), None, &device()).unwrap_err();
        assert!(error.to_string().contains(ENSEMBLE_FILE), "{error}");
    }
    std::fs::write(&file, "{\"members\": 4, \"uncertainty_penalty\": 0.1}").unwrap();
    let error = RewardEnsemble::load(folder.path(), None, &device()).unwrap_err();
    assert!(error.to_string().contains(REWARD_FILE), "{error}");
}
