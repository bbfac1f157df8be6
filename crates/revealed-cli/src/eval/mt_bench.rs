//! `revealed eval mt-bench`: answers of our model, or of a file, graded by a judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::TemplateChoice;
use revealed::eval::judge::JudgeClient;
use revealed::eval::log::Log;
use revealed::eval::mt_bench::{
    AnswerSettings, Answerer, Grades, Grading, JudgePrompts, ModelAnswer, Question, answer_all,
    grade, grades, read_answers, read_questions, single_jobs,
};
use revealed::eval::{EvalRecord, Source};
use serde_json::{Map, Value, json};

use super::figures;
use super::judge_args::{JudgeArgs, file_name};
use crate::output::writable;
use crate::progress::Progress;
use crate::rows::ModelArgs;
use crate::setup::{adapter_folder, model_folder};
use crate::signals::Signals;

/// Arguments of `revealed eval mt-bench`.
#[derive(Debug, clap::Args)]
pub struct MtBenchArgs {
    #[command(flatten)]
    files: BenchFiles,
    /// Model folder or hub id whose answers are made and graded
    #[arg(long, required_unless_present = "answers")]
    model: Option<String>,
    /// PEFT adapter to put on it: a folder or hub id
    #[arg(long, requires = "model")]
    adapter: Option<PathBuf>,
    /// "auto" (the tokenizer's chat template), or a template file
    #[arg(long, default_value = "auto")]
    template: TemplateChoice,
    /// Answers to grade as they are, in FastChat's layout, instead of a model's
    #[arg(long, conflicts_with = "model")]
    answers: Option<PathBuf>,
    /// The model's name in files and results; of --model the last part of its path
    #[arg(long)]
    model_id: Option<String>,
    /// Longest answer to a turn, in tokens
    #[arg(long, default_value_t = 1024)]
    max_tokens: usize,
    /// Keep this many likeliest tokens where the temperature is above 0; 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Questions answered together; part of what is drawn
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// Seed of the answers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Answers and judgements are kept here, in FastChat's layout; a rerun asks only what is missing
    #[arg(long, default_value = "mt_bench")]
    folder: PathBuf,
    /// The evaluation's record is written here
    #[arg(long)]
    out: Option<PathBuf>,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
}

/// Questions, prompts and references, in FastChat's layout.
#[derive(Debug, clap::Args)]
pub struct BenchFiles {
    /// question.jsonl
    #[arg(long)]
    pub questions: PathBuf,
    /// judge_prompts.jsonl
    #[arg(long)]
    pub judge_prompts: Option<PathBuf>,
    /// Reference answers of math, reasoning and coding: a file, or a folder of files
    #[arg(long)]
    pub references: Option<PathBuf>,
    /// The first so many questions; 0 for all
    #[arg(long, default_value_t = 0)]
    pub max_questions: usize,
}

/// What [`BenchFiles`] names.
pub struct Bench {
    /// The questions to ask.
    pub questions: Vec<Question>,
    /// The judge's prompts.
    pub prompts: JudgePrompts,
    /// Reference answers.
    pub references: Vec<ModelAnswer>,
    /// The files.
    pub data: Vec<Source>,
}

impl BenchFiles {
    fn questions(&self) -> Result<Vec<Question>> {
        let mut questions = read_questions(&self.questions)?;
        if self.max_questions > 0 {
            questions.truncate(self.max_questions);
        }
        Ok(questions)
    }

    /// Reads them.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn read(&self) -> Result<Bench> {
        let prompts = self.judge_prompts.as_ref();
        let prompts = prompts.context("a judge needs its prompts: give --judge-prompts")?;
        let mut data = vec![Source::of(&self.questions)?, Source::of(prompts)?];
        let mut references = vec![];
        if let Some(path) = &self.references {
            references = read_answers(path).context("--references")?;
            data.push(source_of_lines(path)?);
        }
        let prompts = JudgePrompts::read(prompts)?;
        Ok(Bench { questions: self.questions()?, prompts, references, data })
    }
}

/// A file by its bytes; a folder of lines by its name alone, as it is no model.
fn source_of_lines(path: &Path) -> Result<Source> {
    Ok(match path.is_dir() {
        true => Source::named(path.display().to_string()),
        false => Source::of(path)?,
    })
}

/// Makes or reads answers; grades them where a judge is named.
///
/// # Errors
/// When a file is missing or damaged, the model fails, or the judge cannot be asked.
pub fn mt_bench(args: &MtBenchArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    record_writable(args.out.as_deref(), &args.folder)?;
    // Before the model runs for an hour.
    let judge = match args.judge.is_given() {
        true => Some((args.judge.client(progress)?, args.files.read()?)),
        false => None,
    };
    let questions = args.files.questions()?;
    let (model_id, answers, models) = args.answers(&questions, device, progress)?;
    let Some((client, bench)) = judge else {
        progress
            .note("no judge is named, so nothing is graded; give --judge-url and --judge-model");
        return Ok(());
    };
    let k = client.settings().k;
    let jobs =
        single_jobs(&bench.questions, &answers, &model_id, &bench.prompts, &bench.references, k)?;
    let path = args.judgments(&client);
    let (mut log, known) = Log::open(&path)?;
    progress.begin("judging", jobs.len());
    let signals = Signals::listen()?;
    let client = client.stopped_by(signals.heard());
    let graded = grade(&client, &jobs, &model_id, known, &mut log, |done, all| {
        progress.step(done, all, "");
    });
    progress.end("");
    let grading = graded.map_err(|error| signals.explain_judging(error, kept_in(&path)))?;
    let cached = jobs.len() - grading.asked - grading.failures.len();
    report(&path, [grading.asked, cached, grading.others], &grading.failures, progress);
    let grades = grades(&bench.questions, &jobs, &grading);
    if !grades.figures.iter().any(|figure| figure.name == "score") {
        progress.note("no judgement holds a rating; see what the judge says in the file");
    }
    let judge = &client.settings().model;
    figures::print(&[("model", &model_id), ("judge", judge)], &grades.figures, args.table)?;
    match &args.out {
        Some(out) => {
            Ok(args.record(&client, bench, models, grades, &grading, device)?.write(out)?)
        }
        None => Ok(()),
    }
}

/// [`writable`], of a record that may stand in the folder that the command makes.
///
/// # Errors
/// As there.
pub fn record_writable(out: Option<&Path>, folder: &Path) -> Result<()> {
    let made = |out: &&Path| out.parent() == Some(folder) && !folder.exists();
    writable("--out", out.filter(|out| !made(out)))
}

/// Tells people where to go on after a failure.
pub fn kept_in(path: &Path) -> String {
    format!(
        "judging stopped; what was answered is in {}, and the same command asks only for the rest",
        path.display()
    )
}

/// Says what was asked, what was known, and what came to nothing.
pub fn report(path: &Path, counts: [usize; 3], failures: &[String], progress: &Progress) {
    let [asked, known, others] = counts;
    progress.note(&format!("{asked} judgements asked for, {known} known, in {}", path.display()));
    if others > 0 {
        progress.note(&format!(
            "{others} judgements there are of other answers, prompts or settings and are left out here; FastChat's show_result takes every line: remove those it should not count"
        ));
    }
    if let Some(first) = failures.first() {
        progress.note(&format!(
            "{} judgements failed and are asked for again by the same command; the first: {first}",
            failures.len()
        ));
    }
}

type Answers = (String, Vec<ModelAnswer>, BTreeMap<String, Source>);

impl MtBenchArgs {
    /// The model's name, its answers, and what it is for the record.
    fn answers(
        &self,
        questions: &[Question],
        device: &Device,
        progress: &mut Progress,
    ) -> Result<Answers> {
        let (Some(model), None) = (&self.model, &self.answers) else {
            let path = self.answers.as_ref().context("give --model or --answers")?;
            let answers = read_answers(path)?;
            let names: BTreeSet<&str> = answers.iter().map(|each| &*each.model_id).collect();
            let name = names.first().map(|name| (*name).to_owned());
            let id = self.model_id.clone().or(name).unwrap_or_default();
            let models = BTreeMap::from([("model".to_owned(), Source::named(id.clone()))]);
            return Ok((id, answers, models));
        };
        let folder = model_folder(model)?;
        let mut models = BTreeMap::from([("model".to_owned(), Source::of(&folder)?)]);
        if let Some(adapter) = &self.adapter {
            models.insert("adapter".into(), Source::of(&adapter_folder(adapter)?)?);
        }
        let id = self.model_id(model)?;
        let path = self.folder.join("model_answer").join(format!("{id}.jsonl"));
        let args = ModelArgs::new(model.clone(), self.adapter.clone(), self.template.clone());
        let (model, rows) = args.load(device)?;
        let several = questions.iter().any(|question| question.turns.len() > 1);
        if several && rows.encoder.template().is_none() {
            bail!(
                "{} has no chat template, and a question's second turn goes on from a conversation; give a template with --template FILE.jinja, or a model that has one",
                folder.display()
            );
        }
        let (mut log, known) = Log::open(&path)?;
        let hashes: Vec<_> = models.values().map(|source| &source.sha256).collect();
        let template = rows.encoder.template().map(|template| template.text());
        let settings = self.settings();
        let answerer = Answerer {
            model: &model,
            encoder: &rows.encoder,
            model_id: &id,
            identity: &json!([hashes, template]).to_string(),
            settings: &settings,
        };
        progress.begin("answering", questions.len());
        let (answers, made) = answer_all(&answerer, questions, &known, &mut log, |done, all| {
            progress.step(done, all, "");
        })?;
        progress.end("");
        progress.note(&format!(
            "{} questions answered, {} known, in {}",
            made.questions,
            answers.len() - made.questions,
            path.display()
        ));
        if made.cut + made.without_room > 0 {
            progress.note(&format!(
                "{} turns were cut at the limit of {} tokens or the model's context, {} had no room in it and are empty",
                made.cut, self.max_tokens, made.without_room
            ));
        }
        Ok((id, answers, models))
    }

    fn settings(&self) -> AnswerSettings {
        AnswerSettings {
            max_tokens: self.max_tokens,
            top_k: self.top_k,
            batch_size: self.batch_size,
            seed: self.seed,
        }
    }

    /// The name given, or the last part of the adapter's or model's path.
    fn model_id(&self, model: &str) -> Result<String> {
        let path = self.adapter.as_deref().unwrap_or(Path::new(model));
        let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let id = self.model_id.clone().or(last).unwrap_or_default();
        if id.is_empty() || id.contains(['/', '\\']) {
            bail!("{id:?} cannot be the name of a file of answers; give another --model-id");
        }
        Ok(id)
    }

    fn judgments(&self, client: &JudgeClient) -> PathBuf {
        let name = format!("{}_single.jsonl", file_name(&client.settings().model));
        self.folder.join("model_judgment").join(name)
    }

    fn record(
        &self,
        client: &JudgeClient,
        bench: Bench,
        mut models: BTreeMap<String, Source>,
        grades: Grades,
        grading: &Grading,
        device: &Device,
    ) -> Result<EvalRecord> {
        let mut data = bench.data;
        if let Some(path) = &self.answers {
            data.push(source_of_lines(path)?);
        }
        models.insert("judge".into(), Source::named(client.settings().model.clone()));
        let mut settings = judge_settings(client, &bench.prompts)?;
        if self.model.is_some() {
            settings.insert("answers".into(), serde_json::to_value(self.settings())?);
        }
        settings.insert("ratings".into(), json!("[[n]], else [n]; 0 to 10"));
        settings.insert("without_rating".into(), json!("left out of means, counted as unparsed"));
        settings.insert("questions".into(), json!(bench.questions.len()));
        settings.insert("left_out_judgments_of_other_settings".into(), json!(grading.others));
        Ok(EvalRecord {
            evaluation: "mt_bench".into(),
            figures: grades.figures,
            items: grades.items,
            settings,
            models,
            data,
            environment: super::environment(device),
        })
    }
}

/// The judge's part of a record's settings.
///
/// # Errors
/// Never, but for what cannot be written as JSON.
pub fn judge_settings(client: &JudgeClient, prompts: &JudgePrompts) -> Result<Map<String, Value>> {
    Ok(Map::from_iter([
        ("judge".to_owned(), serde_json::to_value(client.settings())?),
        ("prompts_sha256".to_owned(), json!(prompts.sha256())),
    ]))
}
