//! A benchmark's figures as lines of JSON and as a table.

use revealed::eval::rewards::BenchmarkResult;
use serde_json::{Map, Value, json};

use super::scored_notes::counts_in_words;
use super::table::{cell, head, row, shown_figure};

/// A line per figure, with its value by method, and a line of counts.
pub fn lines(result: &BenchmarkResult<'_>) -> Vec<Value> {
    let mut lines = Vec::new();
    for by_method in result.rows() {
        let first = by_method[0].1;
        let mut line = Map::from_iter([
            ("metric".into(), json!(first.name)),
            ("subset".into(), json!(first.subset)),
            ("questions".into(), json!(first.n)),
        ]);
        let values = by_method.iter().map(|(name, figure)| ((*name).into(), shown_figure(figure)));
        line.extend(values);
        lines.push(Value::Object(line));
    }
    let mut counts = result.scored.counts();
    counts.insert("benchmark".into(), json!(result.benchmark.name()));
    counts.insert("notes".into(), json!(result.notes));
    lines.push(Value::Object(counts));
    lines
}

/// The figures as a Markdown table, with the counts and notes below.
pub fn table(result: &BenchmarkResult<'_>) -> String {
    let mut names = vec!["metric", "subset", "questions"];
    names.extend(result.by_method.iter().map(|(name, _)| *name));
    let mut text = head(&names);
    for by_method in result.rows() {
        let first = by_method[0].1;
        // The table has RM-Bench's style matrix over all domains only; lines and records have it for each.
        if first.name.contains('>') && first.subset.is_some() {
            continue;
        }
        let subset = first.subset.as_deref().unwrap_or("all").to_owned();
        let cells = by_method.iter().map(|(_, figure)| cell(figure.value, figure.interval));
        let start = [first.name.clone(), subset, first.n.to_string()];
        text.push_str(&row(start.into_iter().chain(cells)));
    }
    text.push_str(&format!("\n{}", counts_in_words(&result.scored, "questions")));
    for note in &result.notes {
        text.push_str(&format!("\nnote: {note}\n"));
    }
    text
}
