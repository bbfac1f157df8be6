//! How many rounds were asked for, judged and kept, and why a run has ended before its last one.

use super::run::RunFiles;

/// How many rounds were kept, in a few words.
pub(super) fn kept(run: &RunFiles) -> String {
    let (judged, damaged) = (run.rounds.len(), run.damaged.len());
    let kept = run.rounds.iter().filter(|round| round.accepted).count();
    let mut text = match (judged, damaged) {
        (0, 0) if run.finished => "no round’s report is here".into(),
        (0, 0) => "no round judged yet".into(),
        (0, _) => "not known how many rounds were kept".into(),
        _ => format!("{kept} of {judged} rounds kept"),
    };
    if damaged > 0 {
        let reports = if damaged == 1 { "report is" } else { "reports are" };
        text.push_str(&format!(", {damaged} {reports} damaged"));
    }
    if let Some(asked) = asked(run).filter(|asked| *asked > judged + damaged) {
        text.push_str(&format!(", {asked} asked for"));
    }
    text
}

/// Why a finished run has fewer rounds than were asked for; none where it has them all, or where its reports do not say. The rules are
/// those by which the run stops.
pub fn stopped_early(run: &RunFiles) -> Option<String> {
    let last = run.rounds.last()?;
    let asked = asked(run).filter(|asked| *asked > last.round)?;
    if !run.finished || run.damaged.iter().any(|round| *round > last.round) {
        return None;
    }
    let rejected = run.rounds.iter().rev().take_while(|round| !round.accepted).count();
    let patience = run.settings.number("gate.patience").map(|patience| patience as usize);
    let why = match patience {
        _ if last.accepted && !last.reasons.is_empty() => {
            "its samples score as high as the demonstrations (gate.stop)".into()
        }
        Some(1) if rejected >= 1 => "that was rolled back (gate.patience = 1)".into(),
        Some(patience) if patience > 1 && rejected >= patience => {
            format!("the last {patience} were rolled back (gate.patience = {patience})")
        }
        _ => return None,
    };
    let round = last.round;
    Some(format!("{asked} rounds were asked for; the run stopped after round {round}, since {why}"))
}

fn asked(run: &RunFiles) -> Option<usize> {
    run.settings.number("run.rounds").map(|rounds| rounds as usize)
}

#[cfg(test)]
mod tests {
    use super::super::example::{round, run};
    use super::super::run::Round;
    use super::super::settings::Settings;
    use super::*;

    fn with(accepted: &[bool], rounds: usize, patience: usize) -> RunFiles {
        let mut run = run();
        let text = format!("[run]\nrounds = {rounds}\n[gate]\npatience = {patience}");
        run.settings = Settings::parse(&text).unwrap();
        let numbered = accepted.iter().enumerate();
        run.rounds = numbered.map(|(at, kept)| Round { round: at + 1, ..round(*kept) }).collect();
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
        assert_eq!(kept(&none), "no round judged yet, 2 asked for");
        let lost = RunFiles { damaged: vec![1], ..with(&[], 1, 1) };
        assert_eq!(kept(&lost), "not known how many rounds were kept, 1 report is damaged");
        let half = RunFiles { damaged: vec![2, 3], ..with(&[true], 3, 1) };
        assert_eq!(kept(&half), "1 of 1 rounds kept, 2 reports are damaged");
    }
}
