//! Columns and fields that would change what is learned, and that are not supported.

use serde_json::Value;

use crate::error::RowProblem;

/// Which values of a column ask for nothing.
#[derive(Clone, Copy)]
enum Harmless {
    /// No value does.
    None,
    /// Empty lists, objects and texts, also nested.
    Empty,
    /// 1 or true, or a list of them.
    One,
    /// 0 or false.
    Zero,
    /// Texts, such as names of topics.
    Texts,
}

const MEDIA: &str = "only text is trained and scored; remove the row, or the column if the text does \
     not refer to it";
const WEIGHT: &str =
    "rows and messages are not weighted; remove what should not count, and the column";
const MASK: &str = "the completion is what is trained and scored, and the prompt is not; remove the \
     column, and write rows whose completion is the part to train";
const TOKENS: &str = "rows are tokenized from their text; remove the column";
const SEVERAL: &str = "a row has one completion; write a row for each, with the same prompt, as \
     `completion`";
const PAIR: &str = "a pair has the columns `chosen` and `rejected`; rename the columns for a file of \
     pairs, or remove this one for demonstrations";
const REASONING: &str = "reasoning belongs to the assistant's message; write the row as `messages` whose \
     last one has `reasoning_content`, or put it into the answer's text, or remove the column";
const LABEL: &str = "it marks answers that are not demonstrations; name the column `label` (false: \
     the row is left out), or remove these rows";
const CALLS: &str = "calls belong to a message; write the row as `messages` whose last one has \
     `tool_calls`, or remove the column";
const TEMPLATE: &str = "variables of the chat template belong into the column `chat_template_kwargs` \
     (an object); move it there, or remove the column";

const COLUMNS: &[(&[&str], Harmless, &str)] = &[
    (&["images", "image", "videos", "video", "audio", "audios"], Harmless::Empty, MEDIA),
    (
        &[
            "weight",
            "weights",
            "sample_weight",
            "sample_weights",
            "example_weight",
            "example_weights",
            "loss_weight",
            "loss_weights",
        ],
        Harmless::One,
        WEIGHT,
    ),
    (&["train"], Harmless::One, WEIGHT),
    (&["train_on_inputs", "train_on_input", "train_on_prompt"], Harmless::Zero, MASK),
    (
        &[
            "mask",
            "masks",
            "train_mask",
            "loss_mask",
            "completion_mask",
            "assistant_mask",
            "assistant_masks",
            "train_detail",
        ],
        Harmless::None,
        MASK,
    ),
    (&["input_ids", "prompt_input_ids", "chosen_input_ids"], Harmless::None, TOKENS),
    (&["labels"], Harmless::Texts, TOKENS),
    (&["completions", "responses"], Harmless::Empty, SEVERAL),
    (&["rejected_response", "rejected_responses", "rejected_messages"], Harmless::Empty, PAIR),
    (
        &["prefix", "suffix"],
        Harmless::Empty,
        "text around the prompt or the completion is not added; write it into the prompt or the \
         completion",
    ),
    (
        &["context"],
        Harmless::Empty,
        "it changes the prompt, and only next to `instruction` is its place known; write it into the \
         prompt, give it as `documents`, or remove the column",
    ),
    (
        &["functions"],
        Harmless::Empty,
        "rename it to `tools`, with each function as {\"type\": \"function\", \"function\": …}",
    ),
    (&["function_call", "tool_calls"], Harmless::Empty, CALLS),
    (
        &["reasoning_content", "reasoning", "thinking", "thoughts", "cot", "chain_of_thought"],
        Harmless::Empty,
        REASONING,
    ),
    (&["desirable", "is_chosen", "is_preferred"], Harmless::One, LABEL),
    (
        &["enable_thinking", "add_generation_prompt", "continue_final_message"],
        Harmless::None,
        TEMPLATE,
    ),
    (
        &["chat_template"],
        Harmless::Empty,
        "all rows take the template of the model or of `data.template`; remove the column",
    ),
    (
        &["system", "system_prompt", "system_message", "history", "tools", "documents"],
        Harmless::Empty,
        "it is not read in a file of this layout; write it into the prompt's messages, or remove it",
    ),
    (
        &["chat_template_kwargs"],
        Harmless::Empty,
        "no chat template is applied to a file of this layout; remove the column",
    ),
];

/// Refuses a column that is not read where it asks for something.
pub(super) fn column(name: &str, value: &Value) -> Result<(), RowProblem> {
    let row = COLUMNS.iter().find(|(names, ..)| names.contains(&name));
    match row {
        Some((_, harmless, reason)) if !harmless.allows(value) => Err(problem(name, value, reason)),
        _ => Ok(()),
    }
}

/// Fields of a message that set whether it is trained.
pub(super) const TRAIN_FIELDS: [&str; 5] = ["weight", "train", "training", "loss", "train_on_turn"];

/// Refuses fields of a message that cannot be honoured. `answer` is whether the message is the one
/// that is trained. Gives whether a field says that the message is not trained.
pub(super) fn message_field(
    column: &str,
    name: &str,
    value: &Value,
    answer: bool,
) -> Result<bool, RowProblem> {
    let path = || format!("{column}.{name}");
    if TRAIN_FIELDS.contains(&name) {
        let untrained = Harmless::Zero.allows(value);
        return match Harmless::One.allows(value) || (untrained && !answer) {
            true => Ok(untrained),
            false => Err(problem(&path(), value, WEIGHT)),
        };
    }
    let rule = match name {
        "images" | "image" | "videos" | "video" | "audio" | "audios" => (Harmless::Empty, MEDIA),
        "mask" | "loss_mask" | "train_detail" | "training_detail" => (Harmless::None, MASK),
        _ => return Ok(false),
    };
    match rule.0.allows(value) {
        true => Ok(false),
        false => Err(problem(&path(), value, rule.1)),
    }
}

fn problem(column: &str, value: &Value, reason: &'static str) -> RowProblem {
    let text = value.to_string();
    let mut found: String = text.chars().take(40).collect();
    if found.len() < text.len() {
        found.push('…');
    }
    RowProblem::Refused { column: column.to_owned(), found, reason }
}

impl Harmless {
    fn allows(self, value: &Value) -> bool {
        match self {
            Self::None => false,
            Self::Empty => is_empty(value),
            Self::One => match value {
                Value::Array(parts) => parts.iter().all(|part| Self::One.allows(part)),
                Value::Null => true,
                other => other.as_bool() == Some(true) || other.as_f64() == Some(1.0),
            },
            Self::Texts => match value {
                Value::Array(parts) => parts.iter().all(Value::is_string),
                other => other.is_string(),
            },
            Self::Zero => value.as_bool() == Some(false) || value.as_f64() == Some(0.0),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        // A cell of a CSV file holds an empty list as text.
        Value::String(text) => matches!(text.trim(), "" | "[]" | "{}"),
        Value::Array(parts) => parts.iter().all(is_empty),
        Value::Object(parts) => parts.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
