//! What goes to stdout and stderr, and how errors read.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use thiserror::Error;

/// Whoever read our results has gone; that is no failure of ours.
#[derive(Debug, Error)]
#[error("stdout is closed")]
pub struct StdoutClosed;

/// Results on stdout.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes stdout.
    pub fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn line(&mut self, value: &impl Serialize) -> Result<()> {
        self.text(&format!("{}\n", serde_json::to_string(value)?))
    }

    /// Text as it is.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn text(&mut self, text: &str) -> Result<()> {
        written(self.0.write_all(text.as_bytes()))
    }

    /// Sends what has been written so far.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        written(self.0.flush())
    }
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        other => Ok(other?),
    }
}

/// Refuses a file that could not be written at the end of the work, `option` being what names it. A file of that name is left as it is.
///
/// # Errors
/// When it is a folder, when its folder is missing, or when nothing can be written there.
pub fn writable(option: &str, path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let shown = path.display();
    if path.is_dir() {
        bail!(
            "{option} {shown} is a folder; name a file in it, such as {}",
            path.join("record.json").display()
        );
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!(
            "{option} {shown}: there is no folder {}; make it, or name a file in another one",
            folder.display()
        );
    }
    // Whether the user may write there is best known from doing so.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let probe = folder.join(format!(".{name}.{}.probe", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .with_context(|| format!("{option} {shown}: nothing can be written in {}; change its rights, or name a file in another folder", folder.display()))
}

/// A line on stderr; nobody to read it is no failure.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Makes `print!` to a closed stdout end the program instead of a panic's message, and says nothing of panics that become errors.
pub fn leave_quietly_when_stdout_closes() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") {
            std::process::exit(0);
        }
        if revealed::data::panic_is_caught() {
            return;
        }
        report(info);
    }));
}

pub use revealed::train::error_chain as chain;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("outer: {0}")]
    struct Repeats(#[source] io::Error);

    #[derive(Debug, Error)]
    #[error("outer")]
    struct Plain(#[source] io::Error);

    #[test]
    fn a_file_that_could_not_be_written_is_refused_and_one_that_could_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| writable("--out", Some(path)).unwrap_err().to_string();
        let error = refused(folder.path());
        assert!(error.contains("--out") && error.contains("is a folder"), "{error}");
        let error = refused(&folder.path().join("none/r.json"));
        assert!(error.contains("there is no folder") && error.contains("none;"), "{error}");
        let path = folder.path().join("r.json");
        fs::write(&path, "old").unwrap();
        writable("--out", Some(&path)).unwrap();
        writable("--out", Some(&folder.path().join("new.json"))).unwrap();
        writable("--out", None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_cause_that_the_message_ends_in_is_not_said_twice() {
        let cause = || io::Error::other("inner");
        assert_eq!(chain(&Repeats(cause())), "outer: inner");
        assert_eq!(chain(&Plain(cause())), "outer: inner");
    }
}
