//! What a Hugging Face model folder says about text: tokenizer, special tokens, template, stop
//! tokens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::tokenizer_file;
use crate::{DataError, TextFolder};

/// The largest tokenizers have some tens of megabytes.
const MAX_BYTES: u64 = 1 << 30;
const SPECIALS: [&str; 7] =
    ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

/// A template's text and the file that it is in.
pub(crate) type TemplateSource = (String, PathBuf);

/// The files of a folder, read.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) tokenizer: Tokenizer,
    /// `bos_token` and the like, as templates name them.
    pub(crate) specials: BTreeMap<String, String>,
    pub(crate) template: Option<TemplateSource>,
    /// The template for conversations with tools, where the folder has one of its own.
    pub(crate) tool_template: Option<TemplateSource>,
    pub(crate) bos_id: Option<u32>,
    /// The pad token, if it is within the model's vocabulary.
    pub(crate) pad_id: Option<u32>,
    /// Every token that ends a text; the tokenizer's own comes first.
    pub(crate) stop_ids: Vec<u32>,
    /// Settings of the folder that are not followed, for the reader.
    pub(crate) notes: Vec<String>,
    /// The tokenizer class that is followed; empty where tokenizer.json is used as it is.
    pub(crate) class: String,
}

impl Folder {
    pub(crate) fn read(files: &TextFolder) -> Result<Self, DataError> {
        let path = files.tokenizer_folder();
        let config = overlaid(files, "tokenizer_config.json")?;
        let map = overlaid(files, "special_tokens_map.json")?;
        let generation_file = files.file("generation_config.json");
        let generation = json(&generation_file)?;
        let model_file = files.file("config.json");
        let model = json(&model_file)?;
        let class = tokenizer_file::class(&config, &model);
        let specials = specials((&config, &class), &map);
        let tokenizer = tokenizer_file::read(path, (&config, &class), &specials)?;

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
        let vocabulary = model["vocab_size"].as_u64();
        let inside = |id: &u32| vocabulary.is_none_or(|size| u64::from(*id) < size);
        let pad_id = id_of("pad_token").or(named("pad_token_id")?.first().copied());
        let mut notes = Vec::new();
        if let Some(pad) = pad_id.filter(|id| !inside(id)) {
            notes.push(format!(
                "the pad token {pad} is outside the model's vocabulary of {}; another token pads",
                vocabulary.unwrap_or_default()
            ));
        }
        notes.extend(tokenizer_file::bos_note(&config, &tokenizer, specials.get("bos_token")));
        let (template, tool_template) = first_templates(files)?;
        Ok(Self {
            path: path.to_owned(),
            tokenizer,
            specials,
            template,
            tool_template,
            bos_id,
            pad_id: pad_id.filter(inside),
            stop_ids,
            class,
            notes,
        })
    }
}

/// Special tokens by the name under which a template reads them, as Transformers collects them:
/// from `tokenizer_config.json`, else `special_tokens_map.json`, else the tokenizer class.
fn specials((config, class): (&Value, &str), map: &Value) -> BTreeMap<String, String> {
    let defaults = tokenizer_file::default_specials(class);
    let mut specials = BTreeMap::new();
    for name in SPECIALS {
        let given = config.get(name).or_else(|| map.get(name));
        let default = || {
            let of_class = defaults.iter().find(|(known, _)| *known == name);
            of_class.map(|(_, token)| (*token).to_owned())
        };
        // A token that is null is switched off.
        if let Some(token) = given.map_or_else(default, text) {
            specials.insert(name.to_owned(), token);
        }
    }
    for named in ["extra_special_tokens", "model_specific_special_tokens"] {
        for (name, token) in config[named].as_object().into_iter().flatten() {
            specials.extend(text(token).map(|token| (name.clone(), token)));
        }
    }
    specials
}

/// A JSON object of the folders that the tokenizer's files are read from: fields of the first
/// replace those of the next.
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

/// The templates of the first folder that has one.
fn first_templates(
    files: &TextFolder,
) -> Result<(Option<TemplateSource>, Option<TemplateSource>), DataError> {
    for folder in files.tokenizer_folders() {
        let config = json(&folder.join("tokenizer_config.json"))?;
        let found = templates(folder, &config)?;
        if found.0.is_some() || found.1.is_some() {
            return Ok(found);
        }
    }
    Ok((None, None))
}

/// The default template and the one for tools. Files (`chat_template.jinja`,
/// `additional_chat_templates/NAME.jinja`) replace `chat_template` of tokenizer_config.json, which
/// is a text or a list of named templates.
fn templates(
    folder: &Path,
    config: &Value,
) -> Result<(Option<TemplateSource>, Option<TemplateSource>), DataError> {
    let file = |path: PathBuf| Ok(template_file(&path)?.map(|text| (text, path)));
    let default: Option<TemplateSource> = file(folder.join("chat_template.jinja"))?;
    let tools: Option<TemplateSource> =
        file(folder.join("additional_chat_templates").join("tool_use.jinja"))?;
    if default.is_some() || tools.is_some() {
        return Ok((default, tools));
    }
    let path = folder.join("tokenizer_config.json");
    let refuse = |found: String| DataError::Config {
        path: path.clone(),
        field: "chat_template",
        found,
        expected: "text, or a list of {name, template} with the name \"default\"",
    };
    match &config["chat_template"] {
        Value::Null => Ok((None, None)),
        Value::String(text) => Ok((Some((text.clone(), path)), None)),
        Value::Array(templates) => {
            let named = |name: &str| {
                let template = templates.iter().find(|template| template["name"] == name)?;
                Some((template["template"].as_str()?.to_owned(), path.clone()))
            };
            let names = || templates.iter().map(|t| t["name"].to_string()).collect::<Vec<_>>();
            match (named("default"), named("tool_use")) {
                (None, None) => Err(refuse(format!("a list of {}", names().join(", ")))),
                both => Ok(both),
            }
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
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// An id, a list of ids, or null; -1 is how some folders write none.
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
        value if value.as_i64() == Some(-1) => Ok(Vec::new()),
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

pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
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
