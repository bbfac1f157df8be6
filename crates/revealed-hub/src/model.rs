//! Which files of a repository a model or an adapter consists of.

use std::path::{Component, Path};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// Files of a tokenizer: a cache may hold a model's weights without them.
pub(crate) const TOKENIZER: [&str; 2] = ["tokenizer.json", "tokenizer_config.json"];

/// Small files that are fetched where a repository has them.
const COMPANIONS: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];
const TEMPLATES: &str = "additional_chat_templates/";

/// The tokenizer's and the template's files among those of a repository.
pub(crate) fn companions(files: &[String]) -> impl Iterator<Item = &String> {
    files.iter().filter(|file| COMPANIONS.contains(&file.as_str()) || file.starts_with(TEMPLATES))
}

/// What a model's folder lacks, if anything.
pub(crate) fn model_lacks(folder: &Path) -> Option<String> {
    if let Some(lack) = lacks(folder, CONFIG) {
        return Some(match folder.join(ADAPTER_CONFIG).is_file() {
            true => format!("{lack}, but {ADAPTER_CONFIG}: it is an adapter, not a model"),
            false => lack,
        });
    }
    if folder.join(WEIGHTS).is_file() {
        return None;
    }
    if !folder.join(INDEX).is_file() {
        return lacks(folder, WEIGHTS);
    }
    let shards = match shards(&folder.join(INDEX)) {
        Ok(shards) => shards,
        Err(reason) => return Some(reason),
    };
    let absent: Vec<String> = shards.iter().filter_map(|shard| lacks(folder, shard)).collect();
    let first = absent.first()?;
    Some(format!("{first} ({} of {} shards are missing)", absent.len(), shards.len()))
}

/// What an adapter's folder lacks, if anything.
pub(crate) fn adapter_lacks(folder: &Path) -> Option<String> {
    lacks(folder, ADAPTER_CONFIG).or_else(|| lacks(folder, ADAPTER_WEIGHTS))
}

/// The file's name if it is not there.
fn lacks(folder: &Path, name: &str) -> Option<String> {
    let path = folder.join(name);
    match (path.is_file(), path.is_symlink()) {
        (true, _) => None,
        (false, true) => Some(format!("{name} (a link to a file that is not there)")),
        (false, false) => Some(name.into()),
    }
}

/// The files that a weights index names.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>, String> {
    let wrong = |reason: &str| format!("a usable {}: {reason}", index.display());
    let text = std::fs::read_to_string(index).map_err(|error| wrong(&error.to_string()))?;
    let index: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let map = index["weight_map"].as_object().ok_or_else(|| wrong("it has no weight_map"))?;
    let mut names: Vec<String> = Vec::new();
    for name in map.values() {
        let plain = |part| matches!(part, Component::Normal(_));
        match name.as_str() {
            Some(name) if Path::new(name).components().all(plain) => names.push(name.into()),
            _ => return Err(wrong(&format!("its shard {name} is outside the model's folder"))),
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// A model's files that come first: the config, and the weights or their index.
pub(crate) fn model_files(files: &[String]) -> Result<[&'static str; 2], String> {
    let has = |name: &str| files.iter().any(|file| file == name);
    if !has(CONFIG) && has(ADAPTER_CONFIG) {
        return Err(format!(
            "the repository holds an adapter ({ADAPTER_CONFIG}) and no model; name its base as the model and this repository as the adapter"
        ));
    }
    if !has(CONFIG) {
        return Err(format!("the repository has no {CONFIG}; it has {}", some_of(files)));
    }
    match (has(WEIGHTS), has(INDEX)) {
        (true, _) => Ok([CONFIG, WEIGHTS]),
        (false, true) => Ok([CONFIG, INDEX]),
        (false, false) => Err(no_weights(files)),
    }
}

/// An adapter's files.
pub(crate) fn adapter_files(files: &[String]) -> Result<[&'static str; 2], String> {
    let has = |name: &str| files.iter().any(|file| file == name);
    if !has(ADAPTER_CONFIG) {
        return Err(format!(
            "the repository has no {ADAPTER_CONFIG}, so it is not a PEFT adapter; it has {}",
            some_of(files)
        ));
    }
    match has(ADAPTER_WEIGHTS) {
        true => Ok([ADAPTER_CONFIG, ADAPTER_WEIGHTS]),
        false if has("adapter_model.bin") => Err(
            "the adapter's weights are a pickle (adapter_model.bin), which can run code when it is read; load it with PEFT and save it again, which writes adapter_model.safetensors".into(),
        ),
        false => Err(format!("the repository has no {ADAPTER_WEIGHTS}; it has {}", some_of(files))),
    }
}

/// The name of the weights' file that has to be an index.
pub(crate) fn is_index(name: &str) -> bool {
    name == INDEX
}

fn no_weights(files: &[String]) -> String {
    let ends = |end: &str| files.iter().any(|file| file.ends_with(end));
    let advice = match () {
        () if ends(".bin") || ends(".pth") || ends(".pt") => {
            "; its weights are pickles, which can run code when they are read: load the model with Transformers and save it again, which writes safetensors"
        }
        () if ends(".gguf") => {
            "; GGUF files are not read: name the repository that they were made from"
        }
        () => "",
    };
    format!("the repository has neither {WEIGHTS} nor {INDEX}; it has {}{advice}", some_of(files))
}

fn some_of(files: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = files.iter().take(SHOWN).map(String::as_str).collect();
    match files.len() {
        0 => "no files".into(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
