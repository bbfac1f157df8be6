//! Accuracies on preference files as lines of JSON and rows of a table.

use revealed::eval::Estimate;
use revealed::eval::rewards::{PreferenceResult, Scorers, SubsetAccuracies};
use serde_json::{Map, Value, json};

use super::scored_notes::counts_in_words;
use super::table::{estimate_cell, head, row};

/// The head of a Markdown table with `accuracy (95 % interval)` in its cells.
pub fn heading(scorers: &Scorers) -> String {
    let names = scorers.names().into_iter().map(|name| name.replace('_', " "));
    let start = ["data", "subset", "pairs", "excluded", "failed", "cut"].map(str::to_owned);
    head(&start.into_iter().chain(names).collect::<Vec<_>>())
}

/// The accuracies on a set or subset, with the counts of the set.
pub fn json_line(result: &PreferenceResult<'_>, on: &SubsetAccuracies) -> Value {
    let mut line = Map::from_iter([
        ("data".into(), json!(result.set.name)),
        ("subset".into(), json!(on.subset)),
        ("pairs".into(), json!(on.pairs())),
    ]);
    if on.subset.is_none() {
        line.extend(result.counts());
    }
    for (name, accuracy) in &on.by_method {
        let (low, high) = accuracy.interval();
        let value = json!({"accuracy": accuracy.share(), "interval": [low, high]});
        line.insert((*name).into(), value);
    }
    Value::Object(line)
}

/// A row of the table; excluded, failed and truncated pairs are counted per file.
pub fn table_row(result: &PreferenceResult<'_>, on: &SubsetAccuracies) -> String {
    let scored = &result.scored;
    let counts = match on.subset {
        None => [result.set.excluded, scored.failed.len(), scored.cut].map(|n| n.to_string()),
        Some(_) => Default::default(),
    };
    let subset = on.subset.as_deref().unwrap_or("all").to_owned();
    let start = [result.set.name.clone(), subset, on.pairs().to_string()];
    let accuracies = on.by_method.iter();
    let cells = accuracies.map(|(_, accuracy)| estimate_cell(&Estimate::from(*accuracy)));
    row(start.into_iter().chain(counts).chain(cells))
}

/// The line of counts below the table.
pub fn summary(result: &PreferenceResult<'_>) -> String {
    format!("\n{}: {}", result.set.name, counts_in_words(&result.scored, "pairs"))
}
