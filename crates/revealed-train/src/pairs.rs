//! The pool of pairs: which completions each demonstration is compared with.

use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revealed_models::{CausalLm, Decoding};
use revealed_objectives::pairs::negative_weights;
use revealed_reward::{LengthProbe, RewardModel};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::At;
use crate::recipe::{
    LengthControl, NegativeReweighting, NegativeWeights, NegativesSection, Pool, RewardSection,
};
use crate::run::{Draw, Run};
use crate::task::{Row, Task};

/// Where a negative comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NegativeSource {
    /// The model before SFT.
    Initial,
    /// The SFT model.
    Sft,
    /// The policy of the round, sampled.
    Policy,
    /// The policy of the round, greedy.
    Greedy,
    /// The demonstration of another prompt: fluent, and beside the point.
    OtherPrompt,
    /// The beginning of the demonstration itself, ended too early.
    Truncated,
}

impl NegativeSource {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Initial, Self::Sft, Self::Policy, Self::Greedy, Self::OtherPrompt, Self::Truncated];

    /// Whether it is the same in every round: drawn in the first, and never left out of a pool.
    pub fn is_fixed(self) -> bool {
        !matches!(self, Self::Policy | Self::Greedy)
    }
}

/// A completion that a demonstration is better than.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negative {
    /// Index of the demonstration in the task.
    pub demonstration: usize,
    /// Where it comes from.
    pub origin: NegativeSource,
    /// The round it was drawn in.
    pub round: usize,
    /// Prompt and completion, canonical.
    pub row: Row,
}

/// A demonstration and what it is better than.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The expert's completion.
    pub demonstration: &'a Row,
    /// A completion of the same prompt.
    pub sample: &'a Row,
    /// What the pair weighs; 1 on average over a pool.
    pub weight: f64,
    /// Scores of a frozen expert, of demonstration and sample: what the reward need not explain.
    pub expert: [f64; 2],
}

impl<'a> Pair<'a> {
    /// A pair of weight 1 without an expert.
    pub fn new(demonstration: &'a Row, sample: &'a Row) -> Self {
        Self { demonstration, sample, weight: 1.0, expert: [0.0; 2] }
    }
}

/// All negatives drawn so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairPool {
    /// In the order they were drawn.
    pub negatives: Vec<Negative>,
}

impl PairPool {
    /// Draws a round's negatives for every demonstration. Those of fixed models are drawn in round 1 only.
    ///
    /// # Errors
    /// When sampling fails.
    pub fn draw(
        &mut self,
        initial: &CausalLm,
        sft: &CausalLm,
        policy: &CausalLm,
        at: At,
        run: &Run<'_>,
    ) -> Result<(), TrainError> {
        let prompts: Vec<Vec<u32>> = run.task.train.iter().map(|row| row.prompt().into()).collect();
        for origin in NegativeSource::ALL {
            let samples = count(&run.recipe.negatives, origin);
            if samples == 0 || (origin.is_fixed() && at.round > 1) {
                continue;
            }
            let model = match origin {
                NegativeSource::Initial => Some(initial),
                NegativeSource::Sft => Some(sft),
                NegativeSource::Policy | NegativeSource::Greedy => Some(policy),
                NegativeSource::OtherPrompt | NegativeSource::Truncated => None,
            };
            let seed = run.seed(at, &format!("{origin:?}"));
            let rows = match model {
                Some(model) => {
                    let greedy = origin == NegativeSource::Greedy;
                    let decoding = if greedy { Decoding::Greedy } else { Decoding::Sample };
                    let temperature = run.recipe.negatives.temperature;
                    let draw = Draw { samples, decoding, temperature, seed };
                    run.canonical(&run.generate(model, &prompts, draw)?)
                }
                None => made_of_demonstrations(origin, samples, seed, run.task),
            };
            self.negatives.extend(rows.into_iter().enumerate().map(|(index, row)| Negative {
                demonstration: index / samples,
                origin,
                round: at.round,
                row,
            }));
        }
        Ok(())
    }

    /// The negatives that a round's reward is fitted on; those of fixed models always belong to them.
    pub fn of_round(&self, round: usize, config: &RewardSection) -> Vec<&Negative> {
        let first = match config.pool {
            Pool::Every => 1,
            Pool::Window => (round + 1).saturating_sub(config.pool_window),
            Pool::Round => round,
        };
        self.negatives
            .iter()
            .filter(|negative| negative.round >= first || negative.origin.is_fixed())
            .collect()
    }
}

/// Negatives with their demonstrations, weighted as the recipe says.
///
/// # Errors
/// When the judge cannot score them.
pub fn pairs<'a>(
    negatives: &[&'a Negative],
    judge: Option<&RewardModel>,
    task: &'a Task,
    run: &Run<'_>,
) -> Result<Vec<Pair<'a>>, TrainError> {
    let weights = &run.recipe.negatives.weights;
    let mut pairs: Vec<Pair<'a>> = negatives
        .iter()
        .map(|negative| {
            let weight = weight(weights, negative.origin);
            Pair { weight, ..Pair::new(&task.train[negative.demonstration], &negative.row) }
        })
        .collect();
    if let (NegativeReweighting::ValidationReward, Some(judge)) =
        (run.recipe.reward.negative_reweighting, judge)
    {
        fade(&mut pairs, judge, run)?;
    }
    if run.recipe.reward.length_control == LengthControl::Expert {
        give_length_expert(&mut pairs);
    }
    let mean = pairs.iter().map(|pair| pair.weight).sum::<f64>() / pairs.len().max(1) as f64;
    pairs.iter_mut().filter(|_| mean > 0.0).for_each(|pair| pair.weight /= mean);
    Ok(pairs)
}

/// Scores both sides by an expert on lengths that is fitted to these pairs.
pub(crate) fn give_length_expert(pairs: &mut [Pair<'_>]) {
    let length = |row: &Row| row.completion().len();
    let lengths: Vec<(usize, usize)> =
        pairs.iter().map(|pair| (length(pair.demonstration), length(pair.sample))).collect();
    let expert = LengthProbe::fit(&lengths);
    for (pair, lengths) in pairs.iter_mut().zip(lengths) {
        pair.expert = [expert.logit(lengths.0), expert.logit(lengths.1)];
    }
}

/// Multiplies weights by [`negative_weights`], by the judge's scores.
fn fade(pairs: &mut [Pair<'_>], judge: &RewardModel, run: &Run<'_>) -> Result<(), TrainError> {
    let device = judge.model.backbone.device();
    let demonstrations = pairs.iter().map(|pair| pair.demonstration);
    let rows: Vec<&Row> = demonstrations.chain(pairs.iter().map(|pair| pair.sample)).collect();
    let scores = run.member_scores(judge, &rows)?.into_iter();
    let scores: Vec<f32> = scores.map(|score| score as f32).collect();
    let side = |scores: &[f32]| Tensor::<1>::from_floats(scores, &device);
    let (demonstrations, samples) = scores.split_at(pairs.len());
    let (demonstrations, samples) = (side(demonstrations), side(samples));
    // Won by the sample, not by the demonstration.
    let weights = negative_weights(samples, demonstrations).into_data();
    for (pair, weight) in pairs.iter_mut().zip(weights.iter::<f32>()) {
        pair.weight *= f64::from(weight);
    }
    Ok(())
}

/// `samples` negatives of every demonstration that no model wrote.
fn made_of_demonstrations(
    origin: NegativeSource,
    samples: usize,
    seed: u64,
    task: &Task,
) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(task.train.len() * samples);
    for demonstration in &task.train {
        for _ in 0..samples {
            let completion = match origin {
                NegativeSource::OtherPrompt => {
                    other_completion(demonstration, &task.train, &mut rng)
                }
                _ => beginning(demonstration, &mut rng),
            };
            rows.push(Row {
                input_ids: [demonstration.prompt(), &completion].concat(),
                completion_start: demonstration.completion_start,
                terminated: demonstration.terminated,
            });
        }
    }
    rows
}

/// The completion of a demonstration whose prompt is another one, or its own where all prompts are the same.
fn other_completion(of: &Row, all: &[Row], rng: &mut ChaCha8Rng) -> Vec<u32> {
    let start = rng.random_range(0..all.len());
    let mut from_start = all[start..].iter().chain(&all[..start]);
    let other =
        from_start.find(|row| row.prompt() != of.prompt() && row.terminated == of.terminated);
    other.unwrap_or(of).completion().to_vec()
}

/// Half of the completion's tokens on average, and its terminator where it has one; never nothing at all.
fn beginning(of: &Row, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let completion = of.completion();
    let end = usize::from(of.terminated);
    let words = completion.len().saturating_sub(end);
    let least = 1 - end;
    let kept = rng.random_range(least..words.max(least + 1));
    [&completion[..kept], &completion[words..]].concat()
}

/// How many negatives of an origin each demonstration gets.
pub(crate) fn count(counts: &NegativesSection, origin: NegativeSource) -> usize {
    match origin {
        NegativeSource::Initial => counts.initial,
        NegativeSource::Sft => counts.sft,
        NegativeSource::Policy => counts.policy,
        NegativeSource::Greedy => counts.greedy,
        NegativeSource::OtherPrompt => counts.other_prompts,
        NegativeSource::Truncated => counts.truncated,
    }
}

/// What a pair with a negative of an origin weighs.
pub(crate) fn weight(weights: &NegativeWeights, origin: NegativeSource) -> f64 {
    match origin {
        NegativeSource::Initial => weights.initial,
        NegativeSource::Sft => weights.sft,
        NegativeSource::Policy => weights.policy,
        NegativeSource::Greedy => weights.greedy,
        NegativeSource::OtherPrompt => weights.other_prompts,
        NegativeSource::Truncated => weights.truncated,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use revealed_data::LongCompletion;

    use super::*;
    use crate::observer::Phase;
    use crate::recipe::{Tuning, ValidationReward};
    use crate::run::at;
    use crate::support::{EOS, World};

    /// 20 demonstrations without a completion in common; every other one is cut before its end.
    fn made(change: impl FnOnce(&mut crate::Recipe)) -> World {
        let completion = |i: usize| {
            let (a, b) = (crate::support::word(i), crate::support::word(i / 17 + 7));
            format!(" {a} {b}{}", " d d d d".repeat(i % 2))
        };
        let prompt = |i: usize| crate::support::demonstrations()[i].0.clone();
        let rows: Vec<(String, String)> = (0..24).map(|i| (prompt(i), completion(i))).collect();
        World::with_rows(Tuning::Full, &rows, |recipe| {
            recipe.data.long_completions = LongCompletion::Truncate;
            (recipe.negatives.initial, recipe.negatives.policy) = (0, 0);
            (recipe.negatives.other_prompts, recipe.negatives.truncated) = (5, 7);
            change(recipe);
        })
    }

    fn drawn(world: &World) -> Vec<Negative> {
        let mut pool = PairPool::default();
        let at = at(1, Phase::Sample, 0);
        let base = &world.base;
        world.run(&mut (), |run| pool.draw(base, base, base, at, run)).unwrap();
        pool.negatives
    }

    #[test]
    fn made_up_negatives_are_another_prompt_s_completion_or_a_beginning() {
        let world = made(|_| {});
        let train = &world.task.train;
        assert!(train.iter().any(|row| row.terminated) && train.iter().any(|row| !row.terminated));
        let all = drawn(&world);
        let of = |origin| all.iter().filter(move |negative| negative.origin == origin);
        let (others, beginnings) = (of(NegativeSource::OtherPrompt), of(NegativeSource::Truncated));
        assert_eq!((others.clone().count(), beginnings.clone().count()), (5 * 20, 7 * 20));
        for negative in &all {
            let (row, demonstration) = (&negative.row, &train[negative.demonstration]);
            assert_eq!(negative.round, 1);
            assert_eq!(row.prompt(), demonstration.prompt());
            assert_eq!(row.terminated, demonstration.terminated);
            assert_eq!(row.completion().last() == Some(&EOS), row.terminated);
            assert!(!row.completion().is_empty(), "nothing could be scored or trained on");
        }
        for negative in others.clone() {
            let (row, demonstration) = (&negative.row, &train[negative.demonstration]);
            let owner = train.iter().find(|other| other.completion() == row.completion()).unwrap();
            assert_ne!(owner.prompt(), demonstration.prompt());
        }
        for negative in beginnings.clone() {
            let (row, demonstration) = (&negative.row, &train[negative.demonstration]);
            let kept = row.completion().len() - usize::from(row.terminated);
            assert!(row.completion().len() < demonstration.completion().len());
            assert_eq!(row.completion()[..kept], demonstration.completion()[..kept]);
        }
        // Each demonstration has several of them, and they differ.
        let distinct = |demonstration| {
            let mine = |negative: &&Negative| negative.demonstration == demonstration;
            let count = |all: Vec<&Negative>| {
                all.into_iter().filter(mine).map(|n| &n.row.input_ids).collect::<HashSet<_>>().len()
            };
            [count(others.clone().collect()), count(beginnings.clone().collect())]
        };
        assert!((0..20).filter(|d| distinct(*d)[0] > 1).count() >= 18);
        assert!((0..20).filter(|d| distinct(*d)[1] > 1).count() >= 18);
    }

    #[test]
    fn what_cannot_be_made_is_the_demonstration_itself() {
        let mut world = made(|_| {});
        let row = |completion: &[u32], terminated| Row {
            input_ids: [&[1, 3][..], completion].concat(),
            completion_start: 2,
            terminated,
        };
        // No other prompt; one word that has no end; an end without words.
        let rows = [row(&[4], false), row(&[EOS], true)];
        world.task.train = rows.to_vec();
        for negative in drawn(&world) {
            assert_eq!(negative.row, rows[negative.demonstration]);
        }
    }

    /// The pairs of negatives of several origins, by a judge.
    fn weighted(world: &World, judge: Option<&RewardModel>) -> Vec<(NegativeSource, f64)> {
        let all = drawn(world);
        let negatives: Vec<&Negative> = all.iter().collect();
        let weights: Vec<f64> = world.run(&mut (), |run| {
            let pairs = pairs(&negatives, judge, run.task, run).unwrap();
            pairs.iter().map(|pair| pair.weight).collect()
        });
        all.iter().map(|negative| negative.origin).zip(weights).collect()
    }

    #[test]
    fn weights_go_by_origin_and_average_1_over_the_pool() {
        let world = made(|recipe| {
            let weights = &mut recipe.negatives.weights;
            (weights.other_prompts, weights.truncated) = (3.0, 0.5);
        });
        let weights = weighted(&world, None);
        // 5 of 3 and 7 of ½ to a demonstration.
        let mean = (5.0 * 3.0 + 7.0 * 0.5) / 12.0;
        for (origin, weight) in weights {
            let given = if origin == NegativeSource::OtherPrompt { 3.0 } else { 0.5 };
            assert!((weight - given / mean).abs() < 1e-12, "{origin:?}: {weight}");
        }
        assert!(weighted(&made(|_| {}), None).iter().all(|(_, weight)| *weight == 1.0));
    }

    #[test]
    fn every_origin_has_a_count_and_a_weight_of_its_own() {
        let counts = NegativesSection {
            initial: 1,
            sft: 2,
            policy: 3,
            greedy: 4,
            other_prompts: 5,
            truncated: 6,
            ..NegativesSection::default()
        };
        let weights = NegativeWeights {
            initial: 1.0,
            sft: 2.0,
            policy: 3.0,
            greedy: 4.0,
            other_prompts: 5.0,
            truncated: 6.0,
        };
        assert_eq!(NegativeSource::ALL.map(|origin| count(&counts, origin)), [1, 2, 3, 4, 5, 6]);
        let all = NegativeSource::ALL.map(|origin| weight(&weights, origin));
        assert_eq!(all, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let fixed = NegativeSource::ALL.map(NegativeSource::is_fixed);
        assert_eq!(fixed, [true, true, false, false, true, true]);
    }

    #[test]
    fn pairs_fade_where_the_judge_puts_the_sample_above_the_demonstration() {
        let world = made(|recipe| {
            (recipe.reward.negative_reweighting, recipe.gate.validation_reward) =
                (NegativeReweighting::ValidationReward, ValidationReward::Independent);
        });
        let mut judge = RewardModel::new(world.base.clone(), 3);
        // A head of another scale and an offset, so that calibrated and raw scores differ.
        (judge.calibration.shift, judge.calibration.scale) = (0.7, 0.25);
        let all = drawn(&world);
        let score = |row: &Row| judge.scores(&[row], 0, 64).unwrap()[0];
        let raw: Vec<f64> = all
            .iter()
            .map(|n| score(&world.task.train[n.demonstration]) - score(&n.row))
            .map(|lead| 2.0 / (1.0 + (-lead).exp()))
            .collect();
        assert!(raw.iter().any(|w| *w < 0.8) && raw.iter().any(|w| *w > 1.2), "{raw:?}");
        let mean = raw.iter().sum::<f64>() / raw.len() as f64;
        for ((_, weight), raw) in weighted(&world, Some(&judge)).iter().zip(&raw) {
            assert!((weight - raw / mean).abs() < 1e-5, "{weight} and {raw}");
        }
        assert!(weighted(&world, None).iter().all(|(_, weight)| *weight == 1.0));
        let plain = made(|_| {});
        assert!(weighted(&plain, Some(&judge)).iter().all(|(_, weight)| *weight == 1.0));
    }

    #[test]
    fn the_expert_gives_what_length_tells_to_the_side_that_has_it() {
        let world = made(|recipe| recipe.reward.length_control = LengthControl::Expert);
        let row = |words: usize| Row {
            input_ids: [vec![1, 3, 4], vec![5; words], vec![EOS]].concat(),
            completion_start: 3,
            terminated: true,
        };
        // Demonstrations of 5 words against samples of 2, and the other way round.
        for (ours, theirs) in [(5, 2), (2, 5)] {
            let demonstrations = vec![row(ours); 20];
            let task = Task { train: demonstrations, ..made(|_| {}).task };
            let sample = |demonstration| Negative {
                demonstration,
                origin: NegativeSource::Policy,
                round: 1,
                row: row(theirs),
            };
            let all: Vec<Negative> = (0..20).map(sample).collect();
            let negatives: Vec<&Negative> = all.iter().collect();
            let expert = LengthProbe::fit(&[(ours + 1, theirs + 1); 20]);
            world.run(&mut (), |run| {
                for pair in pairs(&negatives, None, &task, run).unwrap() {
                    assert!(pair.expert[0] - pair.expert[1] > 1.0, "{:?}", pair.expert);
                    assert_eq!(pair.expert, [ours + 1, theirs + 1].map(|n| expert.logit(n)));
                }
            });
            let plain = made(|_| {});
            plain.run(&mut (), |run| {
                let pairs = pairs(&negatives, None, &task, run).unwrap();
                assert!(pairs.iter().all(|pair| pair.expert == [0.0; 2]));
            });
        }
    }
}
