//! `revealed align`: the whole loop, with checkpoints after every phase.

use anyhow::Result;
use revealed::Device;
use revealed::train::{Recipe, Session, Start, State, round_markdown};

use crate::companions::{Events, PAGE, write_companions};
use crate::output::Output;
use crate::progress::Progress;
use crate::setup::{self, RecipeArgs};
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
    let setup = setup::load(&args.recipe, device, progress)?;
    let (recipe, out) = (&setup.recipe, &setup.recipe.run.out);
    let objective = recipe.reward.pair_objective();
    let start = if args.resume { Start::Resume } else { Start::New };
    let (base, policy) = (setup.base.clone(), setup.policy.clone());
    let session = Session::open(setup.inputs(&objective), base, policy, start, progress)?;
    if args.resume {
        progress.note(&whereabouts(session.state(), recipe));
    }
    let signals = Signals::listen()?;
    let mut events = Events::begin(out)?;
    let mut observers = ((&mut events, progress), signals.clone());
    let state =
        session.align(&mut observers, |_| Ok(())).map_err(|error| signals.explain(error))?;
    write_companions(out)?;
    let mut output = Output::new();
    for report in &state.reports {
        output.text(round_markdown(report).trim_start())?;
        output.text("\n")?;
    }
    if let Some(why) = state.stopped_early(recipe) {
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
