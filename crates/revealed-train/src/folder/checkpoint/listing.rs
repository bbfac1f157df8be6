//! Checkpoints in a folder: their numbers, and which are kept: the newest, and the one after the best round.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::files::{STATE, read_json};
use crate::error::TrainError;
use crate::record::Phase;

const BEST: &str = "best-";

/// The fields of a saved state that tell where in the run it is.
#[derive(Deserialize)]
struct SavedPlace {
    round: usize,
    phase: Phase,
    phase_state: Option<IgnoredAny>,
}

/// Numbers of complete checkpoints, ascending.
pub(super) fn numbers(folder: &Path) -> Result<Vec<u32>, TrainError> {
    numbers_of(folder, |name| Some(name))
}

/// Numbers of checkpoints after a best round, ascending: one, or two during a save.
pub(super) fn best_numbers(folder: &Path) -> Result<Vec<u32>, TrainError> {
    numbers_of(folder, |name| name.strip_prefix(BEST))
}

/// Path of a checkpoint.
pub(super) fn folder_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}"))
}

fn best_folder_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{BEST}{number:06}"))
}

/// Ascending numbers of the folders whose name without a prefix is a number.
fn numbers_of(folder: &Path, strip: fn(&str) -> Option<&str>) -> Result<Vec<u32>, TrainError> {
    if !folder.is_dir() {
        return Ok(vec![]);
    }
    let entries = fs::read_dir(folder).map_err(TrainError::io(folder))?;
    let number = |name: &str| -> Option<u32> {
        let number = strip(name)?;
        // Names with a sign or fewer digits are not written by a run.
        let valid = number.len() >= 6 && number.bytes().all(|digit| digit.is_ascii_digit());
        number.parse().ok().filter(|_| valid)
    };
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| number(entry.ok()?.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Complete checkpoints in the order in which to try them: newest first, then the one after the best round.
pub(super) fn candidates(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let numbers = numbers(folder)?;
    let newest = numbers.into_iter().rev().map(|number| folder_of(folder, number));
    let best = best_numbers(folder)?;
    let best = best.into_iter().rev().map(|number| best_folder_of(folder, number));
    Ok(newest.chain(best).collect())
}

/// Removes the checkpoints with these numbers. The one after the gate of the best round is kept as `best-NNNNNN` and replaces
/// the previous one.
pub(super) fn prune(
    folder: &Path,
    numbers: &[u32],
    best_round: Option<usize>,
) -> Result<(), TrainError> {
    for number in numbers {
        let checkpoint = folder_of(folder, *number);
        if best_round.is_some_and(|round| is_after(round, &checkpoint)) {
            let kept = best_folder_of(folder, *number);
            fs::rename(&checkpoint, &kept).map_err(TrainError::io(&checkpoint))?;
        } else {
            remove(&checkpoint)?;
        }
    }
    let kept = best_numbers(folder)?;
    for number in &kept[..kept.len().saturating_sub(1)] {
        remove(&best_folder_of(folder, *number))?;
    }
    Ok(())
}

/// Removes incomplete folders of saves and removals that were interrupted.
pub(super) fn remove_partial(folder: &Path) -> Result<(), TrainError> {
    let entries = fs::read_dir(folder).map_err(TrainError::io(folder))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("removed" | "partial")) {
            clear(&path)?;
        }
    }
    Ok(())
}

/// Whether a checkpoint is the state right after the gate of a round.
fn is_after(round: usize, checkpoint: &Path) -> bool {
    match read_json::<SavedPlace>(&checkpoint.join(STATE)) {
        Ok(SavedPlace { round: next, phase: Phase::Sample, phase_state: None }) => {
            next == round + 1
        }
        _ => false,
    }
}

/// Renames a checkpoint before it is removed, so that a partly removed one is not taken for a checkpoint.
fn remove(checkpoint: &Path) -> Result<(), TrainError> {
    let gone = checkpoint.with_extension("removed");
    clear(&gone)?;
    fs::rename(checkpoint, &gone).map_err(TrainError::io(checkpoint))?;
    fs::remove_dir_all(&gone).map_err(TrainError::io(&gone))
}

/// Removes a folder if it exists.
pub(super) fn clear(folder: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(folder)(error))
        }
        _ => Ok(()),
    }
}
