use std::collections::BTreeSet;

use revealed_data::EncodeOptions;
use tempfile::TempDir;

use super::*;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Tokens by id; those from 4 on split text. The words are 3, 5 and 6.
const TOKENS: [&str; 9] =
    ["<unk>", "<s>", "</s>", "a", "<|im_end|>", "user", "assistant", "<|im_start|>", "<pad>"];
const ADDED: [usize; 6] = [0, 1, 2, 4, 7, 8];

fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> =
        TOKENS.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect();
    let added = ADDED.map(|id| {
        json!({"id": id, "content": TOKENS[id], "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    });
    json!({"version": "1.0", "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}})
}

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, value) in [("tokenizer.json", tokenizer())].iter().chain(files) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text(value)).unwrap();
    }
    folder
}

fn encoder(folder: &Path, template: TemplateChoice) -> Encoder {
    let options = EncodeOptions { template, ..EncodeOptions::default() };
    Encoder::from_folder(folder, options).unwrap()
}

/// Writes the text files of a trained model; an adapter's folder has no `config.json`.
fn written(base: &Path, template: TemplateChoice, adapter: bool) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    if !adapter && base.join(CONFIG).is_file() {
        fs::copy(base.join(CONFIG), to.path().join(CONFIG)).unwrap();
    }
    let encoder = encoder(base, template);
    write_text_files(&TextFolder::of_model(base), to.path(), &TextSide::of(&encoder)).unwrap();
    // What was written reads back to what was trained, where no template was chosen or left out.
    let again = self::encoder(to.path(), TemplateChoice::Auto);
    let (mut was, mut is) = (encoder.recipe(), again.recipe());
    let set = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
    assert_eq!(set(&is.stop_ids), set(&was.stop_ids));
    assert_eq!((is.terminator, again.pad_id()), (was.terminator, encoder.pad_id()));
    for recipe in [&mut was, &mut is] {
        (recipe.now, recipe.stop_ids) = (0, Vec::new());
        recipe.special_tokens.clear();
    }
    assert_eq!(is, was);
    to
}

fn read(folder: &TempDir, name: &str) -> Value {
    let path = folder.path().join(name);
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|_| b"null".to_vec())).unwrap()
}

fn template(folder: &TempDir) -> Option<String> {
    fs::read_to_string(folder.path().join(TEMPLATE)).ok()
}

#[test]
fn the_terminator_comes_before_the_other_stop_tokens_in_every_file() {
    for adapter in [false, true] {
        let base = folder(&[
            (CONFIG, json!({"eos_token_id": 2, "temperature": 0.5, "vocab_size": 16})),
            (GENERATION, json!({"eos_token_id": [2, 4], "top_k": 5, "bos_token_id": 1})),
            (TOKENIZER_CONFIG, json!({"eos_token": {"content": "</s>"}, "chat_template": CHATML})),
            ("special_tokens_map.json", json!({"eos_token": "</s>", "bos_token": "<s>"})),
        ]);
        let to = written(base.path(), TemplateChoice::Auto, adapter);
        let generation =
            json!({"eos_token_id": [4, 2], "top_k": 5, "bos_token_id": 1, "pad_token_id": 2});
        assert_eq!(read(&to, GENERATION), generation);
        let config = read(&to, TOKENIZER_CONFIG);
        assert_eq!(
            (&config["eos_token"], &config["pad_token"]),
            (&json!("<|im_end|>"), &json!("</s>"))
        );
        assert_eq!(
            (&config["chat_template"], template(&to).as_deref()),
            (&json!(CHATML), Some(CHATML))
        );
        // An adapter's folder has no config.json to take the tokenizer's class from.
        assert_eq!(config["tokenizer_class"].is_null(), !adapter);
        let map = json!({"eos_token": "<|im_end|>", "bos_token": "<s>", "pad_token": "</s>"});
        assert_eq!(read(&to, "special_tokens_map.json"), map);
        let expected = json!({"eos_token_id": 4, "temperature": 0.5, "vocab_size": 16,
            "pad_token_id": 2, "bos_token_id": 1});
        let config = read(&to, CONFIG);
        assert_eq!(config, if adapter { Value::Null } else { expected });
    }
}

#[test]
fn without_a_generation_config_one_is_made_with_the_settings_of_the_config() {
    let base = folder(&[
        (CONFIG, json!({"eos_token_id": [2], "temperature": 0.5, "top_k": null, "vocab_size": 16})),
        (TOKENIZER_CONFIG, json!({"eos_token": "<|im_end|>", "pad_token": "<pad>"})),
        ("chat.jinja", CHATML.into()),
    ]);
    let template = TemplateChoice::File(base.path().join("chat.jinja"));
    let to = written(base.path(), template, false);
    let generation = json!({"temperature": 0.5, "eos_token_id": [4, 2], "pad_token_id": 8});
    assert_eq!(read(&to, GENERATION), generation);
    assert_eq!(read(&to, CONFIG)["eos_token_id"], json!([4, 2]));
    assert_eq!(read(&to, TOKENIZER_CONFIG)["chat_template"], CHATML);
}

#[test]
fn a_template_that_writes_a_special_token_by_name_keeps_that_token() {
    let text = format!("{{{{ eos_token }}}}{CHATML}");
    let base = folder(&[
        (GENERATION, json!({"eos_token_id": [2, 4], "pad_token_id": 8})),
        (TOKENIZER_CONFIG, json!({"eos_token": "</s>"})),
        (TEMPLATE, text.clone().into()),
    ]);
    let to = written(base.path(), TemplateChoice::Auto, true);
    assert_eq!(read(&to, GENERATION)["eos_token_id"], json!([4, 2]));
    let config = read(&to, TOKENIZER_CONFIG);
    assert_eq!((&config["eos_token"], &config["pad_token"]), (&json!("</s>"), &json!("<pad>")));
    assert_eq!(config["chat_template"], text);
}

#[test]
fn no_template_is_left_where_none_was_chosen_and_no_other_where_a_file_was() {
    let list =
        json!([{"name": "tool_use", "template": "T"}, {"name": "default", "template": CHATML}]);
    let base = folder(&[
        (TOKENIZER_CONFIG, json!({"eos_token": "<|im_end|>", "chat_template": list})),
        ("chat.jinja", format!("{{# own #}}{CHATML}").into()),
    ]);
    let named = |to: &TempDir| to.path().join(NAMED_TEMPLATES).join("tool_use.jinja").is_file();
    let to = written(base.path(), TemplateChoice::Auto, true);
    let expected =
        json!([{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "T"}]);
    assert_eq!(read(&to, TOKENIZER_CONFIG)["chat_template"], expected);
    assert!(template(&to).as_deref() == Some(CHATML) && named(&to));
    // The same again from the written folder, which has its templates in files.
    let again = written(to.path(), TemplateChoice::Auto, true);
    assert!(template(&again).as_deref() == Some(CHATML) && named(&again));
    for from in [base.path(), to.path()] {
        let plain = written(from, TemplateChoice::None, true);
        assert!(read(&plain, TOKENIZER_CONFIG)["chat_template"].is_null());
        assert!(template(&plain).is_none() && !named(&plain));
        let file = TemplateChoice::File(base.path().join("chat.jinja"));
        let other = written(from, file, true);
        assert_eq!(template(&other), Some(format!("{{# own #}}{CHATML}")));
        assert_eq!(read(&other, TOKENIZER_CONFIG)["chat_template"], format!("{{# own #}}{CHATML}"));
        assert!(!named(&other));
    }
}

#[test]
fn a_reward_ends_at_the_terminator_and_pads_with_another_token() {
    let base = folder(&[
        (CONFIG, json!({"eos_token_id": 2, "pad_token_id": 4})),
        (GENERATION, json!({"eos_token_id": [2, 4]})),
        (
            TOKENIZER_CONFIG,
            json!({"eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "chat_template": CHATML}),
        ),
    ]);
    let to = tempfile::tempdir().unwrap();
    let encoder = encoder(base.path(), TemplateChoice::Auto);
    let side = TextSide::of_reward(&encoder, 8);
    write_text_files(&TextFolder::of_model(base.path()), to.path(), &side).unwrap();
    let config = read(&to, TOKENIZER_CONFIG);
    assert_eq!(
        (&config["eos_token"], &config["pad_token"]),
        (&json!("<|im_end|>"), &json!("<pad>"))
    );
    let template = template(&to).unwrap();
    assert!(template != CHATML && config["chat_template"] == template, "{template}");
    assert_eq!(read(&to, GENERATION)["pad_token_id"], 8);
}

#[test]
fn an_adapter_without_a_tokenizer_changes_what_it_names_of_its_base_s() {
    let base = folder(&[
        (TOKENIZER_CONFIG, json!({"eos_token": "<|im_end|>", "pad_token": "<pad>", "x": 1})),
        (GENERATION, json!({"eos_token_id": 2, "top_p": 0.5})),
        (TEMPLATE, "{{ messages }}".into()),
    ]);
    let adapter = tempfile::tempdir().unwrap();
    let own = json!({"chat_template": CHATML, "x": 2});
    fs::write(adapter.path().join(TOKENIZER_CONFIG), own.to_string()).unwrap();
    let files = TextFolder::of_adapter(base.path(), adapter.path());
    let encoder = Encoder::from_text_folder(&files, EncodeOptions::default()).unwrap();
    assert_eq!(encoder.template().unwrap().text(), CHATML);
    let to = tempfile::tempdir().unwrap();
    write_text_files(&files, to.path(), &TextSide::of(&encoder)).unwrap();
    let config = read(&to, TOKENIZER_CONFIG);
    assert_eq!((&config["x"], &config["pad_token"]), (&json!(2), &json!("<pad>")));
    assert_eq!(
        (&config["chat_template"], template(&to).as_deref()),
        (&json!(CHATML), Some(CHATML))
    );
    let generation = json!({"eos_token_id": [4, 2], "top_p": 0.5, "pad_token_id": 8});
    assert_eq!(read(&to, GENERATION), generation);
}
