//! Methods that use the policy as an implicit reward: SPIN, IRFT, GSIL and DPO, as baselines for the loop in `irl.rs`.
//!
//! With `π ∝ π_ref · exp(r/β)` a policy implies the reward `log π(y|x) − log π_ref(y|x)`. These methods use that log-ratio
//! instead of a reward model: `L = mean_pairs ℓ(log-ratio of the demonstration, log-ratio of a sample)`.
//!
//! | method | `ℓ` | reference | samples |
//! |---|---|---|---|
//! | SPIN (<https://arxiv.org/abs/2401.01335>) | logistic or hinge of λ·difference | the last iterate | once an iteration |
//! | IRFT (<https://arxiv.org/abs/2405.17888>) | the same, or the plain difference | the SFT model | several times an epoch |
//! | GSIL (<https://arxiv.org/abs/2410.10093>) | five unpaired losses of α·log-ratio + β | the last iterate | once an iteration |
//! | DPO, IPO on given pairs | of β·difference | the SFT model | none: [`fit_log_ratio`] |

use burn::module::Module;
use burn::tensor::Tensor;
use revealed_models::CausalLm;
use revealed_objectives::RewardObjective;
use revealed_objectives::pairs::pair_accuracy;
use revealed_objectives::reduce::sequence_sum;

use crate::epochs::items;
use crate::error::TrainError;
use crate::fit::{Pair, PairPool, pair_micro_batches, pairs};
use crate::optim::{Updater, accumulate, sum};
use crate::recipe::{KlReference, OptimizerConfig};
use crate::record::{At, Phase};
use crate::run::Run;
use crate::task::Row;

/// Settings of self-play.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfPlay {
    /// Number of times that samples are drawn; 1 or more.
    pub rounds: usize,
    /// Optimizer steps per round; 1 or more.
    pub steps: usize,
    /// Pairs per optimizer step; 1 or more.
    pub batch_size: usize,
    /// Reference model of the log-ratio: the SFT model, or the policy at the start of the round.
    pub reference: KlReference,
    /// AdamW; the schedule spans all rounds.
    pub optimizer: OptimizerConfig,
}

/// Trains `sft` for all rounds on demonstrations and the negatives of the recipe, drawn again from the policy in every round;
/// `after_round` is called with round and policy after every round.
///
/// # Errors
/// When sampling fails, a loss is not finite, or `after_round` fails.
pub fn self_play(
    (initial, sft): (&CausalLm, &CausalLm),
    config: &SelfPlay,
    objective: &dyn RewardObjective,
    run: &mut Run<'_>,
    mut after_round: impl FnMut(usize, &CausalLm) -> Result<(), TrainError>,
) -> Result<CausalLm, TrainError> {
    let mut policy = sft.clone();
    let mut fit = LogRatioFit::new(config, run);
    for round in 1..=config.rounds {
        let mut pool = PairPool::default();
        // Fixed sources are drawn in round 1 only, so every draw is of round 1 with its own step.
        pool.draw(initial, sft, &policy, At::new(1, Phase::Sample, round), run)?;
        let reference = match config.reference {
            KlReference::Sft => sft.clone(),
            KlReference::Moving => policy.clone(),
        };
        let negatives: Vec<_> = pool.negatives.iter().collect();
        let pairs = pairs(&negatives, None, run.task, run)?;
        policy = fit.round(policy, &reference, &pairs, objective, round, run)?;
        after_round(round, &policy)?;
    }
    Ok(policy)
}

/// Fits a policy to given pairs by its log-ratio to `reference`: DPO on preferences, among others.
///
/// # Errors
/// When there are no pairs, or the loss is not finite.
pub fn fit_log_ratio(
    policy: CausalLm,
    reference: &CausalLm,
    pairs: &[Pair<'_>],
    config: &SelfPlay,
    objective: &dyn RewardObjective,
    run: &mut Run<'_>,
) -> Result<CausalLm, TrainError> {
    let mut fit = LogRatioFit::new(config, run);
    fit.round(policy, reference, pairs, objective, 1, run)
}

struct LogRatioFit<'a> {
    config: &'a SelfPlay,
    updater: Updater<CausalLm>,
    temperature: f64,
}

impl<'a> LogRatioFit<'a> {
    fn new(config: &'a SelfPlay, run: &Run<'_>) -> Self {
        let total = config.rounds.saturating_mul(config.steps);
        let updater = Updater::new(&config.optimizer, total);
        Self { config, updater, temperature: run.recipe.policy.temperature }
    }

    fn round(
        &mut self,
        policy: CausalLm,
        reference: &CausalLm,
        pairs: &[Pair<'_>],
        objective: &dyn RewardObjective,
        round: usize,
        run: &mut Run<'_>,
    ) -> Result<CausalLm, TrainError> {
        if pairs.is_empty() {
            let advice = "ask for negatives in [negatives]";
            return Err(TrainError::TooFew { what: "pairs", found: 0, needed: 1, advice });
        }
        let totals = |rows: Vec<Row>| -> Result<Vec<f32>, TrainError> {
            let log_probs = run.log_probs(reference, &rows, self.temperature)?;
            Ok(log_probs.iter().map(|row| row.iter().sum()).collect())
        };
        let demonstrations = totals(pairs.iter().map(|p| p.demonstration.clone()).collect())?;
        let samples = totals(pairs.iter().map(|p| p.sample.clone()).collect())?;
        let mut policy = policy.trainable();
        let steps = self.config.steps;
        run.started(At::new(round, Phase::Fit, 0), steps);
        for step in 1..=steps {
            let at = At::new(round, Phase::Fit, step);
            let size = self.config.batch_size.min(pairs.len());
            let seed = |epoch| run.seed(At::new(round, Phase::Fit, epoch), "self-play");
            let chosen = items(pairs.len(), (step - 1) * size, size, seed);
            let with_reference = |i: &usize| PairWithRef {
                pair: pairs[*i],
                ref_demonstration: demonstrations[*i],
                ref_sample: samples[*i],
            };
            let batch: Vec<PairWithRef<'_>> = chosen.iter().map(with_reference).collect();
            policy = self.step(policy, &batch, objective, at, run)?;
        }
        run.ended(At::new(round, Phase::Fit, steps), &[]);
        Ok(policy.valid())
    }

    fn step(
        &mut self,
        policy: CausalLm,
        batch: &[PairWithRef<'_>],
        objective: &dyn RewardObjective,
        at: At,
        run: &mut Run<'_>,
    ) -> Result<CausalLm, TrainError> {
        let all: Vec<Pair<'_>> = batch.iter().map(|one| one.pair).collect();
        let shared = run.shared();
        let micro_batches = pair_micro_batches(&policy.device(), &all, run);
        let (gradients, numbers) = accumulate(&policy, &micro_batches, |policy, indices| {
            let part: Vec<&PairWithRef<'_>> = indices.iter().map(|i| &batch[*i]).collect();
            let rows = part.iter().map(|one| one.pair.demonstration);
            let rows = rows.chain(part.iter().map(|one| one.pair.sample));
            let tokens = shared.batch(policy, rows)?;
            let mask = tokens.completion_mask.clone();
            let constants =
                |values: Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), &mask.device());
            let ref_samples = part.iter().map(|one| one.ref_sample);
            let reference = constants(
                part.iter().map(|one| one.ref_demonstration).chain(ref_samples).collect(),
            );
            let weights = constants(part.iter().map(|one| one.pair.weight as f32).collect());
            let half = part.len();
            let mut correct = None;
            let done = policy.backward(&tokens, self.temperature, |log_probs| {
                let ratios = sequence_sum(log_probs, mask.clone()) - reference;
                let (d, s) = (ratios.clone().narrow(0, 0, half), ratios.narrow(0, half, half));
                let share = half as f64 / batch.len() as f64;
                correct = Some(pair_accuracy(d.clone(), s.clone()).inner() * share);
                (objective.loss(d, s) * weights).sum().div_scalar(batch.len() as f64)
            });
            Ok((done.gradients, (done.loss, correct)))
        })?;
        let (losses, correct): (Vec<_>, Vec<_>) = numbers.into_iter().unzip();
        let numbers = [sum(losses), sum(correct.into_iter().flatten().collect())];
        let limits = &run.recipe.health;
        let (policy, done) =
            self.updater.update(policy, gradients, numbers, at, limits, run.observer)?;
        let [loss, accuracy] = done.numbers;
        let metrics = [
            ("loss", loss),
            ("rewards/accuracies", accuracy),
            ("grad_norm", done.grad_norm),
            ("learning_rate", done.lr),
            ("padding", micro_batches.padding()),
        ];
        run.step(at, self.config.steps, &metrics);
        Ok(policy)
    }
}

/// A pair with the log-likelihoods of both sides under the reference model, nats.
struct PairWithRef<'a> {
    pair: Pair<'a>,
    ref_demonstration: f32,
    ref_sample: f32,
}
