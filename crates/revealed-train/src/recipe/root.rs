//! All sections of a recipe.

use serde::{Deserialize, Serialize};

use super::data::{DataSection, ModelSection};
use super::gate::{GateSection, HealthSection};
use super::negatives::NegativesSection;
use super::policy::PolicySection;
use super::reward::RewardSection;
use super::run::RunSection;
use super::sft::SftSection;

/// All settings of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// `[model]`
    pub model: ModelSection,
    /// `[data]`
    pub data: DataSection,
    /// `[sft]`
    pub sft: SftSection,
    /// `[negatives]`
    pub negatives: NegativesSection,
    /// `[reward]`
    pub reward: RewardSection,
    /// `[policy]`
    pub policy: PolicySection,
    /// `[gate]`
    pub gate: GateSection,
    /// `[health]`
    pub health: HealthSection,
    /// `[run]`
    pub run: RunSection,
}
