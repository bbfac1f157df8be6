//! A task of the Open LLM Leaderboard on rows of a file:
//! `cargo run --example run_task -- MODEL TASK ROWS`. Without arguments a tiny random model answers four questions of ARC.

use std::error::Error;
use std::path::Path;

use revealed::data::Encoder;
use revealed::eval::tasks::{TaskDescription, TaskRows, TaskSettings, read_rows};
use revealed::eval::{Progress, run_task};
use revealed::models::CausalLm;
use revealed::train::Recipe;

/// A tiny random model and rows of several tasks in this repository.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks");

fn main() -> Result<(), Box<dyn Error>> {
    revealed::tune_allocator();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [model, task, rows] => evaluate(model.as_ref(), task, rows.as_ref()),
        _ => random(),
    }
}

/// Prints the figures of a built-in task, or of one that a `.toml` file describes.
fn evaluate(model: &Path, task: &str, rows: &Path) -> Result<(), Box<dyn Error>> {
    let task = TaskDescription::read(task)?;
    let questions = read_rows(rows)?;
    let rows = TaskRows { questions: &questions, examples: None };
    let settings = TaskSettings { shots: Some(0), ..TaskSettings::default() };
    let encoder = Encoder::from_folder(model, Recipe::default().data.encode_options())?;
    let model = CausalLm::load(model, &revealed::device("flex")?)?;
    let mut log = |at: Progress<'_>| eprintln!("{} {}/{}", at.stage, at.done, at.total);
    let result = run_task(&task, rows, &settings, (&model, &encoder), &mut log)?;
    for found in &result.figures {
        let subset = found.figure.subset.as_deref().unwrap_or("all");
        println!("{} ({subset}): {:.3}", found.figure.name, found.figure.value);
    }
    Ok(())
}

fn random() -> Result<(), Box<dyn Error>> {
    let golden = Path::new(GOLDEN);
    evaluate(&golden.join("model"), "arc_easy", &golden.join("data/arc.jsonl"))
}

#[test]
fn the_example_runs() {
    random().expect("model and rows are in the repository");
}
