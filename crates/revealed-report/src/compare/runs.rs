//! Two run folders: settings that differ, final held-out figures, what became of the rounds.

use serde::Serialize;

use super::Difference;
use revealed_train::RoundReport;

use crate::page::{Level, RunFiles, changes, curves, result, stopped_early, verdict};

/// Keys of paths: they do not affect the result.
const PLACES: [&str; 1] = ["run.out"];

/// A held-out figure of both runs' results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFigure {
    /// What it is.
    pub name: String,
    /// On the left; `None` where the run has none.
    pub a: Option<f64>,
    /// On the right.
    pub b: Option<f64>,
}

/// Two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunComparison {
    /// Recipe keys that differ.
    pub settings: Vec<Difference>,
    /// Final held-out figures: of the last kept round, or of the last candidate where none was kept.
    pub figures: Vec<RunFigure>,
    /// A round's verdict on each side, from the first on.
    pub rounds: Vec<Difference>,
    /// The verdict's questions with the answers of each side.
    pub answers: Vec<Difference>,
    /// What to keep in mind.
    pub notes: Vec<String>,
}

/// Compares `b` with `a`.
pub fn compare_runs(a: &RunFiles, b: &RunFiles) -> RunComparison {
    let settings = a
        .settings
        .differences(&b.settings)
        .into_iter()
        .filter(|(key, _)| !PLACES.contains(&key.as_str()))
        .filter_map(|(key, values)| Difference::of(key, values))
        .collect();
    let count = a.rounds.len().max(b.rounds.len());
    let rounds = (0..count)
        .map(|index| {
            let [a, b] = [a, b].map(|run| run.rounds.get(index).map(word));
            Difference { key: format!("round {}", index + 1), a, b }
        })
        .collect();
    let answers = [a, b].map(|run| verdict(run, &curves(&run.metrics)));
    let said = |level: Level| Some(level.word().to_owned());
    let answers = answers[0]
        .iter()
        .zip(&answers[1])
        .map(|(a, b)| Difference { key: a.question.into(), a: said(a.level), b: said(b.level) })
        .collect();
    let mut notes = vec![
        "each run measures rewards by its own reward: figures in rewards compare within a run, not between two".to_owned(),
    ];
    for (side, run) in [("a", a), ("b", b)] {
        notes.extend(result(run).map(|round| format!("{side}: {}", delivered(round))));
        notes.extend(stopped_early(run).map(|why| format!("{side}: {why}")));
        notes.extend(run.missing.iter().map(|missing| format!("{side}: {missing}")));
    }
    RunComparison { settings, figures: figures(a, b), rounds, answers, notes }
}

/// What a run's figures are of, and what its `policy/` holds.
fn delivered(round: &RoundReport) -> String {
    let number = round.round;
    match round.accepted {
        true => format!("its result is round {number}"),
        false => format!(
            "no round was kept, so its policy/ is the SFT model; its figures are of the candidate of round {number}, which was rolled back"
        ),
    }
}

fn word(round: &RoundReport) -> String {
    match (round.accepted, round.reasons.as_slice()) {
        (true, _) => "kept".into(),
        (false, reasons) => format!("rolled back: {}", reasons.join("; ")),
    }
}

fn figures(a: &RunFiles, b: &RunFiles) -> Vec<RunFigure> {
    let of = |run: &RunFiles| -> Vec<(String, f64)> {
        let Some(round) = result(run) else { return vec![] };
        let mut all = vec![
            ("reward accuracy, held-out pairs".to_owned(), round.audit.accuracy),
            ("its lead over shortcuts".into(), round.audit.beyond_shortcuts()),
        ];
        for change in changes(run, round) {
            all.push((change.name.into(), change.policy));
            all.push((format!("  change from SFT: {}", change.name), change.difference()));
        }
        if let Some(scores) = round.validation_reward {
            all.push((
                "validation reward: change in the round, standard errors".into(),
                scores.gain(),
            ));
        }
        all
    };
    let (left, right) = (of(a), of(b));
    let find = |all: &[(String, f64)], name: &str| {
        all.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    };
    let mut names: Vec<&String> = left.iter().map(|(name, _)| name).collect();
    names.extend(right.iter().map(|(name, _)| name).filter(|name| find(&left, name).is_none()));
    let figure = |name: &String| RunFigure {
        name: name.clone(),
        a: find(&left, name),
        b: find(&right, name),
    };
    names.into_iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Settings;
    use crate::page::example::{round, run};

    #[test]
    fn runs_are_compared_by_settings_figures_and_rounds() {
        let (a, mut b) = (run(), run());
        b.settings = Settings::parse(
            "[policy]\nkl_coef = 0.5\n[gate]\nmax_kl = 3.0\n[run]\nout = \"elsewhere\"",
        )
        .unwrap();
        b.rounds = vec![round(false)];
        b.missing.push("samples are gone".into());
        let compared = compare_runs(&a, &b);
        let keys: Vec<&str> = compared.settings.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(keys, ["policy.kl_coef"]);
        assert_eq!(compared.rounds[0].a.as_deref(), Some("kept"));
        assert!(compared.rounds[0].b.as_deref().unwrap().starts_with("rolled back: KL"));
        assert!(compared.notes.iter().any(|note| note == "b: samples are gone"));
        assert!(compared.notes.iter().any(|note| note == "a: its result is round 1"));
        let rejected = "b: no round was kept, so its policy/ is the SFT model";
        assert!(
            compared.notes.iter().any(|note| note.starts_with(rejected)),
            "{:?}",
            compared.notes
        );
        let objective = &compared.figures[2];
        assert_eq!(objective.name, "reward minus KL penalty");
        // 0.1 nats at 0.5 instead of 0.1.
        assert!((objective.a.unwrap() - objective.b.unwrap() - 0.04).abs() < 1e-9);
    }

    #[test]
    fn a_run_without_rounds_has_no_figures() {
        let mut b = run();
        b.rounds.clear();
        let compared = compare_runs(&run(), &b);
        assert!(compared.figures.iter().all(|figure| figure.a.is_some() && figure.b.is_none()));
    }
}
