//! What can be wrong with one row.

use super::{Columns, LineFault};

/// What is wrong with one row.
#[derive(Debug, thiserror::Error)]
pub enum RowProblem {
    /// Not JSON.
    #[error("it is not valid JSON; fix or remove it")]
    Json(#[source] LineFault),
    /// Not text.
    #[error("it is not valid UTF-8; convert the file to UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// Longer than a row may be.
    #[error("it is longer than {limit} bytes; remove it, or write one JSON object a line")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// JSON, but not an object.
    #[error("it is {found}, but a row must be a JSON object with named columns")]
    NotAnObject {
        /// The JSON type found.
        found: &'static str,
    },
    /// A column this file's layout needs is missing.
    #[error("it lacks the column `{column}` of a file of {kind}; its columns are {found}")]
    MissingColumn {
        /// The column.
        column: &'static str,
        /// The layout.
        kind: &'static str,
        /// The columns found.
        found: Columns,
    },
    /// A column of another type.
    #[error("it holds {found} in `{column}`, which must be {expected}")]
    WrongType {
        /// The column.
        column: String,
        /// The JSON type found.
        found: &'static str,
        /// The types allowed.
        expected: &'static str,
    },
    /// A NUL character in a text.
    #[error("it holds a NUL character in `{column}`; remove it")]
    Nul {
        /// The column.
        column: String,
    },
    /// A conversation without an answer.
    #[error(
        "it ends with the role {found:?} in `{column}`; the last message must be the assistant's, \
         which is the completion"
    )]
    LastRole {
        /// The column.
        column: &'static str,
        /// The role found.
        found: String,
    },
    /// A conversation without messages, or with nothing before the answer.
    #[error("it has {found} messages in `{column}`; at least {needed} are needed")]
    TooFewMessages {
        /// The column.
        column: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        needed: usize,
    },
    /// A completion of several messages.
    #[error(
        "it has {found} messages in `{column}` after the prompt; only one, the assistant's last, is \
         trained and scored: move the earlier ones to the end of the prompt, or write a row for each \
         answer"
    )]
    SeveralTurns {
        /// The column.
        column: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A prompt that ends with the assistant.
    #[error(
        "the last message in `{column}` is the assistant's; an answer that has begun is not continued: \
         end the prompt with the user or a tool, and put the whole answer into the completion"
    )]
    StartedAnswer {
        /// The column.
        column: &'static str,
    },
    /// `chosen` and `rejected` share no beginning that could be the prompt.
    #[error(
        "it has no `prompt`, and `chosen` and `rejected` share no beginning; add a `prompt` column"
    )]
    NoCommonPrompt,
    /// A record of a CSV file with more or fewer cells than the header.
    #[error(
        "it has {found} cells, but the header has {expected}; quote cells that hold the separator or \
         a line break"
    )]
    Cells {
        /// The cells of the row.
        found: u64,
        /// The cells of the header.
        expected: u64,
    },
    /// A header with the same name twice.
    #[error("the header has the column `{column}` twice; rename one")]
    HeaderTwice {
        /// The column.
        column: String,
    },
    /// A value that is not JSON and not text, in a column that is read.
    #[error("it holds {found} in `{column}`, which is read; write it as text or as a JSON number")]
    Unreadable {
        /// The column, with the path to the value.
        column: String,
        /// What it is.
        found: String,
    },
    /// A column, or a field of a message, that asks for something that is not supported.
    #[error("it has `{column}` = {found}: {reason}")]
    Refused {
        /// The column, with the path to the value.
        column: String,
        /// The value, shortened.
        found: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// A row of text alone.
    #[error(
        "it has `text` and nothing that separates a prompt from its completion; write the row as \
         `prompt` and `completion`, or as `messages`"
    )]
    TextOnly,
    /// Columns that could both be the prompt, or the answer.
    #[error("it has the columns {columns}, {reason}")]
    Ambiguous {
        /// The columns.
        columns: Columns,
        /// Why that is ambiguous, and what to do.
        reason: &'static str,
    },
    /// A quote in a CSV file that is not closed.
    #[error("a cell opens with a quote that nothing closes; close it, or write the quote twice")]
    OpenQuote,
    /// A column that belongs to another layout than the first row's.
    #[error(
        "it has `{column}`, which is not read in a file of {kind} and does not repeat what is read; the \
         first row decides what a file is: if its answer is empty or missing, fill it or remove that row; \
         otherwise remove the column, or rename columns so that one layout is left"
    )]
    OtherLayout {
        /// The column.
        column: String,
        /// The layout of the file.
        kind: &'static str,
    },
    /// Pairs of texts without a prompt, next to a text that could be it.
    #[error(
        "it has no `prompt`, and the column `{column}` could hold it; rename that column to `prompt` \
         or `question`, or remove it if it is not the prompt"
    )]
    PossiblePrompt {
        /// The column.
        column: String,
    },
    /// A column for a chat template, next to a prompt that no template writes.
    #[error(
        "it has `{column}`, but `prompt` is plain text, which no chat template is applied to; give \
         `prompt` as a list of messages, or remove `{column}`"
    )]
    PlainText {
        /// The column.
        column: &'static str,
    },
    /// A plain text prompt with messages as its answer.
    #[error(
        "it holds text in `prompt` and messages in `{column}`; give both as text, or both as messages"
    )]
    Mixed {
        /// The column of the answer.
        column: &'static str,
    },
    /// Text that should hold JSON.
    #[error(
        "the text in `{column}` is not JSON; store the list or object itself, or the text that \
         json.dumps gives (not Python's str)"
    )]
    JsonText {
        /// The column.
        column: String,
        /// The cause.
        #[source]
        source: LineFault,
    },
    /// Messages that were stored as text where plain text is allowed.
    #[error(
        "the text in `{column}` is a list of messages that was stored as text; store the list itself, \
         or name the column `messages`"
    )]
    StoredAsText {
        /// The column.
        column: String,
    },
    /// A part of a message's content that is not text.
    #[error(
        "it holds a content part of the type {found} in `{column}`; only parts with the type \"text\" \
         are trained and scored: remove the part or the row"
    )]
    Part {
        /// The column, with the path to the part.
        column: String,
        /// The type found.
        found: String,
    },
    /// A `from` that no role corresponds to.
    #[error(
        "it has \"from\": {found:?} in `{column}`; known are human, user, gpt, chatgpt, bot, model, \
         assistant, system, function_call, observation, function_response and tool"
    )]
    From {
        /// The column, with the path to the message.
        column: String,
        /// The name found.
        found: String,
    },
    /// A `function_call` of a ShareGPT file that is not a call.
    #[error(
        "the function_call in `{column}` is not a JSON object with `name` and `arguments`, or a list \
         of them; write it so, or use `messages` with `tool_calls`"
    )]
    FunctionCall {
        /// The column, with the path to the message.
        column: String,
    },
    /// A system prompt in a column and another one in the messages.
    #[error("it has `{column}` and another system message in the conversation; keep one of them")]
    SystemTwice {
        /// The column.
        column: &'static str,
    },
}
