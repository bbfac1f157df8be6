//! Learned rewards on preference pairs, reward benchmarks and pairs of answer files, compared with baselines.

mod answers;
mod benchmark;
mod preferences;
mod scorers;
mod settings;
mod win_rate;

pub use answers::{AnswerSet, BATCH_TOLERANCE, ScoredAnswers, score_answers};
pub use benchmark::{BenchmarkResult, evaluate_benchmark};
pub use preferences::{
    PreferenceResult, PreferenceSet, SubsetAccuracies, evaluate_reward, preference_record,
};
pub use scorers::{PolicyAndReference, RewardScorer, Scorers};
pub use settings::RewardSettings;
pub use win_rate::{MatchBy, ScoredMatch, WinRateResult, evaluate_win_rate};
