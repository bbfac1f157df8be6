//! Two records of one evaluation: item by item where both are of the same data.

use std::collections::BTreeSet;

use serde::Serialize;
use thiserror::Error;

use super::figures::{FigureDifference, Items, Sides};
use super::{Difference, names};
use crate::page::number;
use revealed_eval::{EvalRecord, Figure, Source};

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
    #[error(
        "item id `{id}` occurs twice in this record, and items are paired by id; run the evaluation again, which gives unique ids"
    )]
    Twice {
        /// The record: 0 on the left, 1 on the right.
        side: usize,
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

/// Two records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordComparison {
    /// What both measured.
    pub evaluation: String,
    /// Item by item or not.
    pub pairing: Pairing,
    /// Two files of other names and other content whose figures are compared, as wholes; these have the left one's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<[String; 2]>,
    /// Figures that both have.
    pub figures: Vec<FigureDifference>,
    /// Settings, models, data and environment that differ, and figures that one record alone has.
    pub differences: Vec<Difference>,
}

/// Compares `b` with `a`.
///
/// Paired, the interval is that of the mean of `b − a` over items (Student's t); unpaired it is
/// `b̄ − ā ± z √(s_a²/n_a + s_b²/n_b)`. That of a weighted mean of other figures is [carried over](revealed_eval::Estimate::weighted)
/// from theirs. Items whose ids begin with a file's name are found again where the file has another name and the same content. Of other
/// data, two files of different names are taken for each other where each record has one that the other has not.
///
/// # Errors
/// When they are of different evaluations, or an id is not unique.
pub fn compare_records(a: &EvalRecord, b: &EvalRecord) -> Result<RecordComparison, CompareError> {
    if a.evaluation != b.evaluation {
        let (a, b) = (a.evaluation.clone(), b.evaluation.clone());
        return Err(CompareError::Evaluations { a, b });
    }
    let mut differences = differences(a, b);
    let mut renamed = names::as_in(a, b);
    let pairing = pairing(a, &renamed, &[by_id(a, 0)?, by_id(&renamed, 1)?]);
    let paired = matches!(pairing, Pairing::Paired { .. });
    let mut files = None;
    if let Some((as_one, names)) = names::as_one(a, &renamed).filter(|_| !paired) {
        (renamed, files) = (as_one, Some(names));
    }
    let b = &renamed;
    differences.extend(alone(a, b));
    let sides = Sides { records: [a, b], items: [by_id(a, 0)?, by_id(b, 1)?], paired };
    let figures = a.figures.iter().filter_map(|figure| sides.difference(figure)).collect();
    Ok(RecordComparison { evaluation: a.evaluation.clone(), pairing, files, figures, differences })
}

/// Figures that one record alone has.
fn alone<'a>(a: &'a EvalRecord, b: &'a EvalRecord) -> impl Iterator<Item = Difference> + 'a {
    let of = |[own, other]: [&'a EvalRecord; 2]| {
        let has = |figure: &&Figure| other.figure(&figure.name, figure.subset.as_deref()).is_some();
        own.figures.iter().filter(move |figure| !has(figure))
    };
    let named = |figure: &Figure| {
        let subset = figure.subset.as_ref().map_or(String::new(), |subset| format!(", {subset}"));
        (format!("figures.{}{subset}", figure.name), Some(number(figure.value)))
    };
    let left = of([a, b]).map(named).map(|(key, a)| Difference { key, a, b: None });
    left.chain(of([b, a]).map(named).map(|(key, b)| Difference { key, a: None, b }))
}

fn by_id(record: &EvalRecord, side: usize) -> Result<Items<'_>, CompareError> {
    let mut items = Items::new();
    for item in &record.items {
        if items.insert(&item.id, item).is_some() {
            return Err(CompareError::Twice { side, id: item.id.clone() });
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
            unpaired("a record names no data, so equal ids may mean different items")
        }
        (Some(a), Some(b)) if a.is_disjoint(&b) => unpaired("the data differ"),
        (Some(a), Some(b)) if a != b && in_a.keys().ne(in_b.keys()) => {
            unpaired("the data differ, and so do the items")
        }
        (Some(_), Some(_)) if items == 0 => unpaired("no item is in both"),
        (Some(_), Some(_)) => {
            Pairing::Paired { items, only_a: in_a.len() - items, only_b: in_b.len() - items }
        }
        _ => unpaired("data without a hash, so equal ids may mean different items"),
    }
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
    use std::collections::BTreeMap;

    use revealed_eval::Item;

    use super::*;
    use revealed_eval::stats::{Z_95, mean_sd};
    use revealed_eval::{Environment, Part};

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
            parts: vec![],
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
                parts: vec![],
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
        let found = compare_records(&a, &twice);
        assert!(matches!(found, Err(CompareError::Twice { side: 1, .. })), "{found:?}");
    }

    /// A record of one file, whose name its ids begin with.
    fn named(name: &str, values: &[f64], data: &str) -> EvalRecord {
        let mut record = record(values, data);
        record.data[0].path = format!("somewhere/{name}.jsonl");
        for item in &mut record.items {
            item.id = format!("{name}/{}", item.id);
            item.subset = item.subset.as_ref().map(|subset| format!("{name}/{subset}"));
        }
        record.figures.truncate(1);
        record.figures[0].subset = Some(name.into());
        record
    }

    #[test]
    fn other_files_of_other_names_are_compared_as_wholes() {
        let (a, b) = (named("dup", &[0.0, 1.0], "x"), named("arr", &[1.0, 1.0], "y"));
        let compared = compare_records(&a, &b).unwrap();
        assert!(matches!(compared.pairing, Pairing::Unpaired { .. }), "{compared:?}");
        assert_eq!(compared.files, Some(["dup".to_owned(), "arr".to_owned()]));
        let [figure] = &compared.figures[..] else { panic!("{:?}", compared.figures) };
        assert_eq!((figure.subset.as_deref(), figure.difference), (Some("dup"), 0.5));
        assert!(figure.interval.is_some() && figure.changed.is_none(), "{figure:?}");
        // Which of two would be compared with one is a guess: they are said to stand alone.
        let mut two = b.clone();
        two.data.push(Source { path: "more.jsonl".into(), sha256: Some("z".into()) });
        two.figures.push(Figure { subset: Some("more".into()), ..two.figures[0].clone() });
        let compared = compare_records(&a, &two).unwrap();
        assert!(compared.files.is_none() && compared.figures.is_empty(), "{compared:?}");
        let keys: Vec<&str> = compared.differences.iter().map(|d| d.key.as_str()).collect();
        let alone = ["figures.acc, dup", "figures.acc, arr", "figures.acc, more"];
        assert_eq!(keys, [&["data.0", "data.1"][..], &alone].concat());
    }

    #[test]
    fn files_of_one_stem_are_found_again_under_their_longer_names() {
        let mut a = named("arr.jsonl", &[0.0, 1.0], "x");
        a.data[0].path = "d/arr.jsonl".into();
        let compared = compare_records(&a, &named("arr", &[1.0, 1.0], "x")).unwrap();
        assert_eq!(compared.pairing, Pairing::Paired { items: 2, only_a: 0, only_b: 0 });
        assert_eq!(compared.figures[0].subset.as_deref(), Some("arr.jsonl"));
    }

    #[test]
    fn the_same_file_under_another_name_is_paired_by_its_content() {
        let named = |name, values: &[f64]| named(name, values, "one");
        let (a, b) = (named("pairs", &[0.0, 1.0, 0.0]), named("copy", &[1.0, 1.0, 0.0]));
        let compared = compare_records(&a, &b).unwrap();
        assert_eq!(compared.pairing, Pairing::Paired { items: 3, only_a: 0, only_b: 0 });
        assert_eq!(compared.figures[0].subset.as_deref(), Some("pairs"));
        assert_eq!(compared.figures[0].changed, Some([1, 0]));
        // The name is still said to differ.
        assert_eq!(compared.differences[0].key, "data.0");
    }

    #[test]
    fn a_mean_of_means_has_the_interval_of_its_parts() {
        let of = |values: &[f64]| {
            let mut record = record(values, "one");
            let mean = |part: &[f64]| mean_sd(part).0;
            let parts = [("easy", mean(&values[..2])), ("hard", mean(&values[2..]))];
            let weights = [("easy", 1.0), ("hard", 3.0)].map(|(subset, weight)| Part {
                name: "acc".into(),
                subset: Some(subset.into()),
                weight,
            });
            record.figures = parts
                .iter()
                .map(|(subset, value)| Figure {
                    name: "acc".into(),
                    subset: Some((*subset).into()),
                    value: *value,
                    interval: None,
                    n: 2,
                    parts: vec![],
                })
                .collect();
            let score = Figure {
                name: "score".into(),
                subset: None,
                value: 0.25 * parts[0].1 + 0.75 * parts[1].1,
                interval: None,
                n: values.len(),
                parts: weights.to_vec(),
            };
            record.figures.insert(0, score);
            record
        };
        let (a, b) = (of(&[0.0, 1.0, 0.0, 0.0, 1.0]), of(&[1.0, 1.0, 1.0, 0.0, 1.0]));
        let compared = compare_records(&a, &b).unwrap();
        let [score, easy, hard] = &compared.figures[..] else { panic!("{:?}", compared.figures) };
        assert!((score.difference - (0.25 * 0.5 + 0.75 / 3.0)).abs() < 1e-12);
        // Zou and Donner: the squared distances, weighted, add up.
        let half = |one: &FigureDifference| one.interval.unwrap()[1] - one.difference;
        let wanted = ((0.25 * half(easy)).powi(2) + (0.75 * half(hard)).powi(2)).sqrt();
        assert!((half(score) - wanted).abs() < 1e-12);
        assert_eq!((score.changed, score.n, score.p), (Some([2, 0]), [5, 5], None));
        // Figures that hold each other end nowhere, and are compared as plain numbers.
        let mut odd = a.clone();
        odd.figures[0].parts[0] = Part { name: "score".into(), subset: None, weight: 1.0 };
        assert_eq!(compare_records(&odd, &odd).unwrap().figures[0].interval, None);
    }
}
