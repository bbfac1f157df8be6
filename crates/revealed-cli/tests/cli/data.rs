//! Data in its layouts and places: what is read, what is listed, and what is refused.

use crate::world::{Done, World, revealed_with};

const MORE: &str =
    "{\"prompt\": \"note :\", \"completion\": \" dear\", \"mood\": \"calm\", \"score\": NaN}\n";

fn with_columns(world: &World) {
    let rows = String::from_utf8(world.read("demonstrations.jsonl")).unwrap();
    world.write("more.jsonl", &format!("{rows}{MORE}"));
}

#[test]
fn columns_that_are_not_read_are_listed_by_check_and_at_the_start_of_a_run() {
    let world = World::new("llama");
    with_columns(&world);
    let check = ["check", "--model", "model", "--data", "more.jsonl", "--held-out", "0"];
    let done = world.revealed(&[&check[..], &["--json"]].concat()).ok();
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let listed = serde_json::json!([{"name": "mood", "rows": 1}, {"name": "score", "rows": 1}]);
    assert_eq!(report["unread_columns"], listed);
    let words = "not read: `mood` (1 rows), `score` (1 rows)";
    assert!(report["warnings"].to_string().contains(words), "{}", report["warnings"]);
    assert!(world.revealed(&check).ok().stdout.contains(words));
    let run = world.recipe("sft", &["data.demonstrations=more.jsonl", "sft.max_steps=1"]).ok();
    assert!(run.stderr.contains(words), "{}", run.stderr);
}

#[test]
fn columns_that_would_change_what_is_learned_end_a_run_by_name() {
    let world = World::new("llama");
    let row = "{\"prompt\": \"note :\", \"completion\": \" dear\", \"weight\": 0.5}\n";
    world.write("weighted.jsonl", row);
    let parts = ["weighted.jsonl: line 1", "`weight` = 0.5", "remove"];
    world.recipe("align", &["data.demonstrations=weighted.jsonl"]).failed_with(&parts);
    world.revealed(&["check", "--model", "model", "--data", "weighted.jsonl"]).failed_with(&parts);
}

#[test]
fn a_data_set_of_the_hub_is_read_from_its_cache() {
    let world = World::new("llama");
    let rows = String::from_utf8(world.read("demonstrations.jsonl")).unwrap();
    let cache = world.path("hub/datasets--own--set");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = cache.join("snapshots").join(commit);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(cache.join("refs")).unwrap();
    std::fs::write(cache.join("refs/main"), commit).unwrap();
    std::fs::write(snapshot.join("train.jsonl"), &rows).unwrap();
    std::fs::write(snapshot.join("test.jsonl"), MORE).unwrap();
    let check = |data: &str| -> Done {
        let arguments = ["check", "--model", "model", "--held-out", "0", "--json", "--data", data];
        let hub = world.path("hub");
        let variables = [("HF_HUB_CACHE", hub.to_str().unwrap())];
        revealed_with(world.folder.path(), &arguments, &variables)
    };
    let count = |data: &str| {
        let report: serde_json::Value = serde_json::from_str(&check(data).ok().stdout).unwrap();
        report["rows"].as_u64().unwrap() as usize
    };
    assert_eq!(count("own/set"), rows.lines().count());
    assert_eq!(count("hf://datasets/own/set?split=test"), 1);
    check("own/other").failed_with(&["own/other is not a file or folder", "hub"]);
}
