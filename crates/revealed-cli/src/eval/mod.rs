//! `revealed eval …`: evaluations of rewards and policies.

use anyhow::Result;
use revealed::Device;
use revealed::eval::benchmarks::Benchmark;

use crate::progress::Progress;

mod benchmark_rows;
mod benchmarks;
mod environment;
mod figures;
mod file_names;
mod judge;
mod judge_args;
mod judge_notes;
mod mt_bench;
mod mt_bench_files;
mod policy;
mod policy_rows;
mod preference_rows;
mod preferences;
mod scored_notes;
mod scorer_args;
mod table;
mod tasks;
mod win_rate;

/// Arguments of `revealed eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    #[command(subcommand)]
    evaluation: Evaluation,
}

#[derive(Debug, clap::Subcommand)]
enum Evaluation {
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
    /// A policy compared with its reference: KL, win rate, reward, diversity, best-of-n
    Policy(policy::PolicyArgs),
    /// How often a reward prefers the answers of one file to those of another
    WinRate(win_rate::WinRateArgs),
    /// Multiple-choice and generation benchmarks, as lm-evaluation-harness runs them
    Tasks(tasks::TasksArgs),
    /// MT-Bench: the model's answers to questions of two turns, graded by a judge
    MtBench(mt_bench::MtBenchArgs),
    /// Win rate of one set of answers over another, by a judge that reads them in both orders
    Judge(judge::PairwiseArgs),
}

/// Runs one of the evaluations.
pub fn eval(args: &EvalArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    match &args.evaluation {
        Evaluation::Preferences(args) => preferences::preferences(args, device, progress),
        Evaluation::RewardBench(args) => benchmarks::rewardbench(args, device, progress),
        Evaluation::RewardBench2(args) => {
            benchmarks::run(Benchmark::RewardBench2, args, &[], device, progress)
        }
        Evaluation::RmBench(args) => {
            benchmarks::run(Benchmark::RmBench, args, &[], device, progress)
        }
        Evaluation::Policy(args) => policy::policy(args, device, progress),
        Evaluation::WinRate(args) => win_rate::win_rate(args, device, progress),
        Evaluation::Tasks(args) => tasks::tasks(args, device, progress),
        Evaluation::MtBench(args) => mt_bench::mt_bench(args, device, progress),
        Evaluation::Judge(args) => judge::judge(args, device, progress),
    }
}
