//! Two records of one evaluation: item by item where both are of the same data.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thiserror::Error;

use super::Difference;
use crate::record::{EvalRecord, Figure, Item, Source};
use crate::stats::{Z_95, mean_ci95, mean_sd};

/// How far a recorded figure may be from the mean of its items to count as that mean.
const SAME: f64 = 1e-9;

/// Why two records are not compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// They are of different things.
    #[error("these are records of `{a}` and of `{b}`; compare two of one evaluation")]
    Evaluations {
        /// On the left.
        a: String,
        /// On the right.
        b: String,
    },
    /// An item's name is not its own.
    #[error("item `{id}` stands twice in one record; items are compared by their ids")]
    Twice {
        /// The id.
        id: String,
    },
}

/// Whether items could be compared one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Pairing {
    /// The same data: by id.
    Paired {
        /// Items of both.
        items: usize,
        /// Items that only the left one has.
        only_a: usize,
        /// Items that only the right one has.
        only_b: usize,
    },
    /// Other data, or data without hashes: figure by figure.
    Unpaired {
        /// Why.
        reason: String,
    },
}

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
    /// Its 95 % interval; none where the figure is no mean of items.
    pub interval: Option<[f64; 2]>,
    /// Items that it is taken over, on the left and on the right.
    pub n: [usize; 2],
    /// Items that rose and that fell; none without pairs.
    pub changed: Option<[usize; 2]>,
    /// Exact two-sided McNemar test, where every item is 0 or 1 and paired.
    pub p: Option<f64>,
}

/// Two records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordComparison {
    /// What both measured.
    pub evaluation: String,
    /// Item by item or not.
    pub pairing: Pairing,
    /// Figures that both have.
    pub figures: Vec<FigureDifference>,
    /// Settings, models, data and environment that differ.
    pub differences: Vec<Difference>,
}

/// Compares `b` with `a`.
///
/// Paired, the interval is that of the mean of `b − a` over items (Student's t); unpaired it is
/// `b̄ − ā ± z √(s_a²/n_a + s_b²/n_b)`.
///
/// # Errors
/// When they are of different evaluations, or an id is not unique.
pub fn compare_records(a: &EvalRecord, b: &EvalRecord) -> Result<RecordComparison, CompareError> {
    if a.evaluation != b.evaluation {
        let (a, b) = (a.evaluation.clone(), b.evaluation.clone());
        return Err(CompareError::Evaluations { a, b });
    }
    let items = [by_id(a)?, by_id(b)?];
    let pairing = pairing(a, b, &items);
    let paired = matches!(pairing, Pairing::Paired { .. });
    let figures = a.figures.iter().filter_map(|figure| {
        let other = b.figure(&figure.name, figure.subset.as_deref())?;
        Some(difference([figure, other], &items, paired))
    });
    Ok(RecordComparison {
        evaluation: a.evaluation.clone(),
        figures: figures.collect(),
        pairing,
        differences: differences(a, b),
    })
}

type Items<'a> = BTreeMap<&'a str, &'a Item>;

fn by_id(record: &EvalRecord) -> Result<Items<'_>, CompareError> {
    let mut items = Items::new();
    for item in &record.items {
        if items.insert(&item.id, item).is_some() {
            return Err(CompareError::Twice { id: item.id.clone() });
        }
    }
    Ok(items)
}

fn pairing(a: &EvalRecord, b: &EvalRecord, [in_a, in_b]: &[Items<'_>; 2]) -> Pairing {
    let hashes = |record: &EvalRecord| -> Option<BTreeSet<String>> {
        record.data.iter().map(|source| source.sha256.clone()).collect()
    };
    let unpaired = |reason: &str| Pairing::Unpaired { reason: reason.into() };
    let items = in_a.keys().filter(|id| in_b.contains_key(*id)).count();
    match (hashes(a), hashes(b)) {
        (Some(a), Some(b)) if a.is_empty() || b.is_empty() => {
            unpaired("a record names no data, so nothing says that ids mean the same items")
        }
        (Some(a), Some(b)) if a.is_disjoint(&b) => unpaired("the data differ"),
        (Some(a), Some(b)) if a != b && in_a.keys().ne(in_b.keys()) => {
            unpaired("the data differ, and so do the items")
        }
        (Some(_), Some(_)) if items == 0 => {
            unpaired("no item is in both: ids begin with the file's name, so give both the same")
        }
        (Some(_), Some(_)) => {
            Pairing::Paired { items, only_a: in_a.len() - items, only_b: in_b.len() - items }
        }
        _ => unpaired("data without a hash, so nothing says that ids mean the same items"),
    }
}

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

fn difference(
    [a, b]: [&Figure; 2],
    [in_a, in_b]: &[Items<'_>; 2],
    paired: bool,
) -> FigureDifference {
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
    let (of_a, of_b) = (values(a, in_a), values(b, in_b));
    let is_mean = |figure: &Figure, values: &BTreeMap<&str, f64>| {
        let values: Vec<f64> = values.values().copied().collect();
        let (mean, _) = mean_sd(&values);
        (mean - figure.value).abs() <= SAME * figure.value.abs().max(1.0)
    };
    if !(is_mean(a, &of_a) && is_mean(b, &of_b)) {
        return plain;
    }
    if !paired {
        let interval = unpaired_interval(&of_a, &of_b);
        return FigureDifference { interval, ..plain };
    }
    let pairs: Vec<[f64; 2]> =
        of_a.iter().filter_map(|(id, a)| Some([*a, *of_b.get(id)?])).collect();
    of_pairs(&pairs, plain)
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
    half.is_finite().then(|| [mean_b - mean_a - half, mean_b - mean_a + half])
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

fn differences(a: &EvalRecord, b: &EvalRecord) -> Vec<Difference> {
    let mut all = Vec::new();
    let keys: BTreeSet<&String> = a.settings.keys().chain(b.settings.keys()).collect();
    for key in keys {
        let values = [a, b].map(|record| record.settings.get(key).map(ToString::to_string));
        all.extend(Difference::of(format!("settings.{key}"), values));
    }
    let shown = |source: &Source| match &source.sha256 {
        Some(hash) => format!("{} ({}…)", source.path, hash.get(..12).unwrap_or(hash)),
        None => source.path.clone(),
    };
    let roles: BTreeSet<&String> = a.models.keys().chain(b.models.keys()).collect();
    for role in roles {
        let values = [a, b].map(|record| record.models.get(role).map(shown));
        all.extend(Difference::of(format!("models.{role}"), values));
    }
    for index in 0..a.data.len().max(b.data.len()) {
        let values = [a, b].map(|record| record.data.get(index).map(shown));
        all.extend(Difference::of(format!("data.{index}"), values));
    }
    let environment = |record: &EvalRecord| {
        let environment = &record.environment;
        [&environment.revealed, &environment.device, &environment.dtype].map(Clone::clone)
    };
    let (left, right) = (environment(a), environment(b));
    for ((name, a), b) in ["revealed", "device", "dtype"].into_iter().zip(left).zip(right) {
        all.extend(Difference::of(format!("environment.{name}"), [Some(a), Some(b)]));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Environment;

    fn record(values: &[f64], data: &str) -> EvalRecord {
        let item = |(index, value): (usize, &f64)| Item {
            id: index.to_string(),
            subset: Some(if index < 2 { "easy".into() } else { "hard".into() }),
            values: BTreeMap::from([("acc".to_owned(), *value)]),
            detail: Default::default(),
        };
        let figure = |name: &str, subset: Option<&str>, values: &[f64]| Figure {
            name: name.into(),
            subset: subset.map(str::to_owned),
            value: mean_sd(values).0,
            interval: None,
            n: values.len(),
        };
        EvalRecord {
            evaluation: "toy".into(),
            figures: vec![
                figure("acc", None, values),
                figure("acc", Some("easy"), &values[..2]),
                figure("perplexity", None, &[7.0]),
            ],
            items: values.iter().enumerate().map(item).collect(),
            settings: Default::default(),
            models: BTreeMap::from([("model".to_owned(), Source::named("m"))]),
            data: vec![Source { path: "d".into(), sha256: Some(data.into()) }],
            environment: Environment {
                revealed: "0".into(),
                device: "flex".into(),
                dtype: "f32".into(),
                command: vec![],
            },
        }
    }

    #[test]
    fn records_of_the_same_data_are_compared_item_by_item() {
        let a = record(&[0.0, 0.0, 1.0, 1.0, 0.0], "x");
        let mut b = record(&[1.0, 1.0, 1.0, 0.0, 1.0], "x");
        b.settings.insert("shots".into(), 5.into());
        let compared = compare_records(&a, &b).unwrap();
        assert_eq!(compared.pairing, Pairing::Paired { items: 5, only_a: 0, only_b: 0 });
        let all = &compared.figures[0];
        assert!((all.difference - 0.4).abs() < 1e-12);
        assert_eq!(all.changed, Some([3, 1]));
        // Three up and one down of four: 2 (1 + 4) / 16.
        assert!((all.p.unwrap() - 0.625).abs() < 1e-12);
        // Differences 1, 1, 0, −1, 1: mean 0.4, variance 0.8, t of 4 degrees 2.776.
        let [low, high] = all.interval.unwrap();
        assert!((high - (0.4 + 2.776 * (0.8f64 / 5.0).sqrt())).abs() < 1e-9, "{low} {high}");
        assert_eq!(compared.figures[1].n, [2, 2]);
        // No item has it.
        assert_eq!(compared.figures[2].interval, None);
        let keys: Vec<&str> = compared.differences.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(keys, ["settings.shots"]);
    }

    #[test]
    fn items_of_one_record_alone_are_counted_and_left_out() {
        let a = record(&[0.0, 0.0, 1.0, 1.0], "x");
        let b = record(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "x");
        let compared = compare_records(&a, &b).unwrap();
        assert_eq!(compared.pairing, Pairing::Paired { items: 4, only_a: 0, only_b: 2 });
        assert_eq!((compared.figures[0].b, compared.figures[0].n), (1.0, [4, 4]));
    }

    #[test]
    fn parts_of_a_file_and_sides_of_an_item_are_means_of_items_too() {
        let of = |values: &[f64]| {
            let mut record = record(values, "one");
            let figure = |name: &str, subset: &str, value| Figure {
                name: name.into(),
                subset: Some(subset.into()),
                value,
                interval: None,
                n: 1,
            };
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            record.figures.push(figure("acc", "file", mean(values)));
            record.figures.push(figure("acc", "file/odd", mean(&values[..2])));
            record.figures.push(figure("reward", "policy", mean(values)));
            for (index, item) in record.items.iter_mut().enumerate() {
                item.subset = Some(if index < 2 { "file/odd" } else { "file/even" }.into());
                item.values.insert("policy/reward".into(), values[index]);
            }
            record
        };
        let compared =
            compare_records(&of(&[0.0, 1.0, 0.0, 1.0]), &of(&[1.0, 1.0, 0.0, 0.0])).unwrap();
        let changed = |name: &str, subset: &str| {
            let found = compared
                .figures
                .iter()
                .find(|f| f.name == name && f.subset.as_deref() == Some(subset));
            found.unwrap().changed
        };
        assert_eq!(changed("acc", "file"), Some([1, 1]));
        assert_eq!(changed("acc", "file/odd"), Some([1, 0]));
        assert_eq!(changed("reward", "policy"), Some([1, 1]));
    }

    #[test]
    fn other_data_are_compared_as_wholes() {
        let compared =
            compare_records(&record(&[0.0, 1.0, 1.0, 0.0], "x"), &record(&[1.0; 3], "y")).unwrap();
        assert!(
            matches!(&compared.pairing, Pairing::Unpaired { reason } if reason.contains("differ"))
        );
        let all = &compared.figures[0];
        assert_eq!((all.difference, all.changed, all.p), (0.5, None, None));
        // s²/n of 0, 1, 1, 0 is (1/3)/4.
        let half = Z_95 * (1.0f64 / 12.0).sqrt();
        assert!((all.interval.unwrap()[1] - (0.5 + half)).abs() < 1e-9);
        let mut unhashed = record(&[1.0; 4], "x");
        unhashed.data[0].sha256 = None;
        let compared = compare_records(&unhashed, &unhashed).unwrap();
        assert!(matches!(compared.pairing, Pairing::Unpaired { .. }));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let a = record(&[1.0, 1.0], "x");
        let b = EvalRecord { evaluation: "other".into(), ..a.clone() };
        let message = compare_records(&a, &b).unwrap_err().to_string();
        assert!(message.contains("`toy`") && message.contains("`other`"), "{message}");
        let mut twice = a.clone();
        twice.items.push(twice.items[0].clone());
        assert!(matches!(compare_records(&a, &twice), Err(CompareError::Twice { .. })));
    }

    #[test]
    fn mcnemars_p_is_exact_and_does_not_underflow() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert!((mcnemar(10, 2) - 2.0 * 79.0 / 4096.0).abs() < 1e-12);
        let large = mcnemar(5_000, 5_300);
        assert!(large > 0.002 && large < 0.0045, "{large}");
    }
}
