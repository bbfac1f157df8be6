//! Events, metrics and files of a run.

use std::collections::BTreeSet;

use revealed_data::{EncodeOptions, Encoder, Message, Prompt, TemplateChoice};
use revealed_train::{Alternation, RunFolder, Tuning, align};
use serde_json::Value;

use revealed_train::testing::{RecordingObserver, World, task};

#[test]
fn phases_are_reported_in_order_with_steps_from_1() {
    let world = World::new(Tuning::Full, |recipe| recipe.run.rounds = 2);
    let mut observer = RecordingObserver::default();
    world.run(&mut observer, |run| align(world.state(), run, |_| Ok(()))).unwrap();
    let mut expected = Vec::new();
    let mut stage = |round, phase: &str, steps: usize| {
        expected.push(("started", round, phase.to_owned(), 0, steps));
        let step = |step| ("step", round, phase.to_owned(), step, steps);
        expected.extend((1..=steps).map(step));
        expected.push(("ended", round, phase.to_owned(), steps, 0));
    };
    stage(0, "sft", 3); // 20 rows, 8 a step
    for round in [1, 2] {
        stage(round, "sample", 0);
        stage(round, "fit", 3);
        stage(round, "improve", 2);
    }
    assert_eq!(observer.events, expected);
    assert_eq!(observer.reports.iter().map(|r| r.round).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn metrics_are_lines_of_json_and_no_step_is_written_twice() {
    let world = World::new(Tuning::Lora, |recipe| {
        recipe.policy.alternation = Alternation::StepWise;
    });
    let out = world.recipe.run.out.clone();
    let mut files = RunFolder::create(&out, &world.recipe).unwrap();
    let state = world.run(&mut files, |run| align(world.state(), run, |_| Ok(()))).unwrap();
    files.finish(&state, &world.recipe, &world.task, world.folder.path()).unwrap();

    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let mut places = BTreeSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (round, step) = (line["round"].as_u64().unwrap(), line["step"].as_u64().unwrap());
        let phase = line["phase"].as_str().unwrap().to_owned();
        let numbers = line.as_object().unwrap().values().skip(3);
        assert!(numbers.clone().count() > 0 && numbers.clone().all(Value::is_number), "{line}");
        if line.get("learning_rate").is_some() {
            assert!(places.insert((round, phase, step)), "twice: {line}");
        }
    }
    // Three of SFT, three of the fit, two of the policy and the two reward steps between them.
    assert_eq!(places.len(), 10);
    let fits: Vec<u64> = places.iter().filter(|p| p.1 == "fit").map(|p| p.2).collect();
    assert_eq!(fits, [1, 2, 3, 4, 5]);

    let shown = std::fs::read_to_string(out.join("samples/round-1.jsonl")).unwrap();
    assert_eq!(shown.lines().count(), 2);
    for file in ["recipe.toml", "report.md", "policy/adapter_config.json", "policy/tokenizer.json"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    for file in ["reward/reward.json", "reward-adapter/adapter_model.safetensors"] {
        assert!(out.join(file).is_file(), "{file}");
    }
}

#[test]
fn folders_have_the_template_of_the_run_and_the_reward_s_template_ends_at_eos() {
    let template = "{% for m in messages %}{{ m.content }} {% if m.role == 'assistant' %}<eos>\n{% endif %}{% endfor %}";
    let world = World::new(Tuning::Lora, |_| {});
    let file = world.folder.path().join("own.jinja");
    std::fs::write(&file, template).unwrap();
    let mut recipe = world.recipe.clone();
    recipe.data.template = TemplateChoice::File(file);
    let task = task(world.folder.path(), &recipe).unwrap();
    let world = World { recipe, task, ..world };
    // The tokenizer of the model has another template.
    let config = world.folder.path().join("tokenizer_config.json");
    let mut fields: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    fields["chat_template"] = "another, für sich".into();
    // As Python writes it, with a number that no float and no u64 holds.
    let big = "\"model_max_length\": 1000000000000000019884624838656";
    let text = fields.to_string().replace('ü', "\\u00fc").replacen('{', &format!("{{{big}, "), 1);
    std::fs::write(&config, text).unwrap();

    let out = world.recipe.run.out.clone();
    let mut files = RunFolder::create(&out, &world.recipe).unwrap();
    let state = world.run(&mut files, |run| align(world.state(), run, |_| Ok(()))).unwrap();
    files.finish(&state, &world.recipe, &world.task, world.folder.path()).unwrap();
    let [policy, reward] = ["policy", "reward"].map(|folder| {
        let read = |file: &str| std::fs::read_to_string(out.join(folder).join(file)).unwrap();
        let config = read("tokenizer_config.json");
        assert!(config.contains(big), "{config}");
        let fields: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(fields["chat_template"], read("chat_template.jinja"), "{folder}");
        assert_eq!(fields["eos_token"], "<eos>");
        read("chat_template.jinja")
    });
    assert_eq!(policy, template);
    assert!(reward.contains("rstrip()") && reward.contains(template), "{reward}");
    // The encoder of the reward's folder tokenizes as in training.
    let encoder = Encoder::from_folder(&out.join("reward"), EncodeOptions::default()).unwrap();
    let prompt = Prompt::from(vec![Message::new("user", "a")]);
    let ids = |encoder: &Encoder| encoder.encode(&prompt, &"b c".into()).unwrap().input_ids;
    assert_eq!(ids(&encoder), ids(&world.task.encoder));
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let world = World::new(Tuning::Full, |_| {});
    let out = &world.recipe.run.out;
    RunFolder::create(out, &world.recipe).unwrap();
    let error = RunFolder::create(out, &world.recipe).unwrap_err().to_string();
    assert!(error.contains("--resume"), "{error}");
}
