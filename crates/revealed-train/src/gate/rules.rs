//! Rules by which a round is kept, and which kept round is best.

use crate::recipe::{GateSection, KlReference, Recipe};
use crate::record::RoundReport;

/// Cost of a nat of KL to the SFT model; 0 if the reference model has moved away from the SFT model.
fn kl_price(recipe: &Recipe) -> f64 {
    if recipe.policy.reference == KlReference::Sft { recipe.policy.kl_coef } else { 0.0 }
}

/// A rule: whether it holds, and the reason to reject the round otherwise.
type Rule = (bool, String);

impl RoundReport {
    /// Change of the objective on held-out prompts: `Δ E[r] − β Δ KL(π ‖ π_SFT)`, calibrated reward.
    pub fn objective_gain(&self, recipe: &Recipe) -> f64 {
        let RoundReport { before, after, .. } = self;
        after.reward - before.reward - kl_price(recipe) * (after.kl - before.kl)
    }

    /// Why the candidate is rejected; empty if it is kept.
    pub fn objections(&self, recipe: &Recipe) -> Vec<String> {
        let gate = &recipe.gate;
        let rules = [self.accuracy_rule(recipe)]
            .into_iter()
            .chain(self.shortcut_rules(gate))
            .chain(self.gain_rules(recipe))
            .chain(self.drift_rules(gate))
            .chain(self.text_rules(gate));
        let broken = rules.filter(|(holds, _)| !holds).map(|(_, reason)| reason);
        self.health.objection().into_iter().chain(broken).collect()
    }

    /// Accuracy against the sources that the reward was fitted on, by their weight.
    fn accuracy_rule(&self, recipe: &Recipe) -> Rule {
        let min = recipe.gate.min_accuracy;
        let shares = recipe.negatives.sample_shares();
        let pooled: f64 = [
            (shares.initial, self.accuracy_initial),
            (shares.sft, self.accuracy_sft),
            (shares.policy, self.accuracy_before),
        ]
        .into_iter()
        // An accuracy with share 0 may be NaN.
        .filter(|(share, _)| *share > 0.0)
        .map(|(share, accuracy)| share * accuracy)
        .sum();
        let reason = format!(
            "reward accuracy on held-out demonstrations {pooled:.3} < {min}: the reward separates them from negatives no better than chance"
        );
        (pooled >= min, reason)
    }

    /// Whether the reward knows more than length and words.
    fn shortcut_rules(&self, gate: &GateSection) -> [Rule; 3] {
        let (min_margin, min_matched) =
            (gate.min_shortcut_margin, gate.min_length_matched_accuracy);
        let max_correlation = gate.max_length_correlation;
        let margin = self.audit.beyond_shortcuts();
        let matched = self.audit.length_matched_upper();
        let correlation = self.audit.length_correlation;
        [
            (
                margin >= min_margin,
                format!(
                    "reward accuracy minus that of the better of two probes, on length and on words, is {margin:.3} < {min_margin}: the reward has learned a shortcut"
                ),
            ),
            (
                matched.is_none_or(|accuracy| accuracy >= min_matched),
                format!(
                    "the 95 % interval of the reward accuracy on length-matched pairs ends at {:.3} < {min_matched}: the reward has learned length",
                    matched.unwrap_or(f64::NAN)
                ),
            ),
            (
                correlation.is_none_or(|r| r.abs() <= max_correlation),
                format!(
                    "reward and length correlate by {:.3} within prompts, more than {max_correlation}",
                    correlation.unwrap_or(f64::NAN)
                ),
            ),
        ]
    }

    /// Whether the objective and the validation reward improved.
    fn gain_rules(&self, recipe: &Recipe) -> [Rule; 2] {
        let RoundReport { before, after, .. } = self;
        let (min_gain, min_validation) = (recipe.gate.min_gain, recipe.gate.min_validation_gain);
        let gain = self.objective_gain(recipe);
        let validation = self.validation_reward.map_or(f64::INFINITY, |scores| scores.gain());
        [
            (
                gain > min_gain,
                format!(
                    "reward minus KL penalty changed by {gain:+.3}, expected more than {min_gain}: reward by {:+.3}, KL by {:+.2} nats at {} per nat; the solver has lowered its objective",
                    after.reward - before.reward,
                    after.kl - before.kl,
                    kl_price(recipe)
                ),
            ),
            (
                validation >= min_validation,
                format!(
                    "the validation reward changed by {validation:+.2} standard errors, expected {min_validation} or more"
                ),
            ),
        ]
    }

    /// Whether the policy stays near the SFT model and the demonstrations.
    fn drift_rules(&self, gate: &GateSection) -> [Rule; 2] {
        let (max_kl, max_drop) = (gate.max_kl, gate.max_likelihood_drop);
        let drop = self.sft_log_likelihood - self.after.log_likelihood;
        [
            (
                self.after.kl <= max_kl,
                format!("KL to SFT {:.2} > {max_kl} nats/completion", self.after.kl),
            ),
            (
                drop <= max_drop,
                format!(
                    "log-likelihood of held-out demonstrations fell {drop:.3} > {max_drop} nats/token"
                ),
            ),
        ]
    }

    /// Whether the text of samples stays varied and complete.
    fn text_rules(&self, gate: &GateSection) -> [Rule; 4] {
        let RoundReport { before, after, .. } = self;
        let longer = (after.length / before.length).max(before.length / after.length.max(1e-9));
        [
            (
                before.terminated - after.terminated <= gate.max_terminated_drop,
                format!(
                    "terminated completions fell from {:.3} to {:.3}",
                    before.terminated, after.terminated
                ),
            ),
            (
                after.repetition - before.repetition <= gate.max_repetition_rise,
                format!("repetition rose from {:.3} to {:.3}", before.repetition, after.repetition),
            ),
            (
                after.distinct_2 >= gate.min_distinct_share * before.distinct_2,
                format!(
                    "distinct 2-grams fell from {:.3} to {:.3}: the policy collapses",
                    before.distinct_2, after.distinct_2
                ),
            ),
            (
                longer <= gate.max_length_factor,
                format!(
                    "mean length changed from {:.1} to {:.1} tokens",
                    before.length, after.length
                ),
            ),
        ]
    }
}

/// The kept round with the largest sum of objective gains of kept rounds up to it; the later one of equals, `None` if no round
/// was kept.
pub fn best_round(reports: &[RoundReport], recipe: &Recipe) -> Option<usize> {
    let mut total = 0.0;
    let mut best = None;
    for report in reports.iter().filter(|report| report.accepted) {
        total += report.objective_gain(recipe);
        if best.is_none_or(|(_, highest)| total >= highest) {
            best = Some((report.round, total));
        }
    }
    best.map(|(round, _)| round)
}

#[cfg(test)]
mod tests {
    use revealed_reward::{Audit, Calibration};

    use super::*;
    use crate::record::{At, Measures, Phase, TrainingHealth, ValidationScores, Violation};

    fn measures() -> Measures {
        Measures {
            reward: -1.0,
            kl: 1.0,
            log_likelihood: -2.0,
            length: 10.0,
            terminated: 0.9,
            repetition: 0.1,
            distinct_2: 0.8,
        }
    }

    /// The audit of a reward without shortcuts.
    fn fair_audit() -> Audit {
        Audit {
            prompts: 60,
            pairs: 240,
            accuracy: 0.8,
            auc: 0.8,
            ece: 0.05,
            length_accuracy: 0.6,
            bag_accuracy: 0.7,
            length_matched_prompts: 50,
            length_matched_pairs: 100,
            length_matched_accuracy: Some(0.75),
            bag_hard_pairs: 60,
            bag_hard_accuracy: Some(0.6),
            length_correlation: Some(0.1),
            terminated_correlation: None,
            repetition_correlation: Some(-0.2),
            marks_correlation: Some(0.0),
        }
    }

    /// A round that passes every rule of the default recipe.
    fn good() -> RoundReport {
        RoundReport {
            round: 1,
            accepted: false,
            reasons: vec![],
            accuracy_initial: 0.9,
            accuracy_sft: 0.7,
            accuracy_before: 0.7,
            accuracy_after: 0.6,
            demonstrations_reward: 0.0,
            audit: fair_audit(),
            validation_reward: None,
            health: TrainingHealth::default(),
            sft_log_likelihood: -2.0,
            calibration: Calibration::default(),
            before: measures(),
            after: Measures { reward: -0.5, ..measures() },
        }
    }

    #[test]
    fn a_report_without_the_sft_model_s_accuracy_can_be_read_and_written() {
        let mut report = serde_json::to_value(good()).unwrap();
        report.as_object_mut().unwrap().remove("accuracy_sft");
        for _ in 0..2 {
            let read: RoundReport = serde_json::from_value(report).unwrap();
            assert!(read.accuracy_sft.is_nan());
            report = serde_json::to_value(read).unwrap();
        }
    }

    #[test]
    fn a_good_round_passes_and_each_rule_alone_rejects_with_its_reason() {
        let recipe = Recipe::default();
        let why = |change: &dyn Fn(&mut RoundReport)| {
            let mut report = good();
            change(&mut report);
            report.objections(&recipe)
        };
        assert!(why(&|_| {}).is_empty());
        type Change = fn(&mut RoundReport);
        let rules: [(Change, &str); 12] = [
            (
                |r| (r.accuracy_initial, r.accuracy_before) = (0.5, 0.5),
                "reward accuracy on held-out demonstrations 0.500 < 0.55",
            ),
            (
                |r| r.audit.bag_accuracy = 0.91,
                "is -0.110 < -0.1: the reward has learned a shortcut",
            ),
            (
                |r| r.audit.length_matched_accuracy = Some(0.3),
                "the 95 % interval of the reward accuracy on length-matched pairs ends at 0.4",
            ),
            (|r| r.audit.length_correlation = Some(-0.91), "correlate by -0.910 within prompts"),
            (
                |r| r.after.reward = -1.06,
                "reward minus KL penalty changed by -0.060, expected more than -0.05",
            ),
            (|r| (r.before.kl, r.after.kl) = (30.0, 30.1), "KL to SFT 30.10 > 30"),
            (|r| r.after.log_likelihood = -3.1, "fell 1.100 > 1 nats/token"),
            (|r| r.after.terminated = 0.84, "terminated completions fell from 0.900 to 0.840"),
            (|r| r.after.repetition = 0.21, "repetition rose from 0.100 to 0.210"),
            (|r| r.after.distinct_2 = 0.39, "distinct 2-grams fell from 0.800 to 0.390"),
            (|r| r.after.length = 20.5, "mean length changed from 10.0 to 20.5"),
            (|r| r.after.length = 4.9, "mean length changed from 10.0 to 4.9"),
        ];
        for (change, reason) in rules {
            let reasons = why(&change);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].contains(reason), "{reasons:?}");
        }
        // A rise of the reward that costs more KL than it is worth, at 0.1 per nat; not defined with a moving reference.
        let bought = |r: &mut RoundReport| (r.after.reward, r.after.kl) = (-0.5, 7.0);
        let reasons = why(&bought);
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].contains("by -0.100") && reasons[0].contains("KL by +6.00"),
            "{reasons:?}"
        );
        let mut moving = Recipe::default();
        moving.policy.reference = KlReference::Moving;
        let mut report = good();
        bought(&mut report);
        assert!(report.objections(&moving).is_empty());
        // Of 50 prompts, 0.4 may be chance.
        assert!(why(&|r| r.audit.length_matched_accuracy = Some(0.4)).is_empty());
        // No length-matched pairs, or only one length, are no objection.
        assert!(why(&|r| r.audit.length_matched_accuracy = None).is_empty());
        assert!(why(&|r| r.audit.length_correlation = None).is_empty());
        // A round with NaN figures is not kept.
        assert!(!why(&|r| r.after.kl = f64::NAN).is_empty());
        assert!(!why(&|r| r.after.length = f64::NAN).is_empty());
    }

    #[test]
    fn a_round_whose_steps_ended_early_is_rejected_with_the_violation() {
        let at = At::new(1, Phase::Improve, 4);
        let ended_by = Violation {
            metric: "objective/kl".into(),
            at,
            value: Some(120.0),
            rollouts: 1,
            bound: Some(100.0),
        };
        let health = TrainingHealth { first_violation: None, ended_by: Some(ended_by) };
        let reasons = RoundReport { health, ..good() }.objections(&Recipe::default());
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].starts_with("policy improvement was ended by objective/kl"),
            "{reasons:?}"
        );
    }

    #[test]
    fn the_best_round_has_the_largest_sum_of_kept_gains() {
        let recipe = Recipe::default();
        let round = |round, accepted, gain: f64| {
            let before = measures();
            let after = Measures { reward: before.reward + gain, ..before };
            RoundReport { round, accepted, before, after, ..good() }
        };
        assert_eq!(best_round(&[], &recipe), None);
        assert_eq!(best_round(&[round(1, false, 3.0)], &recipe), None);
        // A rejected round does not count, and a round with a small loss is not the best.
        let reports =
            [round(1, true, 0.5), round(2, false, 9.0), round(3, true, 0.2), round(4, true, -0.04)];
        assert_eq!(best_round(&reports, &recipe), Some(3));
        assert_eq!(best_round(&reports[..2], &recipe), Some(1));
        let level = [round(1, true, 0.5), round(2, true, 0.0)];
        assert_eq!(best_round(&level, &recipe), Some(2));
    }

    #[test]
    fn a_round_with_a_lower_validation_score_is_rejected() {
        let objections = |before, after, min_validation_gain| {
            let mut recipe = Recipe::default();
            recipe.gate.min_validation_gain = min_validation_gain;
            let standard_error = 0.25;
            let (demonstrations, accuracy_after) = (0.0, 0.5);
            let scores =
                ValidationScores { demonstrations, before, after, standard_error, accuracy_after };
            RoundReport { validation_reward: Some(scores), ..good() }.objections(&recipe)
        };
        let reasons = objections(-0.5, -1.0, 0.0);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        let reason = "the validation reward changed by -2.00 standard errors, expected 0 or more";
        assert_eq!(reasons[0], reason);
        assert!(objections(-1.0, -0.5, 0.0).is_empty());
        assert!(objections(-1.0, -1.0, 0.0).is_empty(), "an unchanged score has not fallen");
        assert!(objections(-1.0, -0.5, 2.0).is_empty());
        assert_eq!(objections(-1.0, -0.5, 2.1).len(), 1);
        assert!(objections(-0.5, -1.0, -2.0).is_empty());
        assert_eq!(objections(f64::NAN, 0.0, f64::NEG_INFINITY).len(), 1, "not a number");
        // Without a validation reward the rule does not apply.
        let mut recipe = Recipe::default();
        recipe.gate.min_validation_gain = 1e9;
        assert!(good().objections(&recipe).is_empty());
    }

    #[test]
    fn the_accuracy_of_the_reward_weights_sources_by_count_and_weight() {
        let report = RoundReport {
            accuracy_initial: 1.0,
            accuracy_sft: 0.7,
            accuracy_before: 0.4,
            ..good()
        };
        let kept = |initial, sft, policy| {
            let mut recipe = Recipe::default();
            let negatives = &mut recipe.negatives;
            (negatives.initial, negatives.sft, negatives.policy) = (initial, sft, policy);
            report.objections(&recipe).is_empty()
        };
        assert!(kept(4, 0, 2), "0.8");
        assert!(!kept(1, 0, 5), "0.5");
        assert!(!kept(0, 0, 1), "0.4");
        assert!(kept(1, 0, 0), "1.0");
        assert!(kept(0, 4, 0), "0.7");
        assert!(!kept(0, 1, 3), "0.475");
        let with_weight = |initial| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (4, 2);
            recipe.negatives.weights.initial = initial;
            report.objections(&recipe).is_empty()
        };
        assert!(with_weight(1.0), "0.8");
        assert!(!with_weight(0.0), "0.4");
        // An unknown accuracy does not matter for a source without negatives.
        let unknown = RoundReport { accuracy_sft: f64::NAN, ..report.clone() };
        assert!(unknown.objections(&Recipe::default()).is_empty());
        let alone = |accuracy_before| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (0, 0);
            recipe.negatives.truncated = 1;
            RoundReport { accuracy_before, ..report.clone() }.objections(&recipe).is_empty()
        };
        assert!(alone(0.4), "0.7");
        assert!(!alone(-0.1), "0.533");
    }
}
