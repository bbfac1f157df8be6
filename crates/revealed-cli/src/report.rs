//! `revealed report`: a run's page and its companions, from its folder's files.

use std::path::PathBuf;

use anyhow::Result;
use revealed::eval::EvalRecord;
use revealed::report::RunFiles;

use crate::companions::{PAGE, write_events, write_page, write_table};
use crate::output::{Output, note};

/// Arguments of `revealed report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The run's folder; the run may be in progress
    run: PathBuf,
    /// Records of evaluations of its models, shown on the page
    #[arg(long = "eval", value_name = "RECORD")]
    evaluations: Vec<PathBuf>,
    /// Write the page here and nothing else [default: report.html in the folder, with tensorboard/ and metrics.csv]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Writes the page, and beside it the other companions.
pub fn report(args: &ReportArgs) -> Result<()> {
    let run = RunFiles::read(&args.run)?;
    let records: Result<Vec<EvalRecord>, _> =
        args.evaluations.iter().map(|path| EvalRecord::read(path)).collect();
    let page = args.out.clone().unwrap_or_else(|| args.run.join(PAGE));
    write_page(&run, &records?, &page)?;
    if args.out.is_none() {
        write_table(&run)?;
        // A run in progress writes its event files itself; two writers would tear them.
        match run.finished {
            true => drop(write_events(&run)?),
            false => note("the run has not ended: its event files are left as they are"),
        }
    }
    for missing in &run.missing {
        note(&format!("missing: {missing}"));
    }
    let mut output = Output::new();
    output.text(&format!("page: {}\n", page.display()))?;
    output.flush()
}
