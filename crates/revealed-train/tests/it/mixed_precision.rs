//! With `model.bf16` matrix products are in bfloat16 and all weights in f32: a run stays close to the f32 run.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor};
use revealed_reward::RewardModel;
use revealed_train::{
    At, PairPool, Phase, SolverName, State, TrainError, Tuning, align, fit_reward, fit_sft, pairs,
};

use revealed_train::testing::{RecordingObserver, Weights, World, largest_difference, weights};

/// Half a unit in the last place of bfloat16.
const ROUNDING: f64 = 1.0 / 256.0;

fn world(tuning: Tuning, bf16: bool) -> World {
    World::new(tuning, |recipe| {
        recipe.model.bf16 = bf16;
        (recipe.sft.epochs, recipe.sft.early_stopping_patience) = (4, 0);
        recipe.reward.steps = 12;
        recipe.policy.solver = SolverName::PPO;
    })
}

fn is_f32<M: Module>(module: &M) -> bool {
    struct Dtypes(bool);
    impl ModuleVisitor for Dtypes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= param.val().dtype() == DType::F32;
        }
    }
    let mut dtypes = Dtypes(true);
    module.visit(&mut dtypes);
    dtypes.0
}

/// The losses of all steps of SFT, and the weights after it.
fn sft(tuning: Tuning, bf16: bool) -> (Vec<f64>, Weights) {
    let world = world(tuning, bf16);
    let mut observer = RecordingObserver::default();
    let model = world.run(&mut observer, |run| fit_sft(world.policy.clone(), run)).unwrap();
    assert!(is_f32(&model));
    let loss = |metrics: &Vec<(&'static str, f64)>| {
        metrics.iter().find(|(name, _)| *name == "loss").map(|(_, loss)| *loss)
    };
    (observer.metrics.iter().filter_map(loss).collect(), weights(&model))
}

#[test]
fn sft_in_bf16_follows_sft_in_f32() {
    for tuning in [Tuning::Full, Tuning::Lora] {
        let (plain, plain_weights) = sft(tuning, false);
        let (mixed, mixed_weights) = sft(tuning, true);
        assert!(plain.len() >= 12 && mixed.len() == plain.len(), "{} {}", plain.len(), mixed.len());
        let fall = plain[0] - plain[plain.len() - 1];
        assert!(fall > 0.1, "nothing was learned: {plain:?}");
        // A loss is a mean over many roundings of either sign; one alone moves a logit of up to 4 by 4 roundings.
        for (step, (a, b)) in plain.iter().zip(&mixed).enumerate() {
            assert!((a - b).abs() < 4.0 * ROUNDING, "step {step}: {a} in f32, {b} in bf16");
        }
        let apart = largest_difference(&plain_weights, &mixed_weights);
        assert!(apart > 0.0, "nothing was rounded");
    }
}

#[test]
fn a_reward_in_bf16_follows_the_one_in_f32() {
    // The same negatives for both, drawn in f32.
    let drawn = world(Tuning::Lora, false);
    let mut pool = PairPool::default();
    let (at, base) = (At { round: 1, phase: Phase::Sample, step: 0 }, &drawn.base);
    drawn.run(&mut (), |run| pool.draw(base, base, base, at, run)).unwrap();
    let fits = [false, true].map(|bf16| {
        let world = world(Tuning::Lora, bf16);
        let mut observer = RecordingObserver::default();
        let start = RewardModel::new(world.policy.clone(), 3);
        world.run(&mut observer, |run| {
            let negatives: Vec<_> = pool.negatives.iter().collect();
            let pairs = pairs(&negatives, None, &world.task, run).unwrap();
            fit_reward(start, &pairs, (1, 0), run).unwrap()
        });
        observer.losses()
    });
    let [plain, mixed] = fits;
    assert!(plain.len() == 12 && mixed.len() == 12);
    assert!(plain[0] - plain[11] > 0.1, "nothing was learned: {plain:?}");
    for (a, b) in plain.iter().zip(&mixed) {
        assert!((a - b).abs() < 8.0 * ROUNDING, "{a} in f32, {b} in bf16");
    }
}

#[test]
fn a_whole_run_computes_in_bf16_and_keeps_f32() {
    for tuning in [Tuning::Full, Tuning::Lora] {
        let world = world(tuning, true);
        let (end, states) = world.align();
        for state in states.iter().chain([&end]) {
            assert!(is_f32(&state.policy) && is_f32(&state.initial));
            assert_eq!(state.policy.compute_dtype(), FloatDType::BF16);
            for reward in state.reward.iter().flat_map(|reward| &reward.members) {
                assert!(is_f32(&reward.model));
                assert_eq!(reward.model.backbone.compute_dtype(), FloatDType::BF16);
            }
        }
        assert_eq!(weights(&end.policy), weights(&world.align().0.policy));
    }
}

#[test]
fn a_model_with_another_compute_dtype_than_the_recipe_is_refused() {
    let world = world(Tuning::Lora, true);
    let plain = world.base.clone().with_compute_dtype(FloatDType::F32).unwrap();
    for state in [
        State::new(plain.clone(), world.policy.clone()),
        State::new(world.base.clone(), plain.with_lora(&world.recipe.model.lora, 1).unwrap()),
    ] {
        let error = world.run(&mut (), |run| align(state, run, |_| Ok(()))).unwrap_err();
        assert!(matches!(&error, TrainError::Recipe { key: "model.bf16", .. }), "{error}");
        assert!(error.to_string().contains("with_compute_dtype"), "{error}");
    }
}
