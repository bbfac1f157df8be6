//! Models and adapters by hub id, from a cache that environment variables name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{Done, World, revealed_with};

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden")).join(name)
}

/// Puts a folder's files into the cache as the snapshot that `refs/main` names.
fn cache(world: &World, repository: &str, from: &Path) {
    let snapshot = world.path(&format!("cache/{repository}/snapshots/abc"));
    fs::create_dir_all(&snapshot).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, snapshot.join(path.file_name().unwrap())).unwrap();
    }
    world.write(&format!("cache/{repository}/refs/main"), "abc");
}

fn log_probs(world: &World, model: &str, adapter: Option<&str>, cache: &[(&str, &str)]) -> Done {
    let mut args = vec!["log-probs", "--model", model, "--data", "demonstrations.jsonl"];
    args.extend(adapter.iter().flat_map(|adapter| ["--adapter", adapter]));
    revealed_with(world.folder.path(), &args, cache)
}

#[test]
fn models_and_adapters_come_from_the_cache_that_a_variable_names() {
    let world = World::new("llama");
    cache(&world, "models--own--tiny", &world.path("model"));
    let folder = log_probs(&world, "model", None, &[]).ok();
    let path = world.path("cache");
    for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
        let variables = [(variable, path.to_str().unwrap())];
        for id in ["own/tiny", "own/tiny@abc"] {
            let found = log_probs(&world, id, None, &variables).ok();
            assert_eq!(found.stdout, folder.stdout, "{variable} {id}");
        }
        let absent = log_probs(&world, "own/other", None, &variables);
        let cache = path.to_str().unwrap();
        absent.failed_with(&["`own/other`", cache, "models--own--other", "offline mode is on"]);
    }
    let variables = [("HF_HUB_CACHE", path.to_str().unwrap())];
    let absent = log_probs(&world, "own/tiny", Some("own/adapter"), &variables);
    absent.failed_with(&["`own/adapter`", "models--own--adapter", "local adapter folder"]);
    // It is found, and was made for another model.
    cache(&world, "models--own--adapter", &golden("adapters/regex-neox"));
    let other = log_probs(&world, "own/tiny", Some("own/adapter"), &variables);
    other.failed_with(&["gpt_neox", "no linear layer"]);
}
