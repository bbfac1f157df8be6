//! The pool of pairs: which completions each demonstration is compared with.

use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revealed_models::{CausalLm, Decoding};
use revealed_objectives::pairs::fading_weights;
use revealed_reward::{LengthProbe, RewardModel};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::observer::At;
use crate::recipe::{
    Fading, LengthControl, NegativeWeights, NegativesSection, Pool, RewardSection,
};
use crate::run::{Draw, Run};
use crate::task::{Row, Task};

/// Where a negative comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
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

impl Origin {
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
    pub origin: Origin,
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
        for origin in Origin::ALL {
            let samples = count(&run.recipe.negatives, origin);
            if samples == 0 || (origin.is_fixed() && at.round > 1) {
                continue;
            }
            let model = match origin {
                Origin::Initial => Some(initial),
                Origin::Sft => Some(sft),
                Origin::Policy | Origin::Greedy => Some(policy),
                Origin::OtherPrompt | Origin::Truncated => None,
            };
            let seed = run.seed(at, &format!("{origin:?}"));
            let rows = match model {
                Some(model) => {
                    let greedy = origin == Origin::Greedy;
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
    if let (Fading::Won, Some(judge)) = (run.recipe.reward.fading, judge) {
        fade(&mut pairs, judge, run)?;
    }
    if run.recipe.reward.length_control == LengthControl::Expert {
        let length = |row: &Row| row.completion().len();
        let lengths: Vec<(usize, usize)> =
            pairs.iter().map(|pair| (length(pair.demonstration), length(pair.sample))).collect();
        let expert = LengthProbe::fit(&lengths);
        for (pair, lengths) in pairs.iter_mut().zip(lengths) {
            pair.expert = [expert.logit(lengths.0), expert.logit(lengths.1)];
        }
    }
    let mean = pairs.iter().map(|pair| pair.weight).sum::<f64>() / pairs.len().max(1) as f64;
    pairs.iter_mut().filter(|_| mean > 0.0).for_each(|pair| pair.weight /= mean);
    Ok(pairs)
}

/// Multiplies weights by [`fading_weights`], by the judge's scores.
fn fade(pairs: &mut [Pair<'_>], judge: &RewardModel, run: &Run<'_>) -> Result<(), TrainError> {
    let (pad, tokens) = (run.task.pad_id(), run.recipe.run.micro_batch_tokens);
    let device = judge.model.backbone.device();
    let side = |rows: Vec<&Row>| -> Result<Tensor<1>, TrainError> {
        let scores = judge.scores(&rows, pad, tokens)?;
        let scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
        Ok(Tensor::from_floats(scores.as_slice(), &device))
    };
    let demonstrations = side(pairs.iter().map(|pair| pair.demonstration).collect())?;
    let samples = side(pairs.iter().map(|pair| pair.sample).collect())?;
    // Won by the sample, not by the demonstration.
    let weights = fading_weights(samples, demonstrations).into_data();
    for (pair, weight) in pairs.iter_mut().zip(weights.iter::<f32>()) {
        pair.weight *= f64::from(weight);
    }
    Ok(())
}

/// `samples` negatives of every demonstration that no model wrote.
fn made_of_demonstrations(origin: Origin, samples: usize, seed: u64, task: &Task) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::with_capacity(task.train.len() * samples);
    for demonstration in &task.train {
        for _ in 0..samples {
            let completion = match origin {
                Origin::OtherPrompt => other_completion(demonstration, &task.train, &mut rng),
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

/// Half of the completion's tokens on average, and its terminator where it has one.
fn beginning(of: &Row, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let completion = of.completion();
    let end = usize::from(of.terminated);
    let words = completion.len().saturating_sub(end);
    let kept = rng.random_range(0..words.max(1));
    [&completion[..kept], &completion[words..]].concat()
}

/// How many negatives of an origin each demonstration gets.
pub(crate) fn count(counts: &NegativesSection, origin: Origin) -> usize {
    match origin {
        Origin::Initial => counts.initial,
        Origin::Sft => counts.sft,
        Origin::Policy => counts.policy,
        Origin::Greedy => counts.greedy,
        Origin::OtherPrompt => counts.other_prompts,
        Origin::Truncated => counts.truncated,
    }
}

/// What a pair with a negative of an origin weighs.
pub(crate) fn weight(weights: &NegativeWeights, origin: Origin) -> f64 {
    match origin {
        Origin::Initial => weights.initial,
        Origin::Sft => weights.sft,
        Origin::Policy => weights.policy,
        Origin::Greedy => weights.greedy,
        Origin::OtherPrompt => weights.other_prompts,
        Origin::Truncated => weights.truncated,
    }
}
