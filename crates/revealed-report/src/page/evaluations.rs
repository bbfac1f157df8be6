//! Evaluations of the run's models on its page: figures in a table, settings in a line, long ones behind a heading.

use serde_json::Value;

use super::number::{number, range};
use super::tables::table;
use super::text::{escape, shown};
use revealed_eval::{EvalRecord, Figure};

/// Maximum characters of a setting shown in the line.
const SHORT: usize = 48;

pub(super) fn evaluations(records: &[EvalRecord]) -> String {
    records.iter().map(one).collect()
}

fn one(record: &EvalRecord) -> String {
    let rows: Vec<Vec<String>> = record.figures.iter().map(row).collect();
    let heads = ["Figure", "Data", "Value", "95 % interval", "n"];
    let models = record
        .models
        .iter()
        .map(|(role, source)| format!("{} <code>{}</code>", escape(role), escape(&source.path)));
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for (key, value) in &record.settings {
        place(key, value, &mut short, &mut long);
    }
    let short =
        short.iter().map(|(key, value)| format!("{} <code>{}</code>", escape(key), escape(value)));
    let facts: Vec<String> = models.chain(short).collect();
    format!(
        "<h3>{}</h3><p class=\"dim\">{}</p>{}<div class=\"stack\">{}</div>",
        escape(&record.evaluation),
        facts.join(" · "),
        more(&long),
        table(&heads, &rows),
    )
}

fn row(figure: &Figure) -> Vec<String> {
    let subset = figure.subset.as_deref().unwrap_or("all");
    vec![
        escape(&figure.name),
        escape(subset),
        number(figure.value),
        figure.interval.map_or("—".into(), range),
        figure.n.to_string(),
    ]
}

/// Parts of a setting, one value each, under dotted keys. Only short settings are shown in the line.
fn place(
    key: &str,
    value: &Value,
    short: &mut Vec<(String, String)>,
    long: &mut Vec<(String, String)>,
) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let mut parts = Vec::new();
                place(&format!("{key}.{name}"), value, &mut parts, long);
                long.extend(parts);
            }
        }
        value => {
            let text = text(value);
            let fits = text.chars().count() <= SHORT && !text.contains('\n');
            let place = if fits { short } else { long };
            place.push((key.to_owned(), text));
        }
    }
}

/// A value as people read it; one with white space at an end, or nothing else, in quotes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::String(text) if !text.is_empty() && text.trim() == text => text.clone(),
        value => value.to_string(),
    }
}

/// Long settings and those of parts, to be opened.
fn more(settings: &[(String, String)]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|(key, value)| vec![format!("<code>{}</code>", escape(key)), shown(value)])
        .collect();
    format!(
        "<details><summary>More settings: {}</summary>{}</details>",
        rows.len(),
        table(&["Key", "Value"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example::record;

    #[test]
    fn short_settings_stand_in_a_line_and_long_ones_and_parts_behind_a_heading() {
        let mut record = record();
        let task =
            json!({"prompt": "Question: {{question}}\nAnswer:", "shots": 5, "delimiter": " "});
        record.settings.insert("task".into(), task);
        record.settings.insert("template".into(), "x".repeat(SHORT + 1).into());
        record.settings.insert("bos".into(), Value::Null);
        record.figures[0].interval = Some([3.4e-17, 0.39]);
        let page = evaluations(&[record]);
        let line = page.split("</p>").next().unwrap();
        assert!(line.ends_with("shots <code>5</code> · bos <code>none</code>"), "{line}");
        assert!(page.contains("<summary>More settings: 4</summary>"), "{page}");
        assert!(page.contains("<code>task.shots</code></th>"), "{page}");
        assert!(page.contains("&quot; &quot;</td>"), "{page}");
        assert!(page.contains("0.000 to 0.390"), "{page}");
    }
}
