//! A repository by name: `name`, `owner/name`, each with `@revision` or without.

use hf_hub::RepoType;

use crate::error::HubError;

/// What a repository is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Adapter,
    Dataset,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Adapter => "adapter",
            Self::Dataset => "data set",
        }
    }

    pub fn repo_type(self) -> RepoType {
        match self {
            Self::Model | Self::Adapter => RepoType::Model,
            Self::Dataset => RepoType::Dataset,
        }
    }
}

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// As the user wrote it.
    pub name: String,
    pub id: String,
    pub kind: Kind,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Repository {
    /// Reads a name with the rules of huggingface_hub's `validate_repo_id`.
    pub fn parse(name: &str, kind: Kind) -> Result<Self, HubError> {
        let (id, revision) = match name.split_once('@') {
            Some((id, revision)) => (id, revision),
            None => (name, "main"),
        };
        match wrong_id(id).or_else(|| wrong_revision(revision)) {
            Some(reason) => Err(HubError::Id { name: name.into(), kind: kind.word(), reason }),
            None => Ok(Self { name: name.into(), id: id.into(), kind, revision: revision.into() }),
        }
    }

    /// The same repository at another revision.
    pub fn at(mut self, revision: &str) -> Result<Self, HubError> {
        if let Some(reason) = wrong_revision(revision) {
            return Err(HubError::Id { name: self.name, kind: self.kind.word(), reason });
        }
        self.revision = revision.into();
        Ok(self)
    }

    /// Its folder in the cache.
    pub fn folder_name(&self) -> String {
        let prefix = match self.kind {
            Kind::Model | Kind::Adapter => "models",
            Kind::Dataset => "datasets",
        };
        format!("{prefix}--{}", self.id.replace('/', "--"))
    }

    /// The part of its id behind the owner.
    pub fn short_name(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }

    pub fn content(&self, reason: impl Into<String>) -> HubError {
        HubError::Content { id: self.name.clone(), reason: reason.into() }
    }
}

/// What is wrong with a repository's id, if anything.
fn wrong_id(id: &str) -> Option<String> {
    let parts: Vec<&str> = id.split('/').collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain = |part: &&str| {
        (1..=96).contains(&part.len())
            && part.chars().all(|c| word(c) || c == '-' || c == '.')
            && part.starts_with(word)
            && part.ends_with(word)
    };
    if parts.len() > 2 {
        return Some("no such folder, and an id has at most one slash".into());
    }
    if !parts.iter().all(plain) {
        return Some(
            "no such folder, and the parts of an id are 1 to 96 letters, digits, `-`, `_` and `.` that start and end with a letter, a digit or `_`".into(),
        );
    }
    if id.contains("--") || id.contains("..") || id.ends_with(".git") {
        return Some(
            "no such folder, and an id holds no `--` and no `..` and does not end in `.git`".into(),
        );
    }
    None
}

/// What is wrong with a revision, if anything: it becomes a path in the cache.
fn wrong_revision(revision: &str) -> Option<String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains(|c: char| c.is_control() || " ~^:?*[\\@".contains(c))
    };
    match revision.split('/').all(plain) {
        true => None,
        false => Some(format!("`{revision}` is not a branch, a tag or a commit")),
    }
}
