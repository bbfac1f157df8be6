//! Formats of data files by their names, and which of them are read.

use std::collections::BTreeMap;

use crate::glob::base;

/// Extensions of data files that `datasets` knows, with the format's name. Formats of one name are
/// read alike.
const FORMATS: &[(&str, &str)] = &[
    ("parquet", "parquet"),
    ("geoparquet", "parquet"),
    ("gpq", "parquet"),
    ("jsonl", "json"),
    ("json", "json"),
    ("ndjson", "json"),
    ("csv", "csv"),
    ("tsv", "tab-separated text"),
    ("arrow", "arrow"),
    ("txt", "text"),
    ("tar", "webdataset"),
    ("zip", "archive"),
    ("xml", "XML"),
    ("hdf5", "HDF5"),
    ("h5", "HDF5"),
    ("lance", "lance"),
    ("vortex", "vortex"),
    ("eval", "evaluation logs"),
    ("conll", "CoNLL"),
    ("conllu", "CoNLL"),
    ("jpg", "images"),
    ("jpeg", "images"),
    ("png", "images"),
    ("gif", "images"),
    ("bmp", "images"),
    ("webp", "images"),
    ("tif", "images"),
    ("tiff", "images"),
    ("wav", "audio"),
    ("mp3", "audio"),
    ("flac", "audio"),
    ("ogg", "audio"),
    ("opus", "audio"),
    ("mp4", "video"),
    ("mkv", "video"),
    ("avi", "video"),
    ("mov", "video"),
    ("pdf", "PDF"),
];

/// Extensions of the files that are handed on.
const READ: [&str; 4] = ["parquet", "jsonl", "json", "csv"];

/// The order of `datasets` among formats of which there are equally many files.
const PREFERRED: [&str; 5] = ["csv", "json", "jsonl", "arrow", "parquet"];

/// The extensions in a file's name, the outermost last.
fn extensions(file: &str) -> impl Iterator<Item = &str> {
    base(file).split('.').skip(1)
}

fn format_of(extension: &str) -> Option<&'static str> {
    FORMATS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format)
}

/// The format that a file's name tells; none for what is no data file.
pub(crate) fn chosen_format(file: &str) -> Option<&'static str> {
    extensions(file).find_map(format_of)
}

/// The files of a split that are read. Among files found by their names, those of the most common
/// format are its data; files that metadata names are all data.
pub(crate) fn readable(files: Vec<&str>, by_name: bool) -> Result<Vec<String>, String> {
    let Some(common) = most_common(&files) else {
        return Err("the patterns of the split match no data files of the repository".into());
    };
    let of = |file: &&str| extensions(file).any(|one| format_of(one) == Some(common));
    let mut chosen = Vec::new();
    for file in files {
        if !of(&file) {
            match by_name {
                true => continue,
                false => {
                    return Err(format!(
                        "the split holds files of several formats: `{file}` is not {common}"
                    ));
                }
            }
        }
        let last = extensions(file).last().unwrap_or_default();
        if !READ.contains(&last) {
            return Err(format!(
                "`{file}` ({common}) cannot be read; supported are .parquet, .jsonl, .json and .csv, not compressed: download the file and convert it"
            ));
        }
        chosen.push(file.to_owned());
    }
    Ok(chosen)
}

/// The format of the most common extension.
fn most_common(files: &[&str]) -> Option<&'static str> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for extension in files.iter().flat_map(|file| extensions(file)) {
        *counts.entry(extension.to_lowercase()).or_default() += 1;
    }
    let known = counts.iter().filter_map(|(extension, count)| {
        let preferred = PREFERRED.iter().position(|one| one == extension).map_or(0, |at| at + 1);
        Some(((*count, preferred, extension.as_str()), format_of(extension)?))
    });
    known.max_by_key(|(key, _)| *key).map(|(_, format)| format)
}
