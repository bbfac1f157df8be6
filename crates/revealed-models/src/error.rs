//! What can go wrong between a folder on disk and a model in memory.

use std::path::PathBuf;

use thiserror::Error;

/// An error of this crate; every variant names the file or the field and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder lacks a file that every model folder has.
    #[error("{}: no {file} in this folder; expected a Hugging Face model folder", folder.display())]
    MissingFile {
        /// The model folder.
        folder: PathBuf,
        /// The file's name.
        file: &'static str,
    },
    /// A JSON file does not parse.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A config field is missing or has a value that cannot be used.
    #[error("{}: field `{field}`: found {found}, expected {expected}", path.display())]
    Field {
        /// The config file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value, or "nothing".
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A config field that would change the result and that this crate does not implement.
    #[error(
        "{}: unsupported field `{field}` = {value}: ignoring it could change the result; remove it only if you know that it does not",
        path.display()
    )]
    UnsupportedField {
        /// The config file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value.
        value: String,
    },
    /// A config field that shows that the checkpoint is of another kind than its `model_type`.
    #[error("{}: `{field}` = {value}: {reason}", path.display())]
    OtherKind {
        /// The config file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value.
        value: String,
        /// Why it cannot be read, and what to do.
        reason: String,
    },
    /// A PEFT adapter where a model is expected.
    #[error(
        "{}: this folder holds a PEFT adapter and no model; give {base} as the model, and this folder as its adapter",
        folder.display()
    )]
    AdapterFolder {
        /// The folder.
        folder: PathBuf,
        /// The base that it names.
        base: String,
    },
    /// A model folder with an adapter in it.
    #[error(
        "{}: adapter_config.json lies next to a full model; Transformers would load the base that it names with the adapter on top, and not this model; move the adapter to a folder of its own, or remove adapter_config.json",
        folder.display()
    )]
    ModelWithAdapter {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder without weights that can be read.
    #[error("{}: no model.safetensors in this folder, nor its index: {reason}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What is there, and what to do.
        reason: String,
    },
    /// An architecture this crate does not have.
    #[error("{}: unsupported model_type `{found}`; supported: {supported}", path.display())]
    UnsupportedModel {
        /// The config file.
        path: PathBuf,
        /// The `model_type` found.
        found: String,
        /// Those that are supported.
        supported: String,
    },
    /// A weights file is damaged.
    #[error("{}: {reason}; the file is damaged or incomplete, fetch or write it again", path.display())]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is not as the config says.
    #[error("{}: tensor `{tensor}`: {reason}", path.display())]
    Tensor {
        /// The weights file or folder.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Tensors in the file that the model does not have.
    #[error(
        "{}: {count} tensors that this architecture does not use: {names}; {reason}",
        path.display()
    )]
    UnusedTensors {
        /// The weights file or folder.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
        /// What they are likely to be, and what to do.
        reason: String,
    },
    /// LoRA settings that fit no layer of the model.
    #[error("target module `{target}` matches no linear layer; this model has: {available}")]
    NoTarget {
        /// The name asked for.
        target: String,
        /// The names that exist.
        available: String,
    },
    /// A LoRA setting that this crate does not implement.
    #[error("adapter: `{field}` = {found} is not supported; expected {expected}")]
    Adapter {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Something was asked of a model without an adapter.
    #[error("the model has no adapter; attach or load one first")]
    NoAdapter,
    /// A dtype that the device cannot compute in.
    #[error("{device} cannot compute in {dtype}; compute in F32 (model.bf16 = false)")]
    ComputeDtype {
        /// The dtype asked for.
        dtype: String,
        /// The device.
        device: String,
    },
    /// A device that cannot hold weights in bf16.
    #[error("{device} cannot hold weights in bf16; store them as f32 (model.weights = \"f32\")")]
    WeightStorage {
        /// The device.
        device: String,
    },
    /// A name that did not become a folder.
    #[error(transparent)]
    Hub(#[from] revealed_hub::HubError),
    /// Sampling settings out of range.
    #[error("sampling: `{field}` = {found}; expected {expected}")]
    Sampling {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// A row that does not fit the model.
    #[error("row {row}: {reason}")]
    Row {
        /// Its index.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// The model produced NaN or infinity.
    #[error("the model gave non-finite {what} for row {row}; its weights are damaged or diverged")]
    NonFinite {
        /// What was not finite.
        what: &'static str,
        /// The row in the call.
        row: usize,
    },
    /// A tensor could not be read back from the device.
    #[error("reading a tensor back from the device failed: {0}")]
    Device(String),
}

impl ModelError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
