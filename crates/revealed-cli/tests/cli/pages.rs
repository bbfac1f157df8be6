//! Commands of the README and of the pages under `docs`, run as a newcomer would type them, in the folder that the guide leaves.
//!
//! Small files stand in for what the pages name: every `.parquet` is a `.jsonl` here, a tiny random model is `model`, and a server on this
//! machine is the judge. What is not run is named in [`PARSED`] with the reason.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use revealed::lab::shop_desk::{self, Setting, TaskSize};
use serde_json::{Value, json};

use crate::world::{RECIPE, World};
use revealed_eval::testing::{Act, Stub};

/// Pages whose commands are only parsed, by a unit test of the program.
const PARSED: [(&str, &str); 2] = [
    ("backends.md", "its commands build the program with other backends"),
    ("evidence.md", "its command takes hours"),
];
const RUN: [&str; 6] =
    ["guide.md", "hand-over.md", "mt-bench.md", "report.md", "rewards.md", "tasks.md"];

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// A page's blocks of a language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let start = format!("```{language}\n");
    let blocks = text.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Pairs of prompts that no demonstration has.
fn pairs() -> String {
    let size = TaskSize { clerk: 0, demonstrations: 12, held_out: 0, prompts: 0, test: 0 };
    let task = shop_desk::task_of_size(9, Setting::Easy, &size);
    let row = |(note, reply): &(shop_desk::Note, String)| {
        let (prompt, chosen) = (note.prompt(), format!(" {reply}"));
        json!({"prompt": prompt, "chosen": chosen, "rejected": " this is not our fault ."})
    };
    lines(&task.demonstrations.iter().map(row).collect::<Vec<_>>())
}

/// What the guide begins with.
fn start() -> World {
    let world = World::new("llama");
    world.write("pairs.jsonl", &pairs());
    // A recipe that takes seconds stands in for the one that is printed.
    world.write("tiny.toml", RECIPE);
    world.write(
        "bin/revealed",
        &format!(
            "#!/bin/sh\nif [ \"$1\" = recipe ]; then {0} recipe >/dev/null && cat tiny.toml; else exec {0} \"$@\"; fi\n",
            env!("CARGO_BIN_EXE_revealed")
        ),
    );
    fs::set_permissions(world.path("bin/revealed"), fs::Permissions::from_mode(0o755)).unwrap();
    world
}

/// What the guide leaves, with a model that has a chat template and takes unknown words.
fn after_the_guide() -> World {
    let world = start();
    let edit = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut file: Value = serde_json::from_slice(&world.read(name)).unwrap();
        change(&mut file);
        world.write(name, &file.to_string());
    };
    edit("model/tokenizer.json", &|file| file["model"]["unk_token"] = json!("."));
    let chat = "{% for m in messages %}{{ m.content }} {% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}";
    edit("model/tokenizer_config.json", &|file| file["chat_template"] = json!(chat));
    for run in ["first", "second"] {
        world.recipe("align", &[&format!("run.out=runs/{run}")]).ok();
    }
    world
}

/// Runs a block as a shell does, `url` in place of the judges' addresses.
fn run(world: &World, block: &str, url: &str) {
    let block = stand_ins(block, url);
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .args(["-euc", &block])
        .current_dir(world.folder.path())
        .env("PATH", &path)
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{block}\nstdout: {stdout}\nstderr: {stderr}");
}

fn stand_ins(text: &str, url: &str) -> String {
    let text = text.replace(".parquet", ".jsonl");
    text.replace("https://api.example.com/v1", url).replace("http://127.0.0.1:8000/v1", url)
}

/// Runs all blocks of a page, of which there are `count` at least.
fn run_page(world: &World, page: &str, count: usize, url: &str) {
    let blocks = blocks(page, "sh");
    assert!(blocks.len() >= count, "{page}: {} blocks: is it where it was?", blocks.len());
    blocks.iter().for_each(|block| run(world, block, url));
}

#[test]
fn every_page_with_commands_is_run_or_says_why_not() {
    for entry in fs::read_dir(docs()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && !blocks(&name, "sh").is_empty() {
            let parsed = PARSED.iter().any(|(page, _)| *page == name);
            assert!(parsed || RUN.contains(&name.as_str()), "{name}: add it to RUN or to PARSED");
        }
    }
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let world = start();
    run_page(&world, "guide.md", 9, "");
    for made in [
        "runs/first/report.html",
        "runs/first/policy/README.md",
        "runs/first/reward/README.md",
        "merged/model.safetensors",
        "merged/README.md",
    ] {
        assert!(world.path(made).is_file(), "{made}");
    }
}

#[test]
fn every_command_about_pages_and_handing_over_runs() {
    let world = after_the_guide();
    run_page(&world, "report.md", 1, "");
    run_page(&world, "hand-over.md", 1, "");
    let page = String::from_utf8(world.read("runs/first/report.html")).unwrap();
    assert!(page.contains("preferences"), "{page}");
}

#[test]
fn every_command_about_rewards_runs() {
    let world = after_the_guide();
    let pair = |id: usize, subset: &str| {
        let prompt = format!("note : customer {} ;", ["anna", "ben", "carla", "david"][id % 4]);
        let (chosen, rejected) = (" dear anna , sorry .", " that is all .");
        json!({"id": id, "subset": subset, "prompt": prompt, "chosen": chosen, "rejected": rejected})
    };
    let subsets = ["alpacaeval-easy", "llmbar-natural", "donotanswer", "math-prm"];
    let all: Vec<Value> = subsets.iter().enumerate().map(|(id, name)| pair(id, name)).collect();
    for name in ["filtered.jsonl", "shp.jsonl", "summarize.jsonl"] {
        world.write(name, &lines(&all));
    }
    let one_of_four = |subset: &str, id: Value| {
        let rejected = [" do", " that is", " that is all ."];
        json!({"id": id, "subset": subset, "prompt": "note :", "chosen": [" sorry"], "rejected": rejected})
    };
    let ties = json!({"id": "tied:0", "subset": "Ties", "prompt": "reply :", "chosen": [" sorry", " dear"], "rejected": [" do"]});
    let rows = [
        one_of_four("Factuality", json!(0)),
        one_of_four("Focus", json!(1)),
        one_of_four("Ties", json!("ref:0")),
        ties,
    ];
    world.write("test.jsonl", &lines(&rows));
    let styles = |domain: &str| {
        json!({
            "id": domain, "domain": domain, "prompt": "note :",
            "chosen": [" sorry", " sorry to hear", " sorry to hear that it is lost"],
            "rejected": [" do", " that is", " that is all . do not write"],
        })
    };
    let domains = ["chat", "math", "code", "safety-refuse"].map(styles);
    world.write("total_dataset.json", &json!(domains).to_string());
    run_page(&world, "rewards.md", 6, "");
}

#[test]
fn the_readmes_commands_run() {
    let world = after_the_guide();
    world.write("tiny.toml", &RECIPE.replace("out = \"run\"", "out = \"runs/align\""));
    world.write("prompts.jsonl", &String::from_utf8(world.read("demonstrations.jsonl")).unwrap());
    world.write("arc_easy.jsonl", &lines(&[0, 1].map(arc)));
    fs::rename(world.path("runs/second"), world.path("runs/other")).unwrap();
    let block = blocks("../README.md", "sh").pop().unwrap().replace("MODEL", "model");
    // Builds the program, and runs for hours.
    let left_out = ["cargo install", "revealed bench quickstart"];
    let lines: Vec<&str> = block
        .lines()
        .filter(|line| !left_out.iter().any(|start| line.starts_with(start)))
        .collect();
    assert!(lines.len() > 10 && lines.len() + left_out.len() == block.lines().count(), "{block}");
    run(&world, &lines.join("\n"), "");
}

/// A row of ARC's layout in the shop desk's words.
fn arc(at: usize) -> Value {
    let choices =
        json!({"text": ["dear anna", "sorry", "do not", "lost"], "label": ["A", "B", "C", "D"]});
    json!({"question": "note : item radio", "choices": choices, "answerKey": (["A", "B", "C", "D"][at % 4])})
}

#[test]
fn every_command_about_tasks_runs() {
    let world = after_the_guide();
    world.write("arc-test.jsonl", &lines(&[0, 1, 2].map(arc)));
    world.write("arc-train.jsonl", &lines(&(0..30).map(arc).collect::<Vec<_>>()));
    let own = |at: usize| json!({"question": "item", "options": ["lost", "late"], "answer": (["lost", "late"][at % 2])});
    world.write("questions.jsonl", &lines(&[0, 1].map(own)));
    world.write("examples.jsonl", &lines(&[0, 1, 2].map(own)));
    world.write("colours.toml", &blocks("tasks.md", "toml")[0]);
    run_page(&world, "tasks.md", 2, "");
}

#[test]
fn every_command_about_judging_runs() {
    let world = after_the_guide();
    let turns = ["my order is late .", "thank you ."];
    let question =
        |id: u64, category: &str| json!({"question_id": id, "category": category, "turns": turns});
    world.write(
        "mt_bench/question.jsonl",
        &lines(&[question(81, "writing"), question(111, "math")]),
    );
    let prompt = |name: &str, template: &str| json!({"name": name, "system_prompt": "s", "prompt_template": template, "output_format": if name.starts_with("pair") { "[[A]]" } else { "[[rating]]" }});
    let prompts = [
        prompt("single-v1", "{question} {answer}"),
        prompt("single-v1-multi-turn", "{question_2} {answer_1} {answer_2}"),
        prompt("single-math-v1", "{question} {ref_answer_1} {answer}"),
        prompt("single-math-v1-multi-turn", "{question_2} {ref_answer_2} {answer_2}"),
        prompt("pair-v2", "{question} {answer_a} {answer_b}"),
        prompt("pair-v2-multi-turn", "{answer_a_2} {answer_b_2}"),
        prompt("pair-math-v1", "{question} {ref_answer_1} {answer_a} {answer_b}"),
        prompt("pair-math-v1-multi-turn", "{ref_answer_2} {answer_a_2} {answer_b_2}"),
    ];
    world.write("mt_bench/judge_prompts.jsonl", &lines(&prompts));
    let reference = json!({"question_id": 111, "answer_id": "x", "model_id": "gpt-4", "tstamp": 1.5, "choices": [{"index": 0, "turns": ["one", "two"]}]});
    world.write("mt_bench/reference_answer/gpt-4.jsonl", &lines(&[reference]));
    let stub = Stub::serve(|_, _| Act::Say("[[A]], by far: [[6]]".into()));
    let [settings, extra] = &blocks("mt-bench.md", "toml")[..] else {
        panic!("two blocks of toml")
    };
    world.write("judge.toml", &stand_ins(settings, &stub.url));
    run_page(&world, "mt-bench.md", 2, &stub.url);
    let asked = stub.seen().len();
    // 4 gradings, 8 games of MT-Bench, 2 a demonstration.
    assert!(asked >= 4 + 8 + 2, "{asked} requests");
    let record: Value = serde_json::from_slice(&world.read("mt_bench.json")).unwrap();
    assert_eq!(record["figures"][0]["value"], 6.0, "{}", record["figures"]);
    // The page's template, for a model without one.
    let template = blocks("mt-bench.md", "jinja").remove(0).replace("</s>", "<eos>");
    world.write("doc.jinja", &template);
    let made = "revealed eval mt-bench --model model --model-id doc --template doc.jinja --questions mt_bench/question.jsonl --max-tokens 4";
    run(&world, made, &stub.url);
    // With the fields of the second block every game is another one.
    world.write("judge.toml", &stand_ins(&format!("{settings}{extra}"), &stub.url));
    let last = blocks("mt-bench.md", "sh").pop().unwrap();
    run(&world, last.lines().last().unwrap(), &stub.url);
    let seen = stub.seen();
    assert!(seen.len() > asked && seen.last().unwrap().contains("grammar"), "{}", seen.len());
}
