//! From a recipe to what a run needs: model, policy, task.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use revealed::Device;
use revealed::models::HfConfig;
use revealed::train::{Recipe, Setup};

use crate::progress::Progress;

/// A recipe to run.
#[derive(Debug, clap::Args)]
pub struct RecipeArgs {
    /// Recipe file (TOML); `revealed recipe` prints one with all settings
    pub recipe: PathBuf,
    /// Change a setting, such as `--set policy.steps=10`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// The model and the data of a recipe, with notes on stderr.
///
/// # Errors
/// When a key is missing, or a file is missing or wrong.
pub fn load(args: &RecipeArgs, device: &Device, progress: &mut Progress) -> Result<Setup> {
    let mut recipe = Recipe::read(&args.recipe, &args.overrides)?;
    if !recipe.model.path.is_empty() {
        recipe.model.path = model_folder(&recipe.model.path)?.display().to_string();
    }
    Ok(Setup::load(recipe, device, progress)?)
}

/// The absolute folder of a path or hub id.
///
/// # Errors
/// When there is no such model.
pub fn model_folder(name: &str) -> Result<PathBuf> {
    let folder = revealed::models::resolve(name)?;
    let is = |file: &str| folder.join(file).is_file();
    if is("adapter_config.json") && !is("config.json") {
        let shown = folder.display();
        bail!(
            "{shown}: this is a PEFT adapter and no model; give its base as the model and this folder with --adapter, or make a model of both with `revealed merge --model BASE --adapter {shown} --out FOLDER`"
        );
    }
    folder.canonicalize().with_context(|| format!("{}: cannot be opened", folder.display()))
}

/// The folder of an adapter's path or hub id.
///
/// # Errors
/// When there is no such adapter.
pub fn adapter_folder(name: &Path) -> Result<PathBuf> {
    Ok(revealed::models::resolve_adapter(&name.to_string_lossy())?)
}

/// The longest row that a model folder's model takes.
///
/// # Errors
/// When the config cannot be read or is not supported.
pub fn longest_row(folder: &Path) -> Result<usize> {
    Ok(HfConfig::read(folder)?.context()?)
}

/// Names the fields of a model folder's config that nothing reads, if it has some.
///
/// # Errors
/// When the config cannot be read.
pub fn unread_fields(folder: &Path) -> Result<Option<String>> {
    let config = HfConfig::read(folder)?;
    let fields = config.ignored_fields();
    let list = || {
        format!("{}: not read, as in Transformers: {}", config.path().display(), fields.join(", "))
    };
    Ok((!fields.is_empty()).then(list))
}
