//! A judge: a model behind any OpenAI-compatible endpoint.
//!
//! Nothing is contacted but the URL that [`JudgeSettings`] names. The key is never written, logged or part of a
//! message; where a server echoes it, it is cut out of what the server said.
//!
//! What goes wrong is one of two kinds: an [answer that is none](JudgeError::ends_the_run) concerns its request alone,
//! is counted by the caller and asked again by a later run; anything else (no connection, a wrong key, a spent quota)
//! would meet every request, and ends the run.

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
