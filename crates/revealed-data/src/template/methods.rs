//! Python's methods of strings, dicts, lists and tuples.

use minijinja::value::{Tuple, Value};
use minijinja::{Error, ErrorKind, State};

use super::args::{Arguments, split};
use super::objects::{Shown, View};
use super::operators;
use super::strings;
use super::value::{Type, get_attribute, get_item, invalid, items, pairs, type_of};

const DICT: &[&str] = &["get", "items", "keys", "values", "copy"];
/// Methods that change a list or dict, which the sandbox of Transformers refuses, and `fromkeys`.
const DICT_REFUSED: &[&str] = &["clear", "fromkeys", "pop", "popitem", "setdefault", "update"];
const LIST: &[&str] = &["count", "index", "copy"];
const LIST_REFUSED: &[&str] =
    &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
/// Methods that escape their arguments where the text is marked as safe.
const SAFE_REFUSED: &[&str] = &["format", "format_map", "join", "replace"];
const TUPLE: &[&str] = &["count", "index"];

/// Whether Python's type has the attribute `name`, be it refused here or not.
pub(super) fn exists(kind: Type, name: &str) -> bool {
    let lists: &[&[&str]] = match kind {
        Type::Str => &[strings::NAMES, strings::REFUSED],
        Type::Dict => &[DICT, DICT_REFUSED],
        Type::List => &[LIST, LIST_REFUSED],
        Type::Tuple | Type::Range => &[TUPLE],
        _ => &[],
    };
    lists.iter().any(|names| names.contains(&name))
}

/// Whether any of Python's types has a method `name`, so that `value.name` may be one.
pub(super) fn is_known(name: &str) -> bool {
    [Type::Str, Type::Dict, Type::List].into_iter().any(|kind| exists(kind, name))
}

/// minijinja's callback: the methods of Python, and the operations that the translation of a
/// template writes as methods.
pub(super) fn unknown_method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (name, args) {
        ("__slice__", bounds) => operators::slice(value, bounds),
        ("__attribute__", [name]) => get_attribute(value, name.as_str().unwrap_or_default()),
        ("__item__", [key]) => get_item(value, key),
        ("__cycle__", options) => cycle(state, value, options),
        _ => call(state, value, name, args),
    }
}

/// Calls `value.name(args)`.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let kind = type_of(value);
    let result = match kind {
        Type::Undefined => {
            let message = format!("the method {name} of an undefined value is called");
            return Err(Error::new(ErrorKind::UndefinedError, message));
        }
        Type::Str if value.is_safe() && SAFE_REFUSED.contains(&name) => {
            Err(invalid("not supported for a text that is marked as safe"))
        }
        Type::Str => {
            let result = strings::call(state, value.as_str().unwrap_or_default(), name, args);
            if value.is_safe() { result.map(|result| result.map(safe)) } else { result }
        }
        Type::Dict => dict(value, name, args),
        Type::List | Type::Tuple | Type::Range => list(kind, value, name, args),
        Type::Float if name == "is_integer" => {
            let number = f64::try_from(value.clone())?;
            Ok(Some(Value::from(number.fract() == 0.0)))
        }
        _ => Ok(None),
    };
    let named = |error: Error| {
        let detail = error.detail().unwrap_or_default();
        Error::new(error.kind(), format!("{}.{name}(): {detail}", kind.name()))
    };
    match result.map_err(named)? {
        Some(result) => Ok(result),
        None if exists(kind, name) => Err(invalid(format!(
            "the method {name} of {} is refused: the sandbox of Transformers refuses it, or it \
             gives what a template cannot print",
            kind.name()
        ))),
        None => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Marks the texts of a method's result as safe.
fn safe(result: Value) -> Value {
    match type_of(&result) {
        Type::Str => Value::from_safe_string(result.to_string()),
        Type::List => result.try_iter().map_or(result, |parts| parts.map(safe).collect()),
        Type::Tuple => {
            let parts = items(&result).unwrap_or_default();
            Value::from(Tuple::from(parts.into_iter().map(safe).collect::<Vec<_>>()))
        }
        _ => result,
    }
}

fn dict(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let shown = match name {
        "keys" => Shown::Keys,
        "values" => Shown::Values,
        "items" => Shown::Items,
        "copy" => {
            Arguments::bind(args, &[])?;
            return Ok(Some(Value::from_pairs(pairs(value)?)));
        }
        "get" => {
            let (positional, named) = split(args)?;
            if !named.is_empty() {
                return Err(invalid("takes no keyword arguments"));
            }
            let args = Arguments::bind(positional, &["key", "default"])?;
            let key = args.required(0)?;
            operators::hashable(key)?;
            let found = value.as_object().and_then(|dict| dict.get_value(key));
            let default = || args.get(1).cloned().unwrap_or_else(|| Value::from(()));
            return Ok(Some(found.unwrap_or_else(default)));
        }
        _ => return Ok(None),
    };
    Arguments::bind(args, &[])?;
    View::of(value, shown).map(Some)
}

fn list(kind: Type, value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let parts = items(value)?;
    match name {
        "count" => {
            let args = Arguments::bind(args, &["value"])?;
            let wanted = args.required(0)?;
            Ok(Some(Value::from(parts.iter().filter(|part| *part == wanted).count())))
        }
        "index" => {
            let args = Arguments::bind(args, &["value", "start", "stop"])?;
            let wanted = args.required(0)?;
            let length = i64::try_from(parts.len()).unwrap_or(i64::MAX);
            let clamp = |bound: i64| if bound < 0 { (bound + length).max(0) } else { bound };
            let start = usize::try_from(args.integer(1)?.map_or(0, clamp)).unwrap_or(0);
            let stop = usize::try_from(args.integer(2)?.map_or(length, clamp)).unwrap_or(0);
            let mut places = parts.iter().enumerate().take(stop).skip(start);
            let found = places.find(|(_, part)| *part == wanted);
            let missing = || invalid("the value is not in the list");
            Ok(Some(Value::from(found.ok_or_else(missing)?.0)))
        }
        "copy" if kind == Type::List => {
            Arguments::bind(args, &[])?;
            Ok(Some(Value::from(parts)))
        }
        _ => Ok(None),
    }
}

/// `loop.cycle(a, b)`; of other values, the method of that name.
fn cycle(state: &mut State, value: &Value, options: &[Value]) -> Result<Value, Error> {
    let index = match type_of(value) {
        Type::Other => value.get_attr("index0")?.as_usize(),
        _ => None,
    };
    match index {
        Some(_) if options.is_empty() => Err(invalid("no items for cycling given")),
        Some(index) => Ok(options[index % options.len()].clone()),
        None => value.call_method(state, "cycle", options),
    }
}

/// `(key, value)` pairs as a list of tuples.
pub(super) fn tuples(pairs: Vec<(Value, Value)>) -> Vec<Value> {
    pairs.into_iter().map(|(key, value)| Value::from(Tuple::from([key, value]))).collect()
}
