//! Which of a repository's files are a data set's: by its metadata, else by the conventions of
//! `datasets`.
//!
//! Source: <https://huggingface.co/docs/datasets/repository_structure>.

use std::collections::BTreeMap;

use crate::card::Configuration;
use crate::formats::{chosen_format, readable};
use crate::glob::{Pattern, base};

/// Words in names of files and folders that name a split, as `datasets` reads them.
pub const SPLIT_WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];
/// What may stand next to such a word.
const SEPARATORS: &str = "[-._ 0-9]";
const FIVE: &str = "[0-9][0-9][0-9][0-9][0-9]";

type Splits = Vec<(String, Vec<String>)>;

/// The files of a split, in the order in which they are read.
pub(crate) fn choose(
    files: &[String],
    configurations: &[Configuration],
    configuration: Option<&str>,
    split: Option<&str>,
) -> Result<Vec<String>, String> {
    let configuration = pick_configuration(configurations, configuration)?;
    if let Some(setting) = configuration.and_then(|found| found.reading.first()) {
        let name = configuration.map_or("", |found| &found.name);
        return Err(format!(
            "configuration `{name}` sets `{setting}`, which changes how its files are read and is not supported; download the files and convert them to JSON lines"
        ));
    }
    let folder = folder_of(configuration)?;
    let named = configuration.and_then(|found| found.files.clone());
    let by_name = named.is_none();
    let splits = match named {
        Some(splits) => splits,
        None => conventional(files, &folder)?,
    };
    let patterns = pick_split(&splits, split)?;
    let mut chosen: Vec<&str> = Vec::new();
    for pattern in patterns {
        for file in matches(&join(&folder, pattern)?, files)? {
            if !chosen.contains(&file) {
                chosen.push(file);
            }
        }
    }
    readable(chosen, by_name)
}

fn pick_configuration<'a>(
    all: &'a [Configuration],
    name: Option<&str>,
) -> Result<Option<&'a Configuration>, String> {
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    let names = names.join(", ");
    match (all, name) {
        ([], None | Some("default")) => Ok(None),
        ([], Some(name)) => {
            Err(format!("the data set has no configuration `{name}`; it has only one, `default`"))
        }
        (all, Some(name)) => match all.iter().find(|one| one.name == name) {
            Some(found) => Ok(Some(found)),
            None => Err(format!("the data set has no configuration `{name}`; it has: {names}")),
        },
        ([one], None) => Ok(Some(one)),
        (all, None) => {
            let mut defaults = all.iter().filter(|one| one.default || one.name == "default");
            match (defaults.next(), defaults.next()) {
                (Some(found), None) => Ok(Some(found)),
                (Some(_), Some(_)) => Err(format!(
                    "the data set has several default configurations; name one: {names}"
                )),
                (None, _) => {
                    Err(format!("the data set has several configurations; name one: {names}"))
                }
            }
        }
    }
}

fn folder_of(configuration: Option<&Configuration>) -> Result<String, String> {
    let folder = configuration.and_then(|found| found.folder.as_deref()).unwrap_or_default();
    join("", folder.trim_matches('/'))
}

/// The split's patterns; `train` without a name.
fn pick_split<'a>(splits: &'a Splits, name: Option<&str>) -> Result<&'a [String], String> {
    let wanted = name.unwrap_or("train");
    if let Some((_, patterns)) = splits.iter().find(|(split, _)| split == wanted) {
        return Ok(patterns);
    }
    let names: Vec<&str> = splits.iter().map(|(split, _)| split.as_str()).collect();
    let hint = match wanted.contains(['[', '+', '%']) {
        true => "; slices and sums of splits are not supported",
        false if name.is_none() => "; without a name, `train` is read",
        false => "",
    };
    Err(format!("the data set has no split `{wanted}`; it has: {}{hint}", names.join(", ")))
}

/// A pattern below a folder, without parts `.`.
fn join(folder: &str, pattern: &str) -> Result<String, String> {
    if pattern.contains("://") {
        return Err(format!("file pattern `{pattern}`: files outside the repository are not read"));
    }
    let parts: Vec<&str> = folder
        .split('/')
        .chain(pattern.split('/'))
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(format!("file pattern `{pattern}` leaves the repository's folder"));
    }
    Ok(parts.join("/"))
}

/// The data files of a pattern; a plain name that is not there is an error.
fn matches<'a>(pattern: &str, files: &'a [String]) -> Result<Vec<&'a str>, String> {
    let compiled = Pattern::new(pattern)?;
    let mut found = compiled.matches(files);
    found.retain(|file| chosen_format(file).is_some());
    match found.is_empty() && !compiled.has_magic() {
        true => Err(format!(
            "the metadata names the file `{pattern}`, which is not a data file of the repository"
        )),
        false => Ok(found),
    }
}

/// Splits by the names of files and folders, as `datasets` finds them without metadata.
fn conventional(files: &[String], folder: &str) -> Result<Splits, String> {
    if !files.iter().any(|file| chosen_format(file).is_some()) {
        return Err("the repository has no data files (.parquet, .jsonl, .json, .csv)".into());
    }
    // Files of any kind make a split.
    let any =
        |pattern: &String| Ok(!Pattern::new(&join(folder, pattern)?)?.matches(files).is_empty());
    let sharded = sharded(files, folder)?;
    if !sharded.is_empty() {
        return Ok(sharded);
    }
    for patterns in [folder_patterns, file_patterns] {
        let mut splits: Splits = Vec::new();
        for (split, keywords) in SPLIT_WORDS {
            let patterns: Vec<String> = keywords.iter().flat_map(|word| patterns(word)).collect();
            let found: Vec<bool> = patterns.iter().map(any).collect::<Result<_, String>>()?;
            if found.contains(&true) {
                splits.push((split.into(), patterns));
            }
        }
        if !splits.is_empty() {
            return Ok(splits);
        }
    }
    let all = "**".to_owned();
    match any(&all)? {
        true => Ok(vec![("train".into(), vec![all])]),
        false => Err(format!("the repository has no files below `{folder}`")),
    }
}

/// Files `data/SPLIT-00000-of-00001.parquet`: their splits, the usual ones first.
fn sharded(files: &[String], folder: &str) -> Result<Splits, String> {
    let shards = format!("{FIVE}-of-{FIVE}*.*");
    let found = Pattern::new(&join(folder, &format!("data/*-{shards}"))?)?;
    let mut splits: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
    for file in found.matches(files) {
        let Some(split) = split_of(base(file)) else { continue };
        if !split.split('.').all(word) {
            return Err(format!(
                "`{file}`: `{split}` is no name of a split: it has to be letters, digits, `_` and `.`"
            ));
        }
        let usual = SPLIT_WORDS.iter().position(|(name, _)| *name == split);
        let key = (usual.unwrap_or(SPLIT_WORDS.len()), split);
        splits.insert(key, vec![format!("data/{split}-{shards}")]);
    }
    Ok(splits.into_iter().map(|((_, split), patterns)| (split.to_owned(), patterns)).collect())
}

fn word(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What a shard's name begins with.
fn split_of(name: &str) -> Option<&str> {
    let shard = regex::Regex::new(r"\A(.+)-[0-9]{5}-of-[0-9]{5}").ok()?;
    shard.captures(name)?.get(1).map(|split| split.as_str())
}

fn file_patterns(word: &str) -> Vec<String> {
    vec![format!("**/{word}{SEPARATORS}*"), format!("**/*{SEPARATORS}{word}{SEPARATORS}*")]
}

fn folder_patterns(word: &str) -> Vec<String> {
    vec![
        format!("**/{word}/**"),
        format!("**/{word}{SEPARATORS}*/**"),
        format!("**/*{SEPARATORS}{word}/**"),
        format!("**/*{SEPARATORS}{word}{SEPARATORS}*/**"),
    ]
}
