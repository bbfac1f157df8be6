//! Files of JSON lines: read completely, or appended to line by line so that no written line is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use revealed_data::LineFault;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::EvalError;

/// The rows of a file, empty lines left out.
///
/// # Errors
/// When it cannot be read, or a line is no such row.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvalError> {
    rows(path, &fs::read_to_string(path).map_err(EvalError::io(path))?)
}

fn rows<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, EvalError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(at, line)| {
        serde_json::from_str(line).map_err(|source| EvalError::Line {
            path: path.into(),
            line: at + 1,
            source: LineFault(source),
        })
    };
    lines.map(row).collect()
}

/// A file that grows by complete lines; one process at a time can have it open.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the file, or creates it with its parent folders, and returns its rows. An incomplete last line, left by a
    /// crash, is removed from the file.
    ///
    /// # Errors
    /// When the file cannot be read or written, is in use, or a line before its last is no such row.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), EvalError> {
        let io = || EvalError::io(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(EvalError::io(folder))?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path).map_err(io())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(EvalError::InUse { path: path.into() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(io()(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io())?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        match serde_json::from_slice::<T>(&bytes[end..]) {
            // Complete except for the newline.
            Ok(_) => {
                file.write_all(b"\n").map_err(io())?;
                bytes.push(b'\n');
            }
            Err(_) => {
                bytes.truncate(end);
                file.set_len(end as u64).map_err(io())?;
            }
        }
        file.seek(SeekFrom::End(0)).map_err(io())?;
        let text = String::from_utf8(bytes).map_err(|error| {
            io()(std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()))
        })?;
        Ok((Self { path: path.into(), file }, rows(path, &text)?))
    }

    /// Appends a row; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, row: &impl Serialize) -> Result<(), EvalError> {
        let mut line = serde_json::to_string(row)
            .map_err(|source| EvalError::Json { path: self.path.clone(), source })?;
        line.push('\n');
        let before = self.file.metadata().map_err(EvalError::io(&self.path))?.len();
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            // Half a line on a full disk would spoil the next one.
            let _ = self.file.set_len(before);
            EvalError::io(&self.path)(error)
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/rows.jsonl");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rows_before_it_are_kept() {
        let (_folder, path) = with("[1]\n[2]\n[3, \"é");
        // In the middle of a character too.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let (mut log, rows) = Log::open::<Vec<u8>>(&path).unwrap();
        assert_eq!(rows, [[1], [2]]);
        log.append(&[4]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[1]\n[2]\n[4]\n");
    }

    #[test]
    fn a_whole_last_line_without_its_end_is_kept() {
        let (_folder, path) = with("[1]\n[2]");
        let (mut log, rows) = Log::open::<Vec<u8>>(&path).unwrap();
        assert_eq!(rows, [[1], [2]]);
        log.append(&[3]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[1]\n[2]\n[3]\n");
    }

    #[test]
    fn a_line_in_the_middle_that_is_no_row_is_named_and_nothing_is_cut() {
        let (_folder, path) = with("[1]\nnonsense\n[2]\n");
        let message = Log::open::<Vec<u8>>(&path).unwrap_err().to_string();
        for part in ["rows.jsonl, line 2", "remove that line, the others are kept", "at column"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(!message.contains("line 1"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[1]\nnonsense\n[2]\n");
    }

    #[test]
    fn two_at_a_time_would_pay_twice_so_the_second_is_refused() {
        let (_folder, path) = with("");
        let first = Log::open::<Vec<u8>>(&path).unwrap();
        let message = Log::open::<Vec<u8>>(&path).unwrap_err().to_string();
        assert!(message.contains("rows.jsonl") && message.contains("another"), "{message}");
        drop(first);
        Log::open::<Vec<u8>>(&path).unwrap();
    }

    #[test]
    fn folders_are_made_and_an_empty_file_has_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/rows.jsonl");
        let (mut log, rows) = Log::open::<Vec<u8>>(&path).unwrap();
        assert!(rows.is_empty());
        log.append(&[1]).unwrap();
        assert_eq!(read_lines::<Vec<u8>>(&path).unwrap(), [[1]]);
    }
}
