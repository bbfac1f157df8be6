//! What a chat template is given apart from the messages of a row: system prompt, earlier turns, tools,
//! documents and variables.

use serde_json::{Map, Value, json};

use super::columns::{Reading, text};
use crate::conversation::{Conversation, Message};
use crate::error::{Columns as Names, RowProblem};
use crate::rows::type_name;

const SYSTEMS: [&str; 3] = ["system", "system_prompt", "system_message"];
/// What `apply_chat_template` takes itself, so that no variable can have the name.
const TAKEN: [&str; 16] = [
    "conversation",
    "messages",
    "tools",
    "documents",
    "chat_template",
    "add_generation_prompt",
    "continue_final_message",
    "tokenize",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
    "processor_kwargs",
];

/// A conversation of a row's messages and the columns that belong to it.
pub(super) fn conversation(
    reading: &mut Reading<'_>,
    mut messages: Vec<Message>,
    share_gpt: bool,
) -> Result<Conversation, RowProblem> {
    add_system(reading, &mut messages)?;
    let tools = tools(reading, share_gpt)?;
    let documents = objects(reading, "documents")?;
    let chat_template_kwargs = variables(reading)?;
    Ok(Conversation { messages, tools, documents, chat_template_kwargs })
}

/// Refuses columns for a template where the prompt is plain text.
pub(super) fn none_for_text(reading: &mut Reading<'_>) -> Result<(), RowProblem> {
    let others = ["history", "tools", "documents", "chat_template_kwargs"];
    for column in SYSTEMS.into_iter().chain(others) {
        let asks = match reading.get(column)? {
            None => false,
            Some(Value::String(text)) => !matches!(text.trim(), "" | "[]" | "{}"),
            Some(Value::Array(parts)) => !parts.is_empty(),
            Some(Value::Object(parts)) => parts.values().any(|part| !part.is_null()),
            Some(_) => true,
        };
        if asks {
            return Err(RowProblem::PlainText { column });
        }
    }
    Ok(())
}

/// The user's message with the turns of `history` before it.
pub(super) fn question(
    reading: &mut Reading<'_>,
    text: String,
) -> Result<Vec<Message>, RowProblem> {
    let mut messages = history(reading)?;
    messages.push(Message::new("user", text));
    Ok(messages)
}

/// `history`: pairs of a user's and an assistant's text.
fn history(reading: &mut Reading<'_>) -> Result<Vec<Message>, RowProblem> {
    let Some(history) = reading.structure("history")? else { return Ok(Vec::new()) };
    let expected = "a list of pairs of texts, [user, assistant]";
    let wrong = |column: String, found: &Value| RowProblem::WrongType {
        column,
        found: type_name(found),
        expected,
    };
    let pairs = history.as_array().ok_or_else(|| wrong("history".to_owned(), &history))?;
    let mut messages = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        let path = format!("history[{index}]");
        match pair.as_array().map(Vec::as_slice) {
            Some([user, assistant]) => {
                messages.push(Message::new("user", text(&format!("{path}[0]"), user)?));
                messages.push(Message::new("assistant", text(&format!("{path}[1]"), assistant)?));
            }
            _ => return Err(wrong(path, pair)),
        }
    }
    if !messages.is_empty() {
        reading.findings.read_as("history", "earlier turns");
    }
    Ok(messages)
}

fn add_system(reading: &mut Reading<'_>, messages: &mut Vec<Message>) -> Result<(), RowProblem> {
    let mut found: Option<(&'static str, &str)> = None;
    for column in SYSTEMS {
        let Some(text) = reading.text(column)?.filter(|text| !text.is_empty()) else { continue };
        match found {
            Some((other, known)) if known != text => {
                let columns = Names(vec![other.to_owned(), column.to_owned()]);
                let reason =
                    "which differ, and a conversation has one system prompt; keep one column";
                return Err(RowProblem::Ambiguous { columns, reason });
            }
            _ => found = Some((column, text)),
        }
    }
    let Some((column, text)) = found else { return Ok(()) };
    match messages.iter().find(|message| message.role() == "system") {
        None => messages.insert(0, Message::new("system", text)),
        Some(message) if message.text() == text => {}
        Some(_) => return Err(RowProblem::SystemTwice { column }),
    }
    reading.findings.read_as(column, "the system message");
    Ok(())
}

/// `tools`, or none. ShareGPT files list bare functions, as LLaMA-Factory takes them; templates of
/// Transformers expect them within `{"type": "function", "function": …}`.
fn tools(reading: &mut Reading<'_>, share_gpt: bool) -> Result<Option<Vec<Value>>, RowProblem> {
    let Some(mut tools) = objects(reading, "tools")? else { return Ok(None) };
    if share_gpt {
        let is_bare = |tool: &Value| tool.get("function").is_none() && tool.get("name").is_some();
        for tool in tools.iter_mut().filter(|tool| is_bare(tool)) {
            *tool = json!({"type": "function", "function": tool.take()});
        }
    }
    // As TRL: some templates write a heading for tools even where the list is empty.
    Ok(Some(tools).filter(|tools| !tools.is_empty()))
}

/// A column with a list of objects.
fn objects(
    reading: &mut Reading<'_>,
    column: &'static str,
) -> Result<Option<Vec<Value>>, RowProblem> {
    let Some(value) = reading.structure(column)? else { return Ok(None) };
    match value.into_owned() {
        Value::Array(list) if list.iter().all(Value::is_object) => Ok(Some(list)),
        Value::Array(list) => {
            let other = list.iter().find(|part| !part.is_object()).map_or("null", type_name);
            let expected = "an object, as every element of the list";
            Err(RowProblem::WrongType { column: format!("{column}[…]"), found: other, expected })
        }
        other => Err(RowProblem::WrongType {
            column: column.to_owned(),
            found: type_name(&other),
            expected: "a list of objects, or JSON text of one",
        }),
    }
}

fn variables(reading: &mut Reading<'_>) -> Result<Map<String, Value>, RowProblem> {
    let column = "chat_template_kwargs";
    let Some(value) = reading.structure(column)? else { return Ok(Map::new()) };
    let variables = match value.into_owned() {
        Value::Object(variables) => variables,
        other => {
            return Err(RowProblem::WrongType {
                column: column.to_owned(),
                found: type_name(&other),
                expected: "an object, or JSON text of one",
            });
        }
    };
    match variables.iter().find(|(name, _)| TAKEN.contains(&name.as_str())) {
        Some((name, value)) => Err(RowProblem::Refused {
            column: format!("{column}.{name}"),
            found: value.to_string().chars().take(40).collect(),
            reason: "the template is given this by the program itself; `tools` and `documents` are \
                     columns of their own, and other names are free",
        }),
        None => Ok(variables),
    }
}
