//! The built-in task, the shop desk: a known gold reward, used only to report.

use std::path::PathBuf;

use anyhow::Result;
use revealed::Device;
use revealed::lab::base_model::settings;
use revealed::lab::quickstart::{GoldTable, Quickstart, save_round};
use revealed::train::session::Inputs;
use revealed::train::{Event, MemoryPlan, Observer, Session, Start};

use crate::companions::{Events, PAGE, write_companions};
use crate::signals::Signals;

/// Arguments of `revealed quickstart`.
#[derive(Debug, Clone, clap::Args)]
pub struct QuickstartArgs {
    /// Seed of the data and of all random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run folder [default: the first free of runs/quickstart, runs/quickstart-2, …]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Resume the run in that folder
    #[arg(long)]
    pub resume: bool,
}

impl QuickstartArgs {
    /// The run folder: without --out and --resume, one that does not exist yet.
    fn folder(&self) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let name = |number: usize| match number {
            1 => PathBuf::from("runs/quickstart"),
            _ => PathBuf::from(format!("runs/quickstart-{number}")),
        };
        let free = (1..).find(|number| !name(*number).exists()).unwrap_or(1);
        name(if self.resume { free.max(2) - 1 } else { free })
    }
}

/// Makes the task and its base model, aligns it, and prints gold figures.
///
/// # Errors
/// When a file cannot be read or written, or training fails.
pub fn quickstart(
    args: &QuickstartArgs,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<()> {
    let out = args.folder();
    let recipe = settings(&out, args.seed);
    let files = if args.resume { Start::Resume } else { Start::New }.open(&recipe)?;
    let quickstart = Quickstart::prepare(&recipe, device, observer)?;
    let (base, task) = (&quickstart.base, &quickstart.task);
    observer.observe(&Event::Note(format!("memory plan:\n{}", MemoryPlan::new(base, &recipe))));

    let objective = recipe.reward.pair_objective();
    let base_folder = out.join("base");
    let inputs =
        Inputs { task, recipe: &recipe, objective: &objective, model_folder: &base_folder };
    let session = Session::in_folder(files, inputs, base.clone(), base.clone(), observer)?;
    let signals = Signals::listen()?;
    let mut events = Events::begin(&out)?;
    let mut observers = ((&mut events, observer), signals.clone());
    let state = session
        .align(&mut observers, |state| save_round(state, &out))
        .map_err(|error| signals.explain(error))?;
    let table = quickstart.measure(&state, &recipe, device)?;
    write_companions(&out)?;
    print_table(&table);
    print_rounds(&table);
    if let Some(why) = state.stopped_early(&recipe) {
        println!("\n{why}");
    }
    print_samples(&table, &quickstart);
    println!(
        "\nThe loop improves on imitation in a small task with a known gold reward, at T = 1, against SFT as trained here,\n\
         with one seed. Part of the gain at T = 1 is sharpening: compare T = 0.7 and greedy, where SFT is close to the best.\n\
         This does not transfer to other data. Only this table uses the gold reward: rounds were kept and stopped on\n\
         held-out demonstrations."
    );
    println!("\nrun folder: {}, page: {}", out.display(), out.join(PAGE).display());
    Ok(())
}

fn print_table(table: &GoldTable) {
    println!("\ngold reward on 256 test prompts (mean of 8 criteria; 4 samples per prompt)\n");
    println!(
        "{:<16} {:>7} {:>17} {:>9} {:>9} {:>9} {:>6}",
        "", "T = 1", "95 % interval", "perfect", "T = 0.7", "greedy", "EOS"
    );
    println!("{:<16} {:>7.3}", "demonstrations", table.summary.gold.demonstrations);
    for row in &table.summary.table {
        println!(
            "{:<16} {:>7.3} {:>17} {:>9.2} {:>9.3} {:>9.3} {:>6.2}",
            row.name,
            row.t1,
            format!("{:.3} to {:.3}", row.t1_ci95[0], row.t1_ci95[1]),
            row.perfect,
            row.t07,
            row.greedy,
            row.terminated,
        );
    }
}

fn print_rounds(table: &GoldTable) {
    println!("\nheld-out figures by which rounds were kept");
    for report in &table.summary.rounds {
        print!("{}", revealed::train::round_markdown(report));
    }
}

fn print_samples(table: &GoldTable, quickstart: &Quickstart) {
    println!("\nsamples at T = 1");
    let rows = &table.summary.table;
    let last = rows.len() - 1;
    for (index, note) in quickstart.world.test.iter().take(table.examples[1].len()).enumerate() {
        println!("\n  {}", note.prompt());
        for row in [0, 1, last].into_iter().take(rows.len()) {
            println!("  {:>10}: {}", rows[row].name, table.examples[row][index]);
        }
    }
}
