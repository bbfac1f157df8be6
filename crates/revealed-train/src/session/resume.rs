//! The run folder around the loop: created or resumed, a checkpoint at every saved state, the results at the end.

use std::path::Path;

use revealed_models::CausalLm;
use revealed_objectives::RewardObjective;

use crate::error::{TrainError, error_chain};
use crate::folder::{Checkpoints, RunFolder, Saved};
use crate::irl::align;
use crate::observer::{Event, Observer};
use crate::recipe::Recipe;
use crate::run::Run;
use crate::state::State;
use crate::task::Task;

/// How a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In a folder without a run.
    New,
    /// From the last complete checkpoint of the folder's run; from its beginning if there is none.
    Resume,
}

impl Start {
    /// Creates or resumes the folder `run.out` of a recipe.
    ///
    /// # Errors
    /// When the folder holds a run already, or none to resume, or one of another recipe, or another process uses it.
    pub fn open(self, recipe: &Recipe) -> Result<RunFolder, TrainError> {
        match self {
            Self::New => RunFolder::create(&recipe.run.out, recipe),
            Self::Resume => RunFolder::resume(&recipe.run.out, recipe),
        }
    }
}

/// What a session works on.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Demonstrations and prompts.
    pub task: &'a Task,
    /// The recipe; the run folder is its `run.out`.
    pub recipe: &'a Recipe,
    /// The objective that rewards are fitted with.
    pub objective: &'a dyn RewardObjective,
    /// The folder of the base model; its tokenizer files are copied into the results.
    pub model_folder: &'a Path,
}

/// A run folder that is open for this process, and the state that the run continues from.
pub struct Session<'a> {
    inputs: Inputs<'a>,
    files: RunFolder,
    checkpoints: Checkpoints,
    state: State,
}

impl<'a> Session<'a> {
    /// Creates or resumes the run folder. `base` is the initial model, `policy` the model to train.
    ///
    /// # Errors
    /// Those of [`Start::open`], and when no checkpoint of the folder can be read.
    pub fn open(
        inputs: Inputs<'a>,
        base: CausalLm,
        policy: CausalLm,
        start: Start,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        Self::in_folder(start.open(inputs.recipe)?, inputs, base, policy, observer)
    }

    /// In a run folder that is open already, from its last complete checkpoint if it has one.
    ///
    /// The observer receives a note for every damaged checkpoint that was skipped and for lost metrics.
    ///
    /// # Errors
    /// When the checkpoints cannot be read, or belong to another model.
    pub fn in_folder(
        mut files: RunFolder,
        inputs: Inputs<'a>,
        base: CausalLm,
        policy: CausalLm,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let checkpoints = files.checkpoints(inputs.recipe);
        let saved = checkpoints.load(&base)?;
        let state = resume_from(saved, &mut files, observer)?;
        let state = state.unwrap_or_else(|| State::new(base, policy));
        Ok(Self { inputs, files, checkpoints, state })
    }

    /// The state that the run continues from.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Runs the loop to its end and writes policy, reward and report into the folder.
    ///
    /// `before_save` is called with every state before its checkpoint is written.
    ///
    /// # Errors
    /// Those of [`align`](crate::align), of `before_save`, and when a file cannot be written.
    pub fn align(
        self,
        observer: &mut dyn Observer,
        mut before_save: impl FnMut(&State) -> Result<(), TrainError>,
    ) -> Result<State, TrainError> {
        let Self { inputs, mut files, checkpoints, state } = self;
        let Inputs { task, recipe, objective, model_folder } = inputs;
        let losses = files.losses();
        let mut observers = (&mut files, observer);
        let mut run = Run { task, recipe, objective, observer: &mut observers };
        let state = align(state, &mut run, |state| {
            losses.check()?;
            before_save(state)?;
            checkpoints.save(state, RunFolder::metrics_bytes(&recipe.run.out)?)
        })?;
        files.finish(&state, recipe, task, model_folder)?;
        Ok(state)
    }
}

/// Cuts the folder's metrics back to its checkpoint, or to nothing without one.
fn resume_from(
    saved: Option<Saved>,
    files: &mut RunFolder,
    observer: &mut dyn Observer,
) -> Result<Option<State>, TrainError> {
    for error in saved.iter().flat_map(|saved| &saved.damaged) {
        let text = format!("{}; the checkpoint before it is used", error_chain(error));
        observer.observe(&Event::Note(text));
    }
    if files.rewind(saved.as_ref().map_or(0, |saved| saved.metrics_bytes))? {
        let text = "metrics.jsonl is shorter than when the checkpoint was saved: earlier lines are missing, and the page and its curves will lack them";
        observer.observe(&Event::Note(text.into()));
    }
    Ok(saved.map(|saved| saved.state))
}
