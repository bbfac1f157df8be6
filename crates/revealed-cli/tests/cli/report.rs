//! A run's page and companions, and comparisons.

use std::fs;

use serde_json::Value;

use crate::world::{World, revealed};

fn text(world: &World, name: &str) -> String {
    String::from_utf8(world.read(name)).unwrap()
}

#[test]
fn a_run_leaves_a_page_event_files_and_a_table() {
    let world = World::new("llama");
    let done = world.recipe("align", &[]).ok();
    assert!(done.stdout.contains("page: run/report.html"), "{}", done.stdout);
    let page = text(&world, "run/report.html");
    for part in ["Is the reward more than a shortcut?", "Round 1", "95 % interval", "</html>"] {
        assert!(page.contains(part), "no {part}");
    }
    // What the run wrote is what the report reads: nothing is said to be missing.
    assert!(!page.contains("Not in this folder"), "{page}");
    // Every figure but one of all samples together has an interval, from values one by one that are those of the report.
    let row =
        |name: &str| page.split(name).nth(1).unwrap().split("</tr>").next().unwrap().to_owned();
    for name in ["log-likelihood of demonstrations, nats/token", "repeated 4-grams, share"] {
        assert!(row(name).contains(" to "), "{}", row(name));
    }
    let json = |name: &str| -> Value { serde_json::from_str(&text(&world, name)).unwrap() };
    let (scores, report) = (json("run/samples/scores-1.json"), json("run/reports/round-1.json"));
    let sum = |list: &Value| list.as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>();
    let after = &report["after"];
    let likelihood =
        sum(&scores["after"]["log_likelihood"]) / sum(&scores["demonstration_lengths"]);
    assert!((likelihood - after["log_likelihood"].as_f64().unwrap()).abs() < 1e-9);
    let repetition = sum(&scores["after"]["repetition"]);
    let count = scores["after"]["repetition"].as_array().unwrap().len() as f64;
    assert!((repetition / count - after["repetition"].as_f64().unwrap()).abs() < 1e-9);
    let metrics = text(&world, "run/metrics.jsonl");
    let table = text(&world, "run/metrics.csv");
    assert_eq!(table.lines().count(), metrics.lines().count() + 1);
    let events = fs::read(world.path("run/tensorboard/improve/events.out.tfevents.0.revealed"));

    // Anew from the files: the same numbers, another date.
    let again = world.revealed(&["report", "run"]).ok();
    assert_eq!(again.stdout, "page: run/report.html\n");
    assert_eq!((text(&world, "run/report.html"), text(&world, "run/metrics.csv")), (page, table));
    let anew = fs::read(world.path("run/tensorboard/improve/events.out.tfevents.0.revealed"));
    assert_eq!(anew.unwrap().len(), events.unwrap().len());
}

#[test]
fn a_run_in_progress_or_damaged_has_a_page_that_says_so() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    fs::remove_dir_all(world.path("run/policy")).unwrap();
    fs::write(world.path("run/recipe.toml"), "[gate").unwrap();
    fs::write(world.path("run/reports/round-1.json"), "{\"round\": 1").unwrap();
    fs::write(world.path("run/samples/round-1.jsonl"), b"\xff\xfe{").unwrap();
    fs::write(world.path("run/samples/scores-1.json"), "[]").unwrap();
    let half = text(&world, "run/metrics.jsonl");
    fs::write(world.path("run/metrics.jsonl"), &half[..half.len() / 2]).unwrap();
    let done = world.revealed(&["report", "run", "--out", "page.html"]).ok();
    let page = text(&world, "page.html");
    for part in
        ["recipe.toml", "reports/round-1.json", "samples/round-1.jsonl", "samples/scores-1.json"]
    {
        assert!(page.contains(&format!("<li>{part}: ")), "{part} in {page}");
        assert!(done.stderr.contains(&format!("missing: {part}")), "{}", done.stderr);
    }
    let lines = half[..half.len() / 2].lines().count();
    assert!(page.contains(&format!("metrics.jsonl: line {lines} is damaged and was left out")));
    assert!(page.contains("in progress") && !page.contains("0 of 0"), "{page}");
    assert!(!page.contains("no round has been evaluated yet"), "{page}");
    assert!(!world.path("run/page.html").exists());

    fs::remove_file(world.path("run/recipe.toml")).unwrap();
    fs::remove_file(world.path("run/metrics.jsonl")).unwrap();
    world.revealed(&["report", "run"]).failed_with(&["run", "there is no run here"]);
    world.revealed(&["report", "nowhere"]).failed_with(&["nowhere", "there is no run here"]);
}

const RECORD: &str = r#"{"evaluation": "<toy>", "figures": [{"name": "acc", "value": VALUE, "n": 4}],
"items": [ITEMS], "settings": {"shots": SHOTS}, "models": {"model": {"path": "m"}},
"data": [{"path": "d", "sha256": "00"}],
"environment": {"revealed": "0", "device": "flex", "dtype": "f32", "command": []}}"#;

fn record(values: [u8; 4], shots: usize) -> String {
    let item = |(id, value): (usize, &u8)| {
        format!("{{\"id\": \"{id}\", \"values\": {{\"acc\": {value}}}}}")
    };
    let items: Vec<String> = values.iter().enumerate().map(item).collect();
    let mean = f64::from(values.iter().sum::<u8>()) / 4.0;
    RECORD
        .replace("VALUE", &mean.to_string())
        .replace("ITEMS", &items.join(", "))
        .replace("SHOTS", &shots.to_string())
}

#[test]
fn records_are_compared_item_by_item_and_shown_on_a_page() {
    let world = World::new("llama");
    fs::write(world.path("a.json"), record([0, 0, 1, 0], 0)).unwrap();
    fs::write(world.path("b.json"), record([1, 1, 1, 0], 5)).unwrap();
    let printed = world.revealed(&["compare", "a.json", "b.json"]).ok().stdout;
    assert!(printed.contains("paired by item, 4 items"), "{printed}");
    assert!(printed.contains("acc     all   4  0.250  0.750  +0.500"), "{printed}");
    assert!(printed.contains("settings.shots  0  5"), "{printed}");
    let line = &world.revealed(&["compare", "a.json", "b.json", "--json"]).ok().lines()[0];
    assert_eq!(line["figures"][0]["changed"], serde_json::json!([2, 0]));

    world.recipe("align", &[]).ok();
    let done = world.revealed(&["compare", "a.json", "run"]);
    done.failed_with(&["run is a run folder and a.json is a file"]);
    world.revealed(&["report", "run", "--eval", "a.json"]).ok();
    let page = text(&world, "run/report.html");
    assert!(page.contains("<h3>&lt;toy&gt;</h3>") && page.contains("0.250"));
}

#[test]
fn a_file_that_is_no_record_is_named_with_what_to_do() {
    let world = World::new("llama");
    let whole = record([0, 0, 1, 0], 0);
    fs::write(world.path("a.json"), &whole).unwrap();
    fs::write(world.path("cut.json"), &whole[..whole.len() / 2]).unwrap();
    fs::write(world.path("twice.json"), whole.replace("\"id\": \"1\"", "\"id\": \"0\"")).unwrap();
    let failed = |other: &str, parts: &[&str]| {
        world.revealed(&["compare", "a.json", other]).failed_with(parts);
    };
    failed("model/config.json", &["model/config.json: this is no record", "revealed eval"]);
    failed("cut.json", &["cut.json: this record is empty or cut off", "again"]);
    failed("twice.json", &["twice.json: item id `0` occurs twice in this record"]);
}

#[test]
fn preference_files_of_other_names_are_compared_as_wholes_and_those_of_one_name_told_apart() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let pairs = text(&world, "pairs.jsonl");
    let lines: Vec<&str> = pairs.lines().collect();
    world.write("arr.jsonl", &lines[..6].join("\n"));
    world.write("d/arr.jsonl", &lines[6..].join("\n"));
    world.write("other.jsonl", &lines[5..].join("\n"));
    let eval = |files: &[&str], out: &str| {
        let with = ["--reward", "run/reward", "--out", out];
        world.revealed(&[&["eval", "preferences"], files, &with].concat()).ok()
    };
    eval(&["arr.jsonl"], "a.json");
    eval(&["other.jsonl"], "b.json");
    let printed = world.revealed(&["compare", "a.json", "b.json"]).ok().stdout;
    assert!(printed.contains("arr of a is compared with other of b, as wholes"), "{printed}");
    assert!(printed.contains("reward/accuracy  arr   6, 5"), "{printed}");

    let both = eval(&["arr.jsonl", "d/arr.jsonl"], "c.json");
    let names: Vec<_> = both.lines().iter().map(|line| line["data"].clone()).collect();
    assert_eq!(names, ["arr.jsonl", "d/arr.jsonl"]);
    // The file that both have is found under its longer name; the other one is said to be of one alone.
    let printed = world.revealed(&["compare", "a.json", "c.json"]).ok().stdout;
    assert!(printed.contains("figures.reward/accuracy, d/arr.jsonl"), "{printed}");
    assert!(printed.contains("reward/accuracy  arr   6 "), "{printed}");
}

#[test]
fn a_run_that_stopped_early_says_why_everywhere() {
    let world = World::new("llama");
    let done = world.recipe("align", &["run.rounds=2", "gate.min_gain=1e9"]).ok();
    let why = "2 rounds were asked for; the run stopped after round 1, since that was rolled back (gate.patience = 1)";
    assert!(done.stdout.contains(why), "{}", done.stdout);
    for file in ["run/report.html", "run/report.md", "run/policy/README.md"] {
        assert!(text(&world, file).contains(why), "{file}: {}", text(&world, file));
    }
    assert!(text(&world, "run/report.html").contains("0 of 1 rounds kept, 2 asked for"));
    let args = ["align", "recipe.toml", "--resume", "--set", "run.rounds=2"];
    let resumed = world.revealed(&[&args[..], &["--set", "gate.min_gain=1e9"]].concat()).ok();
    assert!(resumed.stderr.contains(why), "{}", resumed.stderr);
    let compared = world.revealed(&["compare", "run", "run"]).ok().stdout;
    assert!(compared.contains("note: a: no round was kept, so its policy/ is the SFT model"));
    assert!(compared.contains(&format!("note: b: {why}")), "{compared}");
}

#[test]
fn runs_are_compared_by_settings_and_results() {
    let world = World::new("llama");
    world.recipe("align", &["run.out=one"]).ok();
    world.recipe("align", &["run.out=two", "policy.kl_coef=0.5"]).ok();
    let printed = revealed(world.folder.path(), &["compare", "one", "two"]).ok().stdout;
    assert!(printed.contains("policy.kl_coef"), "{printed}");
    assert!(
        !printed.contains("run.out") && printed.contains("reward minus KL penalty"),
        "{printed}"
    );
    let line = &world.revealed(&["compare", "one", "two", "--json"]).ok().lines()[0];
    assert_eq!(line["rounds"][0]["key"], "round 1");
}
