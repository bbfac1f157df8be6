//! A description's fields over a row: Jinja as lm-evaluation-harness renders it.

use std::collections::HashSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use regex::Regex;
use revealed_data::{Columns, type_name};

use super::error::{FieldAt, TaskError};
use super::rows::TaskRow;

/// Most steps of one rendering.
const FUEL: u64 = 5_000_000;
/// Words of templates that handle missing columns.
const ASKING: [&str; 6] = ["if", "or", "default", "defined", "none", "None"];
/// Characters of a value that messages show.
const SHOWN: usize = 60;

/// A field of a description: a column's name, an expression, or a template.
pub(super) struct Field {
    name: &'static str,
    text: String,
    /// The columns that it reads.
    reads: Vec<String>,
    /// Whether it asks for what may be missing, so that a row need not have all of them.
    asks: bool,
}

impl Field {
    /// A field with one value for all rows.
    pub fn fixed(name: &'static str, text: String) -> Self {
        Self { name, text, reads: Vec::new(), asks: false }
    }
}

/// Renders the fields of one task.
///
/// As in lm-evaluation-harness, an undefined name is an error, a trailing newline is kept, values are written as Python writes them, strings have Python's
/// methods, lists `index`, and there is a filter `regex_replace` (with Rust's expressions). Unlike there, a null is an error, where
/// Python would write `None`, and a single word is always the name of a column.
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

    /// Parses a field; a single word is the name of a column.
    pub fn field(&self, name: &'static str, text: &str) -> Result<Field, TaskError> {
        let mut field = self.text_or_field(name, text)?;
        if is_name(text) {
            field.reads = vec![text.into()];
        }
        Ok(field)
    }

    /// Parses a field; a single word is literal text unless a column has that name.
    pub fn text_or_field(&self, name: &'static str, text: &str) -> Result<Field, TaskError> {
        let parsed = match expression(text) {
            Some(inner) => {
                self.environment.compile_expression(inner).map(|e| e.undeclared_variables(false))
            }
            None => self.environment.template_from_str(text).map(|t| t.undeclared_variables(false)),
        };
        let found = parsed.map_err(|source| TaskError::Template {
            task: self.task.clone(),
            field: name,
            source: Box::new(source),
        })?;
        let own: HashSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let mut reads: Vec<String> =
            found.into_iter().filter(|name| !own.contains(name.as_str())).collect();
        reads.sort_unstable();
        Ok(Field { name, text: text.into(), reads, asks: asks(text) })
    }

    /// A field as text: the column of that name, or the template over the row.
    pub fn text(&self, field: &Field, row: &TaskRow) -> Result<String, TaskError> {
        self.all_there(field, row)?;
        let text = field.text.as_str();
        if let Some(serde_json::Value::String(column)) = row.columns.get(text) {
            return Ok(column.clone());
        }
        let column = format!("{{{{ {text} }}}}");
        let template = if row.columns.contains_key(text) { column.as_str() } else { text };
        self.environment
            .template_from_str(template)
            .and_then(|template| template.render(Value::from(Serde(&row.columns))))
            .map_err(|source| self.failure(field, row, source))
    }

    /// A field as a value: the column of that name, the expression of `{{ … }}`, or the template's text.
    pub fn value(&self, field: &Field, row: &TaskRow) -> Result<Value, TaskError> {
        self.all_there(field, row)?;
        if let Some(column) = row.columns.get(&field.text) {
            return Ok(Value::from(Serde(column)));
        }
        let Some(expression) = expression(&field.text) else {
            return self.text(field, row).map(Value::from);
        };
        self.environment
            .compile_expression(expression)
            .and_then(|expression| expression.eval(Value::from(Serde(&row.columns))))
            .map_err(|source| self.failure(field, row, source))
    }

    /// What a field gives and should not.
    pub fn wrong(
        &self,
        field: &Field,
        row: &TaskRow,
        found: String,
        expected: &'static str,
    ) -> TaskError {
        let found = if found.is_empty() { "nothing".into() } else { found };
        TaskError::Row { at: self.at(field, row), found, expected }
    }

    /// Refuses a row without what a field reads.
    fn all_there(&self, field: &Field, row: &TaskRow) -> Result<(), TaskError> {
        let lack = |name: &String| match row.columns.get(name) {
            None => Some(format!("`{name}` (missing)")),
            Some(serde_json::Value::Null) => Some(format!("`{name}` (null)")),
            Some(_) => None,
        };
        let lacks: Vec<String> = field.reads.iter().filter_map(lack).collect();
        if lacks.is_empty() || field.asks {
            return Ok(());
        }
        let found = Columns(row.columns.keys().cloned().collect());
        Err(TaskError::Absent { at: self.at(field, row), lacks: lacks.join(", "), found })
    }

    fn failure(&self, field: &Field, row: &TaskRow, source: Error) -> TaskError {
        TaskError::Render { at: self.at(field, row), source: Box::new(source) }
    }

    fn at(&self, field: &Field, row: &TaskRow) -> Box<FieldAt> {
        let read = |name: &String| Some(format!("`{name}` is {}", shown(row.columns.get(name)?)));
        Box::new(FieldAt {
            place: row.place.clone(),
            task: self.task.clone(),
            field: field.name,
            text: field.text.clone(),
            read: field.reads.iter().filter_map(read).collect::<Vec<_>>().join(", "),
        })
    }
}

/// A value as messages show it; whether 1 is a number or a text matters to templates.
fn shown(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    match value {
        serde_json::Value::Number(_) => format!("{cut} ({})", type_name(value)),
        _ => format!("{cut}{more}"),
    }
}

/// Whether a field is one word, which only a column can be meant by.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether a template's own code has one of the words with which it asks for what may be missing.
fn asks(text: &str) -> bool {
    let code = |open, close| {
        text.split(open).skip(1).filter_map(move |rest: &str| rest.split(close).next())
    };
    code("{{", "}}")
        .chain(code("{%", "%}"))
        .flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .any(|word| ASKING.contains(&word))
}

/// The text between `{{` and `}}`, if the field has nothing else.
fn expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim())
}

/// `{{ value }}`: Python prints `True` and `False`; its `None` is what a value that is missing would be asked as.
fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
        }
        ValueKind::None => Err(Error::new(ErrorKind::InvalidOperation, "a value is null")),
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

    use super::super::rows::made_up;
    use super::*;

    fn row() -> TaskRow {
        let row = json!({
            "text": "the  Grey fox ", "n": 3, "yes": true, "gone": null,
            "choices": {"text": ["é", "b"], "label": ["A", "B"]}, "key": " B",
        });
        made_up([row]).remove(0)
    }

    fn rendered(template: &str) -> Result<String, TaskError> {
        let templates = Templates::new("t").unwrap();
        templates.text(&templates.field("doc_to_text", template)?, &row())
    }

    fn text(template: &str) -> String {
        rendered(template).unwrap()
    }

    fn evaluated(template: &str) -> Result<serde_json::Value, TaskError> {
        let templates = Templates::new("t").unwrap();
        let value = templates.value(&templates.field("doc_to_choice", template)?, &row())?;
        Ok(serde_json::to_value(value).unwrap())
    }

    fn value(template: &str) -> serde_json::Value {
        evaluated(template).unwrap()
    }

    #[test]
    fn a_field_is_a_column_an_expression_or_a_template() {
        assert_eq!(text("text"), "the  Grey fox ");
        assert_eq!(text("n"), "3");
        assert_eq!(text("Q: {{ text }}\n"), "Q: the  Grey fox \n");
        assert_eq!(value("choices"), row().columns["choices"]);
        assert_eq!(value("{{ choices.text }}"), json!(["é", "b"]));
        assert_eq!(value("{{ n }}{{ n }}"), json!("33"));
    }

    #[test]
    fn python_is_spoken() {
        assert_eq!(text("{{ yes }} {{ n }}"), "True 3");
        assert_eq!(value("{{ choices.label.index(key.lstrip()) }}"), json!(1));
        assert_eq!(text("{{ text.split(' ')[:-1] | join(' ') }}|"), "the  Grey fox|");
        assert_eq!(text("{{ 'aB cD'.capitalize() }} {{ text.split(' ')[-1] }}|"), "Ab cd |");
        assert_eq!(value("{{ 'a_b_c'.split('_', 1) }}"), json!(["a", "b_c"]));
        let brackets =
            r#"{{ ["x [a] y", "[b]z"] | map("regex_replace", "\\[.*?\\]", "") | list }}"#;
        assert_eq!(value(brackets), json!(["x  y", "z"]));
    }

    #[test]
    fn what_cannot_be_worked_out_names_place_field_and_what_it_read() {
        let error = evaluated("{{ choices.label.index(key) }}").unwrap_err().to_string();
        for part in [
            "rows.jsonl: line 1: task `t`, `doc_to_choice` = \"{{ choices.label.index(key) }}\"",
            "`choices` is {",
            "`key` is \" B\"",
            " B is not in",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(rendered("{{ a").is_err());
        assert!(rendered("{{ a( }}").is_err());
        let endless =
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert!(rendered(endless).is_err());
    }

    #[test]
    fn a_column_that_is_missing_or_null_is_an_error_unless_the_template_asks() {
        for (template, lacks) in [
            ("{{ what }}", "`what` (missing)"),
            ("what", "`what` (missing)"),
            ("gone", "`gone` (null)"),
            ("{{ text }}: {{ gone }}", "`gone` (null)"),
            ("{{ [text ~ gone, what] }}", "`gone` (null), `what` (missing)"),
        ] {
            for error in [rendered(template).unwrap_err(), evaluated(template).unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(lacks) && error.contains("text, n, yes"), "{error}");
            }
        }
        assert_eq!(text("{% if gone %}{{ gone }}: {% endif %}{{ text }}"), text("text"));
        assert_eq!(text("{{ what | default('-') }}"), "-");
        // Asked for, and written all the same.
        assert!(rendered("{{ gone if yes else n }}").unwrap_err().to_string().contains("null"));
        let templates = Templates::new("t").unwrap();
        let plain = templates.text_or_field("description", "Hello").unwrap();
        assert_eq!(templates.text(&plain, &row()).unwrap(), "Hello");
    }

    #[test]
    fn a_number_is_told_from_a_text_of_the_same_digits() {
        assert_eq!((shown(&json!(1)), shown(&json!("1"))), ("1 (a number)".into(), "\"1\"".into()));
        assert!(shown(&json!("é".repeat(100))).ends_with("é…"));
    }
}
