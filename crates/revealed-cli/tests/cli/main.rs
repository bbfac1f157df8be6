//! The program as a user runs it: real folders, the real binary, its exit codes and streams.
#![allow(clippy::unwrap_used)]

mod bad_inputs;
mod evals;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(unix)]
mod guide;
mod report;
mod results;
mod runs;
#[cfg(unix)]
mod signals;
mod tasks;
mod world;
