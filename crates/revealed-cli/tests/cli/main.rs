//! The program as a user runs it: real folders, the real binary, its exit codes and streams.
#![allow(clippy::unwrap_used)]

mod bad_inputs;
#[cfg(target_os = "linux")]
mod faults;
mod results;
mod runs;
#[cfg(unix)]
mod signals;
mod tasks;
mod world;
