//! A description's fields, parsed once and asked of every row.

use super::description::{Choices, Target, TaskDescription};
use super::error::TaskError;
use super::rows::TaskRow;
use super::template::{Field, Templates};

/// The fields that are taken from rows.
pub(super) struct Fields {
    pub templates: Templates,
    pub description: Field,
    pub text: Field,
    /// Of tasks with choices.
    pub choice: Option<Field>,
    pub target: Field,
    pub labels: Option<Field>,
    group: Option<Field>,
}

impl Fields {
    /// Parses them, so that a fault is found before the first row.
    pub fn new(task: &TaskDescription) -> Result<Self, TaskError> {
        let templates = Templates::new(&task.task)?;
        let field = |name, text: &String| templates.field(name, text);
        let choice = match &task.doc_to_choice {
            Some(Choices::Fixed(choices)) => {
                Some(Field::fixed("doc_to_choice", format!("{choices:?}")))
            }
            Some(Choices::Of(text)) => Some(field("doc_to_choice", text)?),
            None => None,
        };
        Ok(Self {
            description: templates.text_or_field("description", &task.description)?,
            text: field("doc_to_text", &task.doc_to_text)?,
            choice,
            target: match &task.doc_to_target {
                Target::Fixed(number) => Field::fixed("doc_to_target", number.to_string()),
                Target::Of(text) => field("doc_to_target", text)?,
            },
            labels: task
                .doc_to_labels
                .as_ref()
                .map(|text| field("doc_to_labels", text))
                .transpose()?,
            group: task.group.as_ref().map(|text| field("group", text)).transpose()?,
            templates,
        })
    }

    /// The group of a row, where the task has groups.
    pub fn group(&self, row: &TaskRow) -> Result<Option<String>, TaskError> {
        self.group.as_ref().map(|field| self.templates.text(field, row)).transpose()
    }
}
