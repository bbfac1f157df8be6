//! Evaluation of a round on held-out demonstrations, and the rules by which it is kept.

mod audit;
mod evaluate;
mod figures;
mod held_out;
mod likelihood;
mod rules;
mod validation;

pub use evaluate::evaluate_round;
pub(crate) use evaluate::{Evaluation, evaluate_candidate};
pub use figures::KeptFigures;
pub use held_out::HeldOutSamples;
pub(crate) use likelihood::held_out_loss;
pub use rules::best_round;
