//! What stands beside a run's files for people and their tools: the page, event files for TensorBoard, metrics as CSV.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use revealed::eval::EvalRecord;
use revealed::models::write_file;
use revealed::report::tensorboard::EventFiles;
use revealed::report::{MetricLine, Places, RunFiles, html, metrics_csv, read_metrics};
use revealed::train::{At, Event, Metric, Observer};

use crate::output::{chain, note};

/// The page's name in a run folder.
pub const PAGE: &str = "report.html";
const EVENTS: &str = "tensorboard";
const TABLE: &str = "metrics.csv";

/// The page and the table of a run that has ended; its event files are those that were written meanwhile.
///
/// # Errors
/// When a file cannot be written.
pub fn write_companions(folder: &Path) -> Result<()> {
    let run = RunFiles::read(folder)?;
    write_page(&run, &[], &folder.join(PAGE))?;
    write_table(&run)
}

/// The page alone, with evaluations.
///
/// # Errors
/// When it cannot be written.
pub fn write_page(run: &RunFiles, evaluations: &[EvalRecord], path: &Path) -> Result<()> {
    Ok(write_file(path, html(run, evaluations).as_bytes())?)
}

/// `metrics.csv`.
///
/// # Errors
/// When it cannot be written.
pub fn write_table(run: &RunFiles) -> Result<()> {
    Ok(write_file(&run.path.join(TABLE), metrics_csv(&run.metrics).as_bytes())?)
}

/// Event files anew from the metrics, dated as those were last written.
///
/// # Errors
/// When they cannot be written.
pub fn write_events(run: &RunFiles) -> Result<EventFiles> {
    let written = std::fs::metadata(run.path.join("metrics.jsonl")).and_then(|m| m.modified());
    let time = seconds(written.unwrap_or_else(|_| SystemTime::now()));
    Ok(EventFiles::begin(&run.path.join(EVENTS), &run.metrics, time)?)
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Event files that grow with the run. One that cannot be written is said once and does not stop it.
pub struct Events {
    /// Until something fails.
    files: Option<EventFiles>,
    places: Places,
}

impl Events {
    /// From the lines that the run goes on after: no step stands twice.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn begin(folder: &Path) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let (lines, _) = read_metrics(&path)?;
        let now = seconds(SystemTime::now());
        let files = EventFiles::begin(&folder.join(EVENTS), &lines, now)?;
        Ok(Self { files: Some(files), places: Places::after(&lines) })
    }

    fn line(&mut self, at: At, metrics: &[Metric]) {
        let values = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let line = self.places.line((at.round, at.phase, at.step), values);
        self.add(&line);
    }

    fn add(&mut self, line: &MetricLine) {
        let Some(files) = &mut self.files else { return };
        if let Err(error) = files.add(line, seconds(SystemTime::now())) {
            note(&format!("event files for TensorBoard end here: {}", chain(&error)));
            self.files = None;
        }
    }
}

impl Observer for Events {
    fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { at, metrics, .. } => self.line(*at, metrics),
            Event::Ended { at, metrics } if !metrics.is_empty() => self.line(*at, metrics),
            _ => {}
        }
    }
}
