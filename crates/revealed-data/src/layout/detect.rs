//! Which layout a file has, told from its first row.

use super::columns::is_blank;
use super::*;

/// The layout that the columns of a row have.
pub(crate) fn detect(path: &Path, row: Row, columns: &Columns) -> Result<Layout, DataError> {
    let problem = |problem| crate::rows::refuse(path, row, problem);
    let present = |name: &str| columns.get(name).is_some_and(|value| !value.is_null());
    let filled = |name: &str| columns.get(name).is_some_and(|value| !is_blank(value));
    if present("chosen") && present("rejected") {
        return Ok(preferences(present));
    }
    let half = ["chosen", "rejected"].into_iter().find(|name| filled(name));
    if let Some(column) = half {
        let columns = Names(vec![column.to_owned()]);
        let reason = "which is half of a pair; a file of preferences has `chosen` and `rejected`, and \
                      one of demonstrations neither";
        return Err(problem(RowProblem::Ambiguous { columns, reason }));
    }
    let dialogues = one_or_filled(&DIALOGUES, present, filled);
    let mut questions = one_or_filled(&QUESTIONS, present, filled);
    if questions.contains(&"instruction") {
        questions.retain(|name| *name != "input");
    }
    let answers = one_or_filled(&ANSWERS, present, filled);
    match (dialogues.as_slice(), questions.as_slice(), answers.as_slice()) {
        ([column], _, _) => dialogue(column, &columns[*column], &answers).map_err(problem),
        ([], [question], []) => Ok(Layout { kind: Kind::Prompts, question, answer: None }),
        ([], [question], [answer]) => question_and_answer(question, answer).map_err(problem),
        ([], [], _) => {
            let found = names(columns);
            Err(match present("text") {
                true => problem(RowProblem::TextOnly),
                false => {
                    DataError::Columns { path: path.to_owned(), row, found, expected: EXPECTED }
                }
            })
        }
        _ => Err(problem(several(&dialogues, &questions, &answers))),
    }
}

/// The columns that are not null; those that hold something where there are several.
fn one_or_filled(
    all: &[&'static str],
    present: impl Fn(&str) -> bool,
    filled: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = all.iter().filter(|name| present(name)).copied().collect();
    if found.len() > 1 && found.iter().any(|name| filled(name)) {
        found.retain(|name| filled(name) || *name == "instruction");
    }
    found
}

fn preferences(present: impl Fn(&str) -> bool) -> Layout {
    let question = QUESTIONS.iter().chain(&DIALOGUES).find(|name| present(name));
    let kind = match question {
        Some(_) => Kind::ExplicitPreferences,
        None => Kind::ImplicitPreferences,
    };
    Layout { kind, question: question.unwrap_or(&"prompt"), answer: None }
}

fn dialogue(
    column: &'static str,
    value: &Value,
    answers: &[&'static str],
) -> Result<Layout, RowProblem> {
    let kind = match ends_without_answer(value) {
        true => Kind::Prompts,
        false if column == "messages" && !has_from(value) => Kind::Messages,
        false => Kind::ShareGpt,
    };
    // A bare solution belongs to a task; another column is an answer that must not be lost.
    if let (Kind::Prompts, Some(answer)) = (kind, answers.iter().find(|name| **name != "answer")) {
        let columns = Names(vec![column.to_owned(), (*answer).to_owned()]);
        let reason = "and the conversation does not end with the assistant; rename the conversation \
                      to `prompt` and the answer to `completion`";
        return Err(RowProblem::Ambiguous { columns, reason });
    }
    Ok(Layout { kind, question: column, answer: None })
}

fn has_from(value: &Value) -> bool {
    value.get(0).is_some_and(|turn| turn.get("from").is_some_and(Value::is_string))
}

/// Whether a conversation ends with a turn that is not the assistant's.
fn ends_without_answer(value: &Value) -> bool {
    let parsed = value.as_str().and_then(|text| parse_json(text).ok());
    let last = parsed.as_ref().unwrap_or(value).as_array().and_then(|turns| turns.last());
    let role = last.and_then(|turn| {
        ["role", "from"].iter().find_map(|name| turn.get(name).and_then(Value::as_str))
    });
    let answers = ["assistant", "gpt", "chatgpt", "bot", "model", "function_call"];
    role.is_some_and(|role| !answers.contains(&role))
}

fn question_and_answer(question: &'static str, answer: &'static str) -> Result<Layout, RowProblem> {
    let kind = match (question, answer) {
        ("prompt", "completion") => Kind::PromptCompletion,
        ("prompt", "output" | "answer") => {
            let columns = Names(vec![question.to_owned(), answer.to_owned()]);
            let reason = "which are of different layouts; rename the answer to `completion` where \
                          `prompt` is plain text or messages, to `response` where it is a user's \
                          message, or remove it for a file of prompts";
            return Err(RowProblem::Ambiguous { columns, reason });
        }
        ("instruction", _) => Kind::Alpaca,
        _ => Kind::QuestionAnswer,
    };
    Ok(Layout { kind, question, answer: Some(answer) })
}

fn several(dialogues: &[&str], questions: &[&str], answers: &[&str]) -> RowProblem {
    let (found, reason) = match (dialogues.len(), questions.len()) {
        (2.., _) => (dialogues, "which each hold a conversation; keep one"),
        (_, 2..) => (questions, "which could each be the prompt; keep one, or make one of them"),
        _ => (answers, "which could each be the answer; keep one"),
    };
    let columns = Names(found.iter().map(|name| (*name).to_owned()).collect());
    RowProblem::Ambiguous { columns, reason }
}
