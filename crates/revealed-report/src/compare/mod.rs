//! Two evaluations or two runs, side by side.

mod figures;
mod names;
mod records;
mod runs;

pub use figures::FigureDifference;
pub use records::{CompareError, Pairing, RecordComparison, compare_records};
pub use runs::{RunComparison, RunFigure, compare_runs};

use serde::Serialize;

/// Something that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// A setting's key, a model's role, …
    pub key: String,
    /// Its value on the left; `None` where it has none.
    pub a: Option<String>,
    /// On the right.
    pub b: Option<String>,
}

impl Difference {
    pub(crate) fn of(key: impl Into<String>, [a, b]: [Option<String>; 2]) -> Option<Self> {
        (a != b).then(|| Self { key: key.into(), a, b })
    }
}
