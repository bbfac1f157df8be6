//! `revealed eval mt-bench`: answers of a model, or of a file, graded by a judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::data::TemplateChoice;
use revealed::eval::judge::JudgeClient;
use revealed::eval::log::Log;
use revealed::eval::mt_bench::{
    AnswerSettings, Answerer, Grades, Grading, ModelAnswer, Question, answer_all, grade, grades,
    read_answers, record_settings, single_jobs,
};
use revealed::eval::{EvalRecord, Provenance, Source};
use serde_json::json;

use super::environment::environment;
use super::figures;
use super::judge_args::{JudgeArgs, file_name};
use super::judge_notes::{kept_in, note_requests, record_writable};
use super::mt_bench_files::{Bench, BenchFiles, source_of_lines};
use crate::progress::Progress;
use crate::rows::ModelArgs;
use crate::setup::{adapter_folder, model_folder};
use crate::signals::Signals;

/// Arguments of `revealed eval mt-bench`.
#[derive(Debug, clap::Args)]
pub struct MtBenchArgs {
    #[command(flatten)]
    files: BenchFiles,
    /// Model folder or hub id: it answers, and its answers are graded
    #[arg(long, required_unless_present = "answers")]
    model: Option<String>,
    /// PEFT adapter to put on it: a folder or hub id
    #[arg(long, requires = "model")]
    adapter: Option<PathBuf>,
    /// "auto" (the tokenizer's chat template), or a template file
    #[arg(long, default_value = "auto")]
    template: TemplateChoice,
    /// File of answers to grade, in FastChat's layout, instead of --model
    #[arg(long, conflicts_with = "model")]
    answers: Option<PathBuf>,
    /// The model's name in files and results; the default is the last part of its path
    #[arg(long)]
    model_id: Option<String>,
    /// Longest answer to a turn, in tokens
    #[arg(long, default_value_t = 1024)]
    max_tokens: usize,
    /// Keep this many likeliest tokens where the temperature is above 0; 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Questions answered together; changes the sampled answers
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// Seed of the answers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Folder for answers and judgements, in FastChat's layout; a rerun requests only those that are missing
    #[arg(long, default_value = "mt_bench")]
    folder: PathBuf,
    /// File for the record
    #[arg(long)]
    out: Option<PathBuf>,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
}

/// Makes or reads answers, and grades them if a judge is given.
///
/// # Errors
/// When a file is missing or damaged, the model fails, or the judge cannot be asked.
pub fn mt_bench(args: &MtBenchArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    record_writable(args.out.as_deref(), &args.folder)?;
    // Read before the model runs for an hour.
    let judge = match args.judge.is_given() {
        true => Some((args.judge.client(progress)?, args.files.read()?)),
        false => None,
    };
    let questions = args.files.questions()?;
    let (model_id, answers, models) = args.answers(&questions, device, progress)?;
    let Some((client, bench)) = judge else {
        progress
            .note("no judge is given, so nothing is graded; give --judge-url and --judge-model");
        return Ok(());
    };
    let k = client.settings().k;
    let jobs =
        single_jobs(&bench.questions, &answers, &model_id, &bench.prompts, &bench.references, k)?;
    let path = args.judgments(&client);
    let (mut log, known) = Log::open(&path)?;
    let signals = Signals::listen()?;
    let client = client.stopped_by(signals.heard());
    let graded = grade(&client, &jobs, &model_id, known, &mut log, &mut |at| progress.show(at));
    progress.finish();
    let grading = graded.map_err(|error| signals.explain_judging(error, kept_in(&path)))?;
    let cached = jobs.len() - grading.asked - grading.failures.len();
    note_requests(&path, [grading.asked, cached, grading.others], &grading.failures, progress);
    let grades = grades(&bench.questions, &jobs, &grading);
    if !grades.figures.iter().any(|figure| figure.name == "score") {
        progress.note("no judgement has a rating; see the judge's answers in the file");
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

type Answers = (String, Vec<ModelAnswer>, BTreeMap<String, Source>);

impl MtBenchArgs {
    /// The model's name, its answers, and its sources for the record.
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
                "{} has no chat template, and a question's second turn continues a conversation; give a template with --template FILE.jinja, or a model that has one",
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
        let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
        let (answers, made) = answer_all(&answerer, questions, &known, &mut log, show)?;
        progress.note(&format!(
            "{} questions answered, {} known, in {}",
            made.questions,
            answers.len() - made.questions,
            path.display()
        ));
        if made.cut + made.without_room > 0 {
            progress.note(&format!(
                "{} turns were cut at the limit of {} tokens or the model's context; {} had no room in it and are empty",
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
        let answers = self.model.as_ref().map(|_| self.settings());
        let questions = bench.questions.len();
        let settings =
            record_settings(client, &bench.prompts, answers.as_ref(), questions, grading);
        let provenance = Provenance { models, data, environment: environment(device) };
        Ok(EvalRecord::new("mt_bench", grades.figures, grades.items, settings, provenance))
    }
}
