//! What the commands print, line by line.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{World, revealed};

#[test]
fn the_printed_recipe_is_a_recipe() {
    let world = World::new("llama");
    let recipe = world.revealed(&["recipe"]).ok().stdout;
    assert!(recipe.contains("# KL coefficient") && recipe.contains("prompts = \"\""));
    world.write("printed.toml", &recipe);
    let done = world.revealed(&["align", "printed.toml"]);
    done.failed_with(&["`model.path` is missing", "--set model.path="]);
    let done = world.revealed(&["align", "printed.toml", "--set", "model.path=model"]);
    done.failed_with(&["`data.demonstrations` is missing"]);
}

#[test]
fn check_shows_lengths_split_and_tokens() {
    let world = World::new("llama");
    let args = ["check", "--model", "model", "--data", "demonstrations.jsonl", "--held-out", "5"];
    let limits = ["--max-prompt-tokens", "16", "--max-completion-tokens", "48"];
    let done = world.revealed(&[&args[..], &limits].concat()).ok();
    assert!(done.stdout.contains("20 rows of prompt+completion"), "{}", done.stdout);
    assert!(done.stdout.contains("15 train, 5 held out"), "{}", done.stdout);
    assert!(done.stdout.contains("T       2 \"<eos>\""), "{}", done.stdout);
    assert_eq!(done.stderr, "");
    // The context is 64 tokens, too few for the default limits.
    assert!(world.revealed(&args).ok().stderr.contains("lowered from 512 to 32"));
}

#[test]
fn check_drops_before_it_splits_and_speaks_json() {
    let world = World::new("llama");
    let limits = ["--max-prompt-tokens", "16", "--max-completion-tokens", "32"];
    let args = [
        "check",
        "--model",
        "model",
        "--data",
        "demonstrations.jsonl",
        "--held-out",
        "2",
        "--json",
    ];
    let report: serde_json::Value =
        serde_json::from_str(&world.revealed(&[&args[..], &limits].concat()).ok().stdout).unwrap();
    let (rows, dropped) = (report["rows"].as_u64().unwrap(), report["dropped"].as_u64().unwrap());
    assert!(dropped > 0 && dropped < rows, "{report}");
    assert_eq!(report["split"], json!({"train": rows - dropped - 2, "held_out": 2}));
    let cut = ["--long-completions", "truncate"];
    let report: serde_json::Value =
        serde_json::from_str(&world.revealed(&[&args[..], &limits, &cut].concat()).ok().stdout)
            .unwrap();
    assert_eq!((&report["dropped"], &report["truncated"]), (&json!(0), &json!(dropped)));
}

#[test]
fn samples_are_scored_alike_by_log_probs() {
    let world = World::new("qwen3");
    let sample = ["sample", "--model", "model", "--prompts", "pairs.jsonl", "--max-tokens", "40"];
    let samples = world.revealed(&sample).ok();
    // A sample's line reads as a demonstration, with its own tokens.
    world.write("samples.jsonl", &samples.stdout);
    let scored = world.revealed(&["log-probs", "--model", "model", "--data", "samples.jsonl"]);
    let (samples, scored) = (samples.lines(), scored.ok().lines());
    let mut compared = 0;
    for (sample, row) in samples.iter().zip(&scored) {
        let start = row["completion_start"].as_u64().unwrap() as usize;
        let ids = &row["input_ids"].as_array().unwrap()[start..];
        let drawn = sample["completion_ids"].as_array().unwrap();
        assert_eq!(drawn, ids);
        assert_eq!(sample["finished"].as_bool().unwrap(), drawn.last().unwrap() == 2);
        let values = |value: &serde_json::Value| -> Vec<f64> {
            // They are f32, written with as many digits as tell them apart.
            let exact = |v: &Value| f64::from(v.as_f64().unwrap() as f32);
            value.as_array().unwrap().iter().map(exact).collect()
        };
        let theirs = values(&row["log_probs"]);
        assert!((theirs.iter().sum::<f64>() - row["sum"].as_f64().unwrap()).abs() < 1e-6);
        assert_eq!(theirs.len(), ids.len());
        for (a, b) in values(&sample["log_probs"]).iter().zip(&theirs) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} tokens compared");
}

#[test]
fn greedy_samples_repeat_and_seeds_tell_draws_apart() {
    let world = World::new("llama");
    let run = |more: &[&str]| {
        let args = ["sample", "--model", "model", "--prompts", "pairs.jsonl", "--max-tokens", "8"];
        let lines = world.revealed(&[&args[..], more].concat()).ok().lines();
        lines.into_iter().map(|line| line["completion_ids"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(&["--greedy"]), run(&["--greedy", "--seed", "1"]));
    assert_eq!(run(&["--seed", "1"]), run(&["--seed", "1", "--batch-size", "3"]));
    assert_ne!(run(&["--seed", "1"]), run(&["--seed", "2"]));
}

#[test]
fn preferences_are_measured_by_reward_log_ratio_and_length() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let by_score =
        world.revealed(&["score", "--reward", "run/reward", "--data", "pairs.jsonl"]).ok().lines();
    let args = ["eval", "preferences", "pairs.jsonl", "--reward", "run/reward"];
    let more = ["--policy", "run/policy", "--reference", "model", "--scores", "scores.jsonl"];
    let lines = world.revealed(&[&args[..], &more].concat()).ok().lines();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["data"], &lines[0]["pairs"]), (&"pairs".into(), &10.into()));
    assert_eq!(lines[0]["reward"]["accuracy"], by_score[10]["accuracy"]);
    assert_eq!(lines[0]["reward"]["interval"], by_score[10]["interval"]);
    let scores: Vec<Value> = fs::read_to_string(world.path("scores.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pairs = fs::read_to_string(world.path("pairs.jsonl")).unwrap();
    let (mut longer, mut likelier) = (0.0, 0.0);
    let ahead = |sides: &Value| match (sides[0].as_f64().unwrap(), sides[1].as_f64().unwrap()) {
        (a, b) if a == b => 0.5,
        (a, b) => f64::from(u8::from(a > b)),
    };
    for ((line, pair), score) in scores.iter().zip(pairs.lines()).zip(&by_score) {
        let pair: Value = serde_json::from_str(pair).unwrap();
        let length = |side: &str| pair[side].as_str().unwrap().chars().count() as f64;
        assert_eq!(line["length"], json!([length("chosen"), length("rejected")]));
        assert!(
            (line["reward"][0].as_f64().unwrap() - score["chosen"].as_f64().unwrap()).abs() < 1e-9
        );
        longer += ahead(&line["length"]);
        likelier += ahead(&line["log_ratio"]);
    }
    assert_eq!(lines[0]["length"]["accuracy"], longer / 10.0);
    assert_eq!(lines[0]["log_ratio"]["accuracy"], likelier / 10.0);

    // A model over itself says nothing of any pair; fewer pairs, and a table.
    let own = ["eval", "preferences", "pairs.jsonl", "--policy", "model", "--reference", "model"];
    let lines = world.revealed(&[&own[..], &["--max-pairs", "4"]].concat()).ok().lines();
    assert_eq!(lines[0]["pairs"], 4);
    assert_eq!(lines[0]["log_ratio"]["accuracy"], 0.5);
    let table = world.revealed(&[&own[..], &["--table"]].concat()).ok().stdout;
    assert!(
        table.starts_with("| data | subset | pairs | excluded | failed | cut | length |"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3 + 2);
    assert!(table.ends_with("pairs: 10 pairs scored, 0 failed, 0 cut to the limits\n"), "{table}");
    world.revealed(&own[..3]).failed_with(&["nothing to evaluate", "--reward"]);

    // Prompts that were trained on are left out; a pair that does not fit has its reason, and a file of such is an
    // error that keeps the results of others.
    let first: Value = serde_json::from_str(pairs.lines().next().unwrap()).unwrap();
    // In another form, with other spaces.
    let spaced = format!(" {} ", first["prompt"].as_str().unwrap().replace(' ', "  "));
    let messages =
        json!([{"role": "user", "content": spaced}, {"role": "assistant", "content": "ok"}]);
    let trained = json!({"messages": messages});
    world.write("trained.jsonl", &format!("{trained}\n"));
    let lines = world.revealed(&[&own[..], &["--exclude", "trained.jsonl"]].concat()).ok().lines();
    let excluded = lines[0]["excluded"].as_u64().unwrap();
    assert!(excluded >= 1);
    assert_eq!(lines[0]["pairs"].as_u64().unwrap() + excluded, 10);
    let long = json!({"prompt": "x", "chosen": "y ".repeat(9000), "rejected": "z"});
    world.write("long.jsonl", &format!("{long}\n"));
    let mut both = own.to_vec();
    both.extend(["long.jsonl", "--scores", "both.jsonl"]);
    let done = world.revealed(&both);
    assert_eq!(done.lines()[0]["pairs"], 10);
    done.failed_with(&["1 of 1 pairs could not be scored", "chosen: ", "no pair of long.jsonl"]);
    let scores = fs::read_to_string(world.path("both.jsonl")).unwrap();
    let last: Value = serde_json::from_str(scores.lines().last().unwrap()).unwrap();
    assert_eq!((scores.lines().count(), &last["data"]), (11, &json!("long")));
    assert!(last["error"].as_str().unwrap().starts_with("chosen: "), "{last}");
}

#[test]
fn a_bench_takes_settings_of_the_loop_alone_and_knows_results_of_others() {
    let world = World::new("llama");
    let bench = |more: &[&str]| {
        let none = ["bench", "quickstart", "--out", "bench", "--seeds", "7"];
        world.revealed(&[&none[..], more].concat())
    };
    bench(&["--arms", "none"]).ok();
    bench(&["--arms", "sfd"]).failed_with(&["there is no such arm", "sft"]);
    let named = ["--name", "mine", "--set"];
    bench(&[&named[..], &["sft.epochs=1"]].concat()).failed_with(&["sft.epochs=1", "[policy]"]);
    bench(&[&named[..], &["policy.sleeps=1"]].concat()).failed_with(&["sleeps"]);
    bench(&["--name", "sft", "--set", "policy.steps=1"]).failed_with(&["choose another"]);
    let old = json!({"setting": "hard", "seed": 7, "arm": "mine", "settings": "old", "rounds": []});
    world.write("bench/results.jsonl", &format!("{old}\n"));
    let again = bench(&[&named[..], &["policy.steps=1"]].concat());
    again.failed_with(&["results.jsonl, line 1", "mine was run with other settings"]);
    // Known arms are checked whatever is asked for, and no line counts twice.
    let foreign =
        json!({"setting": "hard", "seed": 7, "arm": "sft", "settings": "old", "rounds": []});
    world.write("bench/results.jsonl", &format!("{foreign}\n"));
    bench(&["--arms", "none"]).failed_with(&["line 1", "sft was run with other settings"]);
    world.write("bench/results.jsonl", &format!("{old}\n{old}\n"));
    bench(&["--arms", "none"]).failed_with(&["line 2", "mine is there already"]);
}

#[test]
fn pairs_end_in_an_accuracy_with_its_interval() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let lines =
        world.revealed(&["score", "--reward", "run/reward", "--data", "pairs.jsonl"]).ok().lines();
    assert_eq!(lines.len(), 11);
    let correct: f64 = lines[..10].iter().map(|line| line["correct"].as_f64().unwrap()).sum();
    for line in &lines[..10] {
        let ahead = line["chosen"].as_f64() > line["rejected"].as_f64();
        assert_eq!(ahead, line["correct"] == 1.0, "{line}");
    }
    assert_eq!(lines[10]["pairs"], 10);
    assert_eq!(lines[10]["accuracy"].as_f64().unwrap(), correct / 10.0);
    let bound = |side: usize| lines[10]["interval"][side].as_f64().unwrap();
    assert!(bound(0) < correct / 10.0 + 1e-9 && correct / 10.0 < bound(1) + 1e-9);

    // The adapter beside it, on the base that it names, from another folder.
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| world.path(name).display().to_string();
    let (reward, data) = (path("run/reward-adapter"), path("pairs.jsonl"));
    let again =
        revealed(elsewhere.path(), &["score", "--reward", &reward, "--data", &data]).ok().lines();
    for (a, b) in lines[..10].iter().zip(&again) {
        let difference = a["chosen"].as_f64().unwrap() - b["chosen"].as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn a_row_that_does_not_fit_has_its_error_in_its_place() {
    let world = World::new("llama");
    let long = "note ".repeat(70);
    let row =
        |id: &str, prompt: &str| json!({"id": id, "prompt": prompt, "completion": " dear anna ,"});
    let text =
        format!("{}\n{}\n{}\n", row("a", "note :"), row("b", long.trim()), row("c", "reply :"));
    world.write("mixed.jsonl", &text);
    let sampled = ["sample", "--model", "model", "--prompts", "mixed.jsonl", "--max-tokens", "8"];
    let scored = ["log-probs", "--model", "model", "--data", "mixed.jsonl"];
    for args in [&sampled[..], &scored] {
        let done = world.revealed(args).ok();
        let lines = done.lines();
        assert_eq!(lines.iter().map(|line| &line["id"]).collect::<Vec<_>>(), ["a", "b", "c"]);
        let error = lines[1]["error"].as_str().unwrap();
        assert!(error.contains("71 tokens") && error.contains("context is 64"), "{error}");
        assert!(lines[0].get("error").is_none() && lines[2].get("error").is_none());
        assert!(done.stderr.contains("1 of 3 rows"), "{}", done.stderr);
    }
    world.write("mixed.jsonl", &format!("{}\n", row("b", long.trim())));
    world.revealed(&sampled).failed_with(&["no row of mixed.jsonl could be used"]);
    world.revealed(&scored).failed_with(&["no row of mixed.jsonl could be used"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new("llama");
    let mut child = Command::new(env!("CARGO_BIN_EXE_revealed"))
        .current_dir(world.folder.path())
        .args(["sample", "--model", "model", "--prompts", "demonstrations.jsonl"])
        .args(["--samples", "200", "--max-tokens", "40", "--quiet"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"completion\""));
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}
