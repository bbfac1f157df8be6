//! What errors show: places, tokens, columns.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Which row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A line of a `.jsonl` file, from 1.
    Line(usize),
    /// An element of a `.json` array or a row of a `.parquet` file, from 1.
    Index(usize),
}

/// Where a row is: the file, and the row in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// The line or row of the file.
    pub row: Row,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.row)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Index(index) => write!(f, "row {index}"),
        }
    }
}

/// A token as errors show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, specials visible.
    pub text: String,
}

/// Tokens as errors show them: `"text" (id)`, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(pub Vec<Token>);

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        for (index, token) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{:?} ({})", token.text, token.id)?;
        }
        Ok(())
    }
}

/// What is wrong with one line of JSON, and at which column. The parser counts lines from the text that it was given, which is line 1 of every
/// line, so its own message would name another line than the file's.
#[derive(Debug)]
pub struct LineFault(pub serde_json::Error);

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, column) = (self.0.to_string(), self.0.column());
        let place = format!(" at line {} column {column}", self.0.line());
        match text.strip_suffix(&place) {
            Some(reason) => write!(f, "{reason} at column {column}")?,
            None => f.write_str(&text)?,
        }
        let half = text.contains("surrogate") || text.contains("hex escape");
        f.write_str(match half {
            true => {
                "; a \\u escape from d800 to dfff is half of a character: write both halves, or the \
                 character itself"
            }
            false => "",
        })
    }
}

impl std::error::Error for LineFault {}

/// Column names as errors show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(none)");
        }
        // A row may hold thousands of keys; a message need not.
        const SHOWN: usize = 20;
        write!(f, "{}", self.0.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
