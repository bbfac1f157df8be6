//! One evaluation as one JSON file: its figures, its items, and every setting that they depend on.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::EvalError;

/// Extensions of the files that define a model: weights, configuration, tokenizer, templates.
const MODEL_FILES: &[&str] = &["json", "safetensors", "jinja"];

/// The results of an evaluation, with everything needed to reproduce them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRecord {
    /// Name of the evaluation: `arc_challenge`, `rewardbench`, `mt_bench`, …
    pub evaluation: String,
    /// The summary numbers.
    pub figures: Vec<Figure>,
    /// Result of every question, pair or prompt, so that two records can be compared item by item.
    pub items: Vec<Item>,
    /// The evaluation's own settings: shots, template, BOS, temperature, seed, limits, …
    pub settings: Map<String, Value>,
    /// Models by role: `model`, `policy`, `reference`, `reward`, `judge`.
    pub models: BTreeMap<String, Source>,
    /// Files that were read.
    pub data: Vec<Source>,
    /// The program and device that computed it.
    pub environment: Environment,
}

/// One summary number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The metric, under its usual name: `acc`, `acc_norm`, `exact_match`, `accuracy`, …
    pub name: String,
    /// The subset that it covers; `None` for all data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The number, finite.
    pub value: f64,
    /// Its 95 % interval, low and high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Number of items that it covers.
    pub n: usize,
    /// The figures that it is the weighted mean of; empty for a mean over items and for everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A figure that is averaged into another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// The subset that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Its weight; weights are divided by their sum.
    pub weight: f64,
}

/// One question, pair or prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its id in its file; unique within a record.
    pub id: String,
    /// The subset that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Its numbers, by the name of the figure that averages them, or another name.
    pub values: BTreeMap<String, f64>,
    /// Further data for a reader: answers, log-likelihoods, the judge's text.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

/// A file, folder or endpoint, with a hash of its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it was: a path as given, a hub id, an endpoint's model.
    pub path: String,
    /// SHA-256 of a file's bytes, or of a folder's files with their names; none of an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The program, the device and the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of `revealed`.
    pub revealed: String,
    /// The device's name.
    pub device: String,
    /// Number type of the models' computations.
    pub dtype: String,
    /// The command line without the program's name.
    pub command: Vec<String>,
}

/// The inputs of an evaluation, and the program and device that computed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Models by role.
    pub models: BTreeMap<String, Source>,
    /// Files that were read.
    pub data: Vec<Source>,
    /// The program and the device.
    pub environment: Environment,
}

impl Environment {
    /// This version of the crate on a device, in f32; `command` is the command line without the program's name.
    pub fn new(device: &Device, command: Vec<String>) -> Self {
        Self {
            revealed: env!("CARGO_PKG_VERSION").into(),
            device: format!("{device:?}"),
            dtype: "f32".into(),
            command,
        }
    }
}

impl Source {
    /// A file, or a model folder by its weights, configuration and tokenizer files.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn of(path: &Path) -> Result<Self, EvalError> {
        let mut hasher = Sha256::new();
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(EvalError::io(path))?;
            let mut files: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|file| {
                    let ending = file.extension().and_then(|ending| ending.to_str());
                    file.is_file() && ending.is_some_and(|ending| MODEL_FILES.contains(&ending))
                })
                .collect();
            files.sort();
            for file in &files {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let size = fs::metadata(file).map_err(EvalError::io(file))?.len();
                hasher.update(format!("{name} {size} "));
                add(file, &mut hasher)?;
            }
        } else {
            add(path, &mut hasher)?;
        }
        Ok(Self { path: path.display().to_string(), sha256: Some(hex(&hasher.finalize())) })
    }

    /// A file of rows, or the files of a folder, a pattern or a data set of the hub, hashed with their
    /// names.
    ///
    /// # Errors
    /// When something cannot be found or read.
    pub fn data(path: &Path) -> Result<Self, EvalError> {
        let files = revealed_data::data_files(path)?;
        if files.as_slice() == [path] {
            return Self::of(path);
        }
        let mut hasher = Sha256::new();
        for file in &files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let size = fs::metadata(file).map_err(EvalError::io(file))?.len();
            hasher.update(format!("{name} {size} "));
            add(file, &mut hasher)?;
        }
        Ok(Self { path: path.display().to_string(), sha256: Some(hex(&hasher.finalize())) })
    }

    /// A source that cannot be hashed, such as a model behind an endpoint.
    pub fn named(path: impl Into<String>) -> Self {
        Self { path: path.into(), sha256: None }
    }
}

/// Bytes as text, two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add(file: &Path, hasher: &mut Sha256) -> Result<(), EvalError> {
    struct Into<'a>(&'a mut Sha256);
    impl Write for Into<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut reader = fs::File::open(file).map_err(EvalError::io(file))?;
    std::io::copy(&mut reader, &mut Into(hasher)).map_err(EvalError::io(file))?;
    Ok(())
}

impl EvalRecord {
    /// A record of results and their inputs.
    pub fn new(
        evaluation: impl Into<String>,
        figures: Vec<Figure>,
        items: Vec<Item>,
        settings: Map<String, Value>,
        Provenance { models, data, environment }: Provenance,
    ) -> Self {
        Self { evaluation: evaluation.into(), figures, items, settings, models, data, environment }
    }

    /// The figure of this name over all data, or over a subset.
    pub fn figure(&self, name: &str, subset: Option<&str>) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name && figure.subset.as_deref() == subset)
    }

    /// Writes the record; the file appears only when it is complete.
    ///
    /// # Errors
    /// When a number is not finite, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), EvalError> {
        let numbers = self.figures.iter().map(|figure| (&figure.name, figure.value));
        let values = self.items.iter().flat_map(|item| item.values.iter().map(|(k, v)| (k, *v)));
        if let Some((name, value)) = numbers.chain(values).find(|(_, value)| !value.is_finite()) {
            return Err(EvalError::NotFinite { name: name.clone(), value });
        }
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| EvalError::Json { path: path.into(), source })?;
        Ok(revealed_models::write_file(path, text.as_bytes())?)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When the file is missing or is no such record.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let bytes = fs::read(path).map_err(EvalError::io(path))?;
        serde_json::from_slice(&bytes)
            .map_err(|source| EvalError::NoRecord { path: path.into(), source })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record() -> EvalRecord {
        let figure = |subset: Option<&str>, value| Figure {
            name: "acc".into(),
            subset: subset.map(str::to_owned),
            value,
            interval: Some([0.1, 0.9]),
            n: 2,
            parts: Vec::new(),
        };
        let values = BTreeMap::from([("acc".to_owned(), 1.0)]);
        let item = Item { id: "0".into(), subset: None, values, detail: Map::new() };
        EvalRecord {
            evaluation: "toy".into(),
            figures: vec![figure(None, 0.5), figure(Some("hard"), 0.25)],
            items: vec![item],
            settings: Map::from_iter([("shots".to_owned(), 5.into())]),
            models: BTreeMap::from([("judge".to_owned(), Source::named("gpt"))]),
            data: vec![],
            environment: Environment {
                revealed: "0".into(),
                device: "flex".into(),
                dtype: "f32".into(),
                command: vec!["eval".into()],
            },
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.json");
        record().write(&path).unwrap();
        let read = EvalRecord::read(&path).unwrap();
        assert_eq!(read, record());
        assert_eq!(read.figure("acc", Some("hard")).unwrap().value, 0.25);
        assert_eq!(read.figure("acc", None).unwrap().value, 0.5);
    }

    #[test]
    fn a_number_that_is_none_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.json");
        let mut record = record();
        record.figures[0].value = f64::NAN;
        assert!(matches!(record.write(&path), Err(EvalError::NotFinite { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn another_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.json");
        let message = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            EvalRecord::read(&path).unwrap_err().to_string()
        };
        let whole = serde_json::to_string(&record()).unwrap();
        for other in [b"{}".as_slice(), b"[1]", b"source = 1", b"\xff\xfe", b"{\"source\": 1}"] {
            let message = message(other);
            assert!(
                message.contains("other.json: this is no record of an evaluation"),
                "{message}"
            );
        }
        for cut in [&whole.as_bytes()[..whole.len() / 2], b""] {
            let message = message(cut);
            assert!(message.contains("other.json: this record is empty or cut off"), "{message}");
        }
    }

    #[test]
    fn a_folder_is_another_once_a_file_of_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("config.json", "{}");
        write("model.safetensors", "weights");
        let before = Source::of(folder.path()).unwrap();
        write("notes.txt", "no part of the model");
        assert_eq!(Source::of(folder.path()).unwrap(), before);
        write("model.safetensors", "weightz");
        assert_ne!(Source::of(folder.path()).unwrap(), before);
        // By the definition of SHA-256 on the file's bytes.
        let file = Source::of(&folder.path().join("config.json")).unwrap();
        assert_eq!(Source::data(&folder.path().join("config.json")).unwrap(), file);
        let known = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(file.sha256.as_deref(), Some(known));
    }
}
