//! Recipes as files.

use revealed_objectives::{PairLoss, PairObjective};
use revealed_train::{
    Keep, KlPlacement, LengthControl, NegativeReweighting, NegativeWeights, Recipe, Schedule,
    SftObjective, SolverName, TrainError, Tuning, ValidationReward,
};

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
fn multi_line_strings_are_read_back_unchanged() {
    for path in [
        "a\nseed = 3\n[run]\n",
        "\"\"\"\n'''\nr = 1\n\"\"\"",
        "'''\r\n\\\"\"\"\n[gate]\nmax_kl = 2",
        "\n\"\"\"\"\\\n\\",
    ] {
        let mut recipe = Recipe::default();
        recipe.model.path = path.into();
        let text = recipe.to_commented_toml();
        let again =
            Recipe::parse(&text, "again", &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again.model.path, path, "{text}");
        assert_eq!(text.matches("# Rank\n").count(), 1, "{text}");
    }
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
    assert_eq!((recipe.policy.solver, recipe.model.tuning), (SolverName::PPO, Tuning::Full));
    assert_eq!(recipe.run.out.to_str(), Some("/tmp/some where"));
    assert_eq!(recipe.data.prompts, Some("more.jsonl".into()));
    assert_eq!(recipe.model.lora.target_modules, ["q_proj"]);
    assert_eq!(recipe.reward.optimizer.schedule, Schedule::Cosine);
    assert_eq!(recipe.reward.optimizer.lr, Recipe::default().reward.optimizer.lr);
    // The last override counts; "" means none.
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
fn missing_keys_have_the_default_of_their_section() {
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
fn a_base_in_bf16_is_for_adapters() {
    let bf16 = "model.weights=bf16";
    assert_eq!(parse("", &[bf16]).unwrap().model.weights, revealed_models::WeightStorage::Bf16);
    let error = refused("", &[bf16, "model.tuning=full"]);
    assert!(error.contains("model.weights") && error.contains("model.tuning"), "{error}");
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
        "reward.ensemble_size",
        "policy.steps",
        "policy.batch_size",
        "policy.mini_batch_size",
        "policy.samples_per_prompt",
        "policy.num_ppo_epochs",
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
        "policy.epsilon",
        "policy.epsilon_high",
        "policy.missing_eos_value",
        "policy.gamma",
        "policy.gae_lambda",
        "policy.value_clip",
        "policy.value_coef",
        "policy.kl_target",
        "policy.kl_horizon",
        "policy.baseline_decay",
        "sft.iq_lambda",
        "sft.iq_gamma",
        "negatives.weights.initial",
        "negatives.weights.sft",
        "negatives.weights.policy",
        "negatives.weights.greedy",
        "negatives.weights.other_prompts",
        "negatives.weights.truncated",
        "reward.l2",
        "reward.center_rewards_coef",
        "reward.margin",
        "reward.uncertainty_penalty",
        "reward.label_smoothing",
        "reward.scale_floor",
        "gate.min_accuracy",
        "gate.min_shortcut_margin",
        "gate.min_length_matched_accuracy",
        "gate.max_length_correlation",
        "gate.min_gain",
        "gate.min_validation_gain",
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
        ("policy.epsilon", "1.0"),
        ("policy.gamma", "1.1"),
        ("policy.gae_lambda", "-0.1"),
        ("policy.samples_per_prompt", "1"),
        ("policy.batch_size", "127"),
        ("policy.kl_target", "-1.0"),
        ("policy.kl_horizon", "0.0"),
        ("policy.baseline_decay", "1.0"),
        ("policy.baseline_decay", "-0.1"),
        ("sft.iq_lambda", "-0.1"),
        ("sft.iq_gamma", "1.1"),
        ("sft.iq_gamma", "-0.1"),
        ("negatives.weights.initial", "-1.0"),
        ("negatives.weights.sft", "-1.0"),
        ("negatives.weights.policy", "-1.0"),
        ("negatives.weights.greedy", "-1.0"),
        ("negatives.weights.other_prompts", "-1.0"),
        ("negatives.weights.truncated", "-1.0"),
        ("reward.l2", "-0.1"),
        ("reward.center_rewards_coef", "-0.1"),
        ("reward.margin", "-1.0"),
        ("reward.uncertainty_penalty", "-0.5"),
        ("reward.label_smoothing", "-0.1"),
        ("reward.label_smoothing", "0.6"),
        ("negatives.greedy", "2"),
        ("reward.scale_floor", "0.0"),
        ("gate.min_accuracy", "1.5"),
        ("gate.min_length_matched_accuracy", "1.01"),
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
fn a_key_without_effect_is_refused_by_name() {
    let with = |set: &[&str]| {
        let set: Vec<String> = set.iter().map(|item| (*item).to_owned()).collect();
        Recipe::parse("", "test", &set).map(drop).map_err(|error| error.to_string())
    };
    for (key, refusing, taking) in [
        (
            "reward.margin=0.4",
            vec!["bce", "linear-difference", "least-squares"],
            vec!["pairwise-logistic", "hinge"],
        ),
        (
            "reward.label_smoothing=0.4",
            vec!["linear-difference", "hinge"],
            vec!["pairwise-logistic", "bce", "least-squares"],
        ),
    ] {
        let name = key.split('=').next().unwrap();
        for objective in refusing {
            let objective = format!("reward.objective={objective}");
            let error = with(&[key, &objective]).unwrap_err();
            assert!(error.contains(name) && error.contains("0.4"), "{error}");
            assert!(with(&[&objective]).is_ok());
        }
        for objective in taking {
            with(&[key, &format!("reward.objective={objective}")]).unwrap();
        }
    }
    // No validation reward to reweight with; no negatives; a KL coefficient of 0, or one that would become negative.
    let negative_reweighting = "reward.negative_reweighting=validation-reward";
    assert!(
        with(&[negative_reweighting, "gate.validation_reward=none"])
            .unwrap_err()
            .contains("reward.negative_reweighting")
    );
    with(&[negative_reweighting, "gate.validation_reward=independent"]).unwrap();
    let drawn = ["negatives.initial=4", "negatives.policy=2"];
    let weightless = ["negatives.weights.initial=0.0", "negatives.weights.policy=0.0"];
    let all = [drawn, weightless].concat();
    assert!(with(&all).unwrap_err().contains("negatives.weights"));
    with(&all[..3]).unwrap();
    with(&[all, vec!["negatives.sft=1"]].concat()).unwrap();
    // An added expert does not change the gradient of a linear loss.
    let expert = "reward.length_control=expert";
    let linear = "reward.objective=linear-difference";
    assert!(with(&[expert, linear]).unwrap_err().contains("reward.length_control"));
    with(&[expert]).unwrap();
    // Bounds that would reject every round, and weights whose mean overflows.
    for wrong in [
        "gate.min_gain=inf",
        "gate.min_validation_gain=inf",
        "gate.max_kl=-inf",
        "gate.max_length_correlation=-0.1",
        "negatives.weights.initial=1e308",
    ] {
        let key = wrong.split('=').next().unwrap();
        assert!(with(&[wrong]).unwrap_err().contains(key), "{wrong}");
    }
    with(&["gate.min_gain=-inf", "gate.max_kl=inf", "gate.max_length_correlation=inf"]).unwrap();
    let target = "policy.kl_target=3.0";
    assert!(with(&[target, "policy.kl_coef=0.0"]).unwrap_err().contains("policy.kl_coef"));
    with(&["policy.kl_coef=0.0"]).unwrap();
    let batch = "policy.batch_size=100";
    let horizon = |samples: &str| with(&[target, batch, &format!("policy.kl_horizon={samples}")]);
    assert!(horizon("20.0").unwrap_err().contains("policy.kl_horizon"));
    horizon("20.5").unwrap();
    with(&[batch, "policy.kl_horizon=1.0"]).unwrap();
}

#[test]
fn every_choice_has_a_name_and_every_number_a_key() {
    let set = [
        "sft.objective=iq-learn",
        "sft.iq_lambda=0.2",
        "sft.iq_gamma=0.5",
        "sft.keep=last",
        "negatives.other_prompts=3",
        "negatives.truncated=4",
        "negatives.weights.initial=0.1",
        "negatives.weights.sft=0.2",
        "negatives.weights.policy=0.3",
        "negatives.weights.greedy=0.4",
        "negatives.weights.other_prompts=0.5",
        "negatives.weights.truncated=0.6",
        "reward.label_smoothing=0.1",
        "reward.margin=0.2",
        "reward.center_rewards_coef=0.3",
        "reward.length_control=expert",
        "reward.negative_reweighting=validation-reward",
        "reward.ensemble_size=5",
        "reward.uncertainty_penalty=0.4",
        "policy.solver=reinforce",
        "policy.kl_placement=loss",
        "policy.kl_target=4.0",
        "policy.kl_horizon=500.0",
        "policy.baseline_decay=0.8",
        "gate.validation_reward=independent",
        "gate.min_validation_gain=1.5",
    ];
    let recipe = parse("", &set).unwrap();
    let mut wanted = Recipe::default();
    wanted.sft.objective = SftObjective::IqLearn;
    (wanted.sft.iq_lambda, wanted.sft.iq_gamma) = (0.2, 0.5);
    wanted.sft.keep = Keep::Last;
    (wanted.negatives.other_prompts, wanted.negatives.truncated) = (3, 4);
    wanted.negatives.weights = NegativeWeights {
        initial: 0.1,
        sft: 0.2,
        policy: 0.3,
        greedy: 0.4,
        other_prompts: 0.5,
        truncated: 0.6,
    };
    let reward = &mut wanted.reward;
    (reward.label_smoothing, reward.margin, reward.center_rewards_coef) = (0.1, 0.2, 0.3);
    (reward.length_control, reward.negative_reweighting) =
        (LengthControl::Expert, NegativeReweighting::ValidationReward);
    (reward.ensemble_size, reward.uncertainty_penalty) = (5, 0.4);
    let policy = &mut wanted.policy;
    (policy.solver, policy.kl_placement) = (SolverName::REINFORCE, KlPlacement::Loss);
    (policy.kl_target, policy.kl_horizon, policy.baseline_decay) = (4.0, 500.0, 0.8);
    (wanted.gate.validation_reward, wanted.gate.min_validation_gain) =
        (ValidationReward::Independent, 1.5);
    assert_eq!(recipe, wanted);
    // NegativeReweighting needs the validation reward, which is the default.
    let other = parse("", &["gate.validation_reward=none"]).unwrap();
    assert_eq!(other.differences(&recipe).len(), set.len());
    let again = parse(&recipe.to_commented_toml(), &[]).unwrap();
    assert_eq!(again, wanted);
    for item in set {
        let (key, _) = item.split_once('=').unwrap();
        let (section, field) = key.rsplit_once('.').unwrap();
        let text = recipe.to_commented_toml();
        let (_, from) = text.split_once(&format!("[{section}]\n")).unwrap();
        assert!(from.contains(&format!("\n{field} = ")), "{key}");
    }
}

#[test]
fn the_objective_takes_its_numbers_from_the_recipe() {
    let objective = |set: &[&str]| {
        let PairObjective { loss, label_smoothing, margin } =
            parse("", set).unwrap().reward.pair_objective();
        (loss, label_smoothing, margin)
    };
    assert_eq!(objective(&[]), (PairLoss::PairwiseLogistic, 0.0, 0.0));
    let set = ["reward.label_smoothing=0.1", "reward.margin=0.5"];
    assert_eq!(objective(&set), (PairLoss::PairwiseLogistic, 0.1, 0.5));
    assert_eq!(objective(&["reward.objective=hinge"]), (PairLoss::Hinge, 0.0, 1.0));
    let set = ["reward.objective=hinge", "reward.margin=0.5"];
    assert_eq!(objective(&set), (PairLoss::Hinge, 0.0, 0.5));
}

#[test]
fn the_kl_is_placed_by_the_solver_or_by_the_recipe() {
    for (solver, custom) in [("rloo", true), ("ppo", true), ("reinforce", true), ("grpo", false)] {
        let in_reward = |kl_placement| {
            let set =
                [format!("policy.solver={solver}"), format!("policy.kl_placement={kl_placement}")];
            Recipe::parse("", "test", &set).unwrap().policy.kl_in_reward()
        };
        assert_eq!(in_reward("solver"), custom, "{solver}");
        assert!(in_reward("reward") && !in_reward("loss"), "{solver}");
    }
}

#[test]
fn a_resolved_recipe_is_read_back_unchanged_and_every_field_has_a_comment() {
    let mut changed = Recipe::default();
    changed.model.path = "models/a \"b\"".into();
    changed.data.prompts = Some("p.jsonl".into());
    changed.policy.kl_coef = 0.1 + 0.2;
    changed.gate.max_kl = f64::INFINITY;
    changed.run.seed = i64::MAX as u64;
    let leaves = |recipe: &toml::Value| {
        // "" means no file for the two optional ones.
        count(recipe) + if recipe["data"].get("prompts").is_some() { 1 } else { 2 }
    };
    for recipe in [Recipe::default(), changed] {
        let text = recipe.to_commented_toml();
        assert_eq!(parse(&text, &[]).unwrap(), recipe);
        let lines: Vec<&str> = text.lines().collect();
        let fields =
            (1..lines.len()).filter(|i| lines[*i].contains(" = ") && !lines[*i].starts_with('#'));
        assert_eq!(fields.clone().count(), leaves(&toml::Value::try_from(&recipe).unwrap()));
        for field in fields {
            assert!(lines[field - 1].starts_with("# "), "no comment above {}", lines[field]);
        }
    }
}

/// Keys that are not sections.
fn count(value: &toml::Value) -> usize {
    value.as_table().map_or(1, |table| table.values().map(count).sum())
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
fn counts_beyond_any_memory_are_refused_by_key() {
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

#[test]
fn a_key_that_was_renamed_is_refused_with_its_new_name() {
    for (old, new, text) in [
        ("guard", "health", "[guard]\nmax_kl = 5.0\n"),
        ("policy.clip_low", "policy.epsilon", "[policy]\nclip_low = 0.1\n"),
        ("gate.judge", "gate.validation_reward", "[gate]\njudge = \"none\"\n"),
    ] {
        let error = Recipe::parse(text, "recipe.toml", &[]).unwrap_err().to_string();
        let expected =
            format!("recipe.toml: the key `{old}` was renamed to `{new}`; use the new name");
        assert_eq!(error, expected);
    }
    let set = ["policy.inner_epochs=3".to_owned()];
    let error = Recipe::parse("", "recipe.toml", &set).unwrap_err().to_string();
    assert!(error.contains("--set policy.inner_epochs=3"), "{error}");
    assert!(error.contains("renamed to `policy.num_ppo_epochs`"), "{error}");
}
