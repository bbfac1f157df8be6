//! MT-Bench: questions of two turns, answered by a model and graded by a judge.
//!
//! Protocol, prompts' names, temperatures and files are those of FastChat's `llm_judge`
//! (<https://arxiv.org/abs/2306.05685>, <https://github.com/lm-sys/FastChat>); its data is not part of this crate. Departures
//! from FastChat:
//!
//! | FastChat | here | why |
//! |---|---|---|
//! | a judgement without a rating has score −1, which `show_result` drops | the same in files; counted and reported | the mean's omissions are visible |
//! | any number in brackets is a rating | only 0 to 10 | `[[85]]` and footnotes like `[120]` are no ratings |
//! | one judgement an answer | `k`; an answer's score is the mean of its ratings | how sure the judge is of itself |
//! | the conversation template of the model's name | the model's own chat template | one source of truth |
//! | top-k 50, Transformers' default, at temperatures above 0 | the whole distribution, or the top-k given | explicit, not inherited |
//! | an answer that cannot be made is the text `ERROR` | an empty answer, counted | the same low score, on purpose |
//! | `MODEL.jsonl` and `JUDGE_single.jsonl` are appended to, and rerunning asks again | only what is missing is asked | it costs money |

mod answers;
mod error;
mod generate;
mod pairs;
mod prompts;
mod question_id;
mod questions;
mod record;
mod scores;
mod single;
#[cfg(test)]
pub(crate) mod tests;

pub use answers::{Choice, ModelAnswer, by_question, now, read_answers};
pub use error::MtBenchError;
pub use generate::{AnswerSettings, Answerer, Made, answer_all, temperature};
pub use pairs::matches;
pub use prompts::{JudgePrompt, JudgePrompts, needs_reference};
pub use question_id::QuestionId;
pub use questions::{Question, read_questions};
pub use record::{judge_settings, record_settings};
pub use scores::{Grades, grades};
pub use single::{Grading, SingleJob, SingleJudgment, grade, rating, single_jobs};
