//! The pages name files, recipe keys and functions that exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use revealed::train::Recipe;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files below a folder with an ending, without what builds and fuzzing leave.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let skipped = ["target", "runs", "corpus", "artifacts"].contains(&name.as_str());
            if !skipped && !name.starts_with('.') {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root(), ".md", &mut found);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What stands in backticks, blocks of code left out.
fn code(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", page.display());
        }
    }
}

/// `section.key`, `section.optimizer.key` of every setting.
fn keys() -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in Recipe::default().to_commented_toml().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

#[test]
fn recipe_keys_on_pages_are_keys() {
    let keys = keys();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let mut named = 0;
    for (page, text) in pages() {
        for word in code(&text) {
            let name = word.split(" = ").next().unwrap();
            let plain = name.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c));
            let Some((section, key)) = name.split_once('.') else { continue };
            // `reward.json` and the like are files, `run.sh` a script.
            let file =
                ["json", "jsonl", "safetensors", "toml", "md", "sh", "rs", "py", "html", "csv"]
                    .contains(&key);
            if plain && sections.contains(section) && !file {
                named += 1;
                let whole = keys.iter().any(|known| known.starts_with(&format!("{name}.")));
                assert!(keys.contains(name) || whole, "{}: `{word}`", page.display());
            }
        }
    }
    assert!(named > 50, "{named} keys found: are the pages where they were?");
}

#[test]
fn every_function_that_the_page_on_the_paper_names_exists() {
    let mut sources = Vec::new();
    files(&root().join("crates"), ".rs", &mut sources);
    let sources: Vec<String> =
        sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let page = fs::read_to_string(root().join("docs/paper.md")).unwrap();
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        // Names of functions have no space and no sign but underscores; keys have a dot, choices a hyphen.
        let functions = code(row).into_iter().filter(|word| {
            word.len() > 1
                && word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        for function in functions.filter(|word| !["bce", "hinge"].contains(word)) {
            named += 1;
            let defined = format!("fn {function}");
            let exists = sources.iter().any(|source| {
                source
                    .match_indices(&defined)
                    .any(|(at, _)| source[at + defined.len()..].starts_with(['(', '<']))
            });
            assert!(exists, "no function `{function}`");
        }
    }
    assert!(named > 30, "{named}");
}
