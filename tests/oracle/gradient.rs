//! Gradients of a reward, as vectors: what a step of the crate's fit took, and what single rows give.

use revealed::burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use revealed::burn::optim::GradientsParams;
use revealed::burn::tensor::{Tensor, TensorData};
use revealed::models::{PaddingSide, ScalarModel, TokenBatch};
use revealed::objectives::PairLoss;
use revealed::reward::RewardModel;
use revealed::train::{
    Negative, NegativeSource, OptimizerConfig, Recipe, Row, Schedule, fit_reward, pairs,
};

use crate::world::{PAD, World};

/// One step on all pairs whose size tells its gradient: AdamW's first is `g / (|g| + ε)`, and ε is 1.
pub fn one_linear_step(recipe: &mut Recipe) {
    recipe.reward.steps = 1;
    recipe.reward.batch_size = 1 << 20;
    recipe.reward.l2 = 0.0;
    recipe.reward.optimizer = OptimizerConfig {
        lr: 1.0,
        schedule: Schedule::Constant,
        adam_epsilon: 1.0,
        max_grad_norm: 1e9,
        ..OptimizerConfig::default()
    };
}

/// The ascent direction that the crate's own fit takes from demonstrations and `negatives`, as many for each
/// and in their order.
pub fn pair_step(world: &World, reward: &RewardModel, negatives: Vec<Row>) -> Vec<f64> {
    let each = negatives.len() / world.task.train.len();
    let negative = |(index, row)| Negative {
        demonstration: index / each,
        source: NegativeSource::Policy,
        round: 1,
        row,
    };
    let negatives: Vec<Negative> = negatives.into_iter().enumerate().map(negative).collect();
    let pool: Vec<&Negative> = negatives.iter().collect();
    let fitted = world
        .run(&PairLoss::LinearDifference, |run| {
            let pairs = pairs(&pool, None, &world.task, run)?;
            fit_reward(reward.clone(), &pairs, (1, 0), run)
        })
        .unwrap();
    let step = minus(&weights(&fitted.model), &weights(&reward.model));
    step.iter().map(|step| step / (1.0 - step.abs())).collect()
}

/// `∇_θ r(x, y)` of one row, in its own backward pass; 0 for the unused output head.
pub fn gradient(model: &ScalarModel, row: &Row) -> Vec<f64> {
    struct Flat(GradientsParams, Vec<f64>);
    impl ModuleVisitor for Flat {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            match self.0.get::<D>(param.id) {
                Some(gradient) => self.1.extend(gradient.into_data().iter::<f64>()),
                None => self.1.extend(vec![0.0; param.val().shape().num_elements()]),
            }
        }
    }
    let model = model.clone().trainable();
    let device = model.backbone.device();
    let batch = TokenBatch::new(&[row], PAD, PaddingSide::Right, &device).unwrap();
    let gradients = GradientsParams::from_grads(model.scores(&batch).backward(), &model);
    let mut flat = Flat(gradients, vec![]);
    model.visit(&mut flat);
    flat.1
}

pub fn gradient_of_mean(model: &ScalarModel, rows: &[Row]) -> Vec<f64> {
    let mut mean = vec![0.0; weights(model).len()];
    rows.iter().for_each(|row| add(&mut mean, 1.0 / rows.len() as f64, &gradient(model, row)));
    mean
}

pub fn add(to: &mut [f64], share: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += share * what);
}

pub fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

pub fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|v| v * v).sum::<f64>().sqrt()
}

pub fn weights(model: &ScalarModel) -> Vec<f64> {
    struct Flat(Vec<f64>);
    impl ModuleVisitor for Flat {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f64>());
        }
    }
    let mut flat = Flat(vec![]);
    model.visit(&mut flat);
    flat.0
}

/// The model with `by` added to its weights.
pub fn moved(model: &ScalarModel, by: Vec<f64>) -> ScalarModel {
    struct Move(std::vec::IntoIter<f64>);
    impl ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let by = self.0.by_ref().take(tensor.shape().num_elements()).map(|v| v as f32);
                let by = TensorData::new(by.collect::<Vec<f32>>(), tensor.dims());
                tensor.clone() + Tensor::from_data(by, &tensor.device())
            })
        }
    }
    model.clone().valid().map(&mut Move(by.into_iter()))
}
