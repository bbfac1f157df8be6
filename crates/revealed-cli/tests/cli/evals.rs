//! Reward benchmarks, a policy beside its reference, and answers beside answers.

use std::fs;

use revealed::eval::EvalRecord;
use serde_json::{Value, json};

use crate::world::World;

/// The line whose fields have these values.
fn line<'a>(lines: &'a [Value], fields: &[(&str, Value)]) -> &'a Value {
    let holds = |line: &&Value| fields.iter().all(|(name, value)| &line[*name] == value);
    lines.iter().find(holds).unwrap_or_else(|| panic!("no {fields:?} in {lines:?}"))
}

/// Rows of RewardBench's layout, one a subset and two of the last, from the shop desk's words.
fn rewardbench() -> String {
    let subsets = ["alpacaeval-easy", "llmbar-natural", "donotanswer", "math-prm", "math-prm"];
    let row = |(id, subset): (usize, &&str)| {
        let prompt = format!("note : customer {} ;", ["anna", "ben", "carla", "david"][id % 4]);
        let (chosen, rejected) = (" dear anna , sorry .", " that is all . that is all .");
        let row = json!({"id": id % 4, "subset": subset, "prompt": prompt, "chosen": chosen, "rejected": rejected});
        format!("{row}\n")
    };
    subsets.iter().enumerate().map(row).collect()
}

#[test]
fn a_benchmark_ends_in_its_score_and_a_record() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    world.write("bench.jsonl", &rewardbench());
    let args = ["eval", "rewardbench", "bench.jsonl", "--reward", "run/reward", "--out", "r.json"];
    let more = ["--probe-on", "pairs.jsonl"];
    let done = world.revealed(&[&args[..], &more].concat()).ok();
    assert!(done.stderr.contains("fitted to 10 of 10 pairs"), "{}", done.stderr);
    assert!(done.stderr.contains("add --policy run/policy --reference"), "{}", done.stderr);
    let lines = done.lines();
    let score = line(&lines, &[("metric", json!("score"))]);
    // The shorter answer is the chosen one everywhere.
    assert_eq!(score["length"]["value"], 0.0);
    let reasoning = [("metric", json!("section")), ("subset", json!("Reasoning"))];
    assert_eq!(line(&lines, &reasoning)["questions"], 2);
    let last = lines.last().unwrap();
    assert_eq!((&last["scored"], &last["failed"]), (&json!(5), &json!(0)));
    assert!(last["batch_difference"]["largest"].as_f64().unwrap() < 1e-4, "{last}");

    let record = EvalRecord::read(&world.path("r.json")).unwrap();
    assert_eq!(record.evaluation, "rewardbench");
    let found = record.figure("reward/score", None).unwrap();
    assert_eq!(json!(found.value), score["reward"]["value"]);
    let ids: Vec<&str> = record.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["alpacaeval-easy/0", "1", "2", "3", "math-prm/0"]);
    assert_eq!(record.items[0].detail["length"], json!([20.0, 28.0]));
    let credits = record.items.iter().map(|item| item.values["length/accuracy"]);
    assert_eq!(credits.sum::<f64>(), 0.0);
    assert!(record.models.contains_key("reward") && record.data.len() == 2);
    assert_eq!(record.settings["batch_difference"]["rows"], 10);

    let table = world.revealed(&[&args[..], &["--table"]].concat()).ok().stdout;
    assert!(table.starts_with("| metric | subset | questions | length | reward |"), "{table}");
    assert!(table.contains("5 questions scored, 0 failed"), "{table}");
    // Too long for these limits: failed by the reward's rule, cut where that is asked for.
    let short = ["--max-completion-tokens", "3"];
    world.revealed(&[&args[..], &short].concat()).failed_with(&["5 of 5 questions", "no question"]);
    let cut = ["--long-completions", "truncate"];
    let lines = world.revealed(&[&args[..], &short, &cut].concat()).ok().lines();
    assert_eq!(
        (&lines.last().unwrap()["cut"], &lines.last().unwrap()["failed"]),
        (&json!(5), &json!(0))
    );
    let foreign = ["bench.jsonl: line 1", "lacks the column `domain`", "id, subset"];
    let rm = ["eval", "rm-bench", "bench.jsonl", "--reward", "run/reward"];
    world.revealed(&rm).failed_with(&foreign);
    world.write("domains.jsonl", &rewardbench().replace("\"subset\":", "\"domain\":"));
    let rm = ["eval", "rm-bench", "domains.jsonl", "--reward", "run/reward"];
    world.revealed(&rm).failed_with(&["domains.jsonl: line 1: question 0", "three of each"]);
    world.write("none.jsonl", "{\"prompt\": \"?\"}\n");
    world
        .revealed(&["eval", "rewardbench2", "none.jsonl", "--reward", "run/reward"])
        .failed_with(&["none.jsonl", "line 1", "lacks the column `subset`"]);
}

#[test]
fn a_part_of_a_benchmark_and_what_is_of_none_are_named() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let rows = rewardbench().replace("llmbar-natural", "Llmbar-natural");
    world.write("part.jsonl", &rows);
    world.write("foo.jsonl", &rows);
    let args = ["eval", "rewardbench", "part.jsonl", "--reward", "run/reward"];
    let more = ["--prior", "foo.jsonl", "--out", "r.json"];
    let done = world.revealed(&[&args[..], &more].concat()).ok();
    let lines = done.lines();
    let record = EvalRecord::read(&world.path("r.json")).unwrap();
    assert_eq!(lines.last().unwrap()["notes"], record.settings["notes"]);
    let table = world.revealed(&[&args[..], &more, &["--table"]].concat()).ok().stdout;
    for part in [
        "3 of 23 subsets have questions",
        "alpacaeval-length",
        "no score: there is no question of Chat Hard",
        "1 questions, is none of its subsets and counts in no figure but its own; the name is llmbar-natural",
        "5 questions, is none",
        "sets of --prior are named by their files",
    ] {
        assert!(done.stderr.contains(part), "{part} is not in {}", done.stderr);
        assert!(table.contains(part), "{part} is not in {table}");
        assert!(record.settings["notes"].to_string().contains(part), "{part}");
    }
    assert!(record.figure("reward/score", None).is_none());
    let of_one = ["eval", "rewardbench2", "part.jsonl", "--reward", "run/reward"];
    world.revealed(&of_one).failed_with(&["part.jsonl: line 1", "a subset of RewardBench"]);
}

#[test]
fn a_table_of_pairs_says_what_was_cut_and_how_the_batch_check_went() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let args = ["eval", "preferences", "pairs.jsonl", "--reward", "run/reward", "--table"];
    let short = ["--max-completion-tokens", "3", "--long-completions", "truncate"];
    let done = world.revealed(&[&args[..], &short].concat()).ok();
    assert!(done.stdout.contains("| pairs | all | 10 | 0 | 0 | 10 |"), "{}", done.stdout);
    let end = "pairs: 10 pairs scored, 0 failed, 10 cut to the limits; 16 answers scored again in other batches differ by up to ";
    assert!(done.stdout.contains(end), "{}", done.stdout);
    let warning = "10 of 10 pairs were cut to the reward's limits";
    assert!(done.stderr.contains(warning), "{}", done.stderr);
}

#[test]
fn a_record_that_could_not_be_written_is_refused_before_anything_is_read() {
    let world = World::new("llama");
    let model = ["--model", "none"];
    let reward = ["--reward", "none"];
    let policy = ["--policy", "none", "--reference", "none", "--prompts", "none.jsonl"];
    let bench = ["--model", "none", "--questions", "none.jsonl"];
    let commands: [&[&str]; 8] = [
        &[&["tasks", "piqa", "--data", "none.jsonl"][..], &model].concat(),
        &[&["preferences", "none.jsonl"][..], &reward].concat(),
        &[&["rewardbench", "none.jsonl"][..], &reward].concat(),
        &[&["rewardbench2", "none.jsonl"][..], &reward].concat(),
        &[&["rm-bench", "none.jsonl"][..], &reward].concat(),
        &[&["policy"][..], &policy].concat(),
        &[&["win-rate", "none.jsonl", "none.jsonl"][..], &reward].concat(),
        &[&["mt-bench"][..], &bench].concat(),
    ];
    for command in commands {
        let out = |path| world.revealed(&[&["eval"][..], command, &["--out", path]].concat());
        out("no/such/r.json").failed_with(&["--out no/such/r.json", "there is no folder no/such"]);
        out("model").failed_with(&["--out model is a folder; name a file in it, such as model/"]);
    }
    let judged = ["eval", "judge", "none.jsonl", "none.jsonl", "--out", "no/r.json"];
    world.revealed(&judged).failed_with(&["there is no folder no;"]);
    let scores = ["eval", "preferences", "none.jsonl", "--reward", "none", "--scores", "no/s"];
    world.revealed(&scores).failed_with(&["--scores no/s: there is no folder no;"]);
}

#[test]
fn answers_of_several_styles_are_compared_with_each_other() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let row = json!({
        "id": "chat/0", "domain": "chat", "prompt": "note :",
        "chosen": [" sorry", " sorry to hear", " sorry to hear that it is lost"],
        "rejected": [" do", " that is", " that is all . do not write"],
    });
    world.write("rm.json", &format!("[{row}]"));
    let lines =
        world.revealed(&["eval", "rm-bench", "rm.json", "--reward", "run/reward"]).ok().lines();
    let of = |metric: &str| &line(&lines, &[("metric", json!(metric))])["length"]["value"];
    // 6, 14, 30 characters against 3, 8, 27.
    assert_eq!((of("easy"), of("normal")), (&json!(1.0), &json!(1.0)));
    assert_eq!((of("hard"), of("concise>detailed")), (&json!(0.0), &json!(0.0)));
}

#[test]
fn two_rewards_are_compared_in_every_style_and_on_a_file_of_any_name() {
    let world = World::new("llama");
    for (run, seed) in [("one", "0"), ("two", "1")] {
        world.recipe("align", &[&format!("run.out={run}"), &format!("run.seed={seed}")]).ok();
    }
    let replies =
        [" sorry", " dear anna , sorry .", " do not write", " it is lost", " that is all ."];
    let row = |domain: &str, at: usize| {
        let reply = |shift: usize| replies[(at + shift) % replies.len()];
        json!({
            "id": format!("{domain}/{at}"), "domain": domain, "prompt": format!("note : {}", reply(2)),
            "chosen": [reply(0), reply(1), reply(3)], "rejected": [reply(2), reply(4), reply(1)],
        })
    };
    let domains = ["chat", "math", "code", "safety-refuse", "safety-response"];
    let rows: Vec<Value> =
        domains.iter().flat_map(|domain| (0..4).map(|at| row(domain, at))).collect();
    world.write("rm.json", &json!(rows).to_string());
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::copy(world.path("pairs.jsonl"), world.path("elsewhere/copy.jsonl")).unwrap();
    let compared = |evaluation: &str, files: [&str; 2]| {
        for (run, file) in ["one", "two"].into_iter().zip(files) {
            let reward = format!("{run}/reward");
            let out = format!("{run}.json");
            world.revealed(&["eval", evaluation, file, "--reward", &reward, "--out", &out]).ok();
        }
        world.revealed(&["compare", "one.json", "two.json", "--json"]).ok().lines().remove(0)
    };
    let found = compared("rm-bench", ["rm.json", "rm.json"]);
    let mut levels = 0;
    for figure in found["figures"].as_array().unwrap() {
        let name = figure["name"].as_str().unwrap();
        let bounds = figure["interval"].as_array().unwrap_or_else(|| panic!("{figure}"));
        let [low, difference, high] =
            [&bounds[0], &figure["difference"], &bounds[1]].map(|value| value.as_f64().unwrap());
        assert!(low <= difference && difference <= high, "{figure}");
        levels += usize::from(matches!(name, "reward/easy" | "reward/normal" | "reward/hard"));
    }
    // Over all domains and in each of four.
    assert_eq!(levels, 3 * 5);
    let found = compared("preferences", ["pairs.jsonl", "elsewhere/copy.jsonl"]);
    assert_eq!(found["pairing"]["kind"], "paired", "{found}");
    assert_eq!(
        (&found["pairing"]["items"], &found["figures"][0]["n"]),
        (&json!(10), &json!([10, 10]))
    );
}

#[test]
fn a_policy_is_no_further_from_itself_than_0_and_wins_half() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let args = ["eval", "policy", "--policy", "model", "--reference", "model", "--prompts"];
    let more =
        ["demonstrations.jsonl", "--max-prompts", "3", "--samples", "5", "--max-tokens", "8"];
    let rewards = ["--reward", "run/reward", "--gold", "shop-desk", "--out", "policy.json"];
    let lines = world.revealed(&[&args[..], &more, &rewards].concat()).ok().lines();
    let of = |metric: &str| &line(&lines, &[("metric", json!(metric))])["value"];
    assert_eq!((of("kl_k1"), of("kl_k3_per_token")), (&json!(0.0), &json!(0.0)));
    assert_eq!((of("win_rate/reward"), of("gain/gold")), (&json!(0.5), &json!(0.0)));
    let curve: Vec<&Value> = lines.iter().filter(|line| line["of"] == "policy").collect();
    let curve: Vec<&Value> = curve.into_iter().filter(|line| !line["best_of"].is_null()).collect();
    assert_eq!(curve.iter().map(|point| &point["best_of"]).collect::<Vec<_>>(), [1, 2, 4]);
    let reward = |at: usize| curve[at]["reward"]["value"].as_f64().unwrap();
    assert!(reward(0) <= reward(1) && reward(1) <= reward(2), "{curve:?}");
    assert_eq!(curve[0]["kl"], 0.0);
    let first = line(&lines, &[("metric", json!("reward")), ("of", json!("policy"))]);
    assert!((first["value"].as_f64().unwrap() - reward(0)).abs() < 1e-9);

    let record = EvalRecord::read(&world.path("policy.json")).unwrap();
    assert_eq!(record.items.len(), 3);
    assert_eq!(record.items[0].detail["policy"].as_array().unwrap().len(), 5);
    assert_eq!(record.settings["reward_reads_tokens"], true);
    assert!(record.figure("best_of_4/reward", Some("reference")).is_some());

    // Beyond the reward's limit: no prompt is left, or the first tokens count.
    let short = ["demonstrations.jsonl", "--reward", "run/reward", "--max-tokens", "8"];
    let limit = ["--samples", "2", "--max-prompts", "2", "--max-completion-tokens", "3"];
    let done = world.revealed(&[&args[..], &short, &limit].concat());
    done.failed_with(&["2 of 2 prompts", "the reward's limit is 3", "no prompt"]);
    let cut = ["--long-completions", "truncate"];
    let lines = world.revealed(&[&args[..], &short, &limit, &cut].concat()).ok().lines();
    assert_eq!(lines.last().unwrap(), &json!({"prompts": 2, "not_used": 0}));

    world.write("other.jsonl", "{\"prompt\": \"dear anna ,\"}\n");
    let other = ["other.jsonl", "--max-tokens", "4", "--gold", "shop-desk"];
    world.revealed(&[&args[..], &other].concat()).failed_with(&["no note of the shop desk"]);
    let long = ["demonstrations.jsonl", "--max-tokens", "64"];
    world.revealed(&[&args[..], &long].concat()).failed_with(&["no prompt", "context is 64"]);
}

#[test]
fn a_trained_policy_is_measured_against_its_reference_with_tables() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let args = ["eval", "policy", "--policy", "run/policy", "--reference", "model", "--prompts"];
    let more =
        ["demonstrations.jsonl", "--max-prompts", "2", "--samples", "2", "--max-tokens", "6"];
    let judge = ["--reward", "run/reward", "--judge-reward", "run/reward-adapter", "--table"];
    let table = world.revealed(&[&args[..], &more, &judge].concat()).ok().stdout;
    for part in ["| kl_k1 |", "| win_rate/gold |", "| distinct_2 |", "| 2 | reference |"] {
        assert!(table.contains(part), "{part} in {table}");
    }
}

#[test]
fn a_file_wins_half_against_itself_and_files_must_share_prompts() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let reward = ["--reward", "run/reward"];
    let own =
        ["eval", "win-rate", "demonstrations.jsonl", "demonstrations.jsonl", "--out", "w.json"];
    let lines = world.revealed(&[&own[..], &reward].concat()).ok().lines();
    assert_eq!(line(&lines, &[("metric", json!("win_rate"))])["value"], 0.5);
    assert_eq!(line(&lines, &[("metric", json!("gain"))])["value"], 0.0);
    let record = EvalRecord::read(&world.path("w.json")).unwrap();
    assert_eq!(record.figure("longer", None).unwrap().value, 0.5);

    // The other way round is the mirror.
    let text = fs::read_to_string(world.path("demonstrations.jsonl")).unwrap();
    world.write("b.jsonl", &text.replace("sorry", "read"));
    let rate = |a: &str, b: &str| {
        let lines =
            world.revealed(&[&["eval", "win-rate", a, b], &reward[..]].concat()).ok().lines();
        line(&lines, &[("metric", json!("win_rate"))])["value"].as_f64().unwrap()
    };
    let (forth, back) =
        (rate("demonstrations.jsonl", "b.jsonl"), rate("b.jsonl", "demonstrations.jsonl"));
    assert!((forth + back - 1.0).abs() < 1e-9, "{forth} {back}");

    world.write("other.jsonl", "{\"prompt\": \"?\", \"completion\": \" dear\"}\n");
    let other = ["eval", "win-rate", "demonstrations.jsonl", "other.jsonl"];
    world.revealed(&[&other[..], &reward].concat()).failed_with(&["share no prompt", "--by"]);
}

#[test]
fn preferences_leave_a_record_too() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let args = ["eval", "preferences", "pairs.jsonl", "--reward", "run/reward", "--out", "p.json"];
    let lines = world.revealed(&args).ok().lines();
    let record = EvalRecord::read(&world.path("p.json")).unwrap();
    let figure = record.figure("reward/accuracy", Some("pairs")).unwrap();
    assert_eq!(json!(figure.value), lines[0]["reward"]["accuracy"]);
    assert_eq!(record.items.len(), 10);
    let right: f64 = record.items.iter().map(|item| item.values["reward/accuracy"]).sum();
    assert!((right / 10.0 - figure.value).abs() < 1e-12);
    assert_eq!(record.settings["files"]["pairs"]["failed"], 0);
    assert!(lines[0]["batch_difference"]["largest"].as_f64().unwrap() < 1e-4);
}
