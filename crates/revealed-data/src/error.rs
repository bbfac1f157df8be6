//! What can be wrong with data, and what to do about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

mod row;
mod shown;

pub use row::RowProblem;
pub use shown::{Columns, LineFault, Place, Row, Token, Tokens};

fn with_fields(fields: &Columns) -> String {
    match fields.0.is_empty() {
        true => String::new(),
        false => format!(" and the fields {fields}"),
    }
}

fn named(id: &str, place: Option<&Place>) -> String {
    match place {
        Some(place) => format!("{place} (id {id:?})"),
        None => format!("record {id:?}"),
    }
}

/// What to do with a file of an ending that is not read.
fn what_to_do(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "gz" | "zst" | "bz2" | "xz" | "zip" | "lz4" => "decompress it first",
        "arrow" => {
            "it is of a data set that save_to_disk wrote: load it with datasets.load_from_disk and \
             write it with to_parquet or to_json"
        }
        _ => "convert or rename it",
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
    #[error(
        "{} is not a file type that is read (.jsonl, .ndjson, .json, .parquet, .csv, .tsv); {}",
        path.display(), what_to_do(path)
    )]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A folder or pattern without data files, or with files that do not belong together.
    #[error("{}: {reason}", path.display())]
    Files {
        /// The folder or pattern.
        path: PathBuf,
        /// What was found, and what to do.
        reason: String,
    },
    /// A data set of the hub that cannot be fetched.
    #[error("{} is not a file or folder, and it cannot be fetched as a data set of the hub", path.display())]
    Hub {
        /// The name as it was given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<revealed_hub::HubError>,
    },
    /// A file whose rows are all marked as no demonstrations.
    #[error(
        "{} has no demonstration: `label` (or `kto_tag`) is false in all {rows} rows; give a file with \
         rows whose label is true", path.display()
    )]
    AllLeftOut {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: usize,
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
    #[error("{} is not valid JSON; fix it", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A `.parquet` file that cannot be decoded.
    #[error("{} is not a parquet file that can be read{}; write it again with snappy, zstd, gzip or no compression",
        path.display(), row.map(|row| format!(" ({row})")).unwrap_or_default())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The row that fails, if it is one.
        row: Option<Row>,
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
    #[error("the chat template of {} fails; fix it, or set template to \"none\" or to a file", origin.display())]
    Template {
        /// The file it came from.
        origin: PathBuf,
        /// The cause.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A conversation and no template to write it with.
    #[error(
        "{} has no chat template for a conversation with the roles {roles}{}; set template to a \
         file, or use prompt and completion as text",
        folder.display(), with_fields(fields)
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
    #[error("{} cannot be encoded", named(id, place.as_ref()))]
    Record {
        /// Its id.
        id: String,
        /// Where it is; none if it was not read from a file.
        place: Option<Place>,
        /// The cause.
        #[source]
        source: Box<DataError>,
    },
}
