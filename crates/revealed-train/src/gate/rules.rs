//! The rules by which a round is kept, and which kept round is best.

use super::{RoundReport, shares};
use crate::recipe::{GateSection, KlReference, Recipe};

/// What a nat of KL to the SFT model costs; nothing where the anchor has moved away from that.
fn kl_price(recipe: &Recipe) -> f64 {
    if recipe.policy.reference == KlReference::Sft { recipe.policy.kl_coef } else { 0.0 }
}

impl RoundReport {
    /// How far the round raised what it maximises, on held-out prompts: `Δ E[r] − β Δ KL(π ‖ π_SFT)`.
    pub fn objective_gain(&self, recipe: &Recipe) -> f64 {
        let RoundReport { before, after, .. } = self;
        after.reward - before.reward - kl_price(recipe) * (after.kl - before.kl)
    }

    /// Why a candidate is not kept; empty if it is.
    pub fn objections(&self, recipe: &Recipe) -> Vec<String> {
        let RoundReport { before, after, .. } = self;
        let GateSection {
            min_accuracy,
            min_shortcut_margin,
            min_length_matched_accuracy,
            max_length_correlation,
            min_gain,
            min_validation_gain,
            max_kl,
            max_likelihood_drop,
            max_terminated_drop,
            max_repetition_rise,
            min_distinct_share,
            max_length_factor,
            ..
        } = recipe.gate;
        let accuracies = [self.accuracy_initial, self.accuracy_sft, self.accuracy_before];
        let shares = shares(&recipe.negatives).into_iter().zip(accuracies);
        let pooled: f64 =
            shares.filter(|(share, _)| *share > 0.0).map(|(share, a)| share * a).sum();
        let drop = self.sft_log_likelihood - after.log_likelihood;
        let longer = (after.length / before.length).max(before.length / after.length.max(1e-9));
        let gain = self.objective_gain(recipe);
        let beyond = self.audit.beyond_shortcuts();
        let matched = self.audit.length_matched_upper();
        let correlation = self.audit.length_correlation;
        let judged = self.validation_reward.map_or(f64::INFINITY, |judge| judge.gain());
        let rules = [
            (
                pooled >= min_accuracy,
                format!(
                    "reward accuracy on held-out demonstrations {pooled:.3} < {min_accuracy}: it tells them from negatives no better than chance"
                ),
            ),
            (
                beyond >= min_shortcut_margin,
                format!(
                    "reward accuracy less that of the better of two probes, on length and on words, is {beyond:.3} < {min_shortcut_margin}: what it has learned is a shortcut"
                ),
            ),
            (
                matched.is_none_or(|accuracy| accuracy >= min_length_matched_accuracy),
                format!(
                    "reward accuracy on pairs of like length is {min_length_matched_accuracy} or more at no place of its 95 % interval, which ends at {:.3}: what it has learned is length",
                    matched.unwrap_or(f64::NAN)
                ),
            ),
            (
                correlation.is_none_or(|r| r.abs() <= max_length_correlation),
                format!(
                    "reward and length correlate by {:.3} within prompts, more than {max_length_correlation}",
                    correlation.unwrap_or(f64::NAN)
                ),
            ),
            (
                gain > min_gain,
                format!(
                    "reward less KL moved by {gain:+.3}, which has to be more than {min_gain}: reward by {:+.3}, KL by {:+.2} nats at {} a nat; a solver that lowers what it maximises has failed",
                    after.reward - before.reward,
                    after.kl - before.kl,
                    kl_price(recipe)
                ),
            ),
            (
                judged >= min_validation_gain,
                format!(
                    "the judge's score moved by {judged:+.2} standard errors, which has to be {min_validation_gain} or more"
                ),
            ),
            (after.kl <= max_kl, format!("KL to SFT {:.2} > {max_kl} nats a completion", after.kl)),
            (
                drop <= max_likelihood_drop,
                format!(
                    "log-likelihood of held-out demonstrations fell {drop:.3} > {max_likelihood_drop} nats a token"
                ),
            ),
            (
                before.terminated - after.terminated <= max_terminated_drop,
                format!(
                    "terminated completions fell from {:.3} to {:.3}",
                    before.terminated, after.terminated
                ),
            ),
            (
                after.repetition - before.repetition <= max_repetition_rise,
                format!("repetition rose from {:.3} to {:.3}", before.repetition, after.repetition),
            ),
            (
                after.distinct_2 >= min_distinct_share * before.distinct_2,
                format!(
                    "distinct 2-grams fell from {:.3} to {:.3}: the policy collapses",
                    before.distinct_2, after.distinct_2
                ),
            ),
            (
                longer <= max_length_factor,
                format!(
                    "mean length changed from {:.1} to {:.1} tokens",
                    before.length, after.length
                ),
            ),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, reason)| reason);
        self.course.objection().into_iter().chain(broken).collect()
    }
}

/// The kept round after which the policy stands best by what rounds maximise: the sum of the gains of kept rounds up to it is
/// largest. Of equals it is the later; `None` where no round was kept.
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
    use revealed_reward::Audit;

    use super::*;
    use crate::held_out::Measures;
    use crate::observer::At;
    use crate::validation_reward::ValidationScores;
    use crate::watch::{Breach, Course};

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

    /// What an honest reward leaves.
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

    /// A round that every rule of the default recipe lets pass.
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
            course: Course::default(),
            sft_log_likelihood: -2.0,
            calibration: [0.0, 1.0],
            before: measures(),
            after: Measures { reward: -0.5, ..measures() },
        }
    }

    #[test]
    fn a_report_without_the_sft_model_s_accuracy_is_read_again_and_again() {
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
                "is -0.110 < -0.1: what it has learned is a shortcut",
            ),
            (
                |r| r.audit.length_matched_accuracy = Some(0.3),
                "is 0.5 or more at no place of its 95 % interval, which ends at 0.4",
            ),
            (|r| r.audit.length_correlation = Some(-0.91), "correlate by -0.910 within prompts"),
            (
                |r| r.after.reward = -1.06,
                "reward less KL moved by -0.060, which has to be more than -0.05",
            ),
            (|r| (r.before.kl, r.after.kl) = (30.0, 30.1), "KL to SFT 30.10 > 30"),
            (|r| r.after.log_likelihood = -3.1, "fell 1.100 > 1 nats a token"),
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
        // A reward that is bought with more KL than it is worth, at 0.1 a nat; with a moving anchor no one can tell.
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
        // No pairs of like length, or no two lengths, are no objection.
        assert!(why(&|r| r.audit.length_matched_accuracy = None).is_empty());
        assert!(why(&|r| r.audit.length_correlation = None).is_empty());
        // What cannot be judged is not kept.
        assert!(!why(&|r| r.after.kl = f64::NAN).is_empty());
        assert!(!why(&|r| r.after.length = f64::NAN).is_empty());
    }

    #[test]
    fn a_round_whose_steps_were_ended_is_not_kept_and_says_what_ended_them() {
        let at = At { round: 1, phase: crate::observer::Phase::Improve, step: 4 };
        let ended_by = Breach {
            quantity: "objective/kl".into(),
            at,
            value: Some(120.0),
            of: 1,
            bound: Some(100.0),
        };
        let course = Course { first: None, ended_by: Some(ended_by) };
        let reasons = RoundReport { course, ..good() }.objections(&Recipe::default());
        assert_eq!(reasons.len(), 1);
        assert!(
            reasons[0].starts_with("policy improvement was ended by objective/kl"),
            "{reasons:?}"
        );
    }

    #[test]
    fn the_best_round_is_where_the_kept_gains_add_up_to_most() {
        let recipe = Recipe::default();
        let round = |round, accepted, gain: f64| {
            let before = measures();
            let after = Measures { reward: before.reward + gain, ..before };
            RoundReport { round, accepted, before, after, ..good() }
        };
        assert_eq!(best_round(&[], &recipe), None);
        assert_eq!(best_round(&[round(1, false, 3.0)], &recipe), None);
        // A rolled back round counts for nothing, and one that lost a little is not the best.
        let reports =
            [round(1, true, 0.5), round(2, false, 9.0), round(3, true, 0.2), round(4, true, -0.04)];
        assert_eq!(best_round(&reports, &recipe), Some(3));
        assert_eq!(best_round(&reports[..2], &recipe), Some(1));
        let level = [round(1, true, 0.5), round(2, true, 0.0)];
        assert_eq!(best_round(&level, &recipe), Some(2));
    }

    #[test]
    fn a_round_that_the_judge_likes_less_is_not_kept() {
        let judged = |before, after, min_validation_gain| {
            let mut recipe = Recipe::default();
            recipe.gate.min_validation_gain = min_validation_gain;
            let standard_error = 0.25;
            let (demonstrations, accuracy_after) = (0.0, 0.5);
            let judge =
                ValidationScores { demonstrations, before, after, standard_error, accuracy_after };
            RoundReport { validation_reward: Some(judge), ..good() }.objections(&recipe)
        };
        let reasons = judged(-0.5, -1.0, 0.0);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        let reason = "the judge's score moved by -2.00 standard errors, which has to be 0 or more";
        assert_eq!(reasons[0], reason);
        assert!(judged(-1.0, -0.5, 0.0).is_empty());
        assert!(judged(-1.0, -1.0, 0.0).is_empty(), "a score that stays has not fallen");
        assert!(judged(-1.0, -0.5, 2.0).is_empty());
        assert_eq!(judged(-1.0, -0.5, 2.1).len(), 1);
        assert!(judged(-0.5, -1.0, -2.0).is_empty());
        assert_eq!(judged(f64::NAN, 0.0, f64::NEG_INFINITY).len(), 1, "what cannot be judged");
        // Without a judge there is nothing to object to, whatever is asked for.
        let mut recipe = Recipe::default();
        recipe.gate.min_validation_gain = 1e9;
        assert!(good().objections(&recipe).is_empty());
    }

    #[test]
    fn the_reward_s_accuracy_weighs_negatives_by_number_and_weight() {
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
        let weighed = |initial| {
            let mut recipe = Recipe::default();
            (recipe.negatives.initial, recipe.negatives.policy) = (4, 2);
            recipe.negatives.weights.initial = initial;
            report.objections(&recipe).is_empty()
        };
        assert!(weighed(1.0), "0.8");
        assert!(!weighed(0.0), "0.4");
        // An unknown one does not matter where there are none such.
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
