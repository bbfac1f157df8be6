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

/// A setting of the shop desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Imitation that sharpens is nearly perfect
    Easy,
    /// It drops what a minority of demonstrations do well
    Hard,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Hard => "hard",
        }
    }

    fn setting(self) -> Setting {
        match self {
            Self::Easy => Setting::Easy,
            Self::Hard => Setting::Hard,
        }
    }
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

/// One arm on one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The task's setting.
    pub setting: Level,
    /// Its seed.
    pub seed: u64,
    /// The arm's name.
    pub arm: String,
    /// Of the settings that it ran with.
    pub settings: String,
    /// After every round, kept or not.
    pub rounds: Vec<Round>,
}

/// Runs what is not there yet.
pub fn bench(args: &BenchArgs, device: &Device) -> Result<()> {
    let known = arms::all();
    let names: Vec<&str> = known.iter().map(|arm| arm.name.as_str()).collect();
    if let Some(wrong) = args.arms.iter().find(|a| *a != "none" && !names.contains(&a.as_str())) {
        bail!("--arms {wrong}: there is no such arm; there are {}", names.join(", "));
    }
    let wanted = |arm: &arms::Arm| args.arms.is_empty() || args.arms.contains(&arm.name);
    let chosen: Vec<arms::Arm> = match &args.name {
        Some(name) if names.contains(&name.as_str()) => {
            bail!("--name {name}: there is an arm of that name already; choose another");
        }
        // What the settings are given for, and arms only where they are asked for too.
        Some(name) => {
            Recipe::parse("", "--set", &args.changes)?;
            let own = arms::Arm::of(name.clone(), args.rounds, args.changes.clone())?;
            known.iter().filter(|arm| args.arms.contains(&arm.name)).cloned().chain([own]).collect()
        }
        None => known.iter().filter(|arm| wanted(arm)).cloned().collect(),
    };
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let results = args.out.join("results.jsonl");
    let done = done(&results, &known, &chosen)?;
    let mut levels = args.settings.clone();
    levels.dedup();
    let mut work = Vec::new();
    for seed in &args.seeds.0 {
        for level in &levels {
            let open: Vec<&arms::Arm> = chosen
                .iter()
                .filter(|arm| arm.runs_on(*level))
                .filter(|arm| !done.contains(&(*level, *seed, arm.name.clone())))
                .collect();
            if !open.is_empty() {
                work.push((*level, *seed, open));
            }
        }
    }
    if work.is_empty() {
        note("nothing to run: all results are there");
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&results)?;
    if std::fs::read(&results)?.last().is_some_and(|last| *last != b'\n') {
        file.write_all(b"\n")?;
    }
    let (file, next) = (Mutex::new(file), AtomicUsize::new(0));
    let jobs = args.jobs.or(std::thread::available_parallelism().map(usize::from).ok());
    std::thread::scope(|scope| -> Result<()> {
        let worker = || -> Result<()> {
            while let Some((level, seed, open)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                let prepared = Prepared::new(*level, *seed, &args.out, device)?;
                for arm in open {
                    let rounds = arm.run(&prepared)?;
                    let (name, settings) = (arm.name.clone(), arm.fingerprint());
                    let outcome =
                        Outcome { setting: *level, seed: *seed, arm: name, settings, rounds };
                    tell(&outcome);
                    let line = format!("{}\n", serde_json::to_string(&outcome)?);
                    // A poisoned lock means that another worker panicked; its panic is what gets reported.
                    let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    file.write_all(line.as_bytes())?;
                }
            }
            Ok(())
        };
        let count = jobs.unwrap_or(1).clamp(1, work.len().max(1));
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let page = args.page.clone().unwrap_or_else(|| args.out.join("evidence.md"));
    page::write(&read(&results)?, &page)?;
    println!("{}", page.display());
    Ok(())
}

/// Results that are there, all of the settings that would be run now.
fn done(
    results: &Path,
    known: &[arms::Arm],
    chosen: &[arms::Arm],
) -> Result<HashSet<(Level, u64, String)>> {
    let arms = known.iter().chain(chosen);
    let now: HashMap<&str, String> =
        arms.map(|arm| (arm.name.as_str(), arm.fingerprint())).collect();
    let mut done = HashSet::new();
    for (index, outcome) in read(results)?.into_iter().enumerate() {
        if let Some(now) = now.get(outcome.arm.as_str())
            && *now != outcome.settings
        {
            bail!(
                "{}, line {}: {} was run with other settings ({}, now {now}); remove its lines, or choose another --name or --out",
                results.display(),
                index + 1,
                outcome.arm,
                outcome.settings
            );
        }
        let key = (outcome.setting, outcome.seed, outcome.arm);
        if !done.insert(key.clone()) {
            bail!(
                "{}, line {}: {:?}, seed {}, {} is there already; remove one of the lines",
                results.display(),
                index + 1,
                key.0,
                key.1,
                key.2
            );
        }
    }
    Ok(done)
}

fn tell(outcome: &Outcome) {
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

fn read(path: &Path) -> Result<Vec<Outcome>> {
    if !path.is_file() {
        return Ok(vec![]);
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).with_context(|| {
                format!("{}, line {}; remove that line", path.display(), index + 1)
            })
        })
        .collect()
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
