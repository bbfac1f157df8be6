//! Lists of messages: `role` and `content` as in Transformers, `from` and `value` as in ShareGPT.

use serde_json::{Map, Value, json};

use super::columns::{check_texts, json_text, text, without_nulls};
use super::refused;
use crate::conversation::{Completion, Message};
use crate::error::{Columns as Names, RowProblem};
use crate::rows::type_name;

const MESSAGE: &str = "a message: an object with `role` and `content` (or `from` and `value`)";
const CONTENT: &str = "text, a list of text parts, or null in a message with `tool_calls`";
const CALLS: &str = "a list of calls, each an object";

/// Messages, with what their fields say apart from text.
pub(super) struct Turns {
    pub(super) messages: Vec<Message>,
    /// Whether they had `from` and `value`.
    pub(super) share_gpt: bool,
    /// Whether a message of the assistant before the answer is marked as not trained.
    pub(super) untrained: bool,
}

/// The messages of a column; `answer` is whether the last one is what is trained.
pub(super) fn turns(column: &str, value: &Value, answer: bool) -> Result<Turns, RowProblem> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        // A side of a pair may be its one message.
        Value::Object(_) => std::slice::from_ref(value),
        other => {
            let expected = "a list of messages with `role` and `content`";
            return Err(wrong_type(column, other, expected));
        }
    };
    let mut turns = Turns { messages: Vec::new(), share_gpt: false, untrained: false };
    for (index, turn) in list.iter().enumerate() {
        let path = format!("{column}[{index}]");
        let Value::Object(given) = turn else { return Err(wrong_type(&path, turn, MESSAGE)) };
        check_texts(&path, turn)?;
        let mut fields = without_nulls(given);
        let is_answer = answer && index + 1 == list.len();
        let untrained = take_training_fields(&path, &mut fields, is_answer)?;
        if fields.contains_key("from") {
            turns.share_gpt = true;
            fields = from_share_gpt(&path, fields)?;
        }
        let message = message(&path, fields, given)?;
        turns.untrained |= untrained && message.role() == "assistant";
        turns.messages.push(message);
    }
    Ok(turns)
}

/// Whether a value is, or holds as text, a list of messages.
pub(super) fn looks_stored(text: &str) -> bool {
    let text = text.trim_start();
    let begins = text.starts_with("[{") || text.starts_with("[ {");
    let keys = ["\"role\"", "'role'", "\"from\"", "'from'"];
    // The key is in the first object, so a long text need not be searched.
    let head: String = text.chars().take(200).collect();
    begins && keys.iter().any(|key| head.contains(key))
}

fn wrong_type(column: &str, found: &Value, expected: &'static str) -> RowProblem {
    RowProblem::WrongType { column: column.to_owned(), found: type_name(found), expected }
}

fn take_training_fields(
    path: &str,
    fields: &mut Map<String, Value>,
    is_answer: bool,
) -> Result<bool, RowProblem> {
    let mut untrained = false;
    for (name, value) in fields.iter() {
        untrained |= refused::message_field(path, name, value, is_answer)?;
    }
    fields.retain(|name, _| !refused::TRAIN_FIELDS.contains(&name.as_str()));
    Ok(untrained)
}

/// A message with its text checked; `given` is the object as it is in the file.
fn message(
    path: &str,
    mut fields: Map<String, Value>,
    given: &Map<String, Value>,
) -> Result<Message, RowProblem> {
    let Some(role) = fields.get("role") else { return Err(missing(path, "role", given)) };
    let role = text(&format!("{path}.role"), role)?;
    if role.is_empty() {
        let expected = "the name of a role";
        return Err(RowProblem::WrongType {
            column: format!("{path}.role"),
            found: "empty text",
            expected,
        });
    }
    if let Some(calls) = fields.get("tool_calls") {
        let calls = calls.as_array().filter(|calls| calls.iter().all(Value::is_object));
        calls.ok_or_else(|| {
            wrong_type(&format!("{path}.tool_calls"), &fields["tool_calls"], CALLS)
        })?;
    }
    let column = format!("{path}.content");
    match fields.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => parts
            .iter()
            .enumerate()
            .try_for_each(|(index, part)| check_part(&format!("{column}[{index}]"), part))?,
        Some(other) => return Err(wrong_type(&column, other, CONTENT)),
        None => {
            let calls =
                ["tool_calls", "function_call"].iter().any(|name| fields.contains_key(*name));
            if !calls {
                return Err(missing(path, "content", given));
            }
            if given.contains_key("content") {
                fields.insert("content".to_owned(), Value::Null);
            }
        }
    }
    Ok(Message::from_fields(fields))
}

/// A field that a message needs, and that is null or not there.
fn missing(path: &str, name: &str, given: &Map<String, Value>) -> RowProblem {
    let found = if given.contains_key(name) { "null" } else { "nothing" };
    let expected = if name == "role" { "the name of a role" } else { CONTENT };
    RowProblem::WrongType { column: format!("{path}.{name}"), found, expected }
}

fn check_part(column: &str, part: &Value) -> Result<(), RowProblem> {
    let found = match (part.get("type"), part.get("text")) {
        (Some(Value::String(kind)), Some(Value::String(_))) if kind == "text" => return Ok(()),
        (Some(kind), _) if kind != "text" => kind.to_string(),
        (Some(_), _) => "\"text\" without `text`".to_owned(),
        (None, _) => format!("(none: it is {})", type_name(part)),
    };
    Err(RowProblem::Part { column: column.to_owned(), found })
}

/// The message that Transformers has for a turn with `from` and `value`.
fn from_share_gpt(
    path: &str,
    mut fields: Map<String, Value>,
) -> Result<Map<String, Value>, RowProblem> {
    for name in ["role", "content"] {
        if fields.contains_key(name) {
            let columns = Names(vec![format!("{path}.from"), format!("{path}.{name}")]);
            let reason =
                "a message has either `from` and `value` or `role` and `content`; keep one pair";
            return Err(RowProblem::Ambiguous { columns, reason });
        }
    }
    let from = fields.shift_remove("from").unwrap_or_default();
    let from = text(&format!("{path}.from"), &from)?;
    let value = fields.shift_remove("value").unwrap_or_default();
    let value = text(&format!("{path}.value"), &value)?;
    let role = match from {
        "human" | "user" => "user",
        "gpt" | "chatgpt" | "bot" | "model" | "assistant" | "function_call" => "assistant",
        "system" => "system",
        "observation" | "function_response" | "tool" => "tool",
        _ => return Err(RowProblem::From { column: path.to_owned(), found: from.to_owned() }),
    };
    let mut message = Map::new();
    message.insert("role".to_owned(), role.into());
    if from == "function_call" {
        message.insert("content".to_owned(), "".into());
        message.insert("tool_calls".to_owned(), calls(path, value)?);
    } else {
        message.insert("content".to_owned(), value.into());
    }
    message.extend(fields);
    Ok(message)
}

/// The calls that the text of a `function_call` turn holds.
fn calls(path: &str, text: &str) -> Result<Value, RowProblem> {
    let refuse = || RowProblem::FunctionCall { column: path.to_owned() };
    let value = json_text(path, text).map_err(|_| refuse())?;
    let list = match value {
        Value::Array(list) if !list.is_empty() => list,
        call @ Value::Object(_) => vec![call],
        _ => return Err(refuse()),
    };
    let call = |call: Value| {
        let known = call.as_object().is_some_and(|fields| fields.len() == 2);
        let named =
            call.get("name").is_some_and(Value::is_string) && call.get("arguments").is_some();
        match known && named {
            true => Ok(json!({"type": "function", "function": call})),
            false => Err(refuse()),
        }
    };
    list.into_iter().map(call).collect()
}

/// The one message of the assistant.
pub(super) fn answer(
    column: &'static str,
    mut messages: Vec<Message>,
) -> Result<Completion, RowProblem> {
    match (messages.pop(), messages.len()) {
        (None, _) => Err(RowProblem::TooFewMessages { column, found: 0, needed: 1 }),
        (Some(last), 0) if last.role() == "assistant" => Ok(Completion::from_message(last)),
        (Some(last), 0) => Err(RowProblem::LastRole { column, found: last.role().to_owned() }),
        (Some(_), rest) => Err(RowProblem::SeveralTurns { column, found: rest + 1 }),
    }
}
