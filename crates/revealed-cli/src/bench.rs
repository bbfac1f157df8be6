//! `revealed bench`: methods and settings of the loop, compared on the built-in task over seeds.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use revealed::Device;
use revealed::lab::bench::{Arm, Bench, Level, Outcome, arms, read_results, write_page};
use revealed::train::Recipe;

use crate::output::note;

/// Arguments of `revealed bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// The task
    #[arg(value_enum)]
    pub task: BenchTask,
    /// Folder of results
    #[arg(long, default_value = "runs/bench")]
    pub out: PathBuf,
    /// Seeds, as in 0-4 or 0,3,7
    #[arg(long, default_value = "0-4", value_parser = parse_seeds)]
    pub seeds: Seeds,
    /// Settings of the task
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [TaskLevel::Easy, TaskLevel::Hard])]
    pub settings: Vec<TaskLevel>,
    /// Names of what to run; all if left out, nothing for "none"
    #[arg(long, value_delimiter = ',')]
    pub arms: Vec<String>,
    /// Run the loop with this setting changed too, as in `--set policy.steps=50 --name more-steps`
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "name")]
    pub changes: Vec<String>,
    /// Name of the results with that setting
    #[arg(long)]
    pub name: Option<String>,
    /// Rounds with those settings
    #[arg(long, default_value_t = 3, requires = "name")]
    pub rounds: usize,
    /// Page whose tables are written from all results [default: evidence.md in the folder of results]
    #[arg(long)]
    pub page: Option<PathBuf>,
    /// Seeds that run in parallel [default: one per core]
    #[arg(long)]
    pub jobs: Option<usize>,
}

/// A task with a known gold reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchTask {
    /// The shop desk of `revealed quickstart`
    Quickstart,
}

/// Seeds given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let number = |part: &str| {
        part.trim()
            .parse::<u64>()
            .map_err(|_| format!("{part:?} is not a seed; as in 0-4 or 0,3,7"))
    };
    let mut seeds = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first || last - first > 1000 {
                    return Err(format!("{part:?} is not a range of at most 1000 seeds"));
                }
                seeds.extend(first..=last);
            }
            None => seeds.push(number(part)?),
        }
    }
    seeds.sort_unstable();
    seeds.dedup();
    Ok(Seeds(seeds))
}

/// A setting of the shop desk, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskLevel {
    /// Sampling at a low temperature is enough for nearly perfect imitation
    Easy,
    /// Some good habits are those of a minority of demonstrations
    Hard,
}

impl From<TaskLevel> for Level {
    fn from(level: TaskLevel) -> Self {
        match level {
            TaskLevel::Easy => Self::Easy,
            TaskLevel::Hard => Self::Hard,
        }
    }
}

/// Runs the arms without a result and writes the page.
///
/// # Errors
/// When an argument is wrong, an arm fails or a file cannot be read or written.
pub fn bench(args: &BenchArgs, device: &Device) -> Result<()> {
    let arms = chosen(args)?;
    let levels: Vec<Level> = args.settings.iter().map(|level| (*level).into()).collect();
    let bench = Bench { out: &args.out, arms: &arms, levels: &levels, seeds: &args.seeds.0 };
    let open = bench.open()?;
    if open.is_empty() {
        note("nothing to run: all results are there");
    }
    let jobs = args.jobs.or(std::thread::available_parallelism().map(usize::from).ok());
    bench.run(&open, jobs.unwrap_or(1), device, &print)?;
    let page = args.page.clone().unwrap_or_else(|| args.out.join("evidence.md"));
    write_page(&read_results(&bench.results())?, &page)?;
    println!("{}", page.display());
    Ok(())
}

fn chosen(args: &BenchArgs) -> Result<Vec<Arm>> {
    let mut known = arms();
    let names: Vec<String> = known.iter().map(|arm| arm.name.clone()).collect();
    if let Some(wrong) = args.arms.iter().find(|name| *name != "none" && !names.contains(name)) {
        bail!("--arms {wrong}: there is no such arm; there are {}", names.join(", "));
    }
    let Some(name) = &args.name else {
        known.retain(|arm| args.arms.is_empty() || args.arms.contains(&arm.name));
        return Ok(known);
    };
    if names.contains(name) {
        bail!("--name {name}: there is an arm of that name already; choose another");
    }
    // With --name the known arms run only if --arms lists them.
    Recipe::parse("", "--set", &args.changes)?;
    let own = Arm::of(name.clone(), args.rounds, args.changes.clone())?;
    known.retain(|arm| args.arms.contains(&arm.name));
    known.push(own);
    Ok(known)
}

fn print(outcome: &Outcome) {
    let gold: Vec<String> =
        outcome.rounds.iter().map(|round| format!("{:.3}", round.gold.t1)).collect();
    let seconds: f64 = outcome.rounds.iter().map(|round| round.seconds).sum();
    note(&format!(
        "{:?} {} {}: gold {} ({seconds:.0} s)",
        outcome.setting,
        outcome.seed,
        outcome.arm,
        gold.join(" ")
    ));
}
