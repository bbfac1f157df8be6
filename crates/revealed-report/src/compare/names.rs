//! Files of two records that have other names: of the same content, or one on each side.

use std::collections::BTreeSet;

use revealed_eval::{EvalRecord, Source};

/// `b` with its files' names as `a` has them, in ids and parts of the data that begin with one.
pub(super) fn as_in(a: &EvalRecord, b: &EvalRecord) -> EvalRecord {
    renamed(b, &other_names(a, b))
}

/// Where each record has figures of one file that the other has none of: `b` with its own as `a` has it, and the names in `a` and `b`.
pub(super) fn as_one(a: &EvalRecord, b: &EvalRecord) -> Option<(EvalRecord, [String; 2])> {
    let (in_a, in_b) = (files(a), files(b));
    let only = |own: &BTreeSet<String>, other: &BTreeSet<String>| {
        let mut only = own.difference(other).cloned();
        only.next().filter(|_| only.next().is_none())
    };
    let names = [only(&in_a, &in_b)?, only(&in_b, &in_a)?];
    let [to, from] = names.clone();
    Some((renamed(b, &[(from, to)]), names))
}

/// Names of the files that figures are of.
fn files(record: &EvalRecord) -> BTreeSet<String> {
    let of = |name: &String| {
        let mut subsets = record.figures.iter().filter_map(|figure| figure.subset.as_deref());
        subsets.any(|subset| renamed_start(subset, name, "").is_some())
    };
    record.data.iter().map(|source| name(record, source)).filter(of).collect()
}

/// The record with other names in ids and parts of the data that begin with one.
fn renamed(record: &EvalRecord, names: &[(String, String)]) -> EvalRecord {
    let mut renamed = record.clone();
    for (from, to) in names {
        let rename = |text: &mut String| {
            if let Some(new) = renamed_start(text, from, to) {
                *text = new;
            }
        };
        for item in &mut renamed.items {
            rename(&mut item.id);
            item.subset.iter_mut().for_each(rename);
        }
        for figure in &mut renamed.figures {
            figure.subset.iter_mut().for_each(rename);
            figure.parts.iter_mut().filter_map(|part| part.subset.as_mut()).for_each(rename);
        }
    }
    renamed
}

/// Names in `b` and what `a` calls the same content, where both have items under them. A name that `b` uses for
/// something else of `a` stays: nothing may be renamed twice.
fn other_names(a: &EvalRecord, b: &EvalRecord) -> Vec<(String, String)> {
    let mut left: Vec<&Source> = a.data.iter().collect();
    let mut names = Vec::new();
    for source in &b.data {
        let same = |other: &&Source| other.sha256.is_some() && other.sha256 == source.sha256;
        let Some(at) = left.iter().position(same) else { continue };
        names.push((name(b, source), name(a, left.remove(at))));
    }
    names.retain(|(from, to)| from != to && has(b, from) && has(a, to) && !has(b, to));
    names
}

/// Whether items stand under a file's name.
fn has(record: &EvalRecord, name: &str) -> bool {
    record.items.iter().any(|item| renamed_start(&item.id, name, "").is_some())
}

/// What a record calls a file: its path or name where items stand under that, which files of one stem need, and its stem otherwise.
fn name(record: &EvalRecord, source: &Source) -> String {
    let whole = source.path.as_str();
    let file = whole.rsplit(['/', '\\']).next().unwrap_or_default();
    let longer = [whole, file].into_iter().find(|name| has(record, name));
    longer.map_or_else(|| stem(file), str::to_owned)
}

/// The text with another first part, where its first part up to a `/` is `from`.
fn renamed_start(text: &str, from: &str, to: &str) -> Option<String> {
    let rest = text.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
}

/// A file's name without its ending.
fn stem(file: &str) -> String {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_first_part_is_renamed() {
        assert_eq!(renamed_start("copy/1", "copy", "pairs").as_deref(), Some("pairs/1"));
        assert_eq!(renamed_start("copy", "copy", "pairs").as_deref(), Some("pairs"));
        assert_eq!(renamed_start("copy2/1", "copy", "pairs"), None);
        let record = crate::example::record();
        let name = |path: &str| name(&record, &Source::named(path));
        assert_eq!(name("a/b.c/d.e.jsonl"), "d.e");
        assert_eq!(name("c:\\pairs.parquet"), "pairs");
        assert_eq!(name("bare"), "bare");
    }
}
