//! A policy compared with its reference model on the same prompts: KL, win rates, rewards, diversity, best-of-n.

mod best_of_n;
mod completion;
mod evaluate;
mod figures;
mod prompts;
mod result;
mod sampling;
mod scoring;
mod settings;
#[cfg(test)]
mod tests;

pub use best_of_n::{BestOfN, best_of_n};
pub use completion::{SampledCompletion, kl_terms};
pub use evaluate::evaluate_policy;
pub use figures::figures;
pub use prompts::EncodedPrompt;
pub use result::{PolicyResult, SIDES};
pub use scoring::{Gold, GoldFunction};
pub use settings::PolicySettings;
