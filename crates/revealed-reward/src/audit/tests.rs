use std::collections::HashMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct Completion {
    tokens: Vec<u32>,
    terminated: bool,
    score: f64,
}

#[derive(Debug, Deserialize)]
struct Prompt {
    demonstration: Completion,
    samples: Vec<Completion>,
}

#[derive(Deserialize)]
struct Expected {
    marks: Vec<u32>,
    logit_scale: f64,
    train: Vec<Prompt>,
    held_out: Vec<Prompt>,
    audit: Audit,
    length_probe: LengthProbe,
    bag_weights: HashMap<u32, f64>,
    logistic: Regression,
    always_longer: Lengths,
}

#[derive(Deserialize)]
struct Regression {
    rows: Vec<Vec<f64>>,
    weights: Vec<f64>,
}

#[derive(Deserialize)]
struct Lengths {
    lengths: Vec<(usize, usize)>,
    weight: f64,
    mean: f64,
}

fn expected() -> Expected {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/audit/expected.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn scored(completion: &Completion) -> Scored<'_> {
    let Completion { tokens, terminated, score } = completion;
    Scored { tokens, terminated: *terminated, score: *score }
}

fn groups(prompts: &[Prompt]) -> Vec<Group<'_>> {
    let group = prompts.iter().map(|Prompt { demonstration, samples }| Group {
        demonstration: scored(demonstration),
        samples: samples.iter().map(scored).collect(),
    });
    group.collect()
}

/// Figures as a list, what is undefined as −9.
fn figures(audit: &Audit) -> Vec<f64> {
    let serde_json::Value::Object(fields) = serde_json::to_value(audit).unwrap() else {
        panic!("an object")
    };
    assert_eq!(fields.len(), 16);
    fields.values().map(|value| value.as_f64().unwrap_or(-9.0)).collect()
}

fn assert_near(ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() < tolerance, "{at}: {ours} is not {theirs}");
    }
}

#[test]
fn every_figure_is_that_of_scikit_learn_and_plain_loops() {
    let e = expected();
    let (train, held_out) = (groups(&e.train), groups(&e.held_out));
    let ours = audit(&train, &held_out, e.logit_scale, &|id| e.marks.contains(&id)).unwrap();
    assert_near(&figures(&ours), &figures(&e.audit), 1e-12);
}

#[test]
fn probes_have_the_weights_of_scikit_learn() {
    let e = expected();
    let train = groups(&e.train);
    let pairs = pairs(&train, "").unwrap();
    let lengths: Vec<_> = pairs.iter().map(|(d, s)| (d.tokens.len(), s.tokens.len())).collect();
    let length = LengthProbe::fit(&lengths);
    // Both sides stop at a relative gradient of 1e-8 or below.
    assert_near(&[length.weight, length.mean], &[e.length_probe.weight, e.length_probe.mean], 1e-6);
    let bag = BagProbe::fit(&pairs.iter().map(|(d, s)| (d.tokens, s.tokens)).collect::<Vec<_>>());
    assert!(e.bag_weights.len() > 25);
    for (id, weight) in &e.bag_weights {
        let ours = bag.logit(&[*id]) / 2f64.ln();
        assert!((ours - weight).abs() < 1e-6, "{id}: {ours} is not {weight}");
    }
}

#[test]
fn logistic_regression_agrees_where_columns_outnumber_rows_and_scales_differ() {
    let Regression { rows, weights } = expected().logistic;
    let sparse = |row: &Vec<f64>| -> logistic::SparseRow {
        row.iter().copied().enumerate().filter(|(_, value)| *value != 0.0).collect()
    };
    let rows: Vec<_> = rows.iter().map(sparse).collect();
    assert_near(&logistic::fit(&rows, weights.len()), &weights, 1e-6);
}

#[test]
fn a_length_probe_learns_the_direction_and_stays_finite_where_lengths_separate() {
    let Lengths { lengths, weight, mean } = expected().always_longer;
    let probe = LengthProbe::fit(&lengths);
    assert_near(&[probe.weight, probe.mean], &[weight, mean], 1e-6);
    assert!(probe.weight > 0.0 && probe.logit(10) > probe.logit(9));
    let swapped: Vec<_> = lengths.iter().map(|(d, s)| (*s, *d)).collect();
    assert_near(&[LengthProbe::fit(&swapped).weight], &[-weight], 1e-6);
    assert_eq!(LengthProbe::fit(&[(3, 3), (5, 5)]), LengthProbe { weight: 0.0, mean: 4.0 });
    assert_eq!(LengthProbe::fit(&[]), LengthProbe { weight: 0.0, mean: 0.0 });
    let probe = LengthProbe { weight: 0.5, mean: 4.0 };
    assert_eq!([probe.logit(4), probe.logit(6), probe.logit(0)], [0.0, 1.0, -2.0]);
}

#[test]
fn length_and_words_of_training_pairs_decide_the_probes_and_their_scores_do_not() {
    let (long, short) = (vec![7; 9], vec![8; 3]);
    let group = |demonstration, sample, score| Group {
        demonstration: scored_as(demonstration, score),
        samples: vec![scored_as(sample, 0.0)],
    };
    // The held-out demonstration is the long one.
    let held_out = [group(&long, &short, -1.0)];
    for (train, accuracy) in
        [(group(&long, &short, f64::NAN), 1.0), (group(&short, &long, f64::INFINITY), 0.0)]
    {
        let audit = audit(&[train], &held_out, 1.0, &|_| false).unwrap();
        assert_eq!(
            [audit.length_accuracy, audit.bag_accuracy, audit.accuracy],
            [accuracy, accuracy, 0.0]
        );
        assert_eq!(audit.bag_hard_pairs, usize::from(accuracy == 0.0));
    }
}

fn scored_as(tokens: &[u32], score: f64) -> Scored<'_> {
    Scored { tokens, terminated: false, score }
}

#[test]
fn words_never_seen_and_their_order_are_nothing_to_the_bag() {
    let ids: [&[u32]; 4] = [&[1, 2, 3], &[4, 5, 5], &[2, 9, 3, 1], &[3, 1, 8, 2]];
    let group = |d: usize, s: usize| Group {
        demonstration: scored_as(ids[d], 1.0),
        samples: vec![scored_as(ids[s], 0.0)],
    };
    let audit = audit(&[group(0, 1)], &[group(2, 3)], 1.0, &|_| false).unwrap();
    assert_eq!((audit.bag_accuracy, audit.bag_hard_pairs), (0.5, 1));
    assert_eq!(audit.bag_hard_accuracy, Some(1.0));
}

#[test]
fn lengths_match_within_a_tenth_of_the_longer_or_one_token() {
    let tokens = [0; 40];
    let matched = |a: usize, b: usize| {
        let [a, b] = [a, b].map(|length| scored_as(&tokens[..length], 0.0));
        assert_eq!(length_matched(&(&a, &b)), length_matched(&(&b, &a)));
        length_matched(&(&a, &b))
    };
    assert!(matched(1, 2) && matched(3, 3) && matched(18, 20) && matched(36, 40) && matched(0, 1));
    assert!(!matched(1, 3) && !matched(17, 19) && !matched(17, 20) && !matched(35, 39));
}

#[test]
fn a_reward_that_says_nothing_gets_chance_and_no_correlations() {
    let e = expected();
    let (train, mut held_out) = (groups(&e.train), groups(&e.held_out));
    for group in &mut held_out {
        group.demonstration.score = 0.1;
        group.samples.iter_mut().for_each(|sample| sample.score = 0.1);
    }
    let audit = audit(&train, &held_out, 1.0, &|_| true).unwrap();
    assert_eq!([audit.accuracy, audit.auc, audit.ece], [0.5, 0.5, 0.0]);
    assert_eq!([audit.length_matched_accuracy, audit.bag_hard_accuracy], [Some(0.5); 2]);
    assert_eq!(audit.length_correlation, None);
    assert!(!audit.warnings().is_empty());
}

#[test]
fn features_that_do_not_vary_have_no_correlation() {
    let e = expected();
    let (train, mut held_out) = (groups(&e.train), groups(&e.held_out));
    let same = [1, 2, 3];
    for sample in held_out.iter_mut().flat_map(|group| &mut group.samples) {
        (sample.tokens, sample.terminated) = (&same, false);
    }
    let audit = audit(&train, &held_out, 1.0, &|id| id == 2).unwrap();
    let Audit { length_correlation, terminated_correlation, .. } = audit;
    let Audit { repetition_correlation, marks_correlation, .. } = audit;
    assert_eq!([length_correlation, terminated_correlation], [None; 2]);
    assert_eq!([repetition_correlation, marks_correlation], [None; 2]);
}

#[test]
fn a_completion_without_tokens_has_no_marks_and_no_repetition() {
    assert_eq!(share(&[], &|_| true), 0.0);
    assert_eq!(share(&[1, 2, 1, 3], &|id| id == 1), 0.5);
    let group = Group { demonstration: scored_as(&[], 1.0), samples: vec![scored_as(&[], 0.0)] };
    let group = std::slice::from_ref(&group);
    let audit = audit(group, group, 1.0, &|_| true).unwrap();
    assert_eq!([audit.length_accuracy, audit.bag_accuracy, audit.accuracy], [0.5, 0.5, 1.0]);
    assert!(figures(&audit).iter().all(|figure| figure.is_finite()));
}

#[test]
fn no_pairs_no_number_and_no_scale_are_errors_that_say_where() {
    let e = expected();
    let (train, held_out) = (groups(&e.train), groups(&e.held_out));
    let said = |train: &[Group<'_>], held_out: &[Group<'_>], scale| {
        audit(train, held_out, scale, &|_| false).unwrap_err().to_string()
    };
    assert!(said(&[], &held_out, 1.0).contains("too few training pairs: found 0"));
    let empty = Group { samples: vec![], ..held_out[0].clone() };
    assert!(said(&train, &[empty], 1.0).contains("too few held-out pairs: found 0"));
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(said(&train, &held_out, scale).contains("logit scale"));
    }
    let mut bad = held_out.clone();
    bad[3].demonstration.score = f64::NAN;
    assert!(said(&train, &bad, 1.0).contains("held-out demonstration score 3 is NaN"));
    let mut bad = held_out.clone();
    let before: usize = bad[..2].iter().map(|group| group.samples.len()).sum();
    bad[2].samples[0].score = f64::INFINITY;
    let sentence = format!("held-out sample score {before} is inf");
    assert!(said(&train, &bad, 1.0).contains(&sentence), "{}", said(&train, &bad, 1.0));
}

/// Prompts of a tiny vocabulary, with scores that often tie.
fn prompts() -> impl Strategy<Value = Vec<Prompt>> {
    let completion = (prop::collection::vec(0u32..6, 0..12), any::<bool>(), -8i32..8).prop_map(
        |(tokens, terminated, score)| Completion {
            tokens,
            terminated,
            score: f64::from(score) / 4.0,
        },
    );
    let completions = prop::collection::vec(completion, 2..5);
    let prompt = completions.prop_map(|mut all| Prompt {
        demonstration: all.pop().expect("two or more"),
        samples: all,
    });
    prop::collection::vec(prompt, 1..7)
}

fn audited(train: &[Group<'_>], held_out: &[Group<'_>]) -> Audit {
    audit(train, held_out, 2.0, &|id| id < 2).unwrap()
}

proptest! {
    #[test]
    fn figures_stay_in_their_ranges(train in prompts(), held_out in prompts()) {
        let audit = audited(&groups(&train), &groups(&held_out));
        let Audit { accuracy, auc, ece, length_accuracy, bag_accuracy, .. } = audit;
        for share in [accuracy, auc, ece, length_accuracy, bag_accuracy] {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert!(figures(&audit)[12..].iter().all(|r| (-1.0..=1.0).contains(r) || *r == -9.0));
        prop_assert!(audit.length_matched_prompts <= audit.length_matched_pairs);
        prop_assert!(audit.length_matched_pairs.max(audit.bag_hard_pairs) <= audit.pairs);
    }

    #[test]
    fn an_offset_per_prompt_changes_the_auc_only(
        train in prompts(), held_out in prompts(), offsets in prop::collection::vec(-9i32..9, 7)
    ) {
        let (train, held_out) = (groups(&train), groups(&held_out));
        let mut moved = held_out.clone();
        for (group, offset) in moved.iter_mut().zip(&offsets) {
            group.demonstration.score += f64::from(*offset);
            group.samples.iter_mut().for_each(|sample| sample.score += f64::from(*offset));
        }
        let auc = 0.0;
        let [before, after] = [&held_out, &moved].map(|held_out| Audit { auc, ..audited(&train, held_out) });
        assert_near(&figures(&before), &figures(&after), 1e-12);
    }

    #[test]
    fn the_order_of_held_out_prompts_and_samples_does_not_matter(
        train in prompts(), held_out in prompts()
    ) {
        let (train, held_out) = (groups(&train), groups(&held_out));
        let mut turned = held_out.clone();
        turned.reverse();
        turned.iter_mut().for_each(|group| group.samples.reverse());
        let [before, after] = [&held_out, &turned].map(|held_out| figures(&audited(&train, held_out)));
        assert_near(&before, &after, 1e-12);
    }

    #[test]
    fn the_opposite_reward_has_the_opposite_figures(train in prompts(), held_out in prompts()) {
        let (train, held_out) = (groups(&train), groups(&held_out));
        let mut opposite = held_out.clone();
        for group in &mut opposite {
            group.demonstration.score *= -1.0;
            group.samples.iter_mut().for_each(|sample| sample.score *= -1.0);
        }
        let [a, b] = [&held_out, &opposite].map(|held_out| audited(&train, held_out));
        assert_near(&[a.accuracy, a.auc], &[1.0 - b.accuracy, 1.0 - b.auc], 1e-12);
        prop_assert_eq!(a.length_correlation.map(|r| -r), b.length_correlation);
        prop_assert_eq!(a.bag_accuracy, b.bag_accuracy);
    }

    #[test]
    fn the_scale_of_scores_is_made_up_for_by_the_logit_scale(held_out in prompts()) {
        let groups = groups(&held_out);
        let mut halved = groups.clone();
        for group in &mut halved {
            group.demonstration.score /= 2.0;
            group.samples.iter_mut().for_each(|sample| sample.score /= 2.0);
        }
        let whole = audit(&groups, &groups, 1.0, &|id| id < 2).unwrap();
        let half = audit(&groups, &halved, 2.0, &|id| id < 2).unwrap();
        assert_near(&figures(&whole), &figures(&half), 1e-12);
    }
}
