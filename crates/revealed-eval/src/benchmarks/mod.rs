//! Reward benchmarks, from the files that their authors publish and by their authors' scoring.
//!
//! | benchmark | a row's columns | a question is right when | source |
//! |---|---|---|---|
//! | RewardBench | `id, subset, prompt, chosen, rejected` | the chosen answer scores higher; a tie is wrong | <https://arxiv.org/abs/2403.13787> |
//! | RewardBench 2 | `id, subset, prompt, chosen: [..], rejected: [..]` | the chosen answer scores highest of four; k at the top share it | <https://arxiv.org/abs/2506.01937> |
//! | RM-Bench | `id, domain, prompt, chosen: [3], rejected: [3]` | by 3 × 3 pairs of styles; a tie is wrong | <https://arxiv.org/abs/2410.16184> |
//!
//! A text prompt is one user message, so that the reward's chat template is applied as the official runners do.

mod kind;
mod notes;
mod problem;
mod question;
mod read;
mod rewardbench;
mod rewardbench2;
mod rm_bench;
mod rules;
#[cfg(test)]
mod tests;

pub use kind::Benchmark;
pub use problem::QuestionProblem;
pub use question::{BenchmarkQuestion, ScoredQuestion};
pub use read::prior_set;
pub use rewardbench::{PRIOR_SETS, SECTIONS};
pub use rewardbench2::{SUBSETS, best_of_all, ties_score};
pub use rm_bench::{DOMAINS, STYLES, style_matrix};
