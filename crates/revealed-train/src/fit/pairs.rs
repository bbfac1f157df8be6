//! The pool of negatives, and the pairs of demonstrations and negatives that a reward is fitted on.

use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revealed_models::{CausalLm, Decoding};
use revealed_objectives::pairs::negative_weights;
use revealed_reward::{LengthProbe, RewardModel};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::recipe::{LengthControl, NegativeReweighting, NegativeSource, Pool, RewardSection};
use crate::record::At;
use crate::run::{Draw, Run};
use crate::task::{Row, Task};

/// A completion that is worse than a demonstration of the same prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negative {
    /// Index of the demonstration in `Task::train`.
    pub demonstration: usize,
    /// Source of the completion.
    pub source: NegativeSource,
    /// The round in which it was drawn, from 1.
    pub round: usize,
    /// Prompt and completion, in canonical form.
    pub row: Row,
}

/// Scores of a frozen model of length for both sides of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExpertScores {
    /// Score of the demonstration.
    pub demonstration: f64,
    /// Score of the sample.
    pub sample: f64,
}

/// A demonstration and a worse completion of the same prompt.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Prompt and demonstrated completion.
    pub demonstration: &'a Row,
    /// Prompt and worse completion.
    pub sample: &'a Row,
    /// Weight in the loss; the mean over a pool is 1.
    pub weight: f64,
    /// Scores of a frozen model of length, added to the reward while it is fitted.
    pub expert: ExpertScores,
}

impl<'a> Pair<'a> {
    /// A pair with weight 1 and expert scores of 0.
    pub fn new(demonstration: &'a Row, sample: &'a Row) -> Self {
        Self { demonstration, sample, weight: 1.0, expert: ExpertScores::default() }
    }
}

/// All negatives of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairPool {
    /// Negatives in the order in which they were drawn.
    pub negatives: Vec<Negative>,
}

impl PairPool {
    /// Draws the negatives of a round for every demonstration. Fixed sources are drawn in round 1 only.
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
        for source in NegativeSource::ALL {
            let samples = run.recipe.negatives.count(source);
            if samples == 0 || (source.is_fixed() && at.round > 1) {
                continue;
            }
            let model = match source {
                NegativeSource::Initial => Some(initial),
                NegativeSource::Sft => Some(sft),
                NegativeSource::Policy | NegativeSource::Greedy => Some(policy),
                NegativeSource::OtherPrompt | NegativeSource::Truncated => None,
            };
            let seed = run.seed(at, &format!("{source:?}"));
            let rows = match model {
                Some(model) => {
                    let greedy = source == NegativeSource::Greedy;
                    let decoding = if greedy { Decoding::Greedy } else { Decoding::Sample };
                    let temperature = run.recipe.negatives.temperature;
                    let draw = Draw { samples, decoding, temperature, seed };
                    run.canonical(&run.generate(model, &prompts, draw)?)
                }
                None => from_demonstrations(source, samples, seed, run.task),
            };
            self.negatives.extend(rows.into_iter().enumerate().map(|(index, row)| Negative {
                demonstration: index / samples,
                source,
                round: at.round,
                row,
            }));
        }
        Ok(())
    }

    /// Negatives that the reward of a round is fitted on; fixed sources are always included.
    pub fn of_round(&self, round: usize, config: &RewardSection) -> Vec<&Negative> {
        let first = match config.pool {
            Pool::Every => 1,
            Pool::Window => (round + 1).saturating_sub(config.pool_window),
            Pool::Round => round,
        };
        self.negatives
            .iter()
            .filter(|negative| negative.round >= first || negative.source.is_fixed())
            .collect()
    }
}

/// Pairs of the given negatives and their demonstrations, with weights and expert scores of the recipe. The validation
/// reward is used for reweighting only.
///
/// # Errors
/// When the validation reward cannot score them.
pub fn pairs<'a>(
    negatives: &[&'a Negative],
    validation_reward: Option<&RewardModel>,
    task: &'a Task,
    run: &Run<'_>,
) -> Result<Vec<Pair<'a>>, TrainError> {
    let weights = &run.recipe.negatives.weights;
    let mut pairs: Vec<Pair<'a>> = negatives
        .iter()
        .map(|negative| {
            let weight = weights.weight(negative.source);
            Pair { weight, ..Pair::new(&task.train[negative.demonstration], &negative.row) }
        })
        .collect();
    if let (NegativeReweighting::ValidationReward, Some(reward)) =
        (run.recipe.reward.negative_reweighting, validation_reward)
    {
        reweight(&mut pairs, reward, run)?;
    }
    if run.recipe.reward.length_control == LengthControl::Expert {
        add_length_expert(&mut pairs);
    }
    let mean = pairs.iter().map(|pair| pair.weight).sum::<f64>() / pairs.len().max(1) as f64;
    pairs.iter_mut().filter(|_| mean > 0.0).for_each(|pair| pair.weight /= mean);
    Ok(pairs)
}

/// Fits a model of length alone to these pairs and adds its scores to them.
pub(crate) fn add_length_expert(pairs: &mut [Pair<'_>]) {
    let length = |row: &Row| row.completion().len();
    let lengths: Vec<(usize, usize)> =
        pairs.iter().map(|pair| (length(pair.demonstration), length(pair.sample))).collect();
    let expert = LengthProbe::fit(&lengths);
    for (pair, lengths) in pairs.iter_mut().zip(lengths) {
        pair.expert = ExpertScores {
            demonstration: expert.logit(lengths.0),
            sample: expert.logit(lengths.1),
        };
    }
}

/// Multiplies weights by [`negative_weights`] of the scores of the validation reward.
fn reweight(pairs: &mut [Pair<'_>], reward: &RewardModel, run: &Run<'_>) -> Result<(), TrainError> {
    let device = reward.model.backbone.device();
    let demonstrations = pairs.iter().map(|pair| pair.demonstration);
    let rows: Vec<&Row> = demonstrations.chain(pairs.iter().map(|pair| pair.sample)).collect();
    let scores = run.member_scores(reward, &rows)?.into_iter();
    let scores: Vec<f32> = scores.map(|score| score as f32).collect();
    let side = |scores: &[f32]| Tensor::<1>::from_floats(scores, &device);
    let (demonstrations, samples) = scores.split_at(pairs.len());
    let (demonstrations, samples) = (side(demonstrations), side(samples));
    // Arguments are (sample, demonstration): the weight is low if the sample has the higher score.
    let weights = negative_weights(samples, demonstrations).into_data();
    for (pair, weight) in pairs.iter_mut().zip(weights.iter::<f32>()) {
        pair.weight *= f64::from(weight);
    }
    Ok(())
}

/// `samples` negatives per demonstration, made from the demonstrations themselves.
fn from_demonstrations(source: NegativeSource, samples: usize, seed: u64, task: &Task) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(task.train.len() * samples);
    for demonstration in &task.train {
        for _ in 0..samples {
            let completion = match source {
                NegativeSource::OtherPrompt => {
                    other_completion(demonstration, &task.train, &mut rng)
                }
                _ => prefix(demonstration, &mut rng),
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

/// Completion of a demonstration of another prompt, or its own completion if all prompts are equal.
fn other_completion(of: &Row, all: &[Row], rng: &mut ChaCha8Rng) -> Vec<u32> {
    let start = rng.random_range(0..all.len());
    let mut from_start = all[start..].iter().chain(&all[..start]);
    let other =
        from_start.find(|row| row.prompt() != of.prompt() && row.terminated == of.terminated);
    other.unwrap_or(of).completion().to_vec()
}

/// Prefix of the completion, half its tokens on average, with EOS if the completion has one; at least one token.
fn prefix(of: &Row, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let completion = of.completion();
    let end = usize::from(of.terminated);
    let words = completion.len().saturating_sub(end);
    let least = 1 - end;
    let kept = rng.random_range(least..words.max(least + 1));
    [&completion[..kept], &completion[words..]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use revealed_data::LongCompletion;

    use super::*;
    use crate::recipe::{Tuning, ValidationReward};
    use crate::record::Phase;
    use crate::testing::{EOS, World};

    /// 20 demonstrations with distinct completions; every other one is truncated.
    fn made(change: impl FnOnce(&mut crate::Recipe)) -> World {
        let completion = |i: usize| {
            let (a, b) = (crate::testing::word(i), crate::testing::word(i / 17 + 7));
            format!(" {a} {b}{}", " d d d d".repeat(i % 2))
        };
        let prompt = |i: usize| crate::testing::demonstrations()[i].0.clone();
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
        let at = At::new(1, Phase::Sample, 0);
        let base = &world.base;
        world.run(&mut (), |run| pool.draw(base, base, base, at, run)).unwrap();
        pool.negatives
    }

    #[test]
    fn negatives_from_demonstrations_are_another_prompt_s_completion_or_a_prefix() {
        let world = made(|_| {});
        let train = &world.task.train;
        assert!(train.iter().any(|row| row.terminated) && train.iter().any(|row| !row.terminated));
        let all = drawn(&world);
        let of = |source| all.iter().filter(move |negative| negative.source == source);
        let (others, prefixes) = (of(NegativeSource::OtherPrompt), of(NegativeSource::Truncated));
        assert_eq!((others.clone().count(), prefixes.clone().count()), (5 * 20, 7 * 20));
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
        for negative in prefixes.clone() {
            let (row, demonstration) = (&negative.row, &train[negative.demonstration]);
            let kept = row.completion().len() - usize::from(row.terminated);
            assert!(row.completion().len() < demonstration.completion().len());
            assert_eq!(row.completion()[..kept], demonstration.completion()[..kept]);
        }
        // Each demonstration has several negatives, and they differ.
        let distinct = |demonstration| {
            let mine = |negative: &&Negative| negative.demonstration == demonstration;
            let count = |all: Vec<&Negative>| {
                all.into_iter().filter(mine).map(|n| &n.row.input_ids).collect::<HashSet<_>>().len()
            };
            [count(others.clone().collect()), count(prefixes.clone().collect())]
        };
        assert!((0..20).filter(|d| distinct(*d)[0] > 1).count() >= 18);
        assert!((0..20).filter(|d| distinct(*d)[1] > 1).count() >= 18);
    }

    #[test]
    fn a_negative_that_cannot_be_made_is_the_demonstration_itself() {
        let mut world = made(|_| {});
        let row = |completion: &[u32], terminated| Row {
            input_ids: [&[1, 3][..], completion].concat(),
            completion_start: 2,
            terminated,
        };
        // No other prompt; one word without EOS; EOS without words.
        let rows = [row(&[4], false), row(&[EOS], true)];
        world.task.train = rows.to_vec();
        for negative in drawn(&world) {
            assert_eq!(negative.row, rows[negative.demonstration]);
        }
    }

    /// Source and weight of the pairs of all negatives.
    fn weighted(
        world: &World,
        validation_reward: Option<&RewardModel>,
    ) -> Vec<(NegativeSource, f64)> {
        let all = drawn(world);
        let negatives: Vec<&Negative> = all.iter().collect();
        let weights: Vec<f64> = world.run(&mut (), |run| {
            let pairs = pairs(&negatives, validation_reward, run.task, run).unwrap();
            pairs.iter().map(|pair| pair.weight).collect()
        });
        all.iter().map(|negative| negative.source).zip(weights).collect()
    }

    #[test]
    fn weights_depend_on_the_source_and_average_1_over_the_pool() {
        let world = made(|recipe| {
            let weights = &mut recipe.negatives.weights;
            (weights.other_prompts, weights.truncated) = (3.0, 0.5);
        });
        let weights = weighted(&world, None);
        // 5 of 3 and 7 of ½ to a demonstration.
        let mean = (5.0 * 3.0 + 7.0 * 0.5) / 12.0;
        for (source, weight) in weights {
            let given = if source == NegativeSource::OtherPrompt { 3.0 } else { 0.5 };
            assert!((weight - given / mean).abs() < 1e-12, "{source:?}: {weight}");
        }
        assert!(weighted(&made(|_| {}), None).iter().all(|(_, weight)| *weight == 1.0));
    }

    #[test]
    fn pairs_lose_weight_if_the_validation_reward_scores_the_sample_above_the_demonstration() {
        let world = made(|recipe| {
            (recipe.reward.negative_reweighting, recipe.gate.validation_reward) =
                (NegativeReweighting::ValidationReward, ValidationReward::Independent);
        });
        let mut reward = RewardModel::new(world.base.clone(), 3);
        // Calibrated and raw scores differ.
        (reward.calibration.shift, reward.calibration.scale) = (0.7, 0.25);
        let all = drawn(&world);
        let score = |row: &Row| reward.scores(&[row], 0, 64).unwrap()[0];
        let raw: Vec<f64> = all
            .iter()
            .map(|n| score(&world.task.train[n.demonstration]) - score(&n.row))
            .map(|lead| 2.0 / (1.0 + (-lead).exp()))
            .collect();
        assert!(raw.iter().any(|w| *w < 0.8) && raw.iter().any(|w| *w > 1.2), "{raw:?}");
        let mean = raw.iter().sum::<f64>() / raw.len() as f64;
        for ((_, weight), raw) in weighted(&world, Some(&reward)).iter().zip(&raw) {
            assert!((weight - raw / mean).abs() < 1e-5, "{weight} and {raw}");
        }
        assert!(weighted(&world, None).iter().all(|(_, weight)| *weight == 1.0));
        let plain = made(|_| {});
        assert!(weighted(&plain, Some(&reward)).iter().all(|(_, weight)| *weight == 1.0));
    }

    #[test]
    fn the_expert_scores_are_those_of_the_length_probe() {
        let world = made(|recipe| recipe.reward.length_control = LengthControl::Expert);
        let row = |words: usize| Row {
            input_ids: [vec![1, 3, 4], vec![5; words], vec![EOS]].concat(),
            completion_start: 3,
            terminated: true,
        };
        // Demonstrations of 5 words and samples of 2, and vice versa.
        for (ours, theirs) in [(5, 2), (2, 5)] {
            let demonstrations = vec![row(ours); 20];
            let task = Task { train: demonstrations, ..made(|_| {}).task };
            let sample = |demonstration| Negative {
                demonstration,
                source: NegativeSource::Policy,
                round: 1,
                row: row(theirs),
            };
            let all: Vec<Negative> = (0..20).map(sample).collect();
            let negatives: Vec<&Negative> = all.iter().collect();
            let expert = LengthProbe::fit(&[(ours + 1, theirs + 1); 20]);
            world.run(&mut (), |run| {
                for pair in pairs(&negatives, None, &task, run).unwrap() {
                    let ExpertScores { demonstration, sample } = pair.expert;
                    assert!(demonstration - sample > 1.0, "{:?}", pair.expert);
                    assert_eq!(
                        [demonstration, sample],
                        [ours + 1, theirs + 1].map(|n| expert.logit(n))
                    );
                }
            });
            let plain = made(|_| {});
            plain.run(&mut (), |run| {
                let pairs = pairs(&negatives, None, &task, run).unwrap();
                assert!(pairs.iter().all(|pair| pair.expert == ExpertScores::default()));
            });
        }
    }
}
