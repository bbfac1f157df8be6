//! From log-likelihoods to a question's values, and from questions to figures.

use std::collections::BTreeMap;

use super::description::{Metric, TaskDescription};
use super::question::TaskQuestion;
use crate::record::{Figure, Item};
use crate::stats::{Z_95, mean_ci95, mean_sd, wilson};

/// Score of one continuation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ContinuationScore {
    /// Σ log π of the continuation, in nats.
    pub log_likelihood: f64,
    /// Whether greedy decoding would give the continuation.
    pub greedy: bool,
    /// Its tokens.
    pub tokens: usize,
}

/// The name of the value behind `perplexity`.
const LOG_LIKELIHOOD: &str = "log_likelihood";

/// The likeliest of several, the first of equals.
fn likeliest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (f64::NEG_INFINITY, 0);
    for (index, value) in values.enumerate() {
        if value > best.0 {
            best = (value, index);
        }
    }
    best.1
}

/// The choice that a metric takes.
pub(super) fn choice(
    metric: Metric,
    question: &TaskQuestion,
    scored: &[ContinuationScore],
) -> usize {
    let per = |length: fn(&str) -> usize| {
        let each = scored.iter().zip(&question.choices);
        likeliest(each.map(|(s, choice)| s.log_likelihood / length(choice) as f64))
    };
    match metric {
        Metric::AccNorm => per(|choice| choice.chars().count()),
        Metric::AccBytes => per(str::len),
        _ => likeliest(scored.iter().map(|scored| scored.log_likelihood)),
    }
}

/// `Σ_true p_i / Σ p_i` with `p_i = exp(log-likelihood)`, shifted by the largest so that none vanishes.
fn true_share(question: &TaskQuestion, scored: &[ContinuationScore]) -> f64 {
    let most = scored.iter().map(|s| s.log_likelihood).fold(f64::NEG_INFINITY, f64::max);
    let share = |s: &ContinuationScore| (s.log_likelihood - most).exp();
    let all: f64 = scored.iter().map(share).sum();
    let labelled = scored.iter().zip(&question.labels).filter(|(_, label)| **label == 1.0);
    labelled.map(|(scored, _)| share(scored)).sum::<f64>() / all
}

/// What a question with scored continuations counts, by metric.
pub(super) fn values(
    task: &TaskDescription,
    question: &TaskQuestion,
    scored: &[ContinuationScore],
) -> BTreeMap<String, f64> {
    let chosen = |metric| f64::from(question.gold.contains(&choice(metric, question, scored)));
    let greedy = |at: &usize| scored.get(*at).is_some_and(|scored| scored.greedy);
    let value = |metric: &Metric| {
        let value = match metric {
            Metric::Acc if question.choices.is_empty() => f64::from(greedy(&0)),
            Metric::Acc | Metric::Mc1 | Metric::AccNorm | Metric::AccBytes => chosen(*metric),
            Metric::Mc2 => true_share(question, scored),
            Metric::ExactMatch => f64::from(question.gold.iter().any(greedy)),
            Metric::Perplexity => {
                let sum = scored.iter().map(|scored| scored.log_likelihood).sum();
                return (LOG_LIKELIHOOD.to_owned(), sum);
            }
        };
        (metric.name().to_owned(), value)
    };
    task.metrics.iter().map(value).collect()
}

/// A figure with its standard error.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFigure {
    /// The figure; its interval is Wilson's where all values are 0 or 1, Student's otherwise.
    pub figure: Figure,
    /// Standard error of the mean, `s / √n`; none of fewer than two items or of a perplexity.
    pub stderr: Option<f64>,
}

/// Figures over all items, then over every part where there are several.
pub(super) fn figures(items: &[Item]) -> Vec<TaskFigure> {
    let mut parts: Vec<&str> = items.iter().filter_map(|item| item.subset.as_deref()).collect();
    parts.sort_unstable();
    parts.dedup();
    let parts = if parts.len() > 1 { parts } else { Vec::new() };
    let names: Vec<&String> = items.first().map_or(vec![], |item| item.values.keys().collect());
    std::iter::once(None)
        .chain(parts.into_iter().map(Some))
        .flat_map(|part| names.iter().map(move |name| (part, *name)))
        .map(|(part, name)| {
            let of = |item: &&Item| part.is_none() || item.subset.as_deref() == part;
            let values = items.iter().filter(of).filter_map(|item| item.values.get(name).copied());
            figure(name, part, &values.collect::<Vec<f64>>())
        })
        .collect()
}

fn figure(name: &str, part: Option<&str>, values: &[f64]) -> TaskFigure {
    let (n, (mean, sd)) = (values.len(), mean_sd(values));
    let shares = values.iter().all(|value| *value == 0.0 || *value == 1.0);
    let (low, high) = match shares {
        true => wilson(values.iter().sum(), n, Z_95),
        false => mean_ci95(values),
    };
    let interval = (low.is_finite() && high.is_finite()).then_some([low, high]);
    let stderr = (n > 1).then(|| sd / (n as f64).sqrt());
    let subset = part.map(str::to_owned);
    if name != LOG_LIKELIHOOD {
        // A share, of which Student's interval knows nothing.
        let interval = interval.map(|[low, high]| [low.max(0.0), high.min(1.0)]);
        let figure = Figure { name: name.into(), subset, value: mean, interval, n, parts: vec![] };
        return TaskFigure { figure, stderr };
    }
    let interval = interval.map(|[low, high]| [(-high).exp(), (-low).exp()]);
    let name = Metric::Perplexity.name().into();
    let value = (-mean).exp();
    TaskFigure { figure: Figure { name, subset, value, interval, n, parts: vec![] }, stderr: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(log_likelihood: f64) -> ContinuationScore {
        ContinuationScore { log_likelihood, greedy: log_likelihood > -1.0, tokens: 1 }
    }

    fn task(metrics: &str) -> TaskDescription {
        let text = format!(
            "task = 't'\noutput_type = 'multiple_choice'\ndoc_to_text = 'q'\ndoc_to_choice = 'c'\ndoc_to_target = 0\ndoc_to_labels = 'l'\nmetrics = [{metrics}]"
        );
        TaskDescription::parse(&text, "here").unwrap()
    }

    fn question(choices: &[&str], gold: &[usize], labels: &[f64]) -> TaskQuestion {
        TaskQuestion {
            requests: vec![],
            choices: choices.iter().map(|choice| choice.to_string()).collect(),
            gold: gold.to_vec(),
            labels: labels.to_vec(),
            target: String::new(),
        }
    }

    #[test]
    fn lengths_are_characters_for_acc_norm_and_bytes_for_acc_bytes() {
        // Six bytes but three characters, against four of each.
        let question = question(&["ééé", "bbbb", "c"], &[0], &[]);
        let all = [scored(-3.3), scored(-4.0), scored(-2.0)];
        assert_eq!(choice(Metric::Acc, &question, &all), 2);
        assert_eq!(choice(Metric::AccNorm, &question, &all), 1);
        assert_eq!(choice(Metric::AccBytes, &question, &all), 0);
        let values = values(&task("'acc', 'acc_norm', 'acc_bytes'"), &question, &all);
        assert_eq!(values.into_values().collect::<Vec<_>>(), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn mc2_is_the_true_share_of_the_probability_however_small_that_is() {
        let question = question(&["a", "b", "c"], &[0], &[1.0, 1.0, 0.0]);
        let all = [0.2f64, 0.1, 0.5].map(|p| scored(p.ln() - 2000.0));
        let values = values(&task("'mc2', 'mc1', 'exact_match'"), &question, &all);
        assert!((values["mc2"] - 0.375).abs() < 1e-9);
        assert_eq!((values["mc1"], values["exact_match"]), (0.0, 0.0));
    }

    #[test]
    fn the_first_of_equals_is_taken_and_any_right_choice_counts() {
        let all = [scored(-1.0), scored(-0.5), scored(-0.5)];
        let of = |gold: &[usize]| {
            values(&task("'acc', 'exact_match'"), &question(&["a", "b", "c"], gold, &[]), &all)
        };
        assert_eq!((of(&[2])["acc"], of(&[2])["exact_match"]), (0.0, 1.0));
        assert_eq!((of(&[2, 1])["acc"], of(&[0])["exact_match"]), (1.0, 0.0));
    }

    fn item(subset: &str, name: &str, value: f64) -> Item {
        Item {
            id: "0".into(),
            subset: Some(subset.into()),
            values: BTreeMap::from([(name.into(), value)]),
            detail: serde_json::Map::new(),
        }
    }

    #[test]
    fn figures_are_over_all_items_and_over_each_part() {
        let items = [("a", 1.0), ("b", 0.0), ("a", 0.0), ("a", 1.0)];
        let items: Vec<Item> = items.iter().map(|(part, v)| item(part, "acc", *v)).collect();
        let all = figures(&items);
        let shown: Vec<_> =
            all.iter().map(|f| (f.figure.subset.as_deref(), f.figure.value, f.figure.n)).collect();
        assert_eq!(shown, [(None, 0.5, 4), (Some("a"), 2.0 / 3.0, 3), (Some("b"), 0.0, 1)]);
        let (low, high) = wilson(2.0, 4, Z_95);
        assert_eq!(all[0].figure.interval, Some([low, high]));
        // s = √(1/3), over √4.
        assert!((all[0].stderr.unwrap() - (1.0f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(all[2].stderr, None);
        assert_eq!(figures(&items[..1]).len(), 1);
    }

    #[test]
    fn an_interval_of_shares_stays_between_0_and_1() {
        let items: Vec<Item> = [1.0, 0.1].iter().map(|v| item("a", "mc2", *v)).collect();
        assert_eq!(figures(&items)[0].figure.interval, Some([0.0, 1.0]));
        assert_eq!(figures(&items[..1])[0].figure.n, 1);
        let one: Vec<Item> = vec![item("a", "mc2", 0.3)];
        assert_eq!(figures(&one)[0].figure.interval, None);
    }

    #[test]
    fn perplexity_comes_from_the_mean_log_likelihood() {
        let items: Vec<Item> = [-1.0, -3.0].iter().map(|v| item("a", LOG_LIKELIHOOD, *v)).collect();
        let all = figures(&items);
        let TaskFigure { figure, stderr } = &all[0];
        assert_eq!((figure.name.as_str(), *stderr), ("perplexity", None));
        assert!((figure.value - 2.0f64.exp()).abs() < 1e-12);
        let [low, high] = figure.interval.unwrap();
        assert!(low < figure.value && figure.value < high);
    }
}
