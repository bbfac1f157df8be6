//! What can be wrong with data, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Which row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A line of a `.jsonl` file, from 1.
    Line(usize),
    /// An element of a `.json` array or a row of a `.parquet` file, from 1.
    Index(usize),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Index(index) => write!(f, "row {index}"),
        }
    }
}

/// A token as errors show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, specials visible.
    pub text: String,
}

/// Tokens as errors show them: `"text" (id)`, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(pub Vec<Token>);

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        for (index, token) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{:?} ({})", token.text, token.id)?;
        }
        Ok(())
    }
}

/// What is wrong with one row.
#[derive(Debug, thiserror::Error)]
pub enum RowProblem {
    /// Not JSON.
    #[error("it is not valid JSON; mend or remove it")]
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
        "it has {found} messages in `{column}` after the prompt; exactly one, the assistant's, is allowed"
    )]
    SeveralTurns {
        /// The column.
        column: &'static str,
        /// How many there are.
        found: usize,
    },
    /// `chosen` and `rejected` share no beginning that could be the prompt.
    #[error(
        "it has no `prompt`, and `chosen` and `rejected` share no beginning; add a `prompt` column"
    )]
    NoCommonPrompt,
}

/// What is wrong with one line of JSON, and at which column. The parser counts lines from the text that it was given, which is line 1 of every
/// line, so its own message would name another line than the file's.
#[derive(Debug)]
pub struct LineFault(pub serde_json::Error);

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, column) = (self.0.to_string(), self.0.column());
        let place = format!(" at line {} column {column}", self.0.line());
        match text.strip_suffix(&place) {
            Some(reason) => write!(f, "{reason} at column {column}"),
            None => f.write_str(&text),
        }
    }
}

impl std::error::Error for LineFault {}

/// Column names as errors show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        // A row may hold thousands of keys; a message need not.
        const SHOWN: usize = 20;
        write!(f, "{}", self.0.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Everything that can go wrong between a file and tokens.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be read.
    #[error("cannot read {}; check that it exists and can be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of another type.
    #[error("{} ends in neither .jsonl, .json nor .parquet; convert or rename it", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A file without rows.
    #[error("{} holds no rows; give a file with at least one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file beyond the limit.
    #[error("{} has {bytes} bytes, more than the {limit} that are read at once; split it, or use .jsonl", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A `.json` file (data or configuration) that is not JSON.
    #[error("{} is not valid JSON; mend it", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A `.parquet` file that cannot be decoded.
    #[error("{} is not a parquet file that can be read; write it anew (snappy, zstd, gzip or no compression)", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Columns of no known layout.
    #[error("{}: {row} has the columns {found}, expected one of {expected}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The row.
        row: Row,
        /// The columns found.
        found: Columns,
        /// The layouts known.
        expected: &'static str,
    },
    /// A bad row.
    #[error("{}: {row} cannot be used", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row.
        row: Row,
        /// What is wrong with it.
        #[source]
        problem: RowProblem,
    },
    /// A file of another kind than asked for.
    #[error("{} holds {found}, but {expected} are needed here", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The layout found.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// An option out of its range.
    #[error("{name} is {value}; it must be at least 1")]
    Option {
        /// The field.
        name: &'static str,
        /// Its value.
        value: usize,
    },
    /// A model folder without tokenizer.
    #[error("{} has no tokenizer.json; add the one that belongs to the model", folder.display())]
    NoTokenizer {
        /// The model folder.
        folder: PathBuf,
    },
    /// A tokenizer that cannot be loaded.
    #[error("{} is not a tokenizer that can be loaded", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Text the tokenizer refused.
    #[error("the tokenizer cannot encode {text:?}")]
    Encode {
        /// The beginning of the text.
        text: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A configuration file of the model folder with an unusable value.
    #[error("{}: `{field}` is {found}; it must be {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The value found.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// No token ends a completion.
    #[error(
        "{} names no end token; set eos_token in tokenizer_config.json or eos_token_id in \
         generation_config.json",
        folder.display()
    )]
    NoTerminator {
        /// The model folder.
        folder: PathBuf,
    },
    /// A template that does not compile or render.
    #[error("the chat template of {} fails; mend it, or set template to \"none\" or to a file", origin.display())]
    Template {
        /// The file it came from.
        origin: PathBuf,
        /// The cause.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A conversation and no template to write it with.
    #[error(
        "{} has no chat template for a conversation with the roles {roles} (further fields: \
         {fields}); set template to a file, or use prompt and completion as text",
        folder.display()
    )]
    NoTemplate {
        /// The model folder.
        folder: PathBuf,
        /// The roles of the conversation.
        roles: Columns,
        /// What it holds besides text messages.
        fields: Columns,
    },
    /// A conversation, and a template that cannot write any.
    #[error(
        "the chat template cannot be used for conversations; set template to \"none\" or to a file, or \
         give prompt and completion as text"
    )]
    UnusableTemplate {
        /// The cause.
        #[source]
        source: Arc<DataError>,
    },
    /// An answer that is more than text, and no template to write it.
    #[error(
        "the answer has the fields {fields}, which only a chat template can write; give the prompt \
         as messages, or remove them"
    )]
    AnswerNeedsTemplate {
        /// The fields.
        fields: Columns,
    },
    /// A part of the row that the template leaves out.
    #[error(
        "the chat template does not write {field}, so the model would not see it; use a template \
         that does, or remove it from the row"
    )]
    NotWritten {
        /// The part.
        field: String,
    },
    /// Content in parts, and a template that expects text.
    #[error("the chat template does not read {field} as a list of parts; give it as one text")]
    PartsNotTaken {
        /// The message.
        field: String,
    },
    /// A reserved character in a message.
    #[error("a message holds the reserved character U+{code:04X}; remove it")]
    ReservedCharacter {
        /// Its code point.
        code: u32,
    },
    /// Nothing to continue.
    #[error("the prompt has no tokens; a completion needs at least one token before it")]
    EmptyPrompt,
    /// A prompt over the limit.
    #[error(
        "the prompt has {tokens} tokens, more than max_prompt_tokens = {limit}; raise the limit, or have long prompts cut (\"truncate-left\")"
    )]
    PromptTooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// A completion over the limit.
    #[error(
        "the completion has {tokens} tokens, more than max_completion_tokens = {limit}; raise the limit, or have long completions cut (\"truncate\")"
    )]
    CompletionTooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// BOS twice.
    #[error(
        "two BOS tokens begin the prompt: {tokens}; remove the one in the text or in the template"
    )]
    SecondBos {
        /// The first tokens.
        tokens: Tokens,
    },
    /// The prompt alone and the prompt within the whole do not agree.
    #[error(
        "the prompt is not a prefix of prompt and completion: alone it ends {prompt}, followed by \
         the completion it reads {full}; use a template that writes both alike"
    )]
    UnstablePrefix {
        /// The tokens of the prompt from where they part.
        prompt: Tokens,
        /// The tokens of the whole from where they part.
        full: Tokens,
    },
    /// The template writes no stop token after the completion.
    #[error(
        "no stop token follows the completion, so a model trained on it would never stop: it ends \
         {tokens}, and the stop tokens are {stops}; name the template's end token in \
         generation_config.json (eos_token_id), or set template to \"none\""
    )]
    TerminatorOutsideLoss {
        /// The last tokens.
        tokens: Tokens,
        /// The stop tokens.
        stops: Tokens,
    },
    /// The completion holds a stop token.
    #[error(
        "the completion holds the stop token {token}, which would end it early; remove it from the text"
    )]
    StopInCompletion {
        /// The token.
        token: Tokens,
    },
    /// A recipe for another tokenizer.
    #[error("the text recipe has {field} = {recipe}, but the tokenizer of {} gives {found}; use the tokenizer it was made with", folder.display())]
    RecipeMismatch {
        /// The model folder.
        folder: PathBuf,
        /// What differs.
        field: &'static str,
        /// The recipe's value.
        recipe: String,
        /// The folder's value.
        found: String,
    },
    /// A record that cannot be encoded.
    #[error("record {id:?} cannot be encoded")]
    Record {
        /// Its id.
        id: String,
        /// The cause.
        #[source]
        source: Box<DataError>,
    },
}
