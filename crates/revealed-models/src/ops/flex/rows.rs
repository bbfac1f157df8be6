//! Functions of the rows of a matrix in one pass each, with a vectorised exponential.
//!
//! Burn's operations take a pass over memory for every sign in a formula, and call the exponential number by number.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::{contents, machine, primitive};

/// Numbers of a vector register.
const LANES: usize = 16;

/// Numbers that a thread takes at once.
const PART: usize = 1 << 14;

/// Numbers of a row where a function is of single numbers.
const ROW: usize = 1 << 10;

/// Work on one row of each of `M` outputs.
trait Kernel<const M: usize>: Sync {
    /// Implementations are to be inlined always: only then are they compiled for the machine's registers.
    fn row(&self, row: usize, outputs: [&mut [f32]; M]);
}

/// Does `kernel` on every row of outputs of these widths, parts of the rows on rayon.
fn each<K: Kernel<M>, const M: usize>(
    kernel: &K,
    rows: usize,
    mut outputs: [&mut [f32]; M],
    widths: [usize; M],
) {
    let part = (PART / widths.iter().max().map_or(1, |width| (*width).max(1))).max(1);
    let parts: Vec<_> = (0..rows.div_ceil(part))
        .map(|index| {
            let count = part.min(rows - index * part);
            (index * part, count, first_of(&mut outputs, widths.map(|width| count * width)))
        })
        .collect();
    parts.into_par_iter().for_each(|(first, count, outputs)| {
        // Sound: `machine` has seen the features that these two are compiled for.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        unsafe {
            match machine() {
                Some(true) => with_avx512(kernel, first, count, outputs, widths),
                Some(false) => with_avx2(kernel, first, count, outputs, widths),
                None => some(kernel, first, count, outputs, widths),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        some(kernel, first, count, outputs, widths);
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn with_avx512<K: Kernel<M>, const M: usize>(
    kernel: &K,
    first: usize,
    count: usize,
    outputs: [&mut [f32]; M],
    widths: [usize; M],
) {
    some(kernel, first, count, outputs, widths);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel<M>, const M: usize>(
    kernel: &K,
    first: usize,
    count: usize,
    outputs: [&mut [f32]; M],
    widths: [usize; M],
) {
    some(kernel, first, count, outputs, widths);
}

#[inline(always)]
fn some<K: Kernel<M>, const M: usize>(
    kernel: &K,
    first: usize,
    count: usize,
    mut outputs: [&mut [f32]; M],
    widths: [usize; M],
) {
    for row in first..first + count {
        kernel.row(row, first_of(&mut outputs, widths));
    }
}

/// `eˣ` for `x ≤ 0`, within two units of the last place; exactly 0 below -87.
///
/// `eˣ = 2ⁿ·eʳ` with `n` the nearest whole number to `x / ln 2`; a polynomial of degree six on `|r| ≤ ln 2 / 2`.
/// Source: Cephes' `expf`, <https://www.netlib.org/cephes/>.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, WHOLE);
    let n = shifted - WHOLE;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_375, x));
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let e = (r * r).mul_add(p, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < -87.0 { 0.0 } else { e * power }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let small = 1.0 / (1.0 + e);
    if x >= 0.0 { small } else { e * small }
}

/// `Σ f(aᵢ, bᵢ)`, in sixteen sums that are added up at the end.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], chunk[lane]);
        }
    }
    most.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

/// Makes `e^(x − largest)` of every `x`, and gives their sum and that of `e^(x − largest)·(x − largest)`.
#[inline(always)]
fn exponentiate(row: &mut [f32], largest: f32) -> [f32; 2] {
    let one = |x: &mut f32| {
        let shifted = *x - largest;
        let e = exp(shifted);
        *x = e;
        // A score of -∞ has no weight, and 0·∞ is no number.
        [e, if e == 0.0 { 0.0 } else { e * shifted }]
    };
    let (mut sums, mut means) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let [e, weighted] = one(&mut chunk[lane]);
            sums[lane] += e;
            means[lane] += weighted;
        }
    }
    let mut both = [sums.iter().sum::<f32>(), means.iter().sum::<f32>()];
    for x in rest {
        let [e, weighted] = one(x);
        both = [both[0] + e, both[1] + weighted];
    }
    both
}

/// Queries of a block, `t` of each head, and how many of its keys they see: the first `first`, the next one more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub queries: usize,
    pub first: usize,
}

impl Seen {
    #[inline(always)]
    fn of(self, row: usize, keys: usize) -> usize {
        (self.first + row % self.queries).min(keys)
    }
}

/// `softmax(scores + bias)` over the keys that are seen; 0 at all others.
///
/// # Shapes
/// - scores: `[B, G, S·t, keys]`; bias: `[B or 1, 1, 1, t or 1, keys]`
pub(crate) fn softmax(scores: Tensor<4>, bias: Option<Tensor<5>>, seen: Seen) -> Tensor<4> {
    struct Softmax<'a> {
        seen: Seen,
        bias: Option<&'a [f32]>,
        /// Rows of scores for each row of the batch, and whether the bias differs between those.
        batch: (usize, bool),
        /// Whether the bias differs between queries.
        by_query: bool,
    }
    impl Kernel<1> for Softmax<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [scores]: [&mut [f32]; 1]) {
            let keys = scores.len();
            let (scores, hidden) = scores.split_at_mut(self.seen.of(row, keys));
            hidden.fill(0.0);
            if let Some(bias) = self.bias {
                let queries = if self.by_query { self.seen.queries } else { 1 };
                let batch = if self.batch.1 { row / self.batch.0 } else { 0 };
                let bias = &bias[(batch * queries + row % queries) * keys..][..scores.len()];
                scores.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
            }
            let [sum, _] = exponentiate(scores, largest(scores));
            let factor = 1.0 / sum;
            scores.iter_mut().for_each(|weight| *weight *= factor);
        }
    }
    let [batch, groups, rows, keys] = scores.dims();
    let mut scores = own(scores);
    let shape = bias.as_ref().map_or([1; 5], |bias| bias.dims());
    let bias = bias.map(|bias| primitive(bias).to_contiguous());
    let kernel = Softmax {
        seen,
        bias: bias.as_ref().and_then(contents),
        batch: (groups * rows, shape[0] > 1),
        by_query: shape[3] > 1,
    };
    each(&kernel, batch * groups * rows, [scores.storage_mut()], [keys]);
    Tensor::from_primitive::<Flex>(scores)
}

/// `P ∘ (G − Σ P ∘ G)` of weights and their gradient, over the keys that are seen; 0 at all others.
pub(crate) fn softmax_backward(weights: Tensor<4>, gradient: Tensor<4>, seen: Seen) -> Tensor<4> {
    struct Backward<'a>(&'a [f32], Seen);
    impl Kernel<1> for Backward<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [gradient]: [&mut [f32]; 1]) {
            let keys = gradient.len();
            let (gradient, hidden) = gradient.split_at_mut(self.1.of(row, keys));
            hidden.fill(0.0);
            let weights = &self.0[row * keys..][..gradient.len()];
            let mean = sum(weights, gradient, |weight, gradient| weight * gradient);
            for (gradient, weight) in gradient.iter_mut().zip(weights) {
                *gradient = (*gradient - mean) * weight;
            }
        }
    }
    let [batch, groups, rows, keys] = weights.dims();
    let mut gradient = own(gradient);
    let weights = primitive(weights).to_contiguous();
    let kernel = Backward(ordered(&weights), seen);
    each(&kernel, batch * groups * rows, [gradient.storage_mut()], [keys]);
    Tensor::from_primitive::<Flex>(gradient)
}

/// `a·σ(a)·b`.
pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    struct SwiGlu<'a>(&'a [f32], &'a [f32]);
    impl Kernel<1> for SwiGlu<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [output]: [&mut [f32]; 1]) {
            let at = row * ROW..row * ROW + output.len();
            let (gate, up) = (&self.0[at.clone()], &self.1[at]);
            for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
                *output = gate * sigmoid(*gate) * up;
            }
        }
    }
    let shape: [usize; D] = gate.dims();
    let (gate, up) = (primitive(gate).to_contiguous(), primitive(up).to_contiguous());
    let (gate, up) = (ordered(&gate), ordered(&up));
    let mut output = vec![0.0; gate.len()];
    numbers(&SwiGlu(gate, up), [&mut output]);
    new(output, shape)
}

/// Gradients of `a` and `b` in [`swiglu`], in their own memory where nobody else holds it.
pub(crate) fn swiglu_backward<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    gradient: Tensor<D>,
) -> [Tensor<D>; 2] {
    struct Backward<'a>(&'a [f32]);
    impl Kernel<2> for Backward<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [gate, up]: [&mut [f32]; 2]) {
            let gradient = &self.0[row * ROW..][..gate.len()];
            for ((gate, up), gradient) in gate.iter_mut().zip(up).zip(gradient) {
                let sigmoid = sigmoid(*gate);
                let silu = *gate * sigmoid;
                let slope = sigmoid + silu - silu * sigmoid;
                (*gate, *up) = (gradient * *up * slope, gradient * silu);
            }
        }
    }
    let (mut gate, mut up) = (own(gate), own(up));
    let gradient = primitive(gradient).to_contiguous();
    numbers(&Backward(ordered(&gradient)), [gate.storage_mut(), up.storage_mut()]);
    [gate, up].map(Tensor::from_primitive::<Flex>)
}

/// `x / sqrt(mean(x²) + ε) · w`, `x` `[N, D]` and `w` `[1, D]`.
pub(crate) fn rms(x: Tensor<2>, weight: Tensor<2>, eps: f64) -> Tensor<2> {
    struct Rms<'a> {
        x: &'a [f32],
        weight: &'a [f32],
        eps: f32,
    }
    impl Kernel<1> for Rms<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [output]: [&mut [f32]; 1]) {
            let x = &self.x[row * output.len()..][..output.len()];
            let scale = scale(x, self.eps);
            for ((output, x), weight) in output.iter_mut().zip(x).zip(self.weight) {
                *output = x * scale * weight;
            }
        }
    }
    let [rows, width] = x.dims();
    let (x, weight) = (primitive(x).to_contiguous(), primitive(weight).to_contiguous());
    let kernel = Rms { x: ordered(&x), weight: ordered(&weight), eps: eps as f32 };
    let mut output = vec![0.0; rows * width];
    each(&kernel, rows, [&mut output], [width]);
    new(output, [rows, width])
}

/// The gradient of `x` in [`rms`].
pub(crate) fn rms_backward(
    x: Tensor<2>,
    weight: Tensor<2>,
    gradient: Tensor<2>,
    eps: f64,
) -> Tensor<2> {
    struct Backward<'a> {
        x: &'a [f32],
        weight: &'a [f32],
        eps: f32,
    }
    impl Kernel<1> for Backward<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [gradient]: [&mut [f32]; 1]) {
            let width = gradient.len();
            let x = &self.x[row * width..][..width];
            let scale = scale(x, self.eps);
            gradient.iter_mut().zip(self.weight).for_each(|(gradient, weight)| *gradient *= weight);
            let mean = sum(gradient, x, |gradient, x| gradient * x) / width as f32;
            let back = mean * scale * scale;
            for (gradient, x) in gradient.iter_mut().zip(x) {
                *gradient = (*gradient - x * back) * scale;
            }
        }
    }
    let [rows, width] = x.dims();
    let (x, weight) = (primitive(x).to_contiguous(), primitive(weight).to_contiguous());
    let mut gradient = own(gradient);
    let kernel = Backward { x: ordered(&x), weight: ordered(&weight), eps: eps as f32 };
    each(&kernel, rows, [gradient.storage_mut()], [width]);
    Tensor::from_primitive::<Flex>(gradient)
}

#[inline(always)]
fn scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum(x, x, |a, b| a * b) / x.len() as f32 + eps).sqrt()
}

/// `(a, b) → (a·cos − b·sin, b·cos + a·sin)` of the halves of every row's first `2 · pairs` numbers.
///
/// # Shapes
/// - x: `[B, H, T, D]`; cos, sin: `[B, 1, T, pairs]`
pub(crate) fn rotate(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    struct Rotate<'a> {
        cos: &'a [f32],
        sin: &'a [f32],
        heads: usize,
        time: usize,
        pairs: usize,
    }
    impl Kernel<1> for Rotate<'_> {
        #[inline(always)]
        fn row(&self, row: usize, [x]: [&mut [f32]; 1]) {
            let &Self { heads, time, pairs, .. } = self;
            let at = (row / (heads * time) * time + row % time) * pairs;
            let (cos, sin) = (&self.cos[at..][..pairs], &self.sin[at..][..pairs]);
            let (a, b) = x.split_at_mut(pairs);
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
    let [batch, heads, time, width] = x.dims();
    let pairs = cos.dims()[3];
    let mut x = own(x);
    let (cos, sin) = (primitive(cos).to_contiguous(), primitive(sin).to_contiguous());
    let kernel = Rotate { cos: ordered(&cos), sin: ordered(&sin), heads, time, pairs };
    each(&kernel, batch * heads * time, [x.storage_mut()], [width]);
    Tensor::from_primitive::<Flex>(x)
}

/// Of every row `l` of logits: `e = exp(l − max)`, and `[N, 1]` each of `max`, `Σ e` and `Σ e·(l − max)`.
pub(crate) fn exponentials(logits: Tensor<2>) -> (Tensor<2>, [Tensor<2>; 3]) {
    struct Exponentials;
    impl Kernel<4> for Exponentials {
        #[inline(always)]
        fn row(&self, _: usize, [logits, most, sum, mean]: [&mut [f32]; 4]) {
            most[0] = largest(logits);
            [sum[0], mean[0]] = exponentiate(logits, most[0]);
        }
    }
    let [rows, width] = logits.dims();
    let mut logits = own(logits);
    let [mut most, mut sum, mut mean] = [(); 3].map(|()| vec![0.0; rows]);
    let outputs = [logits.storage_mut(), &mut most, &mut sum, &mut mean];
    each(&Exponentials, rows, outputs, [width, 1, 1, 1]);
    (Tensor::from_primitive::<Flex>(logits), [most, sum, mean].map(|column| new(column, [rows, 1])))
}

/// Does `kernel` on all numbers of outputs of one length, [`ROW`] at a time and fewer at the end.
fn numbers<K: Kernel<M>, const M: usize>(kernel: &K, mut outputs: [&mut [f32]; M]) {
    struct Last<'a, K>(&'a K, usize);
    impl<K: Kernel<M>, const M: usize> Kernel<M> for Last<'_, K> {
        #[inline(always)]
        fn row(&self, _: usize, outputs: [&mut [f32]; M]) {
            self.0.row(self.1, outputs);
        }
    }
    let (rows, rest) = (outputs[0].len() / ROW, outputs[0].len() % ROW);
    let whole = first_of(&mut outputs, [rows * ROW; M]);
    each(kernel, rows, whole, [ROW; M]);
    if rest > 0 {
        each(&Last(kernel, rows), 1, outputs, [rest; M]);
    }
}

/// Takes the first so many numbers off each.
#[inline(always)]
fn first_of<'a, const M: usize>(
    outputs: &mut [&'a mut [f32]; M],
    lengths: [usize; M],
) -> [&'a mut [f32]; M] {
    let mut first = [(); M].map(|()| &mut [] as &mut [f32]);
    for ((first, output), length) in first.iter_mut().zip(outputs).zip(lengths) {
        (*first, *output) = std::mem::take(output).split_at_mut(length);
    }
    first
}

/// The tensor with its numbers in order, in memory of its own.
fn own<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = primitive(tensor).to_contiguous();
    let length = tensor.layout().num_elements();
    if tensor.is_unique() && tensor.storage::<f32>().len() == length {
        return tensor;
    }
    let shape = tensor.layout().shape().clone();
    FlexTensor::from_data(TensorData::new(ordered(&tensor).to_vec(), shape))
}

fn ordered(tensor: &FlexTensor) -> &[f32] {
    contents(tensor).expect("it was put in order")
}

fn new<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(numbers, shape)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exponentials_are_within_two_units_of_the_last_place() {
        assert_eq!((exp(0.0), exp(-0.0), exp(-87.5), exp(-1e30)), (1.0, 1.0, 0.0, 0.0));
        assert_eq!((exp(f32::NEG_INFINITY), exp(f32::MIN)), (0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
        let mut worst = 0.0f64;
        for i in 0..2_000_000 {
            let x = -87.0 * (i as f32 / 2e6);
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.4e-7, "{worst}");
    }

    #[test]
    fn the_sigmoid_has_its_limits() {
        assert_eq!((sigmoid(0.0), sigmoid(100.0), sigmoid(-100.0)), (0.5, 1.0, 0.0));
        for i in -400..400 {
            let x = i as f32 / 20.0;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() < 3e-7 * exact);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_softmax_s_parts_are_those_of_f64(rows in 1usize..40, width in 1usize..700, spread in 0.1f32..60.0) {
            prop_assume!(machine().is_some());
            let logits: Vec<f32> = (0..rows * width).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * spread).collect();
            let (exp, [max, sum, mean]) = exponentials(new(logits.clone(), [rows, width]));
            let host = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
            let (exp, max, sum, mean) = (host(exp), host(max), host(sum), host(mean));
            for (row, logits) in logits.chunks(width).enumerate() {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!(max[row], largest);
                let shifted: Vec<f64> = logits.iter().map(|l| f64::from(*l) - f64::from(largest)).collect();
                let exact: Vec<f64> = shifted.iter().map(|l| l.exp()).collect();
                let total: f64 = exact.iter().sum();
                let weighted: f64 = exact.iter().zip(&shifted).map(|(e, l)| e * l).sum();
                prop_assert!((f64::from(sum[row]) - total).abs() < 1e-5 * total);
                prop_assert!((f64::from(mean[row]) - weighted).abs() < 1e-5 * weighted.abs().max(1.0));
                for (found, exact) in exp[row * width..][..width].iter().zip(&exact) {
                    prop_assert!((f64::from(*found) - exact).abs() < 1e-5 * exact + 1e-37);
                }
            }
        }
    }

    #[test]
    fn memory_that_others_hold_is_left_as_it_is() {
        let values: Vec<f32> = (0..4096).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let tensor = || new(values.clone(), [64, 64]);
        let (gate, up, gradient) = (tensor(), tensor(), tensor());
        let held = gate.clone();
        let [of_gate, of_up] = swiglu_backward(gate, up.clone(), gradient);
        for tensor in [held, up] {
            assert_eq!(tensor.into_data(), TensorData::new(values.clone(), [64, 64]));
        }
        // A part of a longer tensor is not all of its memory.
        let long = tensor();
        let part = |tensor: &Tensor<2>| tensor.clone().narrow(0, 16, 32);
        let [part_gate, part_up] = swiglu_backward(part(&long), part(&long), part(&long));
        assert_eq!(part_gate.into_data(), part(&of_gate).into_data());
        assert_eq!(part_up.into_data(), part(&of_up).into_data());
        assert_eq!(long.device(), Device::flex());
    }
}
