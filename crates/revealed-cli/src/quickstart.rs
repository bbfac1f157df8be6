//! The built-in task, the shop desk: a known gold reward, used only to report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use revealed::Device;
use revealed::data::Encoder;
use revealed::eval::shop_desk::{self, gold};
use revealed::models::CausalLm;
use revealed::train::session::Inputs;
use revealed::train::{
    Event, MemoryPlan, Observer, Recipe, Session, Start, State, Task, TrainError,
};
use serde_json::json;

use crate::companions::{Events, PAGE, write_companions};
use crate::desk::{settings, train_base, write_world};
use crate::gold::{GOLD_SAMPLES, GoldRow, gold_row};
use crate::signals::Signals;

/// Arguments of `revealed quickstart`.
#[derive(Debug, Clone, clap::Args)]
pub struct QuickstartArgs {
    /// Seed of the world and of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The run's folder [default: the first free of runs/quickstart, runs/quickstart-2, …]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on with the run in that folder
    #[arg(long)]
    pub resume: bool,
}

impl QuickstartArgs {
    /// The folder to use: a new run never writes into an old one's.
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

/// Makes the world and its base model, aligns it, and reports gold figures.
pub fn quickstart(
    args: &QuickstartArgs,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<()> {
    let out = args.folder();
    let recipe = settings(&out, args.seed);
    let files = if args.resume { Start::Resume } else { Start::New }.open(&recipe)?;
    let world = shop_desk::task(args.seed);
    let base_folder = out.join("base");
    if !base_folder.join("model.safetensors").is_file() {
        write_world(&world, &out)?;
        observer.observe(&Event::Note("training the base model on 20,000 clerk replies".into()));
        train_base(&world, &recipe, device, observer)?;
    }
    let base = CausalLm::load(&base_folder, device)?;
    let encoder = Encoder::from_folder(&base_folder, recipe.data.encode_options())?;
    let task = Task::load(&recipe.data, encoder, args.seed)?;
    observer.observe(&Event::Note(format!("memory plan:\n{}", MemoryPlan::new(&base, &recipe))));

    let objective = recipe.reward.pair_objective();
    let inputs =
        Inputs { task: &task, recipe: &recipe, objective: &objective, model_folder: &base_folder };
    let session = Session::in_folder(files, inputs, base.clone(), base, observer)?;
    let signals = Signals::listen()?;
    let mut events = Events::begin(&out)?;
    let mut observers = ((&mut events, observer), signals.clone());
    let state = session
        .align(&mut observers, |state| save_round(state, &out))
        .map_err(|error| signals.explain(error))?;
    report(&state, &world, &task, device, &recipe)
}

/// Saves the policy of a round that was just kept, for the table.
fn save_round(state: &State, out: &Path) -> Result<(), TrainError> {
    if state.reports.last().is_some_and(|last| last.accepted) {
        let round = out.join("rounds").join(state.reports.len().to_string());
        if !round.join("config.json").is_file() {
            state.policy.save(&round)?;
        }
    }
    Ok(())
}

fn report(
    state: &State,
    world: &shop_desk::Task,
    task: &Task,
    device: &Device,
    recipe: &Recipe,
) -> Result<()> {
    let (out, seed) = (&recipe.run.out, recipe.run.seed);
    let row = |name: &str, model: &CausalLm| gold_row(name, model, &world.test, task, seed);
    let mut rows = vec![row("base", &state.initial)?, row("sft", &state.sft)?];
    let mut kept = Vec::new();
    for report in state.reports.iter().filter(|report| report.accepted) {
        let folder = out.join("rounds").join(report.round.to_string());
        let model = CausalLm::load(&folder, device).context("loading a kept round")?;
        rows.push(row(&format!("round {}", report.round), &model)?);
        kept.push(report.round);
    }
    let demonstrations: Vec<f64> =
        world.demonstrations.iter().map(|(note, reply)| gold(note, reply, true).score).collect();
    let demonstrated = demonstrations.iter().sum::<f64>() / demonstrations.len() as f64;
    write_summary(&rows, demonstrated, state, &kept, recipe)?;
    write_companions(out)?;
    print_table(&rows, demonstrated);
    print_rounds(state);
    if let Some(why) = state.stopped_early(recipe) {
        println!("\n{why}");
    }
    print_samples(&rows, world);
    println!(
        "\nThis shows that the loop improves on imitation in a small world whose gold reward is known, at T = 1 and\n\
         against SFT as trained here, one seed. Part of the gain at T = 1 is sharpening: compare T = 0.7 and greedy,\n\
         where SFT is near the top. It says nothing about other data. Gold was read for this table only: rounds were\n\
         kept and stopped on held-out demonstrations."
    );
    println!("\nrun folder: {}, page: {}", out.display(), out.join(PAGE).display());
    Ok(())
}

fn write_summary(
    rows: &[GoldRow],
    demonstrated: f64,
    state: &State,
    kept: &[usize],
    recipe: &Recipe,
) -> Result<()> {
    let detail = |row: &GoldRow| {
        json!({
            "name": row.name, "t1": row.scores[0], "t1_ci95": [row.interval.0, row.interval.1],
            "t0.7": row.scores[1], "greedy": row.scores[2], "perfect": row.perfect,
            "terminated": row.terminated,
        })
    };
    let summary = json!({
        "gold": {
            "base": rows[0].scores[0],
            "sft": rows[1].scores[0],
            "rounds": rows[2..].iter().map(|row| row.scores[0]).collect::<Vec<_>>(),
            "demonstrations": demonstrated,
        },
        "table": rows.iter().map(detail).collect::<Vec<_>>(),
        "kept_rounds": kept,
        "rounds": state.reports,
        "seed": recipe.run.seed,
        "samples_per_prompt": GOLD_SAMPLES,
    });
    let text = serde_json::to_string_pretty(&summary)?;
    revealed::models::write_file(&recipe.run.out.join("summary.json"), text.as_bytes())?;
    Ok(())
}

fn print_table(rows: &[GoldRow], demonstrated: f64) {
    println!("\ngold reward on 256 test prompts (mean of 8 criteria; 4 samples a prompt)\n");
    println!(
        "{:<16} {:>7} {:>17} {:>9} {:>9} {:>9} {:>6}",
        "", "T = 1", "95 % interval", "perfect", "T = 0.7", "greedy", "EOS"
    );
    println!("{:<16} {:>7.3}", "demonstrations", demonstrated);
    for row in rows {
        println!(
            "{:<16} {:>7.3} {:>17} {:>9.2} {:>9.3} {:>9.3} {:>6.2}",
            row.name,
            row.scores[0],
            format!("{:.3} to {:.3}", row.interval.0, row.interval.1),
            row.perfect,
            row.scores[1],
            row.scores[2],
            row.terminated,
        );
    }
}

fn print_rounds(state: &State) {
    println!("\nheld-out figures by which rounds were kept");
    for report in &state.reports {
        print!("{}", revealed::train::round_markdown(report));
    }
}

fn print_samples(rows: &[GoldRow], world: &shop_desk::Task) {
    println!("\nsamples at T = 1");
    let (sft, last) = (&rows[1], &rows[rows.len() - 1]);
    for (index, note) in world.test.iter().take(sft.examples.len()).enumerate() {
        println!("\n  {}", note.prompt());
        println!("  {:>10}: {}", rows[0].name, rows[0].examples[index]);
        println!("  {:>10}: {}", sft.name, sft.examples[index]);
        if last.name != sft.name {
            println!("  {:>10}: {}", last.name, last.examples[index]);
        }
    }
}
