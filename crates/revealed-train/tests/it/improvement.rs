//! Learning works: a reward for a word is learned from demonstrations, and policies are improved against it.

use revealed_data::LongCompletion;
use revealed_reward::RewardModel;
use revealed_train::{
    At, KlPlacement, OptimizerConfig, Phase, Rollout, SolverName, Tuning, calibrate, fit_reward,
    improve_policy,
};

use revealed_train::testing::{PROMPT, RecordingObserver, WORDS, World, demonstrations};

/// The word `c`, at every position of every demonstration.
const LIKED: u32 = WORDS + 2;

fn share(rows: &[revealed_train::Row]) -> f64 {
    let tokens: Vec<u32> = rows.iter().flat_map(|row| row.completion().to_vec()).collect();
    tokens.iter().filter(|token| **token == LIKED).count() as f64 / tokens.len() as f64
}

#[test]
fn every_solver_raises_the_score_of_a_learned_reward_and_the_share_of_the_rewarded_word() {
    let rows: Vec<(String, String)> =
        demonstrations().into_iter().map(|(prompt, _)| (prompt, " c c c c c c".into())).collect();
    let mut reward: Option<RewardModel> = None;
    for solver in [SolverName::RLOO, SolverName::GRPO, SolverName::PPO, SolverName::REINFORCE] {
        let world = World::with_rows(Tuning::Full, &rows, |recipe| {
            recipe.sft.epochs = 0;
            // Six words without EOS, so that EOS is not learned.
            recipe.data.long_completions = LongCompletion::Truncate;
            recipe.policy.missing_eos_value = 0.0;
            recipe.reward.steps = 30;
            recipe.policy.solver = solver;
            recipe.policy.steps = 12;
            recipe.policy.batch_size = 64;
            recipe.policy.mini_batch_size = 64;
            recipe.policy.samples_per_prompt = 4;
            recipe.policy.kl_coef = 0.01;
            recipe.policy.optimizer = OptimizerConfig { lr: 2e-2, ..OptimizerConfig::default() };
        });
        let reward = reward.get_or_insert_with(|| fitted(&world)).clone();
        let look = |policy: &_| {
            let at = At { round: 9, phase: Phase::Gate, step: 0 };
            let prompts: Vec<Vec<u32>> =
                world.task.held_out.iter().map(|r| r.prompt().to_vec()).collect();
            let prompts: Vec<Vec<u32>> = prompts.into_iter().cycle().take(32).collect();
            let rollout = world
                .run(&mut (), |run| Rollout::new(policy, &world.base, &reward, &prompts, at, run));
            let rollout = rollout.unwrap();
            let mean = rollout.scores.iter().sum::<f64>() / rollout.scores.len() as f64;
            (mean, share(&rollout.canonical))
        };
        let before = look(&world.policy);
        let mut observer = RecordingObserver::default();
        let policy = world
            .run(&mut observer, |run| {
                improve_policy(world.policy.clone(), &world.base, &reward, 1, run)
            })
            .unwrap();
        let after = look(&policy);
        // 128 completions and a spread of about 1 within prompts: a mean is known to about 0.1, so chance
        // alone moves the difference by 0.5 less than once in 1,000 tries.
        assert!(after.0 > before.0 + 0.5, "{solver:?}: score {} to {}", before.0, after.0);
        assert!(
            after.1 > 2.0 * before.1 && after.1 > 0.2,
            "{solver:?}: share {} to {}",
            before.1,
            after.1
        );
        // Sampling and training agree: ratios at the first step of a rollout are 1 (otherwise an error), and differ from 1 in
        // later ones.
        let farthest = |metrics: &Vec<(&str, f64)>| {
            metrics.iter().find(|m| m.0 == "val/ratio_farthest").map(|m| m.1)
        };
        assert!(observer.metrics.iter().filter_map(farthest).any(|ratio| ratio > 1.01));
    }
}

#[test]
fn a_large_kl_coefficient_keeps_the_policy_near_its_reference() {
    let rows: Vec<(String, String)> =
        demonstrations().into_iter().map(|(prompt, _)| (prompt, " c c c c c c".into())).collect();
    let mut reward: Option<RewardModel> = None;
    for solver in [SolverName::RLOO, SolverName::GRPO, SolverName::PPO, SolverName::REINFORCE] {
        let mut left = |kl_placement, kl_coef| {
            let world = World::with_rows(Tuning::Full, &rows, |recipe| {
                recipe.sft.epochs = 0;
                recipe.data.long_completions = LongCompletion::Truncate;
                recipe.policy.missing_eos_value = 0.0;
                recipe.reward.steps = 30;
                recipe.policy.solver = solver;
                (recipe.policy.kl_placement, recipe.policy.kl_coef) = (kl_placement, kl_coef);
                recipe.policy.steps = 12;
                recipe.policy.batch_size = 64;
                recipe.policy.mini_batch_size = 64;
                recipe.policy.samples_per_prompt = 4;
                recipe.policy.optimizer.lr = 5e-3;
            });
            let reward = reward.get_or_insert_with(|| fitted(&world)).clone();
            let improved = world.run(&mut (), |run| {
                improve_policy(world.policy.clone(), &world.base, &reward, 1, run)
            });
            let policy = improved.unwrap();
            let at = At { round: 9, phase: Phase::Gate, step: 0 };
            let prompts: Vec<Vec<u32>> =
                world.task.held_out.iter().map(|r| r.prompt().to_vec()).collect();
            let prompts: Vec<Vec<u32>> = prompts.into_iter().cycle().take(32).collect();
            let rollout = world
                .run(&mut (), |run| Rollout::new(&policy, &world.base, &reward, &prompts, at, run));
            let kl = rollout.unwrap().kl();
            kl.iter().sum::<f64>() / kl.len() as f64
        };
        let free = left(KlPlacement::Solver, 0.0);
        for kl_placement in [KlPlacement::Reward, KlPlacement::Loss] {
            let held = left(kl_placement, 4.0);
            assert!(held < 0.3 * free, "{solver:?}, {kl_placement:?}: {held} of {free} nats");
        }
    }
}

fn fitted(world: &World) -> RewardModel {
    let (_, states) = {
        // Only the first two phases are needed.
        let mut states = Vec::new();
        let end = world.run(&mut (), |run| {
            revealed_train::align(world.state(), run, |state| {
                states.push(state.clone());
                match state.phase {
                    Phase::Fit => Err(revealed_train::TrainError::TooFew {
                        what: "enough",
                        found: 0,
                        needed: 0,
                        advice: "",
                    }),
                    _ => Ok(()),
                }
            })
        });
        (end, states)
    };
    let pool = &states.last().unwrap().pool;
    let negatives: Vec<_> = pool.negatives.iter().collect();
    let mut observer = RecordingObserver::default();
    let reward = world.run(&mut observer, |run| {
        let start = RewardModel::new(world.base.clone(), 0);
        let pairs = revealed_train::pairs(&negatives, None, &world.task, run)?;
        let reward = fit_reward(start, &pairs, (1, 0), run)?;
        calibrate(reward, &world.base, &negatives, 1, run)
    });
    let reward = reward.unwrap();
    let accuracy = |metrics: &Vec<(&str, f64)>| {
        metrics.iter().find(|m| m.0 == "rewards/accuracies").map(|m| m.1)
    };
    let last = observer.metrics.iter().filter_map(accuracy).next_back().unwrap();
    assert!(last > 0.95, "the reward tells demonstrations from samples in {last} of pairs");
    // Held-out demonstrations too, by calibrated score: 0 is the average demonstration.
    let scores = reward.scores(&world.task.held_out, 0, 512).unwrap();
    assert!(scores.iter().all(|score| score.abs() < 1.0), "{scores:?}");
    assert!(world.task.held_out.iter().all(|row| row.completion_start == PROMPT));
    reward
}

#[test]
fn sft_lowers_the_loss_on_held_out_demonstrations_and_keeps_the_best_epoch() {
    let rows: Vec<(String, String)> =
        demonstrations().into_iter().map(|(prompt, _)| (prompt, " c d".into())).collect();
    let world = World::with_rows(Tuning::Lora, &rows, |recipe| {
        recipe.sft.epochs = 10;
        recipe.sft.optimizer.lr = 3e-2;
    });
    let mut observer = RecordingObserver::default();
    world.run(&mut observer, |run| revealed_train::fit_sft(world.policy.clone(), run)).unwrap();
    let losses: Vec<f64> = observer
        .metrics
        .iter()
        .filter_map(|metrics| metrics.iter().find(|m| m.0 == "loss").map(|m| m.1))
        .collect();
    let kept = observer.metrics.last().unwrap()[0];
    assert_eq!(kept.0, "eval_loss");
    // One completion for all prompts: from about ln 20 = 3 towards 0.
    assert!(losses[0] > 2.0 && kept.1 < 0.5, "{} to {}", losses[0], kept.1);
}
