//! Fitting the reward: demonstrations above negatives, then calibration.
//!
//! `L = mean_pairs[ w · ( ℓ(r_d + e_d, r_s + e_s) + λ · ½(r_d² + r_s²) + c · (r_d + r_s)² ) ]` for the rewards `r_d` of a
//! demonstration and `r_s` of a sample of its prompt, with `ℓ` the pairwise logistic loss or another
//! [`RewardObjective`](revealed_objectives::RewardObjective), `w` the pair's weight and `e` the scores of a frozen expert
//! on lengths, 0 unless asked for.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use revealed_models::workers::MicroBatches;
use revealed_models::{CausalLm, Decoding, PaddingSide, ScalarModel, TokenBatch};
use revealed_objectives::pairs::{center_rewards, pair_accuracy, product_of_experts, reward_l2};
use revealed_reward::{Calibration, RewardEnsemble, RewardModel};

use crate::epochs::items;
use crate::error::TrainError;
use crate::observer::{At, Phase};
use crate::optimizer::{Updater, accumulate, sum};
use crate::pairs::{Negative, NegativeSource, Pair};
use crate::recipe::ScaleFrom;
use crate::run::{Draw, Run, Shared, at};
use crate::steps::{Steps, to_the_end};
use crate::task::Row;

/// Fits a reward to pairs, for a round, as a member of its ensemble: each member has an order of its own.
///
/// # Errors
/// When there are no pairs, the loss is not finite, or the observer asks to stop.
pub fn fit_reward(
    reward: RewardModel,
    pairs: &[Pair<'_>],
    (round, member): (usize, usize),
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    to_the_end(RewardFit::new(reward, run), at(round, Phase::Fit, 0), run, |fit, run| {
        fit.advance(pairs, (round, member), run)
    })
}

/// One reward in the middle of its steps.
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

    /// Goes on to the next place to save, or the end.
    pub fn advance(
        mut self,
        pairs: &[Pair<'_>],
        (round, member): (usize, usize),
        run: &mut Run<'_>,
    ) -> Result<Steps<Self, RewardModel>, TrainError> {
        let config = &run.recipe.reward;
        let purpose = format!("order {member}");
        if pairs.is_empty() {
            return Err(TrainError::TooFew {
                what: "pairs",
                found: 0,
                needed: 1,
                advice: "ask for negatives in [negatives]",
            });
        }
        let size = config.batch_size.min(pairs.len());
        run.started(at(round, Phase::Fit, self.step), config.steps);
        while self.step < config.steps {
            let _span = tracing::debug_span!("step", phase = "fit", step = self.step + 1).entered();
            let seed = |epoch| run.seed(at(round, Phase::Fit, epoch), &purpose);
            let chosen = items(pairs.len(), self.step * size, size, seed);
            let batch: Vec<Pair<'_>> = chosen.iter().map(|i| pairs[*i]).collect();
            let at = at(round, Phase::Fit, self.step + 1);
            self.reward.model = self.updater.step(self.reward.model, &batch, at, run)?;
            self.step += 1;
            if self.step < config.steps && run.pauses(self.step) {
                return Ok(Steps::Paused(self));
            }
        }
        self.reward.model = self.reward.model.valid();
        Ok(Steps::Done(self.reward))
    }
}

/// The reward's optimizer, for steps on pairs wherever they come from.
#[derive(Debug, Clone)]
pub(crate) struct RewardUpdater {
    pub updater: Updater<ScalarModel>,
    /// Steps of the round's fit, as observers hear of it.
    pub reported: usize,
}

impl RewardUpdater {
    /// For `steps` steps that follow `before` others of the round.
    pub(crate) fn new(run: &Run<'_>, steps: usize, before: usize) -> Self {
        Self {
            updater: Updater::new(&run.recipe.reward.optimizer, steps),
            reported: before + steps,
        }
    }

    /// One optimizer step on the given pairs.
    pub(crate) fn step(
        &mut self,
        model: ScalarModel,
        pairs: &[Pair<'_>],
        at: At,
        run: &mut Run<'_>,
    ) -> Result<ScalarModel, TrainError> {
        let (shared, count) = (run.shared(), pairs.len() as f64);
        let pieces = pair_pieces(&model.backbone.device(), pairs, run);
        let (gradients, numbers) = accumulate(&model, &pieces, |model, indices| {
            let [demonstration, negative] = pair_scores(model, pairs, indices, shared)?;
            let chosen: Vec<&Pair<'_>> = indices.iter().map(|i| &pairs[*i]).collect();
            let loss =
                pair_losses(&demonstration, &negative, &chosen, shared).sum().div_scalar(count);
            let share = indices.len() as f64 / count;
            let correct = pair_accuracy(demonstration.clone(), negative.clone()) * share;
            let [demonstrations, negatives] =
                [demonstration, negative].map(|scores| scores.inner().sum().div_scalar(count));
            let numbers = [loss.clone().inner(), correct.inner(), demonstrations, negatives];
            Ok((GradientsParams::from_grads(loss.backward(), model), numbers))
        })?;
        let of = |which: usize| sum(numbers.iter().map(|part| part[which].clone()).collect());
        let numbers = [0, 1, 2, 3].map(of).to_vec();
        let (model, done) = self.updater.update(model, gradients, numbers, at, run)?;
        let [loss, accuracy, demonstrations, negatives] = [0, 1, 2, 3].map(|i| done.numbers[i]);
        let metrics = [
            ("loss", loss),
            ("rewards/accuracies", accuracy),
            ("rewards/demonstrations", demonstrations),
            ("rewards/negatives", negatives),
            ("rewards/margins", demonstrations - negatives),
            ("grad_norm", done.grad_norm),
            ("learning_rate", done.lr),
            ("padding", pieces.padding()),
        ];
        run.step(at, self.reported, &metrics);
        Ok(model)
    }
}

/// The weighted loss of each pair, `[P]`.
fn pair_losses(
    demonstration: &Tensor<1>,
    negative: &Tensor<1>,
    pairs: &[&Pair<'_>],
    run: Shared<'_>,
) -> Tensor<1> {
    let device: Device = demonstration.device();
    let constants = |of: fn(&Pair<'_>) -> f64| {
        let values: Vec<f32> = pairs.iter().map(|pair| of(pair) as f32).collect();
        Tensor::<1>::from_floats(values.as_slice(), &device)
    };
    let (d, s) = (demonstration.clone(), negative.clone());
    let config = &run.recipe.reward;
    let with_expert = |scores: &Tensor<1>, expert| product_of_experts(scores.clone(), expert, 1.0);
    let with_d = with_expert(&d, constants(|pair| pair.expert[0]));
    let with_s = with_expert(&s, constants(|pair| pair.expert[1]));
    let losses = run.objective.loss(with_d, with_s)
        + reward_l2(d.clone(), s.clone()).mul_scalar(config.l2)
        + center_rewards(d, s).mul_scalar(config.center_rewards_coef);
    losses * constants(|pair| pair.weight)
}

/// Pairs in pieces whose rows, padded together, stay within the memory budget.
pub(crate) fn pair_pieces(device: &Device, pairs: &[Pair<'_>], run: &Run<'_>) -> MicroBatches {
    let longest: Vec<usize> = pairs
        .iter()
        .map(|pair| 2 * pair.demonstration.input_ids.len().max(pair.sample.input_ids.len()))
        .collect();
    let pieces = MicroBatches::of_lengths(&longest, device, run.recipe.run.micro_batch_tokens);
    let sides = |pair: &Pair<'_>| pair.demonstration.input_ids.len() + pair.sample.input_ids.len();
    MicroBatches { tokens: pairs.iter().map(sides).sum(), ..pieces }
}

/// Scores of both sides, `[P]` each, in one forward pass.
fn pair_scores(
    model: &ScalarModel,
    pairs: &[Pair<'_>],
    indices: &[usize],
    run: Shared<'_>,
) -> Result<[Tensor<1>; 2], TrainError> {
    let demonstrations = indices.iter().map(|i| pairs[*i].demonstration);
    let rows: Vec<&Row> = demonstrations.chain(indices.iter().map(|i| pairs[*i].sample)).collect();
    let (device, pad_id) = (model.backbone.device(), run.task.pad_id());
    let scores =
        match rows.iter().all(|row| row.completion_start > 0 && !row.completion().is_empty()) {
            true => model.row_scores(&run.batch(&model.backbone, rows.into_iter())?),
            false => model.scores(&TokenBatch::new(&rows, pad_id, PaddingSide::Right, &device)?),
        };
    let half = indices.len();
    Ok([scores.clone().narrow(0, 0, half), scores.narrow(0, half, half)])
}

/// Shifts and scales a fitted reward: demonstrations average 0; 1 is the spread of the policy's samples
/// of one prompt.
///
/// # Errors
/// When a score is not finite.
pub fn calibrate(
    mut reward: RewardModel,
    policy: &CausalLm,
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    let mut groups: Vec<Vec<Row>> = vec![Vec::new(); run.task.train.len()];
    for negative in negatives {
        if negative.origin == NegativeSource::Policy && negative.round == round {
            groups[negative.demonstration].push(negative.row.clone());
        }
    }
    if groups.iter().all(|group| group.len() < 2) {
        groups = fresh_groups(policy, round, run)?;
    }
    calibrate_on(&mut reward, &groups, round, run)?;
    Ok(reward)
}

fn calibrate_on(
    reward: &mut RewardModel,
    groups: &[Vec<Row>],
    round: usize,
    run: &mut Run<'_>,
) -> Result<(), TrainError> {
    // Demonstrations and samples together: they begin with the same prompts.
    let rows: Vec<&Row> = run.task.train.iter().chain(groups.iter().flatten()).collect();
    let mut scores = run.raw_scores(reward, &rows)?.into_iter();
    let demonstrations: Vec<f64> = scores.by_ref().take(run.task.train.len()).collect();
    let samples: Vec<Vec<f64>> =
        groups.iter().map(|group| scores.by_ref().take(group.len()).collect()).collect();
    let floor = run.recipe.reward.scale_floor;
    reward.calibration = Calibration::fit(&demonstrations, &samples, floor)?;
    let metrics = [
        ("calibration/shift", reward.calibration.shift),
        ("calibration/scale", reward.calibration.scale),
    ];
    run.ended(at(round, Phase::Fit, run.recipe.reward.steps), &metrics);
    Ok(())
}

/// Calibrates a reward in the unit that the recipe asks for: all members on the policy's samples, or the newest ones on
/// the SFT model's, which are the same in every round, so that older members keep the calibration they have.
pub(crate) fn calibrate_all(
    mut reward: RewardEnsemble,
    (policy, sft): (&CausalLm, &CausalLm),
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardEnsemble, TrainError> {
    match run.recipe.reward.scale_from {
        ScaleFrom::Policy => {
            for member in &mut reward.members {
                *member = calibrate(member.clone(), policy, negatives, round, run)?;
            }
        }
        ScaleFrom::Sft => {
            let groups = fresh_groups(sft, 1, run)?;
            for member in reward.members.iter_mut().take(run.recipe.reward.ensemble_size) {
                calibrate_on(member, &groups, round, run)?;
            }
        }
    }
    Ok(reward)
}

/// Two policy samples of up to 64 prompts, where the pool has no such groups.
fn fresh_groups(
    policy: &CausalLm,
    round: usize,
    run: &Run<'_>,
) -> Result<Vec<Vec<Row>>, TrainError> {
    let prompts: Vec<Vec<u32>> =
        run.task.train.iter().take(64).map(|row| row.prompt().into()).collect();
    let draw = Draw {
        samples: 2,
        decoding: Decoding::Sample,
        temperature: run.recipe.policy.temperature,
        seed: run.seed(at(round, Phase::Fit, 0), "calibration"),
    };
    let rows = run.canonical(&run.generate(policy, &prompts, draw)?);
    Ok(rows.chunks(2).map(<[Row]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Tuning;
    use crate::support::World;

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    /// Losses and their slopes in the two rewards, of two pairs.
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
                expert: experts[i],
                ..Pair::new(&rows[0], &rows[1])
            })
            .into();
        let device = crate::support::device().autodiff();
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
    fn a_pair_s_loss_is_the_formula_of_this_file() {
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
    fn what_the_expert_explains_pulls_less() {
        let pull = |expert| -losses([1.0; 2], [expert; 2], 0.0, 0.0)[0][1];
        assert!(pull([2.0, -2.0]) < 0.1 * pull([0.0; 2]));
        assert!(pull([-2.0, 2.0]) > pull([0.0; 2]));
    }
}
