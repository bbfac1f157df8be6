//! Alignment on the built-in task, and its table by the gold reward.

use std::path::Path;

use burn::tensor::Device;
use revealed_data::Encoder;
use revealed_models::{CausalLm, write_file};
use revealed_report::{GoldMeans, GoldRow, Summary};
use revealed_train::{Event, Observer, Recipe, State, Task, TrainError};

use crate::LabError;
use crate::base_model::{train_base, write_world};
use crate::gold_table::{GOLD_SAMPLES, Measured, measure};
use crate::shop_desk::{self, gold};

/// The task, encoded, with its base model.
pub struct Quickstart {
    /// Notes and replies.
    pub world: shop_desk::Task,
    /// The same, encoded.
    pub task: Task,
    /// The base model.
    pub base: CausalLm,
}

impl Quickstart {
    /// Reads the task and its base model from the run folder, or makes them.
    ///
    /// # Errors
    /// When a file cannot be read or written, or training fails.
    pub fn prepare(
        recipe: &Recipe,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Self, LabError> {
        let world = shop_desk::task(recipe.run.seed);
        let folder = recipe.run.out.join("base");
        if !folder.join("model.safetensors").is_file() {
            write_world(&world, &recipe.run.out)?;
            let text = "training the base model on 20,000 clerk replies";
            observer.observe(&Event::Note(text.into()));
            train_base(&world, recipe, device, observer)?;
        }
        let base = CausalLm::load(&folder, device)?;
        let encoder = Encoder::from_folder(&folder, recipe.data.encode_options())?;
        let task = Task::load(&recipe.data, encoder, recipe.run.seed)?;
        Ok(Self { world, task, base })
    }

    /// Measures the base model, the SFT model and the policies of kept rounds by the gold reward, and writes `summary.json`.
    ///
    /// # Errors
    /// When a policy cannot be read, sampling fails or the file cannot be written.
    pub fn measure(
        &self,
        state: &State,
        recipe: &Recipe,
        device: &Device,
    ) -> Result<GoldTable, LabError> {
        let (out, seed) = (&recipe.run.out, recipe.run.seed);
        let row =
            |name: &str, model: &CausalLm| measure(name, model, &self.world.test, &self.task, seed);
        let mut measured = vec![row("base", &state.initial)?, row("sft", &state.sft)?];
        let mut kept_rounds = Vec::new();
        for report in state.reports.iter().filter(|report| report.accepted) {
            let folder = out.join("rounds").join(report.round.to_string());
            let model = CausalLm::load(&folder, device)?;
            measured.push(row(&format!("round {}", report.round), &model)?);
            kept_rounds.push(report.round);
        }
        let (table, examples): (Vec<GoldRow>, Vec<Vec<String>>) =
            measured.into_iter().map(|Measured { row, examples }| (row, examples)).unzip();
        let summary = Summary {
            gold: GoldMeans {
                base: table[0].t1,
                sft: table[1].t1,
                rounds: table[2..].iter().map(|row| row.t1).collect(),
                demonstrations: self.demonstrations(),
            },
            table,
            kept_rounds,
            rounds: state.reports.clone(),
            seed,
            samples_per_prompt: GOLD_SAMPLES,
        };
        let text = serde_json::to_string_pretty(&summary).map_err(LabError::Json)?;
        write_file(&out.join("summary.json"), text.as_bytes())?;
        Ok(GoldTable { summary, examples })
    }

    /// Mean gold reward of the demonstrations.
    fn demonstrations(&self) -> f64 {
        let scores = self.world.demonstrations.iter().map(|(note, reply)| gold(note, reply, true));
        let scores: Vec<f64> = scores.map(|gold| gold.score).collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    }
}

/// Gold rewards of the models of a run, with completions to show.
pub struct GoldTable {
    /// Contents of `summary.json`.
    pub summary: Summary,
    /// Completions of the first test prompts, per row of the table.
    pub examples: Vec<Vec<String>>,
}

/// Saves the policy of a round that was just kept, for the table.
///
/// # Errors
/// When the policy cannot be written.
pub fn save_round(state: &State, out: &Path) -> Result<(), TrainError> {
    if state.reports.last().is_some_and(|last| last.accepted) {
        let round = out.join("rounds").join(state.reports.len().to_string());
        if !round.join("config.json").is_file() {
            state.policy.save(&round)?;
        }
    }
    Ok(())
}
