//! Probes that read one shortcut feature: baselines for a reward's accuracy.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::logistic::{self, SparseRow};

/// A reward that reads only the length, `logit(n) = weight · (n − mean)`: the bias expert of a length-controlled fit, and the
/// baseline of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthProbe {
    /// Log-odds per token that the longer completion is the demonstration; negative where demonstrations are shorter.
    pub weight: f64,
    /// The length at which the logit is 0: the mean of all lengths that it was fitted to. It cancels in differences.
    pub mean: f64,
}

impl LengthProbe {
    /// Fits `p(demo ≻ sample) = σ(logit(n_demo) − logit(n_sample))` to pairs `(n_demo, n_sample)` of lengths in tokens.
    ///
    /// `min_v ½v² − Σ log σ(v · (n_demo − n_sample) / s)`, with `s` the root mean square of the differences and
    /// `weight = v / s`: the effect of the ridge then does not depend on the unit of length, and the weight is finite if
    /// demonstrations are always longer. Without pairs, or without a difference in length, the weight is 0.
    pub fn fit(pairs: &[(usize, usize)]) -> Self {
        let differences = || pairs.iter().map(|(d, s)| *d as f64 - *s as f64);
        let count = pairs.len().max(1) as f64;
        let mean = pairs.iter().map(|(d, s)| *d as f64 + *s as f64).sum::<f64>() / (2.0 * count);
        let spread = (differences().map(|n| n * n).sum::<f64>() / count).sqrt();
        if spread == 0.0 {
            return Self { weight: 0.0, mean };
        }
        let rows: Vec<SparseRow> = differences().map(|n| vec![(0, n / spread)]).collect();
        Self { weight: logistic::fit(&rows, 1)[0] / spread, mean }
    }

    /// Logit of a completion of `length` tokens; the logit of a pair is the difference of two.
    pub fn logit(&self, length: usize) -> f64 {
        self.weight * (length as f64 - self.mean)
    }
}

/// A reward that reads only token counts, `logit(y) = Σ_token weight · log(1 + count)`.
#[derive(Debug, Clone)]
pub struct BagProbe {
    /// Weight per token id of the training pairs; other tokens have weight 0.
    weights: HashMap<u32, f64>,
}

impl BagProbe {
    /// Fits `p(demo ≻ sample) = σ(logit(demo) − logit(sample))` to pairs of completions' tokens, the better one first, with a
    /// ridge of 1.
    pub fn fit(pairs: &[(&[u32], &[u32])]) -> Self {
        let mut columns: HashMap<u32, usize> = HashMap::new();
        let mut rows: Vec<SparseRow> = Vec::with_capacity(pairs.len());
        for (demonstration, sample) in pairs {
            let mut difference = bag(demonstration);
            for (id, value) in bag(sample) {
                *difference.entry(id).or_default() -= value;
            }
            difference.retain(|_, value| *value != 0.0);
            let row = difference.into_iter().map(|(id, value)| {
                let next = columns.len();
                (*columns.entry(id).or_insert(next), value)
            });
            rows.push(row.collect());
        }
        let weights = logistic::fit(&rows, columns.len());
        Self { weights: columns.into_iter().map(|(id, column)| (id, weights[column])).collect() }
    }

    /// Logit of a completion; bit-identical for equal bags of tokens.
    pub fn logit(&self, tokens: &[u32]) -> f64 {
        bag(tokens).iter().filter_map(|(id, value)| Some(self.weights.get(id)? * value)).sum()
    }
}

/// `log(1 + count)` of each token, in the order of ids, so that sums are deterministic.
fn bag(tokens: &[u32]) -> BTreeMap<u32, f64> {
    let mut bag = BTreeMap::new();
    tokens.iter().for_each(|id| *bag.entry(*id).or_insert(0.0) += 1.0);
    bag.values_mut().for_each(|count: &mut f64| *count = count.ln_1p());
    bag
}
