//! MT-Bench and pairwise judging with a judge on a local port.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{Done, World};
use revealed_eval::testing::{Act, Stub};

const KEY: &str = "sk-planted-0123456789";

/// Runs the program with a key in the environment.
fn with_key(world: &World, args: &[&str]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_revealed"))
        .current_dir(world.folder.path())
        .env("PLANTED", KEY)
        .env_remove("OPENAI_API_KEY")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stdout.contains(KEY) && !stderr.contains(KEY), "{stdout}\n{stderr}");
    Done { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

fn no_file_holds_the_key(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => no_file_holds_the_key(&path),
            false => {
                let bytes = fs::read(&path).unwrap();
                let found = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
                assert!(!found, "{}", path.display());
            }
        }
    }
}

/// A world with three questions, prompts and a template in words of our own.
fn world() -> World {
    let world = World::new("llama");
    let lines = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let question = |id: u64, category: &str| json!({"question_id": id, "category": category, "turns": ["my order is late .", "thank you ."]});
    let questions = [question(81, "writing"), question(91, "roleplay"), question(111, "stem")];
    world.write("question.jsonl", &lines(&questions));
    let prompt = |name: &str, template: &str, format: &str| json!({"name": name, "system_prompt": "s", "prompt_template": template, "output_format": format});
    world.write(
        "prompts.jsonl",
        &lines(&[
            prompt("single-v1", "{question} {answer}", "[[rating]]"),
            prompt("single-v1-multi-turn", "{question_2} {answer_1} {answer_2}", "[[rating]]"),
            prompt("pair-v2", "{question} {answer_a} {answer_b}", "[[A]]"),
            prompt("pair-v2-multi-turn", "{answer_a_2} {answer_b_2}", "[[A]]"),
        ]),
    );
    let chat = "{% for m in messages %}{{ m.content }} {% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}";
    world.write("chat.jinja", chat);
    // The shop desk's words are not all the words there are.
    let mut tokenizer: Value = serde_json::from_slice(&world.read("model/tokenizer.json")).unwrap();
    tokenizer["model"]["unk_token"] = json!(".");
    world.write("model/tokenizer.json", &tokenizer.to_string());
    world
}

const ANSWER: [&str; 13] = [
    "eval",
    "mt-bench",
    "--questions",
    "question.jsonl",
    "--judge-prompts",
    "prompts.jsonl",
    "--model",
    "model",
    "--template",
    "chat.jinja",
    "--max-tokens",
    "8",
    "--table",
];

fn judged(url: &str) -> Vec<&str> {
    vec!["--judge-url", url, "--judge-model", "org/judge", "--judge-key-env", "PLANTED"]
}

fn turns(world: &World) -> Vec<Value> {
    let text = String::from_utf8(world.read("mt_bench/model_answer/model.jsonl")).unwrap();
    let row = |line: &str| serde_json::from_str::<Value>(line).unwrap()["choices"].clone();
    text.lines().map(row).collect()
}

#[test]
fn a_broken_benchmark_goes_on_and_ends_in_a_record() {
    let world = world();
    let stub = Stub::serve(|number, _| match number {
        2 => Act::Answer(401, "", format!("bad key {KEY}")),
        4 => Act::Say("no idea".into()),
        _ => Act::Say("Rating: [[6]]".into()),
    });
    let args = [&ANSWER[..], &judged(&stub.url), &["--out", "record.json"]].concat();
    let done = with_key(&world, &args);
    let wanted = ["judging stopped", "org_judge_single.jsonl", "the same command", "401", "[key]"];
    done.failed_with(&wanted);
    let done = with_key(&world, &args).ok();
    assert!(done.stderr.contains("0 questions answered, 3 known"), "{}", done.stderr);
    assert!(done.stderr.contains("4 judgements asked for, 2 known"), "{}", done.stderr);
    assert!(done.stdout.contains("| all | 5 | 6.000"), "{}", done.stdout);
    assert!(done.stdout.contains("unparsed: 1 (of 6)"), "{}", done.stdout);
    assert_eq!(stub.seen().len(), 7);
    assert!(stub.seen().iter().all(|request| request.contains(&format!("Bearer {KEY}"))));
    let record: Value = serde_json::from_slice(&world.read("record.json")).unwrap();
    assert_eq!(record["evaluation"], "mt_bench");
    assert_eq!(record["items"].as_array().unwrap().len(), 3);
    assert_eq!(record["models"]["judge"]["path"], "org/judge");
    assert_eq!(record["settings"]["judge"]["url"], stub.url.as_str());
    assert!(record["settings"]["prompts_sha256"]["single-v1"].is_string());
    no_file_holds_the_key(world.folder.path());
}

#[test]
fn answers_are_kept_come_out_the_same_again_and_are_not_mixed_with_others() {
    let world = world();
    let done = with_key(&world, &ANSWER).ok();
    assert!(done.stderr.contains("no judge is given, so nothing is graded"), "{}", done.stderr);
    let first = turns(&world);
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|choices| choices[0]["turns"].as_array().unwrap().len() == 2));
    // As a crash leaves it: a question lost, another torn.
    let path = world.path("mt_bench/model_answer/model.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let end = text.find('\n').unwrap();
    fs::write(&path, &text[..end + 30]).unwrap();
    with_key(&world, &ANSWER).ok();
    assert_eq!(turns(&world), first);
    let other = [&ANSWER[..], &["--seed", "1"]].concat();
    with_key(&world, &other).failed_with(&["question 81", "other settings", "another name"]);
    with_key(&world, &[&other[..], &["--model-id", "seed-1"]].concat()).ok();
}

#[test]
fn a_model_without_chat_template_is_refused_before_a_file_is_made() {
    let world = world();
    let plain: Vec<&str> =
        ANSWER.into_iter().filter(|arg| !["--template", "chat.jinja"].contains(arg)).collect();
    let done = with_key(&world, &plain);
    done.failed_with(&["model has no chat template", "--template FILE.jinja"]);
    assert!(!world.path("mt_bench").exists());
    // One turn is no conversation.
    let question = json!({"question_id": 81, "category": "writing", "turns": ["thank you ."]});
    world.write("question.jsonl", &question.to_string());
    with_key(&world, &plain).ok();
}

#[test]
fn a_damaged_line_and_a_missing_reference_say_what_to_do() {
    let world = world();
    let stub = Stub::serve(|_, _| Act::Say("Rating: [[6]]".into()));
    let args = [&ANSWER[..], &judged(&stub.url)].concat();
    with_key(&world, &args).ok();
    let path = world.path("mt_bench/model_judgment/org_judge_single.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"damaged\": ";
    fs::write(&path, lines.join("\n")).unwrap();
    let done = with_key(&world, &args);
    done.failed_with(&["single.jsonl, line 3", "remove that line, the others are kept"]);
    lines.remove(2);
    fs::write(&path, lines.join("\n")).unwrap();
    let done = with_key(&world, &args).ok();
    assert!(done.stderr.contains("1 judgements asked for, 5 known"), "{}", done.stderr);
    let done = with_key(&world, &[&args[..], &["--references", "/nope"]].concat());
    done.failed_with(&["--references: /nope", "check the path"]);
}

#[test]
fn a_record_may_stand_in_the_folder_that_is_made() {
    let world = world();
    let stub = Stub::serve(|_, _| Act::Say("Rating: [[6]]".into()));
    let args = [&ANSWER[..], &judged(&stub.url), &["--out", "mt_bench/record.json"]].concat();
    with_key(&world, &args).ok();
    assert!(world.path("mt_bench/record.json").is_file());
}

#[test]
fn a_conversation_that_fills_the_context_is_answered_with_nothing_and_counted() {
    let world = world();
    // The model's context is 64 tokens.
    let long = "my order is late . ".repeat(13);
    let question =
        json!({"question_id": 81, "category": "writing", "turns": [long, "thank you ."]});
    world.write("question.jsonl", &question.to_string());
    let done = with_key(&world, &ANSWER).ok();
    assert!(done.stderr.contains("2 had no room in it and are empty"), "{}", done.stderr);
    assert_eq!(turns(&world)[0][0]["turns"], json!(["", ""]));
}

#[test]
fn two_sets_of_rows_are_compared_in_both_orders() {
    let world = world();
    let rows = |mark: &str| -> String {
        let row = |id: usize| json!({"id": id.to_string(), "prompt": format!("question {id}"), "completion": format!("{mark} {id}")});
        (0..4).map(|id| format!("{}\n", row(id))).collect()
    };
    world.write("good.jsonl", &rows("good"));
    world.write("bad.jsonl", &rows("bad"));
    world.write("template.txt", "{question}: {answer_a} or {answer_b}?");
    // Finds the good one wherever it is, but for one question, of which it takes the first.
    let stub = Stub::serve(|_, text| {
        let good_first = text.find("good") < text.find("bad");
        let first = text.contains("question 3") || good_first;
        Act::Say(if first { "[[A]]" } else { "[[B]]" }.into())
    });
    let compared = ["eval", "judge", "good.jsonl", "bad.jsonl", "--template", "template.txt"];
    let args = [&compared[..], &judged(&stub.url), &["--out", "record.json"]].concat();
    let line = with_key(&world, &args).ok().lines().remove(0);
    assert_eq!((&line["model_1"], &line["model_2"]), (&json!("good"), &json!("bad")));
    assert_eq!(line["win_rate"]["value"], 0.75);
    assert_eq!(line["win_rate_adjusted"]["value"], 0.875);
    assert_eq!(line["first_position"]["value"], 0.625);
    assert_eq!(stub.seen().len(), 8);
    assert_eq!(with_key(&world, &args).ok().lines()[0], line);
    assert_eq!(stub.seen().len(), 8);
    let pairs = String::from_utf8(world.read("judge/model_judgment/org_judge_pair.jsonl")).unwrap();
    assert_eq!(pairs.lines().count(), 4);
    no_file_holds_the_key(world.folder.path());
}

#[test]
fn answers_in_fastchats_layout_are_compared_turn_by_turn() {
    let world = world();
    for model in ["a", "b"] {
        let row = |id: u64| json!({"question_id": id, "answer_id": "x", "model_id": model, "choices": [{"index": 0, "turns": [format!("{model}1"), format!("{model}2")]}], "tstamp": 1.5});
        let rows: String = [81, 91, 111].map(|id| format!("{}\n", row(id))).concat();
        world.write(&format!("{model}.jsonl"), &rows);
    }
    let stub = Stub::serve(|_, _| Act::Say("[[C]]".into()));
    let bench = ["--questions", "question.jsonl", "--judge-prompts", "prompts.jsonl", "--table"];
    let args = [&["eval", "judge", "a.jsonl", "b.jsonl"][..], &bench, &judged(&stub.url)].concat();
    let done = with_key(&world, &args).ok();
    assert!(done.stdout.contains("| turn 2 | 3 | 0.000"), "{}", done.stdout);
    assert_eq!(stub.seen().len(), 12);
    // Graded alone, the same file needs no model.
    let alone = ["eval", "mt-bench", "--answers", "a.jsonl"];
    let done = with_key(&world, &[&alone[..], &bench, &judged(&stub.url)].concat()).ok();
    assert!(done.stderr.contains("no judgement has a rating"), "{}", done.stderr);
}

#[test]
fn a_wrong_judge_is_refused_before_anything_runs() {
    let world = world();
    let with = |more: &[&str]| with_key(&world, &[&ANSWER[..], more].concat());
    let secret = "https://me:sk-planted-0123456789@host.test/v1";
    with(&["--judge-url", secret, "--judge-model", "j"]).failed_with(&["judge.url", "credentials"]);
    with(&["--judge-url", "http://h/v1"]).failed_with(&["judge.model"]);
    with(&["--judge-model", "j"]).failed_with(&["judge.url is empty"]);
    let pasted = ["--judge-url", "http://h/v1", "--judge-model", "j", "--judge-key-env"];
    with(&[&pasted[..], &[KEY]].concat()).failed_with(&["the name of an environment variable"]);
    world.write("judge.toml", "[judge]\nurl = \"http://h/v1\"\nmodell = \"j\"\n");
    with(&["--judge", "judge.toml"]).failed_with(&["judge.toml", "modell"]);
    assert!(!world.path("mt_bench").exists());
}
