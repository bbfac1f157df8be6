//! The supported benchmarks.

/// A reward benchmark: its file layout and scoring rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// Pairs in 23 subsets and 4 sections, and optional prior sets.
    RewardBench,
    /// One right answer of four in 5 subsets, and ties.
    RewardBench2,
    /// Three styles of a right and of a wrong answer in 4 domains.
    RmBench,
}

impl Benchmark {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::RewardBench => "rewardbench",
            Self::RewardBench2 => "rewardbench2",
            Self::RmBench => "rm_bench",
        }
    }
}
