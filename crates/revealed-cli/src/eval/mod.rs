//! `revealed eval …`: measure rewards and policies.

use anyhow::Result;
use revealed::Device;
use revealed::eval::Environment;
use revealed::eval::benchmarks::Benchmark;

use crate::progress::Progress;

mod accuracies;
mod answers;
mod benchmarks;
mod completions;
mod figures;
mod file_names;
mod judge;
mod judge_args;
mod mt_bench;
mod policy;
mod policy_results;
mod preferences;
mod table;
mod tasks;
mod win_rate;
mod yardsticks;

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
    /// RewardBench from its files: 23 subsets, four sections, the score
    #[command(name = "rewardbench")]
    RewardBench(benchmarks::RewardBenchArgs),
    /// RewardBench 2 from its files: one right answer of four, and ties
    #[command(name = "rewardbench2")]
    RewardBench2(benchmarks::BenchmarkArgs),
    /// RM-Bench from its files: right and wrong answers in three styles each
    RmBench(benchmarks::BenchmarkArgs),
    /// A policy beside its reference: KL, win rate, reward, diversity, best-of-n
    Policy(policy::PolicyArgs),
    /// How often the answers of one file beat those of another by a reward
    WinRate(win_rate::WinRateArgs),
    /// Multiple-choice and generation benchmarks, as lm-evaluation-harness runs them
    Tasks(tasks::TasksArgs),
    /// MT-Bench: the model's answers to questions of two turns, graded by a judge
    MtBench(mt_bench::MtBenchArgs),
    /// Win rate of one set of answers over another, by a judge that sees them in both orders
    Judge(judge::PairwiseArgs),
}

/// Runs one of the evaluations.
pub fn eval(args: &EvalArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    match &args.what {
        What::Preferences(args) => preferences::preferences(args, device, progress),
        What::RewardBench(args) => benchmarks::rewardbench(args, device, progress),
        What::RewardBench2(args) => {
            benchmarks::run(Benchmark::RewardBench2, args, &[], device, progress)
        }
        What::RmBench(args) => benchmarks::run(Benchmark::RmBench, args, &[], device, progress),
        What::Policy(args) => policy::policy(args, device, progress),
        What::WinRate(args) => win_rate::win_rate(args, device, progress),
        What::Tasks(args) => tasks::tasks(args, device, progress),
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
