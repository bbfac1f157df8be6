//! Settings of a grading, for a record.

use serde_json::{Map, Value, json};

use super::{AnswerSettings, Grading, JudgePrompts};
use crate::judge::JudgeClient;

/// The judge's settings and the hashes of its prompts.
pub fn judge_settings(client: &JudgeClient, prompts: &JudgePrompts) -> Map<String, Value> {
    Map::from_iter([
        ("judge".to_owned(), json!(client.settings())),
        ("prompts_sha256".to_owned(), json!(prompts.sha256())),
    ])
}

/// Everything that the grades of a model depend on; `answers` are the settings of the answers that it was sampled with.
pub fn record_settings(
    client: &JudgeClient,
    prompts: &JudgePrompts,
    answers: Option<&AnswerSettings>,
    questions: usize,
    grading: &Grading,
) -> Map<String, Value> {
    let mut settings = judge_settings(client, prompts);
    if let Some(answers) = answers {
        settings.insert("answers".into(), json!(answers));
    }
    settings.extend([
        ("ratings".into(), json!("[[n]], else [n]; 0 to 10")),
        ("without_rating".into(), json!("left out of means, counted as unparsed")),
        ("questions".into(), json!(questions)),
        ("left_out_judgments_of_other_settings".into(), json!(grading.others)),
    ]);
    settings
}
