//! Aligns a model folder on a file of demonstrations: `cargo run --example align -- MODEL DATA [OUT]`.

use std::path::PathBuf;

use revealed::train::{Recipe, Start, align_in_folder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    revealed::tune_allocator();
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(data)) = (args.next(), args.next()) else {
        return Err("usage: align MODEL DATA [OUT]".into());
    };
    let out = PathBuf::from(args.next().unwrap_or("runs/example".into()));

    let mut recipe = Recipe::default();
    recipe.model.path = model;
    recipe.data.demonstrations = data.into();
    recipe.data.max_demonstrations = 64;
    recipe.data.held_out = 16;
    recipe.data.max_prompt_tokens = 128;
    recipe.data.max_completion_tokens = 64;
    recipe.sft.epochs = 1;
    recipe.reward.steps = 10;
    recipe.policy.steps = 3;
    recipe.policy.batch_size = 32;
    recipe.run.rounds = 1;
    recipe.run.out = out.clone();
    recipe.check()?;

    let state = align_in_folder(recipe, Start::New, &revealed::device("flex")?, &mut ())?;
    println!(
        "{} rounds judged; adapter, reward and report in {}",
        state.reports.len(),
        out.display()
    );
    Ok(())
}
