//! An adapter's own chat template wherever the adapter is used, and merged folders.

use serde_json::{Value, json};

use crate::world::World;

const TEMPLATE: &str = "{% for m in messages %}this is {{ m.content }} {% if m.role == 'assistant' %}<eos>\n{% endif %}{% endfor %}\
    {% if add_generation_prompt %}this is{% endif %}";
const ADAPTER: [&str; 4] = ["--model", "model", "--adapter", "run/policy"];

/// A base without a template, and an adapter that was trained with one.
fn world() -> World {
    let world = World::new("llama");
    let rows = String::from_utf8(world.read("demonstrations.jsonl")).unwrap();
    let chat = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let turn = |role: &str, text: &Value| json!({"role": role, "content": text});
        let turns = [turn("user", &row["prompt"]), turn("assistant", &row["completion"])];
        format!("{}\n", json!({"messages": turns}))
    };
    world.write("chat.jsonl", &rows.lines().map(chat).collect::<String>());
    world.write("own.jinja", TEMPLATE);
    // A template is tried on words that this tokenizer does not know.
    let mut tokenizer: Value = serde_json::from_slice(&world.read("model/tokenizer.json")).unwrap();
    tokenizer["model"]["unk_token"] = "<pad>".into();
    world.write("model/tokenizer.json", &tokenizer.to_string());
    let data = ["data.demonstrations=chat.jsonl", "data.template=own.jinja"];
    let sizes = ["data.max_prompt_tokens=24", "data.max_completion_tokens=40"];
    world.recipe("sft", &[&data[..], &sizes].concat()).ok();
    world
}

fn ids(world: &World, policy: &[&str]) -> Vec<Value> {
    let args = [&["log-probs"], policy, &["--data", "chat.jsonl"]].concat();
    world.revealed(&args).ok().lines().iter().map(|line| line["input_ids"].clone()).collect()
}

#[test]
fn an_adapter_is_used_with_the_template_that_it_was_trained_with() {
    let world = world();
    let trained = ids(&world, &["--model", "model", "--template", "own.jinja"]);
    let plain = ids(&world, &["--model", "model"]);
    assert_ne!(trained, plain);
    assert_eq!(ids(&world, &ADAPTER), trained);
    let none = [&ADAPTER[..], &["--template", "none"]].concat();
    assert_eq!(ids(&world, &none), plain, "what the user asks for comes first");

    let sample = |more: &[&str]| {
        let args = ["sample", "--prompts", "chat.jsonl", "--max-tokens", "4", "--greedy"];
        world.revealed(&[&args[..], &ADAPTER, more].concat()).ok().stdout
    };
    assert_eq!(sample(&[]), sample(&["--template", "own.jinja"]));
    assert_ne!(sample(&[]), sample(&["--template", "none"]));

    let args = ["eval", "policy", "--policy", "run/policy", "--reference", "model"];
    let more =
        ["--prompts", "chat.jsonl", "--samples", "1", "--max-tokens", "4", "--out", "p.json"];
    world.revealed(&[&args[..], &more].concat()).ok();
    let record: Value = serde_json::from_slice(&world.read("p.json")).unwrap();
    assert_eq!(record["settings"]["text"]["template"], TEMPLATE);

    let question =
        json!({"question_id": 1, "category": "writing", "turns": ["the blue", "the red"]});
    world.write("questions.jsonl", &format!("{question}\n"));
    let bench = |policy: &[&str]| {
        let args = ["eval", "mt-bench", "--questions", "questions.jsonl", "--max-tokens", "4"];
        world.revealed(&[&args[..], policy].concat())
    };
    bench(&["--model", "model"]).failed_with(&["no chat template"]);
    bench(&ADAPTER).ok();
    let done = world.revealed(&["sample", "--model", "run/policy", "--prompts", "chat.jsonl"]);
    done.failed_with(&["run/policy: this is a PEFT adapter", "--adapter", "revealed merge"]);

    // Others save a template alone, in either place.
    let files = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"];
    for file in files {
        std::fs::remove_file(world.path("run/policy").join(file)).unwrap();
    }
    assert_eq!(ids(&world, &ADAPTER), trained);
    std::fs::remove_file(world.path("run/policy/chat_template.jinja")).unwrap();
    assert_eq!(ids(&world, &ADAPTER), plain);
    let config = json!({"chat_template": TEMPLATE}).to_string();
    world.write("run/policy/tokenizer_config.json", &config);
    assert_eq!(ids(&world, &ADAPTER), trained);

    world.revealed(&[&["merge"], &ADAPTER[..], &["--out", "merged"]].concat()).ok();
    assert_eq!(ids(&world, &["--model", "merged"]), trained);
    let config: Value =
        serde_json::from_slice(&world.read("merged/tokenizer_config.json")).unwrap();
    assert_eq!(config["chat_template"], TEMPLATE);
    assert_eq!(config["eos_token"], "<eos>");
    let generation: Value =
        serde_json::from_slice(&world.read("merged/generation_config.json")).unwrap();
    assert_eq!(generation["eos_token_id"], 2);
}

#[test]
fn log_ratios_read_the_policys_template_next_to_a_reward_of_another() {
    let world = world();
    // A reward of plain text, and its base as the reference.
    let out = ["run.out=plain", "data.max_prompt_tokens=16"];
    world.recipe("align", &out).ok();
    let pair = |line: &str| {
        let pair: Value = serde_json::from_str(line).unwrap();
        let prompt = json!([{"role": "user", "content": pair["prompt"]}]);
        let both = json!({"prompt": prompt, "chosen": [{"role": "assistant", "content": pair["chosen"]}],
            "rejected": [{"role": "assistant", "content": pair["rejected"]}]});
        format!("{both}\n")
    };
    let pairs = String::from_utf8(world.read("pairs.jsonl")).unwrap();
    world.write("chat_pairs.jsonl", &pairs.lines().map(pair).collect::<String>());
    let eval = |more: &[&str]| {
        let args = ["eval", "preferences", "chat_pairs.jsonl", "--policy", "run/policy"];
        let args = [&args[..], &["--reference", "model", "--scores", "s.jsonl"], more].concat();
        let done = world.revealed(&args).ok();
        let scores = String::from_utf8(world.read("s.jsonl")).unwrap();
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["log_ratio"].clone();
        (scores.lines().map(value).collect::<Vec<_>>(), done.stderr)
    };
    let (alone, _) = eval(&[]);
    let (with_reward, stderr) = eval(&["--reward", "plain/reward"]);
    assert!(stderr.contains("log_ratio reads answers as the policy writes them"), "{stderr}");
    assert_eq!(alone, with_reward);
}

#[test]
fn weights_that_are_not_numbers_are_not_merged() {
    let world = World::new("llama");
    world.recipe("sft", &[]).ok();
    let merge = || world.revealed(&[&["merge"], &ADAPTER[..], &["--out", "merged"]].concat());
    // The last value of the file.
    let damage = |file: &str, value: f32| {
        let whole = world.read(file);
        let bytes = [&whole[..whole.len() - 4], &value.to_le_bytes()].concat();
        std::fs::write(world.path(file), bytes).unwrap();
        whole
    };
    let file = "run/policy/adapter_model.safetensors";
    let whole = damage(file, f32::INFINITY);
    merge().failed_with(&["run/policy/adapter_model", "tensor `base_model.model.", "not finite"]);
    std::fs::write(world.path(file), whole).unwrap();
    let (model, base) = ("model/model.safetensors", damage("model/model.safetensors", f32::NAN));
    merge().failed_with(&["model/model.safetensors", "tensor `model.", "not finite"]);
    std::fs::write(world.path(model), base).unwrap();
    // Factors that are numbers, and whose product is none.
    let config = "run/policy/adapter_config.json";
    let text = String::from_utf8(world.read(config)).unwrap();
    let mut fields: Value = serde_json::from_str(&text).unwrap();
    fields["lora_alpha"] = json!(1e300);
    world.write(config, &fields.to_string());
    merge().failed_with(&["tensor `model.layers.0", "NaN or infinity"]);
    assert!(!world.path("merged").exists());
}
