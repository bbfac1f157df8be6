//! What a Hugging Face model folder says about text: tokenizer, special tokens, template, stop tokens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::guard::guarded;
use crate::{DataError, TextFolder};

/// The largest tokenizers have some tens of megabytes.
const MAX_BYTES: u64 = 1 << 30;
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

/// The files of a folder, read.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) tokenizer: Tokenizer,
    /// `bos_token` and the like, as templates name them.
    pub(crate) specials: BTreeMap<String, String>,
    pub(crate) add_bos: Option<bool>,
    /// The template's text and the file it stands in.
    pub(crate) template: Option<(String, PathBuf)>,
    pub(crate) bos_id: Option<u32>,
    pub(crate) pad_id: Option<u32>,
    /// Every token that ends a text; the tokenizer's own comes first.
    pub(crate) stop_ids: Vec<u32>,
}

impl Folder {
    pub(crate) fn read(files: &TextFolder) -> Result<Self, DataError> {
        let path = files.tokenizer_folder();
        let tokenizer = tokenizer(path)?;
        let config = overlaid(files, "tokenizer_config.json")?;
        let map = overlaid(files, "special_tokens_map.json")?;
        let generation_file = files.file("generation_config.json");
        let generation = json(&generation_file)?;
        let model_file = files.file("config.json");
        let model = json(&model_file)?;

        let special = |name: &str| text(&config[name]).or_else(|| text(&map[name]));
        let specials: BTreeMap<String, String> = SPECIALS
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), special(name)?)))
            .collect();
        let id_of = |name: &str| specials.get(name).and_then(|token| tokenizer.token_to_id(token));
        let named = |field: &'static str| -> Result<Vec<u32>, DataError> {
            let own = ids(&generation_file, field, &generation[field])?;
            match own.is_empty() {
                true => ids(&model_file, field, &model[field]),
                false => Ok(own),
            }
        };

        let mut stop_ids: Vec<u32> = id_of("eos_token").into_iter().collect();
        for id in named("eos_token_id")? {
            if !stop_ids.contains(&id) {
                stop_ids.push(id);
            }
        }
        let bos_id = id_of("bos_token").or(named("bos_token_id")?.first().copied());
        let pad_id = id_of("pad_token").or(named("pad_token_id")?.first().copied());
        let template = first_template(files)?;
        let add_bos = config["add_bos_token"].as_bool();
        let path = path.to_owned();
        Ok(Self { path, tokenizer, specials, add_bos, template, bos_id, pad_id, stop_ids })
    }
}

/// What a panic of the tokenizer's own code comes to.
pub(crate) const PANICKED: &str =
    "tokenizer.json is damaged: it names something that it does not hold";

fn tokenizer(folder: &Path) -> Result<Tokenizer, DataError> {
    let path = folder.join("tokenizer.json");
    let Some(bytes) = bytes(&path)? else {
        return Err(DataError::NoTokenizer { folder: folder.to_owned() });
    };
    let refuse = |source| DataError::Tokenizer { path: path.clone(), source };
    let panicked = || Err(PANICKED.into());
    let mut tokenizer =
        guarded(|| Tokenizer::from_bytes(bytes)).unwrap_or_else(panicked).map_err(refuse)?;
    // Files keep what their last user set; limits and padding are ours alone.
    tokenizer.with_truncation(None).map_err(refuse)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// A JSON object of the folders that the tokenizer's files are read from: fields of the first replace those of the next.
fn overlaid(text: &TextFolder, name: &str) -> Result<Value, DataError> {
    let mut all = Value::Null;
    for folder in text.tokenizer_folders().into_iter().rev() {
        match (&mut all, json(&folder.join(name))?) {
            (Value::Object(all), Value::Object(own)) => all.extend(own),
            (_, Value::Null) => {}
            (all, own) => *all = own,
        }
    }
    Ok(all)
}

/// The template of the first folder that has one.
fn first_template(text: &TextFolder) -> Result<Option<(String, PathBuf)>, DataError> {
    for folder in text.tokenizer_folders() {
        let config = json(&folder.join("tokenizer_config.json"))?;
        if let Some(found) = template(folder, &config)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// `chat_template.jinja` before `chat_template` of tokenizer_config.json, a text or a list of named
/// templates of which `default` is taken.
fn template(folder: &Path, config: &Value) -> Result<Option<(String, PathBuf)>, DataError> {
    let file = folder.join("chat_template.jinja");
    if let Some(text) = template_file(&file)? {
        return Ok(Some((text, file)));
    }
    let path = folder.join("tokenizer_config.json");
    let refuse = |found: String| DataError::Config {
        path: path.clone(),
        field: "chat_template",
        found,
        expected: "text, or a list of {name, template} with the name \"default\"",
    };
    match &config["chat_template"] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some((text.clone(), path))),
        Value::Array(templates) => {
            let default = templates.iter().find(|template| template["name"] == "default");
            let text = default.and_then(|template| template["template"].as_str());
            let names = || templates.iter().map(|t| t["name"].to_string()).collect::<Vec<_>>();
            let text = text.ok_or_else(|| refuse(format!("a list of {}", names().join(", "))))?;
            Ok(Some((text.to_owned(), path)))
        }
        other => Err(refuse(other.to_string())),
    }
}

/// The text of a template's file; none if there is no such file.
pub(crate) fn template_file(path: &Path) -> Result<Option<String>, DataError> {
    let text = bytes(path)?.map(String::from_utf8).transpose();
    text.map_err(|_| DataError::Io {
        path: path.to_owned(),
        source: std::io::Error::new(ErrorKind::InvalidData, "not UTF-8"),
    })
}

/// A token is text, or an object with its text.
fn text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// An id, a list of ids, or null.
fn ids(path: &Path, field: &'static str, value: &Value) -> Result<Vec<u32>, DataError> {
    let refuse = || DataError::Config {
        path: path.to_owned(),
        field,
        found: value.to_string(),
        expected: "a token id, a list of token ids, or null",
    };
    let id =
        |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(refuse);
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(id).collect(),
        value => Ok(vec![id(value)?]),
    }
}

/// A JSON file; null if there is none.
fn json(path: &Path) -> Result<Value, DataError> {
    let Some(bytes) = bytes(path)? else {
        return Ok(Value::Null);
    };
    serde_json::from_slice(&bytes)
        .map_err(|source| DataError::Json { path: path.to_owned(), source })
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    };
    let size = file.metadata().map_err(io)?.len();
    if size > MAX_BYTES {
        return Err(DataError::FileTooLarge {
            path: path.to_owned(),
            bytes: size,
            limit: MAX_BYTES,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}
