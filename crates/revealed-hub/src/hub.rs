//! From a name to files on disk: a folder as it is, an id through the cache, then through the hub.

use std::path::{Path, PathBuf};

use crate::cache::{Snapshot, find};
use crate::client::{Client, Failure, Listing};
use crate::error::HubError;
use crate::model::{
    TOKENIZER, adapter_files, adapter_lacks, companions, is_index, model_files, model_lacks, shards,
};
use crate::repository::{Kind, Repository};
use crate::settings::HubSettings;

/// The hub and its cache under given settings.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) settings: HubSettings,
}

impl Hub {
    /// The hub under the given settings.
    pub fn new(settings: HubSettings) -> Self {
        Self { settings }
    }

    /// The hub under the settings of this process's environment.
    ///
    /// # Errors
    /// When a variable has a value that cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        HubSettings::from_env().map(Self::new)
    }

    /// The folder of a model: `name` if it is a folder, else that of the hub id `name`. What the
    /// cache holds in full is used without a request.
    ///
    /// # Errors
    /// When the name is neither a folder nor a cached or reachable model with safetensors weights.
    pub fn model(&self, name: &str) -> Result<PathBuf, HubError> {
        self.folder(name, Kind::Model)
    }

    /// The folder of a PEFT adapter: `name` if it is a folder, else that of the hub id `name`.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn adapter(&self, name: &str) -> Result<PathBuf, HubError> {
        self.folder(name, Kind::Adapter)
    }

    fn folder(&self, name: &str, kind: Kind) -> Result<PathBuf, HubError> {
        let path = Path::new(name);
        if path.is_dir() {
            return Ok(path.into());
        }
        if path.is_file() {
            let reason = "it is a file".into();
            return Err(HubError::Id { name: name.into(), kind: kind.word(), reason });
        }
        let repository = Repository::parse(name, kind)?;
        let lacks = match kind {
            Kind::Adapter => adapter_lacks,
            Kind::Model | Kind::Dataset => model_lacks,
        };
        let missing = match find(&self.settings.cache, &repository) {
            Err(missing) => missing,
            Ok(snapshot) => match lacks(&snapshot.folder) {
                None => return Ok(self.with_tokenizer(&repository, snapshot)),
                Some(lack) => format!(
                    "has an incomplete snapshot {} without {lack}",
                    snapshot.folder.display()
                ),
            },
        };
        if self.settings.offline {
            return Err(self.offline(&repository, missing));
        }
        self.fetch(&repository).map_err(|error| error.into_error(self, &repository, missing))
    }

    /// Completes a snapshot that has weights and no tokenizer; it is used as it is where that
    /// fails.
    fn with_tokenizer(&self, repository: &Repository, snapshot: Snapshot) -> PathBuf {
        let known = |name: &str| snapshot.file(name).is_some() || snapshot.known_to_lack(name);
        let complete = self.settings.offline
            || repository.kind == Kind::Adapter
            || TOKENIZER.iter().all(|name| known(name));
        if !complete
            && let Ok(pinned) = repository.clone().at(&snapshot.commit)
            && let Ok(client) = Client::new(&self.settings)
            && let Ok(listing) = client.list(&pinned)
        {
            let _ = Self::fetch_companions(&client, &pinned, &listing, &snapshot);
        }
        snapshot.folder
    }

    /// Fetches the tokenizer's and the template's files, and records which of them the repository
    /// does not have.
    fn fetch_companions(
        client: &Client,
        repository: &Repository,
        listing: &Listing,
        snapshot: &Snapshot,
    ) -> Result<(), Missing> {
        for file in companions(&listing.files) {
            client.file(repository, snapshot, file)?;
        }
        for name in TOKENIZER {
            if !listing.files.iter().any(|file| file == name) {
                snapshot.record_lack(name)?;
            }
        }
        Ok(())
    }

    fn fetch(&self, repository: &Repository) -> Result<PathBuf, Missing> {
        let client = Client::new(&self.settings)?;
        let listing = client.list(repository)?;
        let snapshot = Snapshot::of(&self.settings.cache, repository, &listing.commit);
        let files = match repository.kind {
            Kind::Adapter => adapter_files(&listing.files),
            Kind::Model | Kind::Dataset => model_files(&listing.files),
        };
        for name in files.map_err(|reason| repository.content(reason))? {
            let path = client.file(repository, &snapshot, name)?;
            if is_index(name) {
                let shards = shards(&path).map_err(|reason| {
                    repository.content(format!("the repository does not have {reason}"))
                })?;
                for shard in shards {
                    client.file(repository, &snapshot, &shard)?;
                }
            }
        }
        Self::fetch_companions(&client, repository, &listing, &snapshot)?;
        snapshot.record_revision(&repository.revision)?;
        Ok(snapshot.folder)
    }

    pub(crate) fn offline(&self, repository: &Repository, missing: String) -> HubError {
        let variables = match repository.kind {
            Kind::Dataset => "HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or HF_DATASETS_OFFLINE",
            Kind::Model | Kind::Adapter => "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE",
        };
        let reason = format!("offline mode is on ({variables}), so nothing is fetched");
        self.unresolved(repository, missing, reason)
    }

    pub(crate) fn unresolved(
        &self,
        repository: &Repository,
        missing: String,
        reason: String,
    ) -> HubError {
        // An empty path is the working folder.
        let cache = match self.settings.cache.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => self.settings.cache.clone(),
        };
        HubError::Unresolved {
            id: repository.name.clone(),
            kind: repository.kind.word(),
            cache,
            missing,
            reason,
        }
    }
}

/// Why a fetch ended: an error as it is, or something that the hub did not give.
pub(crate) enum Missing {
    Error(HubError),
    Hub(Failure),
}

impl From<HubError> for Missing {
    fn from(error: HubError) -> Self {
        Self::Error(error)
    }
}

impl From<Failure> for Missing {
    fn from(failure: Failure) -> Self {
        Self::Hub(failure)
    }
}

impl Missing {
    /// The error of a repository that the cache does not have.
    pub fn into_error(self, hub: &Hub, repository: &Repository, missing: String) -> HubError {
        match self {
            Self::Error(error) => error,
            Self::Hub(failure) => hub.unresolved(repository, missing, failure.reason),
        }
    }
}
