//! Python's `random.Random(seed).sample`, so that shots are those that lm-evaluation-harness draws.
//!
//! MT19937 with `init_by_array` (Matsumoto and Nishimura, <https://doi.org/10.1145/272991.272995>); `sample` as in Python 3.11
//! and later.

use std::collections::HashSet;

const N: usize = 624;
const M: usize = 397;

/// Python's `random.Random`.
#[derive(Clone)]
pub(super) struct PythonRandom {
    state: [u32; N],
    at: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key: &[u32] = if high == 0 { &[low] } else { &[low, high] };
        let mut state = [0u32; N];
        state[0] = 19_650_218;
        for i in 1..N {
            let last = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = last.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mix = |state: &[u32; N], i: usize, factor: u32| {
            (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(factor) ^ state[i]
        };
        let mut i = 1;
        let next = |state: &mut [u32; N], i: usize| match i + 1 {
            N => {
                state[0] = state[N - 1];
                1
            }
            i => i,
        };
        for k in 0..N.max(key.len()) {
            let j = k % key.len();
            let mixed = mix(&state, i, 1_664_525);
            state[i] = mixed.wrapping_add(key[j]).wrapping_add(j as u32);
            i = next(&mut state, i);
        }
        for _ in 1..N {
            state[i] = mix(&state, i, 1_566_083_941).wrapping_sub(i as u32);
            i = next(&mut state, i);
        }
        state[0] = 0x8000_0000;
        Self { state, at: N }
    }

    fn next(&mut self) -> u32 {
        if self.at == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in `0..n` for `1 ≤ n < 2³²`.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.next() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `sample(range(n), k)`: `k` different numbers below `n`; `None` where there are not as many.
    pub fn sample(&mut self, n: usize, k: usize) -> Option<Vec<usize>> {
        if k > n || n >= 1 << 32 {
            return None;
        }
        let small = match k {
            0..=5 => 21,
            // 4 to the power ⌈log₄ 3k⌉: Python's guess at the size of a set of k.
            _ => 21 + 4usize.pow(((k * 3) as f64).log(4.0).ceil() as u32),
        };
        if n <= small {
            let mut pool: Vec<usize> = (0..n).collect();
            let take = |i: usize| {
                let j = self.below(n - i);
                let taken = pool[j];
                pool[j] = pool[n - i - 1];
                taken
            };
            return Some((0..k).map(take).collect());
        }
        let mut seen = HashSet::new();
        let take = |_| {
            loop {
                let j = self.below(n);
                if seen.insert(j) {
                    return j;
                }
            }
        };
        Some((0..k).map(take).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by Python 3.11: `r = random.Random(seed); [r.sample(range(n), k), r.sample(range(n), k)]`.
    #[test]
    fn samples_are_those_of_python() {
        for (seed, n, k, first, second) in PRINTED {
            let mut random = PythonRandom::new(*seed);
            assert_eq!(random.sample(*n, *k).unwrap(), *first, "{seed} {n} {k}");
            assert_eq!(random.sample(*n, *k).unwrap(), *second, "{seed} {n} {k}");
        }
        assert_eq!(PythonRandom::new(0).sample(3, 4), None);
        assert_eq!(PythonRandom::new(0).sample(0, 0), Some(vec![]));
    }

    type Printed = (u64, usize, usize, &'static [usize], &'static [usize]);
    const PRINTED: &[Printed] = &[
        (1234, 1119, 5, &[902, 239, 15, 185, 71], &[171, 201, 726, 484, 35]),
        (1234, 20, 6, &[14, 3, 0, 2, 1, 10], &[2, 3, 11, 7, 0, 15]),
        (1234, 5, 5, &[3, 0, 4, 2, 1], &[0, 4, 1, 3, 2]),
        (
            0,
            7473,
            25,
            &[
                6917, 3155, 6209, 7292, 3445, 331, 2121, 4188, 3980, 3317, 6420, 6798, 2484, 3904,
                2933, 4779, 7304, 7439, 1789, 4134, 1140, 2308, 1144, 6191, 776,
            ],
            &[
                5065, 6548, 2052, 7452, 4362, 5776, 6637, 4930, 7390, 1203, 2540, 809, 5978, 604,
                7363, 6967, 5603, 2704, 3867, 4585, 824, 2898, 3556, 2590, 5004,
            ],
        ),
        (
            1099511627783,
            300,
            11,
            &[292, 243, 128, 64, 264, 192, 266, 185, 201, 226, 230],
            &[190, 115, 227, 92, 70, 271, 292, 83, 16, 129, 38],
        ),
        (1234, 85, 6, &[56, 14, 0, 11, 74, 4], &[10, 12, 45, 30, 2, 3]),
        (1234, 86, 6, &[56, 14, 0, 11, 74, 4], &[85, 10, 12, 45, 30, 2]),
        (42, 1, 1, &[0], &[0]),
    ];
}
