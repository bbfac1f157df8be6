//! From what a user names to a folder on disk: a path as it is, a hub id through `revealed-hub`.

use std::path::PathBuf;

use crate::error::ModelError;

/// Resolves a model folder, or a hub id such as `EleutherAI/pythia-1b-deduped` or
/// `owner/name@revision`.
///
/// A folder that exists is used as it is and nothing is contacted. An id is looked up in the hub's
/// cache first, and fetched only when something of it is not there.
///
/// # Errors
/// When the name is neither a folder nor a cached or reachable model.
pub fn resolve(name: &str) -> Result<PathBuf, ModelError> {
    Ok(revealed_hub::resolve_model(name)?)
}

/// Resolves a PEFT adapter's folder, or its hub id, as [`resolve`] does for models.
///
/// # Errors
/// When the name is neither a folder nor a cached or reachable adapter.
pub fn resolve_adapter(name: &str) -> Result<PathBuf, ModelError> {
    Ok(revealed_hub::resolve_adapter(name)?)
}
