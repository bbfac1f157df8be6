//! What a run records: plain data for observers, checkpoints and the files of a run folder.

mod ending;
mod health;
mod null;
mod place;
mod round;
mod scores;
mod shown;

pub use ending::stopped_early;
pub use health::{HealthLimits, TrainingHealth, Violation};
pub use place::{At, Metric, Phase};
pub use round::{Measures, RoundReport};
pub use scores::{HeldOutScores, ScoredSamples, ValidationScores};
pub use shown::{ShownRewards, ShownSample};
