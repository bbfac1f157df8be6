//! Kills real runs and compares what they leave, once resumed, with what a run that nobody killed leaves: byte for byte.
//!
//! `cargo test -p revealed-cli --test kill -- --kills 200 --seed 7`. Half of the kills come at random instants; the other
//! half, where `strace` is installed, as a system call that writes, syncs or renames begins. Every run is killed a few
//! times before it may end.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use world::World;

/// Kills before a run is let go on to its end.
const KILLS_A_RUN: usize = 5;
const CALLS: [&str; 6] = ["rename", "fsync", "write", "mkdir", "openat", "unlink"];
/// Everything that a checkpoint has to carry: SFT with early stopping, a judge, two members, averaged rounds.
const SETTINGS: [&str; 8] = [
    "run.rounds=2",
    "run.save_steps=2",
    "sft.epochs=2",
    "reward.ensemble_size=2",
    "reward.steps=5",
    "policy.steps=4",
    "gate.patience=3",
    "model.tuning=lora",
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let place = args.iter().position(|arg| arg == name);
        place.map_or(default, |place| args[place + 1].parse().expect("a number"))
    };
    // As the standard harness does with a filter for other tests.
    if args.first().is_some_and(|first| !first.starts_with('-') && !"kill".contains(first.as_str()))
    {
        return;
    }
    let (kills, seed) = (number("--kills", 20) as usize, number("--seed", 0));
    let mut random = Random(seed);
    let world = World::new("llama");
    let began = Instant::now();
    assert!(start(&world, "whole", None).wait().unwrap().success());
    let whole = began.elapsed();
    let wanted = tree(&world.path("whole"));
    assert!(wanted.len() > 10, "{:?}", wanted.keys());

    let traced = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !traced {
        println!(
            "strace is not installed: all kills come at random instants, none at system calls"
        );
    }
    let (mut at_calls, mut at_instants, mut runs) = (0, 0, 0);
    while at_calls + at_instants < kills {
        runs += 1;
        let name = format!("run-{runs}");
        for _ in 0..KILLS_A_RUN.min(kills - at_calls - at_instants) {
            let call = (traced && at_calls <= at_instants).then(|| {
                let call = CALLS[random.below(CALLS.len() as u64) as usize];
                // Reads of libraries and of the model come first.
                format!(
                    "{call}:signal=KILL:when={}",
                    1 + random.below(if call == "openat" { 150 } else { 60 })
                )
            });
            let mut run = start(&world, &name, call.as_deref());
            match call {
                Some(_) => at_calls += usize::from(!run.wait().unwrap().success()),
                None => {
                    std::thread::sleep(Duration::from_micros(
                        random.below(whole.as_micros() as u64),
                    ));
                    run.kill().unwrap();
                    at_instants += usize::from(!run.wait().unwrap().success());
                }
            }
        }
        assert!(start(&world, &name, None).wait().unwrap().success(), "{name} does not resume");
        let found = tree(&world.path(&name));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
        let changed: Vec<&String> =
            wanted.iter().filter(|(file, bytes)| found[*file] != **bytes).map(|(f, _)| f).collect();
        assert!(changed.is_empty(), "{name}: {changed:?} differ; seed {seed}");
    }
    println!(
        "killed {at_instants} times at random instants and {at_calls} times at system calls (seed {seed}); {runs} runs ended in the same bytes"
    );
}

/// The run of that name from its start, or from where it was killed.
fn start(world: &World, name: &str, call: Option<&str>) -> std::process::Child {
    let mut command = match call {
        None => Command::new(env!("CARGO_BIN_EXE_revealed")),
        Some(inject) => {
            let mut strace = Command::new("strace");
            let trace = format!("trace={}", inject.split(':').next().unwrap());
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e"]);
            strace.arg(format!("inject={inject}"));
            strace.arg(env!("CARGO_BIN_EXE_revealed"));
            strace
        }
    };
    command.current_dir(world.folder.path()).args(["align", "recipe.toml"]);
    command.args(["--set", &format!("run.out={name}")]);
    for setting in SETTINGS {
        command.args(["--set", setting]);
    }
    if world.path(name).join("recipe.toml").is_file() {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Every file of a run by its path, but for its checkpoints, event files, which are dated, and what says where it is.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            match path.is_dir() {
                true if !["checkpoints", "tensorboard"].contains(&name.as_str()) => {
                    folders.push(path);
                }
                false if !["recipe.toml", "report.html"].contains(&name.as_str()) => {
                    files.insert(name, std::fs::read(path).unwrap());
                }
                _ => {}
            }
        }
    }
    files
}

/// A small generator of its own, so that a seed gives the same kills everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}
