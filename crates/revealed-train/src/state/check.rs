//! Checks of a state before any work.

use revealed_models::CausalLm;

use super::State;
use crate::error::TrainError;
use crate::fingerprint;
use crate::recipe::Recipe;
use crate::record::Phase;
use crate::run::Run;
use crate::task::Row;

impl State {
    /// Refuses, before any work, settings out of range, rows that do not fit the model, and a state that belongs to other
    /// data or another model, or lacks an input of its phase.
    pub(crate) fn check(&mut self, run: &Run<'_>) -> Result<(), TrainError> {
        run.recipe.check()?;
        let data = run.task.fingerprint();
        if self.data.as_ref().is_some_and(|began_with| *began_with != data) {
            return Err(mismatch("the state of round", self.round, OTHER_DATA.into()));
        }
        self.data = Some(data);
        let base = fingerprint::of_weights(&self.initial);
        if self.base.as_ref().is_some_and(|began_with| *began_with != base) {
            return Err(mismatch("the state of round", self.round, OTHER_BASE.into()));
        }
        self.base = Some(base);
        self.check_dtype(run.recipe)?;
        self.check_weights(run.recipe)?;
        self.check_rows(run)?;
        self.check_samples(run)?;
        let needs_reward = matches!(self.phase, Phase::Improve | Phase::Gate);
        let missing = match self.phase {
            _ if needs_reward && self.reward.is_none() => "a fitted reward",
            Phase::Gate if self.candidate.is_none() => "a candidate",
            _ if self.phase_state.as_ref().is_some_and(|paused| paused.phase() != self.phase) => {
                "the steps of its phase"
            }
            _ => return Ok(()),
        };
        let reason = format!("it lacks {missing}; start a new run folder");
        Err(mismatch("the state of round", self.round, reason))
    }

    /// The caller provides the models; their compute dtype must match the recipe.
    fn check_dtype(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let expected = recipe.model.compute_dtype();
        let models = [&self.initial, &self.sft, &self.policy].into_iter().chain(&self.candidate);
        match models.map(CausalLm::compute_dtype).find(|found| *found != expected) {
            None => Ok(()),
            Some(found) => Err(TrainError::Recipe {
                key: "model.bf16",
                found: format!("{}, and a model that computes in {found:?}", recipe.model.bf16),
                expected: "models with its compute dtype: CausalLm::with_compute_dtype(recipe.model.compute_dtype())".into(),
            }),
        }
    }

    /// The caller provides the models; the dtype in which their weights are stored must match the recipe.
    fn check_weights(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let expected = recipe.model.weights;
        let models = [&self.initial, &self.sft, &self.policy].into_iter().chain(&self.candidate);
        match models.map(CausalLm::weight_storage).find(|found| *found != expected) {
            None => Ok(()),
            Some(found) => Err(TrainError::Recipe {
                key: "model.weights",
                found: format!("{expected:?}, and a model with weights stored as {found:?}"),
                expected: "models stored in its dtype: CausalLm::load_stored(folder, recipe.model.weights, device)".into(),
            }),
        }
    }

    /// Token ids within the vocabulary, lengths within the context.
    fn check_rows(&self, run: &Run<'_>) -> Result<(), TrainError> {
        let shape = self.initial.shape();
        let (vocab, context) = (shape.vocab_size, shape.context);
        let room = run.task.max_completion_tokens;
        let fits = |what, index, ids: &[u32], length: usize| {
            let reason = match ids.iter().find(|id| **id as usize >= vocab) {
                Some(id) => {
                    format!(
                        "token {id} is outside the model's vocabulary of {vocab}; use the tokenizer of the model"
                    )
                }
                None if length > context => format!(
                    "it takes {length} tokens, the model's context is {context}; lower max_prompt_tokens or max_completion_tokens"
                ),
                None => return Ok(()),
            };
            Err(mismatch(what, index, reason))
        };
        for (what, rows) in
            [("demonstration", &run.task.train), ("held-out demonstration", &run.task.held_out)]
        {
            for (index, row) in rows.iter().enumerate() {
                let length = row.input_ids.len().max(row.prompt().len() + room);
                fits(what, index, &row.input_ids, length)?;
            }
        }
        for (index, prompt) in run.task.prompts.iter().enumerate() {
            fits("prompt", index, prompt, prompt.len() + room)?;
        }
        Ok(())
    }

    /// Negatives and held-out samples belong to the prompts of the task.
    fn check_samples(&self, run: &Run<'_>) -> Result<(), TrainError> {
        let same =
            |sample: &Row, of: Option<&Row>| of.is_some_and(|d| d.prompt() == sample.prompt());
        let negatives = &self.pool.negatives;
        let mismatched =
            negatives.iter().position(|n| !same(&n.row, run.task.train.get(n.demonstration)));
        if let Some(index) = mismatched {
            return Err(mismatch("negative", index, CHANGED.into()));
        }
        let group = run.recipe.gate.samples;
        let drawn = self.round > 1 || !matches!(self.phase, Phase::Sft | Phase::Sample);
        let expected = if drawn { run.task.held_out.len() * group } else { 0 };
        for rows in [&self.held.initial, &self.held.sft, &self.held.policy] {
            let mismatched = rows
                .iter()
                .enumerate()
                .position(|(index, row)| !same(row, run.task.held_out.get(index / group)));
            if let Some(index) = mismatched.or((rows.len() < expected).then_some(rows.len())) {
                return Err(mismatch("held-out sample", index, CHANGED.into()));
            }
        }
        Ok(())
    }
}

const OTHER_DATA: &str = "its demonstrations or prompts have changed since it was saved; restore them, or start a new run folder";
const OTHER_BASE: &str = "the base model's weights have changed since it was saved; restore them, or start a new run folder";
const CHANGED: &str = "it belongs to another prompt: the data has changed since the state was saved; restore it, or start a new run folder";

fn mismatch(what: &'static str, index: usize, reason: String) -> TrainError {
    TrainError::Mismatch { what, index, reason }
}
