//! The tables of the page, each from the data that it shows; one without data is empty and left out.

use super::gold::GoldRow;
use super::held_out::{changes, result};
use super::number::{number, range, signed};
use super::run::RunFiles;
use super::text::escape;
use revealed_train::RoundReport;

/// Heads and cells are HTML; on a phone a row is its first cell over the others, each after its head.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let body: String = rows
        .iter()
        .map(|cells| {
            let cells = cells.iter().enumerate().map(|(index, cell)| match index {
                0 => format!("<th scope=\"row\">{cell}</th>"),
                _ => {
                    let head = heads.get(index).copied().unwrap_or_default();
                    format!("<td data-head=\"{head}\">{cell}</td>")
                }
            });
            format!("<tr>{}</tr>", cells.collect::<String>())
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
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
        "<div class=\"stack\">{}</div><p class=\"dim\">Intervals are over prompts, paired: both models answer each prompt with the same random numbers. Rewards are in the unit of round {}’s reward: 0 is the average training demonstration, 1 the spread between samples of one prompt.</p>",
        table(&heads, &rows),
        round.round
    )
}

pub(super) fn gold(run: &RunFiles) -> String {
    let Some(gold) = &run.gold else { return String::new() };
    let row = |row: &GoldRow| {
        vec![
            escape(&row.name),
            number(row.t1),
            range(row.t1_ci95),
            number(row.perfect),
            number(row.t07),
            number(row.greedy),
        ]
    };
    let rows: Vec<Vec<String>> = gold.rows.iter().map(row).collect();
    let heads = ["Model", "T = 1", "95 % interval", "Perfect", "T = 0.7", "Greedy"];
    format!(
        "<div class=\"stack\">{}</div><p class=\"dim\">The built-in task has a known true reward; the mean of its demonstrations is {}. Only this table uses it: rounds were kept by held-out demonstrations.</p>",
        table(&heads, &rows),
        number(gold.demonstrations)
    )
}

pub(super) fn rounds(run: &RunFiles) -> String {
    if run.rounds.is_empty() {
        return String::new();
    }
    let arrow = |before: f64, after: f64| format!("{} → {}", number(before), number(after));
    let figures: [(&str, &dyn Fn(&RoundReport) -> String); 11] = [
        ("verdict", &|r| if r.accepted { "kept".into() } else { "rolled back".into() }),
        ("reward of samples", &|r| arrow(r.before.reward, r.after.reward)),
        ("reward of demonstrations", &|r| number(r.demonstrations_reward)),
        ("validation reward of samples", &|r| {
            r.validation_reward.map_or("—".into(), |scores| arrow(scores.before, scores.after))
        }),
        ("KL to the SFT model, nats/completion", &|r| arrow(r.before.kl, r.after.kl)),
        ("length, tokens", &|r| arrow(r.before.length, r.after.length)),
        ("share ending in EOS", &|r| arrow(r.before.terminated, r.after.terminated)),
        ("log-likelihood of demonstrations", &|r| {
            arrow(r.before.log_likelihood, r.after.log_likelihood)
        }),
        ("repeated 4-grams", &|r| arrow(r.before.repetition, r.after.repetition)),
        ("distinct 2-grams", &|r| arrow(r.before.distinct_2, r.after.distinct_2)),
        ("demonstration above sample", &|r| arrow(r.accuracy_before, r.accuracy_after)),
    ];
    by_round(run, "Held out, before → after", &figures)
}

/// A row a figure and a column a round.
fn by_round(
    run: &RunFiles,
    head: &str,
    figures: &[(&str, &dyn Fn(&RoundReport) -> String)],
) -> String {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|(name, figure)| {
            std::iter::once((*name).to_owned()).chain(run.rounds.iter().map(figure)).collect()
        })
        .collect();
    let columns: Vec<String> =
        run.rounds.iter().map(|round| format!("Round {}", round.round)).collect();
    let heads: Vec<&str> =
        std::iter::once(head).chain(columns.iter().map(String::as_str)).collect();
    format!("<div class=\"stack\">{}</div>", table(&heads, &rows))
}

pub(super) fn audit(run: &RunFiles) -> String {
    if run.rounds.is_empty() {
        return String::new();
    }
    let maybe = |value: Option<f64>| value.map_or("—".into(), number);
    let figures: [(&str, &dyn Fn(&RoundReport) -> String); 13] = [
        ("accuracy of the reward, all pairs", &|r| number(r.audit.accuracy)),
        ("length alone", &|r| number(r.audit.length_accuracy)),
        ("bag of tokens", &|r| number(r.audit.bag_accuracy)),
        ("lead over the better of these", &|r| signed(r.audit.beyond_shortcuts())),
        ("accuracy on length-matched pairs", &|r| maybe(r.audit.length_matched_accuracy)),
        ("accuracy where the bag of tokens fails", &|r| maybe(r.audit.bag_hard_accuracy)),
        ("AUC", &|r| number(r.audit.auc)),
        ("calibration error", &|r| number(r.audit.ece)),
        ("correlation with length", &|r| maybe(r.audit.length_correlation)),
        ("correlation with EOS", &|r| maybe(r.audit.terminated_correlation)),
        ("correlation with repetition", &|r| maybe(r.audit.repetition_correlation)),
        ("correlation with format marks", &|r| maybe(r.audit.marks_correlation)),
        ("pairs (prompts)", &|r| format!("{} ({})", r.audit.pairs, r.audit.prompts)),
    ];
    let warnings: String = run
        .rounds
        .iter()
        .flat_map(|round| round.audit.warnings().into_iter().map(move |w| (round.round, w)))
        .map(|(round, warning)| format!("<li>Round {round}: {}</li>", escape(&warning)))
        .collect();
    let warnings = if warnings.is_empty() { warnings } else { format!("<ul>{warnings}</ul>") };
    format!("{}{warnings}", by_round(run, "Held-out pairs", &figures))
}
