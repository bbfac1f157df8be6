//! Answers of a model to questions of two turns; the first answer is part of the second prompt.

use std::collections::HashSet;

use revealed_data::{DataError, Encoder, Message, Prompt};
use revealed_models::{CausalLm, Decoding, SamplingConfig, sample};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Choice, ModelAnswer, MtBenchError, Question, QuestionId, now};
use crate::error::EvalError;
use crate::log::Log;
use crate::progress::{Progress, Stage};
use crate::record::hex;

/// FastChat's temperatures by category; 0 is greedy.
const TEMPERATURES: &[(&str, f64)] = &[
    ("writing", 0.7),
    ("roleplay", 0.7),
    ("extraction", 0.0),
    ("math", 0.0),
    ("coding", 0.0),
    ("reasoning", 0.0),
    ("stem", 0.1),
    ("humanities", 0.1),
    ("arena-hard-200", 0.0),
];

/// FastChat's temperature for a category; 0.7 for one that it does not know.
pub fn temperature(category: &str) -> f64 {
    TEMPERATURES.iter().find(|(name, _)| *name == category).map_or(0.7, |(_, value)| *value)
}

/// How answers are made.
///
/// | field | default | range |
/// |---|---|---|
/// | `max_tokens` | 1024, FastChat's | ≥ 1, per turn, EOS included |
/// | `top_k` | 0 (off) | ≥ 0 |
/// | `batch_size` | 16 | ≥ 1; questions answered together. Part of the seeds, so of the result |
/// | `seed` | 0 | |
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerSettings {
    /// Longest answer to a turn.
    pub max_tokens: usize,
    /// Keep this many likeliest tokens.
    pub top_k: usize,
    /// Questions answered together.
    pub batch_size: usize,
    /// Draws the tokens.
    pub seed: u64,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self { max_tokens: 1024, top_k: 0, batch_size: 16, seed: 0 }
    }
}

/// Counts of a run of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    /// Questions answered by it.
    pub questions: usize,
    /// Turns whose answer was ended by the limit or the model's context.
    pub cut: usize,
    /// Turns that got an empty answer, because the conversation had filled the model's context.
    pub without_room: usize,
}

/// A named model with its encoder.
pub struct Answerer<'a> {
    /// The model.
    pub model: &'a CausalLm,
    /// Its chat template and tokenizer.
    pub encoder: &'a Encoder,
    /// Its name in files.
    pub model_id: &'a str,
    /// Distinguishes it from other models of that name; hashed into the answers' `settings_sha256`.
    pub identity: &'a str,
    /// How it answers.
    pub settings: &'a AnswerSettings,
}

/// Answers the questions that are not among `known`, and appends each answer to the log. Questions of one temperature
/// are answered together, in groups that depend on `questions` and the batch size only, so that a run that was
/// interrupted ends in the same answers.
///
/// # Errors
/// When a known answer was made with other settings; when a prompt cannot be written by the template; when the model
/// fails or the log cannot be written.
pub fn answer_all(
    answerer: &Answerer<'_>,
    questions: &[Question],
    known: &[ModelAnswer],
    log: &mut Log,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Vec<ModelAnswer>, Made), EvalError> {
    let wanted: HashSet<&QuestionId> = questions.iter().map(|each| &each.question_id).collect();
    let known: Vec<&ModelAnswer> =
        known.iter().filter(|answer| wanted.contains(&answer.question_id)).collect();
    let sha256 = answerer.settings_sha256();
    if let Some(other) =
        known.iter().find(|answer| answer.settings_sha256.as_ref() != Some(&sha256))
    {
        let (path, id) = (log.path().to_owned(), other.question_id.clone());
        return Err(MtBenchError::OtherSettings { path, id }.into());
    }
    let have: HashSet<&QuestionId> = known.iter().map(|answer| &answer.question_id).collect();
    let mut answers: Vec<ModelAnswer> = known.iter().map(|answer| (*answer).clone()).collect();
    let mut made = Made::default();
    let mut stage = Stage::start("answering", questions.len(), on_progress);
    stage.add(answers.len(), 0);
    for (index, group) in groups(questions, answerer.settings.batch_size).iter().enumerate() {
        if group.iter().all(|question| have.contains(&question.question_id)) {
            continue;
        }
        let (turns, before) = (answerer.converse(group, index, &mut made)?, made);
        for (question, turns) in group.iter().zip(turns) {
            if !have.contains(&question.question_id) {
                let answer = answerer.row(question, turns, &sha256);
                log.append(&answer)?;
                answers.push(answer);
                made.questions += 1;
            }
        }
        stage.add(made.questions - before.questions, 0);
    }
    Ok((answers, made))
}

/// Questions that are answered together: of one temperature, `size` at most, in order.
fn groups(questions: &[Question], size: usize) -> Vec<Vec<&Question>> {
    let mut by_temperature: Vec<(f64, Vec<&Question>)> = Vec::new();
    for question in questions {
        let value = temperature(&question.category);
        match by_temperature.iter_mut().find(|(known, _)| *known == value) {
            Some((_, group)) => group.push(question),
            None => by_temperature.push((value, vec![question])),
        }
    }
    let chunks =
        |(_, group): &(f64, Vec<_>)| group.chunks(size.max(1)).map(<[_]>::to_vec).collect();
    by_temperature.iter().flat_map::<Vec<_>, _>(chunks).collect()
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

impl Answerer<'_> {
    fn settings_sha256(&self) -> String {
        let settings = serde_json::json!([self.identity, self.settings]);
        hex(&Sha256::digest(settings.to_string()))
    }

    fn row(&self, question: &Question, turns: Vec<String>, sha256: &str) -> ModelAnswer {
        let question_id = question.question_id.clone();
        let digest = Sha256::digest(format!("{} {question_id} {turns:?}", self.model_id));
        ModelAnswer {
            question_id,
            // As long as FastChat's short UUIDs.
            answer_id: hex(&digest[..11]),
            model_id: self.model_id.into(),
            choices: vec![Choice { index: 0, turns }],
            tstamp: now(),
            settings_sha256: Some(sha256.into()),
        }
    }

    /// The answers to all turns of some questions of one temperature.
    fn converse(
        &self,
        group: &[&Question],
        index: usize,
        made: &mut Made,
    ) -> Result<Vec<Vec<String>>, EvalError> {
        let mut conversations: Vec<Vec<Message>> = vec![vec![]; group.len()];
        let mut turns: Vec<Vec<String>> = vec![vec![]; group.len()];
        for turn in 0..group.iter().map(|question| question.turns.len()).max().unwrap_or(0) {
            let asked: Vec<usize> =
                (0..group.len()).filter(|at| group[*at].turns.len() > turn).collect();
            let mut prompts = Vec::new();
            for &at in &asked {
                conversations[at].push(message("user", &group[at].turns[turn]));
                prompts.push(self.prompt(&conversations[at])?);
            }
            let config = self.config(&group[asked[0]].category, index, turn);
            let answers = self.complete(&prompts, &config, made)?;
            for (&at, answer) in asked.iter().zip(answers) {
                conversations[at].push(message("assistant", &answer));
                turns[at].push(answer);
            }
        }
        Ok(turns)
    }

    /// The tokens of a conversation; none where it exceeds the encoder's limit.
    fn prompt(&self, conversation: &[Message]) -> Result<Option<Vec<u32>>, EvalError> {
        match self.encoder.prompt(&Prompt::from(conversation.to_vec())) {
            Ok(ids) => Ok(Some(ids)),
            Err(DataError::PromptTooLong { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn config(&self, category: &str, group: usize, turn: usize) -> SamplingConfig {
        let temperature = temperature(category);
        let digest = Sha256::digest(format!("mt_bench {} {group} {turn}", self.settings.seed));
        let seed = digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        SamplingConfig {
            decoding: if temperature > 0.0 { Decoding::Sample } else { Decoding::Greedy },
            temperature: if temperature > 0.0 { temperature } else { 1.0 },
            top_k: self.settings.top_k,
            max_new_tokens: self.settings.max_tokens,
            batch_size: self.settings.batch_size,
            stop_ids: self.encoder.stop_ids().to_vec(),
            pad_id: self.encoder.pad_id(),
            seed,
            ..SamplingConfig::default()
        }
    }

    /// Completions, each as long as the limit and the model's context allow.
    fn complete(
        &self,
        prompts: &[Option<Vec<u32>>],
        config: &SamplingConfig,
        made: &mut Made,
    ) -> Result<Vec<String>, EvalError> {
        let context = self.model.shape().context;
        let room = |ids: &Option<Vec<u32>>| {
            let ids = ids.as_ref().map_or(context, Vec::len);
            context.saturating_sub(ids).min(config.max_new_tokens)
        };
        let mut rooms: Vec<usize> = prompts.iter().map(room).collect();
        let mut answers = vec![String::new(); prompts.len()];
        made.without_room += rooms.iter().filter(|room| **room == 0).count();
        let all = rooms.clone();
        rooms.sort_unstable();
        rooms.dedup();
        for room in rooms.into_iter().filter(|room| *room > 0) {
            let rows: Vec<usize> = (0..prompts.len()).filter(|at| all[*at] == room).collect();
            let ids: Vec<Vec<u32>> = rows.iter().filter_map(|at| prompts[*at].clone()).collect();
            let config = SamplingConfig { max_new_tokens: room, ..config.clone() };
            for (at, sample) in rows.iter().zip(sample(self.model, &ids, &config)?) {
                made.cut += usize::from(!sample.finished);
                answers[*at] = self.encoder.decode(&sample.token_ids).trim().to_owned();
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_fastchats() {
        let of = |names: [&str; 4]| names.map(temperature);
        assert_eq!(of(["writing", "roleplay", "stem", "humanities"]), [0.7, 0.7, 0.1, 0.1]);
        assert_eq!(of(["extraction", "math", "coding", "reasoning"]), [0.0; 4]);
        assert_eq!((temperature("arena-hard-200"), temperature("other")), (0.0, 0.7));
    }

    #[test]
    fn groups_have_one_temperature_and_keep_the_order() {
        let question = |id, category: &str| Question {
            question_id: QuestionId::Number(id),
            category: category.into(),
            turns: vec!["?".into()],
        };
        let categories = ["writing", "math", "roleplay", "coding", "writing"];
        let questions: Vec<Question> =
            categories.iter().zip(1..).map(|(category, id)| question(id, category)).collect();
        let ids = |group: &Vec<&Question>| -> Vec<String> {
            group.iter().map(|question| question.question_id.to_string()).collect()
        };
        let groups: Vec<Vec<String>> = groups(&questions, 2).iter().map(ids).collect();
        assert_eq!(groups, [vec!["1", "3"], vec!["5"], vec!["2", "4"]]);
    }
}
