//! Folders of many kinds of tokenizers give the ids of Transformers' AutoTokenizer.

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    template: String,
    tokenizers: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    tokenizer_config: Value,
    special_tokens_map: Option<Value>,
    model_type: Option<String>,
    specials: BTreeMap<String, String>,
    ids: Vec<Vec<u32>>,
    prefix: Vec<u32>,
    chats: Vec<Chat>,
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    prompt: Vec<u32>,
    whole: Vec<u32>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tokenizers/expected.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The encoder of every case, with what it must give.
fn encoders() -> Vec<(Encoder, Case, Vec<String>)> {
    let Golden { texts, template, tokenizers, cases } = golden();
    let made = |case: Case| {
        let mut files = vec![
            ("tokenizer.json", tokenizers[&case.tokenizer].clone()),
            ("tokenizer_config.json", case.tokenizer_config.clone()),
            ("chat_template.jinja", template.as_str().into()),
            ("generation_config.json", json!({"eos_token_id": 2})),
        ];
        let model = case.model_type.as_ref().map(|name| json!({"model_type": name}));
        files.extend(model.map(|model| ("config.json", model)));
        files.extend(case.special_tokens_map.clone().map(|map| ("special_tokens_map.json", map)));
        let encoder = encoder(&files, EncodeOptions::default()).unwrap();
        (encoder, case, texts.clone())
    };
    cases.into_iter().map(made).collect()
}

#[test]
fn texts_have_the_ids_of_transformers_and_templates_its_special_tokens() {
    for (encoder, case, texts) in encoders() {
        let name = format!("{} {}", case.tokenizer, case.tokenizer_config);
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| encoder.text_ids(text).unwrap()).collect();
        assert_eq!(ids, case.ids, "{name}");
        assert_eq!(encoder.prefix(), case.prefix, "{name}");
        assert_eq!(encoder.recipe().special_tokens, case.specials, "{name}");
    }
}

#[test]
fn conversations_have_the_ids_of_transformers_and_samples_of_their_text_too() {
    for (encoder, case, _) in encoders() {
        let name = format!("{} {}", case.tokenizer, case.tokenizer_config);
        for Chat { messages, prompt: prompt_ids, whole } in case.chats {
            let prompt = Prompt::from(messages[..1].to_vec());
            let answer = Completion::from_message(messages[1].clone());
            assert_eq!(encoder.prompt(&prompt).unwrap(), prompt_ids, "{name}");
            let encoded = encoder.encode(&prompt, &answer).unwrap();
            assert_eq!(encoded.input_ids, whole, "{name} {messages:?}");
            let completion = &encoded.input_ids[encoded.completion_start..];
            // The text of a sample reads back to its tokens, and so it stays what it is.
            assert_eq!(encoder.sample(&prompt_ids, completion), encoded, "{name} {messages:?}");
            let text = encoder.completion_text(&prompt_ids, completion);
            assert_eq!(encoder.encode(&prompt, &text.as_str().into()).unwrap(), encoded, "{name}");
        }
    }
}

#[test]
fn text_after_text_keeps_its_leading_space() {
    for (encoder, case, _) in encoders() {
        let prompt = text("a");
        let ids = encoder.prompt(&prompt).unwrap();
        for completion in [" b", "b", "  c a", "\nb"] {
            let encoded = encoder.encode(&prompt, &completion.into()).unwrap();
            let sampled = &encoded.input_ids[encoded.completion_start..];
            let name = format!("{} {} {sampled:?}", case.tokenizer, case.tokenizer_config);
            assert_eq!(encoder.completion_text(&ids, sampled), completion, "{name}");
        }
    }
}
