//! Prompts, completions and the messages that they consist of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a conversation: the object that a chat template reads, with `role`, `content` and
/// fields such as `tool_calls`, `reasoning_content` or `name`.
///
/// `content` is text, a list of text parts (`{"type": "text", "text": …}`), or null in a message
/// that only calls tools. Files are checked for this when they are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Message {
    fields: Map<String, Value>,
}

impl Message {
    /// A message of text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("role".to_owned(), Value::String(role.into()));
        fields.insert("content".to_owned(), Value::String(content.into()));
        Self { fields }
    }

    /// A message with the fields of a JSON object, in their order.
    pub fn from_fields(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// All fields, as the chat template sees them.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// `role`: `system`, `user`, `assistant`, `tool`, or another that the template knows; empty if
    /// there is none.
    pub fn role(&self) -> &str {
        self.fields.get("role").and_then(Value::as_str).unwrap_or_default()
    }

    /// `content` as text, with its whitespace: text parts are joined, null is empty.
    pub fn text(&self) -> Cow<'_, str> {
        match self.fields.get("content") {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Array(parts)) => parts.iter().filter_map(part_text).collect(),
            _ => Cow::Borrowed(""),
        }
    }

    /// The names of the fields other than `role` and `content`.
    pub fn extra_fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str).filter(|name| !matches!(*name, "role" | "content"))
    }

    /// Whether it is `role` and a text as `content`, and nothing else.
    pub fn is_plain(&self) -> bool {
        self.extra_fields().next().is_none()
            && self.fields.get("content").is_some_and(Value::is_string)
    }
}

fn part_text(part: &Value) -> Option<&str> {
    part.as_str().or_else(|| part.get("text")?.as_str())
}

/// Messages and what else a chat template is given with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Conversation {
    /// The messages in order.
    pub messages: Vec<Message>,
    /// The tools that the assistant may call, one JSON schema each.
    pub tools: Option<Vec<Value>>,
    /// The documents that the answer may use.
    pub documents: Option<Vec<Value>>,
    /// Further variables of the template, such as `enable_thinking`.
    pub chat_template_kwargs: Map<String, Value>,
}

impl Conversation {
    /// Whether the template is given plain messages and nothing else.
    pub fn is_plain(&self) -> bool {
        self.tools.is_none()
            && self.documents.is_none()
            && self.chat_template_kwargs.is_empty()
            && self.messages.iter().all(Message::is_plain)
    }
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }
}

/// A conversation in JSON: a list of messages, or an object where there is more than these.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Messages(Vec<Message>),
    Full {
        messages: Vec<Message>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tools: Option<Vec<Value>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        documents: Option<Vec<Value>>,
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        chat_template_kwargs: Map<String, Value>,
    },
}

impl From<Conversation> for Written {
    fn from(conversation: Conversation) -> Self {
        let Conversation { messages, tools, documents, chat_template_kwargs } = conversation;
        match tools.is_none() && documents.is_none() && chat_template_kwargs.is_empty() {
            true => Self::Messages(messages),
            false => Self::Full { messages, tools, documents, chat_template_kwargs },
        }
    }
}

impl From<Written> for Conversation {
    fn from(written: Written) -> Self {
        match written {
            Written::Messages(messages) => messages.into(),
            Written::Full { messages, tools, documents, chat_template_kwargs } => {
                Self { messages, tools, documents, chat_template_kwargs }
            }
        }
    }
}

/// What a completion answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Plain text, continued as it is; no chat template is applied to it.
    Text(String),
    /// A conversation, written by the chat template.
    Chat(Conversation),
}

impl Prompt {
    /// Its words, message by message, without roles and with single spaces: equal for the same
    /// prompt as text and as a message.
    pub fn words(&self) -> String {
        let texts: Vec<Cow<'_, str>> = match self {
            Self::Text(text) => vec![text.into()],
            Self::Chat(chat) => chat.messages.iter().map(Message::text).collect(),
        };
        texts.iter().flat_map(|text| text.split_whitespace()).collect::<Vec<_>>().join(" ")
    }
}

impl Prompt {
    /// The columns of a row that reads as this prompt again.
    pub fn columns(&self) -> PromptColumns<'_> {
        match self {
            Self::Text(text) => {
                let prompt = TextOrMessages::Text(text);
                PromptColumns { prompt, tools: None, documents: None, chat_template_kwargs: None }
            }
            Self::Chat(chat) => PromptColumns {
                prompt: TextOrMessages::Messages(&chat.messages),
                tools: chat.tools.as_deref(),
                documents: chat.documents.as_deref(),
                chat_template_kwargs: Some(&chat.chat_template_kwargs)
                    .filter(|all| !all.is_empty()),
            },
        }
    }
}

/// A prompt as columns of a row: `prompt`, and what belongs to it.
#[derive(Debug, Clone, Serialize)]
pub struct PromptColumns<'a> {
    prompt: TextOrMessages<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a [Value]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<&'a [Value]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_kwargs: Option<&'a Map<String, Value>>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum TextOrMessages<'a> {
    Text(&'a str),
    Messages(&'a [Message]),
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Self::Chat(messages.into())
    }
}

/// The assistant's answer: text, or a message with further fields such as `tool_calls`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Completion(Message);

impl Completion {
    /// The answer that a message of the assistant gives.
    pub fn from_message(message: Message) -> Self {
        Self(message)
    }

    /// The message that a chat template writes.
    pub fn message(&self) -> &Message {
        &self.0
    }

    /// The text of its `content`; empty for an answer that only calls tools.
    pub fn text(&self) -> Cow<'_, str> {
        self.0.text()
    }
}

impl From<&str> for Completion {
    fn from(text: &str) -> Self {
        Self(Message::new("assistant", text))
    }
}

impl From<String> for Completion {
    fn from(text: String) -> Self {
        Self(Message::new("assistant", text))
    }
}

impl Serialize for Completion {
    /// Text where it is nothing else, the whole message otherwise.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_plain() {
            true => self.0.text().serialize(serializer),
            false => self.0.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompts_are_written_as_lists_where_messages_are_all_and_read_back() {
        let plain = Prompt::from(vec![Message::new("user", "hi")]);
        assert_eq!(
            serde_json::to_value(&plain).unwrap(),
            json!([{"role": "user", "content": "hi"}])
        );
        let tools = Some(vec![json!({"type": "function"})]);
        let messages = vec![Message::new("user", "hi")];
        let full = Prompt::Chat(Conversation { messages, tools, ..Conversation::default() });
        for prompt in [plain, full, Prompt::Text("a".to_owned())] {
            let text = serde_json::to_string(&prompt).unwrap();
            assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt, "{text}");
        }
    }

    #[test]
    fn a_prompt_s_columns_are_those_of_a_row() {
        let messages = vec![Message::new("user", "hi")];
        let tools = Some(vec![json!({"type": "function"})]);
        let prompt = Prompt::Chat(Conversation { messages, tools, ..Conversation::default() });
        assert_eq!(
            serde_json::to_value(prompt.columns()).unwrap(),
            json!({"prompt": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]})
        );
        let text = Prompt::Text("a".to_owned());
        assert_eq!(serde_json::to_value(text.columns()).unwrap(), json!({"prompt": "a"}));
    }

    #[test]
    fn parts_are_joined_and_calls_have_no_text() {
        let fields = json!({"role": "user", "content": [{"type": "text", "text": "a "},
            {"type": "text", "text": "b"}]});
        let message: Message = serde_json::from_value(fields).unwrap();
        assert_eq!((message.role(), &*message.text()), ("user", "a b"));
        assert!(!message.is_plain());
        let call: Message =
            serde_json::from_value(json!({"role": "assistant", "content": null, "tool_calls": []}))
                .unwrap();
        assert_eq!(call.extra_fields().collect::<Vec<_>>(), ["tool_calls"]);
        assert_eq!(Completion::from_message(call).text(), "");
    }
}
