//! From a row's columns to a record.

use std::path::Path;

use serde_json::Value;

use self::columns::{ANSWERS, DIALOGUES, QUESTIONS, Reading, names, text};
use self::turns::{Turns, answer, looks_stored, turns};
use crate::DataError;
use crate::conversation::{Completion, Message, Prompt};
use crate::dataset::{Demonstration, Findings, Kind, Preference, PromptRow};
use crate::error::{Columns as Names, Place, Row, RowProblem};
use crate::rows::{Columns, parse_json, type_name};

mod columns;
mod context;
mod detect;
mod pairs;
mod refused;
mod turns;

pub(crate) use detect::detect;

/// The layouts, as errors list them.
pub(crate) const EXPECTED: &str = "messages; conversations; prompt, completion (or response); \
     instruction, output (and input); question, answer; query, response; input, output; prompt (or \
     another column of these), chosen, rejected; chosen, rejected; prompt or question";

/// Which columns of a file hold prompts and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    /// The column of the prompt, or of the whole conversation.
    question: &'static str,
    /// The column of the answer, where it has one of its own.
    answer: Option<&'static str>,
}

/// One row: its columns and where it is.
pub(crate) struct RowOf<'a> {
    pub(crate) columns: &'a Columns,
    /// The id of a row without one.
    pub(crate) number: usize,
    pub(crate) place: Place,
}

impl Layout {
    /// A demonstration, of a kind that holds them; none where its label is false.
    pub(crate) fn demonstration(
        &self,
        row: &RowOf<'_>,
        findings: &mut Findings,
    ) -> Result<Option<Demonstration>, RowProblem> {
        let mut reading = Reading::new(row.columns, findings);
        if !labelled_true(&mut reading)? {
            reading.findings.left_out += 1;
            return Ok(None);
        }
        let (prompt, completion) = match self.answer {
            None => self.dialogue(&mut reading)?,
            Some(column) => self.question_and_answer(&mut reading, column)?,
        };
        let completion_ids = token_ids(&mut reading)?;
        let id = id(&mut reading, row.number);
        let source = reading.label("source");
        self.finish(reading, &prompt, Some(&completion))?;
        let place = Some(row.place.clone());
        Ok(Some(Demonstration { id, source, place, prompt, completion, completion_ids }))
    }

    /// A preference, of a kind that holds them.
    pub(crate) fn preference(
        &self,
        row: &RowOf<'_>,
        findings: &mut Findings,
    ) -> Result<Preference, RowProblem> {
        let mut reading = Reading::new(row.columns, findings);
        let id = id(&mut reading, row.number);
        let subset = match reading.label("subset") {
            Some(subset) => Some(subset),
            None => {
                let meta = reading.peek("meta").and_then(|meta| meta.get("subset"));
                let subset = meta.and_then(columns::label);
                if subset.is_some() {
                    reading.get("meta")?;
                }
                subset
            }
        };
        let (prompt, chosen, rejected) = pairs::pair(self, &mut reading)?;
        self.finish(reading, &prompt, Some(&chosen))?;
        let place = Some(row.place.clone());
        Ok(Preference { id, subset, place, prompt, chosen, rejected })
    }

    /// The id and prompt, of a file of prompts.
    pub(crate) fn prompt_row(
        &self,
        row: &RowOf<'_>,
        findings: &mut Findings,
    ) -> Result<PromptRow, RowProblem> {
        let mut reading = Reading::new(row.columns, findings);
        let id = id(&mut reading, row.number);
        let prompt = self.prompt(&mut reading, self.question, false)?;
        self.finish(reading, &prompt, None)?;
        Ok(PromptRow { id, place: Some(row.place.clone()), prompt })
    }

    /// Lists the columns that were not read. A column of another layout is one of them where it only
    /// repeats what was read.
    fn finish(
        &self,
        reading: Reading<'_>,
        prompt: &Prompt,
        completion: Option<&Completion>,
    ) -> Result<(), RowProblem> {
        let is_pair = matches!(self.kind, Kind::ExplicitPreferences | Kind::ImplicitPreferences);
        let mut messages = match prompt {
            Prompt::Chat(chat) => chat.messages.clone(),
            Prompt::Text(_) => Vec::new(),
        };
        messages.extend(completion.map(|completion| completion.message().clone()));
        let dialogue = DIALOGUES.contains(&self.question);
        reading.finish(self.kind.name(), |name, value| {
            let answer_of_pair = is_pair && ANSWERS.contains(&name);
            // A conversation is complete; files keep the bare solution of a task next to it.
            let solution = dialogue && name == "answer";
            answer_of_pair || solution || (dialogue && repeats(&messages, value))
        })
    }

    /// A conversation whose last message is the completion.
    fn dialogue(&self, reading: &mut Reading<'_>) -> Result<(Prompt, Completion), RowProblem> {
        let column = self.question;
        let Turns { mut messages, share_gpt, untrained } = self.turns(reading, column, true)?;
        reading.findings.untrained += usize::from(untrained);
        if messages.len() < 2 {
            let found = messages.len();
            return Err(RowProblem::TooFewMessages { column, found, needed: 2 });
        }
        let last = messages.split_off(messages.len() - 1);
        let completion = answer(column, last)?;
        let chat = context::conversation(reading, messages, share_gpt)?;
        Ok((Prompt::Chat(chat), completion))
    }

    fn turns(
        &self,
        reading: &mut Reading<'_>,
        column: &'static str,
        answer: bool,
    ) -> Result<Turns, RowProblem> {
        let value = reading.required(column, self.kind.name())?;
        match value {
            Value::String(text) if DIALOGUES.contains(&column) => {
                turns(column, &columns::json_text(column, text)?, answer)
            }
            value => turns(column, value, answer),
        }
    }

    fn question_and_answer(
        &self,
        reading: &mut Reading<'_>,
        column: &'static str,
    ) -> Result<(Prompt, Completion), RowProblem> {
        let chat = column != "completion" || self.question != "prompt";
        let prompt = self.prompt(reading, self.question, chat)?;
        if chat {
            reading.findings.read_as(column, "the assistant's answer");
        }
        let completion = match reading.required(column, self.kind.name())? {
            Value::String(text) if looks_stored(text) => {
                return Err(RowProblem::StoredAsText { column: column.to_owned() });
            }
            Value::String(text) => text.as_str().into(),
            Value::Array(_) | Value::Object(_) if matches!(prompt, Prompt::Text(_)) => {
                return Err(RowProblem::Mixed { column });
            }
            other @ (Value::Bool(_) | Value::Number(_) | Value::Null) => {
                return Err(RowProblem::WrongType {
                    column: column.to_owned(),
                    found: type_name(other),
                    expected: TEXT_OR_MESSAGES,
                });
            }
            value => answer(column, turns(column, value, true)?.messages)?,
        };
        Ok((prompt, completion))
    }

    /// The prompt in a column. `chat` is whether text in `prompt` is a user's message.
    fn prompt(
        &self,
        reading: &mut Reading<'_>,
        column: &'static str,
        chat: bool,
    ) -> Result<Prompt, RowProblem> {
        let value = reading.required(column, self.kind.name())?;
        let (messages, share_gpt) = match value {
            Value::String(_) if DIALOGUES.contains(&column) => {
                let turns = self.turns(reading, column, false)?;
                (turns.messages, turns.share_gpt)
            }
            Value::String(text) if looks_stored(text) => {
                return Err(RowProblem::StoredAsText { column: column.to_owned() });
            }
            Value::String(text) if column == "prompt" && !chat => {
                context::none_for_text(reading)?;
                return Ok(Prompt::Text(text.clone()));
            }
            Value::String(text) => {
                reading.findings.read_as(column, "the user's message");
                let text = with_input(reading, column, text)?;
                (context::question(reading, text)?, false)
            }
            Value::Array(_) => {
                let turns = self.turns(reading, column, false)?;
                (turns.messages, turns.share_gpt)
            }
            other => {
                return Err(RowProblem::WrongType {
                    column: column.to_owned(),
                    found: type_name(other),
                    expected: TEXT_OR_MESSAGES,
                });
            }
        };
        match messages.last() {
            None => return Err(RowProblem::TooFewMessages { column, found: 0, needed: 1 }),
            Some(last) if last.role() == "assistant" => {
                return Err(RowProblem::StartedAnswer { column });
            }
            Some(_) => {}
        }
        Ok(Prompt::Chat(context::conversation(reading, messages, share_gpt)?))
    }
}

const TEXT_OR_MESSAGES: &str = "text or a list of messages with `role` and `content`";

/// An instruction with its input: Alpaca's `input`, Dolly's `context`.
fn with_input(
    reading: &mut Reading<'_>,
    column: &str,
    instruction: &str,
) -> Result<String, RowProblem> {
    if column != "instruction" {
        return Ok(instruction.to_owned());
    }
    let input = reading.text("input")?.filter(|text| !text.is_empty());
    let context = reading.text("context")?.filter(|text| !text.is_empty());
    let input = match (input, context) {
        (Some(_), Some(_)) => {
            let columns = Names(vec!["input".to_owned(), "context".to_owned()]);
            let reason = "which are both the input of `instruction`; keep one of them";
            return Err(RowProblem::Ambiguous { columns, reason });
        }
        (Some(input), None) => {
            reading.findings.read_as("input", "added to the user's message");
            input
        }
        (None, Some(context)) => {
            reading.findings.read_as("context", "added to the user's message");
            context
        }
        (None, None) => return Ok(instruction.to_owned()),
    };
    Ok(if instruction.is_empty() { input.to_owned() } else { format!("{instruction}\n\n{input}") })
}

/// Whether a column only repeats messages that were read: the text of one, or the first of them.
fn repeats(messages: &[Message], value: &Value) -> bool {
    match value {
        Value::String(text) => messages.iter().any(|one| one.text().trim() == text.trim()),
        list => turns("", list, false)
            .is_ok_and(|turns| !turns.messages.is_empty() && messages.starts_with(&turns.messages)),
    }
}

/// Whether a row is a demonstration: `label` and `kto_tag` of KTO's files are not false.
fn labelled_true(reading: &mut Reading<'_>) -> Result<bool, RowProblem> {
    let mut all = true;
    for column in ["label", "kto_tag"] {
        match reading.get(column)? {
            None => {}
            Some(Value::Bool(label)) => all &= label,
            Some(Value::Number(label)) if label.as_f64() == Some(1.0) => {}
            Some(Value::Number(label)) if label.as_f64() == Some(0.0) => all = false,
            Some(other) => {
                return Err(RowProblem::WrongType {
                    column: column.to_owned(),
                    found: type_name(other),
                    expected: "true (a demonstration) or false (none); rename a column that says \
                               something else",
                });
            }
        }
    }
    Ok(all)
}

/// `completion_ids`, which `revealed sample` writes.
fn token_ids(reading: &mut Reading<'_>) -> Result<Option<Vec<u32>>, RowProblem> {
    let Some(value) = reading.structure("completion_ids")? else { return Ok(None) };
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = value.as_array().and_then(|values| values.iter().map(id).collect());
    ids.map(Some).ok_or_else(|| RowProblem::WrongType {
        column: "completion_ids".to_owned(),
        found: match &*value {
            Value::Array(_) => "a list with other values than token ids",
            other => type_name(other),
        },
        expected: "a list of token ids, integers from 0",
    })
}

fn id(reading: &mut Reading<'_>, number: usize) -> String {
    reading.label("id").unwrap_or_else(|| number.to_string())
}

/// The prompt in a JSON value: text, or a list of messages. `column` is its name in errors.
///
/// # Errors
/// [`RowProblem`] names the field of a message that cannot be used.
pub fn prompt_from_json(column: &str, value: &Value) -> Result<Prompt, RowProblem> {
    columns::check_texts(column, value)?;
    match value {
        Value::Array(_) => Ok(turns(column, value, false)?.messages.into()),
        Value::String(_) => Ok(Prompt::Text(text(column, value)?.to_owned())),
        other => Err(RowProblem::WrongType {
            column: column.to_owned(),
            found: type_name(other),
            expected: TEXT_OR_MESSAGES,
        }),
    }
}
