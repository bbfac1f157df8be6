//! A judge: a model behind any OpenAI-compatible endpoint.
//!
//! Nothing is contacted but the URL that [`JudgeSettings`] names. The key is never written, logged or part of a
//! message; a server's text that repeats it is shown without it.
//!
//! Errors are of two kinds: an [unusable answer](JudgeError::ends_the_run) concerns only its request, is counted by the
//! caller and requested again by a later run; anything else (no connection, a wrong key, a spent quota) would affect every
//! request, and ends the run.

mod client;
mod error;
mod extra;
mod key;
mod pace;
mod retry;
mod run;
mod settings;
mod template;
#[cfg(test)]
mod tests;

pub use client::{Ask, JudgeClient, Reply};
pub use error::JudgeError;
pub use key::ApiKey;
pub use run::{FAILED_IN_A_ROW, ask_all};
pub use settings::{JudgeSettings, Temperature, TokenLimit};
pub use template::fill;
