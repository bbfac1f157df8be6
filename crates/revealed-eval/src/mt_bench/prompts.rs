//! The judge's prompts, from FastChat's `judge_prompts.jsonl`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{ModelAnswer, MtBenchError, Question};
use crate::error::EvalError;
use crate::judge::{Ask, fill};
use crate::log::read_lines;
use crate::record::hex;

/// Categories that are judged against a reference answer.
const REFERENCE: &[&str] = &["math", "reasoning", "coding", "arena-hard-200"];

/// Whether answers of this category are judged against a reference.
pub fn needs_reference(category: &str) -> bool {
    REFERENCE.contains(&category)
}

/// One prompt; other keys are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JudgePrompt {
    /// Such as `single-v1`.
    pub name: String,
    /// The system message.
    pub system_prompt: String,
    /// The user's message, with `{question}` and the like.
    pub prompt_template: String,
    /// Format of the verdict: `[[rating]]`, `[[A]]`.
    pub output_format: String,
}

/// The prompts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgePrompts {
    path: PathBuf,
    by_name: BTreeMap<String, JudgePrompt>,
}

/// The judge's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Rate one answer.
    Single,
    /// Choose between two.
    Pair,
}

impl Task {
    /// FastChat's name of the prompt for a question's turn.
    fn prompt(self, category: &str, turn: usize) -> String {
        let base = match (self, needs_reference(category)) {
            (Self::Single, false) => "single-v1",
            (Self::Single, true) => "single-math-v1",
            (Self::Pair, false) => "pair-v2",
            (Self::Pair, true) => "pair-math-v1",
        };
        format!("{base}{}", if turn == 2 { "-multi-turn" } else { "" })
    }

    fn output_format(self) -> &'static str {
        match self {
            Self::Single => "[[rating]]",
            Self::Pair => "[[A]]",
        }
    }
}

impl JudgePrompts {
    /// Reads `judge_prompts.jsonl`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let prompts: Vec<JudgePrompt> = read_lines(path)?;
        let by_name = prompts.into_iter().map(|prompt| (prompt.name.clone(), prompt)).collect();
        Ok(Self { path: path.into(), by_name })
    }

    /// SHA-256 of each prompt's system message and template, by name.
    pub fn sha256(&self) -> BTreeMap<&str, String> {
        let hash = |prompt: &JudgePrompt| {
            let hasher = Sha256::new()
                .chain_update(&prompt.system_prompt)
                .chain_update([0])
                .chain_update(&prompt.prompt_template);
            hex(&hasher.finalize())
        };
        self.by_name.values().map(|prompt| (prompt.name.as_str(), hash(prompt))).collect()
    }

    /// The prompt that FastChat uses for a turn of a question.
    pub(super) fn choose(
        &self,
        task: Task,
        question: &Question,
        turn: usize,
    ) -> Result<&JudgePrompt, MtBenchError> {
        let name = task.prompt(&question.category, turn);
        let Some(prompt) = self.by_name.get(&name) else {
            return Err(MtBenchError::NoPrompt { path: self.path.clone(), name });
        };
        match prompt.output_format == task.output_format() {
            true => Ok(prompt),
            false => Err(MtBenchError::OutputFormat {
                name,
                found: prompt.output_format.clone(),
                expected: task.output_format(),
            }),
        }
    }
}

/// The prompt about some answers to a turn, each answer with the mark that its name in the template has: none for a
/// single one, `_a` and `_b` for two.
pub(super) fn about(
    prompt: &JudgePrompt,
    question: &Question,
    turn: usize,
    answers: &[(&str, &ModelAnswer)],
    reference: Option<&ModelAnswer>,
) -> Result<Ask, EvalError> {
    let id = || question.question_id.clone();
    let mut values: Vec<(String, &str)> = Vec::new();
    for (at, asked) in (1..).zip(question.turns.iter().take(turn)) {
        let numbered = |name: String| if turn == 1 { name } else { format!("{name}_{at}") };
        values.push((numbered("question".into()), asked));
        for (mark, answer) in answers {
            let text = answer.turn(at).ok_or_else(|| MtBenchError::NoAnswer {
                model: answer.model_id.clone(),
                id: id(),
                turn: at,
            })?;
            values.push((numbered(format!("answer{mark}")), text));
        }
        if needs_reference(&question.category) {
            let text = reference.and_then(|reference| reference.turn(at));
            let text = text.ok_or_else(|| MtBenchError::NoReference {
                id: id(),
                category: question.category.clone(),
                turn: at,
            })?;
            values.push((format!("ref_answer_{at}"), text));
        }
    }
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, *value)).collect();
    let user = fill(&prompt.prompt_template, &values)?;
    Ok(Ask { system: prompt.system_prompt.clone(), user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_chosen_as_fastchat_chooses_them() {
        let names = |task: Task| {
            [("writing", 1), ("writing", 2), ("coding", 1), ("reasoning", 2), ("stem", 1)]
                .map(|(category, turn)| task.prompt(category, turn))
        };
        let single =
            ["single-v1", "single-v1-multi-turn", "single-math-v1", "single-math-v1-multi-turn"];
        assert_eq!(names(Task::Single)[..4], single);
        assert_eq!(names(Task::Single)[4], "single-v1");
        let pair = ["pair-v2", "pair-v2-multi-turn", "pair-math-v1", "pair-math-v1-multi-turn"];
        assert_eq!(names(Task::Pair)[..4], pair);
        assert!(needs_reference("arena-hard-200") && !needs_reference("humanities"));
    }
}
