//! Why a run ends before its last round.

use super::round::RoundReport;

/// The reason in words; none if all `requested` rounds are done or no rule ends the run after the last of `reports`.
/// `patience` is `gate.patience`: rounds rolled back in a row that end the run.
pub fn stopped_early(reports: &[RoundReport], requested: usize, patience: usize) -> Option<String> {
    let last = reports.last().filter(|last| last.round < requested)?;
    let rejected = reports.iter().rev().take_while(|report| !report.accepted).count();
    let why = match patience {
        _ if last.accepted && !last.reasons.is_empty() => {
            "its samples score as high as the demonstrations (gate.stop)".into()
        }
        _ if rejected < patience => return None,
        1 => "that was rolled back (gate.patience = 1)".into(),
        _ => format!("the last {patience} were rolled back (gate.patience = {patience})"),
    };
    let round = last.round;
    Some(format!(
        "{requested} rounds were asked for; the run stopped after round {round}, since {why}"
    ))
}
