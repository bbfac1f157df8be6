//! The Python type behind a template value, and Python's iteration, length and attribute rules.

use minijinja::value::{DynObject, ObjectRepr, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::methods;
use super::objects::{BoundMethod, Cycler, GroupTuple, Joiner, OneShot, Range, View};

/// The Python type that Jinja2 would see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Undefined,
    None,
    Bool,
    Int,
    Float,
    Str,
    List,
    Tuple,
    Dict,
    Namespace,
    Range,
    View,
    OneShot,
    Callable,
    Other,
}

impl Type {
    /// The name that Python's own messages use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::Undefined => "Undefined",
            Type::None => "NoneType",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Float => "float",
            Type::Str => "str",
            Type::List => "list",
            Type::Tuple => "tuple",
            Type::Dict => "dict",
            Type::Namespace => "namespace",
            Type::Range => "range",
            Type::View => "dict view",
            Type::OneShot => "generator",
            Type::Callable => "function",
            Type::Other => "object",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Type::Bool | Type::Int | Type::Float)
    }

    /// Whether it has a length and items by number or key.
    pub(super) fn is_sequence_like(self) -> bool {
        matches!(self, Type::Str | Type::List | Type::Tuple | Type::Dict | Type::Range)
    }
}

/// The Python type of `value`.
pub(super) fn type_of(value: &Value) -> Type {
    match value.kind() {
        ValueKind::Undefined => Type::Undefined,
        ValueKind::None => Type::None,
        ValueKind::Bool => Type::Bool,
        ValueKind::Number if value.is_integer() => Type::Int,
        ValueKind::Number => Type::Float,
        ValueKind::String => Type::Str,
        _ => value.as_object().map_or(Type::Other, type_of_object),
    }
}

fn type_of_object(object: &DynObject) -> Type {
    if object.is::<Range>() {
        return Type::Range;
    }
    if object.is::<View>() {
        return Type::View;
    }
    if object.is::<OneShot>() {
        return Type::OneShot;
    }
    if object.is::<Tuple>() || object.is::<GroupTuple>() {
        return Type::Tuple;
    }
    if object.is::<BoundMethod>() || object.is::<Joiner>() {
        return Type::Callable;
    }
    if object.is::<Cycler>() {
        return Type::Other;
    }
    // minijinja keeps the types of its own objects private; their names tell them from dicts.
    let name = object.type_name();
    match object.repr() {
        ObjectRepr::Map if name.ends_with("::Namespace") => Type::Namespace,
        ObjectRepr::Map if name.ends_with("::Macro") => Type::Callable,
        ObjectRepr::Map if name.ends_with("::Loop") || name.ends_with("::Module") => Type::Other,
        ObjectRepr::Map => Type::Dict,
        ObjectRepr::Seq | ObjectRepr::Iterable => Type::List,
        _ => Type::Callable,
    }
}

/// An error of a template's operation.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// The items of `value` as Python's `iter` gives them; keys of a dict, characters of a string.
pub(super) fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match type_of(value) {
        Type::Undefined => Ok(Vec::new()),
        Type::Str
        | Type::List
        | Type::Tuple
        | Type::Dict
        | Type::Range
        | Type::View
        | Type::OneShot => value.try_iter()?.checked().collect(),
        other => Err(invalid(format!("'{}' object is not iterable", other.name()))),
    }
}

/// Python's `len`.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    let kind = type_of(value);
    match kind {
        Type::Undefined => Ok(0),
        Type::Str | Type::List | Type::Tuple | Type::Dict | Type::Range | Type::View => {
            value.len().map_or_else(|| Ok(items(value)?.len()), Ok)
        }
        Type::Other if value.get_attr("length").is_ok_and(|length| length.is_integer()) => {
            value.get_attr("length").map(|length| length.as_usize().unwrap_or(0))
        }
        other => Err(invalid(format!("object of type '{}' has no len()", other.name()))),
    }
}

/// The pairs of a dict, in its order.
pub(super) fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let kind = type_of(value);
    let object = value.as_object().filter(|_| kind == Type::Dict);
    let iter = object.and_then(DynObject::try_iter_pairs);
    let iter = iter.ok_or_else(|| invalid(format!("a dict is needed, not {}", kind.name())))?;
    Ok(iter.collect())
}

/// Jinja2's `value[key]`: the item, else the attribute of that name, else undefined.
pub(super) fn get_item(value: &Value, key: &Value) -> Result<Value, Error> {
    let kind = type_of(value);
    if kind == Type::Undefined {
        return Err(undefined("an item", key));
    }
    let usable = match kind {
        Type::Str | Type::List | Type::Tuple | Type::Range => {
            matches!(type_of(key), Type::Int | Type::Bool)
        }
        Type::View | Type::OneShot => false,
        _ => true,
    };
    let found = if usable { value.get_item(key)? } else { Value::UNDEFINED };
    match key.as_str() {
        Some(name) if found.is_undefined() && kind != Type::Namespace => {
            Ok(method_of(value, name).unwrap_or(Value::UNDEFINED))
        }
        _ => Ok(found),
    }
}

/// Jinja2's `value.name`: the attribute (a method of the Python type), else the item.
pub(super) fn get_attribute(value: &Value, name: &str) -> Result<Value, Error> {
    let kind = type_of(value);
    if kind == Type::Undefined {
        return Err(undefined("the attribute", &Value::from(name)));
    }
    if kind != Type::Namespace
        && let Some(method) = method_of(value, name)
    {
        return Ok(method);
    }
    match kind {
        Type::Str | Type::List | Type::Range => Ok(Value::UNDEFINED),
        Type::Callable if name == "arguments" => {
            let names = value.get_attr(name)?;
            Ok(Value::from(Tuple::from(names.try_iter()?.collect::<Vec<_>>())))
        }
        _ => value.get_attr(name),
    }
}

fn method_of(value: &Value, name: &str) -> Option<Value> {
    methods::exists(type_of(value), name)
        .then(|| Value::from_object(BoundMethod::new(value.clone(), name)))
}

fn undefined(what: &str, name: &Value) -> Error {
    Error::new(ErrorKind::UndefinedError, format!("{what} {name} of an undefined value is read"))
}

/// Follows the dotted attribute (`"a.b.0"`, or an integer) of filters such as `map` and `sort`.
pub(super) fn follow(value: &Value, path: &Value, default: Option<&Value>) -> Result<Value, Error> {
    let mut found = value.clone();
    for part in parts(path) {
        found = get_item(&found, &part)?;
        if let Some(default) = default.filter(|_| found.is_undefined()) {
            found = default.clone();
        }
    }
    Ok(found)
}

fn parts(path: &Value) -> Vec<Value> {
    match path.as_str() {
        Some(text) => text
            .split('.')
            .map(|part| match part.parse::<u64>() {
                Ok(number) if !part.starts_with('+') => Value::from(number),
                _ => Value::from(part),
            })
            .collect(),
        None if path.is_none() => Vec::new(),
        None => vec![path.clone()],
    }
}

/// A number as a float; booleans count as 0 and 1.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    match type_of(value) {
        Type::Bool => Some(f64::from(u8::from(value.is_true()))),
        Type::Int | Type::Float => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// A Python integer that fits; booleans count as 0 and 1.
pub(super) fn as_integer(value: &Value) -> Option<i128> {
    match type_of(value) {
        Type::Bool => Some(i128::from(value.is_true())),
        Type::Int => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}
