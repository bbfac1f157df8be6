//! A policy evaluation as lines of JSON and as tables.

use revealed::eval::Figure;
use revealed::eval::policy::{BestOfN, PolicyResult, SIDES};
use serde_json::{Map, Value, json};

use super::table::{cell, estimate_cell, head, row, shown, shown_figure};

/// A line per figure, a line per point of a best-of-n curve, and a line of counts.
pub fn lines(result: &PolicyResult) -> Vec<Value> {
    let mut lines = Vec::new();
    for figure in &result.figures {
        let mut line = Map::from_iter([
            ("metric".into(), json!(figure.name)),
            ("of".into(), json!(figure.subset)),
            ("prompts".into(), json!(figure.n)),
        ]);
        line.extend(shown_figure(figure).as_object().cloned().unwrap_or_default());
        lines.push(Value::Object(line));
    }
    for (name, point) in &result.curves {
        lines.push(json!({
            "best_of": point.n,
            "of": name,
            "kl": point.kl,
            "sqrt_kl": point.kl.sqrt(),
            "reward": shown(point.reward.value, point.reward.interval()),
            "gold": point.gold.map(|gold| shown(gold.value, gold.interval())),
        }));
    }
    lines.push(json!({"prompts": result.prompts.len(), "not_used": result.failed.len()}));
    lines
}

/// The same as Markdown tables.
pub fn tables(result: &PolicyResult) -> String {
    let mut text = head(&["metric", "value"]);
    for figure in result.figures.iter().filter(|figure| figure.subset.is_none()) {
        text.push_str(&row([&figure.name, &cell(figure.value, figure.interval)]));
    }
    text.push_str(&format!("\n{}", sides(&result.figures)));
    if !result.curves.is_empty() {
        text.push_str(&format!("\n{}", curve(&result.curves)));
    }
    let (used, failed) = (result.prompts.len(), result.failed.len());
    text.push_str(&format!("\n{used} prompts used, {failed} not\n"));
    text
}

/// Figures of each side.
fn sides(figures: &[Figure]) -> String {
    let mut text = head(&["metric", "policy", "reference"]);
    let of = |name: &str, side: &str| {
        let holds =
            |figure: &&Figure| figure.name == name && figure.subset.as_deref() == Some(side);
        let found = figures.iter().find(holds);
        found.map_or_else(String::new, |figure| cell(figure.value, figure.interval))
    };
    for figure in figures.iter().filter(|f| f.subset.as_deref() == Some(SIDES[0])) {
        let sides = SIDES.map(|side| of(&figure.name, side));
        text.push_str(&row([&figure.name, &sides[0], &sides[1]]));
    }
    text
}

/// Points of the best-of-n curves.
fn curve(curves: &[(&str, BestOfN)]) -> String {
    let mut text = head(&["best of", "samples of", "KL ≤", "√KL", "reward", "gold"]);
    for (name, point) in curves {
        let gold = point.gold.map_or_else(String::new, |gold| estimate_cell(&gold));
        let (kl, root) = (format!("{:.3}", point.kl), format!("{:.3}", point.kl.sqrt()));
        let reward = estimate_cell(&point.reward);
        text.push_str(&row([&point.n.to_string(), *name, &kl, &root, &reward, &gold]));
    }
    text
}
