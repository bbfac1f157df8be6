//! Recipes as files.

use revealed_train::{Recipe, Schedule, Solver, TrainError, Tuning};

fn parse(text: &str, overrides: &[&str]) -> Result<Recipe, TrainError> {
    let overrides: Vec<String> = overrides.iter().map(|item| (*item).to_owned()).collect();
    Recipe::parse(text, "recipe.toml", &overrides)
}

/// The message, with its cause.
fn refused(text: &str, overrides: &[&str]) -> String {
    let error = parse(text, overrides).unwrap_err();
    format!("{error}")
}

#[test]
fn an_empty_recipe_is_the_default_and_the_default_is_in_range() {
    let recipe = parse("", &[]).unwrap();
    assert_eq!(recipe, Recipe::default());
    recipe.check().unwrap();
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let text = refused("[run]\nseed = 1\n\n[policy]\nstepps = 3\n", &[]);
    assert!(text.starts_with("recipe.toml: "), "{text}");
    assert!(text.contains("line 5") && text.contains("stepps"), "{text}");
    assert!(refused("[polisy]\n", &[]).contains("polisy"));
    assert!(refused("[reward.optimizer]\nbeta = 1\n", &[]).contains("beta"));
    assert!(refused("[run]\nseed = \"x\"\n", &[]).contains("line 2"));
    assert!(refused("[run\n", &[]).contains("line 1"));
}

#[test]
fn overrides_are_typed_and_anything_else_is_a_string() {
    let set = [
        "policy.steps=7",
        "policy.kl_coef = 0.5",
        "policy.solver=ppo",
        "model.tuning=\"full\"",
        "run.out=/tmp/some where",
        "data.prompts=more.jsonl",
        "model.lora.target_modules=[\"q_proj\"]",
        "reward.optimizer.schedule=cosine",
    ];
    let recipe = parse("[policy]\nsteps = 3\n", &set).unwrap();
    assert_eq!((recipe.policy.steps, recipe.policy.kl_coef), (7, 0.5));
    assert_eq!((recipe.policy.solver, recipe.model.tuning), (Solver::Ppo, Tuning::Full));
    assert_eq!(recipe.run.out.to_str(), Some("/tmp/some where"));
    assert_eq!(recipe.data.prompts, Some("more.jsonl".into()));
    assert_eq!(recipe.model.lora.target_modules, ["q_proj"]);
    assert_eq!(recipe.reward.optimizer.schedule, Schedule::Cosine);
    assert_eq!(recipe.reward.optimizer.lr, Recipe::default().reward.optimizer.lr);
    // A later one wins; "" is none.
    let recipe = parse("", &["run.seed=1", "run.seed=2", "data.prompts="]).unwrap();
    assert_eq!((recipe.run.seed, recipe.data.prompts), (2, None));
}

#[test]
fn wrong_overrides_are_refused() {
    assert!(refused("", &["policy.stepps=3"]).contains("stepps"));
    assert!(refused("", &["policy.steps=many"]).contains("many"));
    assert!(refused("", &["policy.steps"]).contains("--set policy.steps"));
    assert!(refused("", &["=3"]).contains("--set =3"));
    assert!(refused("", &["policy=3"]).contains("--set"));
    assert!(refused("", &["policy.steps=0"]).contains("policy.steps"));
}

#[test]
fn what_a_section_leaves_out_keeps_that_section_s_default() {
    let text = "[reward.optimizer]\nschedule = \"cosine\"\n[sft.optimizer]\nwarmup_ratio = 0.1\n[model.lora]\nr = 4\n";
    let recipe = parse(text, &[]).unwrap();
    let default = Recipe::default();
    assert_ne!(default.reward.optimizer.lr, default.sft.optimizer.lr);
    assert_eq!(recipe.reward.optimizer.lr, default.reward.optimizer.lr);
    assert_eq!(recipe.sft.optimizer.lr, default.sft.optimizer.lr);
    assert_eq!(recipe.sft.optimizer.warmup_ratio, 0.1);
    assert_eq!(recipe.model.lora.lora_alpha, default.model.lora.lora_alpha);
    assert_eq!(recipe.model.lora.r, 4);
}

#[test]
fn values_out_of_range_name_their_keys() {
    let one = |key: &str, value: &str| {
        let text = refused("", &[&format!("{key}={value}")]);
        let (section, field) = key.rsplit_once('.').unwrap();
        let named = text.contains(key) || (text.contains(section) && text.contains(field));
        assert!(named && text.contains("expected"), "{key}={value}: {text}");
    };
    for key in [
        "data.max_prompt_tokens",
        "data.max_completion_tokens",
        "sft.batch_size",
        "reward.steps",
        "reward.batch_size",
        "reward.pool_window",
        "policy.steps",
        "policy.batch_size",
        "policy.mini_batch_size",
        "policy.samples_per_prompt",
        "policy.inner_epochs",
        "gate.samples",
        "gate.patience",
        "run.micro_batch_tokens",
        "run.sample_batch_size",
    ] {
        one(key, "0");
    }
    for key in [
        "policy.temperature",
        "negatives.temperature",
        "policy.kl_coef",
        "policy.clip_low",
        "policy.clip_high",
        "policy.missing_eos_value",
        "policy.gamma",
        "policy.gae_lambda",
        "policy.value_clip",
        "policy.value_coef",
        "reward.l2",
        "reward.scale_floor",
        "gate.min_accuracy",
        "gate.min_gain",
        "gate.max_kl",
        "gate.max_likelihood_drop",
        "gate.max_terminated_drop",
        "gate.max_repetition_rise",
        "gate.min_distinct_share",
        "gate.max_length_factor",
        "sft.optimizer.lr",
        "reward.optimizer.warmup_ratio",
        "policy.optimizer.adam_epsilon",
        "policy.optimizer.weight_decay",
        "policy.optimizer.max_grad_norm",
    ] {
        one(key, "nan");
    }
    for (key, value) in [
        ("policy.temperature", "0.0"),
        ("policy.kl_coef", "-0.1"),
        ("policy.clip_low", "1.0"),
        ("policy.gamma", "1.1"),
        ("policy.gae_lambda", "-0.1"),
        ("policy.samples_per_prompt", "1"),
        ("policy.batch_size", "127"),
        ("negatives.greedy", "2"),
        ("reward.scale_floor", "0.0"),
        ("gate.min_accuracy", "1.5"),
        ("gate.max_length_factor", "0.5"),
        ("sft.optimizer.lr", "0.0"),
        ("sft.optimizer.lr", "2.0"),
        ("sft.optimizer.warmup_ratio", "1.0"),
        ("sft.optimizer.adam_epsilon", "1e-60"),
        ("sft.optimizer.weight_decay", "-1.0"),
        ("sft.optimizer.max_grad_norm", "0.0"),
    ] {
        one(key, value);
    }
    let none = ["negatives.initial=0", "negatives.policy=0"];
    assert!(refused("", &none).contains("negatives"));
    assert!(parse("", &["policy.samples_per_prompt=1", "policy.solver=ppo"]).is_ok());
    assert!(parse("", &["gate.max_kl=inf"]).is_ok());
    let mut recipe = Recipe::default();
    recipe.run.seed = u64::MAX;
    assert!(recipe.check().unwrap_err().to_string().contains("run.seed"));
}

#[test]
fn a_resolved_recipe_reads_back_as_it_was_with_a_comment_above_every_field() {
    let mut changed = Recipe::default();
    changed.model.path = "models/a \"b\"".into();
    changed.data.prompts = Some("p.jsonl".into());
    changed.policy.kl_coef = 0.1 + 0.2;
    changed.gate.max_kl = f64::INFINITY;
    changed.run.seed = i64::MAX as u64;
    for recipe in [Recipe::default(), changed] {
        let text = recipe.to_commented_toml();
        assert_eq!(parse(&text, &[]).unwrap(), recipe);
        let lines: Vec<&str> = text.lines().collect();
        let fields =
            (1..lines.len()).filter(|i| lines[*i].contains(" = ") && !lines[*i].starts_with('#'));
        assert!(fields.clone().count() > 70);
        for field in fields {
            assert!(lines[field - 1].starts_with("# "), "no comment above {}", lines[field]);
        }
    }
}

#[test]
fn differences_are_dotted_keys() {
    let mut other = Recipe::default();
    other.policy.optimizer.lr = 0.5;
    other.data.prompts = Some("p".into());
    other.run.seed = 9;
    let keys = Recipe::default().differences(&other);
    assert_eq!(keys, ["data.prompts", "policy.optimizer.lr", "run.seed"]);
    assert!(other.differences(&other).is_empty());
}

#[test]
fn counts_that_no_machine_could_hold_are_refused_by_key() {
    for (key, value) in [
        ("negatives.initial", "5000000000000000000"),
        ("sft.epochs", "9223372036854775807"),
        ("gate.samples", "1000000000000"),
        ("policy.batch_size", "1000000000000"),
        ("reward.steps", "1000000000000"),
        ("run.out", "\"\""),
    ] {
        let error = Recipe::parse("", "test", &[format!("{key}={value}")]).unwrap_err();
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
}
