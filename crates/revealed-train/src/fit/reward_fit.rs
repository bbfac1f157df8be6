//! Fitting a reward to pairs: demonstrations above negatives.
//!
//! `L = mean_pairs[ w · ( ℓ(r_d + e_d, r_s + e_s) + λ · ½(r_d² + r_s²) + c · (r_d + r_s)² ) ]` for the rewards `r_d` of a
//! demonstration and `r_s` of a sample of its prompt, with `ℓ` the pairwise logistic loss or another
//! [`RewardObjective`](revealed_objectives::RewardObjective), `w` the weight of the pair and `e` the scores of a frozen model
//! of length, 0 by default.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use revealed_models::workers::MicroBatches;
use revealed_models::{PaddingSide, ScalarModel, TokenBatch};
use revealed_objectives::pairs::{center_rewards, pair_accuracy, product_of_experts, reward_l2};
use revealed_reward::RewardModel;

use super::pairs::Pair;
use crate::epochs::items;
use crate::error::TrainError;
use crate::optim::{Updater, accumulate, sum};
use crate::record::{At, Phase};
use crate::run::{Run, Shared};
use crate::steps::{Advance, run_to_end};
use crate::task::Row;

/// Fits a reward to pairs, as a member of the ensemble of a round; each member has its own order of pairs.
///
/// # Errors
/// When there are no pairs, the loss is not finite, or the observer asks to stop.
pub fn fit_reward(
    reward: RewardModel,
    pairs: &[Pair<'_>],
    (round, member): (usize, usize),
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    let fit = Fit { round, phase: Phase::Fit, member };
    run_to_end(RewardFit::new(reward, run), fit.at(0), run, |state, run| {
        state.advance(pairs, fit, run)
    })
}

/// Identifies a fit of a run: its seeds and events derive from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    /// Number of the round, from 1; 0 for the validation reward.
    pub round: usize,
    /// `Fit` or `FitValidationReward`.
    pub phase: Phase,
    /// Index of the ensemble member, from 0.
    pub member: usize,
}

impl Fit {
    pub fn at(self, step: usize) -> At {
        At::new(self.round, self.phase, step)
    }
}

/// State of the fit of one reward between steps.
#[derive(Debug, Clone)]
pub(crate) struct RewardFit {
    pub reward: RewardModel,
    pub updater: RewardUpdater,
    /// Steps done.
    pub step: usize,
}

impl RewardFit {
    pub fn new(mut reward: RewardModel, run: &Run<'_>) -> Self {
        reward.model = reward.model.trainable();
        Self { reward, updater: RewardUpdater::new(run, run.recipe.reward.steps, 0), step: 0 }
    }

    /// Continues to the next pause or to the end.
    pub fn advance(
        mut self,
        pairs: &[Pair<'_>],
        fit: Fit,
        run: &mut Run<'_>,
    ) -> Result<Advance<Self, RewardModel>, TrainError> {
        let config = &run.recipe.reward;
        let purpose = format!("order {}", fit.member);
        if pairs.is_empty() {
            return Err(TrainError::TooFew {
                what: "pairs",
                found: 0,
                needed: 1,
                advice: "ask for negatives in [negatives]",
            });
        }
        let size = config.batch_size.min(pairs.len());
        run.started(fit.at(self.step), config.steps);
        while self.step < config.steps {
            let _span = tracing::debug_span!("step", phase = "fit", step = self.step + 1).entered();
            let seed = |epoch| run.seed(fit.at(epoch), &purpose);
            let chosen = items(pairs.len(), self.step * size, size, seed);
            let batch: Vec<Pair<'_>> = chosen.iter().map(|i| pairs[*i]).collect();
            let at = fit.at(self.step + 1);
            self.reward.model = self.updater.step(self.reward.model, &batch, at, run)?;
            self.step += 1;
            if self.step < config.steps && run.should_pause(self.step) {
                return Ok(Advance::Paused(self));
            }
        }
        self.reward.model = self.reward.model.valid();
        Ok(Advance::Done(self.reward))
    }
}

/// Optimizer of a reward, for steps on any pairs.
#[derive(Debug, Clone)]
pub(crate) struct RewardUpdater {
    pub updater: Updater<ScalarModel>,
    /// Number of steps of the phase, as observers see it.
    pub reported: usize,
}

impl RewardUpdater {
    /// For `steps` steps that follow `before` others of the round.
    pub fn new(run: &Run<'_>, steps: usize, before: usize) -> Self {
        Self {
            updater: Updater::new(&run.recipe.reward.optimizer, steps),
            reported: before + steps,
        }
    }

    /// One optimizer step on the given pairs.
    pub fn step(
        &mut self,
        model: ScalarModel,
        pairs: &[Pair<'_>],
        at: At,
        run: &mut Run<'_>,
    ) -> Result<ScalarModel, TrainError> {
        let (shared, count) = (run.shared(), pairs.len() as f64);
        let micro_batches = pair_micro_batches(&model.backbone.device(), pairs, run);
        let (gradients, parts) = accumulate(&model, &micro_batches, |model, indices| {
            let PairScores { demonstrations, samples } =
                pair_scores(model, pairs, indices, shared)?;
            let chosen: Vec<&Pair<'_>> = indices.iter().map(|i| &pairs[*i]).collect();
            let loss =
                pair_losses(&demonstrations, &samples, &chosen, shared).sum().div_scalar(count);
            let share = indices.len() as f64 / count;
            let part = StepPart {
                loss: loss.clone().inner(),
                accuracy: (pair_accuracy(demonstrations.clone(), samples.clone()) * share).inner(),
                demonstrations: demonstrations.inner().sum().div_scalar(count),
                samples: samples.inner().sum().div_scalar(count),
            };
            Ok((GradientsParams::from_grads(loss.backward(), model), part))
        })?;
        let total =
            |of: fn(&StepPart) -> &Tensor<1>| sum(parts.iter().map(|p| of(p).clone()).collect());
        let numbers = [
            total(|part| &part.loss),
            total(|part| &part.accuracy),
            total(|part| &part.demonstrations),
            total(|part| &part.samples),
        ];
        let limits = &run.recipe.health;
        let (model, done) =
            self.updater.update(model, gradients, numbers, at, limits, run.observer)?;
        let [loss, accuracy, demonstrations, samples] = done.numbers;
        let metrics = [
            ("loss", loss),
            ("rewards/accuracies", accuracy),
            ("rewards/demonstrations", demonstrations),
            ("rewards/negatives", samples),
            ("rewards/margins", demonstrations - samples),
            ("grad_norm", done.grad_norm),
            ("learning_rate", done.lr),
            ("padding", micro_batches.padding()),
        ];
        run.step(at, self.reported, &metrics);
        Ok(model)
    }
}

/// Contribution of a micro-batch to the numbers of a step, `[1]` each.
struct StepPart {
    loss: Tensor<1>,
    accuracy: Tensor<1>,
    demonstrations: Tensor<1>,
    samples: Tensor<1>,
}

/// Raw scores of both sides of pairs, `[P]` each.
struct PairScores {
    demonstrations: Tensor<1>,
    samples: Tensor<1>,
}

/// Weighted loss of each pair, `[P]`.
fn pair_losses(
    demonstration: &Tensor<1>,
    sample: &Tensor<1>,
    pairs: &[&Pair<'_>],
    run: Shared<'_>,
) -> Tensor<1> {
    let device: Device = demonstration.device();
    let constants = |of: fn(&Pair<'_>) -> f64| {
        let values: Vec<f32> = pairs.iter().map(|pair| of(pair) as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &device)
    };
    let (d, s) = (demonstration.clone(), sample.clone());
    let config = &run.recipe.reward;
    let with_expert = |scores: &Tensor<1>, expert| product_of_experts(scores.clone(), expert, 1.0);
    let with_d = with_expert(&d, constants(|pair| pair.expert.demonstration));
    let with_s = with_expert(&s, constants(|pair| pair.expert.sample));
    let losses = run.objective.loss(with_d, with_s)
        + reward_l2(d.clone(), s.clone()).mul_scalar(config.l2)
        + center_rewards(d, s).mul_scalar(config.center_rewards_coef);
    losses * constants(|pair| pair.weight)
}

/// Micro-batches of pairs whose padded rows stay within `run.micro_batch_tokens`.
pub(crate) fn pair_micro_batches(
    device: &Device,
    pairs: &[Pair<'_>],
    run: &Run<'_>,
) -> MicroBatches {
    let longest: Vec<usize> = pairs
        .iter()
        .map(|pair| 2 * pair.demonstration.input_ids.len().max(pair.sample.input_ids.len()))
        .collect();
    let micro_batches =
        MicroBatches::of_lengths(&longest, device, run.recipe.run.micro_batch_tokens);
    let sides = |pair: &Pair<'_>| pair.demonstration.input_ids.len() + pair.sample.input_ids.len();
    MicroBatches { tokens: pairs.iter().map(sides).sum(), ..micro_batches }
}

/// Scores of both sides in one forward pass.
fn pair_scores(
    model: &ScalarModel,
    pairs: &[Pair<'_>],
    indices: &[usize],
    run: Shared<'_>,
) -> Result<PairScores, TrainError> {
    let demonstrations = indices.iter().map(|i| pairs[*i].demonstration);
    let rows: Vec<&Row> = demonstrations.chain(indices.iter().map(|i| pairs[*i].sample)).collect();
    let (device, pad_id) = (model.backbone.device(), run.task.pad_id());
    let scores =
        match rows.iter().all(|row| row.completion_start > 0 && !row.completion().is_empty()) {
            true => model.row_scores(&run.batch(&model.backbone, rows.into_iter())?),
            false => model.scores(&TokenBatch::new(&rows, pad_id, PaddingSide::Right, &device)?),
        };
    let half = indices.len();
    Ok(PairScores {
        demonstrations: scores.clone().narrow(0, 0, half),
        samples: scores.narrow(0, half, half),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::ExpertScores;
    use crate::recipe::Tuning;
    use crate::testing::World;

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// Losses of two pairs and their derivatives with respect to both rewards.
    fn losses(
        weights: [f64; 2],
        experts: [[f64; 2]; 2],
        l2: f64,
        center_rewards: f64,
    ) -> [[f64; 3]; 2] {
        let world = World::new(Tuning::Full, |recipe| {
            (recipe.reward.l2, recipe.reward.center_rewards_coef) = (l2, center_rewards);
        });
        let rows = &world.task.train;
        let pairs: Vec<Pair<'_>> = [0, 1]
            .map(|i| Pair {
                weight: weights[i],
                expert: ExpertScores { demonstration: experts[i][0], sample: experts[i][1] },
                ..Pair::new(&rows[0], &rows[1])
            })
            .into();
        let device = crate::testing::device().autodiff();
        let leaf = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).require_grad();
        let (d, s) = (leaf([1.0, -0.5]), leaf([0.25, 0.75]));
        let pairs: Vec<&Pair<'_>> = pairs.iter().collect();
        let losses = world.run(&mut (), |run| pair_losses(&d, &s, &pairs, run.shared()));
        let gradients = losses.clone().sum().backward();
        let host = |tensor: Tensor<1>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
        let slopes = [&d, &s].map(|leaf| host(leaf.grad(&gradients).unwrap()));
        let values = host(losses.inner());
        [0, 1].map(|i| [values[i], slopes[0][i], slopes[1][i]])
    }

    #[test]
    fn the_loss_of_a_pair_is_the_documented_formula() {
        let rewards = [[1.0, 0.25], [-0.5, 0.75]];
        let experts = [[0.5, -0.5], [-1.0, 2.0]];
        for (weights, experts, l2, center_rewards) in [
            ([1.0, 1.0], [[0.0; 2]; 2], 0.0, 0.0),
            ([3.0, 0.25], [[0.0; 2]; 2], 0.0, 0.0),
            ([1.0, 1.0], experts, 0.0, 0.0),
            ([1.0, 1.0], [[0.0; 2]; 2], 0.5, 0.0),
            ([1.0, 1.0], [[0.0; 2]; 2], 0.0, 0.25),
            ([2.0, 0.0], experts, 0.5, 0.25),
        ] {
            let found = losses(weights, experts, l2, center_rewards);
            for (i, [loss, slope_d, slope_s]) in found.into_iter().enumerate() {
                let ([d, s], [e_d, e_s], w) = (rewards[i], experts[i], weights[i]);
                let lead = d + e_d - s - e_s;
                let wanted =
                    softplus(-lead) + l2 * 0.5 * (d * d + s * s) + center_rewards * (d + s).powi(2);
                let pull = -1.0 / (1.0 + lead.exp());
                let wanted_d = pull + l2 * d + 2.0 * center_rewards * (d + s);
                let wanted_s = -pull + l2 * s + 2.0 * center_rewards * (d + s);
                for (found, wanted) in [(loss, wanted), (slope_d, wanted_d), (slope_s, wanted_s)] {
                    assert!((found - w * wanted).abs() < 1e-6, "{found} and {w} · {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_margin_given_by_the_expert_reduces_the_gradient() {
        let pull = |expert| -losses([1.0; 2], [expert; 2], 0.0, 0.0)[0][1];
        assert!(pull([2.0, -2.0]) < 0.1 * pull([0.0; 2]));
        assert!(pull([-2.0, 2.0]) > pull([0.0; 2]));
    }
}
