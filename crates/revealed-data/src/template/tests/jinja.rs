//! Constructs of Jinja2, compared with what Transformers' environment renders
//! (`golden/templates/make.py`).

use minijinja::value::{Serde, Value};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    now: u64,
    context: serde_json::Value,
    unsupported: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    /// The text, or nothing where Jinja2 refuses.
    output: Option<String>,
}

/// What Jinja2 refuses and this project renders. Such a template fails in Transformers, so no model
/// was trained with it.
const LENIENT: &[&str] = &[];

/// A word of the error for each construct that Jinja2 renders and this project refuses.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("encode()", "method encode"),
    ("translate(", "method translate"),
    ("lipsum", "lipsum"),
    ("random", "filter random"),
    ("urlize", "filter urlize"),
    ("striptags", "filter striptags"),
    ("batch(0)", "filter batch"),
    ("pprint", "filter pprint"),
    ("for a, b in ['xy']", "cannot unpack"),
    ("block b", "tag block"),
    ("autoescape", "tag autoescape"),
    ("map('string')", "a generator has no text"),
    ("s.upper", "a function has no text"),
    ("namespace", "a namespace has no text"),
    ("N{EM DASH}", "\\N"),
    ("-2 ** n", "base of **"),
    ("2 ** 1000", "result of **"),
    ("sameas", "test sameas"),
    ("%E", "%E"),
];

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/templates/expected.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn rendered(template: &str, context: &serde_json::Value, now: u64) -> Result<String, String> {
    let told = |error: DataError| error.source().map(ToString::to_string).unwrap_or_default();
    let template = ChatTemplate::new(template, Path::new("t"), BTreeMap::new(), now);
    template.map_err(told)?.render_value(Value::from(Serde(context))).map_err(told)
}

#[test]
fn constructs_of_jinja_render_as_in_transformers() {
    let golden = golden();
    assert!(golden.cases.len() > 300);
    let mut wrong = Vec::new();
    for Case { template, output } in &golden.cases {
        match (rendered(template, &golden.context, golden.now), output) {
            (Ok(text), Some(expected)) if text == *expected => {}
            (Err(error), None) if error.contains("line ") => {}
            (Ok(_), None) if LENIENT.contains(&&**template) => {}
            (rendered, expected) => {
                wrong.push(format!("{template:?}\n  here   {rendered:?}\n  jinja2 {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn unsupported_constructs_are_refused_by_name_and_line() {
    let golden = golden();
    assert_eq!(golden.unsupported.len(), UNSUPPORTED.len());
    for (template, (construct, word)) in golden.unsupported.iter().zip(UNSUPPORTED) {
        assert!(template.contains(construct), "{template} is not the template of {construct}");
        let error = rendered(&format!("a\n\n{template}"), &golden.context, golden.now).unwrap_err();
        assert!(error.contains(word) && error.contains("line 3"), "{template}: {error}");
    }
}
