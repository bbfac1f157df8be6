//! Whether a chat template writes what a conversation holds: found by rendering it without.

use serde_json::Value;

use crate::DataError;
use crate::conversation::{Conversation, Message};
use crate::template::{ChatTemplate, GenerationPrompt, REASONING_FIELDS};

/// Fields of an answer that are part of what is learned.
const LEARNED: &[&str] =
    &["tool_calls", "function_call", "reasoning_content", "thinking", "reasoning", "thoughts"];
/// Fields of earlier messages without which the conversation is another one. Earlier reasoning is
/// not among them: templates leave it out on purpose.
const CONTEXT: &[&str] = &["tool_calls", "function_call"];
/// A text this short may be in a rendering by chance.
const SHORT: usize = 8;

/// A conversation with what a template wrote of it.
pub(super) struct Rendered<'a> {
    pub(super) template: &'a ChatTemplate,
    /// The prompt, and the answer as last message if there is one.
    pub(super) chat: &'a Conversation,
    /// The prompt up to where the answer begins.
    pub(super) before: &'a str,
    /// The whole conversation, if there is an answer.
    pub(super) full: Option<&'a str>,
}

/// The names of what a conversation holds besides text messages.
pub(super) fn names(chat: &Conversation) -> Vec<String> {
    let given = [("tools", chat.tools.is_some()), ("documents", chat.documents.is_some())];
    let mut names: Vec<String> =
        given.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned()).collect();
    names.extend(chat.chat_template_kwargs.keys().cloned());
    for message in &chat.messages {
        for field in message.extra_fields() {
            if !names.iter().any(|name| name == field) {
                names.push(field.to_owned());
            }
        }
    }
    names
}

/// All texts of a message but its role.
pub(super) fn texts(message: &Message) -> Vec<&str> {
    fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(parts) => parts.iter().for_each(|part| collect(part, texts)),
            Value::Object(parts) => parts.values().for_each(|part| collect(part, texts)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    let fields = message.fields().iter().filter(|(name, _)| *name != "role");
    fields.for_each(|(_, value)| collect(value, &mut texts));
    texts
}

impl Rendered<'_> {
    /// The fields that the template does not write and that change nothing that is learned.
    ///
    /// # Errors
    /// [`DataError::NotWritten`] for what would change it: an answer's tool calls or reasoning, the
    /// content of a message, tools, documents.
    pub(super) fn unwritten(&self) -> Result<Vec<String>, DataError> {
        let mut unwritten = Vec::new();
        self.check_contents(&mut unwritten)?;
        if !self.chat.is_plain() {
            self.check_context()?;
            self.check_fields(&mut unwritten)?;
        }
        Ok(unwritten)
    }

    fn answer(&self) -> Option<usize> {
        self.full.map(|_| self.chat.messages.len() - 1)
    }

    /// Whether the template writes the same of the conversation after a change.
    fn is_same_after(&self, change: impl FnOnce(&mut Conversation)) -> bool {
        let mut changed = self.chat.clone();
        change(&mut changed);
        let render = |chat: &Conversation, prompt| self.template.render(chat, prompt);
        // A template that fails without a field reads it.
        if let Some(full) = self.full {
            let same = render(&changed, GenerationPrompt::Omit).is_ok_and(|text| text == full);
            if !same {
                return false;
            }
            changed.messages.pop();
        }
        render(&changed, GenerationPrompt::Add).is_ok_and(|text| text == self.before)
    }

    fn check_contents(&self, unwritten: &mut Vec<String>) -> Result<(), DataError> {
        let written = self.full.unwrap_or(self.before);
        for (index, message) in self.chat.messages.iter().enumerate() {
            let place = || format!("the content of message {} ({})", index + 1, message.role());
            let parts = message.fields().get("content").and_then(Value::as_array);
            if parts.is_some() && PRINTED_PARTS.iter().any(|printed| written.contains(printed)) {
                return Err(DataError::PartsNotTaken { field: place() });
            }
            let text = message.text();
            let text = text.trim();
            let found = parts.is_none() && text.len() >= SHORT && self.is_written(text, written);
            if text.is_empty() || found || !self.is_same_after(|chat| replace_text(chat, index)) {
                continue;
            }
            // An earlier answer may lose its text to the calls that it makes.
            if message.role() == "assistant" && self.answer() != Some(index) && parts.is_none() {
                unwritten.push("content of an earlier assistant message".to_owned());
                continue;
            }
            return Err(match parts {
                Some(_) => DataError::PartsNotTaken { field: place() },
                None => DataError::NotWritten { field: place() },
            });
        }
        Ok(())
    }

    /// Whether a text is written as often as messages hold it, and not by the template itself.
    fn is_written(&self, text: &str, written: &str) -> bool {
        let held = self.chat.messages.iter().flat_map(texts).map(|held| held.matches(text).count());
        written.matches(text).count() >= held.sum() && !self.template.text().contains(text)
    }

    fn check_context(&self) -> Result<(), DataError> {
        let not_written = |field: &str| Err(DataError::NotWritten { field: field.to_owned() });
        if self.chat.tools.is_some() && self.is_same_after(|chat| chat.tools = None) {
            return not_written("`tools`");
        }
        let documents = self.chat.documents.as_ref().is_some_and(|all| !all.is_empty());
        if documents && self.is_same_after(|chat| chat.documents = None) {
            return not_written("`documents`");
        }
        Ok(())
    }

    fn check_fields(&self, unwritten: &mut Vec<String>) -> Result<(), DataError> {
        for name in self.chat.chat_template_kwargs.keys() {
            if self.is_same_after(|chat| drop(chat.chat_template_kwargs.shift_remove(name))) {
                unwritten.push(format!("chat_template_kwargs.{name}"));
            }
        }
        let last = self.answer().unwrap_or(self.chat.messages.len());
        let (earlier, answer) = self.chat.messages.split_at(last);
        for name in field_names(earlier) {
            if self.is_same_after(|chat| remove(&mut chat.messages[..last], &name)) {
                if CONTEXT.contains(&&*name) {
                    let field = format!("`{name}` of an earlier message");
                    return Err(DataError::NotWritten { field });
                }
                unwritten.push(format!("{name} of a message"));
            }
        }
        for message in self.chat.messages.iter() {
            check_reasoning(message)?;
        }
        for name in field_names(answer) {
            if self.is_same_after(|chat| remove(&mut chat.messages[last..], &name)) {
                if LEARNED.contains(&&*name) {
                    return Err(DataError::NotWritten { field: format!("`{name}` of the answer") });
                }
                unwritten.push(format!("{name} of the answer"));
            }
        }
        Ok(())
    }
}

/// How a template that expects text prints a list of parts.
const PRINTED_PARTS: &[&str] = &["{'type': 'text'", "{'text': "];

/// Names of the further fields of some messages that hold something.
fn field_names(messages: &[Message]) -> Vec<String> {
    let holds = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        Value::Object(parts) => !parts.is_empty(),
        _ => true,
    };
    let mut names: Vec<String> = Vec::new();
    for message in messages {
        for name in message.extra_fields() {
            if holds(&message.fields()[name]) && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// Removes a field; reasoning goes under all of its names.
fn remove(messages: &mut [Message], name: &str) {
    let names = match REASONING_FIELDS.contains(&name) {
        true => &REASONING_FIELDS[..],
        false => &[name],
    };
    for message in messages {
        let mut fields = message.fields().clone();
        for name in names {
            fields.shift_remove(*name);
        }
        *message = Message::from_fields(fields);
    }
}

/// Refuses two different reasonings: a template is given one.
fn check_reasoning(message: &Message) -> Result<(), DataError> {
    let given =
        REASONING_FIELDS.iter().filter_map(|name| Some((name, message.fields().get(*name)?)));
    let mut all = given.filter(|(_, value)| !value.is_null());
    let Some((first, reasoning)) = all.next() else { return Ok(()) };
    match all.find(|(_, other)| *other != reasoning) {
        Some((other, _)) => {
            let field = format!("`{other}` next to a different `{first}`");
            Err(DataError::NotWritten { field })
        }
        None => Ok(()),
    }
}

/// Gives a message another text, in the form that its content has.
fn replace_text(chat: &mut Conversation, index: usize) {
    let mut fields = chat.messages[index].fields().clone();
    let other = |text: &str| Value::String(format!("{text}x"));
    match fields.get_mut("content") {
        Some(Value::Array(parts)) => {
            for part in parts {
                match part {
                    Value::String(text) => *part = other(text),
                    Value::Object(fields) => {
                        if let Some(Value::String(text)) = fields.get("text") {
                            let text = other(text);
                            fields.insert("text".to_owned(), text);
                        }
                    }
                    _ => {}
                }
            }
        }
        Some(content) => *content = other(content.as_str().unwrap_or_default()),
        None => {}
    }
    chat.messages[index] = Message::from_fields(fields);
}
