//! The text files of a written folder: tokenizer, chat template, stop tokens and pad token, as the
//! model was trained with them.

use std::fs;
use std::path::{Path, PathBuf};

use revealed_data::{Encoder, TemplateChoice, TextFolder};
use revealed_models::{TOKENIZER_FILES, write_file};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::json_object::JsonObject;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Where Transformers keeps templates other than the default one, `NAME.jinja` each.
const NAMED_TEMPLATES: &str = "additional_chat_templates";

/// What a model was trained to read and write, for the files that Transformers and vLLM read.
#[derive(Debug, Clone)]
pub struct TextSide {
    /// Every token that ends a completion, the one that was trained first.
    stop_ids: Vec<u32>,
    terminator: Option<String>,
    pad_id: u32,
    pad_token: Option<String>,
    bos_id: Option<u32>,
    template: Template,
    /// Whether conversations with tools have a template of their own.
    tools: bool,
    /// Whether tokenizer.json is used as it is, whatever class the base's folder names.
    as_it_is: bool,
}

#[derive(Debug, Clone)]
enum Template {
    /// The folder's files as they are: it has no template, or one that was not used.
    Kept,
    /// None: the model was trained on plain text, by the user's choice.
    None,
    /// The template that was used; `named`: whether the folder's templates of other names stay.
    Text { text: String, named: bool },
}

impl TextSide {
    /// Of a model that was trained on the encoder's rows.
    pub fn of(encoder: &Encoder) -> Self {
        let template = encoder.template().map(|template| template.text().to_owned());
        let template = match (&encoder.options().template, template) {
            (TemplateChoice::None, _) => Template::None,
            (_, None) => Template::Kept,
            (TemplateChoice::Auto, Some(text)) => Template::Text { text, named: true },
            (TemplateChoice::File(_), Some(text)) => Template::Text { text, named: false },
        };
        Self::new(encoder, encoder.pad_id(), template)
    }

    /// Of a reward, whose rows end at the terminator and are padded with `pad_id`.
    pub fn of_reward(encoder: &Encoder, pad_id: u32) -> Self {
        let template = match (&encoder.options().template, encoder.template_to_terminator()) {
            (TemplateChoice::None, _) => Template::None,
            (_, None) => Template::Kept,
            (_, Some(text)) => Template::Text { text, named: false },
        };
        Self::new(encoder, pad_id, template)
    }

    fn new(encoder: &Encoder, pad_id: u32, template: Template) -> Self {
        let terminator = encoder.terminator();
        let others = encoder.stop_ids().iter().copied().filter(|id| *id != terminator);
        Self {
            stop_ids: std::iter::once(terminator).chain(others).collect(),
            terminator: encoder.added_token(terminator),
            pad_id,
            pad_token: encoder.added_token(pad_id),
            bos_id: encoder.bos_id(),
            template,
            as_it_is: encoder.tokenizer_class().is_empty(),
            tools: encoder.recipe().tool_template.is_some(),
        }
    }

    /// Whether the template writes a special token by this name; to give the token another text
    /// would then change rows.
    fn template_names(&self, token: &str) -> bool {
        matches!(&self.template, Template::Text { text, .. } if text.contains(token))
    }
}

/// Copies the text files of a model into a folder, and has them name the terminator, the pad token
/// and the template that were trained:
///
/// - `generation_config.json`: `eos_token_id` (the terminator, then the other stop tokens),
///   `pad_token_id`, `bos_token_id`; it is made where there is none, with the generation settings
///   of `config.json`;
/// - `config.json`, where the folder has one: the same three;
/// - `tokenizer_config.json` and `special_tokens_map.json`: `eos_token` and `pad_token`, where
///   these are added tokens of the tokenizer and the template does not write them by name;
/// - `chat_template.jinja` and `chat_template` of `tokenizer_config.json`: the template, the same
///   in both; none in either where the choice of template was "none".
///
/// All other fields stay as they are written; `tokenizer.json` is copied.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_text_files(from: &TextFolder, to: &Path, text: &TextSide) -> Result<(), TrainError> {
    copy_text_files(from, to)?;
    generation_config(from, to, text)?;
    let path = to.join(CONFIG);
    if let Some(mut config) = JsonObject::read(&path)? {
        let eos = match config.get("eos_token_id") {
            Value::Array(_) => json!(text.stop_ids),
            _ => json!(text.stop_ids[0]),
        };
        config.set("eos_token_id", &eos);
        pad_and_bos(&mut config, text);
        config.write(&path)?;
    }
    if !to.join("tokenizer.json").is_file() {
        return Ok(());
    }
    let path = to.join(TOKENIZER_CONFIG);
    let mut config = JsonObject::read(&path)?.unwrap_or_default();
    let unnamed = config.get("tokenizer_class").is_null() || text.as_it_is;
    if unnamed && !to.join(CONFIG).is_file() {
        // Without config.json, AutoTokenizer takes the class that is named here.
        config.set("tokenizer_class", &json!("PreTrainedTokenizerFast"));
    }
    special_tokens(&mut config, text);
    template_files(&mut config, from, to, text)?;
    config.write(&path)?;
    let path = to.join("special_tokens_map.json");
    if let Some(mut map) = JsonObject::read(&path)? {
        special_tokens(&mut map, text);
        map.write(&path)?;
    }
    Ok(())
}

/// Copies the text files of a model as they are; an adapter's `tokenizer_config.json` over its
/// base's where the adapter has no tokenizer of its own.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_text_files(from: &TextFolder, to: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(to).map_err(TrainError::io(to))?;
    for name in TOKENIZER_FILES {
        let source = from.file(name);
        if source.is_file() {
            copy(&source, &to.join(name))?;
        }
    }
    for name in [TOKENIZER_CONFIG, "special_tokens_map.json"] {
        let mut all: Option<JsonObject> = None;
        for folder in from.tokenizer_folders().into_iter().rev() {
            match (&mut all, JsonObject::read(&folder.join(name))?) {
                (Some(all), Some(own)) => all.overlay(own),
                (all, Some(own)) => *all = Some(own),
                (_, None) => {}
            }
        }
        if let (Some(all), true) = (all, from.tokenizer_folders().len() > 1) {
            all.write(&to.join(name))?;
        }
    }
    for source in named_templates(from)? {
        let target = to.join(NAMED_TEMPLATES);
        fs::create_dir_all(&target).map_err(TrainError::io(&target))?;
        copy(&source, &target.join(source.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn copy(source: &Path, target: &Path) -> Result<(), TrainError> {
    if source == target {
        return Ok(());
    }
    let bytes = fs::read(source).map_err(TrainError::io(source))?;
    Ok(write_file(target, &bytes)?)
}

/// The files of templates other than the default one, of the folder whose tokenizer is used.
fn named_templates(from: &TextFolder) -> Result<Vec<PathBuf>, TrainError> {
    let folder = from.tokenizer_folder().join(NAMED_TEMPLATES);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(TrainError::io(&folder))? {
        let path = entry.map_err(TrainError::io(&folder))?.path();
        if path.extension().is_some_and(|ending| ending == "jinja") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Settings of generation that Transformers reads from `config.json` where there is no
/// `generation_config.json`.
const GENERATION_SETTINGS: &[&str] = &[
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

fn generation_config(from: &TextFolder, to: &Path, text: &TextSide) -> Result<(), TrainError> {
    let path = to.join(GENERATION);
    let mut file = match JsonObject::read(&path)? {
        Some(file) => file,
        None => {
            let mut file = JsonObject::default();
            let config = JsonObject::read(&from.file(CONFIG))?.unwrap_or_default();
            for name in GENERATION_SETTINGS {
                let value = config.get(name);
                if !value.is_null() {
                    file.set(name, &value);
                }
            }
            file
        }
    };
    let eos = match text.stop_ids.as_slice() {
        [only] => json!(only),
        all => json!(all),
    };
    file.set("eos_token_id", &eos);
    pad_and_bos(&mut file, text);
    file.write(&path)
}

fn pad_and_bos(file: &mut JsonObject, text: &TextSide) {
    file.set("pad_token_id", &json!(text.pad_id));
    if let (Value::Null, Some(bos)) = (file.get("bos_token_id"), text.bos_id) {
        file.set("bos_token_id", &json!(bos));
    }
}

fn special_tokens(file: &mut JsonObject, text: &TextSide) {
    for (name, token) in [("eos_token", &text.terminator), ("pad_token", &text.pad_token)] {
        let Some(token) = token else { continue };
        let found = file.get(name);
        let named = found.as_str().or_else(|| found["content"].as_str());
        if named != Some(token) && !text.template_names(name) {
            file.set(name, &json!(token));
        }
    }
}

/// Makes the template the same in both places where libraries look for it.
fn template_files(
    config: &mut JsonObject,
    from: &TextFolder,
    to: &Path,
    text: &TextSide,
) -> Result<(), TrainError> {
    let (file, named_files) = (to.join(TEMPLATE), to.join(NAMED_TEMPLATES));
    let mut others = named_in_config(&config.get("chat_template"));
    // Templates of other names are of one format with the default one of their folder.
    let keeps = matches!(&text.template, Template::Text { named: true, .. })
        && (text.tools || from.tokenizer_folders().len() == 1);
    match &text.template {
        Template::Kept => {
            // Transformers reads the file first; others read the config alone.
            if let (Ok(text), Value::String(_)) =
                (fs::read_to_string(&file), config.get("chat_template"))
            {
                config.set("chat_template", &json!(text));
            }
            return Ok(());
        }
        Template::None => {
            config.remove("chat_template");
            remove(&file)?;
            others.clear();
        }
        Template::Text { text, .. } => {
            write_file(&file, text.as_bytes())?;
            if !keeps {
                others.clear();
            }
            config.set("chat_template", &in_config(text, &others));
        }
    }
    if !keeps && named_files.is_dir() {
        fs::remove_dir_all(&named_files).map_err(TrainError::io(&named_files))?;
    }
    // A template file hides the config's list in Transformers.
    for (name, text) in others {
        fs::create_dir_all(&named_files).map_err(TrainError::io(&named_files))?;
        write_file(&named_files.join(format!("{name}.jinja")), text.as_bytes())?;
    }
    Ok(())
}

/// Templates of a list in `tokenizer_config.json`, other than the default one. A name that is no
/// file's is left out.
fn named_in_config(list: &Value) -> Vec<(String, String)> {
    let named = |one: &Value| {
        let (name, text) = (one["name"].as_str()?, one["template"].as_str()?);
        let usable = name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
        (name != "default" && usable).then(|| (name.to_owned(), text.to_owned()))
    };
    list.as_array().into_iter().flatten().filter_map(named).collect()
}

fn in_config(text: &str, others: &[(String, String)]) -> Value {
    if others.is_empty() {
        return json!(text);
    }
    let one = |(name, text): (&str, &str)| json!({"name": name, "template": text});
    let named = others.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    std::iter::once(("default", text)).chain(named).map(one).collect()
}

fn remove(path: &Path) -> Result<(), TrainError> {
    match path.is_file() {
        true => fs::remove_file(path).map_err(TrainError::io(path)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
