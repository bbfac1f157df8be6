//! Names of data sets on the hub: `hf://datasets/OWNER/NAME@REVISION?config=CONFIG&split=SPLIT`.

use std::path::Path;

const SCHEME: &str = "hf://datasets/";

/// A data set's split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// `OWNER/NAME`, or a name without owner.
    pub(crate) id: String,
    pub(crate) revision: Option<String>,
    pub(crate) config: Option<String>,
    pub(crate) split: Option<String>,
}

/// The data set that a path names; none if the path is one of this machine. Without the scheme the id
/// must have an owner, and must not look like the name of a file.
///
/// # Errors
/// The reason why a name cannot be read.
pub(crate) fn parse(path: &Path) -> Option<Result<Name, String>> {
    let text = path.to_str()?;
    // Joining paths may shorten the slashes.
    let name = text.strip_prefix(SCHEME).or_else(|| text.strip_prefix("hf:/datasets/"));
    if text.starts_with("hf:") && name.is_none() {
        return Some(Err(format!("a data set of the hub is written {SCHEME}OWNER/NAME")));
    }
    let has_scheme = name.is_some();
    let name = name.unwrap_or(text);
    let (name, query) = match name.split_once('?') {
        Some((name, query)) => (name, Some(query)),
        None => (name, None),
    };
    let (id, revision) = match name.split_once('@') {
        Some((id, revision)) => (id, Some(revision.to_owned())),
        None => (name, None),
    };
    if !has_scheme && (!is_id(id) || is_pattern(query)) {
        return None;
    }
    let mut parsed = Name { id: id.to_owned(), revision, config: None, split: None };
    if id.matches('/').count() > 1 {
        let reason = "an id has one slash; a file within a data set cannot be given, but `?split=` and \
                      `?config=` choose among its files";
        return Some(Err(reason.to_owned()));
    }
    for part in query.into_iter().flat_map(|query| query.split('&')) {
        match part.split_once('=') {
            Some(("split", value)) if !value.is_empty() => parsed.split = Some(value.to_owned()),
            Some(("config", value)) if !value.is_empty() => parsed.config = Some(value.to_owned()),
            _ => {
                return Some(Err(format!(
                    "`{part}` after `?` is not known; write ?split=SPLIT, ?config=CONFIG or \
                     ?config=CONFIG&split=SPLIT"
                )));
            }
        }
    }
    Some(Ok(parsed))
}

/// Whether a name without scheme is `OWNER/NAME`.
fn is_id(text: &str) -> bool {
    let part = |part: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        part.bytes().all(letter) && part.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    let files = [
        "jsonl",
        "ndjson",
        "json",
        "parquet",
        "csv",
        "tsv",
        "arrow",
        "txt",
        "gz",
        "zst",
        "bz2",
        "xz",
        "zip",
        "toml",
        "yaml",
        "yml",
        "md",
        "py",
        "bin",
        "safetensors",
    ];
    match text.split_once('/') {
        Some((owner, name)) => {
            let ending = crate::rows::ending(Path::new(name));
            part(owner) && part(name) && !files.contains(&ending.as_str())
        }
        None => false,
    }
}

/// Whether what follows a question mark is the rest of a pattern.
fn is_pattern(query: Option<&str>) -> bool {
    query.is_some_and(|query| !query.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<Result<Name, String>> {
        parse(Path::new(text))
    }

    #[test]
    fn ids_have_a_revision_a_configuration_and_a_split() {
        let given = "own/set@refs/convert/parquet?config=main&split=test";
        for text in [format!("hf://datasets/{given}"), given.to_owned()] {
            let found = name(&text).unwrap().unwrap();
            assert_eq!(found.id, "own/set");
            assert_eq!(found.revision.as_deref(), Some("refs/convert/parquet"));
            assert_eq!(found.config.as_deref(), Some("main"));
            assert_eq!(found.split.as_deref(), Some("test"));
        }
        let bare = name("own/set-v1.0").unwrap().unwrap();
        assert_eq!((bare.id.as_str(), bare.revision, bare.split), ("own/set-v1.0", None, None));
        assert_eq!(name("hf://datasets/squad").unwrap().unwrap().id, "squad");
    }

    #[test]
    fn paths_are_no_ids() {
        for text in [
            "rows.jsonl",
            "data/rows.jsonl",
            "/a/b",
            "./a/b",
            "../a",
            "a/b/c",
            "data/train-?",
            "a/*",
            "data/a.txt",
        ] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn names_that_cannot_be_read_are_explained() {
        for (text, words) in [
            ("own/set?part=a", "?split=SPLIT"),
            ("hf://own/set", "hf://datasets/OWNER/NAME"),
            ("hf://datasets/own/set/data/a.parquet", "one slash"),
            ("own/set?split=", "`split=`"),
        ] {
            let reason = name(text).unwrap().unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
