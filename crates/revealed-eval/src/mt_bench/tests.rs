//! The whole of a grading: files in, a judge that fails in the middle, files out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::error::EvalError;
use crate::judge::{ApiKey, JudgeClient, JudgeSettings};
use crate::log::{Log, read_lines};
use crate::testing::{Act, Stub};

pub(crate) const KEY: &str = "sk-planted-0123456789";

/// Two questions, one with a reference, in files of FastChat's layout; its prompts' names with words of our own.
pub(crate) struct World {
    pub folder: tempfile::TempDir,
    pub questions: Vec<Question>,
    pub prompts: JudgePrompts,
    pub references: Vec<ModelAnswer>,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, rows: &[serde_json::Value]| -> PathBuf {
            let path = folder.path().join(name);
            let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
            fs::write(&path, lines.join("\n")).unwrap();
            path
        };
        let question = |id: u64, category: &str| json!({"question_id": id, "category": category, "turns": ["q1", "q2"]});
        let questions = write("question.jsonl", &[question(81, "writing"), question(111, "math")]);
        let answer = "{answer}|{question}";
        let prompt = |name: &str, template: &str, format: &str| json!({"name": name, "type": "single", "system_prompt": "s", "prompt_template": template, "description": "", "category": "general", "output_format": format});
        let prompts = write(
            "judge_prompts.jsonl",
            &[
                prompt("single-v1", answer, "[[rating]]"),
                prompt(
                    "single-v1-multi-turn",
                    "{question_1}|{answer_1}|{question_2}|{answer_2}",
                    "[[rating]]",
                ),
                prompt("single-math-v1", "{ref_answer_1}|{answer}", "[[rating]]"),
                prompt(
                    "single-math-v1-multi-turn",
                    "{ref_answer_1}|{ref_answer_2}|{answer_2}",
                    "[[rating]]",
                ),
                prompt("pair-v2", "{question}|{answer_a}|{answer_b}", "[[A]]"),
                prompt(
                    "pair-v2-multi-turn",
                    "{answer_a_1}|{answer_a_2}|{answer_b_1}|{answer_b_2}",
                    "[[A]]",
                ),
                prompt("pair-math-v1", "{ref_answer_1}|{answer_a}|{answer_b}", "[[A]]"),
                prompt(
                    "pair-math-v1-multi-turn",
                    "{ref_answer_2}|{answer_a_2}|{answer_b_2}",
                    "[[A]]",
                ),
            ],
        );
        Self {
            questions: read_questions(&questions).unwrap(),
            prompts: JudgePrompts::read(&prompts).unwrap(),
            references: answers("gpt-4", &[111], "r"),
            folder,
        }
    }

    pub fn jobs(&self, k: usize) -> Vec<SingleJob> {
        let answers = answers("m", &[81, 111], "a");
        single_jobs(&self.questions, &answers, "m", &self.prompts, &self.references, k).unwrap()
    }
}

pub(crate) fn answers(model: &str, ids: &[u64], mark: &str) -> Vec<ModelAnswer> {
    let answer = |id: &u64| ModelAnswer {
        question_id: QuestionId::Number(*id),
        answer_id: "x".into(),
        model_id: model.into(),
        choices: vec![Choice {
            index: 0,
            turns: vec![format!("{mark}{id}-1"), format!("{mark}{id}-2")],
        }],
        tstamp: 1.0,
        settings_sha256: None,
    };
    ids.iter().map(answer).collect()
}

pub(crate) fn client(stub: &Stub, k: usize) -> JudgeClient {
    let settings = JudgeSettings {
        url: stub.url.clone(),
        model: "judge".into(),
        k,
        backoff_s: 0.0,
        max_retries: 1,
        ..Default::default()
    };
    JudgeClient::new(settings, Some(ApiKey::new(KEY).unwrap())).unwrap()
}

fn run(stub: &Stub, jobs: &[SingleJob], k: usize, path: &Path) -> Result<Grading, EvalError> {
    let (mut log, known) = Log::open(path).unwrap();
    grade(&client(stub, k), jobs, "m", known, &mut log, &mut |_| {})
}

#[test]
fn the_judge_sees_questions_answers_and_references_where_they_belong() {
    let jobs = World::new().jobs(2);
    let seen: Vec<(&str, &str)> =
        jobs.iter().map(|job| (job.prompt.as_str(), job.ask.user.as_str())).collect();
    let once = [
        ("single-v1", "a81-1|q1"),
        ("single-v1-multi-turn", "q1|a81-1|q2|a81-2"),
        ("single-math-v1", "r111-1|a111-1"),
        ("single-math-v1-multi-turn", "r111-1|r111-2|a111-2"),
    ];
    assert_eq!(seen, [once, once].concat());
    assert_eq!(jobs.iter().map(|job| job.index).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn what_is_missing_is_named() {
    let world = World::new();
    let of = |answers: &[ModelAnswer], references: &[ModelAnswer]| {
        single_jobs(&world.questions, answers, "m", &world.prompts, references, 1)
            .unwrap_err()
            .to_string()
    };
    let (all, some) = (answers("m", &[81, 111], "a"), answers("m", &[81], "a"));
    assert!(of(&some, &world.references).contains("m has no answer to turn 1 of question 111"));
    assert!(of(&all, &[]).contains("question 111 is of category math"));
    let mut short = all.clone();
    short[0].choices[0].turns.pop();
    assert!(of(&short, &world.references).contains("turn 2 of question 81"));
}

#[test]
fn a_run_that_broke_off_asks_only_what_is_missing_and_pays_nothing_twice() {
    let world = World::new();
    let path = world.folder.path().join("model_judgment/judge_single.jsonl");
    let jobs = world.jobs(2);
    let stub = Stub::serve(|number, _| match number {
        3 => Act::Answer(401, "", format!("bad key {KEY}")),
        _ => Act::Say("Rating: [[8]]".into()),
    });
    let error = run(&stub, &jobs, 2, &path).unwrap_err().to_string();
    assert!(error.contains("401") && !error.contains(KEY), "{error}");
    assert_eq!(read_lines::<SingleJudgment>(&path).unwrap().len(), 3);
    // And the crash tore a line.
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"question_id\": 111, \"mod");
    fs::write(&path, text).unwrap();

    let grading = run(&stub, &jobs, 2, &path).unwrap();
    assert_eq!((grading.asked, stub.seen().len()), (5, 9));
    assert!(grading.judgments.iter().all(Option::is_some));
    let again = run(&stub, &jobs, 2, &path).unwrap();
    assert_eq!((again.asked, stub.seen().len()), (0, 9));
    assert_eq!(again.judgments, grading.judgments);
    assert_eq!(read_lines::<SingleJudgment>(&path).unwrap().len(), 8);
    assert!(!fs::read_to_string(&path).unwrap().contains(KEY));

    // Another answer is another request; the old judgements are left out.
    let other = answers("m", &[81, 111], "b");
    let jobs =
        single_jobs(&world.questions, &other, "m", &world.prompts, &world.references, 1).unwrap();
    let grading = run(&stub, &jobs, 1, &path).unwrap();
    assert_eq!((grading.asked, grading.others), (4, 8));
}

#[test]
fn what_cannot_be_read_is_counted_and_what_failed_is_asked_again() {
    let world = World::new();
    let path = world.folder.path().join("judge_single.jsonl");
    let jobs = world.jobs(1);
    let stub = Stub::serve(|number, _| match number {
        0 => Act::Say("rather good".into()),
        1 => Act::Answer(200, "", "<html>".into()),
        2 => Act::Say("Rating: [6]".into()),
        _ => Act::Say("Rating: [[9]]".into()),
    });
    let grading = run(&stub, &jobs, 1, &path).unwrap();
    assert_eq!((grading.asked, grading.failures.len()), (3, 1));
    assert!(grading.failures[0].contains("question 81, turn 2"), "{:?}", grading.failures);
    let grades = grades(&world.questions, &jobs, &grading);
    let value = |name: &str| {
        grades.figures.iter().find(|each| each.name == name && each.subset.is_none()).unwrap().value
    };
    assert_eq!((value("unparsed"), value("failed"), value("score")), (1.0, 1.0, 7.5));
    // A judgement without a rating is paid for; one that never came is asked for again.
    let grading = run(&stub, &jobs, 1, &path).unwrap();
    assert_eq!((grading.asked, grading.failures.len()), (1, 0));
}
