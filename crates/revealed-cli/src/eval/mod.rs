//! `revealed eval …`: measure rewards and policies.

use anyhow::Result;
use revealed::Device;
use revealed::eval::Environment;

use crate::progress::Progress;

mod figures;
mod judge;
mod judge_args;
mod mt_bench;
mod preferences;

/// Arguments of `revealed eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Accuracy on preference pairs: the learned reward, the longer answer, the log-ratio of two models
    Preferences(preferences::PreferencesArgs),
    /// MT-Bench: the model's answers to questions of two turns, graded by a judge
    MtBench(mt_bench::MtBenchArgs),
    /// Win rate of one set of answers over another, by a judge that sees them in both orders
    Judge(judge::PairwiseArgs),
}

/// Runs one of the evaluations.
pub fn eval(args: &EvalArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    match &args.what {
        What::Preferences(args) => preferences::preferences(args, device, progress),
        What::MtBench(args) => mt_bench::mt_bench(args, device, progress),
        What::Judge(args) => judge::judge(args, device, progress),
    }
}

/// This program on a device, for an evaluation's record.
pub fn environment(device: &Device) -> Environment {
    Environment {
        revealed: env!("CARGO_PKG_VERSION").into(),
        device: format!("{device:?}"),
        dtype: "f32".into(),
        command: std::env::args().skip(1).collect(),
    }
}
