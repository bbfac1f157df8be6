use std::error::Error as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{GenerationPrompt, LongCompletion, LongPrompt};

const CHAT: &str = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]:{{ m.content }}\
    {% if m.role == 'assistant' %}{{ eos_token }}\n{% else %}\n{% endif %}{% endfor %}\
    {% if add_generation_prompt %}[assistant]:{% endif %}";

/// A folder with a small SentencePiece-like tokenizer (spaces as `▁`, one before every text, bytes
/// where no piece fits) and the files given.
pub(crate) fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    let mut vocab = serde_json::Map::new();
    let mut add = |piece: String| {
        let id = vocab.len();
        vocab.insert(piece, id.into());
    };
    let pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "▁a", "▁b", "▁c"];
    pieces.into_iter().for_each(|piece| add(piece.to_owned()));
    (0..=255).for_each(|byte: u8| add(format!("<0x{byte:02X}>")));
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                               "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "vocab": vocab,
            "merges": [["▁", "a"], ["▁", "b"], ["▁", "c"]]}
    });
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    write("tokenizer.json", &tokenizer);
    write("tokenizer_config.json", &json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}}));
    files.iter().for_each(|(name, value)| write(name, value));
    folder
}

fn encoder(files: &[(&str, Value)], options: EncodeOptions) -> Result<Encoder, DataError> {
    Encoder::from_folder(folder(files).path(), options)
}

fn plain() -> Encoder {
    encoder(&[], EncodeOptions::default()).unwrap()
}

fn chat() -> Encoder {
    encoder(&[("chat_template.jinja", CHAT.into())], EncodeOptions::default()).unwrap()
}

fn text(text: &str) -> Prompt {
    Prompt::Text(text.to_owned())
}

fn user(content: &str) -> Prompt {
    Prompt::from(vec![Message::new("user", content)])
}

fn limits(prompt: usize, completion: usize) -> EncodeOptions {
    EncodeOptions {
        max_prompt_tokens: prompt,
        max_completion_tokens: completion,
        ..Default::default()
    }
}

#[test]
fn a_template_for_readers_of_the_last_token_ends_at_the_terminator() {
    assert_eq!(plain().template_to_terminator(), None);
    // Tags alone in their lines, line breaks and spaces at the ends.
    let ends = [
        ("", ""),
        ("\n", "\n"),
        ("", "\n  {% if x %}{% endif %}\n"),
        ("  {% if x %}{% endif %}\n", ""),
        ("  ", "\r\n"),
    ];
    for text in ends.map(|(first, last)| format!("{first}{CHAT}{last}")) {
        let encoder =
            encoder(&[("chat_template.jinja", text.as_str().into())], limits(64, 64)).unwrap();
        let cut = encoder.template_to_terminator().unwrap();
        let compiled = |text: &str| {
            let variables = encoder.recipe().special_tokens;
            ChatTemplate::new(text, Path::new("test"), variables, 0).unwrap()
        };
        let (whole, cut) = (compiled(&text), compiled(&cut));
        let turn = |role: &str, content: &str| Message::new(role, content);
        let turns = [
            turn("user", "a "),
            turn("assistant", " b \n"),
            turn("user", " c"),
            turn("assistant", "a\n"),
        ];
        for turns in [&turns[..1], &turns[..2], &turns[..3], &turns] {
            let omit = |template: &ChatTemplate| {
                template.render(&turns.to_vec().into(), GenerationPrompt::Omit).unwrap()
            };
            let add = |template: &ChatTemplate| {
                template.render(&turns.to_vec().into(), GenerationPrompt::Add).unwrap()
            };
            assert_eq!(omit(&cut), omit(&whole).trim_end());
            assert_eq!(add(&cut), add(&whole));
        }
        assert!(
            cut.render(&turns.to_vec().into(), GenerationPrompt::Omit)
                .unwrap()
                .ends_with("a\n</s>")
        );
    }
    // One that ends there already, and one whose last whitespace is another's, stay as they are.
    for text in [CHAT.replace("}}\n{% else", "}}{% else"), CHAT.replace("\n{% else", " .\n{% else")]
    {
        let encoder =
            encoder(&[("chat_template.jinja", text.as_str().into())], limits(64, 64)).unwrap();
        assert_eq!(encoder.template_to_terminator(), Some(text));
    }
}

#[test]
fn plain_text_is_bos_prompt_completion_terminator() {
    let row = plain().encode(&text("a b"), &" c".into()).unwrap();
    assert_eq!(row.input_ids, [1, 7, 8, 9, 2]);
    assert_eq!((row.completion_start, row.terminated, row.truncated), (3, true, false));
    assert_eq!(row.completion_mask(), [false, false, false, true, true]);
    // No space of the tokenizer's own between prompt and completion.
    assert_eq!(plain().encode(&text("a b"), &"c".into()).unwrap().input_ids, [1, 7, 8, 6, 2]);
    assert_eq!(plain().prompt(&text("a b")).unwrap(), [1, 7, 8]);
}

#[test]
fn the_terminator_is_scored_although_padding_is_the_same_token() {
    let encoder = plain();
    assert_eq!((encoder.pad_id(), encoder.terminator()), (2, 2));
    assert_eq!(
        encoder.encode(&text("a"), &"".into()).unwrap().completion_mask(),
        [false, false, true]
    );
}

#[test]
fn a_conversation_is_written_by_the_template_up_to_its_end_token() {
    let encoder = chat();
    let row = encoder.encode(&user("a"), &"b".into()).unwrap();
    let shown: Vec<String> = row.input_ids.iter().map(|&id| encoder.token(id)).collect();
    assert_eq!(shown.concat().matches("<s>").count(), 1);
    assert_eq!(shown.last().unwrap(), "</s>");
    assert_eq!(row.input_ids[..row.completion_start], encoder.prompt(&user("a")).unwrap());
    assert_eq!(encoder.decode(&row.input_ids[row.completion_start..]), "b");
}

#[test]
fn conversations_without_template_are_refused_unless_they_are_one_user_message() {
    let encoder = plain();
    assert_eq!(encoder.prompt(&user("a b")).unwrap(), encoder.prompt(&text("a b")).unwrap());
    let system = Message::new("system", "a");
    let error = encoder.prompt(&Prompt::from(vec![system])).unwrap_err().to_string();
    assert!(error.contains("system") && error.contains("template"), "{error}");
}

#[test]
fn template_none_and_template_file_override_the_folder() {
    let files = [("chat_template.jinja", CHAT.into())];
    let none = EncodeOptions { template: TemplateChoice::None, ..Default::default() };
    assert!(encoder(&files, none).unwrap().template().is_none());
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), CHAT.replace("[assistant]", "<assistant>")).unwrap();
    let path = TemplateChoice::File(other.path().to_owned());
    let options = EncodeOptions { template: path, ..Default::default() };
    // The tags differ between the prompt and the whole: a template that the user names is checked
    // when the encoder is made.
    let error = encoder(&[], options).unwrap_err();
    assert!(matches!(error, DataError::UnstablePrefix { .. }), "{error}");
    let missing = TemplateChoice::File("no/such.jinja".into());
    let options = EncodeOptions { template: missing, ..Default::default() };
    assert!(matches!(encoder(&[], options), Err(DataError::Io { .. })));
}

#[test]
fn the_default_of_several_named_templates_is_taken() {
    let config = |name: &str| {
        let templates =
            json!([{"name": "tools", "template": "x"}, {"name": name, "template": CHAT}]);
        json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": templates})
    };
    let named =
        |name| encoder(&[("tokenizer_config.json", config(name))], EncodeOptions::default());
    assert_eq!(named("default").unwrap().template().unwrap().text(), CHAT);
    let error = named("rag").unwrap_err().to_string();
    assert!(error.contains("rag") && error.contains("default"), "{error}");
}

#[test]
fn a_second_bos_is_refused_with_its_tokens() {
    let error = plain().encode(&text("<s>a"), &"b".into()).unwrap_err().to_string();
    assert!(error.contains("two BOS") && error.contains("\"<s>\" (1) \"<s>\" (1)"), "{error}");
}

/// Why a template cannot be used: text needs none, a conversation is refused.
fn unusable(template: &str) -> String {
    let files = [("chat_template.jinja", template.into())];
    let encoder = encoder(&files, EncodeOptions::default()).unwrap();
    assert!(encoder.template().is_none());
    assert_eq!(encoder.encode(&text("a"), &" b".into()).unwrap().input_ids, [1, 7, 8, 2]);
    let error = encoder.encode(&user("a"), &"b".into()).unwrap_err();
    assert!(matches!(error, DataError::UnusableTemplate { .. }), "{error}");
    let cause = error.source().unwrap().to_string();
    assert!(encoder.notes()[0].contains(&cause), "{cause}");
    cause
}

#[test]
fn a_template_without_end_token_is_refused_with_its_tokens() {
    let template = CHAT.replace("{{ eos_token }}", "");
    let error = unusable(&template);
    assert!(error.contains("never stop") && error.contains("\"</s>\" (2)"), "{error}");
}

#[test]
fn a_template_whose_prompt_is_no_prefix_is_refused_with_its_tokens() {
    let template = CHAT.replace("{{ m.content }}", "{{ m.content }}{{ messages | length }}");
    let error = unusable(&template);
    assert!(error.contains("not a prefix") && error.contains("(59)"), "{error}");
}

#[test]
fn a_template_whose_last_token_joins_with_answers_is_refused_with_its_tokens() {
    // "]: " ends with a space, and " b" is one token.
    let template = CHAT.replace("]:", "]: ");
    let error = unusable(&template);
    assert!(error.contains("\" \" (3)") && error.contains("\" b\" (8)"), "{error}");
}

#[test]
fn a_stop_token_within_a_completion_is_refused() {
    for encoder in [plain(), chat()] {
        let error = encoder.encode(&user("a"), &"b</s>c".into()).unwrap_err();
        assert!(matches!(error, DataError::StopInCompletion { .. }), "{error}");
        let row = Demonstration {
            id: "r7".to_owned(),
            source: None,
            place: None,
            completion_ids: None,
            prompt: user("a"),
            completion: "</s>".into(),
        };
        let error = encoder.encode_all(&[row]).unwrap_err();
        assert!(error.to_string().contains("r7"));
        assert!(error.source().unwrap().to_string().contains("</s>"));
    }
}

#[test]
fn long_prompts_are_dropped_and_listed_or_lose_their_beginning() {
    let rows = ["a", "a b c a b c"].map(|prompt| Demonstration {
        id: prompt.to_owned(),
        source: None,
        place: None,
        completion_ids: None,
        prompt: text(prompt),
        completion: " c".into(),
    });
    let drop = encoder(&[], limits(4, 9)).unwrap().encode_all(&rows).unwrap();
    assert_eq!(drop.rows.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
    assert_eq!(drop.dropped[0].id, "a b c a b c");
    assert!(drop.dropped[0].reason.contains("7 tokens"), "{}", drop.dropped[0].reason);
    let mut options = limits(4, 9);
    options.too_long.prompts = LongPrompt::TruncateLeft;
    let cut = encoder(&[], options).unwrap().encode_all(&rows).unwrap();
    assert_eq!(cut.truncated, ["a b c a b c"]);
    assert_eq!(cut.rows[1].1.input_ids, [1, 7, 8, 9, 9, 2]);
    assert_eq!(cut.rows[1].1.completion_start, 4);
}

#[test]
fn long_completions_are_cut_without_terminator_or_dropped() {
    let row = encoder(&[], limits(9, 2)).unwrap().encode(&text("a"), &" b c".into()).unwrap();
    assert_eq!((row.input_ids, row.terminated, row.truncated), (vec![1, 7, 8, 9], false, true));
    let row = encoder(&[], limits(9, 3)).unwrap().encode(&text("a"), &" b c".into()).unwrap();
    assert_eq!((row.input_ids, row.terminated, row.truncated), (vec![1, 7, 8, 9, 2], true, false));
    let mut options = limits(9, 2);
    options.too_long.completions = LongCompletion::Drop;
    let error = encoder(&[], options).unwrap().encode(&text("a"), &" b c".into()).unwrap_err();
    assert!(matches!(error, DataError::CompletionTooLong { tokens: 3, limit: 2 }), "{error}");
}

#[test]
fn a_sample_is_tokenized_like_a_demonstration_of_its_text() {
    let encoder = plain();
    let prompt = encoder.prompt(&text("a")).unwrap();
    // "▁", "b" is " b" spelt with two tokens.
    let sample = encoder.sample(&prompt, &[3, 5, 2, 2, 2]);
    assert_eq!(sample, encoder.encode(&text("a"), &" b".into()).unwrap());
    let unfinished = encoder.sample(&prompt, &[3, 5]);
    assert_eq!((unfinished.input_ids, unfinished.terminated), (vec![1, 7, 8], false));
    assert_eq!(encoder.sample(&prompt, &[2]).input_ids, [1, 7, 2]);
    assert_eq!(encoder.sample(&prompt, &[]).input_ids, [1, 7]);
}

#[test]
fn a_sample_that_spells_a_stop_token_keeps_its_tokens() {
    let encoder = plain();
    let spelt: Vec<u32> = "</s>".bytes().map(|byte| 10 + u32::from(byte)).collect();
    let sample = encoder.sample(&[1, 7], &spelt);
    assert_eq!(sample.input_ids[2..], spelt);
}

#[test]
fn a_sample_cut_within_a_character_keeps_the_bytes_of_its_beginning() {
    let encoder = plain();
    let sample = encoder.sample(&[1, 7], &[4, 10 + 0xE2, 10 + 0x82]);
    assert_eq!(sample.input_ids, [1, 7, 4, 10 + 0xE2, 10 + 0x82]);
}

#[test]
fn a_recipe_restores_the_encoder_and_another_tokenizer_is_refused() {
    let folder = folder(&[("chat_template.jinja", CHAT.into())]);
    let encoder = Encoder::from_folder(folder.path(), limits(40, 7)).unwrap();
    let json = serde_json::to_string(&encoder.recipe()).unwrap();
    let recipe: TextRecipe = serde_json::from_str(&json).unwrap();
    let bare = super::tests::folder(&[]);
    let again = Encoder::from_recipe(bare.path(), recipe.clone()).unwrap();
    assert_eq!(again.recipe(), recipe);
    let encode = |e: &Encoder| e.encode(&user("b a"), &"c".into()).unwrap();
    assert_eq!(encode(&again), encode(&encoder));
    let other = TextRecipe { vocab_size: 7, ..recipe };
    let error = Encoder::from_recipe(bare.path(), other).unwrap_err().to_string();
    assert!(error.contains("vocab_size = 7"), "{error}");
}

#[test]
fn stop_tokens_come_from_the_tokenizer_and_from_generation_config() {
    let files = [
        ("generation_config.json", json!({"eos_token_id": [2, 0]})),
        ("config.json", json!({"eos_token_id": 5, "bos_token_id": 1, "pad_token_id": 4})),
    ];
    let both = encoder(&files, EncodeOptions::default()).unwrap();
    assert_eq!((both.stop_ids(), both.pad_id()), (&[2, 0][..], 4));
    let fallback =
        [("tokenizer_config.json", json!({})), ("config.json", json!({"eos_token_id": 5}))];
    assert_eq!(encoder(&fallback, EncodeOptions::default()).unwrap().stop_ids(), [5]);
    let none = [("tokenizer_config.json", json!({}))];
    assert!(matches!(
        encoder(&none, EncodeOptions::default()),
        Err(DataError::NoTerminator { .. })
    ));
    let bad = [("generation_config.json", json!({"eos_token_id": "x"}))];
    let error = encoder(&bad, EncodeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("eos_token_id") && error.contains("token id"), "{error}");
}

#[test]
fn tokenizer_json_decides_about_bos_and_a_setting_that_differs_is_noted() {
    // Transformers 5.23: AutoTokenizer of this folder gives [1, 7, 2] for "a" with either value.
    let config = |add: bool| json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": add});
    let made = |add| {
        let files = [("tokenizer_config.json", config(add))];
        encoder(&files, EncodeOptions::default()).unwrap()
    };
    assert_eq!(made(false).prompt(&text("a")).unwrap(), [1, 7]);
    assert!(made(false).notes()[0].contains("add_bos_token = false"));
    assert!(made(true).notes().is_empty());
}

#[test]
fn a_prompt_without_tokens_is_refused() {
    let bytes = std::fs::read(folder(&[]).path().join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_slice(&bytes).unwrap();
    tokenizer["post_processor"] = Value::Null;
    let encoder = encoder(&[("tokenizer.json", tokenizer)], EncodeOptions::default()).unwrap();
    assert_eq!(encoder.prompt(&text("a")).unwrap(), [7]);
    assert!(matches!(encoder.prompt(&text("")), Err(DataError::EmptyPrompt)));
}

#[test]
fn a_pad_token_outside_the_models_vocabulary_is_replaced_and_noted() {
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "[PAD]"});
    let model = |size: u32| json!({"vocab_size": size, "pad_token_id": 300});
    let pad = |size| {
        let files = [("tokenizer_config.json", config.clone()), ("config.json", model(size))];
        let encoder = encoder(&files, EncodeOptions::default()).unwrap();
        (encoder.pad_id(), encoder.notes().concat())
    };
    // tokenizer.json has 266 tokens, so the pad token is number 266, as in Transformers.
    assert_eq!(pad(512), (266, String::new()));
    let (id, note) = pad(266);
    assert!(id == 2 && note.contains("pad token 266") && note.contains("266;"), "{note}");
    let unset = [("config.json", json!({"pad_token_id": -1}))];
    assert_eq!(encoder(&unset, EncodeOptions::default()).unwrap().pad_id(), 2);
}

#[test]
fn a_missing_or_damaged_tokenizer_is_an_error_that_names_it() {
    let empty = tempfile::tempdir().unwrap();
    let error = Encoder::from_folder(empty.path(), EncodeOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no tokenizer.json"), "{error}");
    let damaged = [("tokenizer.json", json!({"model": 3}))];
    let error = encoder(&damaged, EncodeOptions::default()).unwrap_err();
    assert!(
        matches!(&error, DataError::Tokenizer { path, .. } if path.ends_with("tokenizer.json"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn demonstrations_and_samples_of_one_text_are_the_same_row(
        prompt in "[abc é\n]{1,12}",
        completion in "[abc é\n]{0,12}",
    ) {
        for encoder in [plain(), chat()] {
            for prompt in [text(&prompt), user(&prompt)] {
                let row = encoder.encode(&prompt, &completion.as_str().into()).unwrap();
                let (ids, answer) = row.input_ids.split_at(row.completion_start);
                prop_assert_eq!(ids, &encoder.prompt(&prompt).unwrap()[..]);
                prop_assert_eq!(&encoder.sample(ids, answer), &row);
            }
        }
    }

    #[test]
    fn the_canonical_form_is_a_fixed_point(ids in prop::collection::vec(0u32..270, 0..12)) {
        let encoder = plain();
        let once = encoder.sample(&[1, 7], &ids);
        let twice = encoder.sample(&[1, 7], &once.input_ids[once.completion_start..]);
        prop_assert_eq!(once, twice);
    }
}

mod fields;
mod golden;
mod tokenizers;

#[test]
fn a_template_of_special_tokens_that_are_not_there_is_an_error() {
    let folder = folder(&[]);
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let special = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing", "single": [special, text], "pair": [text, text],
        "special_tokens": {},
    });
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let error = Encoder::from_folder(folder.path(), EncodeOptions::default()).unwrap_err();
    let causes = format!("{error}: {}", error.source().unwrap());
    assert!(causes.contains("names something that it does not hold"), "{causes}");
}
