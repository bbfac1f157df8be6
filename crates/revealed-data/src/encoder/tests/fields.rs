//! What a template does not write is refused where it changes what is learned, and listed otherwise.

use super::*;
use crate::Conversation;

/// Writes tools, calls and reasoning of the last answer; ignores `name` and earlier reasoning.
const TOOLS: &str = "{{ bos_token }}{% if tools %}tools {{ tools | tojson }}\n{% endif %}\
    {% for m in messages %}[{{ m.role }}]:{% if m.reasoning_content and loop.last %}({{ m.reasoning_content }}){% endif %}\
    {{ m.content or '' }}{% for call in m.tool_calls or [] %}call {{ call.function.name }}{% endfor %}\
    {% if m.role == 'assistant' %}{{ eos_token }}\n{% else %}\n{% endif %}{% endfor %}\
    {% if add_generation_prompt %}[assistant]:{% endif %}{{ '!' if loud }}";

fn message(fields: Value) -> Message {
    serde_json::from_value(fields).unwrap()
}

fn call() -> Value {
    json!([{"type": "function", "function": {"name": "abc", "arguments": {}}}])
}

fn encode(
    template: &str,
    chat: Conversation,
    answer: Value,
) -> Result<(Encoded, Vec<String>, String), DataError> {
    let encoder =
        encoder(&[("chat_template.jinja", template.into())], EncodeOptions::default()).unwrap();
    let completion = Completion::from_message(message(answer));
    let (row, noted) = encoder.encode_noting(&Prompt::Chat(chat), &completion)?;
    let text = encoder.completion_text(&[], &row.input_ids[row.completion_start..]);
    Ok((row, noted.unwritten, text))
}

fn ask() -> Conversation {
    vec![Message::new("user", "a b c a b")].into()
}

#[test]
fn calls_and_reasoning_of_an_answer_are_learned() {
    let answer = json!({"role": "assistant", "content": null, "tool_calls": call()});
    let (row, unwritten, text) = encode(TOOLS, ask(), answer).unwrap();
    assert!(row.terminated && unwritten.is_empty());
    assert_eq!(text.trim(), "call abc");
    let answer = json!({"role": "assistant", "content": "b", "reasoning_content": "a c"});
    assert_eq!(encode(TOOLS, ask(), answer).unwrap().2.trim(), "(a c)b");
}

#[test]
fn reasoning_is_read_under_each_of_its_names() {
    // Transformers 5.23 gives a template the first of them as `reasoning_content` and `thinking`.
    for fields in [
        json!({"role": "assistant", "content": "b", "thinking": "a c"}),
        json!({"role": "assistant", "content": "b", "reasoning": "a c"}),
        json!({"role": "assistant", "content": "b", "thinking": "a c", "reasoning": "a c"}),
    ] {
        assert_eq!(encode(TOOLS, ask(), fields).unwrap().2.trim(), "(a c)b");
    }
    let thinking = TOOLS.replace("reasoning_content", "thinking");
    let answer = json!({"role": "assistant", "content": "b", "reasoning": "a c"});
    assert_eq!(encode(&thinking, ask(), answer).unwrap().2.trim(), "(a c)b");
    let two = json!({"role": "assistant", "content": "b", "thinking": "a", "reasoning": "c"});
    let error = encode(TOOLS, ask(), two).unwrap_err().to_string();
    assert!(error.contains("`reasoning` next to a different `thinking`"), "{error}");
}

#[test]
fn what_an_answer_loses_is_refused_by_name() {
    for (field, answer) in [
        ("tool_calls", json!({"role": "assistant", "content": "b", "tool_calls": call()})),
        (
            "reasoning_content",
            json!({"role": "assistant", "content": "b", "reasoning_content": "a"}),
        ),
        ("thinking", json!({"role": "assistant", "content": "b", "thinking": "a"})),
    ] {
        let error = encode(CHAT, ask(), answer).unwrap_err();
        assert!(matches!(error, DataError::NotWritten { .. }), "{error}");
        assert!(error.to_string().contains(&format!("`{field}` of the answer")), "{error}");
    }
    // Empty fields hold nothing that could be lost.
    let empty = json!({"role": "assistant", "content": "b", "tool_calls": [], "thinking": " "});
    assert!(encode(CHAT, ask(), empty).unwrap().1.is_empty());
}

#[test]
fn tools_documents_and_earlier_calls_need_a_template_that_takes_them() {
    let answer = || json!({"role": "assistant", "content": "b"});
    let tools = Conversation { tools: Some(vec![json!({"name": "f"})]), ..ask() };
    assert!(encode(TOOLS, tools.clone(), answer()).is_ok());
    let error = encode(CHAT, tools, answer()).unwrap_err().to_string();
    assert!(error.contains("`tools`"), "{error}");
    let documents = Conversation { documents: Some(vec![json!({"text": "d"})]), ..ask() };
    let none = Conversation { documents: Some(Vec::new()), ..ask() };
    assert!(encode(CHAT, none, answer()).is_ok());
    let error = encode(TOOLS, documents, answer()).unwrap_err().to_string();
    assert!(error.contains("`documents`"), "{error}");
    let mut called = ask();
    called
        .messages
        .push(message(json!({"role": "assistant", "content": "", "tool_calls": call()})));
    called.messages.push(message(json!({"role": "tool", "content": "c", "name": "abc"})));
    let (_, unwritten, _) = encode(TOOLS, called.clone(), answer()).unwrap();
    assert_eq!(unwritten, ["name of a message"]);
    let error = encode(CHAT, called, answer()).unwrap_err().to_string();
    assert!(error.contains("`tool_calls` of an earlier message"), "{error}");
}

#[test]
fn variables_and_marks_that_change_nothing_are_listed() {
    let mut chat = ask();
    chat.messages.insert(0, message(json!({"role": "user", "content": "b", "id": 3})));
    chat.messages
        .insert(1, message(json!({"role": "assistant", "content": "c", "reasoning_content": "a"})));
    chat.chat_template_kwargs.insert("quiet".to_owned(), true.into());
    let answer = json!({"role": "assistant", "content": "b", "score": 0.5});
    let (_, unwritten, _) = encode(TOOLS, chat.clone(), answer.clone()).unwrap();
    assert_eq!(
        unwritten,
        [
            "chat_template_kwargs.quiet",
            "id of a message",
            "reasoning_content of a message",
            "score of the answer"
        ]
    );
    chat.chat_template_kwargs.insert("loud".to_owned(), true.into());
    // A variable that the template reads changes the text.
    let error = encode(TOOLS, chat, answer).unwrap_err();
    assert!(matches!(error, DataError::UnstablePrefix { .. }), "{error}");
}

#[test]
fn a_message_that_the_template_leaves_out_is_refused() {
    let skips =
        CHAT.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}");
    let mut chat = ask();
    chat.messages.insert(0, Message::new("system", "b c"));
    let answer = json!({"role": "assistant", "content": "b"});
    assert!(encode(CHAT, chat.clone(), answer.clone()).is_ok());
    let error = encode(&skips, chat, answer.clone()).unwrap_err().to_string();
    assert!(error.contains("the content of message 1 (system)"), "{error}");
    // Its text is in another message too.
    let mut chat = ask();
    chat.messages.insert(0, Message::new("system", "a b c a b"));
    assert!(encode(CHAT, chat.clone(), answer.clone()).is_ok());
    let error = encode(&skips, chat, answer).unwrap_err().to_string();
    assert!(error.contains("the content of message 1 (system)"), "{error}");
}

#[test]
fn content_in_parts_needs_a_template_that_reads_parts() {
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let chat: Conversation = vec![message(json!({"role": "user", "content": parts}))].into();
    let answer = json!({"role": "assistant", "content": "b"});
    let error = encode(CHAT, chat.clone(), answer.clone()).unwrap_err();
    assert!(matches!(error, DataError::PartsNotTaken { .. }), "{error}");
    // A template that writes an empty text for a list drops it without a word.
    let drops = CHAT.replace("{{ m.content }}", "{{ m.content if m.content is string else '' }}");
    let error = encode(&drops, chat.clone(), answer.clone()).unwrap_err();
    assert!(matches!(error, DataError::PartsNotTaken { .. }), "{error}");
    let reads = CHAT.replace(
        "{{ m.content }}",
        "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}\
         {{ part.text }}{% endfor %}{% endif %}",
    );
    let plain = encode(&reads, vec![Message::new("user", "ab")].into(), answer.clone()).unwrap();
    assert_eq!(encode(&reads, chat, answer).unwrap(), plain);
}

#[test]
fn without_a_template_only_text_is_taken() {
    let answer = message(json!({"role": "assistant", "content": "b", "tool_calls": call()}));
    let error = plain().encode(&text("a"), &Completion::from_message(answer)).unwrap_err();
    assert!(error.to_string().contains("tool_calls"), "{error}");
    let tools = Conversation { tools: Some(vec![json!({})]), ..ask() };
    let error = plain().prompt(&Prompt::Chat(tools)).unwrap_err().to_string();
    assert!(error.contains("tools"), "{error}");
}

#[test]
fn tools_choose_the_template_that_is_named_for_them() {
    let templates =
        json!([{"name": "default", "template": CHAT}, {"name": "tool_use", "template": TOOLS}]);
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": templates});
    let encoder = encoder(&[("tokenizer_config.json", config)], EncodeOptions::default()).unwrap();
    let tools = Conversation { tools: Some(vec![json!({"name": "f"})]), ..ask() };
    let length = |chat| encoder.prompt(&Prompt::Chat(chat)).unwrap().len();
    assert!(length(tools) > length(ask()) + 10);
    let folder = folder(&[]);
    let again = Encoder::from_recipe(folder.path(), encoder.recipe()).unwrap();
    assert_eq!(again.recipe(), encoder.recipe());
    assert!(encoder.recipe().tool_template.is_some());
    let alone = json!([{"name": "tool_use", "template": TOOLS}]);
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": alone});
    let encoder = super::encoder(&[("tokenizer_config.json", config)], EncodeOptions::default());
    let error = encoder.unwrap().prompt(&Prompt::Chat(ask())).unwrap_err().to_string();
    assert!(error.contains("\"default\""), "{error}");
}
