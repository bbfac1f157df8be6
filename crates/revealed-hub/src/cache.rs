//! Repositories in the hub's cache on disk: `refs` name commits, `snapshots` hold their files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::HubError;
use crate::repository::Repository;

/// The files of one commit in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub commit: String,
    pub folder: PathBuf,
    /// The repository's folder, which holds the snapshot's.
    root: PathBuf,
}

impl Snapshot {
    /// The snapshot of a commit, whether or not it exists.
    pub fn of(cache: &Path, repository: &Repository, commit: &str) -> Self {
        let root = cache.join(repository.folder_name());
        Self { commit: commit.into(), folder: root.join("snapshots").join(commit), root }
    }

    /// A file of the snapshot; links that lead nowhere are no files.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|path| path.is_file())
    }

    /// Whether the cache records that the repository has no such file.
    pub fn known_to_lack(&self, name: &str) -> bool {
        self.root.join(".no_exist").join(&self.commit).join(name).is_file()
    }

    /// Records that the repository has no such file, as huggingface_hub does.
    pub fn record_lack(&self, name: &str) -> Result<(), HubError> {
        let path = self.root.join(".no_exist").join(&self.commit).join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        }
        fs::write(&path, "").map_err(HubError::io(&path))
    }

    /// Makes the repository's revision name this snapshot's commit.
    pub fn record_revision(&self, revision: &str) -> Result<(), HubError> {
        if revision == self.commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        }
        fs::write(&path, &self.commit).map_err(HubError::io(&path))
    }

    /// The names of all files, with `/` between folders, sorted; and of links that lead nowhere.
    pub fn files(&self) -> Result<Listed, HubError> {
        let mut listed = Listed::default();
        walk(&self.folder, "", &mut listed)?;
        listed.files.sort_unstable();
        listed.broken.sort_unstable();
        Ok(listed)
    }
}

/// What a snapshot's folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    pub files: Vec<String>,
    pub broken: Vec<String>,
}

fn walk(folder: &Path, prefix: &str, listed: &mut Listed) -> Result<(), HubError> {
    for entry in fs::read_dir(folder).map_err(HubError::io(folder))? {
        let entry = entry.map_err(HubError::io(folder))?;
        let path = entry.path();
        // A name that is not Unicode is none that the hub allows.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        if path.is_file() {
            listed.files.push(name);
        } else if path.is_dir() && !path.is_symlink() {
            walk(&path, &format!("{name}/"), listed)?;
        } else {
            listed.broken.push(name);
        }
    }
    Ok(())
}

/// Finds a repository's snapshot, or states what the cache does not have.
pub(crate) fn find(cache: &Path, repository: &Repository) -> Result<Snapshot, String> {
    let root = cache.join(repository.folder_name());
    if !root.is_dir() {
        return Err(format!("has no folder {}", repository.folder_name()));
    }
    let revision = &repository.revision;
    let named = fs::read_to_string(root.join("refs").join(revision)).ok();
    let commit = match &named {
        Some(commit) => commit.trim(),
        None => revision,
    };
    let plain = !commit.is_empty() && !commit.starts_with('.') && !commit.contains(['/', '\\']);
    let folder = root.join("snapshots").join(commit);
    if plain && folder.is_dir() {
        return Ok(Snapshot { commit: commit.into(), folder, root });
    }
    let name = repository.folder_name();
    Err(match named {
        Some(_) => format!("has no snapshot {commit} in {name}, which refs/{revision} names"),
        None => {
            let commits = commits(&root);
            let hint = match commits.as_slice() {
                [] => "no snapshots".into(),
                commits => format!(
                    "snapshots of {} (write {}@COMMIT for one of them)",
                    commits.join(", "),
                    repository.id
                ),
            };
            format!("has no refs/{revision} in {name}, but {hint}")
        }
    })
}

fn commits(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("snapshots")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
