//! `revealed eval judge`: two sets of answers compared by a judge, in both orders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::eval::judge::JudgeClient;
use revealed::eval::log::Log;
use revealed::eval::mt_bench::{judge_settings, matches, read_answers};
use revealed::eval::pairwise::{
    BUILT_IN, Match, Pair, Tally, matches_of_rows, play, row_settings, tally, win_rules,
};
use revealed::eval::{EvalRecord, Provenance, Source};
use serde_json::{Map, Value, json};

use super::environment::environment;
use super::figures;
use super::judge_args::{JudgeArgs, file_name};
use super::judge_notes::{kept_in, note_requests, record_writable};
use super::mt_bench_files::BenchFiles;
use crate::data;
use crate::progress::Progress;
use crate::signals::Signals;

/// Arguments of `revealed eval judge`.
#[derive(Debug, clap::Args)]
pub struct PairwiseArgs {
    /// The answers whose win rate is measured: rows of prompt and completion, or FastChat's layout with --questions
    first: PathBuf,
    /// The answers to compare them with, in the same layout
    second: PathBuf,
    /// question.jsonl: the answers are in FastChat's layout, and its pairwise prompts are used
    #[arg(long, requires = "judge_prompts")]
    questions: Option<PathBuf>,
    /// judge_prompts.jsonl
    #[arg(long, requires = "questions")]
    judge_prompts: Option<PathBuf>,
    /// Reference answers of math, reasoning and coding: a file, or a folder of files
    #[arg(long, requires = "questions")]
    references: Option<PathBuf>,
    /// Only the first questions or rows, at most this many; 0 for all
    #[arg(long, default_value_t = 0)]
    max_questions: usize,
    /// Text file with {question}, {answer_a} and {answer_b} that asks for [[A]], [[B]] or [[C]]
    #[arg(long, conflicts_with = "questions")]
    template: Option<PathBuf>,
    /// Names of the two in files and results, instead of those of the files
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"])]
    names: Option<Vec<String>>,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Folder for judgements, in FastChat's layout; a rerun requests only those that are missing
    #[arg(long, default_value = "judge")]
    folder: PathBuf,
    /// File for the record
    #[arg(long)]
    out: Option<PathBuf>,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
}

/// Matches to judge.
struct Contest {
    matches: Vec<Match>,
    /// The files that were read.
    data: Vec<Source>,
    settings: Map<String, Value>,
}

/// Prints the win rate of the first over the second.
///
/// # Errors
/// When a file is missing or damaged, or the judge cannot be asked.
pub fn judge(args: &PairwiseArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    record_writable(args.out.as_deref(), &args.folder)?;
    if !args.judge.is_given() {
        bail!("no judge is given; give --judge-url and --judge-model, or --judge FILE");
    }
    let client = args.judge.client(progress)?;
    let names = args.names()?;
    let [first, second] = names.each_ref().map(String::as_str);
    let contest = args.contest([first, second], &client, progress)?;
    let folder = args.folder.join("model_judgment");
    let name = file_name(&client.settings().model);
    let games = folder.join(format!("{name}_pair.games.jsonl"));
    let (mut log, known) = Log::open(&games)?;
    let (mut pairs, known_pairs) = Log::open::<Pair>(&folder.join(format!("{name}_pair.jsonl")))?;
    let total = 2 * contest.matches.len() * client.settings().k;
    let signals = Signals::listen()?;
    let client = client.stopped_by(signals.heard());
    let (log, pairs) = ((&mut log, known), (&mut pairs, &*known_pairs));
    let show = &mut |at: revealed::eval::Progress<'_>| progress.show(at);
    let played = play(&client, &contest.matches, [first, second], log, pairs, show);
    progress.finish();
    let played = played.map_err(|error| signals.explain_judging(error, kept_in(&games)))?;
    let cached = total - played.asked - played.failures.len();
    note_requests(&games, [played.asked, cached, played.others], &played.failures, progress);
    let tally = tally(&contest.matches, &played);
    let judge = &client.settings().model;
    let roles = [("model_1", first), ("model_2", second), ("judge", judge)];
    figures::print(&roles, &tally.figures, args.table)?;
    match &args.out {
        Some(out) => Ok(record(&roles, contest, tally, device).write(out)?),
        None => Ok(()),
    }
}

impl PairwiseArgs {
    fn names(&self) -> Result<[String; 2]> {
        let paths = [&self.first, &self.second];
        let stems = paths.map(|path| {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        });
        let names = match (&self.names, stems[0] == stems[1]) {
            (Some(names), _) => names.clone(),
            (None, false) => stems.to_vec(),
            (None, true) => paths.map(|path| path.display().to_string()).to_vec(),
        };
        match <[String; 2]>::try_from(names) {
            Ok(names) if names[0] != names[1] => Ok(names),
            _ => bail!("the two sets of answers have one name; give two with --names"),
        }
    }

    fn contest(
        &self,
        names: [&str; 2],
        client: &JudgeClient,
        progress: &Progress,
    ) -> Result<Contest> {
        let mut contest = match &self.questions {
            Some(questions) => self.of_questions(questions, names, client)?,
            None => self.of_rows(client, progress)?,
        };
        contest.data.extend([Source::data(&self.first)?, Source::data(&self.second)?]);
        contest.settings.extend(win_rules());
        contest.settings.insert("matches".into(), json!(contest.matches.len()));
        Ok(contest)
    }

    fn of_questions(
        &self,
        questions: &Path,
        names: [&str; 2],
        client: &JudgeClient,
    ) -> Result<Contest> {
        let bench = BenchFiles {
            questions: questions.into(),
            judge_prompts: self.judge_prompts.clone(),
            references: self.references.clone(),
            max_questions: self.max_questions,
        }
        .read()?;
        let (first, second) = (read_answers(&self.first)?, read_answers(&self.second)?);
        let models = [(names[0], &*first), (names[1], &*second)];
        let matches = matches(&bench.questions, models, &bench.prompts, &bench.references)?;
        let settings = judge_settings(client, &bench.prompts);
        Ok(Contest { matches, data: bench.data, settings })
    }

    fn of_rows(&self, client: &JudgeClient, progress: &Progress) -> Result<Contest> {
        let (name, template) = match &self.template {
            None => ("built-in".to_owned(), BUILT_IN.to_owned()),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| path.display().to_string())?;
                (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), text)
            }
        };
        let (first, second) = (
            data::demonstrations(&self.first, progress)?,
            data::demonstrations(&self.second, progress)?,
        );
        let (mut matches, alone) = matches_of_rows([&first, &second], (&name, &template))?;
        if matches.is_empty() {
            bail!(
                "{} and {} have no prompt in common",
                self.first.display(),
                self.second.display()
            );
        }
        if alone != [0, 0] {
            progress.note(&format!(
                "{} rows of {} and {} of {} have a prompt that the other file lacks, and are left out",
                alone[0],
                self.first.display(),
                alone[1],
                self.second.display()
            ));
        }
        if self.max_questions > 0 {
            matches.truncate(self.max_questions);
        }
        let settings = row_settings(client, &template, alone);
        Ok(Contest { matches, data: vec![], settings })
    }
}

fn record(roles: &[(&str, &str)], contest: Contest, tally: Tally, device: &Device) -> EvalRecord {
    let source = |(role, name): &(&str, &str)| ((*role).to_owned(), Source::named(*name));
    let models: BTreeMap<String, Source> = roles.iter().map(source).collect();
    let provenance = Provenance { models, data: contest.data, environment: environment(device) };
    EvalRecord::new("pairwise", tally.figures, tally.items, contest.settings, provenance)
}
