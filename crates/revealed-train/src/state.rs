//! What a run carries from one phase to the next.

use burn::module::Module;
use revealed_models::CausalLm;
use revealed_reward::{RewardEnsemble, RewardModel};

use crate::error::TrainError;
use crate::fingerprint;
use crate::gate::RoundReport;
use crate::held_out::HeldOutSamples;
use crate::observer::Phase;
use crate::pairs::PairPool;
use crate::recipe::Recipe;
use crate::run::Run;
use crate::steps::Progress;
use crate::task::Row;
use crate::watch::Course;

/// All that a run carries from one phase to the next. Its models are without gradients.
#[derive(Debug, Clone)]
pub struct State {
    /// The round in progress, from 1.
    pub round: usize,
    /// What is to be done next.
    pub phase: Phase,
    /// Where in that phase the run is, if it is in the middle of it.
    pub progress: Option<Progress>,
    /// The model the run began with.
    pub initial: CausalLm,
    /// The model after SFT.
    pub sft: CausalLm,
    /// The last kept policy.
    pub policy: CausalLm,
    /// The policy of the round in progress, until it is judged.
    pub candidate: Option<CausalLm>,
    /// The reward of the round in progress; between rounds that of the last kept one, or of the last one where
    /// none was kept.
    pub reward: Option<RewardEnsemble>,
    /// How the steps of the candidate went.
    pub course: Course,
    /// The last kept round's reward while another round is in progress, for a rollback.
    pub kept_reward: Option<RewardEnsemble>,
    /// The reward that only judges, once it is fitted.
    pub validation_reward: Option<RewardModel>,
    /// Pairs of all rounds.
    pub pool: PairPool,
    /// Samples on held-out prompts.
    pub held: HeldOutSamples,
    /// Judged rounds.
    pub reports: Vec<RoundReport>,
    /// Fingerprint of the data that the run works on, once it has begun.
    pub data: Option<String>,
    /// Fingerprint of the initial model's weights, once it has begun.
    pub base: Option<String>,
}

impl State {
    /// A run before its first phase. `policy` is the model to train: with adapters, or to be trained whole.
    pub fn new(initial: CausalLm, policy: CausalLm) -> Self {
        let policy = policy.valid();
        Self {
            round: 1,
            phase: Phase::Sft,
            progress: None,
            initial: initial.valid(),
            sft: policy.clone(),
            policy,
            candidate: None,
            course: Course::default(),
            reward: None,
            kept_reward: None,
            validation_reward: None,
            pool: PairPool::default(),
            held: HeldOutSamples::default(),
            reports: vec![],
            data: None,
            base: None,
        }
    }

    /// In the middle of its phase.
    pub(crate) fn paused(self, progress: Progress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Whether rounds are used up, a round says stop, or too many were rejected in a row.
    pub fn is_finished(&self, recipe: &Recipe) -> bool {
        self.phase == Phase::Sample
            && (self.round > recipe.run.rounds || self.stopped_early(recipe).is_some())
    }

    /// Why fewer rounds were run than were asked for, in words; none where there are as many, or the run has not ended.
    pub fn stopped_early(&self, recipe: &Recipe) -> Option<String> {
        let (asked, patience) = (recipe.run.rounds, recipe.gate.patience);
        let last = self.reports.last().filter(|last| last.round < asked)?;
        let rejected = self.reports.iter().rev().take_while(|report| !report.accepted).count();
        let why = match patience {
            _ if last.accepted && !last.reasons.is_empty() => {
                "its samples score as high as the demonstrations (gate.stop)".into()
            }
            _ if rejected < patience => return None,
            1 => "that was rolled back (gate.patience = 1)".into(),
            _ => format!("the last {patience} were rolled back (gate.patience = {patience})"),
        };
        let round = last.round;
        Some(format!(
            "{asked} rounds were asked for; the run stopped after round {round}, since {why}"
        ))
    }

    /// Refuses, before any work, settings out of range, rows that the model cannot take, and a state that
    /// belongs to other data or another model, or lacks what its phase needs.
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
        self.check_rows(run)?;
        self.check_samples(run)?;
        let needs_reward = matches!(self.phase, Phase::Improve | Phase::Gate);
        let missing = match self.phase {
            _ if needs_reward && self.reward.is_none() => "a fitted reward",
            Phase::Gate if self.candidate.is_none() => "a candidate",
            _ if self.progress.as_ref().is_some_and(|progress| progress.phase() != self.phase) => {
                "the steps of its phase"
            }
            _ => return Ok(()),
        };
        let reason = format!("it lacks {missing}; start a new run folder");
        Err(mismatch("the state of round", self.round, reason))
    }

    /// Models are the caller's: one that computes in another dtype than the recipe says is a mistake.
    fn check_dtype(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let expected = recipe.model.compute_dtype();
        let models = [&self.initial, &self.sft, &self.policy].into_iter().chain(&self.candidate);
        match models.map(CausalLm::compute_dtype).find(|found| *found != expected) {
            None => Ok(()),
            Some(found) => Err(TrainError::Recipe {
                key: "model.bf16",
                found: format!("{}, and a model that computes in {found:?}", recipe.model.bf16),
                expected: "models that compute as it says: CausalLm::with_compute_dtype(recipe.model.compute_dtype())",
            }),
        }
    }

    fn check_rows(&self, run: &Run<'_>) -> Result<(), TrainError> {
        let shape = self.initial.shape();
        let (vocab, context) = (shape.vocab_size, shape.context);
        let room = run.task.max_completion_tokens;
        let fits = |what, index, ids: &[u32], length: usize| {
            let reason = match ids.iter().find(|id| **id as usize >= vocab) {
                Some(id) => {
                    format!(
                        "token {id} is outside the model's vocabulary of {vocab}; use its own tokenizer"
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

    fn check_samples(&self, run: &Run<'_>) -> Result<(), TrainError> {
        let same =
            |sample: &Row, of: Option<&Row>| of.is_some_and(|d| d.prompt() == sample.prompt());
        let negatives = &self.pool.negatives;
        let foreign =
            negatives.iter().position(|n| !same(&n.row, run.task.train.get(n.demonstration)));
        if let Some(index) = foreign {
            return Err(mismatch("negative", index, CHANGED.into()));
        }
        let group = run.recipe.gate.samples;
        let drawn = self.round > 1 || !matches!(self.phase, Phase::Sft | Phase::Sample);
        let expected = if drawn { run.task.held_out.len() * group } else { 0 };
        for rows in [&self.held.initial, &self.held.sft, &self.held.policy] {
            let foreign = rows
                .iter()
                .enumerate()
                .position(|(index, row)| !same(row, run.task.held_out.get(index / group)));
            if let Some(index) = foreign.or((rows.len() < expected).then_some(rows.len())) {
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
