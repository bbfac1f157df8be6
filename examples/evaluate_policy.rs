//! A policy compared with its reference on the same prompts, with a gold score of one's own:
//! `cargo run --example evaluate_policy -- POLICY REFERENCE PROMPTS`. Without arguments two random models answer made-up prompts.

use std::error::Error;
use std::path::Path;

use revealed::Device;
use revealed::data::{Encoder, Prompt, read_prompts};
use revealed::eval::policy::{Gold, PolicySettings, SampledCompletion};
use revealed::eval::rewards::PolicyAndReference;
use revealed::eval::{Progress, evaluate_policy};
use revealed::models::{CausalLm, HfConfig};
use revealed::train::Recipe;

/// A tiny random model in this repository.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks/model");

fn main() -> Result<(), Box<dyn Error>> {
    revealed::tune_allocator();
    let device = revealed::device("flex")?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [policy, reference, prompts] = args.as_slice() else {
        return evaluate(&random(&device)?, made_up_prompts());
    };
    let policy = CausalLm::load(policy.as_ref(), &device)?;
    let reference: &Path = reference.as_ref();
    let encoder = Encoder::from_folder(reference, Recipe::default().data.encode_options())?;
    let reference = CausalLm::load(reference, &device)?;
    let models = PolicyAndReference::new(policy, reference, encoder)?;
    evaluate(&models, read_prompts(prompts.as_ref())?)
}

fn evaluate(
    models: &PolicyAndReference,
    prompts: Vec<(String, Prompt)>,
) -> Result<(), Box<dyn Error>> {
    let settings = PolicySettings { samples: 4, max_tokens: 32, ..PolicySettings::default() };
    // Any function of a prompt and a completion: here the share of different characters.
    let gold = |_: &Prompt, one: &SampledCompletion| {
        let mut characters: Vec<char> = one.text.chars().collect();
        let all = characters.len().max(1);
        characters.sort_unstable();
        characters.dedup();
        Ok(characters.len() as f64 / all as f64)
    };
    let scorers = (None, Some(Gold::Function("different characters", &gold)));
    let mut log = |at: Progress<'_>| eprintln!("{} {}/{}", at.stage, at.done, at.total);
    let result = evaluate_policy(models, prompts, scorers, &settings, &mut log)?;
    for figure in &result.figures {
        let side = figure.subset.as_deref().unwrap_or("both");
        println!("{} ({side}): {:.3}", figure.name, figure.value);
    }
    Ok(())
}

/// The repository's model as the reference, and a random one of the same dimensions as the policy.
fn random(device: &Device) -> Result<PolicyAndReference, Box<dyn Error>> {
    let folder = Path::new(MODEL);
    let policy = CausalLm::random(HfConfig::read(folder)?, 1, device)?;
    let encoder = Encoder::from_folder(folder, Recipe::default().data.encode_options())?;
    Ok(PolicyAndReference::new(policy, CausalLm::load(folder, device)?, encoder)?)
}

fn made_up_prompts() -> Vec<(String, Prompt)> {
    let texts = ["Once upon a time", "The weather in spring", "A list of colours:"];
    let prompts = texts.iter().enumerate();
    prompts.map(|(id, text)| (id.to_string(), Prompt::Text((*text).into()))).collect()
}

#[test]
fn the_example_runs() {
    let device = revealed::device("flex").expect("flex is enabled");
    let models = random(&device).expect("the model is in the repository");
    evaluate(&models, made_up_prompts()).expect("every prompt fits");
}
