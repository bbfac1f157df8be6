//! From what a user names to a folder on disk: a path as it is, a hub id through the hub's cache.

use std::path::{Component, Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::ModelError;

/// How long the hub may take to give `config.json`, a few kilobytes: the client itself waits for ever.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

const OPTIONAL: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// Resolves a model folder, or a hub id such as `EleutherAI/pythia-1b-deduped`.
///
/// A folder that exists is used as it is and nothing is contacted. An id is looked up in the hub's cache
/// first, and fetched only when its config or weights are not there.
///
/// # Errors
/// When the name is neither a folder nor a cached or reachable model.
pub fn resolve(name: &str) -> Result<PathBuf, ModelError> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let unresolved = |reason: String| ModelError::Hub { id: name.into(), reason };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() != 2 || !parts.iter().all(|part| plain(part)) {
        return Err(unresolved("no such folder, and a hub id has the form owner/name".into()));
    }
    let repo = Repo::new(name.into(), RepoType::Model);
    let cached = Cache::from_env().repo(repo.clone());
    let complete = cached.get("model.safetensors").or(cached.get("model.safetensors.index.json"));
    if let (Some(config), Some(_)) = (cached.get("config.json"), complete)
        && let Some(folder) = config.parent().filter(|folder| whole(folder))
    {
        return Ok(folder.to_path_buf());
    }
    fetch(repo).map_err(unresolved)
}

/// Whether every shard that an index names is there.
fn whole(folder: &Path) -> bool {
    match shards(folder) {
        Some(shards) => shards.iter().all(|shard| folder.join(shard).is_file()),
        None => folder.join("model.safetensors").is_file(),
    }
}

fn shards(folder: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("model.safetensors.index.json")).ok()?;
    let index: serde_json::Value = serde_json::from_str(&text).ok()?;
    let mut names: Vec<String> = Vec::new();
    for name in index["weight_map"].as_object()?.values() {
        let name = name.as_str()?;
        let plain = |part| matches!(part, Component::Normal(_));
        if !Path::new(name).components().all(plain) {
            return None;
        }
        names.push(name.into());
    }
    names.sort_unstable();
    names.dedup();
    Some(names)
}

fn fetch(repo: Repo) -> Result<PathBuf, String> {
    let (api, config) = within(FIRST_ANSWER, move || first_file(repo))
        .ok_or_else(|| format!("the hub gave no answer in {} s", FIRST_ANSWER.as_secs()))??;
    let folder = config.parent().map(Path::to_path_buf).unwrap_or_default();
    for file in OPTIONAL {
        let _ = api.get(file);
    }
    if api.get("model.safetensors").is_err() {
        api.get("model.safetensors.index.json")
            .map_err(|error| format!("no safetensors weights: {error}"))?;
        for shard in
            shards(&folder).ok_or("the index is not one of shards in the model's folder")?
        {
            api.get(&shard).map_err(|error| format!("shard {shard}: {error}"))?;
        }
    }
    Ok(folder)
}

fn first_file(repo: Repo) -> Result<(ApiRepo, PathBuf), String> {
    let api = ApiBuilder::from_env()
        .with_progress(false)
        .build()
        .map_err(|error| format!("the hub client did not start: {error}"))?
        .repo(repo);
    match api.get("config.json") {
        Ok(path) => Ok((api, path)),
        Err(error) => Err(format!("not in the cache, and the hub gave: {error}")),
    }
}

/// What `work` gives, or nothing if it takes longer; its thread is left to end by itself then.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(work());
    });
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_takes_too_long_is_given_up() {
        let long = || thread::sleep(Duration::from_secs(60));
        assert_eq!(within(Duration::from_millis(20), long), None);
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
    }
}
