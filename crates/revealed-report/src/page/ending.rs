//! How many rounds were requested, evaluated and kept, and why a run has ended before its last one.

use super::run::RunFiles;

/// Number of rounds kept, evaluated and requested, in words.
pub(super) fn kept(run: &RunFiles) -> String {
    let (evaluated, damaged) = (run.rounds.len(), run.damaged.len());
    let kept = run.rounds.iter().filter(|round| round.accepted).count();
    let mut text = match (evaluated, damaged) {
        (0, 0) if run.finished => "no round’s report is here".into(),
        (0, 0) => "no round evaluated yet".into(),
        (0, _) => "not known how many rounds were kept".into(),
        _ => format!("{kept} of {evaluated} rounds kept"),
    };
    if damaged > 0 {
        let reports = if damaged == 1 { "report is" } else { "reports are" };
        text.push_str(&format!(", {damaged} {reports} damaged"));
    }
    if let Some(asked) = asked(run).filter(|asked| *asked > evaluated + damaged) {
        text.push_str(&format!(", {asked} asked for"));
    }
    text
}

/// Why a finished run has fewer rounds than requested, by the trainer's own rules; none if it has them all or its reports
/// do not show why.
pub fn stopped_early(run: &RunFiles) -> Option<String> {
    let last = run.rounds.last()?;
    if !run.finished || run.damaged.iter().any(|round| *round > last.round) {
        return None;
    }
    // Without a recipe the patience is not known.
    let patience = run.settings.number("gate.patience").map_or(usize::MAX, |count| count as usize);
    revealed_train::stopped_early(&run.rounds, asked(run)?, patience)
}

fn asked(run: &RunFiles) -> Option<usize> {
    run.settings.number("run.rounds").map(|rounds| rounds as usize)
}

#[cfg(test)]
mod tests {
    use super::super::example::{round, run};
    use super::super::settings::Settings;
    use super::*;
    use revealed_train::RoundReport;

    fn with(accepted: &[bool], rounds: usize, patience: usize) -> RunFiles {
        let mut run = run();
        let text = format!("[run]\nrounds = {rounds}\n[gate]\npatience = {patience}");
        run.settings = Settings::parse(&text).unwrap();
        let numbered = accepted.iter().enumerate();
        run.rounds =
            numbered.map(|(at, kept)| RoundReport { round: at + 1, ..round(*kept) }).collect();
        run
    }

    #[test]
    fn a_run_that_lost_patience_says_so_and_one_that_did_all_rounds_says_nothing() {
        let why = |run: &RunFiles| stopped_early(run).unwrap_or_default();
        let one = with(&[false], 2, 1);
        let said = "2 rounds were asked for; the run stopped after round 1, since that was rolled back (gate.patience = 1)";
        assert_eq!(why(&one), said);
        assert_eq!(kept(&one), "0 of 1 rounds kept, 2 asked for");
        assert!(why(&with(&[true, false, false], 9, 2)).contains("the last 2 were rolled back"));
        assert_eq!(why(&with(&[true, false], 2, 1)), "");
        assert_eq!(why(&RunFiles { finished: false, ..one }), "");
        let mut passed = with(&[true], 3, 1);
        assert_eq!(why(&passed), "");
        passed.rounds[0].reasons.push("stop: samples score 1".into());
        assert!(why(&passed).contains("gate.stop"), "{}", why(&passed));
    }

    #[test]
    fn what_is_not_known_is_not_counted_as_none() {
        let none = RunFiles { finished: false, ..with(&[], 2, 1) };
        assert_eq!(kept(&none), "no round evaluated yet, 2 asked for");
        let lost = RunFiles { damaged: vec![1], ..with(&[], 1, 1) };
        assert_eq!(kept(&lost), "not known how many rounds were kept, 1 report is damaged");
        let half = RunFiles { damaged: vec![2, 3], ..with(&[true], 3, 1) };
        assert_eq!(kept(&half), "1 of 1 rounds kept, 2 reports are damaged");
    }
}
