//! `tokenizer.json` as Transformers 5 loads it: with the tokens and the class of `tokenizer_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::{AddedToken, Tokenizer};

use crate::DataError;
use crate::folder::{bytes, text};
use crate::guard::guarded;

/// What a panic of the tokenizer's own code comes to.
pub(crate) const PANICKED: &str =
    "tokenizer.json is damaged: it names something that it does not hold";

type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// The tokenizer class that Transformers 5 takes for a model type and the class that
/// `tokenizer_config.json` (or `config.json`) names; empty where tokenizer.json is used as it is.
pub(crate) fn class(config: &Value, model: &Value) -> String {
    let named = config["tokenizer_class"].as_str().or(model["tokenizer_class"].as_str());
    let named = named.unwrap_or_default();
    match model["model_type"].as_str().unwrap_or_default() {
        // The class that is registered for these is another one, for files of Mistral's own format.
        "mistral" | "mistral3" | "mixtral" | "ministral" | "ministral3" => String::new(),
        // Its folders are known to name wrong classes.
        "qwen2" if !named.is_empty() => "Qwen2Tokenizer".to_owned(),
        _ => named.strip_suffix("Fast").unwrap_or(named).to_owned(),
    }
}

/// Reads the tokenizer of a folder; `config` is its `tokenizer_config.json`, `class` its class,
/// `specials` its special tokens by name.
pub(crate) fn read(
    folder: &Path,
    (config, class): (&Value, &str),
    specials: &BTreeMap<String, String>,
) -> Result<Tokenizer, DataError> {
    let path = folder.join("tokenizer.json");
    let Some(bytes) = bytes(&path)? else {
        return Err(DataError::NoTokenizer { folder: folder.to_owned() });
    };
    let load = || -> Result<Tokenizer, Refusal> {
        let mut file: Value = serde_json::from_slice(&bytes)?;
        follow_class(&mut file, config, class);
        let mut tokenizer = Tokenizer::from_bytes(file.to_string())?;
        // Files keep what their last user set; limits and padding are ours alone.
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        add_tokens(&mut tokenizer, config, specials)?;
        Ok(tokenizer)
    };
    let loaded = guarded(load).unwrap_or_else(|| Err(PANICKED.into()));
    loaded.map_err(|source| DataError::Tokenizer { path, source })
}

/// Special tokens of a tokenizer class, for folders whose configuration does not name them
/// (defaults of the constructors in Transformers 5).
pub(crate) fn default_specials(class: &str) -> &'static [(&'static str, &'static str)] {
    match class {
        "LlamaTokenizer" | "CodeLlamaTokenizer" => {
            &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]
        }
        "GPT2Tokenizer" => &[
            ("bos_token", "<|endoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
        ],
        "GPTNeoXTokenizer" => &[
            ("bos_token", "<|endoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
            ("pad_token", "<|padding|>"),
        ],
        "Qwen2Tokenizer" => &[
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
            ("pad_token", "<|endoftext|>"),
        ],
        "GemmaTokenizer" => &[
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        _ => &[],
    }
}

/// A note where `add_bos_token` and tokenizer.json disagree: Transformers 5 follows tokenizer.json.
pub(crate) fn bos_note(
    config: &Value,
    tokenizer: &Tokenizer,
    bos: Option<&String>,
) -> Option<String> {
    let wanted = config["add_bos_token"].as_bool()?;
    let bos = tokenizer.token_to_id(bos?)?;
    let ids = tokenizer.encode("a", true).ok()?.get_ids().to_vec();
    let adds = ids.first() == Some(&bos);
    (adds != wanted).then(|| {
        let does = if adds { "adds one" } else { "adds none" };
        format!(
            "tokenizer_config.json has add_bos_token = {wanted}, but tokenizer.json {does}; \
             tokenizer.json is followed, as in Transformers 5"
        )
    })
}

/// Transformers 5 rebuilds tokenizers of some classes from their vocabulary. A GPT-2 tokenizer
/// splits by its own pattern, whatever else tokenizer.json asks for (SmolLM2's splits digits). A
/// Llama tokenizer adds the space before a text in the pre-tokenizer, before every part between
/// added tokens (`legacy`) or before the first.
fn follow_class(file: &mut Value, config: &Value, class: &str) {
    let is_llama = class == "LlamaTokenizer";
    if class == "GPT2Tokenizer" && file["model"]["type"] == "BPE" {
        let spaced = config["add_prefix_space"].as_bool().unwrap_or(false);
        file["normalizer"] = Value::Null;
        file["pre_tokenizer"] = json!({
            "type": "ByteLevel", "add_prefix_space": spaced, "trim_offsets": true, "use_regex": true
        });
        return;
    }
    let parts = |field: &str, list: &str| {
        let part = &file[field];
        part[list].as_array().cloned().unwrap_or_else(|| vec![part.clone()])
    };
    let prepends = |part: &Value| part["type"] == "Prepend" || part["type"] == "Metaspace";
    let is_sentencepiece = parts("normalizer", "normalizers")
        .iter()
        .chain(&parts("pre_tokenizer", "pretokenizers"))
        .any(prepends);
    if !(is_llama && is_sentencepiece && file["model"]["type"] == "BPE") {
        return;
    }
    let scheme = match (config["add_prefix_space"].as_bool(), config["legacy"].as_bool()) {
        (Some(false), _) => "never",
        (_, Some(true)) => "always",
        _ => "first",
    };
    file["normalizer"] = Value::Null;
    file["pre_tokenizer"] = json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false
    });
}

/// Adds the tokens of `added_tokens_decoder` and the special tokens that tokenizer.json lacks.
fn add_tokens(
    tokenizer: &mut Tokenizer,
    config: &Value,
    specials: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let known = tokenizer.get_added_tokens_decoder();
    let mut listed: Vec<(u32, AddedToken)> = Vec::new();
    for (id, token) in config["added_tokens_decoder"].as_object().into_iter().flatten() {
        let flag = |name: &str| token[name].as_bool().unwrap_or(false);
        if let (Ok(id), Some(content)) = (id.parse(), text(token)) {
            let token = AddedToken::from(content, flag("special"))
                .single_word(flag("single_word"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            listed.push((id, token));
        }
    }
    listed.sort_by_key(|(id, _)| *id);
    let mut add: Vec<AddedToken> = listed.into_iter().map(|(_, token)| token).collect();
    for token in specials.values() {
        let there = known.values().chain(&add).any(|own| own.content == *token);
        if !there {
            add.push(AddedToken::from(token.as_str(), true));
        }
    }
    for token in add {
        let special = token.special || specials.values().any(|text| *text == token.content);
        tokenizer.add_tokens([AddedToken { special, ..token }])?;
    }
    Ok(())
}
