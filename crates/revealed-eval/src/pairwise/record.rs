//! Settings of a pairwise comparison, for a record.

use serde_json::{Map, Value, json};

use super::SYSTEM;
use crate::judge::JudgeClient;

/// The rules by which matches are decided.
pub fn win_rules() -> Map<String, Value> {
    let rules = [
        ("win", "both orders agree on it; anything else is a tie"),
        ("verdicts", "[[A]], else [[B]], else [[C]]"),
        ("without_verdict", "the match is left out, the game counted as unparsed"),
    ];
    rules.into_iter().map(|(key, rule)| (key.to_owned(), json!(rule))).collect()
}

/// The judge's settings and the template of matches between rows; `unmatched` counts the rows of each file without a
/// partner.
pub fn row_settings(
    client: &JudgeClient,
    template: &str,
    unmatched: [usize; 2],
) -> Map<String, Value> {
    Map::from_iter([
        ("judge".to_owned(), json!(client.settings())),
        ("system".to_owned(), json!(SYSTEM)),
        ("template".to_owned(), json!(template)),
        ("rows_without_partner".to_owned(), json!(unmatched)),
    ])
}
