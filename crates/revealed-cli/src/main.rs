//! The program `revealed`: results on stdout, everything else on stderr; exit codes 0, 1 (failed),
//! 2 (usage), 129, 130 and 143 (stopped by SIGHUP, SIGINT or SIGTERM).

mod align;
mod bench;
mod check;
mod companions;
mod compare;
mod data;
#[cfg(test)]
mod documented;
mod eval;
mod log_probs;
mod merge;
mod output;
mod progress;
mod quickstart;
mod recipe;
mod report;
mod rows;
mod sample;
mod score;
mod setup;
mod sft;
mod signals;
mod spark;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use revealed::Device;

use crate::output::{StdoutClosed, chain, note};
use crate::progress::{Progress, Verbosity};
use crate::signals::Stopped;

/// Align a language model from demonstrations: learn their reward, improve the policy against it.
#[derive(Debug, Parser)]
#[command(name = "revealed", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
struct Global {
    /// flex, libtorch, libtorch-cuda:N, cuda:N, wgpu:N, vulkan:N or metal:N, as compiled in
    #[arg(long, global = true, default_value = "flex")]
    device: String,
    /// Errors only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more; twice for every step
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the built-in task, whose true reward is known; needs no files
    Quickstart(quickstart::QuickstartArgs),
    /// Compare methods and settings on the built-in task, over seeds
    Bench(bench::BenchArgs),
    /// Print the commented default recipe
    Recipe,
    /// Show what a data file looks like to a model
    Check(check::CheckArgs),
    /// Supervised fine-tuning alone
    Sft(sft::SftArgs),
    /// SFT, then rounds of reward fit and policy improvement
    Align(align::AlignArgs),
    /// Complete prompts
    Sample(sample::SampleArgs),
    /// Log-probs of given completions
    LogProbs(log_probs::LogProbsArgs),
    /// Score completions by a learned reward
    Score(score::ScoreArgs),
    /// Measure rewards and policies
    Eval(eval::EvalArgs),
    /// Write a run's page, event files for TensorBoard, and its metrics as CSV
    Report(report::ReportArgs),
    /// Compare two runs, or two records of one evaluation
    Compare(compare::CompareArgs),
    /// Fold an adapter into full weights
    Merge(merge::MergeArgs),
}

fn main() -> ExitCode {
    output::leave_quietly_when_stdout_closes();
    revealed::tune_allocator();
    let cli = Cli::parse();
    let verbosity = Verbosity::new(cli.global.quiet, cli.global.verbose);
    progress::start_log(verbosity);
    match run(&cli, &mut Progress::new(verbosity)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StdoutClosed>() => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            note(&error.to_string());
            ExitCode::from(error.downcast_ref::<Stopped>().map_or(1, |stopped| stopped.exit_code))
        }
        Err(error) => {
            note(&format!("error: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, progress: &mut Progress) -> Result<()> {
    // Before any file is read: a run must not fail on its device after an hour.
    let device: Device = revealed::device(&cli.global.device)?;
    match &cli.command {
        Command::Quickstart(args) => quickstart::quickstart(args, &device, progress),
        Command::Bench(args) => bench::bench(args, &device),
        Command::Recipe => recipe::recipe(),
        Command::Check(args) => check::check(args, progress),
        Command::Sft(args) => sft::sft(args, &device, progress),
        Command::Align(args) => align::align(args, &device, progress),
        Command::Sample(args) => sample::sample(args, &device, progress),
        Command::LogProbs(args) => log_probs::log_probs(args, &device, progress),
        Command::Score(args) => score::score(args, &device, progress),
        Command::Eval(args) => eval::eval(args, &device, progress),
        Command::Report(args) => report::report(args),
        Command::Compare(args) => compare::compare(args),
        Command::Merge(args) => merge::merge(args, &device, progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
