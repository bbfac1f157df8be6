//! Notes on answers that were not scored as given: failed, truncated, or with scores that depend on the batch.

use revealed::eval::Invariance;
use revealed::eval::rewards::{BATCH_TOLERANCE, ScoredAnswers};

use crate::progress::Progress;

/// Notes failures and truncation of the `what` (pairs, questions) of `title`; `id` names one by its index.
pub fn note_problems<'a>(
    scored: &ScoredAnswers,
    (title, what): (&str, &str),
    id: impl Fn(usize) -> &'a str,
    progress: &Progress,
) {
    if let Some(Invariance { rows, largest }) = scored.invariance
        && largest > BATCH_TOLERANCE
    {
        progress.note(&format!(
            "warning: scores depend on the rest of their batch: {rows} answers scored again differ by up to {largest:.2e}, more than {BATCH_TOLERANCE:.0e}; do not trust these results: try --batch-tokens 1 or another --device, and report this"
        ));
    }
    let used = scored.used.len();
    if let Some((index, reason)) = scored.failed.first() {
        let (failed, all, id) = (scored.failed.len(), used + scored.failed.len(), id(*index));
        progress.note(&format!(
            "{title}: {failed} of {all} {what} could not be scored, the first of them {id}: {reason}"
        ));
    }
    if scored.cut > 0 {
        progress.note(&format!(
            "{title}: {} of {used} {what} were cut to the reward's limits, so what is scored is not what was compared; raise --max-prompt-tokens and --max-completion-tokens as far as the model's context allows",
            scored.cut
        ));
    }
}

/// The line of counts below a table, with the batch check if there was one.
pub fn counts_in_words(scored: &ScoredAnswers, what: &str) -> String {
    let (used, failed, cut) = (scored.used.len(), scored.failed.len(), scored.cut);
    let check = match scored.invariance {
        Some(Invariance { rows, largest }) => {
            format!("; {rows} answers scored again in other batches differ by up to {largest:.1e}")
        }
        None => String::new(),
    };
    format!("{used} {what} scored, {failed} failed, {cut} cut to the limits{check}\n")
}
