//! Real chat templates, compared with what Transformers renders (`golden/templates/real.py`).
//!
//! The templates are not part of the project: the test is skipped where `../shared` is missing.

use std::path::PathBuf;

use minijinja::value::{Serde, Value};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Deserialize)]
struct Golden {
    conversations: BTreeMap<String, Conversation>,
    templates: Vec<Template>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: serde_json::Value,
    options: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Template {
    folder: String,
    sha256: String,
    /// The hashes without and with `add_generation_prompt`; none where the template refuses.
    texts: BTreeMap<String, [Option<String>; 2]>,
}

fn sha(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn special_tokens(config: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    let names = ["bos", "eos", "pad", "unk", "sep", "cls", "mask"];
    let tokens = names.into_iter().filter_map(|name| {
        let name = format!("{name}_token");
        let token = config[&name].as_str().or_else(|| config[&name]["content"].as_str())?;
        Some((name, token.into()))
    });
    tokens.collect()
}

#[test]
fn real_templates_render_as_in_transformers() {
    let shared = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/templates/real.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for expected in golden.templates {
        let Ok(config) = std::fs::read(shared.join(&expected.folder).join("tokenizer_config.json"))
        else {
            println!("skipped: {} is missing", shared.join(&expected.folder).display());
            continue;
        };
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let text = config["chat_template"].as_str().unwrap();
        assert_eq!(sha(text), expected.sha256, "{} has another template", expected.folder);
        let template = ChatTemplate::new(text, Path::new("t"), BTreeMap::new(), 0).unwrap();
        for (name, conversation) in &golden.conversations {
            for (prompt, expected_text) in [false, true].into_iter().zip(&expected.texts[name]) {
                let mut values = special_tokens(&config);
                values.extend([("tools".into(), json!(null)), ("documents".into(), json!(null))]);
                values.extend(conversation.options.clone());
                values.insert("messages".into(), conversation.messages.clone());
                values.insert("add_generation_prompt".into(), prompt.into());
                let rendered = template.render_value(Value::from(Serde(&values)));
                let place = format!("{}, {name}, prompt {prompt}", expected.folder);
                match (rendered, expected_text) {
                    (Ok(text), Some(hash)) => assert_eq!(&sha(&text), hash, "{place}: {text}"),
                    (Err(_), None) => {}
                    (Err(error), Some(_)) => panic!("{place}: {:?}", error.source()),
                    (Ok(text), None) => panic!("{place} is refused by Transformers: {text}"),
                }
            }
        }
    }
}
