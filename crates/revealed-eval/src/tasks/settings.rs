//! Settings of a run of a task.

use revealed_data::Encoder;
use serde_json::{Map, Value, json};

use super::description::TaskDescription;
use super::rows::TaskRow;

/// Settings of [`run_task`](crate::run_task).
///
/// | field | default | |
/// |---|---|---|
/// | `shots` | the description's | answered examples before every question |
/// | `seed` | 1234, as in lm-evaluation-harness | draws them |
/// | `limit` | all | the first so many rows, of each group where the task has groups |
/// | `prompt` | plain | see [`PromptForm`] |
/// | `batch_size` | 8 | ≥ 1, answers generated together: speed and memory, not results |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSettings {
    /// Answered examples before every question.
    pub shots: Option<usize>,
    /// Draws them.
    pub seed: u64,
    /// The first so many rows.
    pub limit: Option<usize>,
    /// Plain text or a conversation.
    pub prompt: PromptForm,
    /// Answers generated together.
    pub batch_size: usize,
}

/// How shots and question become a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptForm {
    /// As one text.
    Plain,
    /// As turns of the encoder's chat template, the description as the system's message; nothing delimits a choice.
    Chat,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self { shots: None, seed: 1234, limit: None, prompt: PromptForm::Plain, batch_size: 8 }
    }
}

/// The rows of a task: the questions, and the examples that shots are taken from.
#[derive(Debug, Clone, Copy)]
pub struct TaskRows<'a> {
    /// The questions.
    pub questions: &'a [TaskRow],
    /// The rows that shots are drawn from; `None` to draw them from the other questions.
    pub examples: Option<&'a [TaskRow]>,
}

/// The settings for a record, the description included.
pub(super) fn described(
    task: &TaskDescription,
    settings: &TaskSettings,
    shots: usize,
    encoder: &Encoder,
) -> Map<String, Value> {
    let form = match settings.prompt {
        PromptForm::Plain => "plain",
        PromptForm::Chat => "chat",
    };
    let begin: Vec<String> = encoder.prefix().iter().map(|id| encoder.token(*id)).collect();
    Map::from_iter([
        ("shots".into(), json!(shots)),
        ("seed".into(), json!(settings.seed)),
        ("limit".into(), json!(settings.limit)),
        ("prompt".into(), json!(form)),
        ("text_begins_with".into(), json!(begin)),
        // The fields are plain data with text keys, which is always JSON.
        ("description".into(), serde_json::to_value(task).unwrap_or_default()),
    ])
}
