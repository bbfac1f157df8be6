//! Identity of the settings of a result.

use std::path::Path;

use revealed_train::RunSection;
use sha2::{Digest, Sha256};

use crate::base_model::settings;

/// A hash of a method and of the task's recipe, without files, seed, gates and `[run]`, which affect no result.
pub fn fingerprint(method: &str) -> String {
    let mut recipe = settings(Path::new("."), 0);
    recipe.gate = recipe.gate.without_bounds();
    recipe.run = RunSection::default();
    let text = recipe.to_commented_toml();
    let (text, _run) = text.split_once("[run]").unwrap_or((&text, ""));
    let without_comments: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let hash = Sha256::digest(format!("{method}\n{without_comments}").as_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
