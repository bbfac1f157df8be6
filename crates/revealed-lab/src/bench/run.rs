//! Runs the arms that have no result yet, several seeds in parallel.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;

use super::arms::{self, Arm};
use super::outcome::{Level, Outcome};
use super::results::existing;
use super::world::Prepared;
use crate::LabError;

/// A comparison: arms on settings and seeds, with a folder of results.
pub struct Bench<'a> {
    /// Folder of `results.jsonl` and of the data and models of each seed.
    pub out: &'a Path,
    /// Arms to run.
    pub arms: &'a [Arm],
    /// Settings of the task.
    pub levels: &'a [Level],
    /// Seeds of the task.
    pub seeds: &'a [u64],
}

/// Arms of one setting and seed without a result.
pub struct Work<'a> {
    level: Level,
    seed: u64,
    arms: Vec<&'a Arm>,
}

impl<'a> Bench<'a> {
    /// Path of the results.
    pub fn results(&self) -> PathBuf {
        self.out.join("results.jsonl")
    }

    /// The runs without a result.
    ///
    /// # Errors
    /// When results are damaged, occur twice, or were made with other settings of an arm.
    pub fn open(&self) -> Result<Vec<Work<'a>>, LabError> {
        std::fs::create_dir_all(self.out).map_err(LabError::io(self.out))?;
        let known = arms::all();
        let existing = existing(&self.results(), known.iter().chain(self.arms))?;
        let mut levels = self.levels.to_vec();
        levels.dedup();
        let mut work = Vec::new();
        for seed in self.seeds {
            for level in &levels {
                let wanted = |arm: &&Arm| {
                    arm.runs_on(*level) && !existing.contains(&(*level, *seed, arm.name.clone()))
                };
                let arms: Vec<&Arm> = self.arms.iter().filter(wanted).collect();
                if !arms.is_empty() {
                    work.push(Work { level: *level, seed: *seed, arms });
                }
            }
        }
        Ok(work)
    }

    /// Runs `work` on `jobs` threads, appends each result to the file and passes it to `report`.
    ///
    /// # Errors
    /// When an arm fails or a file cannot be written.
    pub fn run(
        &self,
        work: &[Work<'_>],
        jobs: usize,
        device: &Device,
        report: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<(), LabError> {
        let path = self.results();
        let (file, next) = (Mutex::new(appending(&path)?), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let worker = || -> Result<(), LabError> {
                while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let prepared = Prepared::new(work.level, work.seed, self.out, device)?;
                    for arm in &work.arms {
                        let outcome = work.outcome(arm, &prepared)?;
                        report(&outcome);
                        let line = serde_json::to_string(&outcome).map_err(LabError::Json)? + "\n";
                        // A poisoned lock means that another worker panicked; its panic is what gets reported.
                        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        file.write_all(line.as_bytes()).map_err(LabError::io(&path))?;
                    }
                }
                Ok(())
            };
            let count = jobs.clamp(1, work.len().max(1));
            let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }
}

impl Work<'_> {
    fn outcome(&self, arm: &Arm, prepared: &Prepared) -> Result<Outcome, LabError> {
        let rounds = arm.run(prepared)?;
        let (arm, settings) = (arm.name.clone(), arm.fingerprint());
        Ok(Outcome { setting: self.level, seed: self.seed, arm, settings, rounds })
    }
}

/// The file opened for appending, after a complete line.
fn appending(path: &Path) -> Result<File, LabError> {
    let options = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = options.map_err(LabError::io(path))?;
    let text = std::fs::read(path).map_err(LabError::io(path))?;
    if text.last().is_some_and(|last| *last != b'\n') {
        file.write_all(b"\n").map_err(LabError::io(path))?;
    }
    Ok(file)
}
