//! The folder of a run: recipe, metrics, samples, reports, checkpoints, and the finished models with their cards.

mod card;
mod checkpoint;
mod json_object;
mod merged_card;
mod report;
mod run_folder;
mod text_files;

pub use checkpoint::{Checkpoints, Saved};
pub use merged_card::merged_card;
pub use report::{figures, report_markdown, round_markdown};
pub use run_folder::{Losses, RunFolder};
pub use text_files::{TextSide, copy_text_files, write_text_files};
