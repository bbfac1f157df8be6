//! Token ids against Transformers, on real tokenizers where they are at hand.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    chat: BTreeMap<String, Vec<Chat>>,
    plain: BTreeMap<String, Vec<Plain>>,
    generation: Generation,
}

#[derive(Deserialize)]
struct Chat {
    messages: Conversation,
    prompt_ids: Vec<u32>,
    full_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Plain {
    prompt: String,
    completion: String,
    prompt_ids: Vec<u32>,
    whole_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Generation {
    template: String,
    rows: Vec<Masked>,
}

#[derive(Deserialize)]
struct Masked {
    messages: Conversation,
    text: String,
    input_ids: Vec<u32>,
    assistant_mask: Vec<u8>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data/expected.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(folder);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

/// A copy of a tokenizer's folder that names its end token.
fn with_stop(path: &Path, eos_token_id: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let to = folder.path().join(entry.file_name());
        std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
    }
    let config = json!({ "eos_token_id": [eos_token_id] }).to_string();
    std::fs::write(folder.path().join("generation_config.json"), config).unwrap();
    folder
}

fn same_as_transformers(encoder: &Encoder, rows: &[Chat]) {
    for row in rows {
        let (answer, turns) = row.messages.messages.split_last().unwrap();
        let prompt = Prompt::from(turns.to_vec());
        assert_eq!(encoder.prompt(&prompt).unwrap(), row.prompt_ids);
        let encoded = encoder.encode(&prompt, &Completion::from_message(answer.clone())).unwrap();
        // What the template writes after its end token is no part of the answer.
        let end = encoded.input_ids.len();
        assert_eq!(encoded.input_ids, row.full_ids[..end]);
        assert!(encoded.terminated && end - encoded.completion_start > 0);
        assert_eq!(encoded.input_ids[end - 1], encoder.terminator());
        let sample =
            encoder.sample(&row.prompt_ids, &encoded.input_ids[encoded.completion_start..]);
        assert_eq!(sample, encoded);
    }
}

#[test]
fn smollm2_conversations_have_the_ids_of_transformers() {
    let Some(path) = shared("models/smollm2-135m-instruct") else {
        return;
    };
    let encoder = Encoder::from_folder(&path, EncodeOptions::default()).unwrap();
    assert_eq!((encoder.terminator(), encoder.pad_id(), encoder.bos_id()), (2, 2, Some(1)));
    same_as_transformers(&encoder, &golden().chat["smollm2"]);
    // This tokenizer would join the template's newline with spaces that begin an answer.
    let prompt = encoder.prompt(&user("Name a colour.")).unwrap();
    let row = encoder.encode(&user("Name a colour."), &"  Blue.".into()).unwrap();
    assert!(row.input_ids.starts_with(&prompt));
    assert_eq!(encoder.decode(&row.input_ids[prompt.len()..]), "  Blue.");
}

#[test]
fn qwen3_conversations_have_the_ids_of_transformers() {
    let Some(path) = shared("tokenizers/qwen3") else {
        return;
    };
    let encoder = Encoder::from_folder(&path, EncodeOptions::default()).unwrap();
    assert_eq!((encoder.terminator(), encoder.pad_id()), (151_645, 151_643));
    same_as_transformers(&encoder, &golden().chat["qwen3"]);
}

#[test]
fn llama3_conversations_have_the_ids_of_transformers_once_their_end_token_is_named() {
    let Some(path) = shared("tokenizers/llama3") else {
        return;
    };
    // This template ends turns with a token that the folder does not name as an end.
    let error = Encoder::from_folder(&path, EncodeOptions::default()).unwrap().notes().concat();
    assert!(error.contains("<|eot_id|>") && error.contains("generation_config.json"), "{error}");
    let folder = with_stop(&path, 128_009);
    let encoder = Encoder::from_folder(folder.path(), EncodeOptions::default()).unwrap();
    assert_eq!(encoder.terminator(), 128_009);
    same_as_transformers(&encoder, &golden().chat["llama3"]);
}

#[test]
fn plain_texts_have_the_ids_of_transformers() {
    let golden = golden().plain;
    for (name, folder, stop) in [
        ("stories260k", "models/stories260k", 2),
        ("pythia", "tokenizers/gpt-neox-20b-pythia", 0),
        ("mistral", "tokenizers/mistral-v0.1", 2),
    ] {
        let Some(path) = shared(folder) else { return };
        let folder = with_stop(&path, stop);
        let encoder = Encoder::from_folder(folder.path(), EncodeOptions::default()).unwrap();
        for row in &golden[name] {
            let prompt = Prompt::Text(row.prompt.clone());
            assert_eq!(encoder.prompt(&prompt).unwrap(), row.prompt_ids, "{name}");
            let encoded = encoder.encode(&prompt, &row.completion.as_str().into()).unwrap();
            assert_eq!(encoded.input_ids, [&row.whole_ids[..], &[stop]].concat(), "{name}");
            let completion = &encoded.input_ids[encoded.completion_start..];
            assert_eq!(encoder.sample(&row.prompt_ids, completion), encoded);
        }
    }
}

#[test]
fn generated_spans_cover_the_tokens_that_transformers_masks() {
    let Some(path) = shared("models/stories260k") else {
        return;
    };
    let tokenizer = Tokenizer::from_file(path.join("tokenizer.json")).unwrap();
    let golden = golden().generation;
    let variables = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
    let template = ChatTemplate::new(&golden.template, Path::new("golden"), variables, 0).unwrap();
    for row in golden.rows {
        let (text, spans) =
            template.render_with_generation(&row.messages, crate::GenerationPrompt::Omit).unwrap();
        assert_eq!(text, row.text);
        let encoding = tokenizer.encode(&*text, false).unwrap();
        assert_eq!(encoding.get_ids(), row.input_ids);
        // Transformers marks a token that holds a part of the span.
        let inside =
            |&(from, to): &(usize, usize)| spans.iter().any(|s| from < s.end && to > s.start);
        let mask: Vec<u8> =
            encoding.get_offsets().iter().map(|offsets| u8::from(inside(offsets))).collect();
        assert_eq!(mask, row.assistant_mask);
    }
}
