//! What can go wrong between a name and files on disk.

use std::path::PathBuf;

use thiserror::Error;

/// Why a name did not become files on disk, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that is neither a folder nor the id of a repository.
    #[error(
        "`{name}` is neither a folder nor a hub id: {reason}; pass the path of a local {kind} folder, or an id of the form owner/name or owner/name@revision"
    )]
    Id {
        /// What was asked for.
        name: String,
        /// What it should be: a model, an adapter or a data set.
        kind: &'static str,
        /// What is wrong with it as an id.
        reason: String,
    },
    /// A repository that is not in the cache and was not fetched.
    #[error(
        "`{id}` is not a folder, the cache {} {missing}, and {reason}; pass the path of a local {kind} folder, or fetch it while online",
        cache.display()
    )]
    Unresolved {
        /// What was asked for.
        id: String,
        /// A model, an adapter or a data set.
        kind: &'static str,
        /// The cache that was searched.
        cache: PathBuf,
        /// What it does not have.
        missing: String,
        /// Why it was not fetched.
        reason: String,
    },
    /// A repository that does not hold what is needed.
    #[error("`{id}`: {reason}")]
    Content {
        /// What was asked for.
        id: String,
        /// What it holds and what to do.
        reason: String,
    },
    /// An environment variable with a value that cannot be used.
    #[error("environment variable {name} = `{value}`: expected {expected}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl HubError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
