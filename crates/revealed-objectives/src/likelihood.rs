//! Likelihood: what supervised fine-tuning minimises, and how spread the policy is.

use burn::tensor::{Bool, DType, Tensor, activation::log_softmax};

use crate::reduce::keep;

/// The negative log-likelihood of each trained token, 0 where masked.
///
/// `−m_bt log π(y_bt | x_b, y_b<t)`, in nats. Reduce it with
/// [`token_mean`](crate::reduce::token_mean).
///
/// # Shapes
/// - `log_probs`: `[B,T]`, log π of the taken token; `mask`: `[B,T]`, the tokens that are trained
/// - output: `[B,T]`, at least 0
///
/// # Panics
/// When the shapes differ.
pub fn token_cross_entropy(log_probs: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    keep(-log_probs, mask)
}

/// The Shannon entropy of each row's distribution over the vocabulary.
///
/// `H = −Σ_v p_v log p_v` with `p = softmax(logits)`, in nats. A logit of −∞ (a forbidden token)
/// contributes 0.
///
/// # Shapes
/// - `logits`: `[N,V]`, temperature applied, no row all −∞
/// - output: `[N]`, between 0 and log V
pub fn entropy(logits: Tensor<2>) -> Tensor<1> {
    // The floor turns 0 · −∞ into 0; no finite log-prob is that low.
    let log_probs = log_softmax(logits.cast(DType::F32), 1).clamp_min(f32::MIN);
    -(log_probs.clone().exp() * log_probs).sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::golden::{Case, gradient, numbers};

    #[test]
    fn token_cross_entropy_equals_pytorch() {
        let case = Case::load("token_cross_entropy");
        case.matches_output(0, &token_cross_entropy(case.constant("log_probs"), case.mask()));
    }

    #[test]
    fn entropy_and_its_gradient_equal_trl() {
        let case = Case::load("entropy");
        let logits = case.tracked("logits");
        let gradients = case.backward(entropy(logits.clone()));
        case.matches_gradient(&gradients, "logits", &logits);
    }

    #[test]
    fn a_forbidden_token_adds_no_entropy_and_no_gradient() {
        let device = Device::flex().autodiff();
        let logits =
            Tensor::<2>::from_floats([[1.0, f32::NEG_INFINITY, 1.0]], &device).require_grad();
        let output = entropy(logits.clone());
        assert!((numbers(&output)[0] - std::f32::consts::LN_2).abs() < 1e-6);
        let gradient = gradient(output, &logits);
        assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn equal_logits_have_the_entropy_of_a_uniform_choice() {
        let logits = Tensor::<2>::full([2, 8], 1e4, &Device::flex());
        for h in numbers(&entropy(logits)) {
            assert!((h - 8f32.ln()).abs() < 1e-6);
        }
    }
}
