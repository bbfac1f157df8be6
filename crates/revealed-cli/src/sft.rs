//! `revealed sft`: the first phase of `align` alone; `align --resume` goes on from its folder.

use anyhow::{Result, bail};
use revealed::Device;
use revealed::train::{Phase, Run, RunFolder, Setup, State, fit_sft};

use crate::output::Output;
use crate::progress::Progress;
use crate::setup::{self, RecipeArgs};

/// Arguments of `revealed sft`.
#[derive(Debug, clap::Args)]
pub struct SftArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Fits the model to the demonstrations and writes `policy/` into the run's folder.
pub fn sft(args: &SftArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let Setup { recipe, folder, base, policy, task } = setup::load(&args.recipe, device, progress)?;
    if recipe.sft.epochs == 0 {
        bail!("recipe: `sft.epochs` = 0 trains nothing; set it to 1 or more");
    }
    let out = recipe.run.out.clone();
    let mut files = RunFolder::create(&out, &recipe)?;
    let objective = recipe.reward.pair_objective();
    let mut observers = (&mut files, progress);
    let mut run =
        Run { task: &task, recipe: &recipe, objective: &objective, observer: &mut observers };
    let model = fit_sft(policy.clone(), &mut run)?;
    let state = State {
        phase: Phase::Sample,
        sft: model.clone(),
        policy: model,
        ..State::new(base, policy)
    };
    files.checkpoints(&recipe).save(&state, RunFolder::metrics_bytes(&out)?)?;
    files.finish(&state, &recipe, &task, &folder)?;
    let mut output = Output::new();
    output.text(&format!("run folder: {}\n", out.display()))?;
    output.flush()
}
