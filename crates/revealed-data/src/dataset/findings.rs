//! What reading a file found apart from its rows.

use std::collections::BTreeMap;

use serde::Serialize;

/// A column that changes nothing: it is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadColumn {
    /// The column.
    pub name: String,
    /// The rows in which it is not null.
    pub rows: usize,
}

/// Names shown in one note.
const SHOWN: usize = 20;

/// Counts over the rows of a file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    unread: Vec<UnreadColumn>,
    place: BTreeMap<String, usize>,
    read_as: Vec<(&'static str, &'static str)>,
    /// Rows whose label is false.
    pub(crate) left_out: usize,
    /// Rows with a message before the answer that is marked as not trained.
    pub(crate) untrained: usize,
}

impl Findings {
    /// Counts a column that was not read in a row.
    pub(crate) fn unread(&mut self, name: &str) {
        match self.place.get(name) {
            Some(&at) => self.unread[at].rows += 1,
            None => {
                self.place.insert(name.to_owned(), self.unread.len());
                self.unread.push(UnreadColumn { name: name.to_owned(), rows: 1 });
            }
        }
    }

    /// Notes what a column was taken as, where its name alone does not tell.
    pub(crate) fn read_as(&mut self, column: &'static str, meaning: &'static str) {
        if !self.read_as.contains(&(column, meaning)) {
            self.read_as.push((column, meaning));
        }
    }

    /// The columns that were not read in any row, or in some.
    pub(crate) fn unread_columns(&self) -> Vec<UnreadColumn> {
        self.unread.clone()
    }

    /// One sentence for each thing that a reader of the file should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.read_as.is_empty() {
            let columns: Vec<String> = self
                .read_as
                .iter()
                .map(|(column, meaning)| format!("`{column}` ({meaning})"))
                .collect();
            notes.push(format!("columns are read as: {}", columns.join(", ")));
        }
        if self.left_out > 0 {
            notes.push(format!(
                "{} rows are left out because their `label` (or `kto_tag`) is false: only rows with true \
                 are demonstrations",
                self.left_out
            ));
        }
        if self.untrained > 0 {
            notes.push(format!(
                "{} rows mark an earlier message as not trained (`weight`, `train` or `loss`): only the \
                 last message of a row is trained in any case",
                self.untrained
            ));
        }
        if !self.unread.is_empty() {
            notes.push(self.list_of_unread());
        }
        notes
    }

    fn list_of_unread(&self) -> String {
        let shown: Vec<String> = self
            .unread
            .iter()
            .take(SHOWN)
            .map(|UnreadColumn { name, rows }| format!("`{}` ({rows} rows)", name.escape_debug()))
            .collect();
        let more = match self.unread.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("columns that are not read: {}{more}", shown.join(", "))
    }
}
