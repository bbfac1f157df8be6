//! What completions are worth to a policy step: a learned reward, the log-ratio of two models, or the caller's own.

use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use crate::error::TrainError;
use crate::run::Run;
use crate::task::Row;

/// A reward that a policy can be improved against.
pub trait Reward {
    /// One number for each row of prompt and completion, in the unit of `policy.kl_coef`; rows are canonical, as
    /// data would be.
    ///
    /// # Errors
    /// When a row cannot be scored.
    fn score(&self, rows: &[Row], run: &Run<'_>) -> Result<Vec<f64>, TrainError>;

    /// One number for each completion token of rows as they were drawn, for a reward that is dense. PPO pays each where it
    /// arises, and what `score` gives beyond their sum on the last token; other solvers look at `score` alone.
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

/// `scale · Σ_t log π(y_t) − log π_ref(y_t)`, at temperature 1: what a policy was improved for, if it was improved under a KL
/// to the reference. With the SFT model over the initial one it is a reward without training
/// (<https://arxiv.org/abs/2405.15624>).
#[derive(Debug, Clone)]
pub struct LogRatioReward {
    /// π.
    pub policy: CausalLm,
    /// π_ref.
    pub reference: CausalLm,
    /// Reward a nat.
    pub scale: f64,
    /// Whether tokens are paid each, where the solver has token rewards.
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
    use crate::observer::Phase;
    use crate::policy::improve_policy;
    use crate::recipe::{Solver, Tuning};
    use crate::rollout::Rollout;
    use crate::run::at;
    use crate::support::{World, model, weights};

    fn world(solver: Solver) -> World {
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
        let world = world(Solver::Rloo);
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
    fn only_ppo_knows_a_dense_log_ratio_from_a_sparse_one() {
        for (solver, same) in [(Solver::Rloo, true), (Solver::Ppo, false)] {
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

    /// As many tokens as a completion has.
    struct Length;

    impl Reward for Length {
        fn score(&self, rows: &[Row], _: &Run<'_>) -> Result<Vec<f64>, TrainError> {
            Ok(rows.iter().map(|row| row.completion().len() as f64).collect())
        }
    }

    #[test]
    fn a_reward_of_the_caller_s_own_scores_rollouts() {
        let world = world(Solver::Rloo);
        let prompts = &world.task.prompts[..4];
        let rollout = world.run(&mut (), |run| {
            let at = at(1, Phase::Improve, 1);
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
