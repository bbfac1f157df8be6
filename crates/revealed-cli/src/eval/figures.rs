//! A record's figures on stdout, one line or row per subset.

use anyhow::Result;
use revealed::eval::Figure;
use serde_json::{Map, Value, json};

use crate::output::Output;

/// Prints figures with the names of the compared models.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(names: &[(&str, &str)], figures: &[Figure], table: bool) -> Result<()> {
    let mut output = Output::new();
    match table {
        true => output.text(&markdown(figures))?,
        false => {
            for subset in subsets(figures) {
                output.line(&line(names, figures, subset))?;
            }
        }
    }
    output.flush()
}

/// The subsets, in the order of their figures.
fn subsets(figures: &[Figure]) -> Vec<Option<&str>> {
    let mut all: Vec<Option<&str>> = Vec::new();
    for figure in figures {
        if !all.contains(&figure.subset.as_deref()) {
            all.push(figure.subset.as_deref());
        }
    }
    all
}

fn line(names: &[(&str, &str)], figures: &[Figure], subset: Option<&str>) -> Value {
    let mut line: Map<String, Value> =
        names.iter().map(|(role, name)| ((*role).to_owned(), json!(name))).collect();
    line.insert("subset".into(), json!(subset));
    for figure in figures.iter().filter(|figure| figure.subset.as_deref() == subset) {
        let Figure { value, interval, n, .. } = figure;
        let cell = match interval {
            Some(interval) => json!({"value": value, "interval": interval, "n": n}),
            None => json!({"value": value, "n": n}),
        };
        line.insert(figure.name.clone(), cell);
    }
    Value::Object(line)
}

/// A Markdown table of the figures that subsets have, and a line for each figure over all data only.
fn markdown(figures: &[Figure]) -> String {
    let subsets = subsets(figures);
    let (mut columns, mut whole): (Vec<&str>, Vec<&Figure>) = (vec![], vec![]);
    for figure in figures {
        let parts = figures.iter().any(|each| each.name == figure.name && each.subset.is_some());
        match (parts, columns.contains(&figure.name.as_str())) {
            (true, false) => columns.push(&figure.name),
            (false, _) => whole.push(figure),
            _ => {}
        }
    }
    let heads: String = columns.iter().map(|name| format!(" {name} |")).collect();
    let mut text = format!("| subset | n |{heads}\n|---|---|{}\n", "---|".repeat(columns.len()));
    if columns.is_empty() {
        text.clear();
    }
    for subset in subsets.into_iter().filter(|_| !columns.is_empty()) {
        let of = |name: &str| {
            figures.iter().find(|each| each.name == name && each.subset.as_deref() == subset)
        };
        let n = columns.iter().find_map(|name| of(name)).map_or(0, |figure| figure.n);
        let cells: String = columns
            .iter()
            .map(|name| format!(" {} |", of(name).map_or("–".into(), cell)))
            .collect();
        text.push_str(&format!("| {} | {n} |{cells}\n", subset.unwrap_or("all")));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    for figure in whole {
        text.push_str(&format!("{}: {} (of {})\n", figure.name, cell(figure), figure.n));
    }
    text
}

fn cell(figure: &Figure) -> String {
    match figure.interval {
        Some([low, high]) => format!("{:.3} ({low:.3}–{high:.3})", figure.value),
        None if figure.value.fract() == 0.0 => format!("{}", figure.value),
        None => format!("{:.3}", figure.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, subset: Option<&str>, interval: Option<[f64; 2]>) -> Figure {
        Figure {
            name: name.into(),
            subset: subset.map(str::to_owned),
            value: 0.5,
            interval,
            n: 4,
            parts: vec![],
        }
    }

    #[test]
    fn every_subset_has_a_line_and_figures_over_all_data_have_their_own() {
        let figures = [
            figure("score", None, Some([0.25, 0.75])),
            figure("score", Some("math"), None),
            figure("unparsed", None, None),
        ];
        let text = line(&[("model", "m")], &figures, None).to_string();
        let wanted = r#"{"model":"m","subset":null,"score":{"value":0.5,"interval":[0.25,0.75],"n":4},"unparsed":{"value":0.5,"n":4}}"#;
        assert_eq!(text, wanted);
        let table = markdown(&figures);
        assert!(table.contains("| all | 4 | 0.500 (0.250–0.750) |"), "{table}");
        assert!(table.contains("| math | 4 | 0.500 |"), "{table}");
        assert!(table.contains("unparsed: 0.500 (of 4)"), "{table}");
        assert_eq!(markdown(&figures[2..]), "unparsed: 0.500 (of 4)\n");
    }
}
