//! Tables of the page, between its markers.

use std::fmt::Write;
use std::path::Path;

use revealed_eval::stats::{mean_ci95, mean_sd};

use super::outcome::Round;
use super::outcome::{Level, Outcome};
use super::{arms, plots, rows, rules};
use crate::LabError;
use crate::base_model::settings;

/// Rewrites the text between `<!-- NAME -->` and `<!-- end -->` for each table, and the plots in the folder of the page's stem.
///
/// # Errors
/// When a marker is missing or a file cannot be read or written.
pub fn write(outcomes: &[Outcome], page: &Path) -> Result<(), LabError> {
    let folder = page.with_extension("");
    std::fs::create_dir_all(&folder).map_err(LabError::io(&folder))?;
    let mut text = match page.is_file() {
        true => std::fs::read_to_string(page).map_err(LabError::io(page))?,
        false => bare(),
    };
    for level in [Level::Easy, Level::Hard] {
        let name = level.name();
        text = replaced(&text, &format!("methods {name}"), &methods(outcomes, level))?;
        text = replaced(&text, &format!("rules {name}"), &rule_table(outcomes, level)?)?;
        plots::methods(outcomes, level, &folder.join(format!("methods-{name}.svg")))?;
        plots::rounds(outcomes, level, &folder.join(format!("rounds-{name}.svg")))?;
    }
    text = replaced(&text, "ablations", &ablations(outcomes))?;
    revealed_models::write_file(page, text.as_bytes())?;
    Ok(())
}

/// A page with nothing but its markers.
fn bare() -> String {
    let mut text = String::from("# Evidence\n");
    for level in [Level::Easy, Level::Hard] {
        let name = level.name();
        let _ = write!(
            text,
            "\n## The {name} setting\n\n<!-- methods {name} -->\n<!-- end -->\n\n![gold by method](evidence/methods-{name}.svg)\n\n![gold by round](evidence/rounds-{name}.svg)\n\n<!-- rules {name} -->\n<!-- end -->\n"
        );
    }
    text.push_str("\n## Ablations\n\n<!-- ablations -->\n<!-- end -->\n");
    text
}

/// The page with another table at a marker.
fn replaced(page: &str, name: &str, table: &str) -> Result<String, LabError> {
    let marker = format!("<!-- {name} -->");
    let Some((before, rest)) = page.split_once(&marker) else {
        return Err(LabError::NoMarker { missing: format!("line {marker}"), table: name.into() });
    };
    let Some((_, after)) = rest.split_once("<!-- end -->") else {
        let missing = format!("<!-- end --> after {marker}");
        return Err(LabError::NoMarker { missing, table: name.into() });
    };
    Ok(format!("{before}{marker}\n{table}<!-- end -->{after}"))
}

/// Names of arms in the order of tables: methods and then settings given by --name; or ablations.
fn names(outcomes: &[Outcome], ablations: bool) -> Vec<String> {
    let known = arms::all();
    let mut names: Vec<String> = known
        .iter()
        .filter(|arm| arm.is_ablation() == ablations)
        .map(|arm| arm.name.clone())
        .collect();
    for outcome in outcomes.iter().filter(|_| !ablations) {
        let new = known.iter().all(|arm| arm.name != outcome.arm) && !names.contains(&outcome.arm);
        if new {
            names.push(outcome.arm.clone());
        }
    }
    names
}

/// Gold at T = 1 of the SFT model of every seed.
fn sft_gold(outcomes: &[Outcome], level: Level, seed: u64) -> Option<f64> {
    let all = rows::of(outcomes, level, "sft");
    let sft = all.iter().find(|outcome| outcome.seed == seed)?;
    Some(sft.rounds.last()?.gold.t1)
}

/// `0.852 (0.831–0.873)`.
pub fn with_interval(values: &[f64]) -> String {
    let (mean, _) = mean_sd(values);
    match mean_ci95(values) {
        (low, high) if low.is_finite() => format!("{mean:.3} ({low:.3}–{high:.3})"),
        _ => format!("{mean:.3}"),
    }
}

fn mean_of(rounds: &[&Round], figure: fn(&Round) -> f64) -> String {
    let values: Vec<f64> = rounds.iter().map(|round| figure(round)).collect();
    format!("{:.3}", mean_sd(&values).0)
}

fn methods(outcomes: &[Outcome], level: Level) -> String {
    let mut text = String::from(
        "| method | seeds | round | gold, T = 1 (95 %) | best T | gold at it | greedy | perfect | reward orders as gold | KL to SFT | tokens | ended | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for name in names(outcomes, false) {
        let all = rows::of(outcomes, level, &name);
        let most = all.iter().map(|outcome| outcome.rounds.len()).max().unwrap_or(0);
        for index in 0..most {
            let rounds: Vec<&Round> =
                all.iter().filter_map(|outcome| outcome.rounds.get(index)).collect();
            let Some(first) = rounds.first() else { continue };
            let gold: Vec<f64> = rounds.iter().map(|round| round.gold.t1).collect();
            let temperatures: Vec<f64> = rounds.iter().map(|round| round.gold.best_t).collect();
            let ordered: Vec<f64> = rounds.iter().filter_map(|round| round.ordered).collect();
            let ordered =
                if ordered.is_empty() { "".into() } else { format!("{:.3}", mean_sd(&ordered).0) };
            let name = if name == "sft" && first.round == 0 { "base" } else { name.as_str() };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {:.2} | {} | {} | {} | {ordered} | {} | {} | {} | {} |",
                rounds.len(),
                first.round,
                with_interval(&gold),
                mean_sd(&temperatures).0,
                mean_of(&rounds, |round| round.gold.best),
                mean_of(&rounds, |round| round.gold.greedy),
                mean_of(&rounds, |round| round.gold.perfect),
                mean_of(&rounds, |round| round.gold.kl),
                mean_of(&rounds, |round| round.gold.length),
                mean_of(&rounds, |round| round.gold.terminated),
                // The SFT model is made once for all arms, and its time is not theirs.
                if name == "base" || name == "sft" {
                    "".into()
                } else {
                    mean_of(&rounds, |round| round.seconds)
                },
            );
        }
    }
    text
}

/// Distance of each rule's result from the best round.
fn rule_table(outcomes: &[Outcome], level: Level) -> Result<String, LabError> {
    let mut text = String::from(
        "| loop | rule | seeds | within 0.01 of the best round | gold kept (95 %) | mean loss to the best | largest |\n|---|---|---|---|---|---|---|\n",
    );
    let names = names(outcomes, false);
    let known = arms::all();
    let own = |name: &&String| known.iter().all(|arm| arm.name != **name);
    let loops = |name: &&String| name.starts_with("irl-") || own(name);
    for arm in names.iter().filter(loops) {
        let all = rows::of(outcomes, level, arm);
        let recipe = match known.iter().find(|known| known.name == *arm) {
            Some(known) => known.recipe()?,
            None => settings(Path::new("."), 0),
        };
        for rule in rules::all() {
            let pairs: Vec<[f64; 2]> = all
                .iter()
                .filter_map(|outcome| {
                    let sft = sft_gold(outcomes, level, outcome.seed)?;
                    Some(rules::kept_and_best(&rule, &recipe, sft, &outcome.rounds))
                })
                .collect();
            if pairs.is_empty() {
                continue;
            }
            let losses: Vec<f64> = pairs.iter().map(|[kept, best]| best - kept).collect();
            let kept: Vec<f64> = pairs.iter().map(|[kept, _]| *kept).collect();
            let near = losses.iter().filter(|loss| **loss <= 0.01).count();
            let _ = writeln!(
                text,
                "| `{arm}` | {} | {} | {near} | {} | {:.3} | {:.3} |",
                rule.name,
                pairs.len(),
                with_interval(&kept),
                mean_sd(&losses).0,
                losses.iter().copied().fold(0.0, f64::max),
            );
        }
    }
    Ok(text)
}

/// Each ablation compared with the unchanged loop on the same seeds.
fn ablations(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| change | of | seeds | round 1: gold, T = 1 | difference (95 %) | round 2: gold, T = 1 | difference (95 %) | reward orders as gold |\n|---|---|---|---|---|---|---|---|\n",
    );
    let level = Level::Hard;
    let known = arms::all();
    let loops = names(outcomes, false).into_iter().filter(|name| name.starts_with("irl-"));
    for name in loops.chain(names(outcomes, true)) {
        let all = rows::of(outcomes, level, &name);
        if all.is_empty() {
            continue;
        }
        let against = known.iter().find(|arm| arm.name == name).map(arms::Arm::against);
        let against = against.unwrap_or(arms::REFERENCE);
        let reference = rows::of(outcomes, level, against);
        let mut cells = String::new();
        for index in 0..2 {
            let pairs: Vec<[f64; 2]> = all
                .iter()
                .filter_map(|outcome| {
                    let same = reference.iter().find(|other| other.seed == outcome.seed)?;
                    let gold = |outcome: &Outcome| Some(outcome.rounds.get(index)?.gold.t1);
                    Some([gold(outcome)?, gold(same)?])
                })
                .collect();
            let gold: Vec<f64> = pairs.iter().map(|[gold, _]| *gold).collect();
            let differences: Vec<f64> = pairs.iter().map(|[gold, other]| gold - other).collect();
            let _ = match (pairs.is_empty(), name.as_str()) {
                (true, _) => write!(cells, " | |"),
                (false, arms::REFERENCE) => write!(cells, " {:.3} | |", mean_sd(&gold).0),
                _ => write!(cells, " {:.3} | {} |", mean_sd(&gold).0, signed(&differences)),
            };
        }
        let ordered: Vec<f64> =
            all.iter().filter_map(|outcome| outcome.rounds.first()?.ordered).collect();
        let _ = writeln!(
            text,
            "| {name} | {against} | {} |{cells} {:.3} |",
            all.len(),
            mean_sd(&ordered).0
        );
    }
    text
}

/// `+0.012 (−0.004 to +0.028)`.
fn signed(values: &[f64]) -> String {
    let sign = |x: f64| format!("{x:+.3}").replace('-', "−");
    let mean = mean_sd(values).0;
    match mean_ci95(values) {
        (low, high) if low.is_finite() => {
            format!("{} ({} to {})", sign(mean), sign(low), sign(high))
        }
        _ => sign(mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_only_the_text_between_its_markers() {
        let page = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x -->\nnew\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n");
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        let error = replaced(page, "z", "").unwrap_err().to_string();
        assert!(error.contains("<!-- z -->"), "{error}");
    }

    #[test]
    fn an_empty_page_has_every_marker() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("evidence.md");
        write(&[], &page).unwrap();
        write(&[], &page).unwrap();
        assert!(folder.path().join("evidence/methods-hard.svg").is_file());
    }

    #[test]
    fn differences_show_their_sign() {
        assert_eq!(signed(&[-0.01, -0.01]), "−0.010 (−0.010 to −0.010)");
        assert_eq!(signed(&[0.5]), "+0.500");
    }
}
