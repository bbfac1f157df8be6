//! Errors of requests to a judge.

use std::path::PathBuf;

use thiserror::Error;

use super::retry::LONGEST_WAIT;

/// Errors of requests to a judge. No variant holds a key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// A setting outside its range.
    #[error("judge.{key} is {found}; it has to be {expected}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A further field that is the program's own.
    #[error(
        "judge.extra.{key} is a field that this program sets or depends on; take it out of [judge.extra], and see judge.model, temperature, max_tokens, token_limit and k"
    )]
    ExtraOurs {
        /// Its name.
        key: String,
    },
    /// A further field that no request can carry.
    #[error(
        "judge.extra.{key} has a value that JSON has not (nan, inf or a date); write a number or a text"
    )]
    ExtraValue {
        /// Its name.
        key: String,
    },
    /// The settings' file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The settings' file is not what it should be.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that fits no header.
    #[error("the key is empty or holds something other than visible ASCII; it has to be one word")]
    Key,
    /// No answer within the time given.
    #[error(
        "{host} gave no answer within {seconds} s, asked {}; see that the server is up, raise judge.timeout_s, or lower judge.max_tokens",
        times(*attempts)
    )]
    Timeout {
        /// The endpoint's host.
        host: String,
        /// The time given to a request.
        seconds: f64,
        /// Requests made.
        attempts: u32,
    },
    /// The connection failed.
    #[error(
        "{host} cannot be talked to, tried {}: {reason}; see that judge.url is right and the server up",
        times(*attempts)
    )]
    Connection {
        /// The endpoint's host.
        host: String,
        /// What failed.
        reason: String,
        /// Requests made.
        attempts: u32,
    },
    /// An answer began and could not be read to its end.
    #[error(
        "{host} begins answers that cannot be read to their end, asked {}: {reason}; check the proxies between this machine and the server",
        times(*attempts)
    )]
    Body {
        /// The endpoint's host.
        host: String,
        /// What failed.
        reason: String,
        /// Requests made.
        attempts: u32,
    },
    /// A status other than success.
    #[error("{url} answers {status} after {attempts} tries: {said}{}", advice(*status))]
    Status {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the server's message.
        said: String,
        /// Requests made.
        attempts: u32,
    },
    /// The server wants a longer pause than is kept.
    #[error(
        "{host} asks to wait {seconds} s before the next request, and no more than {} s are waited; a quota may be spent, or the server's Retry-After be wrong: run the same command again later",
        LONGEST_WAIT.as_secs()
    )]
    WaitTooLong {
        /// The endpoint's host.
        host: String,
        /// The pause asked for.
        seconds: u64,
    },
    /// Success by its status, but no chat completion.
    #[error("{host} answers with {found} where a chat completion should be")]
    Nonsense {
        /// The endpoint's host.
        host: String,
        /// What came instead.
        found: String,
    },
    /// An answer beyond any that was asked for.
    #[error(
        "{host} answers with more than {limit} bytes; lower judge.max_tokens if it is an answer"
    )]
    TooLarge {
        /// The endpoint's host.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// Somebody wants the run to stop.
    #[error("stopped before every question was asked; the same command asks the rest")]
    Interrupted,
    /// Requests fail one after the other.
    #[error("{count} requests in a row failed, the last one so: {last}")]
    InARow {
        /// How many.
        count: usize,
        /// The last failure.
        last: String,
    },
    /// A template that cannot be filled.
    #[error("the prompt template names `{{{name}}}`; it can name {}", known.join(", "))]
    Placeholder {
        /// The unknown name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A template with a brace that opens or closes nothing.
    #[error(
        "the prompt template has a lone brace at byte {at}; write {{{{ or }}}} for one that is text"
    )]
    Brace {
        /// Where.
        at: usize,
    },
}

impl JudgeError {
    /// Whether every other request would meet the same: no connection, a wrong key or address, a spent quota. Else the
    /// failure is of one request, whose prompt is too long or whose answer is none.
    pub fn ends_the_run(&self) -> bool {
        match self {
            Self::Status { status, .. } => !matches!(status, 400 | 413 | 422 | 500..=599),
            Self::Nonsense { .. } | Self::TooLarge { .. } | Self::Body { .. } => false,
            _ => true,
        }
    }
}

fn times(attempts: u32) -> String {
    if attempts == 1 { "once".into() } else { format!("{attempts} times") }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "; see that the key is right and in the environment variable that is read",
        404 | 405 => {
            "; see that judge.url is the base url (it often ends in /v1) and judge.model exists"
        }
        300..=399 => "; redirects are not followed: give the final address",
        429 => "; lower judge.requests_per_minute or judge.concurrency",
        400 => {
            "; if it names max_tokens or temperature, see judge.token_limit and judge.temperature"
        }
        _ => "",
    }
}
