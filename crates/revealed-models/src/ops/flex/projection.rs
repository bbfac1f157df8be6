//! `x·Wᵀ` without a copy of `W`.
//!
//! A general matrix product first copies `W` into blocks. For a few rows, as in decoding, the copy costs more than the product,
//! for hundreds still a seventh of it. Here `x` is transposed into panels, and every row of `W` is read in place. A block of rows of a bf16 `W` is converted to f32 once for all rows of `x`, so the result has
//! the bits that an f32 `W` of the same numbers gives.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::{contents, contents_bf16, machine, plain, plain_bf16, primitive, widen};

/// Up to so many rows of `x` this kernel is faster for matrices of any size.
const FEW: usize = 128;

/// With more than [`FEW`] rows it is faster if the matrix has at least so many rows and columns.
const LARGE: usize = 128;

/// Bytes of `x` that fit the L2 cache during a pass over `W`.
const GROUP: usize = 1 << 19;

/// f32 numbers of an AVX2 register; AVX-512 processes two such vectors at once.
const LANES: usize = 8;

/// f32 numbers of a cache line.
const LINE: usize = 16;

/// Blocks of rows of `W` in one task, at most.
const BLOCKS: usize = 8;

/// Rows of `W` that fit the L1 cache during a pass over `x`.
const BLOCK: usize = 12;

type Vector = [f32; LANES];

/// `x·Wᵀ` for `x` `[M, K]` and `W` `[N, K]` in f32 or bf16: `[M, N]`; `None` if the general product should be used.
pub(crate) fn project(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    let ([rows, width], [out, inner]) = (x.dims(), weight.dims());
    if rows == 0 || width != inner || width == 0 || out == 0 {
        return None;
    }
    if rows > FEW && width.min(out) < LARGE {
        return None;
    }
    let wide = machine()?;
    if !plain(x) || !(plain(weight) || plain_bf16(weight)) {
        return None;
    }
    let (x, weight) = (primitive(x.clone()), primitive(weight.clone()));
    let x = contents(&x)?;
    let y = match weight.dtype() {
        DType::BF16 => in_groups(x, contents_bf16(&weight)?, [rows, out, width], wide),
        _ => in_groups(x, contents(&weight)?, [rows, out, width], wide),
    };
    let y = burn::tensor::TensorData::new(y, [rows, out]);
    Some(Tensor::from_primitive::<Flex>(FlexTensor::from_data(y)))
}

/// A number that a weight is stored as.
trait Stored: Copy + Sync {
    /// Numbers of the buffer for a block of `count`.
    fn buffer(count: usize) -> usize;

    /// The block as f32: itself, or converted into the buffer.
    fn f32s<'a>(block: &'a [Self], buffer: &'a mut [f32]) -> &'a [f32];
}

impl Stored for f32 {
    fn buffer(_: usize) -> usize {
        0
    }

    #[inline(always)]
    fn f32s<'a>(block: &'a [Self], _: &'a mut [f32]) -> &'a [f32] {
        block
    }
}

impl Stored for bf16 {
    fn buffer(count: usize) -> usize {
        count
    }

    #[inline(always)]
    fn f32s<'a>(block: &'a [Self], buffer: &'a mut [f32]) -> &'a [f32] {
        let buffer = &mut buffer[..block.len()];
        widen(block, buffer);
        buffer
    }
}

/// `x·Wᵀ` in groups of rows of `x`.
fn in_groups<S: Stored>(
    x: &[f32],
    w: &[S],
    [rows, out, width]: [usize; 3],
    wide: bool,
) -> Vec<f32> {
    let mut y = vec![0.0; rows * out];
    let group = (GROUP / (4 * width)).max(FEW / 2).next_multiple_of(4 * LANES);
    for (x, y) in x.chunks(group * width).zip(y.chunks_mut(group * out)) {
        multiply(x, w, [x.len() / width, out, width], y, wide);
    }
    y
}

/// Some rows of `x`, `[K][rows / LANES][LANES]`, padded with zeros.
enum Panel {
    One(Vec<[Vector; 1]>),
    Two(Vec<[Vector; 2]>),
    Three(Vec<[Vector; 3]>),
    Four(Vec<[Vector; 4]>),
}

impl Panel {
    fn new(x: &[f32], width: usize, first: usize, vectors: usize) -> Self {
        match vectors {
            1 => Self::One(pack(x, width, first)),
            2 => Self::Two(pack(x, width, first)),
            3 => Self::Three(pack(x, width, first)),
            _ => Self::Four(pack(x, width, first)),
        }
    }
}

fn pack<const M: usize>(x: &[f32], width: usize, first: usize) -> Vec<[Vector; M]> {
    let mut panel = vec![[[0.0; LANES]; M]; width];
    for (i, row) in x.chunks_exact(width).skip(first).take(M * LANES).enumerate() {
        for (column, value) in panel.iter_mut().zip(row) {
            column[i / LANES][i % LANES] = *value;
        }
    }
    panel
}

/// `y[M, N] = x[M, K]·w[N, K]ᵀ`, parts of `w`'s rows on rayon.
fn multiply<S: Stored>(
    x: &[f32],
    w: &[S],
    [rows, out, width]: [usize; 3],
    y: &mut [f32],
    wide: bool,
) {
    let vectors = rows.div_ceil(LANES);
    let count = vectors.div_ceil(if wide { 4 } else { 2 });
    let panel = |index: usize| {
        let [first, end] = [index, index + 1].map(|index| vectors * index / count);
        (first * LANES, Panel::new(x, width, first * LANES, end - first))
    };
    let panels: Vec<_> = (0..count).into_par_iter().map(panel).collect();
    // About four tasks per thread balance the load.
    let blocks = out.div_ceil(BLOCK).div_ceil(4 * rayon::current_num_threads());
    let part_rows = BLOCK * blocks.clamp(1, BLOCKS);
    // Each part's columns of every row of `y`.
    let mut parts: Vec<Vec<&mut [f32]>> =
        (0..out.div_ceil(part_rows)).map(|_| Vec::with_capacity(rows)).collect();
    for row in y.chunks_exact_mut(out) {
        for (part, columns) in parts.iter_mut().zip(row.chunks_mut(part_rows)) {
            part.push(columns);
        }
    }
    parts.par_iter_mut().zip(w.par_chunks(part_rows * width)).for_each(|(y, w)| {
        // Sound: `machine` has seen the features that these two are compiled for.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        unsafe {
            if wide { with_avx512(&panels, w, width, y) } else { with_avx2(&panels, w, width, y) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        part::<S, false>(&panels, w, width, y);
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn with_avx512<S: Stored>(panels: &[(usize, Panel)], w: &[S], width: usize, y: &mut [&mut [f32]]) {
    part::<S, true>(panels, w, width, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<S: Stored>(panels: &[(usize, Panel)], w: &[S], width: usize, y: &mut [&mut [f32]]) {
    part::<S, false>(panels, w, width, y);
}

/// All of `x` over some rows of `w`. As many sums at once as there are registers: 32, or 16 with AVX2.
#[inline(always)]
fn part<S: Stored, const WIDE: bool>(
    panels: &[(usize, Panel)],
    w: &[S],
    width: usize,
    y: &mut [&mut [f32]],
) {
    let mut buffer = vec![0.0; S::buffer(BLOCK * width)];
    for (block, w) in w.chunks(BLOCK * width).enumerate() {
        let w = S::f32s(w, &mut buffer);
        for (first, panel) in panels {
            let to = (*first, block * BLOCK);
            match (panel, WIDE) {
                (Panel::One(x), _) => rows_of::<1, 12>(x, w, to, y),
                (Panel::Two(x), true) => rows_of::<2, 12>(x, w, to, y),
                (Panel::Two(x), false) => rows_of::<2, 6>(x, w, to, y),
                (Panel::Three(x), _) => rows_of::<3, 6>(x, w, to, y),
                (Panel::Four(x), _) => rows_of::<4, 6>(x, w, to, y),
            }
        }
    }
}

#[inline(always)]
fn rows_of<const M: usize, const N: usize>(
    x: &[[Vector; M]],
    w: &[f32],
    (row, column): (usize, usize),
    y: &mut [&mut [f32]],
) {
    let width = x.len();
    let mut column = column;
    let mut tiles = w.chunks_exact(N * width);
    for tile in &mut tiles {
        let sums = sums(x, std::array::from_fn::<_, N, _>(|n| &tile[n * width..][..width]));
        write(&sums, (row, column), y);
        column += N;
    }
    for tile in tiles.remainder().chunks_exact(width) {
        write(&sums(x, [tile]), (row, column), y);
        column += 1;
    }
}

/// Prefetches the cache line at an address, which need not be valid.
#[inline(always)]
fn fetch(at: *const f32) {
    // Sound: a prefetch of any address has no effect on memory.
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Prefetches the next rows of `w`: rows are too short for the hardware prefetcher.
#[inline(always)]
fn sums<const M: usize, const N: usize>(x: &[[Vector; M]], w: [&[f32]; N]) -> [[Vector; M]; N] {
    let w = w.map(|row| &row[..x.len()]);
    let mut sums = [[[0.0f32; LANES]; M]; N];
    for (k, x) in x.iter().enumerate() {
        if k % LINE == 0 {
            w.iter().for_each(|row| fetch(row.as_ptr().wrapping_add(N * row.len() + k)));
        }
        for n in 0..N {
            // Sound: every row of `w` was cut to the length of `x`. A checked index would take the sums out of their registers.
            #[allow(unsafe_code)]
            let weight = unsafe { *w[n].get_unchecked(k) };
            for m in 0..M {
                for lane in 0..LANES {
                    sums[n][m][lane] = x[m][lane].mul_add(weight, sums[n][m][lane]);
                }
            }
        }
    }
    sums
}

#[inline(always)]
fn write<const M: usize, const N: usize>(
    sums: &[[Vector; M]; N],
    (row, column): (usize, usize),
    y: &mut [&mut [f32]],
) {
    let rows = y.iter_mut().skip(row).take(M * LANES);
    for (i, y) in rows.enumerate() {
        for (n, value) in y[column..][..N].iter_mut().enumerate() {
            *value = sums[n][i / LANES][i % LANES];
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 29) as f32 / 29.0 - 0.5).collect()
    }

    fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// In f64.
    fn expected(x: &[f32], w: &[f32], width: usize) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        x.chunks(width).flat_map(|a| w.chunks(width).map(move |b| dot(a, b))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn it_is_the_product(rows in 1usize..131, out in 1usize..230, width in 1usize..70, narrow: bool) {
            let (x, w) = (numbers(rows * width, 1), numbers(out * width, 2));
            let expected = expected(&x, &w, width);
            let found = match machine() {
                Some(true) if narrow => {
                    let mut y = vec![0.0; rows * out];
                    multiply(&x, &w, [rows, out, width], &mut y, false);
                    y
                }
                _ => {
                    let (x, w) = (tensor(x, [rows, width]), tensor(w, [out, width]));
                    let Some(y) = project(&x, &w) else {
                        prop_assert!(rows > FEW || machine().is_none());
                        return Ok(());
                    };
                    prop_assert_eq!(y.dims(), [rows, out]);
                    y.into_data().iter::<f32>().collect()
                }
            };
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_bf16_weight_gives_the_bits_of_the_same_numbers_in_f32() {
        for [rows, out, width] in [[1, 12, 16], [8, 5, 33], [70, 97, 40], [131, 140, 150]] {
            let stored: Vec<bf16> =
                numbers(out * width, 2).into_iter().map(bf16::from_f32).collect();
            let w = tensor(stored.iter().map(|value| value.to_f32()).collect(), [out, width]);
            let stored = TensorData::new(stored, [out, width]);
            let stored = Tensor::from_data(stored, (&Device::flex(), DType::BF16));
            let x = tensor(numbers(rows * width, 1), [rows, width]);
            assert_eq!(super::super::widened(&stored).unwrap().into_data(), w.to_data());
            let [found, expected] = [&stored, &w].map(|weight| project(&x, weight));
            assert_eq!(found.map(Tensor::into_data), expected.map(Tensor::into_data));
        }
    }

    #[test]
    fn views_that_lie_otherwise_and_tracked_tensors_are_left_to_the_general_product() {
        let (x, w) = (tensor(numbers(40, 1), [4, 10]), tensor(numbers(60, 2), [6, 10]));
        assert!(machine().is_none() || project(&x, &w).is_some());
        assert!(project(&x, &tensor(numbers(60, 2), [10, 6]).transpose()).is_none());
        assert!(project(&x.clone().autodiff().require_grad(), &w).is_none());
        assert!(project(&x, &tensor(numbers(55, 2), [5, 11])).is_none());
        // Rows of a longer tensor lie as their own would.
        let part = tensor(numbers(80, 1), [8, 10]).narrow(0, 2, 4);
        let whole = tensor(numbers(80, 1), [8, 10]).into_data().iter::<f32>().collect::<Vec<_>>();
        if let Some(found) = project(&part, &w) {
            let expected = project(&tensor(whole[20..60].to_vec(), [4, 10]), &w).unwrap();
            assert_eq!(found.into_data(), expected.into_data());
        }
    }
}
