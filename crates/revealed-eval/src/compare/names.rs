//! Files of two records that have other names and the same content.

use crate::record::{EvalRecord, Source};

/// `b` with its files' names as `a` has them, in ids and parts of the data that begin with one.
pub(super) fn as_in(a: &EvalRecord, b: &EvalRecord) -> EvalRecord {
    let mut renamed = b.clone();
    for (from, to) in other_names(a, b) {
        let rename = |text: &mut String| {
            if let Some(new) = renamed_start(text, &from, &to) {
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
        names.push((stem(source), stem(left.remove(at))));
    }
    let has = |record: &EvalRecord, name: &str| {
        record.items.iter().any(|item| renamed_start(&item.id, name, "").is_some())
    };
    names.retain(|(from, to)| from != to && has(b, from) && has(a, to) && !has(b, to));
    names
}

/// The text with another first part, where its first part up to a `/` is `from`.
fn renamed_start(text: &str, from: &str, to: &str) -> Option<String> {
    let rest = text.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
}

/// A file's name without folders and ending. Records may come from another system.
fn stem(source: &Source) -> String {
    let name = source.path.rsplit(['/', '\\']).next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_first_part_is_renamed() {
        assert_eq!(renamed_start("copy/1", "copy", "pairs").as_deref(), Some("pairs/1"));
        assert_eq!(renamed_start("copy", "copy", "pairs").as_deref(), Some("pairs"));
        assert_eq!(renamed_start("copy2/1", "copy", "pairs"), None);
        assert_eq!(stem(&Source::named("a/b.c/d.e.jsonl")), "d.e");
        assert_eq!(stem(&Source::named("c:\\pairs.parquet")), "pairs");
        assert_eq!(stem(&Source::named("bare")), "bare");
    }
}
