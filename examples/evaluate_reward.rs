//! Accuracy of a reward and its baselines on preference pairs, and on questions of RewardBench:
//! `cargo run --example evaluate_reward -- REWARD PAIRS REWARDBENCH`. Without arguments a random reward scores made-up rows.

use std::error::Error;
use std::path::Path;

use revealed::Device;
use revealed::data::{Encoder, Preference, Prompt, read_preferences};
use revealed::eval::benchmarks::{Benchmark, BenchmarkQuestion, SECTIONS};
use revealed::eval::rewards::{PreferenceSet, RewardScorer, RewardSettings, Scorers};
use revealed::eval::{Progress, evaluate_benchmark, evaluate_reward};
use revealed::models::CausalLm;
use revealed::reward::{RewardEnsemble, RewardModel};
use revealed::train::Recipe;

/// A tiny random model in this repository.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks/model");

fn main() -> Result<(), Box<dyn Error>> {
    revealed::tune_allocator();
    let device = revealed::device("flex")?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (reward, pairs, questions) = match args.as_slice() {
        [reward, pairs, questions] => (
            load(reward.as_ref(), &device)?,
            read_preferences(pairs.as_ref())?,
            Benchmark::RewardBench.read(questions.as_ref())?,
        ),
        _ => (random(&device)?, made_up_pairs(), made_up_questions()),
    };
    evaluate(reward, pairs, &questions)
}

fn evaluate(
    reward: RewardScorer,
    pairs: Vec<Preference>,
    questions: &[BenchmarkQuestion],
) -> Result<(), Box<dyn Error>> {
    let scorers = Scorers::from(reward);
    let settings = RewardSettings::default();
    let mut log = |at: Progress<'_>| eprintln!("{} {}/{}", at.stage, at.done, at.total);

    let set = PreferenceSet::new("pairs", pairs);
    let result = evaluate_reward(&set, &scorers, &settings, &mut log)?;
    for (method, accuracy) in &result.accuracies()[0].by_method {
        let (low, high) = accuracy.interval();
        println!("{method}: accuracy {:.3} ({low:.3} to {high:.3})", accuracy.share());
    }

    let benchmark = Benchmark::RewardBench;
    let result = evaluate_benchmark(benchmark, questions, &scorers, &settings, &mut log)?;
    for figure in result.figures().iter().filter(|figure| figure.subset.is_none()) {
        println!("RewardBench, {}: {:.3}", figure.name, figure.value);
    }
    Ok(())
}

/// A reward folder that `revealed align` wrote, with the text processing that it was trained with.
fn load(folder: &Path, device: &Device) -> Result<RewardScorer, Box<dyn Error>> {
    let (reward, file) = RewardEnsemble::load(folder, None, device)?;
    let encoder = Encoder::from_recipe(folder, serde_json::from_value(file.text)?)?;
    Ok(RewardScorer::new(reward, encoder)?)
}

/// A random head on a random model.
fn random(device: &Device) -> Result<RewardScorer, Box<dyn Error>> {
    let folder = Path::new(MODEL);
    let reward = RewardModel::new(CausalLm::load(folder, device)?, 0);
    let encoder = Encoder::from_folder(folder, Recipe::default().data.encode_options())?;
    Ok(RewardScorer::new(reward.into(), encoder)?)
}

fn made_up_pairs() -> Vec<Preference> {
    let pair = |(id, prompt, chosen, rejected): (&str, &str, &str, &str)| Preference {
        id: id.into(),
        subset: None,
        place: None,
        prompt: Prompt::Text(prompt.into()),
        chosen: chosen.into(),
        rejected: rejected.into(),
    };
    let rows = [
        ("1", "What is the capital of France?", " Paris.", " I do not know."),
        ("2", "Name a prime number.", " 7 is one.", " 9"),
        ("3", "Who wrote Emma?", " Jane Austen.", " It was written long ago by someone."),
    ];
    rows.map(pair).into()
}

/// One question for each of RewardBench's subsets.
fn made_up_questions() -> Vec<BenchmarkQuestion> {
    let subsets = SECTIONS.iter().flat_map(|(_, subsets)| subsets.iter());
    let question = |(subset, _): &(&str, usize)| BenchmarkQuestion {
        id: (*subset).into(),
        subset: (*subset).into(),
        prompt: Prompt::Text(format!("A question of {subset}?")),
        chosen: vec![" A short answer.".into()],
        rejected: vec![" A longer answer that misses the question.".into()],
    };
    subsets.map(question).collect()
}

#[test]
fn the_example_runs() {
    let device = revealed::device("flex").expect("flex is enabled");
    let reward = random(&device).expect("the model is in the repository");
    evaluate(reward, made_up_pairs(), &made_up_questions()).expect("every row fits");
}
