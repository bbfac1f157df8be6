//! Every loss and estimator: its values, and its gradients in every input.

use revealed::burn::tensor::{Bool, Device, Tensor, TensorData};
use revealed::objectives::advantages::{gae, grpo, on_every_token, reinforce, rloo};
use revealed::objectives::kl::{k1, k2, k3, kl_shaped_rewards};
use revealed::objectives::likelihood::{entropy, token_cross_entropy};
use revealed::objectives::log_ratio::*;
use revealed::objectives::pairs::*;
use revealed::objectives::policy::*;
use revealed::objectives::reduce::*;
use revealed::objectives::{GroupScale, MeanShift};

use crate::{Other, close, devices, flex, host};

const ROWS: usize = 6;
const TIME: usize = 7;

/// Numbers between -1.5 and 1.5 that repeat nowhere, another set for each `which`.
fn numbers(which: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| 1.5 * ((i * 7 + which * 13 + 1) as f32 * 0.731).sin()).collect()
}

fn vector(which: usize, device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers(which, ROWS), [ROWS]), device)
}

fn matrix(which: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers(which, ROWS * TIME), [ROWS, TIME]), device)
}

/// Rows that keep 2, 3, … steps, as completions of several lengths do.
fn mask(device: &Device) -> Tensor<2, Bool> {
    let kept: Vec<bool> =
        (0..ROWS * TIME).map(|i| i % TIME < 2 + (i / TIME) % (TIME - 1)).collect();
    Tensor::from_data(TensorData::new(kept, [ROWS, TIME]), device)
}

/// A function's values and gradients on a device.
type Measured = (Vec<f32>, Vec<Vec<f32>>);

fn measure<const D: usize, const E: usize>(
    device: &Device,
    input: fn(usize, &Device) -> Tensor<D>,
    function: &dyn Fn(&[Tensor<D>]) -> Tensor<E>,
) -> Measured {
    let inputs: Vec<Tensor<D>> =
        (0..4).map(|which| input(which, &device.clone().autodiff()).require_grad()).collect();
    let output = function(&inputs);
    let values = host(output.clone().inner());
    let count = values.len();
    let upstream = TensorData::new(numbers(9, count), output.shape());
    let gradients = (output * Tensor::from_data(upstream, device)).sum().backward();
    let each = inputs.iter().map(|tensor| tensor.grad(&gradients).map(host).unwrap_or_default());
    (values, each.collect())
}

fn compare(found: &Measured, wanted: &Measured, other: &Other, name: &str) {
    close(&found.0, &wanted.0, other, name);
    for (which, (found, wanted)) in found.1.iter().zip(&wanted.1).enumerate() {
        close(found, wanted, other, &format!("{name}, gradient in input {which}"));
    }
}

/// Of demonstrations and samples, `[P]`.
type OfPairs = (&'static str, fn(Tensor<1>, Tensor<1>) -> Tensor<1>);

const OF_PAIRS: &[OfPairs] = &[
    ("pairwise_logistic", pairwise_logistic),
    ("pairwise_logistic_smoothed", |d, s| pairwise_logistic_smoothed(d, s, 0.1, 0.3)),
    ("linear_difference", linear_difference),
    ("bce_discriminator", bce_discriminator),
    ("bce_discriminator_smoothed", |d, s| bce_discriminator_smoothed(d, s, 0.1)),
    ("hinge", |d, s| hinge(d, s, 0.7)),
    ("least_squares", least_squares),
    ("least_squares_smoothed", |d, s| least_squares_smoothed(d, s, 0.1)),
    ("reward_l2", reward_l2),
    ("center_rewards", center_rewards),
    ("spin_logistic", |d, s| spin_logistic(d, s, 0.5)),
    ("spin_hinge", |d, s| spin_hinge(d, s, 0.5)),
    ("irft_linear", |d, s| irft_linear(d, s, 0.5)),
    ("gsil_bernoulli", gsil_bernoulli),
    ("gsil_brier", gsil_brier),
    ("gsil_hinge", gsil_hinge),
    ("gsil_kliep", gsil_kliep),
    ("gsil_lsif", gsil_lsif),
    ("dpo_sigmoid", |d, s| dpo_sigmoid(d, s, 0.3, 0.1)),
    ("ipo", |d, s| ipo(d, s, 0.3)),
    ("product_of_experts", |d, s| product_of_experts(d, s, 0.5)),
    ("sequence_clipped_surrogate", |new, old| {
        let advantages = old.clone().detach();
        sequence_clipped_surrogate(new, old.detach(), advantages, 0.2, 0.3)
    }),
    ("reinforce_loss", |new, old| reinforce_loss(new, old.detach())),
    ("reinforce", |d, _| reinforce(d, 0.4)),
    ("rloo", |d, _| rloo(d, 3)),
    ("grpo", |d, _| grpo(d, 3, GroupScale::Std)),
];

#[test]
fn losses_of_pairs_and_of_completions() {
    for other in devices() {
        for (name, function) in OF_PAIRS {
            let of = |device: &Device| {
                measure(device, vector, &|inputs: &[Tensor<1>]| {
                    function(inputs[0].clone(), inputs[1].clone())
                })
            };
            compare(&of(&other.device), &of(&flex()), &other, name);
        }
    }
}

/// Of four `[B, T]`.
type OfTokens = (&'static str, fn([Tensor<2>; 4]) -> Tensor<2>);

/// A mask on the plain device, where constants live.
fn kept(like: &Tensor<2>) -> Tensor<2, Bool> {
    mask(&like.device().without_autodiff())
}

const OF_TOKENS: &[OfTokens] = &[
    ("k1", |[a, b, ..]| k1(a, b)),
    ("k2", |[a, b, ..]| k2(a, b)),
    ("k3", |[a, b, ..]| k3(a, b)),
    ("ratio", |[a, b, ..]| ratio(a, b)),
    ("clipped_surrogate", |[a, b, c, _]| clipped_surrogate(a, b.detach(), c.detach(), 0.2, 0.3)),
    ("clipped_value_loss", |[a, b, c, _]| clipped_value_loss(a, b.detach(), c.detach(), 0.2)),
    ("token_cross_entropy", |[a, ..]| {
        let mask = kept(&a);
        token_cross_entropy(a, mask)
    }),
    ("iq_learn", |[a, b, ..]| {
        let mask = kept(&a);
        iq_learn(a, b, mask, 0.3, 0.9)
    }),
    ("dense_log_ratio", |[a, b, ..]| {
        let mask = kept(&a);
        dense_log_ratio(a, b, mask)
    }),
    ("whiten", |[a, ..]| {
        let mask = kept(&a);
        whiten(a, mask, MeanShift::Remove)
    }),
    ("gae", |[a, b, ..]| {
        let mask = kept(&a);
        gae(a, b, mask, 0.99, 0.95).0
    }),
    ("returns", |[a, b, ..]| {
        let mask = kept(&a);
        gae(a, b, mask, 0.99, 0.95).1
    }),
    ("kl_shaped_rewards", |[a, b, ..]| {
        let mask = kept(&a);
        kl_shaped_rewards(a.sum_dim(1).squeeze_dim(1), b, mask, 0.3)
    }),
    ("on_every_token", |[a, ..]| {
        let mask = kept(&a);
        on_every_token(a.sum_dim(1).squeeze_dim(1), mask)
    }),
    ("sequence_sum", |[a, ..]| {
        let mask = kept(&a);
        sequence_sum(a, mask).unsqueeze_dim(1)
    }),
    ("sequence_mean", |[a, ..]| {
        let mask = kept(&a);
        sequence_mean(a, mask).unsqueeze_dim(1)
    }),
    ("masked_mean", |[a, ..]| {
        let mask = kept(&a);
        masked_mean(a, mask).unsqueeze_dim(1)
    }),
    ("token_mean", |[a, ..]| {
        let mask = kept(&a);
        token_mean(a, mask, 17.0).unsqueeze_dim(1)
    }),
    ("sequence_log_ratio", |[a, b, ..]| {
        let mask = kept(&a);
        sequence_log_ratio(a, b, mask).unsqueeze_dim(1)
    }),
    ("entropy", |[a, ..]| entropy(a).unsqueeze_dim(1)),
];

#[test]
fn losses_of_tokens() {
    for other in devices() {
        for (name, function) in OF_TOKENS {
            let of = |device: &Device| {
                measure(device, matrix, &|inputs: &[Tensor<2>]| {
                    function([0, 1, 2, 3].map(|which| inputs[which].clone()))
                })
            };
            compare(&of(&other.device), &of(&flex()), &other, name);
        }
    }
}
