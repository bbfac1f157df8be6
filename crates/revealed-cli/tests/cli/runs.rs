//! Whole runs on tiny models, of every architecture, tuning and solver.

use std::path::Path;

use crate::world::{Done, World, revealed};

fn files(world: &World, names: &[&str]) {
    for name in names {
        assert!(world.path(name).is_file(), "no {name}");
    }
}

/// A run is complete, resumes as finished, and its results load again in every command.
fn a_run_and_its_results(model_type: &str, tuning: &str, solver: &str) {
    let world = World::new(model_type);
    let tuning = format!("model.tuning={tuning}");
    let settings = [tuning.as_str(), &format!("policy.solver={solver}")];
    let done = world.recipe("align", &settings).ok();
    assert!(done.stdout.contains("## Round 1: ") && done.stdout.contains("run folder: run"));
    assert!(done.stderr.contains("memory plan:") && done.stderr.contains("recipe as resolved:"));
    files(
        &world,
        &["run/recipe.toml", "run/metrics.jsonl", "run/report.md", "run/samples/round-1.jsonl"],
    );
    files(
        &world,
        &["run/policy/tokenizer.json", "run/reward/model.safetensors", "run/reward/reward.json"],
    );

    let metrics = world.read("run/metrics.jsonl");
    let mut args = vec!["align", "recipe.toml", "--resume"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let resumed = world.revealed(&args).ok();
    assert!(resumed.stderr.contains("finished already"), "{}", resumed.stderr);
    assert_eq!(resumed.stdout, done.stdout);
    assert_eq!(world.read("run/metrics.jsonl"), metrics);

    let lora = tuning.ends_with("lora");
    let policy = match lora {
        true => vec!["--model", "model", "--adapter", "run/policy"],
        false => vec!["--model", "run/policy"],
    };
    let with = |command: &str, more: &[&str]| {
        world.revealed(&[&[command], policy.as_slice(), more].concat()).ok()
    };
    let samples = with(
        "sample",
        &["--prompts", "demonstrations.jsonl", "--samples", "2", "--max-tokens", "40"],
    );
    assert_eq!(samples.lines().len(), 40);
    assert_eq!(with("log-probs", &["--data", "demonstrations.jsonl"]).lines().len(), 20);
    let rewards: &[&str] =
        if lora { &["run/reward", "run/reward-adapter"] } else { &["run/reward"] };
    for reward in rewards {
        let scores =
            world.revealed(&["score", "--reward", reward, "--data", "demonstrations.jsonl"]);
        assert!(scores.ok().lines().iter().all(|line| line["score"].is_f64()));
    }
    if lora {
        world.write("run/policy/chat_template.jinja", "{{ messages[0].content }}");
        let done = with("merge", &["--out", "merged"]);
        let template = world.read("merged/chat_template.jinja");
        assert_eq!(template, b"{{ messages[0].content }}", "what the adapter was trained with");
        assert!(done.lines()[0]["max_logit_difference"].as_f64().unwrap() < 1e-4);
        files(&world, &["merged/config.json", "merged/tokenizer.json"]);
        let card = String::from_utf8(world.read("merged/README.md")).unwrap();
        let load = "AutoModelForCausalLM.from_pretrained(\"merged\")";
        assert!(card.contains(load) && card.contains("Figures on held-out prompts"), "{card}");
    }
}

#[test]
fn llama_runs_with_adapters_and_rloo() {
    a_run_and_its_results("llama", "lora", "rloo");
}

#[test]
fn llama_runs_in_full_with_ppo() {
    a_run_and_its_results("llama", "full", "ppo");
}

#[test]
fn gpt_neox_runs_with_adapters_and_grpo() {
    a_run_and_its_results("gpt_neox", "lora", "grpo");
}

#[test]
fn gpt_neox_runs_in_full_with_rloo() {
    a_run_and_its_results("gpt_neox", "full", "rloo");
}

#[test]
fn qwen3_runs_with_adapters_and_ppo() {
    a_run_and_its_results("qwen3", "lora", "ppo");
}

#[test]
fn qwen3_runs_in_full_with_grpo() {
    a_run_and_its_results("qwen3", "full", "grpo");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let world = World::new("llama");
    for (out, seed) in [("a", 0), ("b", 0), ("c", 1)] {
        let (out, seed) = (format!("run.out={out}"), format!("run.seed={seed}"));
        world.recipe("align", &[&out, &seed, "run.rounds=2", "gate.patience=2"]).ok();
    }
    for file in ["metrics.jsonl", "policy/adapter_model.safetensors", "reward/model.safetensors"] {
        let [a, b, c] = ["a", "b", "c"].map(|run| world.read(&format!("{run}/{file}")));
        assert!(a == b, "{file} differs between two runs of one seed");
        assert!(a != c, "{file} is the same for two seeds");
    }
}

#[test]
fn align_goes_on_from_where_sft_ended_and_gives_what_one_run_gives() {
    let world = World::new("llama");
    let done = world.recipe("sft", &["run.out=parts"]).ok();
    assert_eq!(done.stdout, "run folder: parts\n");
    assert!(world.path("parts/policy/adapter_model.safetensors").is_file());
    let args = ["align", "recipe.toml", "--set", "run.out=parts", "--resume"];
    let resumed = world.revealed(&args).ok();
    assert!(resumed.stderr.contains("resuming at round 1, sample"), "{}", resumed.stderr);
    world.recipe("align", &["run.out=whole"]).ok();
    for file in ["metrics.jsonl", "policy/adapter_model.safetensors"] {
        assert!(
            world.read(&format!("parts/{file}")) == world.read(&format!("whole/{file}")),
            "{file}"
        );
    }
}

#[test]
fn a_run_folder_is_not_overwritten_and_not_resumed_under_another_recipe() {
    let world = World::new("llama");
    world.revealed(&["align", "recipe.toml", "--resume"]).failed_with(&["no run here to resume"]);
    world.recipe("sft", &[]).ok();
    world.recipe("align", &[]).failed_with(&["holds a run already", "--resume"]);
    let other = ["align", "recipe.toml", "--resume", "--set", "policy.kl_coef=0.5"];
    world.revealed(&other).failed_with(&["another recipe", "policy.kl_coef"]);
}

#[test]
fn results_are_on_stdout_and_quiet_silences_the_rest() {
    let world = World::new("llama");
    let Done { stdout, stderr, .. } = world.revealed(&["align", "recipe.toml", "--quiet"]).ok();
    assert!(stdout.contains("run folder: run"));
    assert_eq!(stderr, "");
}

#[test]
fn stories260k_aligns_on_64_prompts() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let model = shared.join("models/stories260k");
    let data = shared.join("data/demonstrations/dolly_hhrlhf.jsonl");
    if !model.is_dir() || !data.is_file() {
        println!("skipped: no ../shared with stories260k and dolly");
        return;
    }
    let world = World::new("llama");
    let settings = [
        format!("model.path={}", model.canonicalize().unwrap().display()),
        format!("data.demonstrations={}", data.canonicalize().unwrap().display()),
        "data.max_prompt_tokens=96".into(),
        "data.max_completion_tokens=64".into(),
        "data.max_demonstrations=64".into(),
        "data.held_out=16".into(),
        "policy.batch_size=32".into(),
        "policy.mini_batch_size=32".into(),
        "model.lora.r=8".into(),
        "reward.steps=5".into(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let done = world.recipe("align", &settings).ok();
    assert!(done.stdout.contains("log-likelihood of demonstrations"), "{}", done.stdout);
    let sampled = revealed(
        world.folder.path(),
        &[
            "sample",
            "--model",
            model.to_str().unwrap(),
            "--adapter",
            "run/policy",
            "--prompts",
            "pairs.jsonl",
            "--greedy",
            "--max-tokens",
            "8",
        ],
    );
    assert_eq!(sampled.ok().lines().len(), 10);
}
