//! Methods and settings of the loop, compared on the built-in task over seeds.
//!
//! Every result is one line of `results.jsonl`; existing lines are not computed again. The page is made from that file alone.

mod arms;
mod fingerprint;
mod measure;
mod outcome;
mod page;
mod plots;
mod results;
mod rows;
mod rules;
mod run;
mod world;

pub use arms::{Arm, all as arms};
pub use outcome::{Gold, Level, Outcome, Round};
pub use page::write as write_page;
pub use results::read as read_results;
pub use run::{Bench, Work};
