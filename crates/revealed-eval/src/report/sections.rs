//! The sections of the page, each from the data that it shows; one without data is empty and left out.

use std::fmt::Write;

use revealed_reward::Audit;

use super::bands::bands;
use super::chart;
use super::curves::Curve;
use super::held_out::{changes, result};
use super::histogram;
use super::metrics::Stage;
use super::number::{number, signed};
use super::run::{Round, RunFiles};
use super::settings::Settings;
use super::text::{escape, shown};
use super::verdict::{Answer, Level};
use crate::record::EvalRecord;

/// Names and units of metrics, by stage; others are shown under their own names.
const LABELS: &[(&str, &str, &str)] = &[
    ("loss", "Loss", ""),
    ("rewards/margins", "Reward margin", "raw"),
    ("rewards/accuracies", "Reward accuracy on training pairs", "share"),
    ("objective/scores", "Reward of samples", "calibrated"),
    ("objective/kl", "KL to the anchor", "nats a completion"),
    ("completions/mean_length", "Length", "tokens"),
    ("completions/terminated", "Ended by the terminator", "share"),
    ("frac_reward_zero_std", "Prompts without reward spread", "share"),
    ("objective/entropy", "Entropy", "nats a token"),
    ("loss/policy_avg", "Policy loss", ""),
    ("loss/value_avg", "Critic loss", ""),
    ("policy/approxkl_avg", "KL of an update", "nats a token"),
    ("policy/clipfrac_avg", "Clipped", "share of tokens"),
    ("val/ratio_farthest", "Farthest ratio", ""),
    ("grad_norm", "Gradient norm before clipping", ""),
    ("learning_rate", "Learning rate", ""),
    ("rewards/demonstrations", "Raw reward of demonstrations", ""),
    ("rewards/negatives", "Raw reward of negatives", ""),
    ("objective/kl_coef", "Price of KL", "reward a nat"),
    ("tokens", "Tokens a step", ""),
];

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let body: String = rows
        .iter()
        .map(|cells| {
            let cells = cells.iter().enumerate().map(|(index, cell)| match index {
                0 => format!("<th scope=\"row\">{cell}</th>"),
                _ => format!("<td>{cell}</td>"),
            });
            format!("<tr>{}</tr>", cells.collect::<String>())
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}

/// What ran, in a line.
pub(super) fn subtitle(run: &RunFiles) -> String {
    let kept = run.rounds.iter().filter(|round| round.accepted).count();
    let state = if run.finished { "finished" } else { "in progress, or stopped" };
    let mut parts = vec![state.to_owned(), format!("{kept} of {} rounds kept", run.rounds.len())];
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
    format!("<aside class=\"missing\"><b>Not in this folder</b><ul>{lines}</ul></aside>")
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

pub(super) fn held_out(run: &RunFiles) -> String {
    let Some(round) = result(run) else { return String::new() };
    let rows: Vec<Vec<String>> = changes(run, round)
        .iter()
        .map(|change| {
            let interval = change
                .interval
                .map_or("—".into(), |(low, high)| format!("{} to {}", signed(low), signed(high)));
            let difference = signed(change.difference());
            vec![
                change.name.into(),
                number(change.sft),
                number(change.policy),
                difference,
                interval,
            ]
        })
        .collect();
    let which = if round.accepted { "Policy" } else { "Candidate" };
    let column = format!("{which}, round {}", round.round);
    let heads = ["On held-out prompts", "SFT model", &column, "Difference", "95 % interval"];
    format!(
        "{}<p class=\"dim\">Intervals are over prompts, paired: both models answer each prompt with the same random numbers. Rewards are in the unit of round {}’s reward: 0 is the average training demonstration, 1 the spread between samples of one prompt.</p>",
        table(&heads, &rows),
        round.round
    )
}

pub(super) fn rounds(run: &RunFiles) -> String {
    let row = |round: &Round| {
        let word = if round.accepted { "kept" } else { "rolled back" };
        let arrow = |before: f64, after: f64| format!("{} → {}", signed(before), signed(after));
        let judge = round.judge.map_or("—".into(), |judge| arrow(judge.before, judge.after));
        let (before, after) = (round.before, round.after);
        vec![
            round.round.to_string(),
            word.into(),
            arrow(before.reward, after.reward),
            signed(round.demonstrations_reward),
            format!("{} → {}", number(before.kl), number(after.kl)),
            format!("{} → {}", number(before.length), number(after.length)),
            format!("{} → {}", number(before.terminated), number(after.terminated)),
            format!("{} → {}", number(round.accuracy_before), number(round.accuracy_after)),
            judge,
        ]
    };
    if run.rounds.is_empty() {
        return String::new();
    }
    let heads = [
        "Round",
        "Verdict",
        "Reward of samples",
        "of demonstrations",
        "KL",
        "Length",
        "Ended",
        "Demonstrations above samples",
        "Judge",
    ];
    let rows: Vec<Vec<String>> = run.rounds.iter().map(row).collect();
    let reasons: String = run
        .rounds
        .iter()
        .flat_map(|round| round.reasons.iter().map(move |reason| (round.round, reason)))
        .map(|(round, reason)| format!("<li>Round {round}: {}</li>", escape(reason)))
        .collect();
    let reasons = if reasons.is_empty() { reasons } else { format!("<ul>{reasons}</ul>") };
    format!("{}{reasons}", table(&heads, &rows))
}

pub(super) fn curves(curves: &[Curve], settings: &Settings) -> String {
    let mut html = String::new();
    for stage in Stage::ALL {
        let of_stage = curves.iter().filter(|curve| curve.stage == stage);
        let mut drawn: Vec<(usize, String)> = of_stage
            .filter_map(|curve| {
                let rank = LABELS.iter().position(|(name, ..)| *name == curve.name);
                let (label, unit) =
                    rank.map_or((curve.name.as_str(), ""), |at| (LABELS[at].1, LABELS[at].2));
                let figure = chart::figure(curve, &bands(curve, settings), label, unit)?;
                Some((rank.unwrap_or(LABELS.len()), figure))
            })
            .collect();
        drawn.sort_by_key(|(rank, _)| *rank);
        if !drawn.is_empty() {
            let figures: String = drawn.into_iter().map(|(_, figure)| figure).collect();
            let (title, axis) = titles(stage);
            let _ = write!(
                html,
                "<h3>{title}</h3><p class=\"dim\">{axis}</p><div class=\"charts\">{figures}</div>"
            );
        }
    }
    html
}

fn titles(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Sft => ("Imitation (SFT)", "By optimizer step."),
        Stage::Judge => ("The judge’s fit", "By optimizer step, once before the first round."),
        Stage::Sample => ("Negatives", "By round."),
        Stage::Fit => {
            ("Reward fit", "By optimizer step, rounds one after the other; so are members.")
        }
        Stage::Improve => ("Policy improvement", "By rollout, rounds one after the other."),
        Stage::Gate => ("Gate", "By step."),
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
            let reward = |at: usize| sample.rewards.get(at).copied();
            let before_reward = if sft.is_some() { sft_reward } else { reward(1) };
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
                text(which, &sample.after, reward(2)),
                text("Demonstration", &sample.demonstration, reward(0)),
            )
        })
        .collect();
    format!(
        "<p class=\"dim\">Held-out prompts, one sample each at the policy’s temperature; rewards by round {}’s reward.</p>{cards}",
        last.0
    )
}

pub(super) fn histograms(run: &RunFiles) -> String {
    let figures: String =
        run.scores.iter().filter_map(|(round, scores)| histogram::figure(*round, scores)).collect();
    if figures.is_empty() { figures } else { format!("<div class=\"charts\">{figures}</div>") }
}

pub(super) fn audit(run: &RunFiles) -> String {
    if run.rounds.is_empty() {
        return String::new();
    }
    let maybe = |value: Option<f64>| value.map_or("—".into(), number);
    let figures: [(&str, &dyn Fn(&Audit) -> String); 13] = [
        ("accuracy of the reward, all pairs", &|a| number(a.accuracy)),
        ("length alone", &|a| number(a.length_accuracy)),
        ("bag of tokens", &|a| number(a.bag_accuracy)),
        ("lead over the better of these", &|a| signed(a.beyond_shortcuts())),
        ("accuracy on pairs of like length", &|a| maybe(a.length_matched_accuracy)),
        ("accuracy where the bag of tokens fails", &|a| maybe(a.bag_hard_accuracy)),
        ("AUC", &|a| number(a.auc)),
        ("calibration error", &|a| number(a.ece)),
        ("correlation with length", &|a| maybe(a.length_correlation)),
        ("correlation with ending", &|a| maybe(a.terminated_correlation)),
        ("correlation with repetition", &|a| maybe(a.repetition_correlation)),
        ("correlation with format marks", &|a| maybe(a.marks_correlation)),
        ("pairs (prompts)", &|a| format!("{} ({})", a.pairs, a.prompts)),
    ];
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|(name, figure)| {
            let cells = run.rounds.iter().map(|round| figure(&round.audit));
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    let columns: Vec<String> =
        run.rounds.iter().map(|round| format!("Round {}", round.round)).collect();
    let heads: Vec<&str> =
        std::iter::once("Held-out pairs").chain(columns.iter().map(String::as_str)).collect();
    let warnings: String = run
        .rounds
        .iter()
        .flat_map(|round| round.audit.warnings().into_iter().map(move |w| (round.round, w)))
        .map(|(round, warning)| format!("<li>Round {round}: {}</li>", escape(&warning)))
        .collect();
    let warnings = if warnings.is_empty() { warnings } else { format!("<ul>{warnings}</ul>") };
    format!("{}{warnings}", table(&heads, &rows))
}

pub(super) fn evaluations(records: &[EvalRecord]) -> String {
    let one = |record: &EvalRecord| {
        let rows: Vec<Vec<String>> = record
            .figures
            .iter()
            .map(|figure| {
                let interval = figure.interval.map_or("—".into(), |[low, high]| {
                    format!("{} to {}", number(low), number(high))
                });
                let subset = figure.subset.as_deref().unwrap_or("all");
                let name = escape(&figure.name);
                vec![name, escape(subset), number(figure.value), interval, figure.n.to_string()]
            })
            .collect();
        let roles = record.models.iter().map(|(role, source)| {
            format!("{} <code>{}</code>", escape(role), escape(&source.path))
        });
        let settings = record.settings.iter().map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{} {}", escape(key), escape(&value))
        });
        let facts: Vec<String> = roles.chain(settings).collect();
        format!(
            "<h3>{}</h3><p class=\"dim\">{}</p>{}",
            escape(&record.evaluation),
            facts.join(" · "),
            table(&["Figure", "Data", "Value", "95 % interval", "n"], &rows)
        )
    };
    records.iter().map(one).collect()
}

pub(super) fn settings(run: &RunFiles) -> String {
    let sources: Vec<Vec<String>> = run
        .sources()
        .into_iter()
        .map(|(role, path, source)| {
            let hash = source.and_then(|source| source.sha256);
            let hash = hash.map_or("not there now".into(), |hash| format!("<code>{hash}</code>"));
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
    let heads = ["What", "Where", "SHA-256 of what is there now"];
    format!("<div class=\"hashes\">{}</div>{all}", table(&heads, &sources))
}
