//! A run in a folder, from a recipe to the aligned model: what a program around [`align`](crate::align) needs.
//!
//! [`Setup`] reads what a recipe names; a [`Session`] creates or resumes the run folder, runs the loop with
//! checkpoints and writes the result. [`align_in_folder`] does both.

mod limits;
mod resume;
mod setup;

use burn::tensor::Device;

use crate::error::TrainError;
use crate::observer::Observer;
use crate::recipe::Recipe;
use crate::state::State;

pub use limits::fit_to_context;
pub use resume::{Inputs, Session, Start};
pub use setup::Setup;

/// Runs the loop for a recipe in the folder `run.out` and writes policy, reward and report there.
///
/// The objective is that of the recipe; use [`Session`] for one of your own. The run resumes to the same bits after
/// [`TrainError::Interrupted`] or a crash with [`Start::Resume`].
///
/// # Errors
/// When the recipe, a file it names, or the run folder is wrong, and those of [`align`](crate::align).
pub fn align_in_folder(
    recipe: Recipe,
    start: Start,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<State, TrainError> {
    let setup = Setup::load(recipe, device, observer)?;
    let objective = setup.recipe.reward.pair_objective();
    let inputs = setup.inputs(&objective);
    let session = Session::open(inputs, setup.base.clone(), setup.policy.clone(), start, observer)?;
    session.align(observer, |_| Ok(()))
}
