//! `results.jsonl`: results that exist, and whether they are of the current settings.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::arms::Arm;
use super::outcome::{Level, Outcome};
use crate::LabError;

/// Setting, seed and name of an arm.
pub(super) type Key = (Level, u64, String);

/// All results of a file; none if there is no file.
///
/// # Errors
/// When the file cannot be read or a line is damaged.
pub fn read(path: &Path) -> Result<Vec<Outcome>, LabError> {
    if !path.is_file() {
        return Ok(vec![]);
    }
    let text = std::fs::read_to_string(path).map_err(LabError::io(path))?;
    let parsed = text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line).map_err(|source| LabError::Damaged {
            path: path.into(),
            line: index + 1,
            source,
        })
    });
    parsed.collect()
}

/// Results that exist, all with the current settings of their arms.
pub(super) fn existing<'a>(
    path: &Path,
    arms: impl Iterator<Item = &'a Arm>,
) -> Result<HashSet<Key>, LabError> {
    let now: HashMap<&str, String> =
        arms.map(|arm| (arm.name.as_str(), arm.fingerprint())).collect();
    let mut keys = HashSet::new();
    for (index, outcome) in read(path)?.into_iter().enumerate() {
        let line = index + 1;
        if let Some(now) = now.get(outcome.arm.as_str()).filter(|now| **now != outcome.settings) {
            return Err(LabError::OtherSettings {
                path: path.into(),
                line,
                arm: outcome.arm,
                recorded: outcome.settings,
                now: now.clone(),
            });
        }
        let key = (outcome.setting, outcome.seed, outcome.arm);
        if !keys.insert(key.clone()) {
            let result = format!("{:?}, seed {}, {}", key.0, key.1, key.2);
            return Err(LabError::Duplicate { path: path.into(), line, result });
        }
    }
    Ok(keys)
}
