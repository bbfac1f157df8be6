//! A rollout: completions of the current policy with their scores and log-probabilities.

use burn::tensor::{Device, Tensor};
use revealed_models::{CausalLm, Decoding};
use revealed_objectives::kl::k3;

use crate::error::TrainError;
use crate::optim::RolloutFigures;
use crate::recipe::{MissingEos, PolicySection};
use crate::record::At;
use crate::reward::Reward;
use crate::run::{Draw, Run};
use crate::task::Row;

/// Coefficients of the KL penalty; one of them is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KlCoefs {
    /// Subtracted from the reward, per nat.
    pub reward: f64,
    /// Added to the loss, per nat.
    pub loss: f64,
}

/// Completions of the prompts of one step; the `group` completions of a prompt are adjacent.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Prompt and completion as sampled; the policy is trained on exactly these tokens.
    pub rows: Vec<Row>,
    /// The same rows in canonical form, as the reward scores them.
    pub canonical: Vec<Row>,
    /// Completions per prompt.
    pub group: usize,
    /// Calibrated rewards, one per row, with the `policy.missing_eos` rule applied.
    pub scores: Vec<f64>,
    /// Rewards per completion token, if the reward is dense.
    pub token_scores: Option<Vec<Vec<f32>>>,
    /// Log-probs per completion token of the sampling policy, nats; recomputed by the training path if there are several
    /// updates.
    pub old_log_probs: Vec<Vec<f32>>,
    /// Log-probs per completion token of the reference model, nats.
    pub ref_log_probs: Vec<Vec<f32>>,
}

impl Rollout {
    /// Samples and scores completions of `prompts`.
    ///
    /// # Errors
    /// When sampling or scoring fails.
    pub fn new(
        policy: &CausalLm,
        reference: &CausalLm,
        reward: &dyn Reward,
        prompts: &[Vec<u32>],
        at: At,
        run: &Run<'_>,
    ) -> Result<Self, TrainError> {
        let config = &run.recipe.policy;
        let draw = Draw {
            samples: config.samples_per_prompt,
            decoding: Decoding::Sample,
            temperature: config.temperature,
            seed: run.seed(at, "rollout"),
        };
        let drawn = run.generate_scored(policy, prompts, draw)?;
        let (rows, drawn): (Vec<Row>, Vec<Vec<f32>>) = drawn.into_iter().unzip();
        let old_log_probs = match config.num_ppo_epochs == 1 && rows.len() <= config.mini_batch_size
        {
            // With a single update, the learner compares them with the training path.
            true => drawn,
            false => {
                let old_log_probs = run.log_probs(policy, &rows, config.temperature)?;
                same_policy(&drawn, &old_log_probs, at)?;
                old_log_probs
            }
        };
        let canonical = run.canonical(&rows);
        let scores = reward.score(&canonical, run)?;
        let token_scores = reward.score_tokens(&rows, run)?;
        check_scores(&scores, token_scores.as_deref(), &rows)?;
        let terminated: Vec<bool> = rows.iter().map(|row| row.terminated).collect();
        Ok(Self {
            scores: without_eos(scores, &terminated, config),
            token_scores,
            old_log_probs,
            ref_log_probs: run.log_probs(reference, &rows, config.temperature)?,
            group: config.samples_per_prompt,
            canonical,
            rows,
        })
    }

    /// `Σ_t log π_old − log π_ref` of each row, nats: an estimate of the KL.
    pub fn kl(&self) -> Vec<f64> {
        let sum = |values: &Vec<f32>| values.iter().map(|v| f64::from(*v)).sum::<f64>();
        self.old_log_probs.iter().zip(&self.ref_log_probs).map(|(a, b)| sum(a) - sum(b)).collect()
    }

    /// Mean of [`kl`](Self::kl), nats/completion.
    pub(crate) fn mean_kl(&self) -> f64 {
        let kl = self.kl();
        kl.iter().sum::<f64>() / kl.len().max(1) as f64
    }

    /// `score − kl.reward · KL`, one per completion, `[B]`.
    pub(crate) fn rewards(&self, kl: KlCoefs, device: &Device) -> Tensor<1> {
        let kl_coef = kl.reward;
        let pairs = self.scores.iter().zip(self.kl());
        let rewards: Vec<f32> = pairs.map(|(score, kl)| (score - kl_coef * kl) as f32).collect();
        Tensor::from_floats(rewards.as_slice(), device)
    }

    /// Share of prompts whose completions all have the same score: they give no gradient.
    pub fn equal_groups(&self) -> f64 {
        let same = |group: &&[f64]| group.iter().all(|score| *score == group[0]);
        let groups = self.scores.chunks(self.group);
        groups.clone().filter(same).count() as f64 / groups.len() as f64
    }

    /// Completion tokens of all rows.
    pub fn tokens(&self) -> usize {
        self.old_log_probs.iter().map(Vec::len).sum()
    }

    /// Means for the health monitor.
    pub(crate) fn figures(&self) -> RolloutFigures {
        let rows = self.rows.len() as f64;
        RolloutFigures {
            kl: self.kl().iter().sum::<f64>() / rows,
            length: self.tokens() as f64 / rows,
            terminated: self.rows.iter().filter(|row| row.terminated).count() as f64 / rows,
            equal_groups: if self.group > 1 { self.equal_groups() } else { 0.0 },
        }
    }
}

/// `kl.loss · k3` per token, `[B, C]`; none if the coefficient is 0, so that a policy far from its reference cannot overflow a
/// term of weight 0.
pub(crate) fn kl_in_loss(
    log_probs: &Tensor<2>,
    ref_log_probs: Tensor<2>,
    kl: KlCoefs,
) -> Option<Tensor<2>> {
    (kl.loss > 0.0).then(|| k3(log_probs.clone(), ref_log_probs).mul_scalar(kl.loss))
}

/// Refuses scores that are not one finite number per row, or per token.
fn check_scores(
    scores: &[f64],
    tokens: Option<&[Vec<f32>]>,
    rows: &[Row],
) -> Result<(), TrainError> {
    let wrong = |row: usize, reason: String| TrainError::Scores { row, reason };
    if scores.len() != rows.len() {
        return Err(wrong(0, format!("{} scores for {} rows", scores.len(), rows.len())));
    }
    if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
        return Err(wrong(row, format!("its score is {}", scores[row])));
    }
    let Some(tokens) = tokens else { return Ok(()) };
    if tokens.len() != rows.len() {
        return Err(wrong(0, format!("token scores of {} rows for {}", tokens.len(), rows.len())));
    }
    for (index, (row, scores)) in rows.iter().zip(tokens).enumerate() {
        let length = row.completion().len();
        if scores.len() != length {
            return Err(wrong(index, format!("{} token scores for {length} tokens", scores.len())));
        }
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(wrong(index, format!("a token's score is {score}")));
        }
    }
    Ok(())
}

/// Maximum distance of a token's ratio from 1 before the first update: other batch shapes and the cache round differently
/// in f32, by less than a tenth of this.
pub(crate) const RATIO_TOLERANCE: f64 = 1e-3;

/// Refuses a rollout whose log-probabilities at sampling differ from those of the training path.
fn same_policy(drawn: &[Vec<f32>], trained: &[Vec<f32>], at: At) -> Result<(), TrainError> {
    let differences =
        drawn.iter().flatten().zip(trained.iter().flatten()).map(|(a, b)| (a - b).abs());
    // `f32::max` would drop NaN.
    let farthest =
        differences.fold(0.0f32, |max, d| if max.is_nan() || d <= max { max } else { d });
    let farthest = f64::from(farthest);
    match farthest <= RATIO_TOLERANCE.ln_1p() {
        true => Ok(()),
        false => Err(TrainError::RatioNotOne { at, ratio: farthest.exp() }),
    }
}

/// Applies the `policy.missing_eos` rule to completions without EOS.
pub(crate) fn without_eos(
    scores: Vec<f64>,
    terminated: &[bool],
    config: &PolicySection,
) -> Vec<f64> {
    let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let value = config.missing_eos_value;
    let without = |score: f64| match config.missing_eos {
        MissingEos::Replace => value,
        MissingEos::Penalty => score + value,
        MissingEos::BatchMinimum => lowest + value,
    };
    scores.iter().zip(terminated).map(|(s, ended)| if *ended { *s } else { without(*s) }).collect()
}

/// Two completions of one prompt, of three tokens and one, for tests of solvers: scores 3 and 1; KLs to the reference
/// 0.5 + 0.25 + 0.25 = 1 and 0.
#[cfg(test)]
pub(crate) fn example() -> Rollout {
    let row = |tokens: usize| Row {
        input_ids: vec![1; 1 + tokens],
        completion_start: 1,
        terminated: true,
    };
    Rollout {
        rows: vec![row(3), row(1)],
        canonical: vec![row(3), row(1)],
        group: 2,
        scores: vec![3.0, 1.0],
        token_scores: None,
        old_log_probs: vec![vec![-1.0, -1.0, -1.0], vec![-2.0]],
        ref_log_probs: vec![vec![-1.5, -1.25, -1.25], vec![-2.0]],
    }
}

#[cfg(test)]
mod tests {
    use revealed_reward::RewardEnsemble;

    use super::*;
    use crate::record::Phase;

    #[test]
    fn the_kl_of_a_completion_is_a_sum_over_its_tokens() {
        assert_eq!(example().kl(), [1.0, 0.0]);
        assert_eq!(example().tokens(), 4);
    }

    #[test]
    fn the_kl_is_subtracted_from_the_reward_or_left_to_the_loss() {
        use crate::recipe::{KlPlacement, SolverName};
        let rewards = |solver, kl_placement| -> Vec<f32> {
            let config =
                PolicySection { solver, kl_placement, kl_coef: 0.5, ..PolicySection::default() };
            example().rewards(config.kl_coefs(), &Device::flex()).into_data().iter().collect()
        };
        let (paid, left) = ([2.5, 1.0], [3.0, 1.0]);
        for solver in SolverName::all() {
            assert_eq!(rewards(solver, KlPlacement::Reward), paid, "{solver:?}");
            assert_eq!(rewards(solver, KlPlacement::Loss), left, "{solver:?}");
            let by_default = if solver == SolverName::GRPO { left } else { paid };
            assert_eq!(rewards(solver, KlPlacement::Solver), by_default, "{solver:?}");
        }
    }

    #[test]
    fn the_uncertainty_penalty_lowers_the_scores_of_a_rollout() {
        use crate::recipe::Tuning;
        let world = crate::testing::World::new(Tuning::Full, |recipe| {
            recipe.policy.missing_eos_value = 0.0;
        });
        let member = |seed| revealed_reward::RewardModel::new(world.base.clone(), seed);
        let scores = |uncertainty_penalty| {
            let reward =
                RewardEnsemble { members: vec![member(1), member(2)], uncertainty_penalty };
            let at = At::new(1, Phase::Improve, 1);
            let prompts = &world.task.prompts[..4];
            let rollout = world.run(&mut (), |run| {
                Rollout::new(&world.policy, &world.base, &reward, prompts, at, run)
            });
            let rollout = rollout.unwrap();
            (reward.member_scores(&rollout.canonical, 0, 64).unwrap(), rollout.scores)
        };
        let ((members, bold), (_, careful)) = (scores(0.0), scores(0.5));
        for (row, (bold, careful)) in bold.iter().zip(&careful).enumerate() {
            let (a, b) = (members[0][row], members[1][row]);
            assert!((bold - (a + b) / 2.0).abs() < 1e-6);
            // The standard deviation of two numbers is half their distance.
            assert!((bold - careful - 0.25 * (a - b).abs()).abs() < 1e-6);
        }
        assert!(bold.iter().zip(&careful).any(|(bold, careful)| careful + 0.05 < *bold));
    }

    #[test]
    fn scores_that_are_not_one_number_per_row_or_token_are_refused() {
        let rows = example().rows;
        let check = |scores: &[f64], tokens: Option<Vec<Vec<f32>>>| {
            check_scores(scores, tokens.as_deref(), &rows).map_err(|error| error.to_string())
        };
        let tokens = |first: f32| Some(vec![vec![first, 0.0, 0.0], vec![0.0]]);
        assert!(check(&[1.0, 2.0], None).is_ok() && check(&[1.0, 2.0], tokens(1.0)).is_ok());
        assert!(check(&[1.0], None).unwrap_err().contains("1 scores for 2 rows"));
        assert!(check(&[1.0, f64::NAN], None).unwrap_err().contains("row 1"));
        assert!(check(&[1.0, 2.0], tokens(f32::INFINITY)).unwrap_err().contains("inf"));
        let short = Some(vec![vec![0.0; 2], vec![0.0]]);
        assert!(check(&[1.0, 2.0], short).unwrap_err().contains("2 token scores for 3 tokens"));
        assert!(check(&[1.0, 2.0], Some(vec![vec![0.0; 3]])).unwrap_err().contains("1 rows for 2"));
    }

    #[test]
    fn log_probs_that_differ_between_sampling_and_training_are_refused() {
        let at = At::new(1, Phase::Improve, 3);
        let drawn = [vec![-1.0, -2.0], vec![-0.5]];
        assert!(same_policy(&drawn, &[vec![-1.00001, -2.0], vec![-0.5]], at).is_ok());
        let error = same_policy(&drawn, &[vec![-1.0, -2.0], vec![-0.6]], at).unwrap_err();
        assert!(
            matches!(error, TrainError::RatioNotOne { ratio, .. } if (ratio.ln() - 0.1).abs() < 1e-6)
        );
    }

    #[test]
    fn log_probs_that_are_nan_are_refused() {
        let at = At::new(1, Phase::Improve, 3);
        let finite = [vec![-1.0, -2.0], vec![-0.5]];
        for place in [(0, 0), (0, 1), (1, 0)] {
            let mut nan = finite.clone();
            nan[place.0][place.1] = f32::NAN;
            for (drawn, trained) in [(&finite, &nan), (&nan, &finite)] {
                let error = same_policy(drawn, trained, at).unwrap_err();
                let TrainError::RatioNotOne { ratio, .. } = error else { panic!("{error}") };
                assert!(ratio.is_nan());
            }
        }
    }

    #[test]
    fn the_rules_for_missing_eos_replace_the_score_or_add_a_penalty() {
        let config = |missing_eos| PolicySection {
            missing_eos,
            missing_eos_value: -1.0,
            ..PolicySection::default()
        };
        let scores = || vec![0.5, 2.0, -3.0];
        let apply = |rule| without_eos(scores(), &[true, false, true], &config(rule));
        assert_eq!(apply(MissingEos::Replace), [0.5, -1.0, -3.0]);
        assert_eq!(apply(MissingEos::Penalty), [0.5, 1.0, -3.0]);
        assert_eq!(apply(MissingEos::BatchMinimum), [0.5, -4.0, -3.0]);
    }
}
