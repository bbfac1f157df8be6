//! Tensors from safetensors files, with every one accounted for, or fresh ones from a seed.
//!
//! Files are read piece by piece, never mapped: a file that changes or ends early is an error and not a
//! signal, and no allocation is larger than what the file's size allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::error::ModelError;
use crate::layers::{Weight, WeightStorage};

mod names;

const LARGEST_HEADER: u64 = 100_000_000;

/// The tensors of one or several safetensors files.
#[derive(Debug)]
pub struct TensorFiles {
    path: PathBuf,
    files: Vec<(PathBuf, File, u64)>,
    tensors: BTreeMap<String, (usize, TensorInfo)>,
    used: BTreeSet<String>,
    /// The base model's name in its classes: tensors may be named without it, or with it once more.
    prefix: &'static str,
    /// Tensors that are read under another name.
    aliases: BTreeMap<String, String>,
}

impl TensorFiles {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// When neither is there, a shard lies outside the folder, or a header is damaged.
    pub fn open_folder(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        if single.is_file() {
            return Self::open(std::slice::from_ref(&single), single.clone());
        }
        if !index.is_file() {
            let reason = names::instead_of_weights(folder);
            return Err(ModelError::NoWeights { folder: folder.into(), reason });
        }
        let text = std::fs::read_to_string(&index).map_err(ModelError::io(&index))?;
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let parsed: Index = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: index.clone(), source })?;
        let shards: BTreeSet<&String> = parsed.weight_map.values().collect();
        let mut paths = Vec::new();
        for shard in shards {
            let plain = Path::new(shard).components().all(|c| matches!(c, Component::Normal(_)));
            if !plain {
                let reason = format!("shard `{shard}` lies outside the folder");
                return Err(ModelError::Weights { path: index, reason });
            }
            paths.push(folder.join(shard));
        }
        let opened = Self::open(&paths, index.clone())?;
        for (tensor, shard) in &parsed.weight_map {
            let found = opened.tensors.get(tensor).map(|(file, _)| &opened.files[*file].0);
            if found != Some(&folder.join(shard)) {
                let reason = format!("the index places it in {shard}, but it is not there");
                return Err(ModelError::Tensor { path: index, tensor: tensor.clone(), reason });
            }
        }
        Ok(opened)
    }

    /// Opens the given files; `path` is what messages about all of them name.
    ///
    /// # Errors
    /// When a file cannot be read or its header is damaged, or a tensor is in two files.
    pub fn open(paths: &[PathBuf], path: PathBuf) -> Result<Self, ModelError> {
        let mut all = Self {
            path,
            files: vec![],
            tensors: BTreeMap::new(),
            used: BTreeSet::new(),
            prefix: "",
            aliases: BTreeMap::new(),
        };
        for path in paths {
            let mut file = File::open(path).map_err(ModelError::io(path))?;
            let (start, metadata) = read_header(path, &mut file)?;
            let number = all.files.len();
            all.files.push((path.clone(), file, start));
            for (name, info) in metadata.tensors() {
                if all.tensors.insert(name.clone(), (number, info.clone())).is_some() {
                    let reason = "it is in two shards".into();
                    return Err(ModelError::Tensor { path: path.clone(), tensor: name, reason });
                }
            }
        }
        Ok(all)
    }

    /// What messages about all files name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a tensor is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    /// A tensor's shape, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, info)| info.shape.as_slice())
    }

    /// Finds tensors also without the base model's prefix, or with it once more, as Transformers
    /// does: a folder that was saved from the base model alone has `layers.0…` for
    /// `model.layers.0…`.
    pub(crate) fn with_prefix(mut self, prefix: &'static str) -> Self {
        self.prefix = prefix;
        self
    }

    /// Reads tensor `name` where the file has `stored`.
    pub(crate) fn alias(&mut self, name: &str, stored: &str) {
        self.aliases.insert(name.into(), stored.into());
    }

    /// The name that the file has for a tensor of the model.
    ///
    /// # Errors
    /// When it has two.
    pub(crate) fn stored(&self, name: &str) -> Result<Option<String>, ModelError> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        let mut candidates = vec![name.to_owned()];
        if !self.prefix.is_empty() {
            let bare = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('.'));
            candidates.extend(bare.map(String::from));
            candidates.push(format!("{}.{name}", self.prefix));
        }
        candidates.retain(|candidate| self.tensors.contains_key(candidate));
        if let [first, second, ..] = candidates.as_slice() {
            let reason = format!("the file has {first} and {second} for it; remove one of them");
            let (path, tensor) = (self.path.clone(), name.into());
            return Err(ModelError::Tensor { path, tensor, reason });
        }
        Ok(candidates.pop())
    }

    /// Whether two tensors have equal shapes and numbers, as f32.
    pub(crate) fn same(&mut self, first: &str, second: &str) -> Result<bool, ModelError> {
        let (Some(one), Some(other)) = (self.stored(first)?, self.stored(second)?) else {
            return Ok(false);
        };
        let (shape, others) = (self.tensors[&one].1.shape.clone(), &self.tensors[&other].1.shape);
        Ok(shape == *others && self.read(&one, &shape)? == self.read(&other, &shape)?)
    }

    /// Reads a tensor of the given shape as f32, and counts it as used.
    ///
    /// # Errors
    /// When it is missing, has another shape, is not f64, f32, f16 or bf16, or holds numbers that
    /// are not finite.
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let wrong = |path: &Path, reason: String| ModelError::Tensor {
            path: path.into(),
            tensor: name.into(),
            reason,
        };
        let Some(stored) = self.stored(name)? else {
            return Err(wrong(&self.path, self.missing(name)));
        };
        let (number, info) = &self.tensors[&stored];
        let (path, file, start) = &mut self.files[*number];
        if info.shape != shape {
            let reason = format!("found shape {:?}, the config asks for {shape:?}", info.shape);
            return Err(wrong(path, reason));
        }
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0u8; to - from];
        file.seek(SeekFrom::Start(*start + from as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(ModelError::io(&*path))?;
        let values = numbers(info.dtype, &bytes).ok_or_else(|| {
            wrong(
                path,
                format!(
                    "found dtype {:?}, expected F64, F32, F16 or BF16; weights in whole numbers or 8 bits are those of a quantised model: use the unquantised one, or dequantise and save it with Transformers",
                    info.dtype
                ),
            )
        })?;
        let broken = values.iter().filter(|value| !value.is_finite()).count();
        if broken > 0 {
            let at = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
            let reason = format!(
                "{broken} of its {} numbers are not finite, the first is {} at index {at}; the model is damaged or its training diverged: fetch it again, or use an earlier checkpoint",
                values.len(),
                values[at]
            );
            return Err(wrong(path, reason));
        }
        self.used.insert(stored);
        Ok(values)
    }

    /// What to write of a tensor that is not there.
    fn missing(&self, name: &str) -> String {
        let unused = self.tensors.keys().filter(|name| !self.used.contains(*name));
        match names::in_place_of(name, self.prefix, unused) {
            Some((near, reason)) => format!("missing; the file has `{near}`: {reason}"),
            None => "missing; the file is incomplete, or config.json is of another model".into(),
        }
    }

    /// Refuses tensors that nobody read, except names that `harmless` accepts.
    ///
    /// # Errors
    /// When one is left; the first five are named.
    pub fn finish(self, harmless: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        let left: Vec<&str> = self
            .tensors
            .keys()
            .filter(|name| !self.used.contains(*name) && !harmless(name))
            .map(String::as_str)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let names = left.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let reason = names::why_unused(left[0]).into();
        Err(ModelError::UnusedTensors { path: self.path, count: left.len(), names, reason })
    }
}

/// Little-endian bytes of a float dtype as f32; nothing for other dtypes.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F64 => {
            bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
        }
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
        }
        _ => return None,
    })
}

/// The header of one file, checked against the file's size before anything is allocated.
fn read_header(path: &Path, file: &mut File) -> Result<(u64, Metadata), ModelError> {
    let damaged = |reason: String| ModelError::Weights { path: path.into(), reason };
    let size = file.metadata().map_err(ModelError::io(path))?.len();
    let mut prefix = [0u8; 8];
    if size < 8 {
        return Err(damaged(format!("it has {size} bytes, too few for a safetensors header")));
    }
    file.read_exact(&mut prefix).map_err(ModelError::io(path))?;
    let header = u64::from_le_bytes(prefix);
    if header > LARGEST_HEADER || header > size - 8 {
        return Err(damaged(format!("its header claims {header} bytes, the file has {size}")));
    }
    let mut json = vec![0u8; header as usize];
    file.read_exact(&mut json).map_err(ModelError::io(path))?;
    let metadata: Metadata = serde_json::from_slice(&json)
        .map_err(|error| damaged(format!("its safetensors header is invalid: {error}")))?;
    let (promised, found) = (metadata.data_len() as u64, size - 8 - header);
    if promised != found {
        return Err(damaged(format!(
            "its header promises {promised} bytes of tensors, the file has {found}"
        )));
    }
    Ok((8 + header, metadata))
}

/// Where a model's parameters come from: files, or a seed.
pub(crate) enum Source {
    /// Matrices are held as `storage`.
    Files { files: TensorFiles, storage: WeightStorage },
    /// Normal numbers, in f32.
    Random { rng: Box<ChaCha8Rng>, std: f64 },
}

/// How a fresh parameter starts.
#[derive(Clone, Copy)]
pub(crate) enum Init {
    Normal,
    Ones,
    Zeros,
}

impl Source {
    pub fn random(seed: u64, std: f64) -> Self {
        Self::Random { rng: Box::new(ChaCha8Rng::seed_from_u64(seed)), std }
    }

    /// A parameter by its Hugging Face name, frozen, on `device`.
    pub fn param<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        init: Init,
        device: &Device,
    ) -> Result<Param<Tensor<D>>, ModelError> {
        let values = self.values(name, &shape, init)?;
        Ok(named_param(name, Tensor::from_data(TensorData::new(values, shape), device)))
    }

    /// The matrix of a linear layer, an embedding or a head, as the source's storage says.
    pub fn weight(
        &mut self,
        name: &str,
        shape: [usize; 2],
        device: &Device,
    ) -> Result<Weight, ModelError> {
        let storage = match self {
            Self::Files { storage, .. } => *storage,
            Self::Random { .. } => WeightStorage::F32,
        };
        let values = self.values(name, &shape, Init::Normal)?;
        Ok(Weight::new(named_param(name, storage.tensor(values, shape, device))))
    }

    fn values(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Vec<f32>, ModelError> {
        let (rng, std) = match self {
            Self::Files { files, .. } => return files.read(name, shape),
            Self::Random { rng, std } => (rng, *std),
        };
        let count = shape.iter().product();
        Ok(match init {
            Init::Ones => vec![1.0; count],
            Init::Zeros => vec![0.0; count],
            Init::Normal => normals(rng, count, std),
        })
    }
}

/// A parameter whose id follows from its name, so that optimizer state finds it in another process.
pub(crate) fn named_param<const D: usize>(name: &str, tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(ParamId::from(fnv(name)), tensor)
}

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Normal numbers by Box and Muller's transform, the same on every device.
pub(crate) fn normals(rng: &mut ChaCha8Rng, count: usize, std: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = 2.0 * std::f64::consts::PI * rng.random::<f64>();
        values.push((std * radius * angle.cos()) as f32);
        values.push((std * radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// Metadata that Hugging Face libraries expect in a file they load.
pub(crate) fn format_metadata() -> Option<HashMap<String, String>> {
    Some(HashMap::from([("format".to_owned(), "pt".to_owned())]))
}
