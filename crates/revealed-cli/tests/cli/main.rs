//! The program as a user runs it: real folders, the real binary, its exit codes and streams.
#![allow(clippy::unwrap_used)]

mod adapters;
mod bad_inputs;
mod data;
mod evals;
#[cfg(target_os = "linux")]
mod faults;
mod hub;
mod judge;
#[cfg(unix)]
mod pages;
mod report;
mod results;
mod round_trip;
mod runs;
#[cfg(unix)]
mod signals;
#[allow(dead_code)] // not all that it can do is done here
mod tasks;
mod world;
