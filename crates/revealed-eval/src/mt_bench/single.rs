//! Grading one answer at a time: a rating from 1 to 10.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::prompts::{Task, about};
use super::{JudgePrompts, ModelAnswer, MtBenchError, Question, QuestionId, by_question, now};
use crate::error::EvalError;
use crate::judge::{Ask, JudgeClient, JudgeError, Reply, ask_all};
use crate::log::Log;
use crate::progress::{Progress, Stage};

/// The rating in a judgement: the first `[[n]]`, or else the first `[n]`, with `n` as `\d+\.?\d*`; none if that is beyond
/// 10, which is no rating on this scale.
///
/// The two patterns are FastChat's `one_score_pattern` and `one_score_pattern_backup`.
pub fn rating(judgment: &str) -> Option<f64> {
    let found = bracketed(judgment, "[[", "]]").or_else(|| bracketed(judgment, "[", "]"));
    found.filter(|rating| (0.0..=10.0).contains(rating))
}

/// The first number between two marks with nothing else between them.
fn bracketed(text: &str, open: &str, close: &str) -> Option<f64> {
    // Every bracket may be the beginning: `[[[5]]` holds `[[5]]`.
    text.match_indices('[').find_map(|(at, _)| {
        let inside = text[at..].strip_prefix(open)?;
        let end = inside.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(inside.len());
        let (number, rest) = inside.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = !whole.is_empty() && !fraction.contains('.') && rest.starts_with(close);
        if is_number { number.parse().ok() } else { None }
    })
}

/// A line of `model_judgment/JUDGE_single.jsonl`. The last three keys are not FastChat's, which ignores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SingleJudgment {
    /// The question.
    pub question_id: QuestionId,
    /// Who answered.
    pub model: String,
    /// The judge and the name of its prompt.
    pub judge: [String; 2],
    /// The judge's prompt.
    pub user_prompt: String,
    /// The judge's answer.
    pub judgment: String,
    /// The rating; −1 in the file where there is none.
    #[serde(serialize_with = "or_minus_one", deserialize_with = "none_below_zero")]
    pub score: Option<f64>,
    /// 1 or 2.
    pub turn: usize,
    /// Seconds since 1970.
    pub tstamp: f64,
    /// Which of the `k` judgements it is, from 0.
    #[serde(default)]
    pub index: usize,
    /// [`JudgeClient::request_sha256`]; absent from FastChat's files.
    #[serde(default)]
    pub request_sha256: String,
    /// Whether it ends because it may not be longer.
    #[serde(default)]
    pub cut: bool,
}

fn or_minus_one<S: Serializer>(score: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match score.unwrap_or(-1.0) {
        // As FastChat, which writes `8` and not `8.0`.
        whole if whole.fract() == 0.0 => serializer.serialize_i64(whole as i64),
        score => serializer.serialize_f64(score),
    }
}

fn none_below_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Some(f64::deserialize(deserializer)?).filter(|score| *score >= 0.0))
}

/// One judgement to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleJob {
    /// The question.
    pub question_id: QuestionId,
    /// Its category.
    pub category: String,
    /// 1 or 2.
    pub turn: usize,
    /// The prompt's name.
    pub prompt: String,
    /// Which of the `k` judgements, from 0.
    pub index: usize,
    /// The request.
    pub ask: Ask,
}

/// The judgements of a model's answers: `k` of every judged turn, the first of all before the second of any.
///
/// # Errors
/// When an answer, a reference or a prompt is missing.
pub fn single_jobs(
    questions: &[Question],
    answers: &[ModelAnswer],
    model: &str,
    prompts: &JudgePrompts,
    references: &[ModelAnswer],
    k: usize,
) -> Result<Vec<SingleJob>, EvalError> {
    let (answers, references) = (by_question(answers), by_question(references));
    let mut jobs = Vec::new();
    for question in questions {
        let id = &question.question_id;
        for turn in question.judged_turns() {
            let answer = answers.get(id).ok_or_else(|| MtBenchError::NoAnswer {
                model: model.into(),
                id: id.clone(),
                turn,
            })?;
            let prompt = prompts.choose(Task::Single, question, turn)?;
            let reference = references.get(id).copied();
            jobs.push(SingleJob {
                question_id: id.clone(),
                category: question.category.clone(),
                turn,
                prompt: prompt.name.clone(),
                index: 0,
                ask: about(prompt, question, turn, &[("", answer)], reference)?,
            });
        }
    }
    let copy = |index| jobs.iter().map(move |job| SingleJob { index, ..job.clone() });
    Ok((0..k).flat_map(copy).collect())
}

/// The results of grading.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grading {
    /// The judgement of each job, in the jobs' order; none where the judge gave no answer.
    pub judgments: Vec<Option<SingleJudgment>>,
    /// Requests that were answered now.
    pub asked: usize,
    /// Requests that were answered with none, by reason; a later run asks them again.
    pub failures: Vec<String>,
    /// Judgements of this model in the log that are none of these jobs': of other answers, prompts or settings.
    pub others: usize,
}

/// Asks for the judgements that are not among `known`, and appends each to the log as it comes.
///
/// # Errors
/// When the judge cannot be asked or the log not be written; what came before is in the log.
pub fn grade(
    client: &JudgeClient,
    jobs: &[SingleJob],
    model: &str,
    known: Vec<SingleJudgment>,
    log: &mut Log,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Grading, EvalError> {
    let judge = &client.settings().model;
    type Key = (QuestionId, usize, usize, String);
    let mut by_key: HashMap<Key, SingleJudgment> = HashMap::new();
    for row in known.into_iter().filter(|row| row.model == model && row.judge[0] == *judge) {
        by_key.insert(
            (row.question_id.clone(), row.turn, row.index, row.request_sha256.clone()),
            row,
        );
    }
    let mut grading = Grading { judgments: vec![None; jobs.len()], ..Default::default() };
    let mut missing = Vec::new();
    for (at, job) in jobs.iter().enumerate() {
        let sha256 = client.request_sha256(&job.ask);
        let key = (job.question_id.clone(), job.turn, job.index, sha256);
        grading.judgments[at] = by_key.remove(&key);
        if grading.judgments[at].is_none() {
            missing.push((at, job, key.3));
        }
    }
    grading.others = by_key.len();
    let mut stage = Stage::start("judging", jobs.len(), on_progress);
    stage.add(jobs.len() - missing.len(), 0);
    ask_all(
        client,
        &missing,
        |(_, job, _)| &job.ask,
        |(at, job, sha256), outcome| {
            match outcome {
                Ok(reply) => {
                    let row = job.judgment([model, judge], reply, sha256.clone());
                    log.append(&row)?;
                    grading.asked += 1;
                    grading.judgments[*at] = Some(row);
                }
                Err(error) => grading.failures.push(failure(job, &error)),
            }
            stage.add(1, 0);
            Ok(())
        },
    )?;
    Ok(grading)
}

impl SingleJob {
    /// The line of a model's answer and a judge's reply.
    fn judgment(&self, [model, judge]: [&str; 2], reply: Reply, sha256: String) -> SingleJudgment {
        SingleJudgment {
            question_id: self.question_id.clone(),
            model: model.into(),
            judge: [judge.into(), self.prompt.clone()],
            user_prompt: self.ask.user.clone(),
            score: rating(&reply.text),
            judgment: reply.text,
            turn: self.turn,
            tstamp: now(),
            index: self.index,
            request_sha256: sha256,
            cut: reply.cut,
        }
    }
}

fn failure(job: &SingleJob, error: &JudgeError) -> String {
    format!("question {}, turn {}: {error}", job.question_id, job.turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_read_as_fastchats_patterns_read_them() {
        // By Python's `re` with FastChat's two patterns.
        let found = [
            ("Rating: [[5]]", 5.0),
            ("[[7.5]] and [[3]]", 7.5),
            ("[[8.]]", 8.0),
            ("a list [1], then [[9]]", 9.0),
            ("Rating: [6]", 6.0),
            ("Rating: [6.5] of [10]", 6.5),
            ("[[[4]]]", 4.0),
            ("[[rating]] [[x]] [[2]]", 2.0),
            ("[[5/10]] but [3]", 3.0),
            ("é [[0]]", 0.0),
            ("[[10]]", 10.0),
        ];
        for (text, wanted) in found {
            assert_eq!(rating(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_rating_is_none() {
        for text in
            ["", "Rating: 5", "[[five]]", "[[.5]]", "[[1.2.3]]", "[[-3]]", "[ 5 ]", "[[", "[[5"]
        {
            assert_eq!(rating(text), None, "{text}");
        }
        // Beyond the scale, where FastChat would take it.
        assert_eq!((rating("[[85]]"), rating("[[10.5]]"), rating("see [120]")), (None, None, None));
    }

    #[test]
    fn a_judgement_is_written_in_fastchats_layout() {
        let row = |score| SingleJudgment {
            question_id: QuestionId::Number(81),
            model: "m".into(),
            judge: ["gpt".into(), "single-v1".into()],
            user_prompt: "u".into(),
            judgment: "j".into(),
            score,
            turn: 1,
            tstamp: 1.5,
            index: 0,
            request_sha256: "s".into(),
            cut: false,
        };
        let written = |score| serde_json::to_string(&row(score)).unwrap();
        let start = r#"{"question_id":81,"model":"m","judge":["gpt","single-v1"],"user_prompt":"u","judgment":"j","score":8,"turn":1,"tstamp":1.5,"#;
        assert!(written(Some(8.0)).starts_with(start), "{}", written(Some(8.0)));
        assert!(written(Some(7.5)).contains("\"score\":7.5"));
        assert!(written(None).contains("\"score\":-1,"));
        let read: SingleJudgment = serde_json::from_str(&written(None)).unwrap();
        assert_eq!(read, row(None));
    }
}
