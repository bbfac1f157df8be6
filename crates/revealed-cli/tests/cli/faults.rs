//! Disks that are full or read-only, and secrets in the environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::{World, revealed};

/// A file system of its own, unmounted at the end; none where one may not be mounted.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .output()
            .is_ok_and(|done| done.status.success());
        if !mounted {
            println!("skipped: a tmpfs cannot be mounted here (it takes root)");
        }
        mounted.then_some(Self(path))
    }

    fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn align(world: &World, resume: bool) -> crate::world::Done {
    let mut args = vec!["align", "recipe.toml", "--set", "run.out=disk/run"];
    args.extend(["--set", "run.save_steps=1"]);
    if resume {
        args.push("--resume");
    }
    world.revealed(&args)
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_loses_nothing() {
    let world = World::new("llama");
    world.recipe("align", &["run.save_steps=1", "run.out=whole"]).ok();
    let whole = world.read("whole/metrics.jsonl");
    let mut failed = 0;
    for size in ["8k", "64k", "128k", "256k"] {
        let Some(disk) = Disk::new(world.path("disk"), &format!("size={size}")) else { return };
        let done = align(&world, false);
        if done.code != 0 {
            failed += 1;
            let done = done.failed_with(&["disk/run", "No space left"]);
            assert!(!done.stderr.contains("panicked"));
            disk.remount("size=64m");
            let resume = world.path("disk/run/recipe.toml").is_file();
            align(&world, resume).ok();
        }
        assert_eq!(world.read("disk/run/metrics.jsonl"), whole, "{size}");
    }
    assert!(failed >= 2, "only {failed} disks were full");
}

#[test]
fn a_read_only_disk_is_an_error_that_names_the_folder() {
    let world = World::new("llama");
    let Some(disk) = Disk::new(world.path("disk"), "size=1m") else { return };
    fs::write(disk.0.join("there"), "").unwrap();
    disk.remount("ro");
    align(&world, false).failed_with(&["disk/run", "Read-only file system"]);
    let sample = ["sample", "--model", "model", "--prompts", "demonstrations.jsonl"];
    assert!(world.revealed(&[&sample[..], &["--max-tokens", "4"]].concat()).code == 0);
}

#[test]
fn a_run_that_will_not_fit_into_memory_does_not_start() {
    let world = World::new("llama");
    let parts = ["the memory plan needs", "KV cache", "run.memory_limit_gib"];
    world.recipe("align", &["run.memory_limit_gib=0.001"]).failed_with(&parts);
    assert!(!world.path("run").exists());
    // As much as no machine has.
    let huge = ["run.micro_batch_tokens=900000000", "data.max_prompt_tokens=20"];
    world.recipe("align", &huge).failed_with(&["the memory plan needs", "activations"]);
    let settings = ["run.memory_limit_gib=inf", "run.micro_batch_tokens=900000000"];
    world.recipe("align", &settings).ok();
}

#[test]
fn data_that_has_gone_is_named_and_the_run_goes_on_once_it_is_back() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let metrics = world.read("run/metrics.jsonl");
    let data = world.read("demonstrations.jsonl");
    fs::remove_file(world.path("demonstrations.jsonl")).unwrap();
    let resume = || world.revealed(&["align", "recipe.toml", "--resume"]);
    resume().failed_with(&["demonstrations.jsonl"]);
    let mut other = data.clone();
    let place = other.windows(5).position(|part| part == b"sorry").unwrap();
    other[place..place + 5].copy_from_slice(b"thank");
    fs::write(world.path("demonstrations.jsonl"), other).unwrap();
    resume().failed_with(&["demonstrations or prompts have changed", "restore them"]);
    fs::write(world.path("demonstrations.jsonl"), data).unwrap();
    resume().ok();
    assert_eq!(world.read("run/metrics.jsonl"), metrics);
}

#[test]
fn a_token_in_the_environment_is_written_nowhere() {
    let world = World::new("llama");
    let secret = "hf_PlantedForThisTestOnly";
    let done = Command::new(env!("CARGO_BIN_EXE_revealed"))
        .current_dir(world.folder.path())
        .args(["align", "recipe.toml", "-v", "-v"])
        .envs([("HF_TOKEN", secret), ("RUST_LOG", "trace"), ("OPENAI_API_KEY", secret)])
        .output()
        .unwrap();
    assert!(done.status.success());
    let missing =
        revealed(world.folder.path(), &["align", "recipe.toml", "--set", "model.path=no"]);
    assert_eq!(missing.code, 1);
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    assert!(!holds(&done.stdout) && !holds(&done.stderr));
    let mut files = 0;
    each_file(&world.path("run"), &mut |path| {
        files += 1;
        assert!(!holds(&fs::read(path).unwrap()), "{path:?}");
    });
    assert!(files > 10);
}

fn each_file(folder: &Path, what: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { each_file(&path, what) } else { what(&path) }
    }
}
