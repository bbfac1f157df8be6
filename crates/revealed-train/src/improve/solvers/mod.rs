//! Policy solvers. A new solver needs a file with its [`Solver`] and one line in the list here.

use serde::de::{Deserialize, Deserializer, Error};

use super::rollout::KlCoefs;
use crate::recipe::{KlPlacement, PolicySection, SolverName};

mod grpo;
mod ppo;
mod reinforce;
mod rloo;
mod solver;

pub(crate) use solver::{RolloutInputs, Solver};

/// All solvers.
const SOLVERS: &[&dyn Solver] = &[&rloo::Rloo, &grpo::Grpo, &ppo::Ppo, &reinforce::Reinforce];

/// Names of the solvers that work with a single completion per prompt.
pub(crate) fn solvers_without_groups() -> impl Iterator<Item = SolverName> {
    SOLVERS.iter().filter(|solver| solver.min_group() == 1).map(|solver| solver.name())
}

impl SolverName {
    /// Names of all solvers.
    pub fn all() -> impl Iterator<Item = Self> {
        SOLVERS.iter().map(|solver| solver.name())
    }

    /// The solver with this name.
    pub(crate) fn solver(self) -> &'static dyn Solver {
        let found = SOLVERS.iter().find(|solver| solver.name() == self);
        *found.expect("every name is of a solver in the list")
    }
}

impl<'de> Deserialize<'de> for SolverName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::all().find(|name| name.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::as_str).collect();
            D::Error::custom(format!(
                "unknown solver `{text}`, expected one of {}",
                names.join(", ")
            ))
        })
    }
}

impl PolicySection {
    /// Whether the KL is subtracted from the reward; otherwise it is added to the loss.
    pub fn kl_in_reward(&self) -> bool {
        let placement = match self.kl_placement {
            KlPlacement::Solver => self.solver.solver().kl_placement(),
            explicit => explicit,
        };
        placement == KlPlacement::Reward
    }

    /// Coefficients of the KL in the reward and in the loss.
    pub(crate) fn kl_coefs(&self) -> KlCoefs {
        match self.kl_in_reward() {
            true => KlCoefs { reward: self.kl_coef, loss: 0.0 },
            false => KlCoefs { reward: 0.0, loss: self.kl_coef },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for (index, name) in SolverName::all().enumerate() {
            assert_eq!(SolverName::all().position(|other| other == name), Some(index));
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<SolverName>(&text).unwrap(), name);
            assert_eq!(name.solver().name(), name);
        }
        let error = serde_json::from_str::<SolverName>("\"dpo\"").unwrap_err().to_string();
        assert!(error.contains("`dpo`, expected one of rloo, grpo, ppo, reinforce"), "{error}");
    }

    #[test]
    fn the_default_solver_and_the_constants_are_in_the_list() {
        assert_eq!(PolicySection::default().solver.solver().name(), SolverName::RLOO);
        for name in [SolverName::GRPO, SolverName::PPO, SolverName::REINFORCE] {
            assert!(SolverName::all().any(|listed| listed == name), "{name}");
        }
    }
}
