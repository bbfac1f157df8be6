//! What every stage of a run is given.

use revealed_data::plan_batches;
use revealed_models::{CausalLm, CompletionBatch, Decoding, PaddingSide, SamplingConfig, sample};
use revealed_objectives::RewardObjective;

use crate::error::TrainError;
use crate::observer::{At, Event, Metric, Observer, Phase};
use crate::recipe::Recipe;
use crate::seed::derive;
use crate::task::{Row, Task};

/// The surroundings of a stage: data, settings, objective and ears.
pub struct Run<'a> {
    /// Demonstrations and prompts.
    pub task: &'a Task,
    /// Settings.
    pub recipe: &'a Recipe,
    /// The reward's objective; usually `recipe.reward.pair_objective()`, or the user's own.
    pub objective: &'a dyn RewardObjective,
    /// Who hears what happens.
    pub observer: &'a mut dyn Observer,
}

/// How completions are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    pub samples: usize,
    pub decoding: Decoding,
    pub temperature: f64,
    pub seed: u64,
}

impl Run<'_> {
    pub(crate) fn seed(&self, at: At, purpose: &str) -> u64 {
        derive(self.recipe.run.seed, at.round, &format!("{}/{purpose}", at.phase), at.step)
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

    /// Completions as they were drawn, `draw.samples` a prompt, in order of the prompts.
    pub(crate) fn generate(
        &self,
        model: &CausalLm,
        prompts: &[Vec<u32>],
        draw: Draw,
    ) -> Result<Vec<Row>, TrainError> {
        Ok(self.generate_scored(model, prompts, draw)?.into_iter().map(|(row, _)| row).collect())
    }

    /// The same with the log-probs they were drawn with.
    ///
    /// This is the one way in to sampling: token ids with their prompts, whether each ended, log-probs.
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

    /// Completions in canonical form, as demonstrations are: what rewards are fitted on and score.
    pub(crate) fn canonical(&self, rows: &[Row]) -> Vec<Row> {
        rows.iter().map(|row| self.task.canonical(row.prompt(), row.completion())).collect()
    }

    /// Log-probs of every completion token of every row.
    pub(crate) fn log_probs(
        &self,
        model: &CausalLm,
        rows: &[Row],
        temperature: f64,
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut all = vec![Vec::new(); rows.len()];
        for indices in self.micro_batches(rows) {
            let batch = self.batch(model, indices.iter().map(|i| &rows[*i]))?;
            let width = batch.completion_mask.dims()[1];
            let values = model
                .log_probs(&batch, temperature)
                .log_probs
                .try_into_vec_as::<f32>()
                .map_err(|error| revealed_models::ModelError::Device(error.to_string()))?;
            for (place, index) in indices.iter().enumerate() {
                let length = batch.completion_lengths[place];
                all[*index] = values[place * width..][..length].to_vec();
            }
        }
        Ok(all)
    }

    /// Rows in batches whose padded size stays within `run.micro_batch_tokens`.
    pub(crate) fn micro_batches<R: AsRef<[u32]>>(&self, rows: &[R]) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        plan_batches(&lengths, usize::MAX, self.recipe.run.micro_batch_tokens).batches
    }

    pub(crate) fn batch<'r>(
        &self,
        model: &CausalLm,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<CompletionBatch, TrainError> {
        let rows: Vec<(&[u32], usize)> =
            rows.map(|row| (row.input_ids.as_slice(), row.completion_start)).collect();
        let device = model.device();
        Ok(CompletionBatch::new(&rows, self.task.pad_id(), PaddingSide::Right, &device)?)
    }
}

/// A place before the loop or in it.
pub(crate) fn at(round: usize, phase: Phase, step: usize) -> At {
    At { round, phase, step }
}
