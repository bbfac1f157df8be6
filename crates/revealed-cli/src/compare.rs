//! `revealed compare`: two runs, or two records of one evaluation.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use revealed::eval::EvalRecord;
use revealed::report::compare::{
    CompareError, Difference, FigureDifference, Pairing, RecordComparison, RunComparison,
    compare_records, compare_runs,
};
use revealed::report::{RunFiles, number, signed};

use crate::output::Output;

/// Arguments of `revealed compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// A run folder, or a record written by `revealed eval … --out`
    a: PathBuf,
    /// Another of its kind; differences are this one less the first
    b: PathBuf,
    /// One line of JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Prints what differs.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let mut output = Output::new();
    match (args.a.is_dir(), args.b.is_dir()) {
        (true, true) => {
            let (a, b) = (RunFiles::read(&args.a)?, RunFiles::read(&args.b)?);
            let compared = compare_runs(&a, &b);
            match args.json {
                true => output.line(&compared)?,
                false => output.text(&runs_text(&compared, [&args.a, &args.b]))?,
            }
        }
        (false, false) => {
            let (a, b) = (EvalRecord::read(&args.a)?, EvalRecord::read(&args.b)?);
            let compared = compare_records(&a, &b).map_err(|error| match error {
                CompareError::Twice { side, .. } => {
                    let path = [&args.a, &args.b][side].display().to_string();
                    anyhow::Error::from(error).context(path)
                }
                error => error.into(),
            })?;
            match args.json {
                true => output.line(&compared)?,
                false => output.text(&records_text(&compared, [&args.a, &args.b]))?,
            }
        }
        (a_is_run, _) => {
            let (run, other) = if a_is_run { (&args.a, &args.b) } else { (&args.b, &args.a) };
            let (run, other) = (run.display(), other.display());
            bail!("{run} is a run folder and {other} is a file; compare two folders or two records")
        }
    }
    output.flush()
}

fn sides(text: &mut String, paths: [&Path; 2]) {
    let _ = writeln!(text, "a: {}\nb: {}", paths[0].display(), paths[1].display());
}

fn records_text(compared: &RecordComparison, paths: [&PathBuf; 2]) -> String {
    let mut text = String::new();
    sides(&mut text, paths.map(PathBuf::as_path));
    let _ = match &compared.pairing {
        Pairing::Paired { items, only_a, only_b } => {
            let alone = match (only_a, only_b) {
                (0, 0) => String::new(),
                _ => format!("; left out: {only_a} of a alone, {only_b} of b alone"),
            };
            writeln!(text, "{}: paired by item, {items} items{alone}\n", compared.evaluation)
        }
        Pairing::Unpaired { reason } => {
            let files = compared.files.as_ref().map_or(String::new(), |[a, b]| {
                format!("; {a} of a is compared with {b} of b, as wholes")
            });
            let none = match compared.figures.is_empty() {
                true => "; no figure is in both",
                false => "",
            };
            writeln!(text, "{}: not paired: {reason}{files}{none}\n", compared.evaluation)
        }
    };
    let heads =
        ["figure", "data", "n", "a", "b", "b - a", "95 % interval", "rose", "fell", "p (McNemar)"];
    if !compared.figures.is_empty() {
        let rows = compared.figures.iter().map(figure_row).collect();
        text.push_str(&table(&heads, rows));
    }
    differences(&mut text, "differs", &compared.differences);
    text
}

fn figure_row(figure: &FigureDifference) -> Vec<String> {
    let changed = |at: usize| figure.changed.map_or("-".into(), |changed| changed[at].to_string());
    let n = match figure.n {
        [a, b] if a == b => a.to_string(),
        [a, b] => format!("{a}, {b}"),
    };
    vec![
        figure.name.clone(),
        figure.subset.clone().unwrap_or_else(|| "all".into()),
        n,
        number(figure.a),
        number(figure.b),
        signed(figure.difference),
        figure
            .interval
            .map_or("-".into(), |[low, high]| format!("{} to {}", signed(low), signed(high))),
        changed(0),
        changed(1),
        figure.p.map_or("-".into(), number),
    ]
}

fn runs_text(compared: &RunComparison, paths: [&PathBuf; 2]) -> String {
    let mut text = String::new();
    sides(&mut text, paths.map(PathBuf::as_path));
    differences(&mut text, "settings that differ", &compared.settings);
    let of = |value: Option<f64>| value.map_or("-".into(), number);
    let rows = compared
        .figures
        .iter()
        .map(|figure| vec![figure.name.clone(), of(figure.a), of(figure.b)])
        .collect();
    text.push('\n');
    text.push_str(&table(&["held-out figure of the result", "a", "b"], rows));
    differences(&mut text, "rounds", &compared.rounds);
    differences(&mut text, "verdict", &compared.answers);
    text.push('\n');
    for line in &compared.notes {
        let _ = writeln!(text, "note: {line}");
    }
    text
}

fn differences(text: &mut String, title: &str, all: &[Difference]) {
    if all.is_empty() {
        let _ = writeln!(text, "\n{title}: nothing");
        return;
    }
    let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let rows = all.iter().map(|one| vec![one.key.clone(), of(&one.a), of(&one.b)]).collect();
    text.push('\n');
    text.push_str(&table(&[title, "a", "b"], rows));
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = heads.iter().map(|head| (*head).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_and_lines_end_without_spaces() {
        let rows = vec![vec!["é".to_owned(), "−1".into()], vec!["long name".into(), "2".into()]];
        let expected = "key        a\né          −1\nlong name  2\n";
        assert_eq!(table(&["key", "a"], rows), expected);
    }
}
