//! `revealed recipe`: every setting with its default and what it is for.

use anyhow::Result;
use revealed::train::Recipe;

use crate::output::Output;

/// Prints the default recipe.
pub fn recipe() -> Result<()> {
    let mut output = Output::new();
    output.text(&Recipe::default().to_commented_toml())?;
    output.flush()
}
