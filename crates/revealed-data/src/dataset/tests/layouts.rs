//! The layouts that people have: the conversation of each, and what is refused or listed.

use serde_json::{Value, json};

use super::*;
use crate::{Encoded, Encoder};

fn golden() -> (Value, Encoder) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/data/layouts");
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let encoder = Encoder::from_folder(&folder, crate::EncodeOptions::default()).unwrap();
    (serde_json::from_str(&expected).unwrap(), encoder)
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Compares with the tokens of Transformers, which continue with a line break after the terminator.
fn compare(name: &str, encoded: &Encoded, expected: &Value) {
    let (prompt, full) = (ids(&expected["prompt_ids"]), ids(&expected["full_ids"]));
    assert_eq!(encoded.input_ids[..encoded.completion_start], prompt, "{name}: prompt");
    assert!(full.starts_with(&encoded.input_ids), "{name}: {:?} {full:?}", encoded.input_ids);
    assert!(encoded.terminated && full.len() - encoded.input_ids.len() == 1, "{name}");
}

#[test]
fn rows_of_every_layout_have_the_tokens_that_transformers_gives() {
    let (expected, encoder) = golden();
    let cases = expected["cases"].as_array().unwrap();
    assert!(cases.len() > 25);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let row = &demonstrations(&case["row"].to_string())[0];
        let encoded = encoder.encode(&row.prompt, &row.completion);
        compare(name, &encoded.unwrap_or_else(|error| panic!("{name}: {}", chain(&error))), case);
    }
}

#[test]
fn pairs_of_every_layout_have_the_tokens_that_transformers_gives() {
    let (expected, encoder) = golden();
    for case in expected["pairs"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let row = &preferences(&case["row"].to_string())[0];
        for (side, answer) in [("chosen", &row.chosen), ("rejected", &row.rejected)] {
            let encoded = encoder.encode(&row.prompt, answer).unwrap();
            compare(&format!("{name} {side}"), &encoded, &case[side]);
        }
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let turns = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let with = |column: &str, value: Value| {
        let mut row = json!({"messages": turns});
        row[column] = value;
        row
    };
    let message = |field: &str, value: Value| {
        let mut row = json!({"messages": turns});
        row["messages"][1][field] = value;
        row
    };
    for (row, words) in [
        (with("images", json!(["a.png"])), "`images` = [\"a.png\"]: only text"),
        (with("audio", json!({"path": "a.wav", "bytes": null})), "`audio`"),
        (with("weight", json!(0.5)), "`weight` = 0.5: rows and messages are not weighted"),
        (with("weights", json!([1, 0])), "`weights` = [1,0]"),
        (with("train_on_inputs", json!(true)), "`train_on_inputs` = true"),
        (with("completion_mask", json!([0, 1])), "`completion_mask`"),
        (with("labels", json!([-100, 5])), "`labels`"),
        (with("functions", json!([{"name": "f"}])), "rename it to `tools`"),
        (with("rejected_response", json!("c")), "`rejected_response`"),
        (with("rejected", json!("c")), "half of a pair"),
        (with("enable_thinking", json!(false)), "chat_template_kwargs"),
        (with("reasoning_content", json!("r")), "last one has `reasoning_content`"),
        (with("context", json!("c")), "`context`"),
        (with("history", json!([["a", "b"]])), "`history`"),
        (with("label", json!(2)), "a number in `label`"),
        (with("tools", json!({"name": "f"})), "an object in `tools`"),
        (with("tools", json!("[{]")), "`tools` is not JSON"),
        (with("documents", json!(["d"])), "text in `documents[…]`"),
        (with("chat_template_kwargs", json!([1])), "a list in `chat_template_kwargs`"),
        (with("chat_template_kwargs", json!({"messages": []})), "`chat_template_kwargs.messages`"),
        (with("system", json!(["s"])), "a list in `system`"),
        (with("prompt", json!("another")), "`prompt`, which is not read in a file of messages"),
        (with("response", json!("c")), "`response`"),
        (with("completion_ids", json!([1, -1])), "`completion_ids`"),
        (message("weight", json!(0)), "`messages[1].weight` = 0"),
        (message("train", json!(false)), "`messages[1].train` = false"),
        (message("images", json!(["a.png"])), "`messages[1].images`"),
        (message("tool_calls", json!("f()")), "text in `messages[1].tool_calls`"),
        (message("content", json!(null)), "null in `messages[1].content`"),
        (message("content", json!({"text": "b"})), "an object in `messages[1].content`"),
        (
            message("content", json!([{"type": "image", "url": "u"}])),
            "the type \"image\" in `messages[1].content[0]`",
        ),
        (message("content", json!(["b"])), "`messages[1].content[0]`"),
        (message("role", json!("")), "`messages[1].role`"),
        (json!({"messages": ["a", "b"]}), "text in `messages[0]`, which must be a message"),
        (json!({"messages": [turns]}), "a list in `messages[0]`"),
        (json!({"prompt": "a", "completion": ["b"]}), "messages in `completion`; give both"),
        (json!({"prompt": "a", "completion": "b", "system": "s"}), "`system`, but `prompt` is"),
        (json!({"prompt": "a", "completion": "b", "tools": [{"type": "x"}]}), "`tools`"),
        (json!({"prompt": "a", "completion": "b", "completions": ["b", "c"]}), "`completions`"),
        (json!({"prompt": "a", "completion": "b", "prefix": "c"}), "`prefix`"),
        (json!({"prompt": "a", "completion": "b", "question": "c"}), "prompt, question"),
        (json!({"prompt": "a", "completion": "b", "response": "c"}), "completion, response"),
        (json!({"messages": turns, "conversations": turns}), "messages, conversations"),
        (json!({"question": "a", "answer": 5}), "a number in `answer`, which must be text or"),
        (json!({"prompt": "a", "answer": "b"}), "of different layouts"),
        (json!({"prompt": turns, "completion": "b"}), "an answer that has begun"),
        (json!({"prompt": [turns[0]], "completion": turns}), "2 messages in `completion`"),
        (json!({"prompt": turns.to_string(), "completion": "b"}), "stored as text"),
        (json!({"question": "a", "answer": "b", "context": "c"}), "`context`"),
        (json!({"instruction": "a", "input": "b", "context": "c", "output": "d"}), "keep one"),
        (json!({"instruction": "a", "output": "b", "history": ["c"]}), "text in `history[0]`"),
        (
            json!({"conversations": [{"from": "alice", "value": "a"}, {"from": "gpt", "value": "b"}]}),
            "\"from\": \"alice\" in `conversations[0]`",
        ),
        (
            json!({"conversations": [{"from": "human", "value": "a"},
                {"from": "function_call", "value": "weather in Ghent"}]}),
            "the function_call in `conversations[1]`",
        ),
        (
            json!({"messages": [{"role": "system", "content": "a"}, turns[0], turns[1]], "system": "b"}),
            "`system` and another system message",
        ),
    ] {
        let error = problem(&row.to_string());
        assert!(error.contains("a.jsonl: line 1") && error.contains(words), "{row}\n{error}");
    }
}

#[test]
fn pairs_never_take_a_part_of_their_answers_for_the_prompt() {
    for (row, words) in [
        (
            json!({"chosen": "It is a", "rejected": "It is b", "problem": "q"}),
            "`problem` could hold",
        ),
        (json!({"chosen": "It is a", "rejected": "It is b", "turns": ["q"]}), "`turns` could hold"),
        (json!({"chosen": "It is a", "rejected": "It is b", "system": "s"}), "`system`"),
        (
            json!({"prompt": "p", "question": "q", "chosen": "a", "rejected": "b"}),
            "prompt, question",
        ),
        (
            json!({"prompt": "another", "chosen": [{"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "q"},
                {"role": "assistant", "content": "b"}]}),
            "`prompt`, which is not read",
        ),
        (
            json!({"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}],
                "rejected": [{"role": "assistant", "content": "b"}]}),
            "text in `prompt` and messages in `chosen`",
        ),
    ] {
        let error = problem(&row.to_string());
        assert!(error.contains(words), "{row}\n{error}");
    }
    let row = json!({"chosen": "It is a", "rejected": "It is b", "source": "s", "score": 1,
        "chosen_model": "m"});
    assert_eq!(preferences(&row.to_string())[0].prompt, Prompt::Text("It is".into()));
}

#[test]
fn other_columns_are_listed_with_their_rows() {
    let turns = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    let rows = [
        json!({"messages": turns, "prompt": "q", "score": 0.5, "note": null, "images": [],
            "conversations": []}),
        json!({"messages": turns, "score": 0.5, "labels": ["x"], "answer": "42", "weight": 1, "parallel_tool_calls": false}),
    ];
    let text = rows.map(|row| row.to_string()).join("\n");
    let dataset = read_text("a.jsonl", &text).unwrap();
    let unread: Vec<(&str, usize)> =
        dataset.unread_columns.iter().map(|column| (&*column.name, column.rows)).collect();
    let expected = [
        ("prompt", 1),
        ("score", 2),
        ("images", 1),
        ("conversations", 1),
        ("labels", 1),
        ("answer", 1),
        ("weight", 1),
        ("parallel_tool_calls", 1),
    ];
    assert_eq!(unread, expected);
    assert!(dataset.notes[0].contains("not read: `prompt` (1 rows), `score` (2 rows)"));
}

#[test]
fn rows_with_a_false_label_are_left_out_and_counted() {
    let text = concat!(
        r#"{"prompt":"a","completion":"b","label":false}"#,
        "\n",
        r#"{"prompt":"c","completion":"d","label":true}"#
    );
    let dataset = read_text("a.jsonl", text).unwrap();
    assert!(dataset.notes[0].contains("1 rows are left out because their `label`"));
    let rows = dataset.demonstrations().unwrap();
    assert_eq!((rows.len(), rows[0].id.as_str()), (1, "1"));
    let error = problem(r#"{"prompt":"a","completion":"b","label":false}"#);
    assert!(error.contains("false in all 1 rows"), "{error}");
}

#[test]
fn messages_before_the_answer_may_be_marked_as_not_trained() {
    let row = json!({"messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0}, {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "weight": 1}]});
    let dataset = read_text("a.jsonl", &row.to_string()).unwrap();
    assert!(dataset.notes[0].contains("not trained"), "{:?}", dataset.notes);
    let users = json!({"messages": [{"role": "user", "content": "a", "weight": 0.0},
        {"role": "assistant", "content": "d", "weight": 1.0}]});
    assert!(read_text("a.jsonl", &users.to_string()).unwrap().notes.is_empty());
    let Prompt::Chat(chat) = &dataset.demonstrations().unwrap()[0].prompt else { panic!() };
    assert!(chat.is_plain());
}

#[test]
fn a_file_has_one_layout_and_optional_columns_may_come_later() {
    let first = r#"{"instruction":"a","output":"b","input":null}"#;
    let later = r#"{"instruction":"a","output":"b","input":"c","system":"s"}"#;
    assert_eq!(demonstrations(&format!("{first}\n{later}")).len(), 2);
    let other = r#"{"instruction":"a","output":"b","response":"c"}"#;
    let error = problem(&format!("{first}\n{other}"));
    assert!(error.contains("line 2") && error.contains("`response`"), "{error}");
    let unanswered = format!("{}\n{}", r#"{"prompt":"a"}"#, r#"{"prompt":"a","completion":"b"}"#);
    assert!(problem(&unanswered).contains("`completion`, which is not read in a file of prompts"));
}

#[test]
fn prompts_come_from_every_layout() {
    for row in [
        r#"{"question":"q"}"#,
        r#"{"messages":[{"role":"user","content":"q"}],"answer":"42"}"#,
        r#"{"conversations":[{"from":"human","value":"q"}]}"#,
        r#"{"prompt":[{"role":"user","content":"q"}]}"#,
    ] {
        let dataset = read_text("a.jsonl", row).unwrap();
        assert_eq!(dataset.kind, Kind::Prompts);
        let rows = dataset.prompts();
        assert_eq!(rows[0].prompt, user("q"), "{row}");
        assert_eq!(rows[0].place.as_ref().unwrap().row, Row::Line(1));
    }
}

#[test]
fn completion_ids_are_read_and_checked() {
    let rows = demonstrations(r#"{"prompt":"a","completion":"b","completion_ids":[3,0]}"#);
    assert_eq!(rows[0].completion_ids.as_deref(), Some(&[3, 0][..]));
    assert_eq!(demonstrations(r#"{"prompt":"a","completion":"b"}"#)[0].completion_ids, None);
}

#[test]
fn numbers_that_json_does_not_have_matter_only_where_they_are_read() {
    let fine =
        r#"{"prompt":"a","completion":"b","score":NaN,"big":123456789012345678901234567890}"#;
    assert_eq!(demonstrations(fine).len(), 1);
    for (row, words) in [
        (r#"{"prompt":NaN,"completion":"b"}"#, "NaN, which is not a JSON number in `prompt`"),
        (
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":-Infinity}}}]}]}"#,
            "`messages[1].tool_calls[0].function.arguments.x`",
        ),
        (
            r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"tools":"[{\"n\": 123456789012345678901234567890}]"}"#,
            "the integer 123456789012345678901234",
        ),
    ] {
        let error = problem(row);
        assert!(error.contains("line 1") && error.contains(words), "{error}");
    }
    let error = problem(r#"{"prompt":"a\ud800","completion":"b"}"#);
    assert!(error.contains("line 1") && error.contains("half of a character"), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just(String::new()), "[a-z ]{0,6}", Just("{\"a\"".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        text.prop_map(Value::from),
        Just(json!({"role": "user", "content": "q"})),
        Just(json!({"role": "assistant", "content": "a"})),
        Just(json!({"from": "gpt", "value": "a", "weight": 1})),
        Just(json!({"type": "text", "text": "a"})),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop::sample::select(vec!["role", "content", "from", "value", "tool_calls", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// A column of an accepted row is part of the record, or it is listed.
    #[test]
    fn no_column_is_dropped_silently(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "messages", "conversations", "prompt", "completion", "question", "answer", "response",
                    "instruction", "input", "output", "system", "history", "tools", "chosen", "rejected", "label",
                    "weight", "images", "id", "source", "subset", "meta", "documents", "chat_template_kwargs",
                    "completion_ids", "other", "text",
                ]),
                any_json(),
            ),
            0..6,
        ),
        sound in any::<bool>(),
    ) {
        let mut row: Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if sound {
            row.insert("messages".into(), json!([{"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"}]));
        }
        let text = Value::Object(row.clone()).to_string();
        let Ok(dataset) = read_text("a.jsonl", &text) else { return Ok(()) };
        let listed: Vec<&str> =
            dataset.unread_columns.iter().map(|column| &*column.name).collect();
        let record = format!("{:?}", dataset.records);
        for (name, value) in &row {
            // A number of another width, such as an id, is in the record as text.
            let in_record = match value {
                Value::Null | Value::Bool(_) => true,
                Value::String(_) => listed_or_used(&record, value),
                Value::Number(number) => record.contains(&number.to_string()),
                Value::Array(parts) => parts.is_empty() || listed_or_used(&record, value),
                Value::Object(parts) => parts.is_empty() || listed_or_used(&record, value),
            };
            prop_assert!(listed.contains(&&**name) || in_record, "{name} of {text}\n{record}");
        }
    }
}

/// Whether the texts of a value are in a record.
fn listed_or_used(record: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let shown = format!("{:?}", text.trim());
            ["user", "gpt"].contains(&text.as_str()) || record.contains(&shown[1..shown.len() - 1])
        }
        Value::Array(parts) => parts.iter().all(|part| listed_or_used(record, part)),
        Value::Object(parts) => {
            parts.iter().all(|(name, part)| name == "weight" || listed_or_used(record, part))
        }
        _ => true,
    }
}

#[test]
fn nulls_within_tools_and_calls_of_json_stay_as_they_are_written() {
    // apply_chat_template of Transformers writes them: an optional argument has `"default": null`.
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"default": null}}});
    let call = json!({"function": {"name": "f", "arguments": {"a": null, "b": [null]}}});
    let row = json!({
        "messages": [
            {"role": "user", "content": "a", "name": null},
            {"role": "assistant", "content": null, "tool_calls": [call]}
        ],
        "tools": [tool],
        "chat_template_kwargs": {"mood": null}
    });
    let dataset = read_text("a.jsonl", &row.to_string()).unwrap();
    let Records::Demonstrations(rows) = dataset.records else { unreachable!("demonstrations") };
    let Prompt::Chat(chat) = &rows[0].prompt else { unreachable!("messages") };
    assert_eq!(chat.tools, Some(vec![tool]));
    assert_eq!(chat.chat_template_kwargs["mood"], Value::Null);
    assert!(chat.messages[0].is_plain());
    assert_eq!(rows[0].completion.message().fields()["tool_calls"], json!([call]));
}
