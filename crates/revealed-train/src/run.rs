//! Everything a phase needs: data, recipe, reward objective, observer; and sampling and scoring with them.

use std::borrow::Borrow;

use burn::tensor::{Device, Tensor};
use revealed_models::workers::MicroBatches;
use revealed_models::{CausalLm, CompletionBatch, Decoding, SamplingConfig, Scoring, sample};
use revealed_objectives::RewardObjective;
use revealed_reward::{RewardEnsemble, RewardError, RewardModel};

use crate::error::TrainError;
use crate::observer::{Event, Observer};
use crate::recipe::Recipe;
use crate::record::{At, Metric};
use crate::seed::derive;
use crate::task::{Row, Task};

/// Everything a phase needs: data, recipe, reward objective, observer.
pub struct Run<'a> {
    /// Demonstrations and prompts.
    pub task: &'a Task,
    /// Settings of the run.
    pub recipe: &'a Recipe,
    /// Objective of the reward: `recipe.reward.pair_objective()`, or a custom one.
    pub objective: &'a dyn RewardObjective,
    /// Receiver of events.
    pub observer: &'a mut dyn Observer,
}

/// Settings of one sampling call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    /// Completions per prompt.
    pub samples: usize,
    pub decoding: Decoding,
    pub temperature: f64,
    pub seed: u64,
}

impl Run<'_> {
    /// The seed for a purpose at a place.
    pub(crate) fn seed(&self, at: At, purpose: &str) -> u64 {
        derive(
            self.recipe.run.seed,
            at.round,
            &format!("{}/{purpose}", at.phase.seed_label()),
            at.step,
        )
    }

    pub(crate) fn started(&mut self, at: At, steps: usize) {
        self.observer.observe(&Event::Started { at, steps });
    }

    pub(crate) fn step(&mut self, at: At, steps: usize, metrics: &[Metric]) {
        self.observer.observe(&Event::Step { at, steps, metrics });
    }

    pub(crate) fn ended(&mut self, at: At, metrics: &[Metric]) {
        self.observer.observe(&Event::Ended { at, metrics });
    }

    pub(crate) fn note(&mut self, text: String) {
        self.observer.observe(&Event::Note(text));
    }

    /// Completions as sampled, `draw.samples` per prompt, in order of the prompts.
    pub(crate) fn generate(
        &self,
        model: &CausalLm,
        prompts: &[Vec<u32>],
        draw: Draw,
    ) -> Result<Vec<Row>, TrainError> {
        Ok(self.generate_scored(model, prompts, draw)?.into_iter().map(|(row, _)| row).collect())
    }

    /// The same with the log-probs of every completion token at sampling, nats. All sampling of a run goes through this
    /// function.
    pub(crate) fn generate_scored(
        &self,
        model: &CausalLm,
        prompts: &[Vec<u32>],
        draw: Draw,
    ) -> Result<Vec<(Row, Vec<f32>)>, TrainError> {
        let config = SamplingConfig {
            decoding: draw.decoding,
            temperature: draw.temperature,
            max_new_tokens: self.task.max_completion_tokens,
            samples_per_prompt: draw.samples,
            batch_size: self.recipe.run.sample_batch_size,
            stop_ids: self.task.encoder.stop_ids().to_vec(),
            pad_id: self.task.pad_id(),
            seed: draw.seed,
            ..SamplingConfig::default()
        };
        let samples = sample(model, prompts, &config)?;
        Ok(samples
            .into_iter()
            .map(|sample| {
                let prompt = &prompts[sample.prompt];
                let row = Row {
                    input_ids: [prompt.as_slice(), &sample.token_ids].concat(),
                    completion_start: prompt.len(),
                    terminated: sample.finished,
                };
                (row, sample.log_probs)
            })
            .collect())
    }

    /// Completions in canonical form, tokenized as demonstrations are; rewards are fitted on and score this form.
    pub(crate) fn canonical(&self, rows: &[Row]) -> Vec<Row> {
        rows.iter().map(|row| self.task.canonical(row.prompt(), row.completion())).collect()
    }

    /// `log π` of every completion token of every row at `temperature` (> 0), without gradient, in nats.
    ///
    /// # Errors
    /// When a row has no prompt or no completion token.
    pub fn log_probs(
        &self,
        model: &CausalLm,
        rows: &[Row],
        temperature: f64,
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        self.per_token(model, rows, |batch| model.log_probs(batch, temperature).log_probs)
    }

    /// One number per completion token of every row, from a function that computes `[B, C]` of a batch.
    pub(crate) fn per_token(
        &self,
        model: &CausalLm,
        rows: &[Row],
        compute: impl Fn(&CompletionBatch) -> Tensor<2> + Sync,
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let rows = ids_and_starts(rows);
        Ok(self.scoring().token_values(&rows, &model.device(), compute)?)
    }

    /// Calibrated scores of rows, equal to [`RewardEnsemble::scores`] up to rounding; a prompt shared by several rows is computed
    /// once.
    pub(crate) fn scores<R: Borrow<Row> + Sync>(
        &self,
        reward: &RewardEnsemble,
        rows: &[R],
    ) -> Result<Vec<f64>, TrainError> {
        let members = reward.members.iter().map(|member| self.member_scores(member, rows));
        Ok(reward.combined(&members.collect::<Result<Vec<_>, TrainError>>()?)?)
    }

    /// Calibrated scores of one member.
    pub(crate) fn member_scores<R: Borrow<Row> + Sync>(
        &self,
        member: &RewardModel,
        rows: &[R],
    ) -> Result<Vec<f64>, TrainError> {
        let raw = self.raw_scores(member, rows)?;
        Ok(raw.into_iter().map(|score| member.calibration.apply(score)).collect())
    }

    /// Raw scores of one member.
    pub(crate) fn raw_scores<R: Borrow<Row> + Sync>(
        &self,
        reward: &RewardModel,
        rows: &[R],
    ) -> Result<Vec<f64>, TrainError> {
        let scores = reward.model.score_rows(&ids_and_starts(rows), &mut self.scoring());
        Ok(scores.map_err(RewardError::from)?)
    }

    fn scoring(&self) -> Scoring<'static> {
        Scoring::new(self.task.pad_id(), self.recipe.run.micro_batch_tokens)
    }

    /// Rows in micro-batches of up to `run.micro_batch_tokens`.
    pub(crate) fn micro_batches<R: Borrow<Row>>(
        &self,
        device: &Device,
        rows: &[R],
    ) -> MicroBatches {
        MicroBatches::of_rows(&ids_and_starts(rows), device, self.recipe.run.micro_batch_tokens)
    }

    /// The parts that worker threads may share.
    pub(crate) fn shared(&self) -> Shared<'_> {
        Shared { task: self.task, recipe: self.recipe, objective: self.objective }
    }
}

/// The form in which models take rows.
pub(crate) fn ids_and_starts<R: Borrow<Row>>(rows: &[R]) -> Vec<(&[u32], usize)> {
    let rows = rows.iter().map(Borrow::borrow);
    rows.map(|row: &Row| (row.input_ids.as_slice(), row.completion_start)).collect()
}

/// A [`Run`] without its observer.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub task: &'a Task,
    pub recipe: &'a Recipe,
    pub objective: &'a dyn RewardObjective,
}

impl Shared<'_> {
    pub(crate) fn batch<'r>(
        &self,
        model: &CausalLm,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<CompletionBatch, TrainError> {
        let rows: Vec<(&[u32], usize)> =
            rows.map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
        let device = model.device();
        Ok(CompletionBatch::sharing_prompts(&rows, self.task.pad_id(), &device)?)
    }
}
