//! Jinja2's tests: what may follow `is`.

use minijinja::value::Value;
use minijinja::{Error, State};

use super::args::Arguments;
use super::characters::is_case;
use super::operators::{contains, hashable, modulo, ordered};
use super::printing::text;
use super::value::{Type, as_integer, invalid, type_of};

/// The names of all tests.
pub(super) const NAMES: &[&str] = &[
    "odd",
    "even",
    "divisibleby",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "sameas",
    "escaped",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
];

/// Whether `args[0] is name(args[1..])`.
pub(super) fn holds(state: &State, name: &str, args: &[Value]) -> Result<bool, Error> {
    let count = match name {
        "divisibleby" | "sameas" | "in" | "==" | "eq" | "equalto" | "!=" | "ne" | ">" | "gt"
        | "greaterthan" | "ge" | ">=" | "<" | "lt" | "lessthan" | "<=" | "le" => 2,
        _ => 1,
    };
    let args = Arguments::bind(args, &["value", "other"][..count])?;
    let value = args.required(0)?;
    if count == 1 {
        return one(name, value);
    }
    let other = args.required(1)?;
    match name {
        "divisibleby" => Ok(modulo(value, other)? == Value::from(0)),
        "in" => contains(state, other, value),
        "==" | "eq" | "equalto" => Ok(value == other),
        "!=" | "ne" => Ok(value != other),
        ">" | "gt" | "greaterthan" => ordered(">", value, other),
        ">=" | "ge" => ordered(">=", value, other),
        "<" | "lt" | "lessthan" => ordered("<", value, other),
        "<=" | "le" => ordered("<=", value, other),
        _ => same(value, other),
    }
}

fn one(name: &str, value: &Value) -> Result<bool, Error> {
    let kind = type_of(value);
    if matches!(name, "filter" | "test") {
        hashable(value)?;
    }
    Ok(match name {
        "odd" => modulo(value, &Value::from(2))? == Value::from(1),
        "even" => modulo(value, &Value::from(2))? == Value::from(0),
        "defined" => kind != Type::Undefined,
        "undefined" => kind == Type::Undefined,
        "filter" => value.as_str().is_some_and(|name| super::environment::FILTERS.contains(&name)),
        "test" => value.as_str().is_some_and(|name| NAMES.contains(&name)),
        "none" => kind == Type::None,
        "boolean" => kind == Type::Bool,
        "false" => kind == Type::Bool && !value.is_true(),
        "true" => kind == Type::Bool && value.is_true(),
        "integer" => kind == Type::Int,
        "float" => kind == Type::Float,
        "lower" => is_case(&text(value)?, false),
        "upper" => is_case(&text(value)?, true),
        "string" => kind == Type::Str,
        "mapping" => kind == Type::Dict,
        "number" => kind.is_number(),
        "sequence" => kind.is_sequence_like() || kind == Type::Undefined,
        "iterable" => {
            kind.is_sequence_like() || matches!(kind, Type::Undefined | Type::View | Type::OneShot)
        }
        "callable" => matches!(kind, Type::Callable | Type::Undefined),
        _ => value.is_safe(),
    })
}

/// Python's `is`. Of long strings, large numbers and floats it depends on how Python stores them,
/// so these are refused where the answer is not plain.
fn same(value: &Value, other: &Value) -> Result<bool, Error> {
    let (a, b) = (type_of(value), type_of(other));
    if a != b || value != other {
        return Ok(false);
    }
    let small = || as_integer(value).is_some_and(|number| (-5..=256).contains(&number));
    match a {
        Type::None | Type::Bool => Ok(true),
        Type::Int if small() => Ok(true),
        Type::Str if value.as_str().is_some_and(|text| text.chars().count() < 2) => Ok(true),
        Type::Undefined | Type::Int | Type::Float | Type::Str => Err(invalid(
            "sameas compares the identity of objects, which is not known of equal strings and \
             numbers; use ==",
        )),
        _ => Ok(minijinja::tests::is_sameas(value, other)),
    }
}
