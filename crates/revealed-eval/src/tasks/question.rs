//! From a row to what the model is asked: contexts, continuations, and what would be right.

use minijinja::value::ValueKind;
use revealed_data::{ChatTemplate, GenerationPrompt, Message};

use super::description::{Choices, OutputType, Target, TaskDescription};
use super::error::TaskError;
use super::template::{Row, Templates};

/// One question, put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Question {
    /// Contexts with what is scored after each; one with an empty continuation where an answer is generated.
    pub requests: Vec<(String, String)>,
    /// The choices' texts; none where there is nothing to choose.
    pub choices: Vec<String>,
    /// The right ones; none where there is nothing to choose.
    pub gold: Vec<usize>,
    /// 1 for every true choice, where `mc2` asks for it.
    pub labels: Vec<f64>,
    /// The text that is wanted, where there is nothing to choose.
    pub target: String,
}

/// How the shots and the question become one text.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// One after the other.
    Plain,
    /// As turns of a conversation, the description as its system message.
    Chat(&'a ChatTemplate),
}

/// Puts questions of one task together.
pub(super) struct Asker<'a> {
    pub task: &'a TaskDescription,
    pub templates: &'a Templates,
    pub form: Form<'a>,
}

/// A question and its answer, as an example shows them.
struct Turn {
    question: String,
    answer: String,
}

impl Asker<'_> {
    /// The question of a row after its shots, each with its place in its file.
    pub fn question(
        &self,
        index: usize,
        row: &Row,
        shots: &[(usize, &Row)],
    ) -> Result<Question, TaskError> {
        let task = self.task;
        let shots: Vec<Turn> =
            shots.iter().map(|(at, row)| self.turn(*at, row)).collect::<Result<_, _>>()?;
        let description = self.text("description", &task.description, index, row)?;
        let after = |last: &str| self.context(&description, &shots, last);
        let asked = || after(&self.text("doc_to_text", &task.doc_to_text, index, row)?);
        // A chat template ends where the answer begins.
        let delimiter = match self.form {
            Form::Chat(_) => "",
            Form::Plain => task.target_delimiter.as_str(),
        };
        let mut question = Question::default();
        match task.output_type {
            OutputType::MultipleChoice | OutputType::MultipleContext => {
                question.choices = self.choices(index, row)?;
                question.gold = self.gold(index, row, &question.choices)?;
                question.labels = self.labels(index, row, question.choices.len())?;
            }
            OutputType::Loglikelihood | OutputType::GenerateUntil => {
                question.target = self.target(index, row)?;
            }
        }
        let choices = question.choices.iter();
        question.requests = match task.output_type {
            OutputType::MultipleChoice => {
                let asked = asked()?;
                choices.map(|choice| (asked.clone(), format!("{delimiter}{choice}"))).collect()
            }
            OutputType::MultipleContext => {
                let end = format!("{delimiter}{}", self.target(index, row)?);
                choices
                    .map(|choice| Ok((after(choice)?, end.clone())))
                    .collect::<Result<_, TaskError>>()?
            }
            OutputType::Loglikelihood => vec![(asked()?, question.target.clone())],
            OutputType::GenerateUntil => vec![(asked()?, String::new())],
        };
        Ok(question)
    }

    fn context(&self, description: &str, shots: &[Turn], last: &str) -> Result<String, TaskError> {
        let task = self.task;
        let Form::Chat(template) = self.form else {
            let mut text = description.to_owned();
            for Turn { question, answer } in shots {
                text.push_str(question);
                if !answer.is_empty() {
                    text.push_str(&format!("{}{answer}", task.target_delimiter));
                    text.push_str(&task.fewshot_delimiter);
                }
            }
            text.push_str(last);
            return Ok(text);
        };
        let message =
            |role: &str, content: &str| Message { role: role.into(), content: content.into() };
        let mut messages = Vec::new();
        if !description.is_empty() {
            messages.push(message("system", description));
        }
        for Turn { question, answer } in shots {
            messages.extend([message("user", question), message("assistant", answer)]);
        }
        messages.push(message("user", last));
        Ok(template.render(&messages, GenerationPrompt::Add)?)
    }

    /// A shot.
    fn turn(&self, index: usize, row: &Row) -> Result<Turn, TaskError> {
        let text = || self.text("doc_to_text", &self.task.doc_to_text, index, row);
        let right = || -> Result<String, TaskError> {
            let choices = self.choices(index, row)?;
            let gold = self.gold(index, row, &choices)?;
            Ok(gold.first().map_or(String::new(), |gold| choices[*gold].clone()))
        };
        Ok(match self.task.output_type {
            OutputType::MultipleChoice => Turn { question: text()?, answer: right()? },
            OutputType::MultipleContext => {
                Turn { question: right()?, answer: self.target(index, row)? }
            }
            OutputType::Loglikelihood | OutputType::GenerateUntil => {
                Turn { question: text()?, answer: self.target(index, row)? }
            }
        })
    }

    fn text(
        &self,
        field: &'static str,
        text: &str,
        index: usize,
        row: &Row,
    ) -> Result<String, TaskError> {
        self.templates.text(field, text, index, row)
    }

    fn target(&self, index: usize, row: &Row) -> Result<String, TaskError> {
        match &self.task.doc_to_target {
            Target::Of(text) => self.text("doc_to_target", text, index, row),
            Target::Fixed(number) => Ok(number.to_string()),
        }
    }

    fn choices(&self, index: usize, row: &Row) -> Result<Vec<String>, TaskError> {
        let expected = "a list of two texts or more, none of them empty";
        let wrong = |found: String| self.wrong(index, "doc_to_choice", found, expected);
        let choices = match &self.task.doc_to_choice {
            Some(Choices::Fixed(choices)) => choices.clone(),
            Some(Choices::Of(text)) => {
                let value = self.templates.value("doc_to_choice", text, index, row)?;
                let items = value.try_iter().map_err(|_| wrong(value.to_string()))?;
                let texts = items.map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| wrong(value.to_string()))?
            }
            None => Vec::new(),
        };
        match choices.len() < 2 || choices.iter().any(String::is_empty) {
            true => Err(wrong(format!("{choices:?}"))),
            false => Ok(choices),
        }
    }

    /// Indices of the right choices: a number, its digits, a choice's text, or a list of these.
    fn gold(&self, index: usize, row: &Row, choices: &[String]) -> Result<Vec<usize>, TaskError> {
        let (field, text) = match (&self.task.output_type, &self.task.doc_to_target) {
            (OutputType::MultipleContext, _) => ("doc_to_text", &self.task.doc_to_text),
            (_, Target::Of(text)) => ("doc_to_target", text),
            (_, Target::Fixed(number)) => return self.one(index, *number as i64, choices),
        };
        let expected = "the index or the text of a choice";
        let value = self.templates.value(field, text, index, row)?;
        let one = |value: &minijinja::Value| -> Option<usize> {
            let text = value.as_str();
            let number = match text {
                Some(text) => text.parse().ok(),
                None => i64::try_from(value.clone()).ok(),
            };
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.or_else(|| choices.iter().position(|choice| Some(choice.as_str()) == text))
        };
        let gold: Option<Vec<usize>> = match value.kind() {
            ValueKind::Seq => value.try_iter().ok().and_then(|all| all.map(|v| one(&v)).collect()),
            _ => one(&value).map(|gold| vec![gold]),
        };
        gold.filter(|gold| !gold.is_empty() && gold.iter().all(|gold| *gold < choices.len()))
            .ok_or_else(|| self.wrong(index, field, format!("{value}"), expected))
    }

    fn one(&self, index: usize, gold: i64, choices: &[String]) -> Result<Vec<usize>, TaskError> {
        let found = usize::try_from(gold).ok().filter(|gold| *gold < choices.len());
        let expected = "the index or the text of a choice";
        found
            .map(|gold| vec![gold])
            .ok_or_else(|| self.wrong(index, "doc_to_target", gold.to_string(), expected))
    }

    fn labels(&self, index: usize, row: &Row, choices: usize) -> Result<Vec<f64>, TaskError> {
        let Some(text) = &self.task.doc_to_labels else { return Ok(Vec::new()) };
        let value = self.templates.value("doc_to_labels", text, index, row)?;
        let labels: Option<Vec<f64>> = value
            .try_iter()
            .ok()
            .and_then(|all| all.map(|label| f64::try_from(label).ok()).collect());
        let expected = "a number for every choice, 1 for some";
        labels
            .filter(|labels| labels.len() == choices && labels.contains(&1.0))
            .ok_or_else(|| self.wrong(index, "doc_to_labels", value.to_string(), expected))
    }

    fn wrong(
        &self,
        row: usize,
        field: &'static str,
        found: String,
        expected: &'static str,
    ) -> TaskError {
        let found = if found.is_empty() { "nothing".into() } else { found };
        TaskError::Row { task: self.task.task.clone(), row, field, found, expected }
    }
}
