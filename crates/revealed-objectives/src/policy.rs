//! Policy and value losses of clipped policy optimisation (PPO), per token and per sequence.

use burn::tensor::Tensor;

use crate::kl;
pub use crate::ratio::{log_ratio, ratio};

/// The clipped surrogate loss of each token.
///
/// `max( −A ρ, −A clip(ρ, 1 − ε_low, 1 + ε_high) )`. Its gradient in `log_probs` at `ρ = 1` is
/// `−A`, the policy gradient.
///
/// # Shapes
/// - `log_probs`, `old_log_probs`, `advantages`: `[B,T]`; `epsilon` in `(0, 1]`, `epsilon_high` > 0
///   (equal in PPO; `epsilon_high` larger in DAPO)
/// - output: `[B,T]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: Eq. 7 of <https://arxiv.org/abs/1707.06347>, negated; two bounds as in
/// <https://arxiv.org/abs/2503.14476>.
pub fn clipped_surrogate(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    advantages: Tensor<2>,
    epsilon: f64,
    epsilon_high: f64,
) -> Tensor<2> {
    let (plain, clipped) = surrogates(log_probs, old_log_probs, advantages, epsilon, epsilon_high);
    plain.max_pair(clipped)
}

/// The clipped surrogate loss of each whole completion, taken as one action.
///
/// The formula of [`clipped_surrogate`] on the sequences' log-probs: their sums (RLOO), or their
/// means per token (the ratio of GSPO).
///
/// # Shapes
/// - `log_probs`, `old_log_probs`, `advantages`: `[B]`; `epsilon` in `(0, 1]`, `epsilon_high` > 0
/// - output: `[B]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: <https://arxiv.org/abs/2402.14740> for sums; <https://arxiv.org/abs/2507.18071> for
/// means.
pub fn sequence_clipped_surrogate(
    log_probs: Tensor<1>,
    old_log_probs: Tensor<1>,
    advantages: Tensor<1>,
    epsilon: f64,
    epsilon_high: f64,
) -> Tensor<1> {
    let (plain, clipped) = surrogates(log_probs, old_log_probs, advantages, epsilon, epsilon_high);
    plain.max_pair(clipped)
}

/// The score-function (REINFORCE) loss of each whole completion.
///
/// `−A log π(y)`, whose gradient is that of the expected reward, for completions sampled from the
/// policy itself; [`sequence_clipped_surrogate`] has the same gradient at `ρ = 1`.
///
/// # Shapes
/// - `log_probs`: `[B]`, summed over each completion; `advantages`: `[B]`, constants
/// - output: `[B]`
///
/// # Panics
/// When the shapes differ.
///
/// Source: Williams, "Simple statistical gradient-following algorithms for connectionist
/// reinforcement learning", 1992, <https://doi.org/10.1007/BF00992696>.
pub fn reinforce_loss(log_probs: Tensor<1>, advantages: Tensor<1>) -> Tensor<1> {
    assert_eq!(advantages.dims(), log_probs.dims(), "advantages and log_probs differ in shape");
    -(advantages * log_probs)
}

/// 1 where the clip is active, that is where [`clipped_surrogate`] gives no gradient, 0 elsewhere.
///
/// `1[ −A clip(ρ) > −A ρ ]`: `A > 0` and `ρ > 1 + ε_high`, or `A < 0` and `ρ < 1 − ε_low`. Its
/// masked mean is TRL's `policy/clipfrac_avg`. Without gradient.
///
/// # Shapes
/// - as [`clipped_surrogate`]
/// - output: `[B,T]`, 0 or 1
///
/// # Panics
/// When the shapes differ.
pub fn clip_fraction(
    log_probs: Tensor<2>,
    old_log_probs: Tensor<2>,
    advantages: Tensor<2>,
    epsilon: f64,
    epsilon_high: f64,
) -> Tensor<2> {
    let log_probs = log_probs.detach();
    let (plain, clipped) = surrogates(log_probs, old_log_probs, advantages, epsilon, epsilon_high);
    clipped.greater(plain).float()
}

/// The clipped squared error of the value estimate of each token.
///
/// `½ max( (V − R)², (clip(V, V_old − c, V_old + c) − R)² )`
///
/// # Shapes
/// - `values`, `old_values`, `returns`: `[B,T]`; `clip_range` c > 0, in units of value
/// - output: `[B,T]`, at least 0
///
/// # Panics
/// When the shapes differ.
///
/// Source: `vf_loss` of TRL 0.24 `PPOTrainer` and of <https://arxiv.org/abs/2403.17031>.
pub fn clipped_value_loss(
    values: Tensor<2>,
    old_values: Tensor<2>,
    returns: Tensor<2>,
    clip_range: f64,
) -> Tensor<2> {
    assert_eq!(old_values.dims(), values.dims(), "old_values and values differ in shape");
    assert_eq!(returns.dims(), values.dims(), "returns and values differ in shape");
    let moved = (values.clone() - old_values.clone()).clamp(-clip_range, clip_range);
    let plain = (values - returns.clone()).square();
    let clipped = (old_values + moved - returns).square();
    plain.max_pair(clipped) * 0.5
}

/// An estimate, per token, of how far the policy has moved from the policy at rollout.
///
/// `½ (log ρ)²`, the k2 estimator; its mean is TRL's `policy/approxkl_avg`.
///
/// # Shapes
/// - `log_probs`, `old_log_probs`: `[B,T]`
/// - output: `[B,T]`, at least 0, in nats
///
/// # Panics
/// When the shapes differ.
pub fn approx_kl(log_probs: Tensor<2>, old_log_probs: Tensor<2>) -> Tensor<2> {
    kl::k2(log_probs, old_log_probs)
}

/// `(−A ρ, −A clip(ρ, 1 − ε_low, 1 + ε_high))`.
fn surrogates<const D: usize>(
    log_probs: Tensor<D>,
    old_log_probs: Tensor<D>,
    advantages: Tensor<D>,
    epsilon: f64,
    epsilon_high: f64,
) -> (Tensor<D>, Tensor<D>) {
    assert_eq!(
        old_log_probs.dims(),
        log_probs.dims(),
        "old_log_probs and log_probs differ in shape"
    );
    assert_eq!(advantages.dims(), log_probs.dims(), "advantages and log_probs differ in shape");
    let ratio = (log_probs - old_log_probs).exp();
    let clipped = ratio.clone().clamp(1.0 - epsilon, 1.0 + epsilon_high);
    let cost = -advantages;
    (cost.clone() * ratio, cost * clipped)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{Case, gradient, numbers};

    fn clips(case: &Case) -> (f64, f64) {
        (case.number("epsilon"), case.number("epsilon_high"))
    }

    #[test]
    fn clipped_surrogate_and_its_gradient_equal_pytorch() {
        let case = Case::load("clipped_surrogate");
        let (low, high) = clips(&case);
        let log_probs = case.tracked::<2>("log_probs");
        let (old, advantages) = (case.constant("old_log_probs"), case.constant("advantages"));
        let losses = clipped_surrogate(log_probs.clone(), old, advantages, low, high);
        case.matches(losses, &[("log_probs", &log_probs)]);
    }

    #[test]
    fn sequence_clipped_surrogate_and_its_gradient_equal_pytorch() {
        let case = Case::load("sequence_clipped_surrogate");
        let (low, high) = clips(&case);
        let log_probs = case.tracked::<1>("log_probs");
        let (old, advantages) = (case.constant("old_log_probs"), case.constant("advantages"));
        let losses = sequence_clipped_surrogate(log_probs.clone(), old, advantages, low, high);
        case.matches(losses, &[("log_probs", &log_probs)]);
    }

    #[test]
    fn clip_fraction_marks_the_tokens_without_gradient() {
        let case = Case::load("clip_fraction");
        let (low, high) = clips(&case);
        let log_probs = case.tracked::<2>("log_probs");
        let old = || case.constant("old_log_probs");
        let advantages = || case.constant("advantages");
        let clipped = clip_fraction(log_probs.clone(), old(), advantages(), low, high);
        case.matches_output(0, &clipped);
        let losses = clipped_surrogate(log_probs.clone(), old(), advantages(), low, high);
        for (mark, slope) in numbers(&clipped).iter().zip(gradient(losses, &log_probs)) {
            assert_eq!(*mark == 1.0, slope == 0.0);
        }
    }

    #[test]
    fn clipped_value_loss_and_its_gradient_equal_pytorch() {
        let case = Case::load("clipped_value_loss");
        let values = case.tracked::<2>("values");
        let (old, returns) = (case.constant("old_values"), case.constant("returns"));
        let losses = clipped_value_loss(values.clone(), old, returns, case.number("clip_range"));
        case.matches(losses, &[("values", &values)]);
    }

    #[test]
    fn approx_kl_is_half_the_squared_log_ratio() {
        let case = Case::load("approx_kl");
        let log_probs = case.tracked::<2>("log_probs");
        let output = approx_kl(log_probs.clone(), case.constant("old_log_probs"));
        case.matches(output, &[("log_probs", &log_probs)]);
    }

    #[test]
    fn a_token_twice_as_likely_as_at_rollout_has_ratio_two() {
        let at = |p: f32| Tensor::<2>::full([1, 1], p.ln(), &Device::flex());
        assert!((numbers(&ratio(at(0.6), at(0.3)))[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn ratio_of_one_gives_the_policy_gradient() {
        let case = Case::load("clipped_surrogate");
        let log_probs = case.tracked::<2>("log_probs");
        let advantages = case.constant::<2>("advantages");
        let old = log_probs.clone().inner();
        assert!(numbers(&ratio(old.clone(), old.clone())).iter().all(|&r| r == 1.0));
        let losses = clipped_surrogate(log_probs.clone(), old, advantages.clone(), 0.2, 0.2);
        assert_eq!(gradient(losses, &log_probs), numbers(&-advantages));
    }

    #[test]
    fn reinforce_loss_and_its_gradient_equal_pytorch() {
        let case = Case::load("reinforce_loss");
        let log_probs = case.tracked::<1>("log_probs");
        let losses = reinforce_loss(log_probs.clone(), case.constant("advantages"));
        case.matches(losses, &[("log_probs", &log_probs)]);
    }

    #[test]
    #[should_panic(expected = "advantages and log_probs differ in shape")]
    fn an_advantage_per_sequence_is_not_broadcast_silently() {
        let log_probs = Tensor::<2>::zeros([2, 3], &Device::flex());
        let advantages = Tensor::<2>::zeros([2, 1], &Device::flex());
        let _ = clipped_surrogate(log_probs.clone(), log_probs, advantages, 0.2, 0.2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Central differences with a step of 1e-2 of an exponential below 3: truncation 5e-5,
        /// rounding 1e-4.
        #[test]
        fn finite_differences_match_backward(
            old in -3.0f32..0.0,
            moved in prop_oneof![-0.6f32..-0.25, -0.2f32..0.17, 0.21f32..0.6],
            advantage in -2.0f32..2.0,
            target in -2.0f32..2.0,
        ) {
            let step = 1e-2f32;
            let at = |x: f32| Tensor::<2>::full([1, 1], x, &Device::flex());
            let policy_loss = |x| clipped_surrogate(x, at(old), at(advantage), 0.2, 0.2);
            let divergence = |x| crate::kl::k3(x, at(old));
            let value_loss = |x| clipped_value_loss(x, at(old), at(old + target), 0.2);
            let losses: [&dyn Fn(Tensor<2>) -> Tensor<2>; 3] =
                [&policy_loss, &divergence, &value_loss];
            for (index, loss) in losses.into_iter().enumerate() {
                // The value loss has a second kink, where both errors are equal: 2(R − V_old) = V +
                // clip(V) − 2 V_old.
                let kink = (2.0 * target - moved - moved.clamp(-0.2, 0.2)).abs() < 0.05;
                if index == 2 && (kink || (moved.abs() - 0.2).abs() < 0.02) {
                    continue;
                }
                let x = Tensor::<2>::full([1, 1], old + moved, &Device::flex().autodiff());
                let x = x.require_grad();
                let slope = gradient(loss(x.clone()), &x)[0];
                let above = numbers(&loss(at(old + moved + step)))[0];
                let below = numbers(&loss(at(old + moved - step)))[0];
                let measured = (above - below) / (2.0 * step);
                prop_assert!((slope - measured).abs() < 1e-3, "{index}: {slope} and {measured}");
            }
        }
    }
}
