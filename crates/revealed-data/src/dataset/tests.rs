use std::error::Error;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::Message;
use crate::error::RowProblem;

fn file(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_text(name: &str, text: &str) -> Result<Dataset, DataError> {
    let (_folder, path) = file(name, text);
    read(&path)
}

fn demonstrations(text: &str) -> Vec<Demonstration> {
    match read_text("a.jsonl", text).unwrap().records {
        Records::Demonstrations(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn preferences(text: &str) -> Vec<Preference> {
    match read_text("a.jsonl", text).unwrap().records {
        Records::Preferences(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        write!(text, ": {cause}").unwrap();
        next = cause.source();
    }
    text
}

fn problem(text: &str) -> String {
    chain(&read_text("a.jsonl", text).unwrap_err())
}

fn user(content: &str) -> Prompt {
    Prompt::from(vec![Message::new("user", content)])
}

#[test]
fn the_last_message_is_the_completion_and_whitespace_is_kept() {
    let rows = demonstrations(concat!(
        r#"{"source":"s","id":7,"messages":[{"role":"user","content":" hi\n","name":"x"},"#,
        r#"{"role":"assistant","content":"  ho \n"}],"extra":1}"#,
        "\n\n",
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":""}]}"#
    ));
    assert_eq!(rows[0].id, "7");
    assert_eq!(rows[0].source.as_deref(), Some("s"));
    let named: Message =
        serde_json::from_str(r#"{"role":"user","content":" hi\n","name":"x"}"#).unwrap();
    assert_eq!(rows[0].prompt, Prompt::from(vec![named]));
    assert_eq!(rows[0].completion.text(), "  ho \n");
    assert_eq!((rows[1].id.as_str(), rows[1].completion.text().as_ref()), ("1", ""));
}

#[test]
fn prompt_and_completion_are_text_or_messages() {
    let rows = demonstrations(concat!(
        r#"{"prompt":"a ","completion":" b"}"#,
        "\n",
        r#"{"prompt":[{"role":"user","content":"a"}],"#,
        r#""completion":[{"role":"assistant","content":"b"}]}"#,
    ));
    assert_eq!(rows[0].prompt, Prompt::Text("a ".into()));
    assert_eq!(rows[0].completion.text(), " b");
    assert_eq!((&rows[1].prompt, rows[1].completion.text().as_ref()), (&user("a"), "b"));
}

#[test]
fn alpaca_input_follows_the_instruction_after_an_empty_line() {
    let rows = demonstrations(concat!(
        r#"{"instruction":"add","input":"1 2","output":"3"}"#,
        "\n",
        r#"{"instruction":"hi","input":"","output":"ho"}"#,
        "\n",
        r#"{"instruction":"hi","output":"ho"}"#,
    ));
    assert_eq!(rows[0].prompt, user("add\n\n1 2"));
    assert_eq!(rows[1].prompt, user("hi"));
    assert_eq!(rows[2].prompt, user("hi"));
}

#[test]
fn preferences_have_an_explicit_or_an_implicit_prompt() {
    let explicit = preferences(concat!(
        r#"{"id":"x","prompt":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b","#,
        r#""meta":{"subset":"hard"}}"#,
        "\n",
        r#"{"prompt":"q","chosen":[{"role":"user","content":"q"},"#,
        r#"{"role":"assistant","content":"a"}],"#,
        r#""rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"#,
    ));
    assert_eq!(explicit[0].subset.as_deref(), Some("hard"));
    for row in &explicit {
        assert_eq!(
            (&row.prompt, &*row.chosen.text(), &*row.rejected.text()),
            (&user("q"), "a", "b")
        );
    }
    let implicit = preferences(concat!(
        r#"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"#,
        r#""rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
    ));
    assert_eq!((&implicit[0].prompt, &*implicit[0].chosen.text()), (&user("q"), "a"));
    let text = preferences(r#"{"chosen":"The sky is blue.","rejected":"The sky is green."}"#);
    assert_eq!(text[0].prompt, Prompt::Text("The sky is".into()));
    assert_eq!((&*text[0].chosen.text(), &*text[0].rejected.text()), (" blue.", " green."));
}

#[test]
fn kinds_are_named_and_a_file_of_another_kind_is_refused() {
    for (row, name) in [
        (r#"{"prompt":"a"}"#, "prompts"),
        (r#"{"prompt":"a","completion":"b"}"#, "prompt+completion"),
        (r#"{"instruction":"a","output":"b"}"#, "alpaca"),
        (r#"{"prompt":"a","chosen":"b","rejected":"c"}"#, "preferences, explicit prompt"),
        (r#"{"chosen":"a b","rejected":"a c"}"#, "preferences, implicit prompt"),
    ] {
        assert_eq!(read_text("a.jsonl", row).unwrap().kind.name(), name);
        let (_folder, path) = file("a.jsonl", row);
        assert_eq!(read_prompts(&path).unwrap().len(), 1);
        if name.starts_with("preferences") {
            assert!(read_preferences(&path).is_ok());
            let error = read_demonstrations(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("demonstrations"), "{error}");
        } else {
            let error = read_preferences(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("chosen"), "{error}");
        }
    }
}

#[test]
fn a_bad_line_is_named_by_its_number() {
    let good = r#"{"prompt":"a","completion":"b"}"#;
    for (bad, said) in [
        ("{\"prompt\":", "not valid JSON"),
        ("[1]", "a list"),
        (r#"{"prompt":"a"}"#, "lacks the column `completion`"),
        (r#"{"prompt":1,"completion":"b"}"#, "a number in `prompt`"),
        (r#"{"prompt":"a","completion":null}"#, "null in `completion`"),
        (r#"{"prompt":"a\u0000","completion":"b"}"#, "NUL"),
        (r#"{"prompt":[],"completion":"b"}"#, "0 messages"),
        (r#"{"prompt":[{"role":"user"}],"completion":"b"}"#, "`prompt[0].content`"),
        (r#"{"prompt":"a","completion":[{"role":"user","content":"b"}]}"#, "give both as text"),
        (
            concat!(
                r#"{"prompt":[{"role":"user","content":"a"}],"#,
                r#""completion":[{"role":"user","content":"b"}]}"#
            ),
            "the role \"user\"",
        ),
    ] {
        let error = problem(&format!("{good}\n\n{bad}\n{good}"));
        assert!(error.contains("a.jsonl: line 3") && error.contains(said), "{error}");
    }
    let (_folder, path) = file("a.jsonl", b"{\"prompt\":\"\xff\",\"completion\":\"b\"}");
    assert!(
        chain(&read(&path).unwrap_err()).contains("line 1 cannot be used: it is not valid UTF-8")
    );
}

#[test]
fn unknown_columns_are_listed_with_the_known_layouts() {
    let error = problem(r#"{"problem":"a","solution":"b"}"#);
    assert!(
        error.contains("problem, solution") && error.contains("instruction, output"),
        "{error}"
    );
    assert!(problem(r#"{"prompt":"a","chosen":"b"}"#).contains("chosen, which is half of a pair"));
    assert!(problem(r#"{"text":"a"}"#).contains("`text` and nothing that separates"));
}

#[test]
fn a_conversation_must_end_with_the_assistant() {
    let open = r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#;
    let (_folder, path) = file("a.jsonl", open);
    let error = read_demonstrations(&path).unwrap_err().to_string();
    assert!(error.contains("do not end with the assistant"), "{error}");
    let answered =
        r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
    let error = problem(&format!("{answered}\n{open}"));
    assert!(error.contains("line 2") && error.contains("must be the assistant's"), "{error}");
    assert!(problem(r#"{"messages":[]}"#).contains("0 messages"));
}

#[test]
fn a_line_has_one_number_the_files_own() {
    let good = r#"{"prompt":"a","completion":"b"}"#;
    let error = problem(&format!("{good}\n{{\"prompt\": nonsense}}\n"));
    assert!(error.contains("line 2") && error.contains("at column 1"), "{error}");
    assert!(!error.contains("line 1"), "{error}");
}

#[test]
fn rows_of_any_layout_come_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let rows = crate::read_rows(&path).unwrap();
        rows.into_iter()
            .map(|(place, columns)| format!("{}: {}", place.row, columns["a"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(read("a.jsonl", "{\"a\": 1}\n\n{\"a\": null}\n"), ["line 1: 1", "line 3: null"]);
    assert_eq!(read("a.json", "[{\"a\": 1},\n{\"a\": 2}]"), ["row 1: 1", "row 2: 2"]);
}

#[test]
fn files_without_rows_and_unknown_endings_are_refused() {
    for name in ["a.jsonl", "a.json"] {
        assert!(matches!(read_text(name, " \n"), Err(DataError::Empty { .. })));
    }
    assert!(matches!(read_text("a.json", "[]"), Err(DataError::Empty { .. })));
    assert!(matches!(read_text("a.txt", "x"), Err(DataError::Extension { .. })));
    let error = read_text("a.jsonl.gz", "x").unwrap_err().to_string();
    assert!(error.contains("decompress it first"), "{error}");
    assert!(matches!(read(Path::new("no/such.jsonl")), Err(DataError::Io { .. })));
    assert!(matches!(read(Path::new("/no/such")), Err(DataError::Io { .. })));
}

#[test]
fn a_json_file_is_an_array_or_lines() {
    let row = r#"{"prompt":"a","completion":"b"}"#;
    let array = read_text("a.json", &format!("\u{feff} [{row},\n{row}]")).unwrap();
    let lines = read_text("a.json", &format!("\u{feff}{row}\n{row}")).unwrap();
    let texts = |dataset: Dataset| {
        let rows = dataset.demonstrations().unwrap();
        rows.into_iter().map(|row| (row.prompt, row.completion)).collect::<Vec<_>>()
    };
    assert_eq!(texts(array), texts(lines));
    let error = chain(&read_text("a.json", &format!("[{row}, 3]")).unwrap_err());
    assert!(error.contains("row 2"), "{error}");
    assert!(matches!(read_text("a.json", "[{]"), Err(DataError::Json { .. })));
    let error = read_text("a.json", "{\n\"prompt\": \"a\"\n}").unwrap_err().to_string();
    assert!(error.contains("one JSON object over several lines"), "{error}");
}

#[test]
fn parquet_written_by_pyarrow_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data/");
    let messages = read_demonstrations(Path::new(&format!("{folder}messages.parquet"))).unwrap();
    assert_eq!((messages[0].id.as_str(), &messages[0].prompt), ("0", &user("Name a colour.")));
    assert_eq!(messages[1].completion.text(), "Größe: 3 m\n");
    let pairs = read_preferences(Path::new(&format!("{folder}preferences.parquet"))).unwrap();
    assert_eq!((&*pairs[0].chosen.text(), &*pairs[0].rejected.text()), ("Four.", "Five."));
    assert_eq!(pairs[0].prompt, Prompt::Text("Two and two?".into()));
    let (_folder, path) = file("a.parquet", b"PAR1 nonsense PAR1");
    assert!(matches!(read(&path), Err(DataError::Parquet { .. })));
}

#[test]
fn the_shared_files_are_read() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    let Ok(folder) = std::fs::read_dir(shared.join("demonstrations")) else {
        eprintln!("skipped: {} is missing", shared.display());
        return;
    };
    for entry in folder {
        let rows = read_demonstrations(&entry.unwrap().path()).unwrap();
        assert!(rows.iter().all(|row| matches!(row.prompt, Prompt::Chat(_))));
    }
    let pairs = read_preferences(&shared.join("preferences/llmbar.jsonl")).unwrap();
    assert_eq!(pairs.len(), 419);
    assert!(pairs[0].subset.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in ["a.jsonl", "a.json", "a.parquet"] {
            let (_folder, path) = file(name, &bytes);
            prop_assert!(read(&path).is_err());
        }
    }

    #[test]
    fn damaged_files_never_panic(
        at in 0usize..4000,
        byte: u8,
        text in "[\\[\\]{}\":,a-z\\\\u0-9 \n]{0,80}",
    ) {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data/messages.parquet");
        let mut bytes = std::fs::read(golden).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= byte;
        let (_folder, path) = file("a.parquet", &bytes);
        let _ = read(&path);
        for name in ["a.jsonl", "a.json"] {
            let _ = read_text(name, &text);
        }
    }
}

#[test]
fn a_row_of_more_text_than_any_context_holds_is_refused_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(9 << 20);
    let row = serde_json::json!({"prompt": long, "completion": "b"});
    for (name, text) in [("a.jsonl", format!("{row}\n")), ("a.json", format!("[{row}]"))] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err();
        let DataError::Row { problem, .. } = &error else { panic!("{error}") };
        assert!(matches!(problem, RowProblem::TooLong { limit: 8_388_608 }), "{error}");
    }
}

mod files;
mod layouts;
