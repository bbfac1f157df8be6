//! Settings of a run: one commented TOML file; every field has a default that works.

mod check;
mod choices;
mod data;
mod file;
mod gate;
mod negatives;
mod optimizer;
mod policy;
mod renamed;
mod reward;
mod root;
mod run;
mod section;
mod sft;

pub use choices::{
    Alternation, Average, Keep, KlPlacement, KlReference, LengthControl, MissingEos,
    NegativeReweighting, Normalization, Pool, RewardStart, ScaleFrom, SftObjective, SolverName,
    Stop, Tuning, ValidationReward,
};
pub use data::{DataSection, ModelSection};
pub use gate::{GateSection, HealthSection};
pub use negatives::{NegativeSource, NegativeWeights, NegativesSection};
pub use optimizer::{OptimizerConfig, Schedule};
pub use policy::PolicySection;
pub use reward::RewardSection;
pub use root::Recipe;
pub use run::RunSection;
pub use sft::SftSection;
