//! A frozen model of length keeps a reward from learning length.

use revealed_reward::RewardModel;
use revealed_train::{
    LengthControl, Negative, NegativeSource, Row, Tuning, fit_reward, improve_policy_and_reward,
};

use revealed_train::testing::{EOS, WORDS, World, weights};

/// One prompt, and a word repeated a number of times.
fn row(words: usize) -> Row {
    let input_ids = [vec![1, WORDS, WORDS + 1], vec![WORDS + 2; words], vec![EOS]].concat();
    Row { input_ids, completion_start: 3, terminated: true }
}

/// Reward of the long completion minus that of the short one after a fit; the demonstration is the long one in `long` of 80
/// pairs, and completions differ in length only.
fn preference(length_control: LengthControl, long: usize) -> f64 {
    let mut world = World::new(Tuning::Full, |recipe| {
        recipe.reward.length_control = length_control;
        (recipe.reward.steps, recipe.reward.batch_size) = (60, 80);
        recipe.reward.l2 = 0.0;
    });
    let (short, longer) = (row(1), row(5));
    let side = |long: bool| if long { longer.clone() } else { short.clone() };
    world.task.train = (0..80).map(|pair| side(pair < long)).collect();
    let negative = |demonstration: usize| Negative {
        demonstration,
        source: NegativeSource::Policy,
        round: 1,
        row: side(demonstration >= long),
    };
    let all: Vec<Negative> = (0..80).map(negative).collect();
    let negatives: Vec<&Negative> = all.iter().collect();
    let reward = world.run(&mut (), |run| {
        let pairs = revealed_train::pairs(&negatives, None, &world.task, run)?;
        fit_reward(RewardModel::new(world.base.clone(), 0), &pairs, (1, 0), run)
    });
    let scores = reward.unwrap().raw_scores(&[longer, short], 0, 64).unwrap();
    scores[0] - scores[1]
}

#[test]
fn with_an_expert_on_lengths_the_reward_learns_no_length() {
    for (long, sign) in [(60, 1.0), (20, -1.0)] {
        let free = sign * preference(LengthControl::None, long);
        // Three pairs of four: log 3.
        assert!((free - 3.0f64.ln()).abs() < 0.2, "{free}");
        let controlled = preference(LengthControl::Expert, long);
        // The ridge penalty keeps the expert slightly below log 3; the reward learns the difference.
        assert!(controlled.abs() < 0.2 * free, "{controlled} of {free}");
    }
}

#[test]
fn reward_steps_between_policy_steps_use_the_length_expert_too() {
    let improved = |length_control| {
        let world = World::new(Tuning::Full, |recipe| {
            recipe.reward.length_control = length_control;
        });
        let reward = RewardModel::new(world.base.clone(), 0);
        let improved = world.run(&mut (), |run| {
            improve_policy_and_reward(world.policy.clone(), &world.base, reward.into(), 1, run)
        });
        weights(&improved.unwrap().1.members[0].model)
    };
    assert_ne!(improved(LengthControl::None), improved(LengthControl::Expert));
}
