//! A run's page and companions, and comparisons.

use std::fs;

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
    assert!(world.path("run/samples/scores-1.json").is_file());
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
    assert!(page.contains("in progress") && page.contains("1 damaged line"));
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
fn runs_are_compared_by_settings_and_results() {
    let world = World::new("llama");
    world.recipe("align", &["run.out=one"]).ok();
    world.recipe("align", &["run.out=two", "policy.kl_coef=0.5"]).ok();
    let printed = revealed(world.folder.path(), &["compare", "one", "two"]).ok().stdout;
    assert!(printed.contains("policy.kl_coef"), "{printed}");
    assert!(
        !printed.contains("run.out") && printed.contains("reward less the price of KL"),
        "{printed}"
    );
    let line = &world.revealed(&["compare", "one", "two", "--json"]).ok().lines()[0];
    assert_eq!(line["rounds"][0]["key"], "round 1");
}
