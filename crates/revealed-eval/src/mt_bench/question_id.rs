//! Ids of questions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A question's name: a number in MT-Bench, text in its kin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuestionId {
    /// As in MT-Bench.
    Number(u64),
    /// As in Arena-Hard, and of rows that are no benchmark's.
    Text(String),
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
