//! The sections of the page that are no tables; one without data is empty and left out.

use std::fmt::Write;

use super::chart;
use super::curves::Curve;
use super::ending::kept;
use super::expected_range::expected_ranges;
use super::held_out::result;
use super::histogram;
use super::labels::label;
use super::number::{number, signed};
use super::run::RunFiles;
use super::settings::Settings;
use super::tables::table;
use super::text::{escape, shown};
use super::verdict::{Answer, Level};
use revealed_train::Phase;

/// What ran, in a line.
pub(super) fn subtitle(run: &RunFiles) -> String {
    let state = if run.finished { "finished" } else { "in progress or stopped" };
    let mut parts = vec![state.to_owned(), kept(run)];
    for (name, key) in [("model", "model.path"), ("solver", "policy.solver"), ("seed", "run.seed")]
    {
        let text = run.settings.text(key).map(str::to_owned);
        let number = || run.settings.number(key).map(|value| value.to_string());
        if let Some(value) = text.or_else(number).filter(|text| !text.is_empty()) {
            parts.push(format!("{name} <code>{}</code>", escape(&value)));
        }
    }
    format!("<p class=\"dim\">{}</p>", parts.join(" · "))
}

/// What is missing, in a box.
pub(super) fn missing(run: &RunFiles) -> String {
    if run.missing.is_empty() {
        return String::new();
    }
    let lines: String = run.missing.iter().map(|m| format!("<li>{}</li>", escape(m))).collect();
    format!(
        "<aside class=\"missing\"><b>Missing or damaged in this folder</b><ul>{lines}</ul></aside>"
    )
}

pub(super) fn verdict(answers: &[Answer]) -> String {
    let card = |answer: &Answer| {
        let class = match answer.level {
            Level::Well => "well",
            Level::Look => "look",
            Level::Badly => "badly",
            Level::Unknown => "unknown",
        };
        let mut sentences = answer.sentences.iter();
        let first = sentences.next().map_or("", |sentence| sentence.as_str());
        let rest: String = sentences.map(|s| format!("<li>{}</li>", escape(s))).collect();
        let rest = if rest.is_empty() { rest } else { format!("<ul>{rest}</ul>") };
        format!(
            "<article class=\"card {class}\"><h3>{}</h3><span class=\"chip\">{}</span><p>{}</p>{rest}</article>",
            escape(answer.question),
            answer.level.word(),
            escape(first)
        )
    };
    format!("<div class=\"cards\">{}</div>", answers.iter().map(card).collect::<String>())
}

pub(super) fn curves(curves: &[Curve], settings: &Settings) -> String {
    let mut html = String::new();
    for phase in Phase::ALL {
        let mut of_stage: Vec<&Curve> = curves.iter().filter(|c| c.phase == phase).collect();
        of_stage.sort_by_key(|curve| label(&curve.name).0);
        let (mut figures, mut rest) = (String::new(), Vec::new());
        for curve in of_stage {
            let bands = expected_ranges(curve, settings);
            match chart::figure(curve, &bands).filter(|_| curve.moves() || !bands.is_empty()) {
                Some(figure) => figures.push_str(&figure),
                None => rest.push(curve),
            }
        }
        if figures.is_empty() && rest.is_empty() {
            continue;
        }
        let (title, axis) = titles(phase);
        let _ = write!(html, "<h3>{title}</h3>");
        if !figures.is_empty() {
            let _ =
                write!(html, "<p class=\"dim\">{axis}</p><div class=\"charts\">{figures}</div>");
        }
        html.push_str(&still(&rest));
    }
    html
}

/// Metrics with one value per round, and constant ones.
fn still(curves: &[&Curve]) -> String {
    let one = |curve: &&Curve| {
        let (_, name, unit) = label(&curve.name);
        let values: Vec<f64> = curve.points.iter().map(|point| point.value).collect();
        let mut of_rounds: Vec<f64> =
            curve.rounds().filter_map(|points| Some(points.last()?.value)).collect();
        if values.iter().all(|value| *value == values[0]) {
            of_rounds.truncate(1);
        }
        let values: Vec<String> = of_rounds.into_iter().map(number).collect();
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        format!(
            "<li>{} <code>{}</code>: {}<span class=\"dim\">{}</span></li>",
            escape(name),
            escape(&curve.name),
            values.join(", "),
            escape(&unit)
        )
    };
    let lines: String = curves.iter().map(one).collect();
    match lines.as_str() {
        "" => lines,
        _ => format!("<p class=\"dim\">One number per round, or constant:</p><ul>{lines}</ul>"),
    }
}

fn titles(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Sft => ("Imitation (SFT)", "By optimizer step."),
        Phase::FitValidationReward => {
            ("Fit of the validation reward", "By optimizer step, once before the first round.")
        }
        Phase::Sample => ("Negatives", "By round."),
        Phase::Fit => ("Reward fit", "By optimizer step, rounds and ensemble members in sequence."),
        Phase::Improve => ("Policy improvement", "By rollout, rounds in sequence."),
        Phase::Gate => ("Gate", "By step."),
    }
}

pub(super) fn samples(run: &RunFiles) -> String {
    let Some(last) = result(run).map(|round| (round.round, round.accepted)) else {
        return String::new();
    };
    let Some(after) = run.samples.get(&last.0).filter(|samples| !samples.is_empty()) else {
        return String::new();
    };
    let first = run.samples.get(&1);
    let scores = run.scores.get(&last.0);
    let which = if last.1 { "Policy" } else { "Candidate (rolled back)" };
    let cards: String = after
        .iter()
        .enumerate()
        .map(|(index, sample)| {
            // The first round starts from the SFT model.
            let sft = first.and_then(|all| all.get(index)).filter(|s| s.prompt == sample.prompt);
            let (title, before) = match sft {
                Some(sft) => ("SFT model", &sft.before),
                None => ("Before the round", &sample.before),
            };
            let sft_reward = scores.and_then(|scores| {
                scores.sft.rewards.get(index * scores.samples_per_prompt).copied()
            });
            let rewards = sample.rewards;
            let before_reward = if sft.is_some() { sft_reward } else { Some(rewards.before) };
            let text = |title: &str, text: &str, reward: Option<f64>| {
                let reward = reward.map_or(String::new(), |value| {
                    format!(" <span class=\"dim\">reward {}</span>", signed(value))
                });
                format!("<div><h4>{title}{reward}</h4><p dir=\"auto\">{}</p></div>", shown(text))
            };
            format!(
                "<article class=\"sample\"><h3 class=\"prompt\" dir=\"auto\">{}</h3><div class=\"sides\">{}{}{}</div></article>",
                shown(&sample.prompt),
                text(title, before, before_reward),
                text(which, &sample.after, Some(rewards.after)),
                text("Demonstration", &sample.demonstration, Some(rewards.demonstration)),
            )
        })
        .collect();
    format!(
        "<p class=\"dim\">Held-out prompts, one sample each at the policy’s temperature; scored by the reward of round {}.</p>{cards}",
        last.0
    )
}

pub(super) fn histograms(run: &RunFiles) -> String {
    let figures: String =
        run.scores.iter().filter_map(|(round, scores)| histogram::figure(*round, scores)).collect();
    if figures.is_empty() { figures } else { format!("<div class=\"charts\">{figures}</div>") }
}

pub(super) fn settings(run: &RunFiles) -> String {
    let sources: Vec<Vec<String>> = run
        .sources()
        .into_iter()
        .map(|(role, path, source)| {
            let hash = source.and_then(|source| source.sha256);
            let hash = hash.map_or("not found".into(), |hash| format!("<code>{hash}</code>"));
            vec![role.into(), format!("<code>{}</code>", escape(&path)), hash]
        })
        .collect();
    let keys: Vec<Vec<String>> = run
        .settings
        .all()
        .map(|(key, value)| vec![format!("<code>{}</code>", escape(key)), escape(&value)])
        .collect();
    let all = match keys.len() {
        0 => String::new(),
        count => format!(
            "<details><summary>All {count} settings of recipe.toml</summary>{}</details>",
            table(&["Key", "Value"], &keys)
        ),
    };
    let heads = ["Role", "Path", "SHA-256 of the current file"];
    format!("<div class=\"hashes\">{}</div>{all}", table(&heads, &sources))
}
