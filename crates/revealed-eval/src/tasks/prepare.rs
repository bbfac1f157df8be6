//! Builds and tokenizes every question of a run before the first is asked, so that a row that cannot be used is found before
//! any computation. Only tokens are kept of a context, four bytes each.

use super::description::{OutputType, TaskDescription};
use super::encode::{EncodedRequest, TextSide};
use super::error::TaskError;
use super::fields::Fields;
use super::question::{Form, QuestionBuilder, TaskQuestion};
use super::rows::TaskRow;
use super::shots::Shots;

/// A question with its place and its tokens.
pub(super) struct PreparedQuestion {
    /// Of its row, from 0.
    pub index: usize,
    pub part: Option<String>,
    /// Without its requests, which are in `rows`.
    pub question: TaskQuestion,
    /// The rows to score, or the prompt to answer.
    pub rows: Vec<EncodedRequest>,
}

impl PreparedQuestion {
    /// Truncated tokens of the row that lost most.
    pub fn cut(&self) -> usize {
        self.rows.iter().map(|row| row.cut).max().unwrap_or(0)
    }
}

/// The questions of the rows at `places`, in order: shots are drawn on from one to the next.
///
/// # Errors
/// When a row, or a shot, does not give what the task needs, or does not fit the model.
pub(super) fn prepare(
    (task, fields, form): (&TaskDescription, &Fields, Form<'_>),
    (questions, places): (&[TaskRow], &[usize]),
    shots: &mut Shots<'_>,
    text: &TextSide<'_>,
) -> Result<Vec<PreparedQuestion>, TaskError> {
    let builder = QuestionBuilder { task, fields, form };
    let one = |&index: &usize| {
        let row = &questions[index];
        let part = fields.group(row)?;
        let mut question = builder.question(row, &shots.of(row, &part)?)?;
        let requests = std::mem::take(&mut question.requests);
        let rows = requests.iter().map(|(context, after)| match task.output_type {
            OutputType::GenerateUntil => {
                text.prompt(&row.place, context, task.generation.max_gen_toks)
            }
            _ => text.pair(&row.place, context, after),
        });
        Ok(PreparedQuestion {
            index,
            part,
            question,
            rows: rows.collect::<Result<_, TaskError>>()?,
        })
    };
    places.iter().map(one).collect()
}
