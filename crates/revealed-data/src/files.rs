//! From a path to the files to read: one file, a folder, a pattern, or a data set of the hub.

use std::path::{Path, PathBuf};

use revealed_hub::{HubError, SPLIT_WORDS, resolve_dataset};

use crate::DataError;
use crate::rows::{ENDINGS, ending};

mod hub;

/// The files to read, in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Files {
    pub(crate) paths: Vec<PathBuf>,
    /// What else was found, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Files that describe a data set and hold no rows.
const DESCRIPTIONS: [&str; 4] =
    ["dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"];

/// The files of a path. What exists on this machine is taken first.
pub(crate) fn resolve(path: &Path) -> Result<Files, DataError> {
    resolve_with(path, |name| {
        let hub::Name { id, revision, config, split } = name;
        resolve_dataset(id, revision.as_deref(), config.as_deref(), split.as_deref())
    })
}

fn resolve_with(
    path: &Path,
    fetch: impl FnOnce(&hub::Name) -> Result<Vec<PathBuf>, HubError>,
) -> Result<Files, DataError> {
    if path.is_dir() {
        return folder(path);
    }
    if path.exists() {
        return Ok(Files { paths: vec![path.to_owned()], notes: Vec::new() });
    }
    if let Some(name) = hub::parse(path) {
        let name = name.map_err(|reason| refuse(path, reason))?;
        let unavailable =
            |source| DataError::Hub { path: path.to_owned(), source: Box::new(source) };
        let paths = fetch(&name).map_err(unavailable)?;
        return Ok(Files { paths, notes: Vec::new() });
    }
    if is_pattern(path) {
        return pattern(path);
    }
    Ok(Files { paths: vec![path.to_owned()], notes: Vec::new() })
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn refuse(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Files { path: path.to_owned(), reason: reason.into() }
}

fn pattern(path: &Path) -> Result<Files, DataError> {
    let text = path.to_str().ok_or_else(|| refuse(path, "the pattern is not UTF-8"))?;
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let matches = glob::glob_with(text, options).map_err(|error| {
        refuse(path, format!("it is neither a file nor a pattern that can be read: {error}"))
    })?;
    let mut paths = Vec::new();
    for entry in matches {
        let file = entry.map_err(|error| DataError::Io {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if file.is_file() {
            paths.push(file);
        }
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(refuse(path, "no file matches this pattern; check it, and the folder")),
        false => Ok(Files { paths, notes: Vec::new() }),
    }
}

fn folder(path: &Path) -> Result<Files, DataError> {
    let names = listed(path)?;
    let is_file = |name: &&String| path.join(name).is_file();
    let has = |ending_wanted: &str| {
        names.iter().filter(is_file).any(|name| ending(Path::new(name)) == ending_wanted)
    };
    if has("arrow") || names.iter().any(|name| name == "dataset_dict.json") {
        return Err(refuse(
            path,
            "this is a data set that save_to_disk of `datasets` wrote (.arrow files), which is not read; \
             write it as Parquet: datasets.load_from_disk(FOLDER).to_parquet(\"rows.parquet\"), for each \
             split",
        ));
    }
    let is_data = |name: &&String| {
        !name.starts_with('.')
            && ENDINGS.contains(&ending(Path::new(name)).as_str())
            && !DESCRIPTIONS.contains(&name.as_str())
    };
    let mut data: Vec<&String> = names.iter().filter(is_file).filter(is_data).collect();
    data.sort();
    if data.is_empty() {
        // The hub keeps Parquet files in `data`.
        let inner = path.join("data");
        if inner.is_dir() {
            return folder(&inner);
        }
        return Err(refuse(
            path,
            "the folder has no .jsonl, .json, .parquet, .csv or .tsv file; give one with data files, \
             or the file itself (compressed files must be decompressed first)",
        ));
    }
    check_alike(path, &data)?;
    let others: Vec<&str> = names
        .iter()
        .filter(|name| !data.contains(name) && !name.starts_with('.'))
        .map(String::as_str)
        .collect();
    let mut notes = Vec::new();
    if !others.is_empty() {
        notes.push(format!("not read in {}: {}", path.display(), others.join(", ")));
    }
    Ok(Files { paths: data.into_iter().map(|name| path.join(name)).collect(), notes })
}

/// The names in a folder, sorted.
fn listed(path: &Path) -> Result<Vec<String>, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.into_string().map_err(|name| {
            refuse(path, format!("the name {name:?} is not UTF-8; rename the file"))
        })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Files of several kinds or splits are not one data set.
fn check_alike(path: &Path, data: &[&String]) -> Result<(), DataError> {
    let mut endings: Vec<String> = data.iter().map(|name| ending(Path::new(name))).collect();
    endings.sort();
    endings.dedup();
    if endings.len() > 1 {
        return Err(refuse(
            path,
            format!(
                "the folder has files of several kinds (.{}); give a pattern such as {}",
                endings.join(", ."),
                path.join(format!("*.{}", endings[0])).display()
            ),
        ));
    }
    let splits: Vec<Option<&str>> = data.iter().map(|name| split(name)).collect();
    let first = splits.first().copied().flatten();
    if splits.iter().any(|split| *split != first) {
        let mut found: Vec<&str> = splits.iter().map(|split| split.unwrap_or("other")).collect();
        found.sort_unstable();
        found.dedup();
        return Err(refuse(
            path,
            format!(
                "the folder has files of several splits ({}); give one file or a pattern such as {}",
                found.join(", "),
                path.join(format!("*train*.{}", endings[0])).display()
            ),
        ));
    }
    Ok(())
}

/// The split that a word of a file's name names: `train-00000-of-00002.parquet`, `sft_test.jsonl`.
fn split(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let mut words = name.split(|character: char| !character.is_alphabetic());
    words.find_map(|word| {
        SPLIT_WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(split, _)| *split)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_of_the_hub_is_asked_for_where_no_such_path_exists() {
        let folder = tempfile::tempdir().unwrap();
        let shard = folder.path().join("shard.parquet");
        let files = resolve_with(Path::new("own/set@v1?split=test"), |name| {
            assert_eq!((name.id.as_str(), name.split.as_deref()), ("own/set", Some("test")));
            Ok(vec![shard.clone()])
        });
        assert_eq!(files.unwrap().paths, [shard]);
        let content =
            |_: &hub::Name| Err(HubError::Content { id: "own/set".into(), reason: "none".into() });
        let error = resolve_with(Path::new("own/set"), content).unwrap_err();
        assert!(error.to_string().contains("own/set is not a file or folder"), "{error}");
        let local = resolve_with(folder.path(), |_| unreachable!("the folder exists"));
        assert!(matches!(local, Err(DataError::Files { .. })));
    }
}
