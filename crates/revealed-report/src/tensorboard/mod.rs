//! Metrics as TensorBoard event files: a folder for each phase, tags as in `metrics.jsonl`, steps as places on the phase's
//! axis.
//!
//! `loss` of SFT and `loss` of a reward fit are different numbers under one name, so each phase is a TensorBoard run:
//! `tensorboard/sft/events.out.tfevents.0.revealed` and so on. What a file holds is TFRecord framing
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>) around the protocol buffers `Event` and `Summary`
//! (<https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto>), of which scalars need five fields.

mod crc32c;
mod record;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use revealed_train::Phase;

use crate::page::{MetricLine, ReportError};
use record::{framed, scalars, version};

/// Event files that are being written.
#[derive(Debug)]
pub struct EventFiles {
    folder: PathBuf,
    files: BTreeMap<Phase, File>,
}

impl EventFiles {
    /// Replaces the event files of a folder by those of the given lines, so that a resumed run has no step twice. `wall_time`
    /// is the date of these records, seconds since 1970; the lines have none.
    ///
    /// # Errors
    /// When a file cannot be removed or written.
    pub fn begin(folder: &Path, lines: &[MetricLine], wall_time: f64) -> Result<Self, ReportError> {
        for phase in Phase::ALL {
            let path = file_of(folder, phase);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ReportError::Io { path, source: error });
                }
                _ => {}
            }
        }
        let mut files = Self { folder: folder.into(), files: BTreeMap::new() };
        let mut bytes: BTreeMap<Phase, Vec<u8>> = BTreeMap::new();
        for line in lines {
            bytes.entry(line.phase).or_default().extend(of_line(line, wall_time));
        }
        for (phase, bytes) in bytes {
            files.write(phase, &bytes, wall_time)?;
        }
        Ok(files)
    }

    /// Appends a line and hands it to the operating system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, line: &MetricLine, wall_time: f64) -> Result<(), ReportError> {
        self.write(line.phase, &of_line(line, wall_time), wall_time)
    }

    fn write(&mut self, phase: Phase, bytes: &[u8], wall_time: f64) -> Result<(), ReportError> {
        let path = file_of(&self.folder, phase);
        if !self.files.contains_key(&phase) {
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder).map_err(ReportError::io(folder))?;
            let mut file = File::create(&path).map_err(ReportError::io(&path))?;
            file.write_all(&framed(&version(wall_time))).map_err(ReportError::io(&path))?;
            self.files.insert(phase, file);
        }
        match self.files.get_mut(&phase) {
            Some(file) => file.write_all(bytes).map_err(ReportError::io(&path)),
            None => Ok(()),
        }
    }
}

fn file_of(folder: &Path, phase: Phase) -> PathBuf {
    folder.join(phase.to_string()).join("events.out.tfevents.0.revealed")
}

fn of_line(line: &MetricLine, wall_time: f64) -> Vec<u8> {
    framed(&scalars(wall_time, line.place as i64, &line.values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(phase: Phase, place: usize) -> MetricLine {
        let values = vec![("loss".to_owned(), place as f64)];
        MetricLine { round: 1, phase, step: place, place, values }
    }

    #[test]
    fn beginning_again_leaves_nothing_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let lines = [line(Phase::Sft, 1), line(Phase::Fit, 1)];
        let mut files = EventFiles::begin(folder.path(), &lines, 1.0).unwrap();
        files.add(&line(Phase::Fit, 2), 2.0).unwrap();
        let all = fs::read(file_of(folder.path(), Phase::Fit)).unwrap();
        let of = |line: &MetricLine, time| of_line(line, time);
        let expected =
            [framed(&version(1.0)), of(&lines[1], 1.0), of(&line(Phase::Fit, 2), 2.0)].concat();
        assert_eq!(all, expected);
        // Resumed from before the second step, and without a step of SFT.
        EventFiles::begin(folder.path(), &lines[1..], 1.0).unwrap();
        let again = fs::read(file_of(folder.path(), Phase::Fit)).unwrap();
        assert_eq!(again, expected[..expected.len() - of_line(&lines[1], 1.0).len()]);
        assert!(!file_of(folder.path(), Phase::Sft).exists());
    }
}
