//! A folder with a tiny random model, the shop desk's data and a recipe that takes a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use revealed::lab::shop_desk::{self, TaskSize};
use revealed::models::{CausalLm, HfConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct World {
    pub folder: TempDir,
}

/// What the program did.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts the exit code 1 and that the error names all of `parts`.
    pub fn failed_with(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    pub fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn revealed(folder: &Path, args: &[&str]) -> Done {
    revealed_with::<&str>(folder, args, &[])
}

/// The program with some environment variables; it never contacts the hub.
pub fn revealed_with<V: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, V)],
) -> Done {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_revealed"))
        .current_dir(folder)
        .args(args)
        .env("HF_HUB_OFFLINE", "1")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

pub const RECIPE: &str = r#"
[model]
path = "model"
[model.lora]
r = 2
[data]
demonstrations = "demonstrations.jsonl"
held_out = 4
max_prompt_tokens = 16
max_completion_tokens = 40
[sft]
epochs = 1
batch_size = 8
[negatives]
initial = 1
policy = 1
[reward]
steps = 2
batch_size = 8
[policy]
steps = 2
batch_size = 8
mini_batch_size = 8
num_ppo_epochs = 1
[run]
rounds = 1
out = "run"
"#;

impl World {
    pub fn new(model_type: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let size = TaskSize { clerk: 0, demonstrations: 20, held_out: 0, prompts: 0, test: 0 };
        let task = shop_desk::task_of_size(0, shop_desk::Setting::Easy, &size);
        shop_desk::write_jsonl(&world.path("demonstrations.jsonl"), &task.demonstrations).unwrap();
        let pairs: String = task.demonstrations[..10]
            .iter()
            .map(|(note, reply)| {
                let rejected = " this is not our fault . that is all .";
                let chosen = format!(" {reply}");
                let prompt = note.prompt();
                format!("{}\n", json!({"prompt": prompt, "chosen": chosen, "rejected": rejected}))
            })
            .collect();
        world.write("pairs.jsonl", &pairs);
        world.write("recipe.toml", RECIPE);
        world.model("model", model_type);
        world
    }

    /// A random model with its tokenizer.
    pub fn model(&self, name: &str, model_type: &str) {
        let folder = self.path(name);
        let fields = serde_json::from_value(config(model_type)).unwrap();
        let config = HfConfig::new(folder.join("config.json"), fields);
        let device = revealed::device("flex").unwrap();
        CausalLm::random(config, 0, &device).unwrap().save(&folder).unwrap();
        self.write(&format!("{name}/tokenizer.json"), &shop_desk::tokenizer_json());
        self.write(&format!("{name}/tokenizer_config.json"), &shop_desk::tokenizer_config_json());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn revealed(&self, args: &[&str]) -> Done {
        revealed(self.folder.path(), args)
    }

    /// Runs the recipe with some settings changed.
    pub fn recipe(&self, command: &str, settings: &[&str]) -> Done {
        let mut args = vec![command, "recipe.toml"];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        self.revealed(&args)
    }
}

fn config(model_type: &str) -> Value {
    let llama: Value = serde_json::from_str(&shop_desk::config_json(16, 1, 2)).unwrap();
    let vocab = llama["vocab_size"].clone();
    match model_type {
        "llama" => llama,
        "qwen3" => json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": vocab,
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
            "rope_theta": 1e6, "attention_bias": false, "tie_word_embeddings": true,
            "bos_token_id": 1, "eos_token_id": 2,
        }),
        "gpt_neox" => json!({
            "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "vocab_size": vocab,
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "hidden_act": "gelu", "rotary_pct": 0.5,
            "rotary_emb_base": 10000, "max_position_embeddings": 64, "layer_norm_eps": 1e-5,
            "use_parallel_residual": true, "tie_word_embeddings": false,
            "bos_token_id": 1, "eos_token_id": 2,
        }),
        other => panic!("no config for {other}"),
    }
}
