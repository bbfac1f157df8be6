//! What goes to stdout and stderr, and how errors read.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use anyhow::Result;
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

/// An error with its causes, none of them twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        let next = next.trim_end();
        if !text.ends_with(next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

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
    fn a_cause_that_the_message_ends_in_is_not_said_twice() {
        let cause = || io::Error::other("inner");
        assert_eq!(chain(&Repeats(cause())), "outer: inner");
        assert_eq!(chain(&Plain(cause())), "outer: inner");
    }
}
