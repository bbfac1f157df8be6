//! What the stages of the loop do in a second, as one JSON object a stage. `docs/performance.md` has figures beside PyTorch's.
//!
//! `cargo bench -p revealed --bench stages -- MODEL --stage sft --lora 16`. Without arguments, as in `cargo test`, every stage runs
//! once on a tiny model, so that the program cannot rot.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use revealed::models::WeightStorage;
use revealed::train::{SolverName, Tuning};
use serde_json::json;

mod setup;
mod work;

use revealed_train::testing::World;
use setup::Setup;

/// Times the stages of the loop on a Hugging Face model folder.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// Model folder; without one all stages run once on a tiny model
    model: Option<PathBuf>,
    /// Fresh weights instead of the folder's: its config.json is enough
    #[arg(long)]
    random: bool,
    /// Folder of the tokenizer, where the model's has none
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// What to time
    #[arg(long, num_args = 1.., default_values = ["sft", "reward", "log-probs", "generate"])]
    stage: Vec<Stage>,
    /// Rank of the adapters; 0 trains every weight
    #[arg(long, default_value_t = 0)]
    lora: usize,
    /// Rows, and completions of a whole round's rollout
    #[arg(long, default_value_t = 8, value_parser = one_or_more())]
    batch: usize,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 64, value_parser = one_or_more())]
    prompt: usize,
    /// Tokens of a completion, the most with --ragged
    #[arg(long, default_value_t = 64, value_parser = one_or_more())]
    completion: usize,
    /// Completions of every prompt that the log-probs and samples of a batch share; 1 for none
    #[arg(long, default_value_t = 1, value_parser = one_or_more())]
    group: usize,
    /// Completions of any length: drawn uniformly; in `generate` rows end at any of 2 % of the vocabulary
    #[arg(long)]
    ragged: bool,
    /// Timed steps, after one that is not
    #[arg(long, default_value_t = 5, value_parser = one_or_more())]
    steps: usize,
    /// Threads of the default backend; LibTorch takes OMP_NUM_THREADS from the environment
    #[arg(long, default_value_t = 2, value_parser = one_or_more())]
    threads: usize,
    /// Mixed precision: products in bfloat16, all else in float32
    #[arg(long)]
    bf16: bool,
    /// Dtype of the base's matrices in memory: f32, or with --lora bf16
    #[arg(long, default_value = "f32", value_parser = storage)]
    weights: WeightStorage,
    /// As the program's: flex, libtorch, libtorch-cuda:0, wgpu, vulkan …
    #[arg(long, default_value = "flex")]
    device: String,
    /// Padded tokens in one pass
    #[arg(long, default_value_t = 2048, value_parser = one_or_more())]
    micro_batch_tokens: usize,
    /// Rounds of `round`
    #[arg(long, default_value_t = 1, value_parser = one_or_more())]
    rounds: usize,
    /// Solver of `round`, as in a recipe
    #[arg(long, default_value = "rloo", value_parser = solver)]
    solver: SolverName,
    /// Demonstrations of `round`
    #[arg(long)]
    data: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// A supervised step: forward, backward, clipping, AdamW
    Sft,
    /// A step of the reward on pairs
    Reward,
    /// Log-probs of completions, without gradient
    LogProbs,
    /// Samples of prompts
    Generate,
    /// Whole rounds of the loop on real demonstrations, phase by phase
    Round,
}

fn main() -> Result<()> {
    let args = Args::parse();
    revealed::tune_allocator();
    // rayon's pool is made at first use. Sound: no other thread runs yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("RAYON_NUM_THREADS", args.threads.to_string());
    }
    if args.model.is_none() && !args.bench {
        return smoke(args);
    }
    let model = (args.model.as_deref())
        .context("name a model's folder: cargo bench -p revealed --bench stages -- MODEL")?;
    run(&args, &Setup::of_folder(model, &args)?)
}

fn run(args: &Args, setup: &Setup) -> Result<()> {
    for stage in &args.stage {
        for line in work::time(*stage, args, setup)? {
            let rate = line.tokens.map(|tokens| round(tokens / line.seconds, 1));
            let object = json!({
                "stage": line.stage, "seconds": round(line.seconds, 4), "tokens_per_second": rate, "rss_mib": line.rss_mib, "peak_rss_mib": memory_mib("VmHWM:"), "lora": args.lora, "batch": args.batch, "prompt": args.prompt,
                "completion": args.completion, "group": args.group, "ragged": args.ragged, "dtype": if args.bf16 { "bfloat16 products" } else { "float32" }, "weights": args.weights,
                "device": args.device, "threads": args.threads, "micro_batch_tokens": args.micro_batch_tokens,
                "revealed": env!("CARGO_PKG_VERSION"),
            });
            println!("{object}");
        }
    }
    Ok(())
}

/// Every stage on a tiny model, once.
fn smoke(args: Args) -> Result<()> {
    let world = World::new(Tuning::Full, |_| {});
    let setup = Setup::tiny(&world);
    let data = Some(world.recipe.data.demonstrations.clone());
    let all = [Stage::Sft, Stage::Reward, Stage::LogProbs, Stage::Generate, Stage::Round];
    let tiny = Args { batch: 4, prompt: 4, completion: 4, steps: 1, data, ..args };
    for lora in [0, 2] {
        run(
            &Args {
                lora,
                group: 2,
                ragged: lora > 0,
                bf16: lora > 0,
                weights: if lora > 0 { WeightStorage::Bf16 } else { WeightStorage::F32 },
                stage: all.to_vec(),
                ..tiny.clone()
            },
            &setup,
        )?;
    }
    Ok(())
}

fn one_or_more() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

fn storage(name: &str) -> serde_json::Result<WeightStorage> {
    serde_json::from_value(json!(name))
}

fn solver(name: &str) -> serde_json::Result<SolverName> {
    serde_json::from_value(json!(name))
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

/// Resident memory of this process by the system's name for it (now, or the most so far); 0 where the system does not tell.
fn memory_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
