//! Files with damaged bytes are an error or still readable, never a panic.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revealed_data::{Encoder, read_demonstrations, read_preferences};
use revealed_models::{CausalLm, ScalarModel};
use revealed_reward::RewardEnsemble;
use revealed_train::{Recipe, RunFolder, Tuning, align};

use revealed_train::testing::{World, device};

/// Damaged copies of each file.
const COPIES: u64 = 150;

/// The bytes with some changed, removed, doubled, or replaced by input that parsers fail on.
fn damaged(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let place = rng.random_range(0..bytes.len());
        let end = (place + rng.random_range(1..40)).min(bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[place] ^= 1 << rng.random_range(0..8),
            1 => bytes[place] = rng.random(),
            2 => bytes.truncate(place),
            3 => drop(bytes.drain(place..end)),
            4 => {
                let part = bytes[place..end].to_vec();
                bytes.splice(place..place, part);
            }
            5 => {
                const WORDS: [&str; 8] = [
                    "18446744073709551615",
                    "-1",
                    "null",
                    "1e400",
                    "\"\"",
                    "[[[[[[[[",
                    "\u{fffd}\0",
                    "0.5",
                ];
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(place..place, word.bytes());
            }
            // A length or an offset at the start of a binary file.
            _ => {
                let head = place.min(16).min(bytes.len() - 1);
                bytes[head] = rng.random();
            }
        }
    }
    bytes
}

/// Replaces the file by each damaged copy and reads it.
fn never_panics(file: &Path, read: &dyn Fn() -> Result<(), String>) {
    let whole = fs::read(file).unwrap();
    read().unwrap_or_else(|error| panic!("{file:?} as it was: {error}"));
    let mut refused = 0;
    for seed in 0..COPIES {
        let bytes = damaged(&whole, &mut ChaCha8Rng::seed_from_u64(seed));
        fs::write(file, bytes).unwrap();
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(result) => refused += u64::from(result.is_err()),
            Err(_) => panic!("{file:?} with damage {seed} is a panic"),
        }
    }
    fs::write(file, whole).unwrap();
    assert!(refused > COPIES / 10, "{file:?}: {refused} refused, so nothing was damaged");
}

fn text<T, E: ToString>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_model_s_files() {
    let world = World::new(Tuning::Lora, |_| {});
    let folder = world.folder.path();
    for name in ["config.json", "model.safetensors"] {
        never_panics(&folder.join(name), &|| text(CausalLm::load(folder, &device())));
    }
    let adapter = folder.join("adapter");
    world.policy.save_adapter(&adapter, "base").unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        never_panics(&adapter.join(name), &|| text(world.base.clone().with_adapter(&adapter)));
    }
}

#[test]
fn a_tokenizer_s_files() {
    let world = World::new(Tuning::Lora, |_| {});
    let folder = world.folder.path();
    never_panics(&folder.join("tokenizer.json"), &|| {
        let encoder = Encoder::from_folder(folder, world.recipe.data.encode_options());
        text(encoder.map(|encoder| encoder.decode(&[3, 4, 5])))
    });
}

#[test]
fn data_and_recipes() {
    let world = World::new(Tuning::Lora, |_| {});
    let folder = world.folder.path();
    let demonstrations = &world.recipe.data.demonstrations;
    never_panics(demonstrations, &|| text(read_demonstrations(demonstrations)));
    let pairs = folder.join("pairs.jsonl");
    let pair = r#"{"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"}"#;
    fs::write(&pairs, format!("{pair}\n").repeat(4)).unwrap();
    never_panics(&pairs, &|| text(read_preferences(&pairs)));
    for name in ["messages.parquet", "preferences.parquet"] {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data");
        let copy = folder.join(name);
        fs::copy(Path::new(golden).join(name), &copy).unwrap();
        never_panics(&copy, &|| match name {
            "messages.parquet" => text(read_demonstrations(&copy)),
            _ => text(read_preferences(&copy)),
        });
    }
    let recipe = folder.join("recipe.toml");
    fs::write(&recipe, world.recipe.to_commented_toml()).unwrap();
    never_panics(&recipe, &|| text(Recipe::read(&recipe, &[])));
}

#[test]
fn rewards_and_checkpoints() {
    let world = World::new(Tuning::Full, |recipe| recipe.run.save_total_limit = 1);
    let out = world.recipe.run.out.clone();
    let mut files = RunFolder::create(&out, &world.recipe).unwrap();
    let checkpoints = files.checkpoints(&world.recipe);
    let end = world
        .run(&mut files, |run| align(world.state(), run, |state| checkpoints.save(state, 0)))
        .unwrap();
    let folder = world.folder.path().join("reward");
    end.reward.unwrap().save(&folder, 0, &serde_json::json!({})).unwrap();
    for name in ["reward.json", "config.json", "model.safetensors"] {
        never_panics(&folder.join(name), &|| {
            text(RewardEnsemble::load(&folder, None, &device()))?;
            text(ScalarModel::load(&folder, &device()))
        });
    }
    let newest = fs::read_dir(out.join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    for name in ["state.json", "manifest.json", "policy/model.safetensors"] {
        never_panics(&newest.join(name), &|| text(checkpoints.load(&world.base)));
    }
}
