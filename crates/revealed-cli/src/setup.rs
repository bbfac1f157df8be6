//! From a recipe to what a run needs: model, policy, task.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::Encoder;
use revealed::models::{CausalLm, HfConfig};
use revealed::train::{
    DataSection, Event, MemoryPlan, Observer, Recipe, RunFolder, Saved, State, Task, Tuning,
};

use crate::output::chain;
use crate::progress::Progress;

/// A recipe to run.
#[derive(Debug, clap::Args)]
pub struct RecipeArgs {
    /// Recipe file (TOML); `revealed recipe` prints one with all settings
    pub recipe: PathBuf,
    /// Change a setting, such as `--set policy.steps=10`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// What `sft` and `align` start from.
pub struct Setup {
    /// As resolved: the model's path is absolute, limits fit the model.
    pub recipe: Recipe,
    /// The model's folder.
    pub folder: PathBuf,
    /// The model as it is.
    pub base: CausalLm,
    /// The model to train: with fresh adapters under LoRA.
    pub policy: CausalLm,
    /// The data.
    pub task: Task,
}

impl Setup {
    /// Reads everything that a recipe names, the cheap and likely wrong first, and says what it found.
    ///
    /// # Errors
    /// When a key is missing, or a file is missing or wrong.
    pub fn load(args: &RecipeArgs, device: &Device, progress: &Progress) -> Result<Self> {
        let mut recipe = Recipe::read(&args.recipe, &args.overrides)?;
        given("model.path", recipe.model.path.is_empty(), "models/smollm2-135m")?;
        let empty = recipe.data.demonstrations.as_os_str().is_empty();
        given("data.demonstrations", empty, "demonstrations.jsonl")?;
        let folder = model_folder(&recipe.model.path)?;
        // Adapters name their base; they have to load from anywhere.
        recipe.model.path = folder.display().to_string();
        if let Some(note) = fit_to_context(&mut recipe.data, &folder)? {
            progress.note(&note);
        }
        let encoder = dated_encoder(&mut recipe, &folder)?;
        let task = Task::load(&recipe.data, encoder, recipe.run.seed)?;
        let base =
            CausalLm::load(&folder, device)?.with_compute_dtype(recipe.model.compute_dtype())?;
        within_vocabulary(&task, base.shape().vocab_size, &folder)?;
        let policy = match recipe.model.tuning {
            Tuning::Lora => base.clone().with_lora(&recipe.model.lora, recipe.run.seed)?,
            Tuning::Full => base.clone(),
        };
        progress.note(&format!("recipe as resolved:\n{}", recipe.to_commented_toml()));
        for note in &task.notes {
            progress.note(&format!("data: {note}"));
        }
        progress.note(&format!(
            "data: {} demonstrations, {} held out, {} prompts",
            task.train.len(),
            task.held_out.len(),
            task.prompts.len()
        ));
        let plan = MemoryPlan::new(&policy, &recipe);
        progress.note(&format!("memory plan:\n{plan}"));
        enough_memory(&plan, recipe.run.memory_limit_gib)?;
        Ok(Self { recipe, folder, base, policy, task })
    }
}

/// Takes a run's folder up where its checkpoint left it, or at its beginning without one. A note is made of every newer checkpoint that was
/// damaged, and of metrics that have got lost.
///
/// # Errors
/// When the folder's metrics cannot be changed.
pub fn take_up(
    saved: Option<Saved>,
    files: &mut RunFolder,
    observer: &mut dyn Observer,
) -> Result<Option<State>> {
    for error in saved.iter().flat_map(|saved| &saved.damaged) {
        let text = format!("{}; the checkpoint before it is used", chain(error));
        observer.observe(&Event::Note(text));
    }
    if files.rewind(saved.as_ref().map_or(0, |saved| saved.metrics_bytes))? {
        let text = "metrics.jsonl is shorter than when the checkpoint was saved: lines of the past are missing, and the page and its curves will lack them";
        observer.observe(&Event::Note(text.into()));
    }
    Ok(saved.map(|saved| saved.state))
}

/// The path from text to tokens. A template that shows the date shows that of the run's first start, however often the run goes on
/// later: the run's own recipe keeps it.
fn dated_encoder(recipe: &mut Recipe, folder: &Path) -> Result<Encoder> {
    let encoder = Encoder::from_folder(folder, recipe.data.encode_options())?;
    let Some(template) = encoder.template().filter(|t| t.text().contains("strftime_now")) else {
        return Ok(encoder);
    };
    if recipe.data.now > 0 {
        return Ok(encoder);
    }
    let own = recipe.run.out.join("recipe.toml");
    recipe.data.now = match own.is_file() {
        true => Recipe::read(&own, &[])?.data.now,
        false => template.now(),
    };
    Ok(Encoder::from_folder(folder, recipe.data.encode_options())?)
}

/// Refuses a run that the plan says will not fit, before it has cost an hour.
fn enough_memory(plan: &MemoryPlan, limit_gib: f64) -> Result<()> {
    let limit = if limit_gib > 0.0 { Some(limit_gib) } else { free_gib() };
    let needed = plan.total() as f64 / f64::from(1 << 30);
    match limit {
        Some(limit) if needed > limit => {
            let largest = plan.parts.iter().max_by_key(|(_, bytes)| bytes);
            let largest = largest.map_or("", |(name, _)| name.as_str());
            bail!(
                "the memory plan needs {needed:.2} GiB, most of it for {largest}, and there are {limit:.2}; lower run.micro_batch_tokens or run.sample_batch_size, use model.tuning = \"lora\", or set run.memory_limit_gib (inf for no limit)"
            )
        }
        _ => Ok(()),
    }
}

/// What the system could still give this process, and what it has given, where the system says so.
fn free_gib() -> Option<f64> {
    let kib = |file: &str, field: &str| -> Option<f64> {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let free = kib("/proc/meminfo", "MemAvailable:")? + kib("/proc/meminfo", "SwapFree:")?;
    Some((free + kib("/proc/self/status", "VmRSS:")?) / f64::from(1 << 20))
}

fn given(key: &str, empty: bool, example: &str) -> Result<()> {
    if empty {
        bail!("recipe: `{key}` is missing; set it in the recipe or with `--set {key}={example}`");
    }
    Ok(())
}

/// The absolute folder of a path or hub id.
///
/// # Errors
/// When there is no such model.
pub fn model_folder(name: &str) -> Result<PathBuf> {
    let folder = revealed::models::resolve(name)?;
    let is = |file: &str| folder.join(file).is_file();
    if is("adapter_config.json") && !is("config.json") {
        let shown = folder.display();
        bail!(
            "{shown}: this is a PEFT adapter and no model; give its base as the model and this folder with --adapter, or make a model of both with `revealed merge --model BASE --adapter {shown} --out FOLDER`"
        );
    }
    folder.canonicalize().with_context(|| format!("{}: cannot be opened", folder.display()))
}

/// The folder of an adapter's path or hub id.
///
/// # Errors
/// When there is no such adapter.
pub fn adapter_folder(name: &Path) -> Result<PathBuf> {
    Ok(revealed::models::resolve_adapter(&name.to_string_lossy())?)
}

/// The longest row a model folder's config allows, if it says.
///
/// # Errors
/// When the config cannot be read.
pub fn context(folder: &Path) -> Result<Option<usize>> {
    let config = HfConfig::read(folder)?;
    let length = config.fields().get("max_position_embeddings").and_then(|value| value.as_u64());
    Ok(length.and_then(|length| usize::try_from(length).ok()))
}

/// The longest row that a model folder's model takes.
///
/// # Errors
/// When the config cannot be read or is not supported.
pub fn longest_row(folder: &Path) -> Result<usize> {
    Ok(HfConfig::read(folder)?.context()?)
}

/// Names the fields of a model folder's config that nothing reads, if it has some.
///
/// # Errors
/// When the config cannot be read.
pub fn unread_fields(folder: &Path) -> Result<Option<String>> {
    let config = HfConfig::read(folder)?;
    let fields = config.ignored_fields();
    let list = || {
        format!("{}: not read, as in Transformers: {}", config.path().display(), fields.join(", "))
    };
    Ok((!fields.is_empty()).then(list))
}

/// Lowers limits so that prompt and completion together fit the model: completions that would fill the context get
/// half of it, prompts what completions leave. Longer texts are then dropped or cut by the recipe's rule. Says so
/// if it does.
///
/// # Errors
/// When the config cannot be read.
pub fn fit_to_context(data: &mut DataSection, folder: &Path) -> Result<Option<String>> {
    let (prompt, completion) = (data.max_prompt_tokens, data.max_completion_tokens);
    let Some(context) = context(folder)?.filter(|c| prompt.saturating_add(completion) > *c) else {
        return Ok(None);
    };
    if completion >= context {
        data.max_completion_tokens = (context / 2).max(1);
    }
    data.max_prompt_tokens = prompt.min(context.saturating_sub(data.max_completion_tokens)).max(1);
    let lowered = [
        ("data.max_prompt_tokens", prompt, data.max_prompt_tokens),
        ("data.max_completion_tokens", completion, data.max_completion_tokens),
    ];
    let lowered = lowered.iter().filter(|(_, was, is)| was != is);
    let lowered: Vec<String> =
        lowered.map(|(key, was, is)| format!("{key} lowered from {was} to {is}")).collect();
    Ok(Some(format!("the model's context is {context} tokens: {}", lowered.join(", "))))
}

fn within_vocabulary(task: &Task, vocab: usize, folder: &Path) -> Result<()> {
    let rows = task.train.iter().chain(&task.held_out).map(|row| row.input_ids.as_slice());
    let mut ids = rows.chain(task.prompts.iter().map(Vec::as_slice)).flatten();
    match ids.find(|id| **id as usize >= vocab) {
        None => Ok(()),
        Some(id) => bail!(
            "{}: the tokenizer gives token {id}, but the model's vocabulary has {vocab}; put the tokenizer of this model there",
            folder.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use revealed::data::TemplateChoice;

    use super::*;

    fn folder(context: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{{\"max_position_embeddings\": {context}}}");
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        folder
    }

    #[test]
    fn a_template_s_date_is_that_of_the_run_s_first_start() {
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

    #[test]
    fn prompts_get_what_completions_leave_of_the_context() {
        let mut data = DataSection { max_completion_tokens: 40, ..Default::default() };
        let note = fit_to_context(&mut data, folder(64).path()).unwrap().unwrap();
        assert_eq!(data.max_prompt_tokens, 24);
        assert!(note.ends_with("tokens: data.max_prompt_tokens lowered from 512 to 24"), "{note}");
        assert_eq!(fit_to_context(&mut data, folder(64).path()).unwrap(), None);
    }

    #[test]
    fn completions_that_fill_the_context_get_half_of_it() {
        let mut data = DataSection::default();
        let note = fit_to_context(&mut data, folder(64).path()).unwrap().unwrap();
        assert!(note.contains("512 to 32, data.max_completion_tokens lowered from "), "{note}");
        assert_eq!((data.max_prompt_tokens, data.max_completion_tokens), (32, 32));
    }
}
