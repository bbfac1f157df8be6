//! Which checkpoints stay: the newest, and the one right after the best round.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Checkpoints, STATE, read_json};
use crate::error::TrainError;
use crate::gate::best_round;
use crate::irl::State;
use crate::observer::Phase;

const BEST: &str = "best-";

/// The little of a saved state that says where in the run it is.
#[derive(Deserialize)]
struct Place {
    round: usize,
    phase: Phase,
    progress: Option<IgnoredAny>,
}

impl Checkpoints {
    /// Removes the checkpoints of these numbers; the one that a round's gate has just left, if that round is the best so far,
    /// is kept as `best-NNNNNN` instead of what was that before.
    pub(super) fn leave(&self, numbers: &[u32], state: &State) -> Result<(), TrainError> {
        let best = best_round(&state.reports, &self.recipe);
        for number in numbers {
            let folder = self.folder_of(*number);
            if best.is_some_and(|round| is_after(round, &folder)) {
                let kept = self.folder.join(format!("{BEST}{number:06}"));
                fs::rename(&folder, &kept).map_err(TrainError::io(&folder))?;
            } else {
                remove(&folder)?;
            }
        }
        let kept = self.best()?;
        for number in &kept[..kept.len().saturating_sub(1)] {
            remove(&self.folder.join(format!("{BEST}{number:06}")))?;
        }
        Ok(())
    }

    /// Clears what a killed save or removal has left.
    pub(super) fn tidy(&self) -> Result<(), TrainError> {
        let entries = fs::read_dir(&self.folder).map_err(TrainError::io(&self.folder))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("removed" | "partial")) {
                clear(&path)?;
            }
        }
        Ok(())
    }

    /// Numbers of those after a best round, rising: one, but for a moment.
    pub(super) fn best(&self) -> Result<Vec<u32>, TrainError> {
        self.numbered(|name| name.strip_prefix(BEST))
    }

    /// Complete checkpoints, the first to try first: the newest, then the one after the best round.
    pub(super) fn candidates(&self) -> Result<Vec<PathBuf>, TrainError> {
        let newest = self.numbers()?.into_iter().rev().map(|number| self.folder_of(number));
        let best = self.best()?;
        let best = best.iter().rev().map(|number| self.folder.join(format!("{BEST}{number:06}")));
        Ok(newest.chain(best).collect())
    }
}

/// Whether a checkpoint is what the gate of a round left.
fn is_after(round: usize, folder: &Path) -> bool {
    match read_json::<Place>(&folder.join(STATE)) {
        Ok(Place { round: next, phase: Phase::Sample, progress: None }) => next == round + 1,
        _ => false,
    }
}

/// Out of sight first: what is only half removed is no checkpoint.
fn remove(folder: &Path) -> Result<(), TrainError> {
    let gone = folder.with_extension("removed");
    clear(&gone)?;
    fs::rename(folder, &gone).map_err(TrainError::io(folder))?;
    fs::remove_dir_all(&gone).map_err(TrainError::io(&gone))
}

/// Makes sure that a folder is not there.
pub(super) fn clear(folder: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(folder)(error))
        }
        _ => Ok(()),
    }
}
