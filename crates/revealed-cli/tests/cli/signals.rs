//! A run that is asked to stop.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;
use revealed_eval::testing::{Act, Stub};

/// Starts a run that reacts to SIGHUP, whatever the tests themselves were started with.
fn start(world: &World, settings: &[&str]) -> Child {
    let mut command = Command::new("env");
    command.current_dir(world.folder.path());
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_revealed"), "align", "recipe.toml"]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(done.unwrap().success());
}

/// Waits for something that the run writes.
fn wait_until(child: &mut Child, what: impl Fn() -> bool) {
    while !what() {
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The exit code and what stands on stderr.
fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_signal_finishes_the_step_and_saves_and_the_run_resumes_to_the_same_metrics() {
    let world = World::new("llama");
    let settings = ["reward.steps=300", "run.save_steps=0", "run.rounds=1"];
    world.recipe("align", &[&settings[..], &["run.out=whole"]].concat()).ok();
    let whole = world.read("whole/metrics.jsonl");
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let out = format!("run.out={name}");
        let metrics = world.path(name).join("metrics.jsonl");
        let mut run = start(&world, &[&settings[..], &[&out]].concat());
        let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |t| t.lines().count());
        wait_until(&mut run, || lines(&metrics) > 12);
        signal(&run, name);
        let (found, stderr) = end(run);
        assert_eq!(found, code, "{stderr}");
        assert!(stderr.contains("its state is saved, go on with --resume"), "{stderr}");
        let cut = std::fs::read_to_string(&metrics).unwrap();
        assert!(cut.len() < whole.len());
        // The step that is saved is the last one that was written.
        let last: Value = serde_json::from_str(cut.lines().last().unwrap()).unwrap();
        let phase = "fit-validation-reward";
        let at = format!("after round {}, {phase}, step {};", last["round"], last["step"]);
        assert!(last["phase"] == phase && stderr.contains(&at), "{at} {stderr}");
        let mut args = vec!["align", "recipe.toml", "--resume", "--set", &out];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        let resumed = world.revealed(&args).ok();
        assert!(resumed.stderr.contains("resuming"), "{}", resumed.stderr);
        assert_eq!(std::fs::read(&metrics).unwrap(), whole);
    }
}

#[test]
fn a_run_under_nohup_ignores_a_hangup() {
    let world = World::new("llama");
    let mut run = Command::new("nohup")
        .current_dir(world.folder.path())
        .args([env!("CARGO_BIN_EXE_revealed"), "align", "recipe.toml"])
        .args(["--set", "reward.steps=100"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = world.path("run/metrics.jsonl");
    let lines = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    wait_until(&mut run, || lines() > 12);
    signal(&run, "HUP");
    let (code, stderr) = end(run);
    assert_eq!(code, 0, "{stderr}");
    assert!(world.path("run/policy/adapter_model.safetensors").is_file());
}

#[test]
fn a_second_signal_does_not_wait() {
    let world = World::new("llama");
    // Minutes of sampling, after an SFT that is saved.
    let mut run = start(&world, &["negatives.initial=5000", "data.max_completion_tokens=40"]);
    let checkpoints = world.path("run/checkpoints");
    wait_until(&mut run, || checkpoints.join("000001").is_dir());
    signal(&run, "INT");
    std::thread::sleep(Duration::from_millis(50));
    signal(&run, "INT");
    assert_eq!(end(run).0, 130);
    assert!(!checkpoints.join("000002").exists(), "it has waited for the end of the phase");
}

#[test]
fn a_signal_waits_for_a_judges_answers_and_no_answer_is_paid_for_twice() {
    let world = World::new("llama");
    let rows = |mark: &str| -> String {
        let row = |id: usize| json!({"id": id.to_string(), "prompt": format!("q {id}"), "completion": format!("{mark} {id}")});
        (0..20).map(|id| format!("{}\n", row(id))).collect()
    };
    world.write("a.jsonl", &rows("a"));
    world.write("b.jsonl", &rows("b"));
    let stub = Stub::serve(|_, _| {
        std::thread::sleep(Duration::from_millis(30));
        Act::Say("[[A]]".into())
    });
    let settings = format!("[judge]\nurl = \"{}\"\nmodel = \"j\"\nconcurrency = 4\n", stub.url);
    world.write("judge.toml", &settings);
    let args = ["eval", "judge", "a.jsonl", "b.jsonl", "--judge", "judge.toml"];
    let mut run = Command::new(env!("CARGO_BIN_EXE_revealed"))
        .current_dir(world.folder.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(&mut run, || stub.seen().len() > 5);
    signal(&run, "INT");
    let (code, stderr) = end(run);
    assert_eq!(code, 130, "{stderr}");
    assert!(
        stderr.contains("games.jsonl, and the same command asks only for the rest"),
        "{stderr}"
    );
    assert!(stub.seen().len() < 40);
    world.revealed(&args).ok();
    assert_eq!(stub.seen().len(), 40);
}
