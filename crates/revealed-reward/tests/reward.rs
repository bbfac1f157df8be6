//! Saving, loading and scoring, on the golden models' random weights.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use revealed_models::{CausalLm, LoraConfig, PaddingSide, ScalarModel, TokenBatch};
use revealed_reward::{Calibration, RewardError, RewardModel};
use serde_json::json;

/// A Llama, a Qwen with tied embeddings, a GPT-NeoX with an output head of its own.
const BACKBONES: [&str; 3] = ["llama3", "qwen2", "pythia"];
const PAD: u32 = 0;

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/models")).join(name)
}

fn device() -> Device {
    Device::flex()
}

fn backbone(name: &str) -> CausalLm {
    CausalLm::load(&golden(name), &device()).unwrap()
}

fn calibrated(backbone: CausalLm) -> RewardModel {
    RewardModel {
        calibration: Calibration {
            // Numbers that a reader of decimals which is off in the last place gets wrong.
            shift: 6.0 / 7.3 + 0.1,
            scale: 1.0 / 2.7,
        },
        ..RewardModel::new(backbone, 7)
    }
}

/// Rows of different lengths; one ends in the filler, two hold it.
fn rows() -> Vec<Vec<u32>> {
    let row = |length: u32, step: u32| (0..length).map(|i| (3 + i * step) % 64).collect();
    let mut rows: Vec<Vec<u32>> = vec![row(3, 7), row(17, 11), row(9, 32), row(1, 5), row(14, 23)];
    rows[0][1] = PAD;
    rows[2].push(PAD);
    rows
}

fn scores(reward: &RewardModel) -> Vec<f64> {
    reward.scores(&rows(), PAD, 64).unwrap()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_full_reward_comes_back_with_equal_scores_calibration_and_text_recipe() {
    let text = json!({"template": null, "terminator": 2, "prefix": [1]});
    for name in BACKBONES {
        let folder = tempfile::tempdir().unwrap();
        let reward = calibrated(backbone(name));
        reward.save(folder.path(), PAD, &text).unwrap();
        let (again, file) = RewardModel::load(folder.path(), None, &device()).unwrap();
        assert_eq!(again.calibration, reward.calibration);
        assert_eq!((&file.text, file.pad_token_id, file.base_model), (&text, PAD, None));
        assert_eq!(scores(&again), scores(&reward), "{name}");
    }
}

#[test]
fn an_adapter_comes_back_on_its_base_and_merged_it_scores_the_same() {
    let text = json!({});
    for name in BACKBONES {
        let [adapter, merged] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let lora = LoraConfig { r: 2, ..LoraConfig::default() };
        let fresh = backbone(name).with_lora(&lora, 3).unwrap();
        // B is 0 at first, which would hide a lost adapter.
        let reward = calibrated(filled(fresh));
        let base = golden(name).display().to_string();
        reward.save_adapter(adapter.path(), &base, PAD, &text).unwrap();
        let own = scores(&reward);
        assert!(largest_difference(&own, &scores(&calibrated(backbone(name)))) > 1e-2);

        // On the base that it names, or on one that is given.
        for base in [None, Some(base.as_str())] {
            let (again, _) = RewardModel::load(adapter.path(), base, &device()).unwrap();
            assert_eq!(again.calibration, reward.calibration);
            assert_eq!(scores(&again), own, "{name}");
            assert!(plain(&again.model));
        }
        reward.save(merged.path(), PAD, &text).unwrap();
        let (again, file) = RewardModel::load(merged.path(), None, &device()).unwrap();
        assert_eq!(file.base_model, None);
        // W + s·B·A rounds once more in f32, and scores are divided by a third.
        assert!(largest_difference(&scores(&again), &own) < 1e-4, "{name}");
    }
}

/// The same model with its adapters' elements moved; they are what is trained in it.
fn filled(model: CausalLm) -> CausalLm {
    struct Fill;
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| match tensor.is_autodiff() {
                true => tensor.add_scalar(0.05),
                false => tensor,
            })
        }
    }
    model.map(&mut Fill)
}

fn plain(model: &ScalarModel) -> bool {
    struct Plain(bool);
    impl ModuleVisitor for Plain {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= !param.val().is_autodiff();
        }
    }
    let mut visitor = Plain(true);
    model.visit(&mut visitor);
    visitor.0
}

#[test]
fn scores_do_not_depend_on_the_batch_budget_the_order_or_the_filler() {
    for name in BACKBONES {
        let reward = calibrated(backbone(name));
        let alone = reward.scores(&rows(), PAD, 1).unwrap();
        for (budget, pad) in [(20, PAD), (40, PAD), (1000, PAD), (1000, 9)] {
            let together = reward.scores(&rows(), pad, budget).unwrap();
            // f32 sums in another order, divided by a third.
            assert!(largest_difference(&alone, &together) < 1e-5, "{name} {budget}");
        }
        let mut backwards = rows();
        backwards.reverse();
        let mut reversed = reward.scores(&backwards, PAD, 40).unwrap();
        reversed.reverse();
        assert!(largest_difference(&alone, &reversed) < 1e-5, "{name}");
    }
}

#[test]
fn a_score_is_read_at_the_last_real_token_on_either_side_of_the_filler() {
    for name in BACKBONES {
        let reward = RewardModel::new(backbone(name), 7);
        let model = reward.model.valid();
        let raw = reward.raw_scores(&rows(), PAD, 1000).unwrap();
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let batch = TokenBatch::new(&rows(), PAD, side, &device()).unwrap();
            let [_, time] = batch.shape();
            let every: Vec<f32> = model.token_scores(&batch).into_data().iter().collect();
            for (row, ids) in rows().iter().enumerate() {
                let last = match side {
                    PaddingSide::Left => time - 1,
                    PaddingSide::Right => ids.len() - 1,
                };
                let there = f64::from(every[row * time + last]);
                assert!((raw[row] - there).abs() < 1e-5, "{name} {side:?} {row}");
            }
        }
    }
}

#[test]
fn a_calibrated_score_is_the_raw_one_shifted_and_scaled() {
    let reward = calibrated(backbone("llama3"));
    let raw = reward.raw_scores(&rows(), PAD, 64).unwrap();
    for (raw, score) in raw.iter().zip(scores(&reward)) {
        assert_eq!((raw - reward.calibration.shift) / reward.calibration.scale, score);
    }
    assert!(reward.scores::<Vec<u32>>(&[], PAD, 64).unwrap().is_empty());
}

#[test]
fn empty_rows_ruined_weights_and_missing_files_are_errors() {
    let reward = calibrated(backbone("llama3"));
    assert!(reward.scores(&[vec![3], vec![]], PAD, 64).is_err());
    let mut ruined = reward.clone();
    ruined.model.score = ruined.model.score.map(|head| head.mul_scalar(f32::NAN));
    let error = ruined.scores(&rows(), PAD, 64).unwrap_err();
    assert!(matches!(error, RewardError::Model(_)), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let error = RewardModel::load(folder.path(), None, &device()).unwrap_err();
    assert!(error.to_string().contains("reward.json"), "{error}");
    let file = "{\"calibration\": {\"shift\": 0, \"scale\": 1}, \"pad_token_id\": 0, \"text\": {}, \"base\": 1}";
    std::fs::write(folder.path().join("reward.json"), file).unwrap();
    let error = RewardModel::read_file(folder.path()).unwrap_err();
    assert!(error.to_string().contains("base"), "{error}");
}
