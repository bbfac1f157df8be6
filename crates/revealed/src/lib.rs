//! revealed
