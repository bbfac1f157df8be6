//! Recipe keys that were renamed: a recipe that still uses an old key is refused with the new name.

use crate::error::TrainError;

/// Old key and new key, dotted. A section that was renamed is listed without a field.
const RENAMED: &[(&str, &str)] = &[
    ("guard", "health"),
    ("sft.patience", "sft.early_stopping_patience"),
    ("reward.centring", "reward.center_rewards_coef"),
    ("reward.fading", "reward.negative_reweighting"),
    ("reward.members", "reward.ensemble_size"),
    ("reward.disagreement", "reward.uncertainty_penalty"),
    ("policy.inner_epochs", "policy.num_ppo_epochs"),
    ("policy.anchor", "policy.reference"),
    ("policy.kl_in", "policy.kl_placement"),
    ("policy.clip_low", "policy.epsilon"),
    ("policy.clip_high", "policy.epsilon_high"),
    ("gate.judge", "gate.validation_reward"),
    ("gate.min_judge_gain", "gate.min_validation_gain"),
    ("gate.min_beyond_shortcuts", "gate.min_shortcut_margin"),
];

/// # Errors
/// At the first key of `table` that has another name now.
pub(super) fn check(table: &toml::Table, origin: &str) -> Result<(), TrainError> {
    match RENAMED.iter().find(|(old, _)| contains(table, old)) {
        None => Ok(()),
        Some((old, new)) => Err(TrainError::RenamedKey { origin: origin.into(), old, new }),
    }
}

fn contains(table: &toml::Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.contains_key(key),
        Some((section, field)) => table
            .get(section)
            .and_then(toml::Value::as_table)
            .is_some_and(|section| section.contains_key(field)),
    }
}
