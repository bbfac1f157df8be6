//! Hub ids without a network: the cache is enough, and what is not in it is a clear and quick error.
//! `revealed-hub` tests the rest.
//!
//! The hub's settings are environment variables, so each case runs in a child process of this test.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use revealed_models::{CausalLm, resolve};
use support::{device, golden};

/// The child: resolves the id that the parent names and prints what it got.
#[test]
#[ignore = "run by the other tests of this file"]
fn child() {
    match resolve(&std::env::var("REVEALED_TEST_ID").unwrap()) {
        Ok(folder) => println!("found {}", folder.display()),
        Err(error) => println!("refused {error}"),
    }
}

/// What `resolve` says with the given cache and hub.
fn resolve_in(home: &Path, endpoint: &str, id: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env("HF_ENDPOINT", endpoint)
        .env("REVEALED_TEST_ID", id);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let answer = output.lines().find_map(|line| {
        let start = line.find("found ").or(line.find("refused "))?;
        Some(line[start..].to_string())
    });
    answer.unwrap_or(output)
}

/// A port on which nobody listens.
const CLOSED: &str = "http://127.0.0.1:9";

/// The hub cache's layout: a reference to a snapshot with the given files of a golden model.
fn cache(home: &Path, id: &str, model: &str) -> PathBuf {
    let repo = home.join(format!("hub/models--{}", id.replace('/', "--")));
    let snapshot = repo.join("snapshots/0123abc");
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), "0123abc").unwrap();
    for entry in fs::read_dir(golden(model)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, snapshot.join(path.file_name().unwrap())).unwrap();
    }
    snapshot
}

#[test]
fn a_folder_is_used_as_it_is() {
    let folder = golden("qwen2");
    assert_eq!(resolve(folder.to_str().unwrap()).unwrap(), folder);
}

#[test]
fn a_name_that_is_neither_folder_nor_id_is_refused_without_asking_the_hub() {
    for name in ["", "a/b/c", "../up/there", "./models/absent", "a/..", "/x/y", "a b/c"] {
        let message = resolve(name).unwrap_err().to_string();
        assert!(message.contains("owner/name"), "{message}");
        assert!(message.contains("local model folder"), "{message}");
    }
}

#[test]
fn a_cached_model_resolves_without_the_hub() {
    let home = tempfile::tempdir().unwrap();
    for (id, model) in [("owner/whole", "qwen2"), ("owner/shards", "llama-bf16")] {
        let snapshot = cache(home.path(), id, model);
        let answer = resolve_in(home.path(), CLOSED, id);
        assert_eq!(answer, format!("found {}", snapshot.display()));
        CausalLm::load(&snapshot, &device()).unwrap();
    }
}

#[test]
fn a_model_that_is_not_cached_is_refused_quickly_when_the_hub_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let answer = resolve_in(home.path(), CLOSED, "owner/absent");
    assert!(answer.starts_with("refused `owner/absent` is not a folder"), "{answer}");
    assert!(answer.contains(home.path().join("hub").to_str().unwrap()), "{answer}");
    assert!(answer.contains("local model folder"), "{answer}");
    // Not a claim of speed: the client must not wait for ever.
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_cached_model_that_lacks_a_shard_is_not_taken_for_whole() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache(home.path(), "owner/shards", "llama-bf16");
    fs::remove_file(snapshot.join("model-00002-of-00003.safetensors")).unwrap();
    let answer = resolve_in(home.path(), CLOSED, "owner/shards");
    assert!(answer.starts_with("refused `owner/shards`"), "{answer}");
}

#[test]
fn an_index_that_leaves_the_folder_is_never_followed() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache(home.path(), "owner/shards", "llama-bf16");
    let index = snapshot.join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"w": "../../../outside"}}"#).unwrap();
    fs::write(home.path().join("hub/outside"), "x").unwrap();
    let answer = resolve_in(home.path(), CLOSED, "owner/shards");
    assert!(answer.starts_with("refused `owner/shards`"), "{answer}");
}
