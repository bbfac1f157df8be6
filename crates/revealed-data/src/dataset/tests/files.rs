//! Files of every format, folders and patterns.

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/data/layouts").join(name)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

const ROW: &str = r#"{"prompt":"a","completion":"b"}"#;

#[test]
fn csv_has_a_header_quotes_and_empty_cells() {
    let text = "\u{feff}prompt,completion,id,note\r\n\"a, \"\"b\"\"\nc\",d,x,\r\ne,f,,n\r\n";
    let dataset = read_text("a.csv", text).unwrap();
    assert_eq!((&*dataset.unread_columns[0].name, dataset.unread_columns[0].rows), ("note", 1));
    let rows = dataset.demonstrations().unwrap();
    assert_eq!(rows[0].prompt, Prompt::Text("a, \"b\"\nc".into()));
    assert_eq!((rows[0].id.as_str(), rows[1].id.as_str()), ("x", "1"));
    // The first record takes two lines.
    assert_eq!(rows[1].place.as_ref().unwrap().row, Row::Line(4));
    let error = problem_of("a.csv", "prompt,completion\na,b\n,b\n");
    assert!(error.contains("line 3") && error.contains("null in `prompt`"), "{error}");
}

#[test]
fn csv_cells_hold_lists_as_json_and_flags_as_python_writes_them() {
    let text = concat!(
        "messages,label,tools\n",
        "\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"q\"\"},",
        "{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"a\"\"}]\",True,\n",
    );
    let rows = read_text("a.csv", text).unwrap().demonstrations().unwrap();
    assert_eq!((&rows[0].prompt, &*rows[0].completion.text()), (&user("q"), "a"));
    let error = problem_of("a.csv", "messages\n\"[{'role': 'user', 'content': 'q'}]\"\n");
    assert!(error.contains("line 2") && error.contains("json.dumps"), "{error}");
    let tabs = read_text("a.tsv", "prompt\tcompletion\na,b\tc\n").unwrap();
    assert_eq!(tabs.demonstrations().unwrap()[0].prompt, Prompt::Text("a,b".into()));
    let error = problem_of("a.csv", "prompt,completion\na,b\nc\n");
    assert!(error.contains("line 3") && error.contains("1 cells"), "{error}");
    let error = problem_of("a.csv", "prompt,prompt\na,b\n");
    assert!(error.contains("`prompt` twice"), "{error}");
}

#[test]
fn a_folder_and_a_pattern_are_read_in_order_with_ids_that_count_on() {
    let folder = folder(&[
        ("train-00001-of-00002.jsonl", r#"{"prompt":"c","completion":"d"}"#),
        ("train-00000-of-00002.jsonl", ROW),
        ("README.md", "words"),
        (".gitattributes", ""),
    ]);
    let dataset = read(folder.path()).unwrap();
    assert!(dataset.notes[0].contains("README.md"), "{:?}", dataset.notes);
    let rows = dataset.demonstrations().unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| &*row.id).collect();
    assert_eq!(ids, ["0", "1"]);
    assert_eq!(rows[1].prompt, Prompt::Text("c".into()));
    assert!(rows[1].place.as_ref().unwrap().path.ends_with("train-00001-of-00002.jsonl"));
    let pattern = folder.path().join("train-*.jsonl");
    assert_eq!(read_demonstrations(&pattern).unwrap(), rows);
    let none = read(&folder.path().join("test-*.jsonl")).unwrap_err().to_string();
    assert!(none.contains("no file matches"), "{none}");
}

#[test]
fn folders_that_are_no_single_data_set_are_refused() {
    for (files, words) in [
        (vec![("train.jsonl", ROW), ("test.jsonl", ROW)], "several splits (test, train)"),
        (vec![("sft_train.jsonl", ROW), ("sft_test.jsonl", ROW)], "several splits (test, train)"),
        (vec![("x.TRAIN.jsonl", ROW), ("x.eval-2.jsonl", ROW)], "several splits (test, train)"),
        (vec![("a.jsonl", ROW), ("b.csv", "a\nb\n")], "several kinds (.csv, .jsonl)"),
        (vec![("data-00000-of-00001.arrow", ""), ("state.json", "{}")], "save_to_disk"),
        (vec![("dataset_dict.json", "{}"), ("train/data.arrow", "")], "save_to_disk"),
        (vec![("rows.jsonl.gz", "")], "no .jsonl"),
    ] {
        let folder = folder(&files);
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let hidden = folder(&[("a.jsonl", ROW), (".b.jsonl", ROW), ("._a.jsonl", "x")]);
    assert_eq!(read(hidden.path()).unwrap().records.len(), 1);
    assert_eq!(read(&hidden.path().join("*.jsonl")).unwrap().records.len(), 1);
    let other = folder(&[("a.jsonl", ROW), ("b.jsonl", r#"{"question":"a","answer":"b"}"#)]);
    let error = chain(&read(other.path()).unwrap_err());
    assert!(error.contains("b.jsonl: line 1"), "{error}");
    let hub = folder(&[("data/train-00000-of-00001.jsonl", ROW), ("README.md", "")]);
    assert_eq!(read(hub.path()).unwrap().records.len(), 1);
}

#[test]
fn parquet_types_that_json_does_not_have_are_listed_where_nothing_reads_them() {
    let dataset = read(&golden("types.parquet")).unwrap();
    let unread: Vec<&str> = dataset.unread_columns.iter().map(|column| &*column.name).collect();
    assert_eq!(unread, ["price", "time", "day", "blob", "tags", "score"]);
    let rows = dataset.demonstrations().unwrap();
    assert!(rows[0].completion.message().is_plain());
    let call = rows[1].completion.message().fields();
    assert_eq!(
        serde_json::to_value(call).unwrap(),
        serde_json::json!({"role": "assistant", "content": null, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"town": "x"}}}]})
    );
    let error = chain(&read(&golden("decimal_prompt.parquet")).unwrap_err());
    assert!(error.contains("row 1") && error.contains("a decimal in `prompt`"), "{error}");
}

#[test]
fn parquet_text_that_is_not_utf8_is_named() {
    let error = chain(&read(&golden("prompt_not_utf8.parquet")).unwrap_err());
    assert!(
        error.contains("row 2") && error.contains("text that is not UTF-8 in `prompt`"),
        "{error}"
    );
    let dataset = read(&golden("note_not_utf8.parquet")).unwrap();
    assert_eq!((dataset.records.len(), &*dataset.unread_columns[0].name), (3, "note"));
}

fn problem_of(name: &str, text: &str) -> String {
    chain(&read_text(name, text).unwrap_err())
}

#[test]
fn a_quote_that_nothing_closes_is_an_error_with_its_line() {
    let error = problem_of("a.csv", "question,answer\nq,\"a\nq2,b\n");
    assert!(error.contains("line 2") && error.contains("nothing closes"), "{error}");
    let folder = folder(&[("a.csv", "question,answer\nq,\"a \"\"b\"\"\n\"\nq2,b \" c\n")]);
    let rows = read_demonstrations(&folder.path().join("a.csv")).unwrap();
    let texts: Vec<_> = rows.iter().map(|row| row.completion.text().into_owned()).collect();
    assert_eq!(texts, ["a \"b\"\n", "b \" c"]);
}

#[test]
fn an_empty_list_in_a_cell_is_no_image() {
    let folder = folder(&[("a.csv", "question,answer,images\nq,a,[]\n")]);
    assert_eq!(read_demonstrations(&folder.path().join("a.csv")).unwrap().len(), 1);
    let error = problem_of("a.csv", "question,answer,images\nq,a,\"[\"\"x.png\"\"]\"\n");
    assert!(error.contains("`images`"), "{error}");
}
