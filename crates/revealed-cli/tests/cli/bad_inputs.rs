//! What a user may get wrong: exit code 1 (2 for usage), and a message that names the thing and what to do.

use std::fs;

use crate::world::World;

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    let world = World::new("llama");
    for args in [&["align"][..], &["nonsense"], &["check", "--model", "model"], &[]] {
        assert_eq!(world.revealed(args).code, 2, "{args:?}");
    }
    let rule = ["check", "--model", "m", "--data", "d", "--long-prompts", "squeeze"];
    let done = world.revealed(&rule);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("truncate-left"), "{}", done.stderr);
    assert!(world.revealed(&["--help"]).ok().stdout.contains("quickstart"));
}

#[test]
fn a_device_that_is_not_compiled_in_names_its_feature() {
    let world = World::new("llama");
    if cfg!(not(feature = "cuda")) {
        let done = world.revealed(&["align", "recipe.toml", "--device", "cuda:0"]);
        done.failed_with(&["device `cuda:0` needs the feature `cuda`", "--features cuda"]);
    }
    let done = world.revealed(&["--device", "gpu", "align", "recipe.toml"]);
    done.failed_with(&["device `gpu` is not known", "flex, libtorch"]);
}

#[test]
fn an_empty_file_is_named() {
    let world = World::new("llama");
    world.write("empty.jsonl", "");
    world
        .recipe("align", &["data.demonstrations=empty.jsonl"])
        .failed_with(&["empty.jsonl holds no rows"]);
    let done = world.revealed(&["check", "--model", "model", "--data", "empty.jsonl"]);
    done.failed_with(&["empty.jsonl holds no rows"]);
}

#[test]
fn a_bad_line_is_named_by_its_number_with_the_cause() {
    let world = World::new("llama");
    let good = String::from_utf8(world.read("demonstrations.jsonl")).unwrap();
    let mut lines: Vec<&str> = good.lines().collect();
    lines.insert(6, "{\"prompt\": \"note :\", ");
    world.write("bad.jsonl", &lines.join("\n"));
    let parts = ["bad.jsonl: line 7", "not valid JSON", "EOF"];
    let done = world.recipe("align", &["data.demonstrations=bad.jsonl"]).failed_with(&parts);
    // The parser's own "line 1" would contradict it.
    assert!(!done.stderr.contains("line 1 "), "{}", done.stderr);
    world.revealed(&["check", "--model", "model", "--data", "bad.jsonl"]).failed_with(&parts);
}

#[test]
fn wrong_columns_are_listed_with_the_expected_ones() {
    let world = World::new("llama");
    world.write("columns.jsonl", "{\"problem\": \"a\", \"solution\": \"b\"}\n");
    let parts = ["problem, solution", "expected", "instruction"];
    world.recipe("align", &["data.demonstrations=columns.jsonl"]).failed_with(&parts);
    let done = world.recipe("align", &["data.demonstrations=pairs.jsonl"]);
    done.failed_with(&["pairs.jsonl", "preferences", "demonstrations"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_dropped_and_listed() {
    let world = World::new("llama");
    let good = String::from_utf8(world.read("demonstrations.jsonl")).unwrap();
    let long = "note ".repeat(500);
    let row = format!(
        "{{\"id\": \"giant\", \"prompt\": \"{}\", \"completion\": \" dear\"}}",
        long.trim()
    );
    world.write("long.jsonl", &format!("{good}{row}\n"));
    let settings = ["data.demonstrations=long.jsonl", "data.max_prompt_tokens=4096"];
    let done = world.recipe("sft", &settings).ok();
    assert!(done.stderr.contains("lowered from 4096 to 24"), "{}", done.stderr);
    assert!(done.stderr.contains("dropped giant: the prompt has 501 tokens"), "{}", done.stderr);
    assert!(done.stderr.contains("20 of 21 demonstrations kept"), "{}", done.stderr);

    world.write("only.jsonl", &format!("{row}\n"));
    let done = world.recipe("align", &["data.demonstrations=only.jsonl", "run.out=other"]);
    done.failed_with(&[
        "training demonstrations: found 0, needed 2",
        "of 1 rows 1 were dropped for their length and 0 were held out",
    ]);
    let done = world.recipe("align", &["data.held_out=19", "run.out=other"]);
    done.failed_with(&[
        "training demonstrations: found 1",
        "of 20 rows 0 were",
        "19 were held out",
    ]);
}

#[test]
fn truncated_weights_name_the_file() {
    let world = World::new("llama");
    let path = world.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    world.recipe("align", &[]).failed_with(&["model.safetensors", "damaged or incomplete"]);
    let sample = ["sample", "--model", "model", "--prompts", "pairs.jsonl"];
    world.revealed(&sample).failed_with(&["model.safetensors", "damaged or incomplete"]);
}

#[test]
fn missing_tokenizer_config_model_and_adapter_are_named() {
    let world = World::new("llama");
    world
        .recipe("align", &["model.path=no-such"])
        .failed_with(&["`no-such` is not a folder", "offline mode is on"]);
    let sample = ["sample", "--model", "model", "--prompts", "pairs.jsonl", "--adapter", "model"];
    world.revealed(&sample).failed_with(&["adapter_config.json"]);
    let score = ["score", "--reward", "model", "--data", "pairs.jsonl"];
    world
        .revealed(&score)
        .failed_with(&["reward.json", "model is no reward but a model or policy"]);
    fs::remove_file(world.path("model/tokenizer.json")).unwrap();
    world.recipe("align", &[]).failed_with(&["tokenizer.json"]);
    fs::remove_file(world.path("model/config.json")).unwrap();
    world.recipe("align", &[]).failed_with(&["no config.json"]);
}

#[test]
fn a_policy_in_a_rewards_place_is_told_the_reward_beside_it() {
    let world = World::new("llama");
    world.recipe("align", &[]).ok();
    let wrong = ["--reward", "run/policy"];
    for args in [&["score", "--data", "pairs.jsonl"][..], &["eval", "preferences", "pairs.jsonl"]] {
        let done = world.revealed(&[args, &wrong].concat());
        done.failed_with(&["run/policy is no reward but a model or policy", "give run/reward"]);
    }
    world
        .revealed(&["score", "--data", "pairs.jsonl", "--reward", "run"])
        .failed_with(&["run is no reward: it has no reward.json; give run/reward"]);
}

#[test]
fn unknown_recipe_keys_and_values_out_of_range_are_named() {
    let world = World::new("llama");
    world.write("typo.toml", "[policy]\nsteps = 3\nkl_coeff = 0.1\n");
    let done = world.revealed(&["align", "typo.toml"]);
    done.failed_with(&["typo.toml", "line 3", "unknown field `kl_coeff`", "kl_coef"]);
    world.recipe("align", &["policy.kl_cof=1"]).failed_with(&["--set", "unknown field `kl_cof`"]);
    world
        .recipe("align", &["policy.epsilon=2"])
        .failed_with(&["`policy.epsilon` = 2", "in (0, 1)"]);
    world.recipe("align", &["policy.solver=dpo"]).failed_with(&["dpo", "rloo"]);
    world.recipe("sft", &["sft.epochs=0"]).failed_with(&["`sft.epochs` = 0"]);
    world.revealed(&["align", "nowhere.toml"]).failed_with(&[
        "nowhere.toml cannot be read",
        "`revealed recipe > nowhere.toml`",
        "No such file",
    ]);
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let world = World::new("llama");
    let config = String::from_utf8(world.read("model/tokenizer.json")).unwrap();
    world.write("model/tokenizer.json", &config.replace("\"note\": ", "\"note\": 90"));
    world.recipe("align", &[]).failed_with(&["gives token 90", "vocabulary has 121"]);
    let sample = ["sample", "--model", "model", "--prompts", "pairs.jsonl"];
    let done = world.revealed(&sample).failed_with(&["no row of pairs.jsonl"]);
    assert!(done.stdout.contains("outside the model's vocabulary of 121"), "{}", done.stdout);
}

#[test]
fn sampling_settings_out_of_range_are_named_before_anything_loads() {
    let world = World::new("llama");
    for (option, value, part) in [
        ("--temperature", "0", "greedy"),
        ("--top-p", "1.5", "top_p"),
        ("--samples", "0", "samples"),
    ] {
        let sample = ["sample", "--model", "none", "--prompts", "none.jsonl", option, value];
        world.revealed(&sample).failed_with(&[part]);
    }
}

#[test]
fn merge_does_not_write_over_a_model() {
    let world = World::new("llama");
    let args = ["merge", "--model", "model", "--adapter", "run/policy", "--out", "model"];
    world.revealed(&args).failed_with(&["holds a model already"]);
}
