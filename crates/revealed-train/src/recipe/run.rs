//! `[run]`: folder, seed, checkpoints and memory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::section::section;

section! {
    /// `[run]`
    RunSection {
        /// Folder of the run
        out: PathBuf = PathBuf::from("runs/align"),
        /// Random seed
        seed: u64 = 0,
        /// Maximum number of rounds
        rounds: usize = 3,
        /// Optimizer steps or rollouts between checkpoints within a phase; 0 for checkpoints at the ends of phases only
        save_steps: usize = 50,
        /// Number of newest complete checkpoints to keep: one to resume from, others in case it is damaged
        save_total_limit: usize = 2,
        /// Micro-batch size in padded tokens; on the CPU up to four micro-batches run in parallel. Affects memory, not results (up to rounding)
        micro_batch_tokens: usize = 2048,
        /// Memory limit in GiB: a run whose memory plan exceeds it does not start; 0 for the free memory of the machine, inf for no limit
        memory_limit_gib: f64 = 0.0,
        /// Rows per sampling batch
        sample_batch_size: usize = 64,
        /// Samples shown per round
        shown_samples: usize = 8,
    }
}
