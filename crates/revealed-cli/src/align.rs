//! `revealed align`: the whole loop, with checkpoints after every phase.

use anyhow::Result;
use revealed::Device;
use revealed::train::{self, Recipe, Run, RunFolder, State, round_markdown};

use crate::companions::{Events, PAGE, write_companions};
use crate::output::Output;
use crate::progress::Progress;
use crate::setup::{RecipeArgs, Setup, take_up};
use crate::signals::Signals;

/// Arguments of `revealed align`.
#[derive(Debug, clap::Args)]
pub struct AlignArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Go on with the run in the recipe's folder
    #[arg(long)]
    resume: bool,
}

/// Aligns the model and writes the run's folder.
pub fn align(args: &AlignArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    let Setup { recipe, folder, base, policy, task } = Setup::load(&args.recipe, device, progress)?;
    let out = recipe.run.out.clone();
    let mut files = match args.resume {
        true => RunFolder::resume(&out, &recipe)?,
        false => RunFolder::create(&out, &recipe)?,
    };
    let checkpoints = files.checkpoints(&recipe);
    let saved = if args.resume { checkpoints.load(&base)? } else { None };
    let state = take_up(saved, &mut files, progress)?;
    let state = state.unwrap_or_else(|| State::new(base, policy));
    if args.resume {
        progress.note(&whereabouts(&state, &recipe));
    }
    let losses = files.losses();
    let objective = recipe.reward.pair_objective();
    let signals = Signals::listen()?;
    let mut events = Events::begin(&out)?;
    let mut observers = ((&mut files, (&mut events, progress)), signals.clone());
    let mut run =
        Run { task: &task, recipe: &recipe, objective: &objective, observer: &mut observers };
    let state = train::align(state, &mut run, |state| {
        losses.check()?;
        checkpoints.save(state, RunFolder::metrics_bytes(&out)?)
    })
    .map_err(|error| signals.explain(error))?;
    files.finish(&state, &recipe, &task, &folder)?;
    write_companions(&out)?;
    let mut output = Output::new();
    for report in &state.reports {
        output.text(round_markdown(report).trim_start())?;
        output.text("\n")?;
    }
    if let Some(why) = state.stopped_early(&recipe) {
        output.text(&format!("{why}\n"))?;
    }
    output.text(&format!("run folder: {}, page: {}\n", out.display(), out.join(PAGE).display()))?;
    output.flush()
}

fn whereabouts(state: &State, recipe: &Recipe) -> String {
    match state.is_finished(recipe) {
        true => match state.stopped_early(recipe) {
            Some(why) => format!("this run is finished already: {why}"),
            None => "this run is finished already; more rounds need a larger run.rounds".into(),
        },
        false if state.phase_state.is_some() => {
            format!("resuming in the middle of round {}, {}", state.round, state.phase)
        }
        false => format!("resuming at round {}, {}", state.round, state.phase),
    }
}
