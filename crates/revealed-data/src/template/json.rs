//! The filter `tojson` of Transformers: Python's `json.dumps`, with nothing escaped for HTML.

use std::fmt::Write;

use minijinja::Error;
use minijinja::value::Value;

use super::args::Arguments;
use super::operators::sorted;
use super::printing::{Budget, float};
use super::value::{Type, as_integer, invalid, items, pairs, type_of};

/// Spaces of one level of indentation that a template may ask for.
const WIDEST_INDENT: i128 = 1000;

struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
}

/// `value | tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn tojson(args: &[Value]) -> Result<Value, Error> {
    let names = ["value", "ensure_ascii", "indent", "separators", "sort_keys"];
    let args = Arguments::bind(args, &names)?;
    let indent = match args.get(2).filter(|indent| !indent.is_none()) {
        Some(indent) => Some(indentation(indent)?),
        None => None,
    };
    let (item, key) = match args.get(3).filter(|pair| !pair.is_none()) {
        Some(pair) => separators(pair)?,
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let style = Style { ascii: args.truth(1), indent, item, key, sort: args.truth(4) };
    let mut out = String::new();
    style.write(args.required(0)?, &mut out, &mut Budget::new())?;
    Ok(Value::from(out))
}

fn indentation(indent: &Value) -> Result<String, Error> {
    match (indent.as_str(), as_integer(indent)) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(width)) if width <= WIDEST_INDENT => {
            Ok(" ".repeat(usize::try_from(width).unwrap_or(0)))
        }
        _ => Err(invalid(format!("tojson: indent must be a number of spaces, not {indent:?}"))),
    }
}

fn separators(pair: &Value) -> Result<(String, String), Error> {
    match &items(pair)?[..] {
        [item, key] => match (item.as_str(), key.as_str()) {
            (Some(item), Some(key)) => Ok((item.to_owned(), key.to_owned())),
            _ => Err(invalid("tojson: separators must be two strings")),
        },
        _ => Err(invalid("tojson: separators must be two strings")),
    }
}

impl Style {
    fn write(&self, value: &Value, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
        budget.enter()?;
        match type_of(value) {
            Type::None => out.push_str("null"),
            Type::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            Type::Int => out.push_str(&value.to_string()),
            Type::Float => out.push_str(&json_float(f64::try_from(value.clone())?)),
            Type::Str => self.string(value.as_str().unwrap_or_default(), out),
            Type::List | Type::Tuple => self.list(&items(value)?, out, budget)?,
            Type::Dict => self.dict(value, out, budget)?,
            other => {
                let message = format!("tojson: an object of type {} is not JSON", other.name());
                return Err(invalid(message));
            }
        }
        budget.leave();
        Ok(())
    }

    fn list(&self, parts: &[Value], out: &mut String, budget: &mut Budget) -> Result<(), Error> {
        out.push('[');
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(out, budget.level());
            self.write(part, out, budget)?;
        }
        if !parts.is_empty() {
            self.line(out, budget.level() - 1);
        }
        out.push(']');
        Ok(())
    }

    fn dict(&self, value: &Value, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
        let mut parts = pairs(value)?;
        if self.sort {
            parts = sorted(parts, |(key, _)| Ok(key.clone()), false)?;
        }
        out.push('{');
        for (at, (key, part)) in parts.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(out, budget.level());
            self.string(&key_text(key)?, out);
            out.push_str(&self.key);
            self.write(part, out, budget)?;
        }
        if !parts.is_empty() {
            self.line(out, budget.level() - 1);
        }
        out.push('}');
        Ok(())
    }

    /// Begins a line, where the text is indented.
    fn line(&self, out: &mut String, level: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(level));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\0'..='\u{1f}' => push_code(out, u16::from(character as u8)),
                '\u{7f}'.. if self.ascii => {
                    character.encode_utf16(&mut [0; 2]).iter().for_each(|&c| push_code(out, c));
                }
                _ => out.push(character),
            }
        }
        out.push('"');
    }
}

fn push_code(out: &mut String, code: u16) {
    let _ = write!(out, "\\u{code:04x}");
}

fn json_float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float(number)
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match type_of(key) {
        Type::Str => Ok(key.as_str().unwrap_or_default().to_owned()),
        Type::None => Ok("null".to_owned()),
        Type::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        Type::Int => Ok(key.to_string()),
        Type::Float => Ok(json_float(f64::try_from(key.clone())?)),
        other => {
            let name = other.name();
            Err(invalid(format!("tojson: keys must be strings or numbers, not {name}")))
        }
    }
}
