//! SFT, and methods without a reward model: SPIN, IRFT, GSIL and DPO.

mod self_play;
mod sft;

pub use self_play::{SelfPlay, fit_log_ratio, self_play};
pub(crate) use sft::Counters;
pub use sft::{SftPhase, fit_sft};
