//! `revealed eval tasks` on the golden model and rows.

use std::path::{Path, PathBuf};

use revealed::eval::EvalRecord;
use serde_json::json;

use crate::world::revealed;

fn golden() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks")).to_owned()
}

#[test]
fn a_built_in_task_and_its_record_say_what_was_done() {
    let out = tempfile::tempdir().unwrap();
    let record = out.path().join("record.json");
    let args = ["eval", "tasks", "arc_challenge", "--model", "model", "--data", "data/arc.jsonl"];
    let rest = ["--shots-data", "data/arc_shots.jsonl", "--shots", "4", "--out"];
    let args = [&args[..], &rest, &[record.to_str().unwrap()]].concat();
    let lines = revealed(&golden(), &args).ok().lines();
    assert_eq!(lines.len(), 2);
    // golden/tasks/expected.json
    assert_eq!((&lines[0]["metric"], &lines[0]["value"]), (&json!("acc"), &json!(0.75)));
    assert_eq!((&lines[0]["shots"], &lines[0]["n"]), (&json!(4), &json!(4)));
    let record = EvalRecord::read(&record).unwrap();
    assert_eq!(record.evaluation, "arc_challenge");
    assert_eq!(record.figure("acc", None).unwrap().value, 0.75);
    assert_eq!((record.items.len(), record.data.len()), (4, 2));
    assert!(record.models["model"].sha256.is_some());
    assert_eq!(record.settings["seed"], json!(1234));
    assert_eq!(record.settings["description"]["doc_to_choice"], json!("{{ choices.text }}"));
}

#[test]
fn a_description_of_ones_own_gives_a_table_and_a_limit_is_kept() {
    let args = ["eval", "tasks", "spaces.toml", "--model", "model", "--data", "data/spaces.jsonl"];
    let args = [&args[..], &["--limit", "2", "--table"]].concat();
    let done = revealed(&golden(), &args).ok();
    assert_eq!(done.stdout.lines().count(), 2 + 4, "{}", done.stdout);
    assert!(done.stdout.contains("| spaces | all | 0 | acc_bytes | 1.0000 ("), "{}", done.stdout);
    assert!(done.stdout.lines().skip(2).all(|line| line.ends_with("| 2 |")), "{}", done.stdout);
}

#[test]
fn the_built_in_tasks_are_listed_and_each_can_be_read() {
    let lines = revealed(&golden(), &["eval", "tasks", "--list"]).ok().lines();
    assert!(lines.iter().any(|line| line["task"] == "mmlu" && line["num_fewshot"] == 5));
    let one = revealed(&golden(), &["eval", "tasks", "--list", "winogrande"]).ok();
    assert!(one.stdout.contains("output_type = \"multiple_context\""), "{}", one.stdout);
}

#[test]
fn what_is_missing_is_named() {
    let run = |task: &str, data: &str, rest: &[&str]| {
        let args = ["eval", "tasks", task, "--model", "model", "--data", data];
        revealed(&golden(), &[&args[..], rest].concat())
    };
    run("arc", "data/arc.jsonl", &[]).failed_with(&["no task `arc`", "arc_challenge"]);
    run("none.toml", "data/arc.jsonl", &[]).failed_with(&["none.toml"]);
    run("piqa", "none.jsonl", &[]).failed_with(&["none.jsonl"]);
    let foreign = ["data/arc.jsonl: line 1", "piqa", "`sol1` (missing)", "question, choices"];
    run("piqa", "data/arc.jsonl", &[]).failed_with(&foreign);
    run("arc_easy", "data/arc.jsonl", &["--shots", "4"]).failed_with(&["4 shots", "4 rows"]);
    let gsm8k = ["--shots", "0"];
    run("gsm8k", "data/gsm8k.jsonl", &gsm8k).failed_with(&[
        "data/gsm8k.jsonl: line 1",
        "256 generated",
        "context is 256",
    ]);
}

#[test]
fn a_bad_row_is_named_with_its_line_before_any_question_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let rows = std::fs::read_to_string(golden().join("data/arc.jsonl")).unwrap();
    let good = rows.lines().count();
    let path = folder.path().join("bad.jsonl");
    let bad = json!({"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "Z"});
    std::fs::write(&path, format!("{rows}\n{bad}\n")).unwrap();
    let args = ["eval", "tasks", "arc_easy", "--model", "model", "--verbose", "--data"];
    let done = revealed(&golden(), &[&args[..], &[path.to_str().unwrap()]].concat());
    let line = format!("bad.jsonl: line {}", good + 2);
    let done = done.failed_with(&[&line, "answerKey", "Z is not in"]);
    assert_eq!(done.stdout, "");
}
