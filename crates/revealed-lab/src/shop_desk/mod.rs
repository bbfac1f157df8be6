//! A task small enough for two CPU cores, with a known reward.
//!
//! A customer's note names a customer, an item and a problem; the shop desk answers it. The base
//! model learns from a careless [`Writer::Clerk`]; the demonstrations are by a good
//! [`Writer::Demonstrator`]; [`gold`] is the true reward of a reply. One seed determines all data: [`task`].

mod folder;
mod gold;
mod note;
mod task;
mod world;
mod writer;

pub use folder::{config_json, tokenizer_config_json, tokenizer_json, write_jsonl};
pub use gold::{CRITERIA, Gold, gold};
pub use note::Note;
pub use task::{Task, TaskSize, notes, task, task_of_size};
pub use world::{BOS, EOS, ITEMS, MAX_REPLY_WORDS, NAMES, PAD, PROBLEMS, REMEDIES, vocabulary};
pub use writer::{Setting, Writer, reply};

#[cfg(test)]
mod tests;
