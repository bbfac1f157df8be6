//! Drawing completions: sampling, greedy decoding, and states of shared prefixes.

pub(crate) mod greedy;
pub(crate) mod prefix;
pub(crate) mod sampling;
