//! `revealed eval …`: measure rewards and policies.

use anyhow::Result;
use revealed::Device;
use revealed::eval::Environment;

use crate::progress::Progress;

mod preferences;
mod tasks;

/// Arguments of `revealed eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Accuracy on preference pairs: the learned reward, the longer answer, the log-ratio of two models
    Preferences(preferences::PreferencesArgs),
    /// Multiple-choice and generation benchmarks, as lm-evaluation-harness runs them
    Tasks(tasks::TasksArgs),
}

/// Runs one of the evaluations.
pub fn eval(args: &EvalArgs, device: &Device, progress: &mut Progress) -> Result<()> {
    match &args.what {
        What::Preferences(args) => preferences::preferences(args, device, progress),
        What::Tasks(args) => tasks::tasks(args, device, progress),
    }
}

/// This program on a device, for an evaluation's record.
pub fn environment(device: &Device) -> Environment {
    Environment {
        revealed: env!("CARGO_PKG_VERSION").into(),
        device: format!("{device:?}"),
        dtype: "f32".into(),
        command: std::env::args().skip(1).collect(),
    }
}
