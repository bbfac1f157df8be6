//! A description's fields over a row: Jinja as lm-evaluation-harness renders it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use regex::Regex;
use serde_json::Map;

use super::error::TaskError;

/// A row of a file: columns by name.
pub type Row = Map<String, serde_json::Value>;

/// Steps that one rendering may cost.
const FUEL: u64 = 5_000_000;

/// Renders the fields of one task.
///
/// As there: an undefined name is an error, a trailing newline is kept, values are written as Python writes them, strings have Python's
/// methods, lists `index`, and there is a filter `regex_replace` (with Rust's expressions).
pub(super) struct Templates {
    environment: Environment<'static>,
    task: String,
}

impl Templates {
    pub fn new(task: &str) -> Result<Self, TaskError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        let failure = |source| TaskError::Template {
            task: task.into(),
            field: "syntax",
            row: None,
            source: Box::new(source),
        };
        environment.set_syntax(syntax.map_err(failure)?);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(write);
        environment.set_unknown_method_callback(method);
        environment.add_filter("regex_replace", regex_replace);
        Ok(Self { environment, task: task.into() })
    }

    /// Refuses a field that does not parse.
    pub fn check(&self, field: &'static str, text: &str) -> Result<(), TaskError> {
        let parsed = match expression(text) {
            Some(expression) => self.environment.compile_expression(expression).map(|_| ()),
            None => self.environment.template_from_str(text).map(|_| ()),
        };
        parsed.map_err(|source| self.failure(field, None, source))
    }

    /// A field as text: the column of that name, or the template over the row.
    pub fn text(
        &self,
        field: &'static str,
        text: &str,
        index: usize,
        row: &Row,
    ) -> Result<String, TaskError> {
        if let Some(serde_json::Value::String(column)) = row.get(text) {
            return Ok(column.clone());
        }
        let column = format!("{{{{ {text} }}}}");
        let template = if row.contains_key(text) { column.as_str() } else { text };
        self.environment
            .template_from_str(template)
            .and_then(|template| template.render(Value::from(Serde(row))))
            .map_err(|source| self.failure(field, Some(index), source))
    }

    /// A field as a value: the column of that name, the expression of `{{ … }}`, or the template's text.
    pub fn value(
        &self,
        field: &'static str,
        text: &str,
        index: usize,
        row: &Row,
    ) -> Result<Value, TaskError> {
        if let Some(column) = row.get(text) {
            return Ok(Value::from(Serde(column)));
        }
        let Some(expression) = expression(text) else {
            return self.text(field, text, index, row).map(Value::from);
        };
        self.environment
            .compile_expression(expression)
            .and_then(|expression| expression.eval(Value::from(Serde(row))))
            .map_err(|source| self.failure(field, Some(index), source))
    }

    fn failure(&self, field: &'static str, row: Option<usize>, source: Error) -> TaskError {
        TaskError::Template { task: self.task.clone(), field, row, source: Box::new(source) }
    }
}

/// What stands between `{{` and `}}` where there is nothing else.
fn expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim())
}

/// `{{ value }}`: Python prints `True`, `False` and `None`.
fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
        }
        ValueKind::None => out.write_str("None").map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Python's methods, and a list's `index`.
fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    if let (ValueKind::Seq, "index", [wanted]) = (value.kind(), name, arguments) {
        let found = value.try_iter()?.position(|item| item == *wanted);
        return found.map(Value::from).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in {value}"))
        });
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

fn regex_replace(text: &str, pattern: &str, with: &str) -> Result<String, Error> {
    let pattern = Regex::new(pattern)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    Ok(pattern.replace_all(text, with).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Row {
        let row = json!({
            "text": "the  Grey fox ", "n": 3, "yes": true, "none": null,
            "choices": {"text": ["é", "b"], "label": ["A", "B"]}, "key": " B",
        });
        row.as_object().unwrap().clone()
    }

    fn text(template: &str) -> String {
        Templates::new("t").unwrap().text("doc_to_text", template, 0, &row()).unwrap()
    }

    fn value(template: &str) -> serde_json::Value {
        let value =
            Templates::new("t").unwrap().value("doc_to_choice", template, 0, &row()).unwrap();
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn a_field_is_a_column_an_expression_or_a_template() {
        assert_eq!(text("text"), "the  Grey fox ");
        assert_eq!(text("n"), "3");
        assert_eq!(text("Q: {{ text }}\n"), "Q: the  Grey fox \n");
        assert_eq!(value("choices"), row()["choices"]);
        assert_eq!(value("{{ choices.text }}"), json!(["é", "b"]));
        assert_eq!(value("{{ n }}{{ n }}"), json!("33"));
    }

    #[test]
    fn python_is_spoken() {
        assert_eq!(text("{{ yes }} {{ none }}"), "True None");
        assert_eq!(value("{{ choices.label.index(key.lstrip()) }}"), json!(1));
        assert_eq!(text("{{ text.split(' ')[:-1] | join(' ') }}|"), "the  Grey fox|");
        assert_eq!(text("{{ 'aB cD'.capitalize() }} {{ text.split(' ')[-1] }}|"), "Ab cd |");
        assert_eq!(value("{{ 'a_b_c'.split('_', 1) }}"), json!(["a", "b_c"]));
        let brackets =
            r#"{{ ["x [a] y", "[b]z"] | map("regex_replace", "\\[.*?\\]", "") | list }}"#;
        assert_eq!(value(brackets), json!(["x  y", "z"]));
    }

    #[test]
    fn what_is_not_there_is_an_error_with_field_and_row() {
        let templates = Templates::new("t").unwrap();
        let error = templates.text("doc_to_text", "{{ what }}", 7, &row()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`doc_to_text`, row 7"), "{text}");
        let missing = "{{ choices.label.index('C') }}";
        let error = templates.value("doc_to_target", missing, 0, &row()).unwrap_err().to_string();
        assert!(error.contains("C is not in"), "{error}");
        assert!(templates.check("doc_to_text", "{{ a").is_err());
        assert!(templates.check("doc_to_text", "{{ a( }}").is_err());
        let endless =
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert!(templates.text("doc_to_text", endless, 0, &row()).is_err());
    }
}
