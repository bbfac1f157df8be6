//! Outcomes by setting and arm.

use super::outcome::{Level, Outcome};

/// Outcomes of one arm on a setting.
pub(super) fn of<'a>(outcomes: &'a [Outcome], level: Level, arm: &str) -> Vec<&'a Outcome> {
    outcomes.iter().filter(|outcome| outcome.setting == level && outcome.arm == arm).collect()
}
