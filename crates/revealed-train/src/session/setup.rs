//! Everything that a recipe names, read and checked: model, data, memory plan.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use revealed_data::Encoder;
use revealed_models::CausalLm;
use revealed_objectives::RewardObjective;

use super::limits::{check_memory, check_vocabulary, fit_to_context};
use super::resume::Inputs;
use crate::error::TrainError;
use crate::memory::MemoryPlan;
use crate::observer::{Event, Observer};
use crate::recipe::{Recipe, Tuning};
use crate::task::Task;

/// The model and the data of a recipe.
pub struct Setup {
    /// The recipe as resolved: the model's path is absolute, limits fit the model.
    pub recipe: Recipe,
    /// The folder of the base model.
    pub folder: PathBuf,
    /// The base model.
    pub base: CausalLm,
    /// The model to train: the base with fresh adapters for `model.tuning = "lora"`.
    pub policy: CausalLm,
    /// Demonstrations and prompts.
    pub task: Task,
}

impl Setup {
    /// Reads everything that a recipe names, config and data before weights. The observer receives notes: the recipe
    /// as resolved, notes on the data, the memory plan.
    ///
    /// # Errors
    /// When a key is missing, a file is missing or wrong, or the memory plan needs more than there is.
    pub fn load(
        mut recipe: Recipe,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let mut note = |text: String| observer.observe(&Event::Note(text));
        required("model.path", recipe.model.path.is_empty(), "models/smollm2-135m")?;
        let empty = recipe.data.demonstrations.as_os_str().is_empty();
        required("data.demonstrations", empty, "demonstrations.jsonl")?;
        let folder = revealed_models::resolve(&recipe.model.path)?;
        let folder = folder.canonicalize().map_err(TrainError::io(&folder))?;
        // Adapters name their base by this path and must load from any working directory.
        recipe.model.path = folder.display().to_string();
        fit_to_context(&mut recipe.data, &folder)?.into_iter().for_each(&mut note);
        let encoder = dated_encoder(&mut recipe, &folder)?;
        let task = Task::load(&recipe.data, encoder, recipe.run.seed)?;
        let base = CausalLm::load_stored(&folder, recipe.model.weights, device)?
            .with_compute_dtype(recipe.model.compute_dtype())?;
        check_vocabulary(&task, base.shape().vocab_size, &folder)?;
        let policy = match recipe.model.tuning {
            Tuning::Lora => base.clone().with_lora(&recipe.model.lora, recipe.run.seed)?,
            Tuning::Full => base.clone(),
        };
        note(format!("recipe as resolved:\n{}", recipe.to_commented_toml()));
        task.notes.iter().for_each(|text| note(format!("data: {text}")));
        note(format!(
            "data: {} demonstrations, {} held out, {} prompts",
            task.train.len(),
            task.held_out.len(),
            task.prompts.len()
        ));
        let plan = MemoryPlan::new(&policy, &recipe);
        note(format!("memory plan:\n{plan}"));
        check_memory(&plan, recipe.run.memory_limit_gib)?;
        Ok(Self { recipe, folder, base, policy, task })
    }

    /// The inputs of a [`Session`](super::Session) with an objective.
    pub fn inputs<'a>(&'a self, objective: &'a dyn RewardObjective) -> Inputs<'a> {
        let Self { recipe, folder, task, .. } = self;
        Inputs { task, recipe, objective, model_folder: folder }
    }
}

fn required(key: &'static str, empty: bool, example: &'static str) -> Result<(), TrainError> {
    if empty {
        return Err(TrainError::MissingKey { key, example });
    }
    Ok(())
}

/// The encoder. A chat template that shows the date gets that of the run's first start, also when the run is resumed
/// later: the recipe in the run folder keeps it.
fn dated_encoder(recipe: &mut Recipe, folder: &Path) -> Result<Encoder, TrainError> {
    let encoder = Encoder::from_folder(folder, recipe.data.encode_options())?;
    let Some(template) = encoder.template().filter(|t| t.text().contains("strftime_now")) else {
        return Ok(encoder);
    };
    if recipe.data.now > 0 {
        return Ok(encoder);
    }
    let saved = recipe.run.out.join("recipe.toml");
    recipe.data.now = match saved.is_file() {
        true => Recipe::read(&saved, &[])?.data.now,
        false => template.now(),
    };
    Ok(Encoder::from_folder(folder, recipe.data.encode_options())?)
}

#[cfg(test)]
mod tests {
    use revealed_data::TemplateChoice;

    use super::*;
    use crate::recipe::DataSection;

    #[test]
    fn a_template_s_date_is_that_of_the_first_start_of_the_run() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks/model");
        let scratch = tempfile::tempdir().unwrap();
        let template = scratch.path().join("dated.jinja");
        let text = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
        std::fs::write(&template, format!("{{{{ strftime_now('%Y') }}}} {text}")).unwrap();
        let mut recipe = Recipe::default();
        recipe.data.template = TemplateChoice::File(template.clone());
        recipe.run.out = scratch.path().join("run");
        let date = |recipe: &mut Recipe| {
            let encoder = dated_encoder(recipe, golden.as_ref()).unwrap();
            encoder.template().unwrap().now()
        };
        let first = date(&mut recipe);
        assert!(first > 0 && recipe.data.now == first);
        // A year later, from the user's recipe, which has no date.
        let kept =
            Recipe { data: DataSection { now: 12_345, ..recipe.data.clone() }, ..recipe.clone() };
        std::fs::create_dir(&recipe.run.out).unwrap();
        std::fs::write(recipe.run.out.join("recipe.toml"), kept.to_commented_toml()).unwrap();
        recipe.data.now = 0;
        assert_eq!((date(&mut recipe), recipe.data.now), (12_345, 12_345));
        // Without a date nothing is kept.
        std::fs::write(&template, text).unwrap();
        recipe.data.now = 0;
        date(&mut recipe);
        assert_eq!(recipe.data.now, 0);
    }
}
