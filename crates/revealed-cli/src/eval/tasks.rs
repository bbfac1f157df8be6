//! `revealed eval tasks`: multiple-choice and generation benchmarks on rows of the user's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use revealed::Device;
use revealed::data::TemplateChoice;
use revealed::eval::tasks::{
    PromptForm, TaskDescription, TaskFigure, TaskResult, TaskRow, TaskRows, TaskSettings,
    builtin_tasks, read_rows, run_task,
};
use revealed::eval::{EvalRecord, Figure, Source};
use serde_json::json;

use super::environment::environment;
use crate::output::{Output, writable};
use crate::progress::Progress;
use crate::rows::{load_model, text_folder, unlimited_encoder};
use crate::setup::{adapter_folder, model_folder};

/// Arguments of `revealed eval tasks`.
#[derive(Debug, clap::Args)]
pub struct TasksArgs {
    /// A built-in task, or the .toml file of another
    #[arg(required_unless_present = "list")]
    task: Option<String>,
    /// Print the built-in tasks; with a task, its description
    #[arg(long)]
    list: bool,
    /// Model folder or hub id
    #[arg(long, required_unless_present = "list")]
    model: Option<String>,
    /// PEFT adapter to put on it: a folder or hub id
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// The questions: .jsonl, .json, .parquet or .csv, with the columns that the description names
    #[arg(long, required_unless_present = "list")]
    data: Vec<PathBuf>,
    /// Rows that shots are drawn from; by default the other questions
    #[arg(long)]
    shots_data: Vec<PathBuf>,
    /// Answered examples before every question, instead of the description's number
    #[arg(long)]
    shots: Option<usize>,
    /// Only the first questions, at most this many; per subject if the task has subjects, as in lm-eval
    #[arg(long)]
    limit: Option<usize>,
    /// Seed that draws the shots
    #[arg(long, default_value_t = 1234)]
    seed: u64,
    /// File with the text before everything else, instead of the description's
    #[arg(long)]
    description: Option<PathBuf>,
    /// "none" (plain text), "auto" (the tokenizer's chat template, shots as turns), or a template file
    #[arg(long, default_value = "none")]
    chat_template: TemplateChoice,
    /// Answers generated together: memory and speed, not results; more on a GPU
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// File for the record: figures, every item, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
}

/// Prints a line, or a row of a table, for every figure.
///
/// # Errors
/// When a file is missing or damaged, or a question cannot be asked.
pub fn tasks(args: &TasksArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    if args.list {
        return list(args);
    }
    writable("--out", args.out.as_deref())?;
    let description = described(args)?;
    if description.task.starts_with("truthfulqa") && description.description.is_empty() {
        progress.note("truthfulqa: published figures are taken after a preamble of six answered questions; give its text with --description");
    }
    let questions = all_rows(&args.data)?;
    let examples = match args.shots_data.as_slice() {
        [] => None,
        files => Some(all_rows(files)?),
    };
    let folder = model_folder(args.model.as_deref().unwrap_or_default())?;
    let adapter = args.adapter.as_deref().map(adapter_folder).transpose()?;
    let text = text_folder(&folder, adapter.as_deref());
    let encoder = unlimited_encoder(&text, &folder, &args.chat_template)?;
    let model = load_model(&folder, adapter.as_deref(), device)?;
    let settings = TaskSettings {
        shots: args.shots,
        seed: args.seed,
        limit: args.limit,
        prompt: match encoder.template() {
            Some(_) => PromptForm::Chat,
            None if args.chat_template == TemplateChoice::None => PromptForm::Plain,
            None => PromptForm::Chat,
        },
        batch_size: args.batch_size,
    };
    let rows = TaskRows { questions: &questions, examples: examples.as_deref() };
    let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
    let result = run_task(&description, rows, &settings, (&model, &encoder), show)?;
    if result.truncated > 0 {
        progress.note(&format!(
            "{} of {} questions were cut from the left to fit the model's context of {}",
            result.truncated,
            result.items.len(),
            model.shape().context
        ));
    }
    print(&description, &result, args.table)?;
    match &args.out {
        Some(path) => Ok(record(args, &description, result, &folder, device)?.write(path)?),
        None => Ok(()),
    }
}

fn list(args: &TasksArgs) -> Result<()> {
    let mut output = Output::new();
    if let Some(name) = &args.task {
        let description = TaskDescription::read(name)?;
        let text = builtin_tasks().find(|(known, _)| *known == description.task);
        match text.filter(|(known, _)| known == name) {
            Some((_, text)) => output.text(text)?,
            None => output.text(&std::fs::read_to_string(name)?)?,
        }
        return output.flush();
    }
    if args.table {
        output.text("| task | type | shots | metrics |\n|---|---|---|---|\n")?;
    }
    for (name, _) in builtin_tasks() {
        let task = TaskDescription::read(name)?;
        let metrics: Vec<&str> = task.metrics.iter().map(|metric| metric.name()).collect();
        let kind = serde_json::to_value(task.output_type)?;
        let shots = task.num_fewshot;
        match args.table {
            true => {
                let (kind, metrics) = (kind.as_str().unwrap_or_default(), metrics.join(", "));
                output.text(&format!("| {name} | {kind} | {shots} | {metrics} |\n"))?;
            }
            false => output.line(&json!({
                "task": name, "output_type": kind, "num_fewshot": shots, "metrics": metrics
            }))?,
        }
    }
    output.flush()
}

fn described(args: &TasksArgs) -> Result<TaskDescription> {
    let mut description = TaskDescription::read(args.task.as_deref().unwrap_or_default())?;
    if let Some(path) = &args.description {
        description.description = std::fs::read_to_string(path).with_context(|| {
            format!("--description {} cannot be read; check the path", path.display())
        })?;
    }
    Ok(description)
}

fn all_rows(files: &[PathBuf]) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(read_rows(file)?);
    }
    Ok(rows)
}

fn print(description: &TaskDescription, result: &TaskResult, table: bool) -> Result<()> {
    let mut output = Output::new();
    let shots = &result.settings["shots"];
    if table {
        output.text("| task | part | shots | metric | value (95 % interval) | n |\n")?;
        output.text("|---|---|---|---|---|---|\n")?;
    }
    for TaskFigure { figure, stderr } in &result.figures {
        let Figure { name, subset, value, interval, n, .. } = figure;
        let task = &description.task;
        match table {
            true => {
                let part = subset.as_deref().unwrap_or("all");
                let interval =
                    interval.map_or(String::new(), |[low, high]| format!(" ({low:.3}–{high:.3})"));
                output.text(&format!(
                    "| {task} | {part} | {shots} | {name} | {value:.4}{interval} | {n} |\n"
                ))?;
            }
            false => output.line(&json!({
                "task": task, "subset": subset, "shots": shots, "metric": name, "value": value,
                "stderr": stderr, "interval": interval, "n": n
            }))?,
        }
    }
    output.flush()
}

fn record(
    args: &TasksArgs,
    description: &TaskDescription,
    result: TaskResult,
    folder: &Path,
    device: &Device,
) -> Result<EvalRecord> {
    let mut models = BTreeMap::from([("model".to_owned(), Source::of(folder)?)]);
    if let Some(adapter) = &args.adapter {
        models.insert("adapter".into(), Source::of(&adapter_folder(adapter)?)?);
    }
    let data = args.data.iter().chain(&args.shots_data).map(|file| Source::data(file));
    Ok(EvalRecord {
        evaluation: description.task.clone(),
        figures: result.figures.into_iter().map(|figure| figure.figure).collect(),
        items: result.items,
        settings: result.settings,
        models,
        data: data.collect::<Result<_, _>>()?,
        environment: environment(device),
    })
}
