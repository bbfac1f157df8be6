//! Notes on the requests to a judge.

use std::path::Path;

use anyhow::Result;

use crate::output::writable;
use crate::progress::Progress;

/// Checks that a record can be written; its folder may be the one that the command creates.
///
/// # Errors
/// As [`writable`].
pub fn record_writable(out: Option<&Path>, folder: &Path) -> Result<()> {
    let made = |out: &&Path| out.parent() == Some(folder) && !folder.exists();
    writable("--out", out.filter(|out| !made(out)))
}

/// The message after a failure: where the judgements are, and how to continue.
pub fn kept_in(path: &Path) -> String {
    format!(
        "judging stopped; what was answered is in {}, and the same command asks only for the rest",
        path.display()
    )
}

/// Notes the judgements that were requested, found in the log, of other settings, and failed.
pub fn note_requests(path: &Path, counts: [usize; 3], failures: &[String], progress: &Progress) {
    let [asked, known, others] = counts;
    progress.note(&format!("{asked} judgements asked for, {known} known, in {}", path.display()));
    if others > 0 {
        progress.note(&format!(
            "{others} judgements in it are of other answers, prompts or settings and are left out here; FastChat's show_result takes every line: remove those it should not count"
        ));
    }
    if let Some(first) = failures.first() {
        progress.note(&format!(
            "{} judgements failed and are asked for again by the same command; the first: {first}",
            failures.len()
        ));
    }
}
