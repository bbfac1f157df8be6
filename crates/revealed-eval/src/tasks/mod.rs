//! Multiple-choice and generation benchmarks as lm-evaluation-harness runs them.
//!
//! A task is data: a [`TaskDescription`] defines how a row becomes a question, and the rows come from the user's files.
//! [`run_task`] builds the questions, scores or answers them, and returns figures with every item. A prefix that contexts
//! share is run through the model once.

mod answer;
mod builtin;
mod description;
mod encode;
mod error;
mod fields;
mod metrics;
mod prepare;
mod question;
mod random;
mod rows;
mod run;
mod settings;
mod shots;
mod template;
#[cfg(test)]
mod tests;

pub use builtin::builtin_tasks;
pub use description::{
    Choices, ExactMatch, Filter, Generation, Metric, OutputType, Sampler, Target, TaskDescription,
};
pub use error::{FieldAt, TaskError};
pub use metrics::TaskFigure;
pub use rows::{Columns, Place, TaskRow, read_rows};
pub use run::{TaskResult, run_task};
pub use settings::{PromptForm, TaskRows, TaskSettings};
