//! Log-probabilities of given tokens without `[B, T, V]` logits, forward or backward.
//!
//! Only positions that predict a completion token are projected onto the vocabulary, in chunks. For the
//! backward pass the loss is differentiated with respect to the log-probs alone; their gradient `g` is
//! then propagated back chunk by chunk,
//!
//! `∂L/∂h_i = g_i · (W[y_i] − p_i·W) / τ`, and for a trained head `∂L/∂W = Σ_i g_i · (e(y_i) − p_i)·h_iᵀ / τ`,
//!
//! where `p_i = softmax(W·h_i / τ)`. With a frozen head the bracket does not depend on `g`, so the forward pass
//! computes it and reads the head once.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{FloatDType, IndexingUpdateOp, Int, Tensor, activation};

use crate::batching::batch::CompletionBatch;
use crate::causal_lm::CausalLm;
use crate::layers::{Weight, plain, product, project, rounded, to_f32};
#[cfg(feature = "flex")]
use crate::ops::flex;

/// Entries of one chunk of logits, 32 MiB in f32: small compared with a model, and large enough for an efficient matrix
/// product.
const CHUNK: usize = 8 << 20;

/// Log-probs of a batch's completion tokens, and the entropy of the distributions they were drawn from.
#[derive(Debug, Clone)]
pub struct TokenLogProbs {
    /// `[B, C]`: `log softmax(logits / temperature)` at the token; 0 at filler.
    pub log_probs: Tensor<2>,
    /// `[B, C]`, in nats; 0 at filler.
    pub entropy: Tensor<2>,
}

/// Loss, log-probs and gradients of one backward pass.
pub struct Backward {
    /// `[1]`, without gradient.
    pub loss: Tensor<1>,
    /// The log-probs passed to the loss, `[B, C]`, without gradient.
    pub log_probs: Tensor<2>,
    /// Gradients of the model's trained parameters.
    pub gradients: GradientsParams,
}

impl CausalLm {
    /// Log-probs and entropies of the batch's completion tokens, without gradient.
    ///
    /// `log π(y_t | y_<t)` of the full distribution at `temperature` (> 0).
    pub fn log_probs(&self, batch: &CompletionBatch, temperature: f64) -> TokenLogProbs {
        let model = self.valid();
        let hidden = selected(&model, batch);
        let head = Head::new(model.head_weight(), model.compute_dtype());
        let mut log_probs = Vec::new();
        let mut entropy = Vec::new();
        for (h, targets) in chunks(&hidden, &batch.targets, head.vocab()) {
            let chunk = Softmax::new(h, &targets, &head, temperature);
            log_probs.push(chunk.log_probs());
            entropy.push(chunk.entropy());
        }
        TokenLogProbs {
            log_probs: batch.to_rows(Tensor::cat(log_probs, 0)),
            entropy: batch.to_rows(Tensor::cat(entropy, 0)),
        }
    }

    /// Gradients of `loss`, a scalar function of the batch's log-probs `[B, C]`, with respect to the model's trained parameters.
    ///
    /// # Panics
    /// When nothing in the model is trained.
    pub fn backward(
        &self,
        batch: &CompletionBatch,
        temperature: f64,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Backward {
        self.backward_from(batch, temperature, Reads::LogProbs, |log_probs, _| loss(log_probs))
    }

    /// As [`backward`](Self::backward), for a loss that also reads the soft value of the state in which each token
    /// is chosen: `v_t = log Σ_a exp(l_t(a) / τ)`, `[B, C]`, so that `v_t + log π(y_t)` is the token's logit over `τ`.
    ///
    /// # Panics
    /// When nothing in the model is trained.
    pub fn backward_with_values(
        &self,
        batch: &CompletionBatch,
        temperature: f64,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Backward {
        self.backward_from(batch, temperature, Reads::Values, loss)
    }

    fn backward_from(
        &self,
        batch: &CompletionBatch,
        temperature: f64,
        reads: Reads,
        loss: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Backward {
        let hidden = selected(self, batch);
        let plain = hidden.clone().inner();
        let head = Head::new(self.head_weight(), self.compute_dtype());
        let trained = self.head_weight().trained();
        let one_pass = trained.is_none() && reads == Reads::LogProbs;
        let (log_probs, values, directions) = forward(&plain, batch, &head, temperature, one_pass);
        let leaf = log_probs.clone().autodiff().require_grad();
        let value_leaf = values.autodiff().require_grad();
        let value = loss(batch.to_rows(leaf.clone()), batch.to_rows(value_leaf.clone()));
        let gradients = value.backward();
        let of = |leaf: Tensor<1>| leaf.grad(&gradients).unwrap_or_else(|| log_probs.zeros_like());
        let (grad, value_grad) = (of(leaf), of(value_leaf));
        let (grad_hidden, grad_head) = match directions {
            Some(directions) => (directions * grad.unsqueeze_dim::<2>(1), None),
            None => {
                let grads = [grad, value_grad];
                head_gradients(&plain, batch, &head, temperature, grads, trained.is_some())
            }
        };
        let mut surrogate = (hidden * grad_hidden).sum();
        if let (Some(head), Some(grad_head)) = (trained, grad_head) {
            surrogate = surrogate + (head * grad_head).sum();
        }
        let gradients = GradientsParams::from_grads(surrogate.backward(), self);
        Backward { loss: value.inner(), log_probs: batch.to_rows(log_probs), gradients }
    }
}

/// What a loss is a function of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    LogProbs,
    /// Log-probs and soft values.
    Values,
}

/// Log-probs and soft values `[N]` of the completion tokens, and with `directed` the gradients of the log-probs with respect to
/// the hidden states, `[N, D]`.
fn forward(
    hidden: &Tensor<2>,
    batch: &CompletionBatch,
    head: &Head,
    temperature: f64,
    directed: bool,
) -> (Tensor<1>, Tensor<1>, Option<Tensor<2>>) {
    let (mut log_probs, mut values, mut directions) = (Vec::new(), Vec::new(), Vec::new());
    for (h, targets) in chunks(hidden, &batch.targets, head.vocab()) {
        let chunk = Softmax::new(h, &targets, head, temperature);
        log_probs.push(chunk.log_probs());
        if directed {
            directions.push(chunk.direction(&targets, head, temperature));
        }
        values.push(chunk.log_sum.squeeze_dim::<1>(1));
    }
    let directions = directed.then(|| Tensor::cat(directions, 0));
    (Tensor::cat(log_probs, 0), Tensor::cat(values, 0), directions)
}

/// Hidden states that predict a completion token, `[N, D]`.
fn selected(model: &CausalLm, batch: &CompletionBatch) -> Tensor<2> {
    model.flat_hidden(batch).select(0, batch.predicts.clone())
}

/// `[N, D]` and `[N]` in chunks of up to [`CHUNK`] logits.
fn chunks(
    hidden: &Tensor<2>,
    targets: &Tensor<1, Int>,
    vocab: usize,
) -> impl Iterator<Item = (Tensor<2>, Tensor<1, Int>)> {
    let size = (CHUNK / vocab).max(16);
    let count = hidden.dims()[0];
    let (hidden, targets) = (hidden.clone(), targets.clone());
    (0..count).step_by(size).map(move |start| {
        let length = size.min(count - start);
        (hidden.clone().narrow(0, start, length), targets.clone().narrow(0, start, length))
    })
}

/// The output head `[V, D]`, without gradient, as it is stored or in the dtype that its products are computed in.
struct Head {
    weight: Tensor<2>,
    dtype: FloatDType,
}

impl Head {
    fn new(weight: &Weight, dtype: FloatDType) -> Self {
        let plain = plain(weight.tensor());
        // Products in f32 read a bf16 head block by block.
        let weight = if dtype == FloatDType::F32 { plain } else { rounded(plain, dtype) };
        Self { weight, dtype }
    }

    fn vocab(&self) -> usize {
        self.weight.dims()[0]
    }

    /// `[N, D]` to `[N, V]`.
    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        project(hidden, self.weight.clone(), self.dtype)
    }

    /// `Σ_v w_v·W[v]` for weights `[N, V]`: `[N, D]`.
    fn mean(&self, weights: Tensor<2>) -> Tensor<2> {
        product(weights, self.weight.clone(), self.dtype)
    }

    /// `W[y]`, `[N, D]`.
    fn rows(&self, targets: &Tensor<1, Int>) -> Tensor<2> {
        to_f32(self.weight.clone().select(0, targets.clone()))
    }
}

/// The softmax of one chunk's logits, up to a factor of each row.
struct Softmax {
    /// `e = z·p`, `[N, V]`.
    exp: Tensor<2>,
    /// `z`, `[N, 1]`, which depends on the backend.
    sum: Tensor<2>,
    /// `log p[y]`, `[N, 1]`.
    log_p: Tensor<2>,
    /// `log Σ exp(l)`, `[N, 1]`.
    log_sum: Tensor<2>,
    spread: Spread,
}

/// Further terms of the entropy.
enum Spread {
    /// `log p`, `[N, V]`.
    LogSoftmax(Tensor<2>),
    /// `log z` and `Σ e·log e`, `[N, 1]` each.
    #[cfg(feature = "flex")]
    Summed(Tensor<2>, Tensor<2>),
}

impl Softmax {
    fn new(hidden: Tensor<2>, targets: &Tensor<1, Int>, head: &Head, temperature: f64) -> Self {
        let logits = head.logits(hidden.div_scalar(temperature));
        let targets = targets.clone().unsqueeze_dim::<2>(1);
        let taken = logits.clone().gather(1, targets.clone());
        #[cfg(feature = "flex")]
        if flex::plain(&logits) {
            let (exp, [max, sum, spread]) = flex::rows::exponentials(logits);
            let log_z = sum.clone().log();
            // In this order few digits are lost where logits are large.
            let log_p = (taken - max.clone()) - log_z.clone();
            let log_sum = log_z.clone() + max;
            return Self { exp, sum, log_p, log_sum, spread: Spread::Summed(log_z, spread) };
        }
        let log_softmax = activation::log_softmax(logits, 1);
        let log_p = log_softmax.clone().gather(1, targets);
        let exp = log_softmax.clone().exp();
        let sum = log_p.ones_like();
        let log_sum = taken - log_p.clone();
        Self { exp, sum, log_p, log_sum, spread: Spread::LogSoftmax(log_softmax) }
    }

    /// `[N]`.
    fn log_probs(&self) -> Tensor<1> {
        self.log_p.clone().squeeze_dim::<1>(1)
    }

    /// `H = −Σ p·log p = log z − Σ e·log e / z`, `[N]`.
    fn entropy(self) -> Tensor<1> {
        let entropy = match self.spread {
            Spread::LogSoftmax(log_softmax) => (self.exp * log_softmax).sum_dim(1).neg(),
            #[cfg(feature = "flex")]
            Spread::Summed(log_z, spread) => log_z - spread / self.sum,
        };
        entropy.squeeze_dim::<1>(1)
    }

    /// `(W[y] − p·W) / τ`, `[N, D]`.
    fn direction(&self, targets: &Tensor<1, Int>, head: &Head, temperature: f64) -> Tensor<2> {
        let mean = head.mean(self.exp.clone()) / self.sum.clone();
        (head.rows(targets) - mean).div_scalar(temperature)
    }
}

/// `∂L/∂h` `[N, D]` and `∂L/∂W` `[V, D]` for the gradients `g` of the log-probs and `u` of the values, `[N]` each:
/// `∂L/∂h = (g · W[y] + (u − g) · p·W) / τ`, `∂L/∂W = Σ (g · e(y) + (u − g) · p) hᵀ / τ`, the latter for a trained head.
fn head_gradients(
    hidden: &Tensor<2>,
    batch: &CompletionBatch,
    head: &Head,
    temperature: f64,
    [grad, value_grad]: [Tensor<1>; 2],
    trained: bool,
) -> (Tensor<2>, Option<Tensor<2>>) {
    let mut grad_hidden = Vec::new();
    let mut grad_head = trained.then(|| Tensor::zeros(head.weight.shape(), &hidden.device()));
    let mut start = 0;
    for (h, targets) in chunks(hidden, &batch.targets, head.vocab()) {
        let length = h.dims()[0];
        let part = |grad: &Tensor<1>| grad.clone().narrow(0, start, length).unsqueeze_dim::<2>(1);
        let (g, rest) = (part(&grad), part(&value_grad) - part(&grad));
        let chunk = Softmax::new(h.clone(), &targets, head, temperature);
        let taken = head.rows(&targets) * g.clone();
        let rest = rest / chunk.sum;
        grad_hidden
            .push((taken + head.mean(chunk.exp.clone()) * rest.clone()).div_scalar(temperature));
        grad_head = grad_head.map(|sum| {
            let scaled = h.div_scalar(temperature);
            let sum = sum + product(chunk.exp.transpose(), scaled.clone() * rest, head.dtype);
            sum.select_assign(0, targets, scaled * g, IndexingUpdateOp::Add)
        });
        start += length;
    }
    (Tensor::cat(grad_hidden, 0), grad_head)
}
