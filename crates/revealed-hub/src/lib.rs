#![doc = include_str!("../README.md")]

mod cache;
mod card;
mod client;
mod dataset;
mod error;
mod expand;
mod formats;
mod glob;
mod hub;
mod layout;
mod model;
mod repository;
mod settings;

use std::path::PathBuf;

pub use error::HubError;
pub use hub::Hub;
pub use layout::SPLIT_WORDS;
pub use settings::HubSettings;

/// The folder of a model: a folder as it is, a hub id such as `owner/name@revision` through the
/// cache or the hub.
///
/// # Errors
/// As [`Hub::model`], and when an environment variable has a value that cannot be used.
pub fn resolve_model(name: &str) -> Result<PathBuf, HubError> {
    with_environment(name, |hub| hub.model(name))
}

/// The folder of a PEFT adapter, as [`resolve_model`].
///
/// # Errors
/// As [`resolve_model`].
pub fn resolve_adapter(name: &str) -> Result<PathBuf, HubError> {
    with_environment(name, |hub| hub.adapter(name))
}

/// The files of a data set's split; see [`Hub::dataset`].
///
/// # Errors
/// As [`Hub::dataset`], and when an environment variable has a value that cannot be used.
pub fn resolve_dataset(
    id: &str,
    revision: Option<&str>,
    config: Option<&str>,
    split: Option<&str>,
) -> Result<Vec<PathBuf>, HubError> {
    Hub::from_env()?.dataset(id, revision, config, split)
}

/// A folder needs no settings, right or wrong.
fn with_environment(
    name: &str,
    resolve: impl FnOnce(&Hub) -> Result<PathBuf, HubError>,
) -> Result<PathBuf, HubError> {
    let path = PathBuf::from(name);
    match path.is_dir() {
        true => Ok(path),
        false => resolve(&Hub::from_env()?),
    }
}
