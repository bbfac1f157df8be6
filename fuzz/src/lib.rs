//! What the fuzz targets do with their bytes: the first byte says which file of a folder they stand for, the rest is put in
//! that file's place, and the folder is read. An error is fine; a panic, a hang or memory beyond the limit is a finding.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use revealed_data::{ChatTemplate, Encoder, GenerationPrompt, Message, Prompt};
use revealed_models::{CausalLm, ScalarModel};
use revealed_reward::{RewardEnsemble, RewardModel};
use revealed_train::testing::{World, device};
use revealed_train::{Recipe, RunFolder, State, Tuning, align};
use sha2::{Digest, Sha256};


/// A folder with files as they should be.
struct Bench {
    world: World,
    /// What is read, and its files that bytes can stand for.
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Bench {
    fn new(tuning: Tuning, make: impl FnOnce(&World) -> (PathBuf, Vec<&'static str>)) -> Self {
        let world = World::new(tuning, |recipe| recipe.run.save_total_limit = 1);
        let (folder, names) = make(&world);
        let files = names.into_iter().map(|name| folder.join(name)).collect();
        Self { world, folder, files }
    }

    /// Reads the folder with the bytes in one file's place.
    fn with(&self, data: &[u8], read: impl FnOnce(&Path)) {
        let Some((first, bytes)) = data.split_first() else { return };
        let file = &self.files[usize::from(*first) % self.files.len()];
        let whole = fs::read(file).ok();
        fs::write(file, bytes).expect("a scratch folder can be written");
        read(file);
        match whole {
            Some(whole) => fs::write(file, whole),
            None => fs::remove_file(file),
        }
        .expect("a scratch folder can be written");
    }

    /// Every file with the byte that stands for it, to begin from.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let seed = |(index, file): (usize, &PathBuf)| {
            [vec![index as u8], fs::read(file).unwrap_or_default()].concat()
        };
        self.files.iter().enumerate().map(seed).collect()
    }
}

macro_rules! bench {
    ($make:expr) => {{
        thread_local!(static BENCH: RefCell<Bench> = RefCell::new($make));
        &BENCH
    }};
}

fn model_bench() -> Bench {
    Bench::new(Tuning::Full, |world| {
        let folder = world.folder.path().join("model");
        world.base.save(&folder).expect("the tiny model can be written");
        let files = vec!["config.json", "model.safetensors", "model.safetensors.index.json"];
        (folder, files)
    })
}

/// `config.json`, weights, and the index of shards.
pub fn model(data: &[u8]) {
    bench!(model_bench()).with_borrow(|bench| {
        bench.with(data, |file| {
            let single = bench.folder.join("model.safetensors");
            let shard = bench.folder.join("a.safetensors");
            let sharded = file.ends_with("model.safetensors.index.json");
            if sharded {
                fs::rename(&single, &shard).expect("a scratch folder can be written");
            }
            let _ = CausalLm::load(&bench.folder, &device());
            if sharded {
                fs::rename(&shard, &single).expect("a scratch folder can be written");
            }
        });
    });
}

fn adapter_bench() -> Bench {
    Bench::new(Tuning::Lora, |world| {
        let folder = world.folder.path().join("adapter");
        world.policy.save_adapter(&folder, "base").expect("the tiny adapter can be written");
        (folder, vec!["adapter_config.json", "adapter_model.safetensors"])
    })
}

/// A PEFT folder, on a language model and as a reward's.
pub fn adapter(data: &[u8]) {
    bench!(adapter_bench()).with_borrow(|bench| {
        bench.with(data, |_| {
            let _ = bench.world.base.clone().with_adapter(&bench.folder);
            let _ = ScalarModel::load_adapter(bench.world.base.clone(), &bench.folder);
        });
    });
}

fn reward_bench() -> Bench {
    Bench::new(Tuning::Full, |world| {
        let folder = world.folder.path().join("reward");
        let member = RewardModel::new(world.base.clone(), 0);
        let reward = RewardEnsemble { members: vec![member.clone(), member], uncertainty_penalty: 0.5 };
        reward.save(&folder, 0, &serde_json::json!({})).expect("the tiny reward can be written");
        (folder, vec!["reward.json", "ensemble.json", "config.json", "model.safetensors"])
    })
}

/// A reward's folder, of several members.
pub fn reward(data: &[u8]) {
    bench!(reward_bench()).with_borrow(|bench| {
        bench.with(data, |_| {
            let _ = RewardEnsemble::load(&bench.folder, None, &device());
        });
    });
}

fn tokenizer_bench() -> Bench {
    Bench::new(Tuning::Lora, |world| {
        (world.folder.path().into(), vec!["tokenizer.json", "tokenizer_config.json"])
    })
}

/// Panics of other crates that are caught and made errors are no findings; the fuzzer's hook would take them for its end. One that
/// nobody catches still ends it.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !revealed_data::panic_is_caught() {
                report(info);
            }
        }));
    });
}

/// A tokenizer's files; what loads encodes a conversation and decodes what it made.
pub fn tokenizer(data: &[u8]) {
    quiet();
    bench!(tokenizer_bench()).with_borrow(|bench| {
        bench.with(data, |_| {
            let options = bench.world.recipe.data.encode_options();
            let Ok(encoder) = Encoder::from_folder(&bench.folder, options) else { return };
            let prompts = [Prompt::Text("a b".into()), Prompt::from(conversation())];
            for row in prompts.iter().filter_map(|prompt| encoder.encode(prompt, &"b a".into()).ok()) {
                encoder.decode(&row.input_ids);
            }
        });
    });
}

fn conversation() -> Vec<Message> {
    let turn = |role: &str, content: &str| Message::new(role, content);
    vec![turn("system", "s"), turn("user", "u\n{{ x }}"), turn("assistant", "a"), turn("user", "v")]
}

const TEMPLATES: [&str; 3] = [
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{% if message.role == 'assistant' %}{% generation %}{{ message.content | trim }}{{ eos_token }}{% endgeneration %}{% else %}{{ message.content }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "{% set ns = namespace(a=[]) %}{% macro f(x) %}{{ x | upper | tojson }}{% endmacro %}{%- for m in messages[::-1] -%}{% set ns.a = ns.a + [m.content.split('\\n')[0]] %}{{ f(m.role ~ loop.index0) }}{%- endfor -%}{{ ns.a | join(',') }}{{ strftime_now('%d %b %Y') }}",
    "{% if messages|length > 9 %}{{ raise_exception('too many') }}{% endif %}{{ ('x' * 20)[2:5] }}{{ range(5) | list | last }}{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
];

/// A chat template, rendered with and without the spans of what was generated.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let variables = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let Ok(template) = ChatTemplate::new(text, "template".as_ref(), variables, 0) else { return };
    let messages = conversation().into();
    let _ = template.render(&messages, GenerationPrompt::Add);
    let _ = template.render_with_generation(&messages, GenerationPrompt::Omit);
}

const ROWS: [&str; 3] = ["rows.jsonl", "rows.json", "rows.parquet"];

fn rows_bench() -> Bench {
    Bench::new(Tuning::Lora, |world| (world.folder.path().into(), ROWS.to_vec()))
}

/// Data files of the three kinds.
pub fn rows(data: &[u8]) {
    quiet();
    bench!(rows_bench()).with_borrow(|bench| {
        bench.with(data, |file| {
            let _ = revealed_data::read(file);
            let _ = revealed_data::read_demonstrations(file);
        });
    });
}

fn rows_seeds() -> Vec<Vec<u8>> {
    let row = r#"{"id": 1, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let pair =
        r#"{"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant", "content": "c"}]}"#;
    let alpaca = r#"{"instruction": "a", "input": "", "output": "b\u00e9"}"#;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/data");
    let parquet = ["messages.parquet", "preferences.parquet"]
        .map(|name| [vec![2], fs::read(golden.join(name)).unwrap_or_default()].concat());
    let text = |kind: u8, text: String| [vec![kind], text.into_bytes()].concat();
    let texts = [
        text(0, format!("{row}\n{row}\n")),
        text(0, format!("{pair}\n")),
        text(0, format!("\u{feff}{alpaca}\n\n{alpaca}")),
        text(1, format!("[{row}, {row}]")),
        text(1, format!("{pair}\n{pair}")),
    ];
    texts.into_iter().chain(parquet).collect()
}

/// A recipe, and an override.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, item) = text.split_once('\u{1f}').unwrap_or((text, "run.seed=3"));
    let Ok(recipe) = Recipe::parse(text, "recipe.toml", &[item.to_owned()]) else { return };
    let again = Recipe::parse(&recipe.to_commented_toml(), "again", &[]);
    let again = again.expect("what is written reads back");
    assert!(again.differences(&recipe).is_empty(), "{:?}", again.differences(&recipe));
}

fn checkpoint_bench() -> Bench {
    Bench::new(Tuning::Full, |world| {
        let out = world.recipe.run.out.clone();
        let mut files = RunFolder::create(&out, &world.recipe).expect("a run folder");
        let checkpoints = files.checkpoints(&world.recipe);
        let save = |state: &State| checkpoints.save(state, 0);
        let stopped = world.run(&mut files, |run| align(world.state(), run, save));
        stopped.expect("the tiny run comes to its end");
        let folder = fs::read_dir(out.join("checkpoints")).expect("checkpoints").next();
        let folder = folder.expect("one at least").expect("one at least").path();
        (folder, vec!["state.json", "manifest.json", "policy/config.json", "reward/config.json"])
    })
}

/// A checkpoint, with a manifest that fits what was changed unless it is the manifest itself.
pub fn checkpoint(data: &[u8]) {
    bench!(checkpoint_bench()).with_borrow(|bench| {
        let manifest = bench.folder.join("manifest.json");
        let whole = fs::read(&manifest).expect("a manifest");
        bench.with(data, |file| {
            if *file != manifest {
                let name = file.strip_prefix(&bench.folder).expect("its own file").to_owned();
                let fitting = fitting(&whole, &name.to_string_lossy(), &data[1..]);
                fs::write(&manifest, fitting).expect("a scratch folder can be written");
            }
            let world = &bench.world;
            let checkpoints =
                revealed_train::Checkpoints::new(&world.recipe.run.out, &world.recipe);
            let _ = checkpoints.load(&world.base);
            fs::write(&manifest, &whole).expect("a scratch folder can be written");
        });
    });
}

/// The manifest with another file's size and hash.
fn fitting(manifest: &[u8], name: &str, bytes: &[u8]) -> String {
    let mut manifest: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest");
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    for entry in manifest["files"].as_array_mut().expect("files") {
        if entry[0] == name {
            *entry = serde_json::json!([name, bytes.len(), hash]);
        }
    }
    manifest.to_string()
}

/// What each target begins from.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let index = br#"{"metadata": {}, "weight_map": {"model.norm.weight": "a.safetensors"}}"#;
    let recipe =
        [Recipe::default().to_commented_toml(), "[run]\nseed = 4\u{1f}gate.min_gain=-inf".into()];
    vec![
        ("model", [model_bench().seeds(), vec![[&[2], &index[..]].concat()]].concat()),
        ("adapter", adapter_bench().seeds()),
        ("reward", reward_bench().seeds()),
        ("tokenizer", tokenizer_bench().seeds()),
        ("template", TEMPLATES.map(|text| text.as_bytes().to_vec()).to_vec()),
        ("rows", rows_seeds()),
        ("recipe", recipe.map(String::into_bytes).to_vec()),
        ("checkpoint", checkpoint_bench().seeds()),
    ]
}
