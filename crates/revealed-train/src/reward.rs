//! Rewards for policy improvement: a learned reward, the log-ratio of two models, or a custom one.

use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use crate::error::TrainError;
use crate::run::Run;
use crate::task::Row;

/// A reward that a policy can be improved against.
pub trait Reward {
    /// One number per row of prompt and completion, in the unit of `policy.kl_coef`; rows are in canonical form, tokenized as
    /// demonstrations are.
    ///
    /// # Errors
    /// When a row cannot be scored.
    fn score(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<f64>, TrainError>;

    /// One number per completion token of rows as sampled, for a dense reward. PPO gives each at its token, and the rest of
    /// `score` at the last token; other solvers use `score` only.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    fn score_tokens(
        &self,
        rows: &[Row],
        run: &Run<'_>,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        let _ = (rows, run);
        Ok(None)
    }
}

impl Reward for RewardEnsemble {
    fn score(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<f64>, TrainError> {
        run.scores(self, rows)
    }
}

impl Reward for RewardModel {
    fn score(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<f64>, TrainError> {
        run.member_scores(self, rows)
    }
}

/// `scale · Σ_t log π(y_t) − log π_ref(y_t)`, at temperature 1: the reward that π maximises with a KL penalty to π_ref. The SFT
/// model against the initial model gives a reward without training (<https://arxiv.org/abs/2405.15624>).
#[derive(Debug, Clone)]
pub struct LogRatioReward {
    /// π.
    pub policy: CausalLm,
    /// π_ref.
    pub reference: CausalLm,
    /// Reward per nat.
    pub scale: f64,
    /// Whether solvers with token rewards get one per token.
    pub dense: bool,
}

impl LogRatioReward {
    fn tokens(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<Vec<f32>>, TrainError> {
        let policy = run.log_probs(&self.policy, rows, 1.0)?;
        let reference = run.log_probs(&self.reference, rows, 1.0)?;
        let ratio = |(p, r): (&f32, &f32)| (self.scale * f64::from(p - r)) as f32;
        let of_row = |(p, r): (&Vec<f32>, &Vec<f32>)| p.iter().zip(r).map(ratio).collect();
        Ok(policy.iter().zip(&reference).map(of_row).collect())
    }
}

impl Reward for LogRatioReward {
    fn score(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<f64>, TrainError> {
        let sum = |row: &Vec<f32>| row.iter().map(|value| f64::from(*value)).sum();
        Ok(self.tokens(rows, run)?.iter().map(sum).collect())
    }

    fn score_tokens(
        &self,
        rows: &[Row],
        run: &Run<'_>,
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.dense.then(|| self.tokens(rows, run)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::improve::{Rollout, improve_policy};
    use crate::recipe::{SolverName, Tuning};
    use crate::record::{At, Phase};
    use crate::testing::{World, model, weights};

    fn world(solver: SolverName) -> World {
        World::new(Tuning::Full, |recipe| {
            recipe.policy.solver = solver;
            recipe.policy.missing_eos_value = 0.0;
        })
    }

    fn reward(world: &World, dense: bool) -> LogRatioReward {
        LogRatioReward { policy: model(2), reference: world.base.clone(), scale: 0.5, dense }
    }

    #[test]
    fn a_log_ratio_is_scaled_and_the_sum_of_its_tokens() {
        let world = world(SolverName::RLOO);
        let rows = &world.task.train;
        let of = |scale, dense| {
            let reward = LogRatioReward { scale, ..reward(&world, dense) };
            let scores = world.run(&mut (), |run| reward.score(rows, run)).unwrap();
            (scores, world.run(&mut (), |run| reward.score_tokens(rows, run)).unwrap())
        };
        let ((scores, tokens), (half, none)) = (of(1.0, true), of(0.5, false));
        assert!(none.is_none());
        let at_one = |model: &CausalLm| world.run(&mut (), |run| run.log_probs(model, rows, 1.0));
        let (policy, reference) = (at_one(&model(2)).unwrap(), at_one(&world.base).unwrap());
        for (row, parts) in tokens.unwrap().iter().enumerate() {
            assert_eq!(parts.len(), rows[row].completion().len());
            for (part, (p, r)) in parts.iter().zip(policy[row].iter().zip(&reference[row])) {
                assert_eq!(*part, p - r);
            }
            let sum: f64 = parts.iter().map(|part| f64::from(*part)).sum();
            assert!((scores[row] - sum).abs() < 1e-9);
            assert!((half[row] - 0.5 * sum).abs() < 1e-5);
        }
        assert!(scores.iter().any(|score| score.abs() > 0.01));
    }

    #[test]
    fn only_ppo_differs_between_a_dense_and_a_sparse_log_ratio() {
        for (solver, same) in [(SolverName::RLOO, true), (SolverName::PPO, false)] {
            let world = world(solver);
            let improved = [true, false].map(|dense| {
                let reward = reward(&world, dense);
                let policy = world.policy.clone();
                let improved =
                    world.run(&mut (), |run| improve_policy(policy, &world.base, &reward, 1, run));
                weights(&improved.unwrap())
            });
            assert_ne!(improved[0], weights(&world.policy));
            assert_eq!(improved[0] == improved[1], same, "{solver:?}");
        }
    }

    /// The number of tokens of a completion.
    struct Length;

    impl Reward for Length {
        fn score(&self, rows: &[Row], _: &Run<'_>) -> Result<Vec<f64>, TrainError> {
            Ok(rows.iter().map(|row| row.completion().len() as f64).collect())
        }
    }

    #[test]
    fn a_custom_reward_scores_rollouts() {
        let world = world(SolverName::RLOO);
        let prompts = &world.task.prompts[..4];
        let rollout = world.run(&mut (), |run| {
            let at = At::new(1, Phase::Improve, 1);
            Rollout::new(&world.policy, &world.base, &Length, prompts, at, run)
        });
        let rollout = rollout.unwrap();
        for (row, score) in rollout.canonical.iter().zip(&rollout.scores) {
            if row.terminated {
                assert_eq!(*score, row.completion().len() as f64);
            }
        }
        assert!(rollout.token_scores.is_none());
    }
}
