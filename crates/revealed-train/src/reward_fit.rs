//! Fitting the reward: demonstrations above negatives, then calibration.
//!
//! `L = mean_pairs[ ℓ(r(x, demo), r(x, negative)) + λ · ½(r_demo² + r_negative²) ]`, with `ℓ` the pairwise
//! logistic loss or another [`RewardObjective`](revealed_objectives::RewardObjective).

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use revealed_models::{Decoding, PaddingSide, ScalarModel, TokenBatch};
use revealed_objectives::pairs::{pair_accuracy, reward_l2};
use revealed_reward::{Calibration, RewardModel};

use crate::epochs::Epochs;
use crate::error::TrainError;
use crate::observer::{At, Phase};
use crate::optimizer::{Accumulated, Updater, sum};
use crate::pairs::{Negative, Origin};
use crate::run::{Draw, Run, at};
use crate::task::Row;

/// A demonstration and what it is better than.
pub(crate) type Pair<'a> = (&'a Row, &'a Row);

/// Fits a reward to the pairs of a pool.
///
/// # Errors
/// When there are no pairs, or the loss is not finite.
pub fn fit_reward(
    mut reward: RewardModel,
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    let config = &run.recipe.reward;
    if negatives.is_empty() {
        return Err(TrainError::TooFew {
            what: "pairs",
            found: 0,
            needed: 1,
            advice: "ask for negatives in [negatives]",
        });
    }
    reward.model = reward.model.trainable();
    let mut fit = RewardUpdater::new(run, config.steps, 0);
    let mut epochs = Epochs::new(negatives.len());
    run.started(at(round, Phase::Fit, 0), config.steps);
    for step in 1..=config.steps {
        let _span = tracing::debug_span!("step", phase = "fit", step).entered();
        let size = config.batch_size.min(negatives.len());
        let chosen = epochs.take(size, |epoch| run.seed(at(round, Phase::Fit, epoch), "order"));
        let task = run.task;
        let pairs: Vec<Pair<'_>> = chosen
            .iter()
            .map(|i| (&task.train[negatives[*i].demonstration], &negatives[*i].row))
            .collect();
        reward.model = fit.step(reward.model, &pairs, at(round, Phase::Fit, step), run)?;
    }
    reward.model = reward.model.valid();
    Ok(reward)
}

/// The reward's optimizer, for steps on pairs wherever they come from.
pub(crate) struct RewardUpdater {
    updater: Updater<ScalarModel>,
    /// Steps of the round's fit, as observers hear of it.
    reported: usize,
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
        let mut gradients = Accumulated::new();
        let (mut losses, mut correct, mut means) = (Vec::new(), Vec::new(), [vec![], vec![]]);
        for indices in pair_batches(pairs, run) {
            let share = indices.len() as f64 / pairs.len() as f64;
            let [demonstration, negative] = pair_scores(&model, pairs, &indices, run)?;
            let loss = (run.objective.loss(demonstration.clone(), negative.clone())
                + reward_l2(demonstration.clone(), negative.clone())
                    .mul_scalar(run.recipe.reward.l2))
            .sum()
            .div_scalar(pairs.len() as f64);
            correct.push(pair_accuracy(demonstration.clone(), negative.clone()) * share);
            for (mean, scores) in means.iter_mut().zip([demonstration, negative]) {
                mean.push(scores.inner().sum().div_scalar(pairs.len() as f64));
            }
            losses.push(loss.clone().inner());
            let part = GradientsParams::from_grads(loss.backward(), &model);
            gradients.add(&model, part);
        }
        let [demonstrations, negatives] = means;
        let numbers = vec![sum(losses), sum(correct), sum(demonstrations), sum(negatives)];
        let (model, done) = self.updater.update(model, gradients.take(), numbers, at)?;
        let [loss, accuracy, demonstrations, negatives] = [0, 1, 2, 3].map(|i| done.numbers[i]);
        let metrics = [
            ("loss", loss),
            ("rewards/accuracies", accuracy),
            ("rewards/demonstrations", demonstrations),
            ("rewards/negatives", negatives),
            ("rewards/margins", demonstrations - negatives),
            ("grad_norm", done.grad_norm),
            ("learning_rate", done.lr),
        ];
        run.step(at, self.reported, &metrics);
        Ok(model)
    }
}

/// Pairs in groups whose rows, padded together, stay within the memory budget.
fn pair_batches(pairs: &[Pair<'_>], run: &Run<'_>) -> Vec<Vec<usize>> {
    let longest: Vec<usize> =
        pairs.iter().map(|(a, b)| 2 * a.input_ids.len().max(b.input_ids.len())).collect();
    revealed_data::plan_batches(&longest, usize::MAX, run.recipe.run.micro_batch_tokens).batches
}

/// Scores of both sides, `[P]` each, in one forward pass.
fn pair_scores(
    model: &ScalarModel,
    pairs: &[Pair<'_>],
    indices: &[usize],
    run: &Run<'_>,
) -> Result<[Tensor<1>; 2], TrainError> {
    let rows: Vec<&Row> =
        indices.iter().map(|i| pairs[*i].0).chain(indices.iter().map(|i| pairs[*i].1)).collect();
    let device = model.backbone.device();
    let tokens = TokenBatch::new(&rows, run.task.pad_id(), PaddingSide::Right, &device)?;
    let scores = model.scores(&tokens);
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
    policy: &revealed_models::CausalLm,
    negatives: &[&Negative],
    round: usize,
    run: &mut Run<'_>,
) -> Result<RewardModel, TrainError> {
    let (pad, tokens) = (run.task.pad_id(), run.recipe.run.micro_batch_tokens);
    let mut groups: Vec<Vec<Row>> = vec![Vec::new(); run.task.train.len()];
    for negative in negatives {
        if negative.origin == Origin::Policy && negative.round == round {
            groups[negative.demonstration].push(negative.row.clone());
        }
    }
    if groups.iter().all(|group| group.len() < 2) {
        groups = fresh_groups(policy, round, run)?;
    }
    let demonstrations = reward.raw_scores(&run.task.train, pad, tokens)?;
    let flat: Vec<&Row> = groups.iter().flatten().collect();
    let mut scores = reward.raw_scores(&flat, pad, tokens)?.into_iter();
    let samples: Vec<Vec<f64>> =
        groups.iter().map(|group| scores.by_ref().take(group.len()).collect()).collect();
    let floor = run.recipe.reward.scale_floor;
    reward.calibration = Calibration::fit(&demonstrations, &samples, floor)?;
    let metrics = [
        ("calibration/shift", reward.calibration.shift),
        ("calibration/scale", reward.calibration.scale),
    ];
    run.ended(at(round, Phase::Fit, run.recipe.reward.steps), &metrics);
    Ok(reward)
}

/// Two policy samples of up to 64 prompts, where the pool has no such groups.
fn fresh_groups(
    policy: &revealed_models::CausalLm,
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
