//! A small run for tests.

use std::collections::BTreeMap;

use revealed_reward::{Audit, Calibration};

use super::run::RunFiles;
use super::settings::Settings;
use revealed_train::{
    HeldOutScores, Measures, RoundReport, ScoredSamples, ShownRewards, ShownSample, TrainingHealth,
    ValidationScores,
};

pub(crate) fn measures(reward: f64) -> Measures {
    Measures {
        reward,
        kl: 1.5,
        log_likelihood: -0.75,
        length: 12.0,
        terminated: 1.0,
        repetition: 0.01,
        distinct_2: 0.5,
    }
}

pub(crate) fn round(accepted: bool) -> RoundReport {
    RoundReport {
        round: 1,
        accepted,
        reasons: if accepted { vec![] } else { vec!["KL to SFT 40 > 30".into()] },
        accuracy_initial: 0.95,
        accuracy_sft: 0.8,
        accuracy_before: 0.8,
        accuracy_after: 0.6,
        demonstrations_reward: 0.1,
        audit: Audit {
            prompts: 100,
            pairs: 200,
            accuracy: 0.9,
            auc: 0.9,
            ece: 0.05,
            length_accuracy: 0.6,
            bag_accuracy: 0.7,
            length_matched_prompts: 60,
            length_matched_pairs: 80,
            length_matched_accuracy: Some(0.8),
            bag_hard_pairs: 50,
            bag_hard_accuracy: Some(0.7),
            length_correlation: Some(0.2),
            terminated_correlation: None,
            repetition_correlation: Some(-0.1),
            marks_correlation: Some(0.0),
        },
        validation_reward: Some(ValidationScores {
            demonstrations: 0.2,
            before: -0.8,
            after: -0.4,
            standard_error: 0.1,
            accuracy_after: 0.6,
        }),
        sft_log_likelihood: -0.7,
        health: TrainingHealth::default(),
        calibration: Calibration::default(),
        before: measures(-0.5),
        after: measures(0.4),
    }
}

fn samples(reward: f64, kl: Option<f64>) -> ScoredSamples {
    ScoredSamples {
        rewards: (0..8).map(|index| reward + 0.1 * f64::from(index)).collect(),
        lengths: vec![12; 8],
        terminated: vec![true; 8],
        kl: kl.map_or(vec![], |kl| vec![kl; 8]),
        repetition: vec![0.01; 8],
        log_likelihood: kl.map_or(vec![], |kl| vec![kl - 9.0; 4]),
    }
}

/// A finished run of one kept round, with four held-out prompts.
pub(crate) fn run() -> RunFiles {
    let scores = HeldOutScores {
        samples_per_prompt: 2,
        demonstrations: vec![0.0, 0.1, 0.2, 0.3],
        demonstration_lengths: vec![12; 4],
        initial: samples(-2.0, None),
        sft: samples(-0.5, None),
        before: samples(-0.5, Some(0.0)),
        after: samples(0.4, Some(0.1)),
    };
    let shown = ShownSample {
        prompt: "</script><b>prompt & \"more\"".into(),
        demonstration: "a demonstration".into(),
        before: "<img src=x onerror=alert(1)>".into(),
        after: "after\u{0}".into(),
        rewards: ShownRewards { demonstration: 0.0, before: -0.5, after: 0.4 },
    };
    RunFiles {
        path: "runs/toy".into(),
        settings: Settings::parse("[policy]\nkl_coef = 0.1\n[gate]\nmax_kl = 3.0").unwrap(),
        metrics: vec![],
        rounds: vec![round(true)],
        damaged: vec![],
        scores: BTreeMap::from([(1, scores)]),
        samples: BTreeMap::from([(1, vec![shown])]),
        gold: None,
        finished: true,
        missing: vec![],
    }
}
