//! From a row to a question: contexts, continuations, and the right answer.

use minijinja::value::ValueKind;
use revealed_data::{ChatTemplate, GenerationPrompt, Message};

use super::description::{Choices, Metric, OutputType, Target, TaskDescription};
use super::error::TaskError;
use super::fields::Fields;
use super::rows::TaskRow;
use super::template::Field;

/// One question, put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TaskQuestion {
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
pub(super) struct QuestionBuilder<'a> {
    pub task: &'a TaskDescription,
    pub fields: &'a Fields,
    pub form: Form<'a>,
}

/// A question and its answer, as an example shows them.
struct Turn {
    question: String,
    answer: String,
}

impl QuestionBuilder<'_> {
    /// The question of a row after its shots.
    pub fn question(&self, row: &TaskRow, shots: &[&TaskRow]) -> Result<TaskQuestion, TaskError> {
        let (task, fields) = (self.task, self.fields);
        let shots: Vec<Turn> = shots.iter().map(|row| self.turn(row)).collect::<Result<_, _>>()?;
        let description = self.text(&fields.description, row)?;
        let after = |last: &str| self.context(&description, &shots, last);
        let asked = || after(&self.text(&fields.text, row)?);
        // A chat template ends where the answer begins.
        let delimiter = match self.form {
            Form::Chat(_) => "",
            Form::Plain => task.target_delimiter.as_str(),
        };
        let mut question = TaskQuestion::default();
        match task.output_type {
            OutputType::MultipleChoice | OutputType::MultipleContext => {
                question.choices = self.choices(row)?;
                question.gold = self.gold(row, &question.choices)?;
                question.labels = self.labels(row, &question)?;
            }
            OutputType::Loglikelihood | OutputType::GenerateUntil => {
                question.target = self.target(row)?;
            }
        }
        let choices = question.choices.iter();
        question.requests = match task.output_type {
            OutputType::MultipleChoice => {
                let asked = asked()?;
                choices.map(|choice| (asked.clone(), format!("{delimiter}{choice}"))).collect()
            }
            OutputType::MultipleContext => {
                let end = format!("{delimiter}{}", self.target(row)?);
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
        let message = |role: &str, content: &str| Message::new(role, content);
        let mut messages = Vec::new();
        if !description.is_empty() {
            messages.push(message("system", description));
        }
        for Turn { question, answer } in shots {
            messages.extend([message("user", question), message("assistant", answer)]);
        }
        messages.push(message("user", last));
        Ok(template.render(&messages.into(), GenerationPrompt::Add)?)
    }

    /// A shot.
    fn turn(&self, row: &TaskRow) -> Result<Turn, TaskError> {
        let text = || self.text(&self.fields.text, row);
        let right = || -> Result<String, TaskError> {
            let choices = self.choices(row)?;
            let gold = self.gold(row, &choices)?;
            Ok(gold.first().map_or(String::new(), |gold| choices[*gold].clone()))
        };
        Ok(match self.task.output_type {
            OutputType::MultipleChoice => Turn { question: text()?, answer: right()? },
            OutputType::MultipleContext => Turn { question: right()?, answer: self.target(row)? },
            OutputType::Loglikelihood | OutputType::GenerateUntil => {
                Turn { question: text()?, answer: self.target(row)? }
            }
        })
    }

    fn text(&self, field: &Field, row: &TaskRow) -> Result<String, TaskError> {
        self.fields.templates.text(field, row)
    }

    /// The text that is wanted; a blank one would be had for nothing.
    fn target(&self, row: &TaskRow) -> Result<String, TaskError> {
        let field = &self.fields.target;
        let text = match &self.task.doc_to_target {
            Target::Of(_) => self.text(field, row)?,
            Target::Fixed(number) => number.to_string(),
        };
        match text.trim().is_empty() {
            true => Err(self.wrong(field, row, format!("{text:?}"), "a text that is not blank")),
            false => Ok(text),
        }
    }

    fn choices(&self, row: &TaskRow) -> Result<Vec<String>, TaskError> {
        let (Some(field), Some(choices)) = (&self.fields.choice, &self.task.doc_to_choice) else {
            return Ok(Vec::new());
        };
        let expected = "a list of two texts or more, none of them empty";
        let wrong = |found: String| self.wrong(field, row, found, expected);
        let choices = match choices {
            Choices::Fixed(choices) => choices.clone(),
            Choices::Of(_) => {
                let value = self.fields.templates.value(field, row)?;
                let items = value.try_iter().map_err(|_| wrong(value.to_string()))?;
                let texts = items.map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| wrong(value.to_string()))?
            }
        };
        match choices.len() < 2 || choices.iter().any(String::is_empty) {
            true => Err(wrong(format!("{choices:?}"))),
            false => Ok(choices),
        }
    }

    /// Indices of the right choices: a number, its digits, a choice's text, or a list of these.
    fn gold(&self, row: &TaskRow, choices: &[String]) -> Result<Vec<usize>, TaskError> {
        let expected = "the index or the text of a choice";
        let field = match self.task.output_type {
            OutputType::MultipleContext => &self.fields.text,
            _ => &self.fields.target,
        };
        let wrong = |found: String| self.wrong(field, row, found, expected);
        if let (Target::Fixed(number), OutputType::MultipleChoice) =
            (&self.task.doc_to_target, self.task.output_type)
        {
            let there = Some(*number).filter(|number| *number < choices.len());
            return there.map(|gold| vec![gold]).ok_or_else(|| wrong(number.to_string()));
        }
        let value = self.fields.templates.value(field, row)?;
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
            .ok_or_else(|| wrong(value.to_string()))
    }

    /// 1 for the true choices. Where one choice is taken, and not the share of all true ones, the right one has to be among them.
    fn labels(&self, row: &TaskRow, question: &TaskQuestion) -> Result<Vec<f64>, TaskError> {
        let Some(field) = &self.fields.labels else { return Ok(Vec::new()) };
        let value = self.fields.templates.value(field, row)?;
        let labels: Option<Vec<f64>> = value
            .try_iter()
            .ok()
            .and_then(|all| all.map(|label| f64::try_from(label).ok()).collect());
        let wrong = |expected| self.wrong(field, row, value.to_string(), expected);
        let choices = question.choices.len();
        let labels = labels
            .filter(|labels| labels.len() == choices && labels.contains(&1.0))
            .ok_or_else(|| wrong("a number for every choice, 1 for some"))?;
        let takes_one = self.task.metrics.iter().any(|metric| *metric != Metric::Mc2);
        match takes_one && question.gold.iter().any(|gold| labels[*gold] != 1.0) {
            true => Err(wrong("1 for the choice that doc_to_target names")),
            false => Ok(labels),
        }
    }

    fn wrong(
        &self,
        field: &Field,
        row: &TaskRow,
        found: String,
        expected: &'static str,
    ) -> TaskError {
        self.fields.templates.wrong(field, row, found, expected)
    }
}
