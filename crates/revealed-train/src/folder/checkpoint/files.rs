//! Files of a checkpoint: JSON, and the manifest with sizes and hashes.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::fingerprint::hex;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const STATE: &str = "state.json";

/// Path, bytes and SHA-256 of every file of a checkpoint but the manifest.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub files: Vec<(String, u64, String)>,
}

/// Folder name of an ensemble member: `reward`, `reward-2`, `reward-3`, …
pub(super) fn numbered(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

/// All files under `folder` with size and SHA-256, by their path relative to `root`.
pub(super) fn list(
    root: &Path,
    folder: &Path,
    files: &mut Vec<(String, u64, String)>,
) -> Result<(), TrainError> {
    let entries = fs::read_dir(folder).map_err(TrainError::io(folder))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let (size, hash) = digest(&path)?;
            files.push((name, size, hash));
        }
    }
    sync(folder)
}

fn digest(path: &Path) -> Result<(u64, String), TrainError> {
    let mut file = fs::File::open(path).map_err(TrainError::io(path))?;
    let mut hasher = Sha256::new();
    let size =
        std::io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(TrainError::io(path))?;
    Ok((size, hex(&hasher.finalize())))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks a checkpoint against its manifest.
///
/// # Errors
/// At the first file that is missing, damaged or outside the checkpoint.
pub(super) fn verify(folder: &Path) -> Result<(), TrainError> {
    let manifest: Manifest = read_json(&folder.join(MANIFEST))?;
    let listed = manifest.files.iter().any(|(name, ..)| name == STATE);
    for (name, size, hash) in manifest.files {
        let path = folder.join(&name);
        if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            let reason =
                format!("it names `{name}`, outside the checkpoint; remove this checkpoint");
            return Err(TrainError::Checkpoint { path: folder.join(MANIFEST), reason });
        }
        let found = digest(&path)?;
        if found != (size, hash) {
            let reason = "it was changed after it was written: its size or hash differs from the manifest; remove this checkpoint, or start a new run folder".into();
            return Err(TrainError::Checkpoint { path, reason });
        }
    }
    if !listed {
        let reason = format!("it does not list {STATE}; remove this checkpoint");
        return Err(TrainError::Checkpoint { path: folder.join(MANIFEST), reason });
    }
    Ok(())
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), TrainError> {
    let text = serde_json::to_string(value)
        .map_err(|error| TrainError::Checkpoint { path: path.into(), reason: error.to_string() })?;
    Ok(revealed_models::write_file(path, text.as_bytes())?)
}

pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, TrainError> {
    // Reading a pipe would block, and a device would never end.
    if !fs::metadata(path).map_err(TrainError::io(path))?.is_file() {
        let reason = "it is not a file; remove this checkpoint".into();
        return Err(TrainError::Checkpoint { path: path.into(), reason });
    }
    let text = fs::read_to_string(path).map_err(TrainError::io(path))?;
    serde_json::from_str(&text).map_err(|error| TrainError::Checkpoint {
        path: path.into(),
        reason: format!("it does not parse: {error}; remove this checkpoint"),
    })
}

/// Flushes the entries of a folder to disk.
pub(super) fn sync(folder: &Path) -> Result<(), TrainError> {
    fs::File::open(folder).and_then(|file| file.sync_all()).map_err(TrainError::io(folder))
}
