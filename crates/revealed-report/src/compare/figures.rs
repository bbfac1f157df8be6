//! A figure of two records: its difference, with an interval where it is a mean of items, or of such means.

use std::collections::BTreeMap;

use serde::Serialize;

use revealed_eval::Estimate;
use revealed_eval::stats::{Z_95, mean_ci95, mean_sd};
use revealed_eval::{EvalRecord, Figure, Item};

/// How far a recorded figure may be from the mean of its items to count as that mean.
const SAME: f64 = 1e-9;
/// Figures within figures that are followed; a section of a score is two.
const DEEPEST: usize = 4;

/// A figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureDifference {
    /// The metric.
    pub name: String,
    /// The part of the data.
    pub subset: Option<String>,
    /// On the left: as recorded, or over the items that both have where these are fewer.
    pub a: f64,
    /// On the right.
    pub b: f64,
    /// `b − a`.
    pub difference: f64,
    /// Its 95 % interval; none where the figure is neither a mean of items nor of such means.
    pub interval: Option<[f64; 2]>,
    /// Items that it is taken over, on the left and on the right.
    pub n: [usize; 2],
    /// Items that rose and that fell; none without pairs.
    pub changed: Option<[usize; 2]>,
    /// Exact two-sided McNemar test, where every item is 0 or 1 and paired.
    pub p: Option<f64>,
}

/// Items of a record by id.
pub(super) type Items<'a> = BTreeMap<&'a str, &'a Item>;

/// What a figure is the mean of: the value of its name of every item, or of those of its part of the data, `file` holding `file/part`; a
/// part may also be a side that every item has a value of its own for, as `policy/reward`.
fn values<'a>(figure: &Figure, items: &Items<'a>) -> BTreeMap<&'a str, f64> {
    let of = |item: &Item| match (&figure.subset, &item.subset) {
        (None, _) => true,
        (Some(part), Some(own)) => own
            .strip_prefix(part.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        (Some(_), None) => false,
    };
    let side = figure.subset.as_ref().map(|subset| format!("{subset}/{}", figure.name));
    let value = |item: &Item| match &side {
        Some(side) if item.values.contains_key(side) => item.values.get(side).copied(),
        _ => item.values.get(&figure.name).copied().filter(|_| of(item)),
    };
    items.iter().filter_map(|(id, item)| Some((*id, value(item)?))).collect()
}

/// Two records, their items by id, and whether these are the same.
pub(super) struct Sides<'a> {
    pub records: [&'a EvalRecord; 2],
    pub items: [Items<'a>; 2],
    pub paired: bool,
}

impl Sides<'_> {
    /// The difference of the left record's figure, where the right one has it too.
    pub fn difference(&self, a: &Figure) -> Option<FigureDifference> {
        self.within(a, 0)
    }

    fn within(&self, a: &Figure, depth: usize) -> Option<FigureDifference> {
        let b = self.records[1].figure(&a.name, a.subset.as_deref())?;
        let plain = FigureDifference {
            name: a.name.clone(),
            subset: a.subset.clone(),
            a: a.value,
            b: b.value,
            difference: b.value - a.value,
            interval: None,
            n: [a.n, b.n],
            changed: None,
            p: None,
        };
        if !a.parts.is_empty() || !b.parts.is_empty() {
            return Some(self.of_parts([a, b], depth).unwrap_or(plain));
        }
        let [of_a, of_b] = [values(a, &self.items[0]), values(b, &self.items[1])];
        if !(is_mean(a, &of_a) && is_mean(b, &of_b)) {
            return Some(plain);
        }
        if !self.paired {
            return Some(FigureDifference { interval: unpaired_interval(&of_a, &of_b), ..plain });
        }
        let pairs: Vec<[f64; 2]> =
            of_a.iter().filter_map(|(id, a)| Some([*a, *of_b.get(id)?])).collect();
        Some(of_pairs(&pairs, plain))
    }

    /// Of a weighted mean of figures, where both records weigh the same ones and each of them has an interval.
    fn of_parts(&self, [a, b]: [&Figure; 2], depth: usize) -> Option<FigureDifference> {
        if a.parts != b.parts || depth == DEEPEST {
            return None;
        }
        let mut all = Vec::new();
        for part in &a.parts {
            let figure = self.records[0].figure(&part.name, part.subset.as_deref())?;
            let found = self.within(figure, depth + 1)?;
            let [low, high] = found.interval?;
            all.push((part.weight, Estimate { value: found.difference, low, high }, found));
        }
        let differences: Vec<(f64, Estimate)> = all.iter().map(|(w, d, _)| (*w, *d)).collect();
        let total = Estimate::weighted(&differences);
        let weights: f64 = all.iter().map(|(weight, ..)| weight).sum();
        let mean = |of: fn(&FigureDifference) -> f64| -> f64 {
            all.iter().map(|(weight, _, found)| weight / weights * of(found)).sum()
        };
        let sum = |side: usize| all.iter().map(|(.., found)| found.n[side]).sum();
        let changed = |side: usize| -> Option<usize> {
            all.iter().map(|(.., found)| Some(found.changed?[side])).sum()
        };
        Some(FigureDifference {
            name: a.name.clone(),
            subset: a.subset.clone(),
            a: mean(|found| found.a),
            b: mean(|found| found.b),
            difference: total.value,
            interval: total.interval(),
            n: [sum(0), sum(1)],
            changed: changed(0).zip(changed(1)).map(|(rose, fell)| [rose, fell]),
            p: None,
        })
    }
}

fn is_mean(figure: &Figure, values: &BTreeMap<&str, f64>) -> bool {
    let values: Vec<f64> = values.values().copied().collect();
    let (mean, _) = mean_sd(&values);
    (mean - figure.value).abs() <= SAME * figure.value.abs().max(1.0)
}

fn of_pairs(pairs: &[[f64; 2]], plain: FigureDifference) -> FigureDifference {
    let differences: Vec<f64> = pairs.iter().map(|[a, b]| b - a).collect();
    if differences.is_empty() {
        return plain;
    }
    let side = |at: usize| mean_sd(&pairs.iter().map(|pair| pair[at]).collect::<Vec<_>>()).0;
    let (low, high) = mean_ci95(&differences);
    let rose = differences.iter().filter(|d| **d > 0.0).count();
    let fell = differences.iter().filter(|d| **d < 0.0).count();
    let binary = pairs.iter().flatten().all(|value| *value == 0.0 || *value == 1.0);
    FigureDifference {
        a: side(0),
        b: side(1),
        difference: mean_sd(&differences).0,
        interval: low.is_finite().then_some([low, high]),
        n: [pairs.len(); 2],
        changed: Some([rose, fell]),
        p: binary.then(|| mcnemar(rose, fell)),
        ..plain
    }
}

fn unpaired_interval(a: &BTreeMap<&str, f64>, b: &BTreeMap<&str, f64>) -> Option<[f64; 2]> {
    let stats = |values: &BTreeMap<&str, f64>| {
        let all: Vec<f64> = values.values().copied().collect();
        let (mean, sd) = mean_sd(&all);
        (mean, sd * sd / all.len() as f64)
    };
    let ((mean_a, var_a), (mean_b, var_b)) = (stats(a), stats(b));
    let half = Z_95 * (var_a + var_b).sqrt();
    half.is_finite().then_some([mean_b - mean_a - half, mean_b - mean_a + half])
}

/// Exact two-sided p of `rose` and `fell` under a fair coin: `min(1, 2 P(X ≤ min))`, X binomial of ½. Source: McNemar,
/// Psychometrika 12 (1947), 153–157, in its exact form.
fn mcnemar(rose: usize, fell: usize) -> f64 {
    let n = rose + fell;
    // log C(n, k) − n log 2, one k after the other; a product would underflow from n = 1,075 on.
    let (mut log, mut sum) = (-(n as f64) * std::f64::consts::LN_2, 0.0);
    for k in 0..=rose.min(fell) {
        sum += f64::exp(log);
        log += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemars_p_is_exact_and_does_not_underflow() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert!((mcnemar(10, 2) - 2.0 * 79.0 / 4096.0).abs() < 1e-12);
        let large = mcnemar(5_000, 5_300);
        assert!(large > 0.002 && large < 0.0045, "{large}");
    }
}
