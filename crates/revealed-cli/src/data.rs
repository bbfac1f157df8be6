//! Reading data for a command, with notes on how its columns were read.

use std::path::Path;

use anyhow::Result;
use revealed::data::{Dataset, Demonstration, Preference, Prompt};

use crate::progress::Progress;

/// Reads data; what should be known of its columns is noted.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path, progress: &Progress) -> Result<Dataset> {
    let dataset = revealed::data::read(path)?;
    for note in &dataset.notes {
        progress.note(&format!("{}: {note}", path.display()));
    }
    Ok(dataset)
}

/// As [`read`], for demonstrations.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn demonstrations(path: &Path, progress: &Progress) -> Result<Vec<Demonstration>> {
    Ok(read(path, progress)?.demonstrations()?)
}

/// As [`read`], for preferences.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn preferences(path: &Path, progress: &Progress) -> Result<Vec<Preference>> {
    Ok(read(path, progress)?.preferences()?)
}

/// As [`read`], for ids and prompts; completions are left behind.
///
/// # Errors
/// When it cannot be read.
pub fn prompts(path: &Path, progress: &Progress) -> Result<Vec<(String, Prompt)>> {
    Ok(read(path, progress)?.prompts().into_iter().map(|row| (row.id, row.prompt)).collect())
}
