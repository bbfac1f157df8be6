//! Text files of a model folder: tokenizer, chat template, stop tokens and pad token, as used in training.

use std::fs;
use std::path::{Path, PathBuf};

use revealed_data::{Encoder, TemplateChoice, TextFolder};
use revealed_models::{TOKENIZER_FILES, write_file};
use serde_json::{Value, json};

use super::json_object::JsonObject;
use crate::error::TrainError;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Folder in which Transformers stores templates other than the default one, as `NAME.jinja`.
const NAMED_TEMPLATES: &str = "additional_chat_templates";

/// Tokens and template that a model was trained with, for the files that Transformers and vLLM read.
#[derive(Debug, Clone)]
pub struct TextSide {
    /// Tokens that end a completion; the EOS token of training comes first.
    stop_ids: Vec<u32>,
    eos_token: Option<String>,
    pad_id: u32,
    pad_token: Option<String>,
    bos_id: Option<u32>,
    template: Template,
    /// Whether conversations with tools have a separate template.
    tools: bool,
    /// Whether `tokenizer.json` is used unchanged, whatever tokenizer class the base folder names.
    unchanged: bool,
}

#[derive(Debug, Clone)]
enum Template {
    /// The files of the folder are not changed: it has no template, or one that was not used.
    Unchanged,
    /// No template: the model was trained on plain text, by the user's choice.
    None,
    /// The template that was used; `named`: whether templates of the folder with other names are kept.
    Text { text: String, named: bool },
}

impl TextSide {
    /// For a model that was trained on rows of the encoder.
    pub fn of(encoder: &Encoder) -> Self {
        let template = encoder.template().map(|template| template.text().to_owned());
        let template = match (&encoder.options().template, template) {
            (TemplateChoice::None, _) => Template::None,
            (_, None) => Template::Unchanged,
            (TemplateChoice::Auto, Some(text)) => Template::Text { text, named: true },
            (TemplateChoice::File(_), Some(text)) => Template::Text { text, named: false },
        };
        Self::new(encoder, encoder.pad_id(), template)
    }

    /// For a reward, whose rows end at EOS and are padded with `pad_id`.
    pub fn of_reward(encoder: &Encoder, pad_id: u32) -> Self {
        let template = match (&encoder.options().template, encoder.template_to_terminator()) {
            (TemplateChoice::None, _) => Template::None,
            (_, None) => Template::Unchanged,
            (_, Some(text)) => Template::Text { text, named: false },
        };
        Self::new(encoder, pad_id, template)
    }

    fn new(encoder: &Encoder, pad_id: u32, template: Template) -> Self {
        let eos = encoder.terminator();
        let others = encoder.stop_ids().iter().copied().filter(|id| *id != eos);
        Self {
            stop_ids: std::iter::once(eos).chain(others).collect(),
            eos_token: encoder.added_token(eos),
            pad_id,
            pad_token: encoder.added_token(pad_id),
            bos_id: encoder.bos_id(),
            template,
            unchanged: encoder.tokenizer_class().is_empty(),
            tools: encoder.recipe().tool_template.is_some(),
        }
    }

    /// Whether the template refers to a special token by this name; another text of the token would then change rows.
    fn template_names(&self, token: &str) -> bool {
        matches!(&self.template, Template::Text { text, .. } if text.contains(token))
    }
}

/// Copies the text files of a model into a folder and sets EOS token, pad token and template to those of training:
///
/// - `generation_config.json`: `eos_token_id` (EOS, then the other stop tokens),
///   `pad_token_id`, `bos_token_id`; created if missing, with the generation settings of
///   `config.json`;
/// - `config.json`, if the folder has one: the same three;
/// - `tokenizer_config.json` and `special_tokens_map.json`: `eos_token` and `pad_token`, if these
///   are added tokens of the tokenizer and the template does not refer to them by name;
/// - `chat_template.jinja` and `chat_template` of `tokenizer_config.json`: the same template in
///   both; none in either if the choice of template was "none".
///
/// All other fields are not changed; `tokenizer.json` is copied.
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
    let unnamed = config.get("tokenizer_class").is_null() || text.unchanged;
    if unnamed && !to.join(CONFIG).is_file() {
        // Without config.json, AutoTokenizer uses the class named here.
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

/// Copies the text files of a model unchanged. If an adapter has no tokenizer, the fields of its `tokenizer_config.json` replace
/// those of its base.
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

/// Files of templates other than the default one, in the folder of the tokenizer.
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

/// Generation settings that Transformers reads from `config.json` if there is no `generation_config.json`.
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
    for (name, token) in [("eos_token", &text.eos_token), ("pad_token", &text.pad_token)] {
        let Some(token) = token else { continue };
        let found = file.get(name);
        let named = found.as_str().or_else(|| found["content"].as_str());
        if named != Some(token) && !text.template_names(name) {
            file.set(name, &json!(token));
        }
    }
}

/// Writes the same template to both places that libraries read.
fn template_files(
    config: &mut JsonObject,
    from: &TextFolder,
    to: &Path,
    text: &TextSide,
) -> Result<(), TrainError> {
    let (file, named_files) = (to.join(TEMPLATE), to.join(NAMED_TEMPLATES));
    let mut others = named_in_config(&config.get("chat_template"));
    // Templates with other names have the same format as the default one of their folder.
    let keeps = matches!(&text.template, Template::Text { named: true, .. })
        && (text.tools || from.tokenizer_folders().len() == 1);
    match &text.template {
        Template::Unchanged => {
            // Transformers reads the file first; other libraries read the config only.
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
    // In Transformers a template file hides the list of the config.
    for (name, text) in others {
        fs::create_dir_all(&named_files).map_err(TrainError::io(&named_files))?;
        write_file(&named_files.join(format!("{name}.jinja")), text.as_bytes())?;
    }
    Ok(())
}

/// Templates of a list in `tokenizer_config.json` except the default one. Names that are no valid file names are skipped.
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
