//! Against `golden/models/adamw.json`: PyTorch's AdamW and clipping, Transformers' schedules.

use super::*;
use crate::recipe::Schedule;
use crate::record::Phase;
use burn::module::Param;
use burn::tensor::{Device, TensorData};
use serde_json::Value;

#[derive(Module, Debug)]
struct Two {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
}

const AT: At = At { round: 1, phase: Phase::Fit, step: 1 };

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/models/adamw.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(floats).collect(),
        None => vec![value.as_f64().unwrap() as f32],
    }
}

fn tensors(value: &Value) -> (Tensor<1>, Tensor<2>) {
    let device = Device::flex();
    let tensor = |name: &str| floats(&value[name]);
    (
        Tensor::from_data(TensorData::new(tensor("vector"), [5]), &device),
        Tensor::from_data(TensorData::new(tensor("matrix"), [3, 4]), &device),
    )
}

fn module(params: &Value) -> Two {
    let (vector, matrix) = tensors(params);
    Two {
        vector: Param::from_tensor(vector.autodiff()),
        matrix: Param::from_tensor(matrix.autodiff()),
    }
}

fn gradients(module: &Two, grads: &Value) -> GradientsParams {
    let (vector, matrix) = tensors(grads);
    let mut gradients = GradientsParams::new();
    gradients.register(module.vector.id, vector);
    gradients.register(module.matrix.id, matrix);
    gradients
}

fn values(module: &Two) -> Vec<f32> {
    let (vector, matrix) = (module.vector.val().into_data(), module.matrix.val().into_data());
    vector.iter::<f32>().chain(matrix.iter::<f32>()).collect()
}

fn expected(params: &Value) -> Vec<f32> {
    [floats(&params["vector"]), floats(&params["matrix"])].concat()
}

fn loss() -> [Tensor<1>; 1] {
    [Tensor::from_floats([0.0], &Device::flex())]
}

/// One step; no step may be skipped.
fn update(
    updater: &mut Updater<Two>,
    module: Two,
    gradients: GradientsParams,
    numbers: [Tensor<1>; 1],
) -> Result<(Two, Update<1>), TrainError> {
    let limits = HealthSection { max_skipped_steps: 0, ..HealthSection::default() };
    updater.update(module, gradients, numbers, AT, &limits, &mut ())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn config(case: &Value) -> OptimizerConfig {
    OptimizerConfig {
        lr: case["lr"].as_f64().unwrap(),
        schedule: Schedule::Constant,
        warmup_ratio: 0.0,
        adam_epsilon: case["eps"].as_f64().unwrap(),
        weight_decay: case["weight_decay"].as_f64().unwrap(),
        max_grad_norm: 1e9,
    }
}

#[test]
fn five_steps_of_adamw_are_those_of_pytorch() {
    for case in golden()["adamw"].as_array().unwrap() {
        let mut two = module(&case["params"]);
        let steps = case["steps"].as_array().unwrap();
        let mut updater = Updater::new(&config(case), steps.len());
        for step in steps {
            let gradients = gradients(&two, &step["grads"]);
            (two, _) = update(&mut updater, two, gradients, loss()).unwrap();
            // Each is up to 2.7e-7 from the same steps in f64, and Burn computes 1 − β₂^t in f32, where
            // PyTorch has f64: a rounding of 6e-8 in 0.002 is 3e-5 of v̂ and 1.5e-5 of a step.
            let tolerance = 1e-6 + 1.5e-5 * updater.config.lr as f32;
            let difference = largest_difference(&values(&two), &expected(&step["params"]));
            assert!(difference <= tolerance, "{}: {difference}", case["name"]);
        }
    }
}

#[test]
fn the_learning_rate_follows_transformers_schedules() {
    for case in golden()["schedules"].as_array().unwrap() {
        let (warmup, total) =
            (case["warmup_steps"].as_u64().unwrap(), case["total_steps"].as_u64().unwrap());
        let config = OptimizerConfig {
            lr: case["lr"].as_f64().unwrap(),
            schedule: match case["name"].as_str().unwrap() {
                "linear" => Schedule::Linear,
                "cosine" => Schedule::Cosine,
                _ => Schedule::Constant,
            },
            // Minus half a step because the share is rounded up.
            warmup_ratio: (warmup as f64 - 0.5).max(0.0) / total as f64,
            ..OptimizerConfig::default()
        };
        for (step, theirs) in case["values"].as_array().unwrap().iter().enumerate() {
            let ours = config.lr_at(step, total as usize);
            assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-12, "{case} {step}");
        }
    }
}

#[test]
fn gradients_are_clipped_by_their_norm_over_all_parameters() {
    for case in golden()["clipping"].as_array().unwrap() {
        let two = module(&case["grads"]);
        let given = gradients(&two, &case["grads"]);
        let norm = f64::from(grad_norm(&given, &two).into_scalar::<f32>());
        let clipped = clip_grad_norm(given, &two, norm, case["max_norm"].as_f64().unwrap());
        let theirs = case["norm"].as_f64().unwrap();
        assert!((norm / theirs - 1.0).abs() < 1e-6, "{norm} {theirs}");
        let vector = clipped.get::<1>(two.vector.id).unwrap().into_data();
        let matrix = clipped.get::<2>(two.matrix.id).unwrap().into_data();
        let ours: Vec<f32> = vector.iter::<f32>().chain(matrix.iter::<f32>()).collect();
        for (ours, theirs) in ours.iter().zip(expected(&case["clipped"])) {
            assert!((ours - theirs).abs() <= 1e-6 * theirs.abs(), "{ours} {theirs}");
        }
    }
}

#[test]
fn a_step_at_rate_0_moves_the_moments_and_nothing_else() {
    let case = &golden()["adamw"][0];
    let (steps, start) = (case["steps"].as_array().unwrap(), &case["params"]);
    let warm = OptimizerConfig { warmup_ratio: 0.5, ..config(case) };
    let mut updater = Updater::new(&warm, 2);
    let two = module(start);
    let first = gradients(&two, &steps[0]["grads"]);
    let (two, done) = update(&mut updater, two, first, loss()).unwrap();
    assert_eq!((done.lr, values(&two)), (0.0, expected(start)));
    let second = gradients(&two, &steps[1]["grads"]);
    let (two, done) = update(&mut updater, two, second, loss()).unwrap();
    assert_eq!(done.lr, warm.lr);
    // The second moment contains both gradients: p − lr · m̂ / (√v̂ + ε), by hand in f64.
    let (a, b) = (expected(&steps[0]["grads"]), expected(&steps[1]["grads"]));
    for (index, p) in expected(start).iter().enumerate() {
        let (a, b) = (f64::from(a[index]), f64::from(b[index]));
        let m = (0.1 * 0.9 * a + 0.1 * b) / (1.0 - 0.81);
        let v = (0.001 * 0.999 * a * a + 0.001 * b * b) / (1.0 - 0.999f64.powi(2));
        let expected = f64::from(*p) - warm.lr * m / (v.sqrt() + warm.adam_epsilon);
        assert!((f64::from(values(&two)[index]) - expected).abs() < 1e-6);
    }
}

#[test]
fn a_loss_or_a_gradient_that_is_not_finite_is_an_error() {
    let case = &golden()["adamw"][0];
    let two = module(&case["params"]);
    let nan = [Tensor::from_floats([f32::NAN], &Device::flex())];
    let mut updater = Updater::new(&config(case), 1);
    let grads = gradients(&two, &case["steps"][0]["grads"]);
    let error = update(&mut updater, two.clone(), grads, nan).unwrap_err();
    assert!(error.to_string().starts_with("round 1, fit, step 1: the loss is NaN"), "{error}");
    let mut grads = gradients(&two, &case["steps"][0]["grads"]);
    grads.register(two.vector.id, Tensor::<1>::from_floats([f32::INFINITY; 5], &Device::flex()));
    let error = update(&mut updater, two, grads, loss()).unwrap_err();
    assert!(error.to_string().contains("the gradient's norm is inf"), "{error}");
}
