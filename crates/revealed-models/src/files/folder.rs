//! Writing Hugging Face folders: each file under its final name only when it is complete.

use std::path::{Path, PathBuf};
use std::{fs, io};

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value};

use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::weights::format_metadata;

/// Files next to the weights that belong to the tokenizer and to generation.
pub const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
];

/// Copies the tokenizer's files, so that a written folder is a whole model.
///
/// # Errors
/// When a file cannot be copied.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(to).map_err(ModelError::io(to))?;
    for file in TOKENIZER_FILES {
        let (source, target) = (from.join(file), to.join(file));
        if source.is_file() && source != target {
            let bytes = fs::read(&source).map_err(ModelError::io(&source))?;
            write_file(&target, &bytes)?;
        }
    }
    Ok(())
}

/// Writes a file beside its name, syncs it, and renames it.
///
/// # Errors
/// When the file cannot be written; nothing is left under the final name then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let partial = partial_name(path);
    let written = fs::write(&partial, bytes).and_then(|()| publish(&partial, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial);
        ModelError::Io { path: path.into(), source }
    })
}

/// Gives a written file its name, once its bytes are on disk.
fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    fs::File::open(partial)?.sync_all()?;
    fs::rename(partial, path)?;
    match path.parent() {
        // A name is on disk once its folder is; elsewhere folders cannot be opened.
        Some(folder) if cfg!(unix) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs::File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

fn partial_name(path: &Path) -> PathBuf {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.partial"))
}

/// The config's fields with some replaced, the dtype as it is written, f32, and no pad token
/// outside the vocabulary: Transformers loads no model that has one.
pub(crate) fn with_fields(config: &HfConfig, replaced: &[(&str, Value)]) -> Map<String, Value> {
    let mut fields = config.fields().clone();
    for (name, value) in replaced {
        fields.insert((*name).into(), value.clone());
    }
    if let (Some(pad), false) =
        (config.pad_token_to_write(), replaced.iter().any(|(name, _)| *name == "pad_token_id"))
    {
        fields.insert("pad_token_id".into(), pad);
    }
    for dtype in ["torch_dtype", "dtype"] {
        if fields.contains_key(dtype) {
            fields.insert(dtype.into(), Value::from("float32"));
        }
    }
    fields
}

/// Writes `config.json` and `model.safetensors`.
pub(crate) fn write_model(
    folder: &Path,
    config: &Value,
    tensors: Vec<(String, TensorData)>,
) -> Result<(), ModelError> {
    fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
    write_tensors(&folder.join("model.safetensors"), tensors)?;
    write_json(&folder.join("config.json"), config)
}

/// Writes JSON, indented as Transformers does.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), ModelError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| ModelError::Json { path: path.into(), source })?;
    write_file(path, format!("{text}\n").as_bytes())
}

/// Writes f32 tensors as safetensors.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tensors(path: &Path, tensors: Vec<(String, TensorData)>) -> Result<(), ModelError> {
    let views: Vec<(String, F32View)> =
        tensors.into_iter().map(|(name, data)| (name, F32View::new(data))).collect();
    // The serializer makes a file of a name of its own, so it gets a folder that the next try can clear.
    let beside = partial_name(path);
    let partial = beside.join("tensors");
    let write = || -> io::Result<()> {
        if beside.exists() {
            fs::remove_dir_all(&beside)?;
        }
        fs::create_dir(&beside)?;
        safetensors::serialize_to_file(views, format_metadata(), &partial)
            .map_err(io::Error::other)?;
        readable_by_all(&partial);
        publish(&partial, path)?;
        fs::remove_dir(&beside)
    };
    write().map_err(|source| {
        let _ = fs::remove_dir_all(&beside);
        ModelError::Io { path: path.into(), source }
    })
}

/// The serializer's temporary file is private; a model folder is as readable as its other files.
fn readable_by_all(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = path;
}

struct F32View {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl F32View {
    fn new(data: TensorData) -> Self {
        let shape = data.shape().to_vec();
        let bytes = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        Self { shape, bytes }
    }
}

impl View for F32View {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
