//! Two answers to one question, compared by a judge in both orders.
//!
//! A win counts only where both orders agree on it, anything else is a tie (FastChat's rule, against judges that favour
//! a position). A match of which an order has no verdict counts for nothing and is reported.

mod figures;
mod play;
mod record;
mod rows;
#[cfg(test)]
mod tests;
mod verdict;

pub use figures::{Tally, tally};
pub use play::{Game, Match, Pair, Played, Winner, play};
pub use record::{row_settings, win_rules};
pub use rows::{BUILT_IN, SYSTEM, matches_of_rows};
pub use verdict::{Verdict, verdict};
