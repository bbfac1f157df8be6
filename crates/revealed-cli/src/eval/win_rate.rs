//! `revealed eval win-rate`: the answers of one file beside those of another, by a reward.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{Demonstration, Encoded};
use revealed::eval::policy::win_rate as rate;
use revealed::eval::{Estimate, EvalRecord, Figure, Item, Source};
use serde_json::{Map, Value, json};

use super::table::{cell, head, row, shown_figure};
use super::yardsticks::reward_sources;
use crate::data;
use crate::output::{Output, writable};
use crate::progress::Progress;
use crate::rows::Rows;
use crate::score::{TextArgs, load_reward};

/// Arguments of `revealed eval win-rate`.
#[derive(Debug, clap::Args)]
pub struct WinRateArgs {
    /// Answers, as demonstrations: file, folder, pattern or data set of the hub (see docs/data.md)
    a: PathBuf,
    /// Answers to the same prompts
    b: PathBuf,
    /// Reward folder: full weights or adapter
    #[arg(long)]
    reward: PathBuf,
    #[command(flatten)]
    text: TextArgs,
    /// What makes two rows answers to one question
    #[arg(long, value_enum, default_value_t = By::Prompt)]
    by: By,
    /// A table instead of lines of JSON
    #[arg(long)]
    table: bool,
    /// The record: figures, every question's scores, settings, hashes
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How rows are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The prompt's words, in whatever form
    Prompt,
    /// The rows' ids
    Id,
}

/// Prints how often A beats B, both mean rewards, and how often A is the longer one.
///
/// # Errors
/// When a file or folder is missing or damaged, or the files share no question.
pub fn win_rate(args: &WinRateArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    writable("--out", args.out.as_deref())?;
    let files =
        [data::demonstrations(&args.a, progress)?, data::demonstrations(&args.b, progress)?];
    let (rows, reward) = load_reward(&args.reward, &args.text, device)?;
    let (questions, alone) = matched(&files, args.by);
    if questions.is_empty() {
        bail!(
            "{} and {} share no {}; give answers to the same prompts, or another --by",
            args.a.display(),
            args.b.display(),
            if args.by == By::Id { "id" } else { "prompt" }
        );
    }
    let (questions, failed) = encoded(questions, &rows);
    rows.note_foreign_ids(progress);
    let ids: Vec<&[u32]> = questions
        .iter()
        .flat_map(|one| one.sides.iter().flatten())
        .map(|(_, row)| row.input_ids.as_slice())
        .collect();
    progress.note(&format!(
        "{} questions in both files, {alone} in one only, {} left out for an answer that does not fit",
        questions.len() + failed.len(),
        failed.len()
    ));
    if let Some((question, reason)) = failed.first() {
        if questions.is_empty() {
            bail!("no answer could be scored, for example to {question}: {reason}");
        }
        progress.note(&format!("the first of them {question}: {reason}"));
    }
    let scores = reward.scores(&ids, rows.encoder.pad_id(), args.text.batch_tokens)?;
    let scored = split(&questions, &scores);
    let figures = figures(&questions, &scored);
    print(&figures, args.table, [questions.len(), alone, failed.len()])?;
    if let Some(path) = &args.out {
        let mut record = record(args, &questions, &scored, figures, device)?;
        record.settings.insert("unmatched".into(), json!(alone));
        record.settings.insert("not_scored".into(), json!(BTreeMap::from_iter(failed)));
        record.settings.insert("text".into(), serde_json::to_value(rows.encoder.recipe())?);
        record.write(path)?;
    }
    Ok(())
}

/// Answers of both files to one question.
struct Question<T> {
    key: String,
    sides: [Vec<T>; 2],
}

/// Questions that both files answer, and how many only one does.
fn matched(files: &[Vec<Demonstration>; 2], by: By) -> (Vec<Question<&Demonstration>>, usize) {
    let mut all: BTreeMap<String, [Vec<&Demonstration>; 2]> = BTreeMap::new();
    for (side, rows) in files.iter().enumerate() {
        for row in rows {
            let key = match by {
                By::Prompt => row.prompt.words(),
                By::Id => row.id.clone(),
            };
            all.entry(key).or_default()[side].push(row);
        }
    }
    let count = all.len();
    let both = all.into_iter().filter(|(_, sides)| sides.iter().all(|side| !side.is_empty()));
    let both: Vec<_> = both.map(|(key, sides)| Question { key, sides }).collect();
    let alone = count - both.len();
    (both, alone)
}

/// An answer with its tokens.
type Answer<'a> = (&'a Demonstration, Encoded);

/// Questions all of whose answers fit, and the others with the reason.
fn encoded<'a>(
    questions: Vec<Question<&'a Demonstration>>,
    rows: &Rows,
) -> (Vec<Question<Answer<'a>>>, Vec<(String, String)>) {
    let (mut fitting, mut failed) = (Vec::new(), Vec::new());
    for Question { key, sides } in questions {
        let encode = |side: &Vec<&'a Demonstration>| -> Result<Vec<Answer<'a>>, String> {
            side.iter().map(|one| Ok((*one, rows.demonstration(one)?))).collect()
        };
        match (encode(&sides[0]), encode(&sides[1])) {
            (Ok(a), Ok(b)) => fitting.push(Question { key, sides: [a, b] }),
            (Err(reason), _) | (_, Err(reason)) => failed.push((key, reason)),
        }
    }
    (fitting, failed)
}

/// Each question's scores, from those of all answers in order.
fn split(questions: &[Question<Answer<'_>>], scores: &[f64]) -> Vec<[Vec<f64>; 2]> {
    let mut scores = scores.iter().copied();
    let mut take = |count: usize| scores.by_ref().take(count).collect();
    questions.iter().map(|one| [take(one.sides[0].len()), take(one.sides[1].len())]).collect()
}

/// The reward's figures, and how often A's answer is the longer one: what a win may be made of.
fn figures(questions: &[Question<Answer<'_>>], scored: &[[Vec<f64>; 2]]) -> Vec<Figure> {
    let n = scored.len();
    let rate_of = |all: &[[Vec<f64>; 2]]| -> Estimate {
        rate(all.iter().map(|[a, b]| (a.as_slice(), b.as_slice()))).into()
    };
    let length = |(one, _): &Answer<'_>| one.completion.text().chars().count() as f64;
    let lengths = |side: &[Answer<'_>]| side.iter().map(length).collect();
    let lengths: Vec<[Vec<f64>; 2]> =
        questions.iter().map(|one| [lengths(&one.sides[0]), lengths(&one.sides[1])]).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means = |side: usize| -> Vec<f64> { scored.iter().map(|both| mean(&both[side])).collect() };
    let gains: Vec<f64> = scored.iter().map(|[a, b]| mean(a) - mean(b)).collect();
    vec![
        rate_of(scored).figure("win_rate", None, n),
        Estimate::mean(&gains).figure("gain", None, n),
        rate_of(&lengths).figure("longer", None, n),
        Estimate::mean(&means(0)).figure("reward", Some("a"), n),
        Estimate::mean(&means(1)).figure("reward", Some("b"), n),
    ]
}

/// The figures, and how many questions both files have, one has, and could not be scored.
fn print(figures: &[Figure], table: bool, [used, alone, failed]: [usize; 3]) -> Result<()> {
    let mut output = Output::new();
    if table {
        output.text(&head(&["metric", "of", "questions", "value"]))?;
    }
    for figure in figures {
        let of = figure.subset.as_deref().unwrap_or("a over b");
        if table {
            let value = cell(figure.value, figure.interval);
            output.text(&row([&figure.name, of, &figure.n.to_string(), &value]))?;
            continue;
        }
        let mut line = Map::from_iter([
            ("metric".into(), json!(figure.name)),
            ("of".into(), json!(of)),
            ("questions".into(), json!(figure.n)),
        ]);
        line.extend(shown_figure(figure).as_object().cloned().unwrap_or_default());
        output.line(&Value::Object(line))?;
    }
    match table {
        true => output.text(&format!(
            "\n{used} questions scored, {failed} failed, {alone} in one file only\n"
        ))?,
        false => output.line(&json!({"scored": used, "failed": failed, "unmatched": alone}))?,
    }
    output.flush()
}

fn record(
    args: &WinRateArgs,
    questions: &[Question<Answer<'_>>],
    scored: &[[Vec<f64>; 2]],
    figures: Vec<Figure>,
    device: &Device,
) -> Result<EvalRecord> {
    let item = |(index, (question, [a, b])): (usize, (&Question<Answer<'_>>, &[Vec<f64>; 2]))| {
        let wins = rate([(a.as_slice(), b.as_slice())]).share();
        let detail = [("question", json!(question.key)), ("a", json!(a)), ("b", json!(b))];
        Item {
            id: format!("{index}/{}", question.sides[0][0].0.id),
            subset: None,
            values: BTreeMap::from([("win_rate".to_owned(), wins)]),
            detail: detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    };
    let by = if args.by == By::Id { "id" } else { "prompt" };
    Ok(EvalRecord {
        evaluation: "win_rate".into(),
        figures,
        items: questions.iter().zip(scored).enumerate().map(item).collect(),
        settings: Map::from_iter([("by".into(), json!(by))]),
        models: reward_sources("reward", &args.reward, args.text.base.as_deref())?,
        data: vec![Source::data(&args.a)?, Source::data(&args.b)?],
        environment: super::environment(device),
    })
}
