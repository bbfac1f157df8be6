//! Python's `str` and `repr` of a value.

use std::fmt::Write;

use minijinja::value::Value;
use minijinja::{Error, Output, State};

use super::objects::{Range, View};
use super::value::{Type, invalid, items, pairs, type_of};

/// Parts of a list or dict that is written, nested parts included: a list that holds a list twice
/// grows without costing steps.
const MOST_PARTS: usize = 1_000_000;
/// Nesting depth of a list or dict that is written.
const MOST_LEVELS: usize = 128;

/// Counts the parts of a list or dict while it is written.
pub(super) struct Budget {
    parts: usize,
    level: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { parts: MOST_PARTS, level: 0 }
    }

    /// Counts one part and enters it.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        let large = || invalid("a list or mapping is too large or too deep to be written");
        self.parts = self.parts.checked_sub(1).ok_or_else(large)?;
        self.level += 1;
        if self.level > MOST_LEVELS { Err(large()) } else { Ok(()) }
    }

    /// The depth of the part that is being written; 1 for the outermost value.
    pub(super) fn level(&self) -> usize {
        self.level
    }

    pub(super) fn leave(&mut self) {
        self.level -= 1;
    }
}

/// Writes `{{ value }}`.
pub(super) fn write(out: &mut Output, _state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => out.write_str(&text(value)?).map_err(Error::from),
    }
}

/// Python's `str(value)`; an undefined value is empty.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    match type_of(value) {
        Type::Undefined => Ok(String::new()),
        Type::Str => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => repr(value),
    }
}

/// Python's `repr(value)`.
pub(super) fn repr(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write_repr(value, &mut out, &mut Budget::new())?;
    Ok(out)
}

fn write_repr(value: &Value, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
    budget.enter()?;
    match type_of(value) {
        Type::Undefined => out.push_str("Undefined"),
        Type::None => out.push_str("None"),
        Type::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        Type::Int => out.push_str(&value.to_string()),
        Type::Float => out.push_str(&float(f64::try_from(value.clone())?)),
        Type::Str if value.is_safe() => {
            out.push_str("Markup(");
            quote(value.as_str().unwrap_or_default(), out);
            out.push(')');
        }
        Type::Str => quote(value.as_str().unwrap_or_default(), out),
        Type::List => {
            out.push('[');
            write_items(&items(value)?, out, budget)?;
            out.push(']');
        }
        Type::Tuple => {
            let parts = items(value)?;
            out.push('(');
            write_items(&parts, out, budget)?;
            out.push_str(if parts.len() == 1 { ",)" } else { ")" });
        }
        Type::Dict => write_dict(value, out, budget)?,
        Type::View => write_view(value, out, budget)?,
        Type::Range => {
            if let Some(range) = value.downcast_object_ref::<Range>() {
                let (start, stop, step) = (range.start, range.stop, range.step);
                let end = if step == 1 { String::new() } else { format!(", {step}") };
                let _ = write!(out, "range({start}, {stop}{end})");
            }
        }
        other @ (Type::Namespace | Type::OneShot | Type::Callable | Type::Other) => {
            return Err(invalid(format!(
                "a {} has no text of its own to print; print its items or attributes, or make a \
                 list with the filter list",
                other.name()
            )));
        }
    }
    budget.leave();
    Ok(())
}

fn write_items(parts: &[Value], out: &mut String, budget: &mut Budget) -> Result<(), Error> {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_repr(part, out, budget)?;
    }
    Ok(())
}

fn write_dict(value: &Value, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
    out.push('{');
    for (at, (key, part)) in pairs(value)?.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_repr(key, out, budget)?;
        out.push_str(": ");
        write_repr(part, out, budget)?;
    }
    out.push('}');
    Ok(())
}

fn write_view(value: &Value, out: &mut String, budget: &mut Budget) -> Result<(), Error> {
    let mut written = String::new();
    write_items(&items(value)?, &mut written, budget)?;
    if let Some(view) = value.downcast_object_ref::<View>() {
        out.push_str(&view.text(&written));
    }
    Ok(())
}

/// Python's `repr` of a float: the shortest digits that read back, with an exponent from 1e16 and
/// below 1e-4.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// Python's `repr` of a string.
fn quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(character);
            }
            _ if is_printable(character) => out.push(character),
            _ => {
                let code = u32::from(character);
                let _ = match code {
                    0..=0xFF => write!(out, "\\x{code:02x}"),
                    0x100..=0xFFFF => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` of one character.
pub(super) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    // Rust escapes by the same Unicode categories as Python. Within a string it leaves combining
    // characters as they are, except the first.
    let mut within = String::from("a");
    within.push(character);
    within.escape_debug().nth(1) == Some(character)
}
