use std::error::Error as _;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    rendered: Vec<Rendered>,
    generation: Generation,
}

#[derive(Deserialize)]
struct Rendered {
    template: String,
    messages: Conversation,
    text: String,
}

#[derive(Deserialize)]
struct Generation {
    template: String,
    rows: Vec<Generated>,
}

#[derive(Deserialize)]
struct Generated {
    messages: Conversation,
    text: String,
    generated: Vec<String>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data/expected.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn template(text: &str) -> Result<ChatTemplate, DataError> {
    let variables = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ChatTemplate::new(text, Path::new("here.jinja"), variables, 1_709_210_096)
}

fn turn(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn templates_render_as_in_transformers() {
    for row in golden().rendered {
        let template = template(&row.template).unwrap();
        let text = template.render(&row.messages, GenerationPrompt::Add).unwrap();
        assert_eq!(text, row.text, "{}", row.template);
    }
}

#[test]
fn generation_tags_mark_what_transformers_marks() {
    let golden = golden().generation;
    let template = template(&golden.template).unwrap();
    for row in golden.rows {
        let (text, spans) =
            template.render_with_generation(&row.messages, GenerationPrompt::Omit).unwrap();
        assert_eq!(text, row.text);
        assert_eq!(template.render(&row.messages, GenerationPrompt::Omit).unwrap(), row.text);
        let generated: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
        assert_eq!(generated, row.generated);
    }
}

#[test]
fn generation_tags_keep_their_whitespace_control() {
    let text = "{%- generation -%} {{ a }} {%+ endgeneration %}{% set generation = 1 %}";
    assert_eq!(
        translate::translate(text).unwrap().text,
        "{%- call __generation__() -%} {{ a }} {%+ endcall %}{% set generation = 1 %}"
    );
}

#[test]
fn a_template_can_refuse_a_conversation_and_its_words_are_in_the_error() {
    let template = template("a\n{{ raise_exception('roles must alternate') }}").unwrap();
    let error =
        template.render(&vec![turn("user", "x")].into(), GenerationPrompt::Add).unwrap_err();
    assert!(error.to_string().contains("here.jinja"));
    assert!(error.source().unwrap().to_string().contains("roles must alternate"));
}

#[test]
fn the_date_is_that_of_the_template() {
    let template = template("{{ strftime_now('%d %b %Y') }}").unwrap();
    assert_eq!(
        template.render(&Conversation::default(), GenerationPrompt::Omit).unwrap(),
        "29 Feb 2024"
    );
}

#[test]
fn endless_templates_end_in_an_error() {
    for text in [
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        "{% set n = namespace(x='xxxxxxxx') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}\
         {% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ] {
        assert!(
            template(text)
                .unwrap()
                .render(&Conversation::default(), GenerationPrompt::Add)
                .is_err(),
            "{text}"
        );
    }
}

#[test]
fn reserved_characters_are_refused_only_where_spans_are_asked_for() {
    let template =
        template("{% generation %}{{ messages[0].content }}{% endgeneration %}").unwrap();
    let messages = vec![turn("user", "\u{FDD0}")].into();
    assert_eq!(template.render(&messages, GenerationPrompt::Add).unwrap(), "\u{FDD0}");
    let error = template.render_with_generation(&messages, GenerationPrompt::Add).unwrap_err();
    assert!(error.to_string().contains("U+FDD0"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn arbitrary_template_text_never_panics(text in "\\PC{0,60}") {
        let _ = template(&text).map(|t| t.render(&vec![turn("user", "x")].into(), GenerationPrompt::Add));
    }

    #[test]
    fn pieces_of_templates_never_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        "{% ", " %}", "{{ ", " }}", "{%-", "-%}", "{#", "#}", "generation", "endgeneration", "call ",
        "for m in messages", "endfor", "if ", "else", "endif", "set x = ", "m.content", "messages[0]",
        "[::-1]", "[-9:3]", " + ", " * 99", " ~ ", "'a'", "\"", "(", ")", "|tojson", "|trim", ".split('')",
        "[5:2:0]", "strftime_now('%')", "range(9)", "macro f(x)", "endmacro", "1", "0", " / ", " % ", " - ",
        "\n", "é", ".strip()", " in ", " is none", "raw", "endraw", "|format(1)", "'%9999999999d'",
        " if ", " not ", " is ", "none", "loop(", "loop.cycle(", ".format(", "'{:>9}{}'", "|indent(", "|map('upper')",
        "|round(", "|batch(", "|slice(", "|sort", "|tojson(indent=", "**", "//", "~", "]", "{'a': ", "}", "call f(x)", "endcall",
        "macro f(x, y=x)", "varargs", "set ns.x = ", "namespace()", ".items()", ".items", "['items']", "|wordwrap(", "|truncate(",
        "print ", "with a = 1, b = a", "endwith", "filter upper", "endfilter", "'\\x4", "\r\n", "elif ", "break", "m.content.split(", ")",
    ]), 0..14)) {
        let _ = template(&pieces.concat()).map(|t| {
            t.render_with_generation(&vec![turn("user", "x")].into(), GenerationPrompt::Add)
        });
    }
}

#[test]
fn lists_in_lists_that_cost_no_steps_are_an_error_and_not_the_end() {
    let refused = |text: &str| {
        let template = ChatTemplate::new(text, Path::new("t"), BTreeMap::new(), 0).unwrap();
        template.render(&Conversation::default(), GenerationPrompt::Omit).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.unwrap_or_default()
        })
    };
    let twice = "{% set ns = namespace(l=['x']) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
    for written in ["{{ ns.l }}", "{{ ns.l | tojson }}"] {
        let cause = refused(&format!("{twice}{written}")).unwrap_err();
        assert!(cause.contains("too large or too deep"), "{cause}");
    }
    let deep = "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% for j in range(400) %}{% set ns.l = [ns.l] %}{% endfor %}{% endfor %}";
    assert_eq!(refused(&format!("{deep}done")).unwrap(), "done");
    assert!(refused(&format!("{deep}{{{{ ns.l }}}}")).unwrap_err().contains("too deep"));
    let long = refused("{{ strftime_now('%Y' * 1000) }}").unwrap_err();
    assert!(long.contains("1000 letters at most"), "{long}");
}

mod jinja;
mod real;
