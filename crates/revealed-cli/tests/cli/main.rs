//! The program as a user runs it: real folders, the real binary, its exit codes and streams.
#![allow(clippy::unwrap_used)]

mod bad_inputs;
mod results;
mod runs;
mod world;
