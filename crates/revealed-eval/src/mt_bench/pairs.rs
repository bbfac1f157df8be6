//! Two models' answers side by side.

use super::prompts::{Task, about};
use super::{JudgePrompts, ModelAnswer, MtBenchError, Question, by_question};
use crate::error::EvalError;
use crate::pairwise::Match;

/// The matches of two models over all judged turns, with FastChat's pairwise prompts, in both orders.
///
/// # Errors
/// When an answer, a reference or a prompt is missing.
pub fn matches(
    questions: &[Question],
    models: [(&str, &[ModelAnswer]); 2],
    prompts: &JudgePrompts,
    references: &[ModelAnswer],
) -> Result<Vec<Match>, EvalError> {
    let references = by_question(references);
    let models = models.map(|(name, answers)| (name, by_question(answers)));
    let mut matches = Vec::new();
    for question in questions {
        let id = &question.question_id;
        for turn in question.judged_turns() {
            let missing =
                |model: &str| MtBenchError::NoAnswer { model: model.into(), id: id.clone(), turn };
            let [first, second] =
                models.each_ref().map(|(model, all)| all.get(id).copied().ok_or(*model));
            let (first, second) = (first.map_err(missing)?, second.map_err(missing)?);
            let prompt = prompts.choose(Task::Pair, question, turn)?;
            let reference = references.get(id).copied();
            let ask = |a, b| about(prompt, question, turn, &[("_a", a), ("_b", b)], reference);
            matches.push(Match {
                question_id: id.clone(),
                category: Some(question.category.clone()),
                turn,
                prompt: prompt.name.clone(),
                asks: [ask(first, second)?, ask(second, first)?],
            });
        }
    }
    Ok(matches)
}
