//! What a run records: plain data for observers, checkpoints and the files of a run folder.

mod health;
mod place;
mod round;
mod scores;
mod shown;

pub use health::{TrainingHealth, Violation};
pub use place::{At, Metric, Phase};
pub use round::{Measures, RoundReport};
pub use scores::{HeldOutScores, ScoredSamples, ValidationScores};
pub use shown::{ShownRewards, ShownSample};
