#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod conversation;
mod dataset;
mod encoder;
mod error;
mod files;
mod folder;
mod guard;
mod layout;
mod options;
mod report;
mod rows;
mod split;
mod template;
mod text_folder;
mod tokenizer_file;
mod unreadable;

pub use batch::{BatchPlan, plan_batches, shuffled};
pub use conversation::{Completion, Conversation, Message, Prompt, PromptColumns};
pub use dataset::{
    Dataset, Demonstration, Kind, PlacedRow, Preference, PromptRow, Records, UnreadColumn,
    data_files, read, read_demonstrations, read_preferences, read_prompts, read_rows,
};
pub use encoder::{Dropped, Encoded, EncodedSet, Encoder, TextRecipe};
pub use error::{Columns, DataError, LineFault, Place, Row, RowProblem, Token, Tokens};
pub use guard::panic_is_caught;
pub use layout::prompt_from_json;
pub use options::{EncodeOptions, LongCompletion, LongPrompt, TemplateChoice, TooLong};
pub use report::{DataReport, Lengths, Mark, PreviewRow, PreviewToken, SplitSizes, report};
pub use rows::type_name;
pub use split::{Split, split, split_by};
pub use template::{ChatTemplate, GenerationPrompt};
pub use text_folder::TextFolder;
