//! The filter `pprint`, for what Python's `pprint` writes on one line.

use minijinja::Error;
use minijinja::value::{Tuple, Value};

use super::args::Arguments;
use super::operators::sorted;
use super::printing::repr;
use super::value::{Type, invalid, items, pairs, type_of};

/// Characters of a line.
const WIDTH: usize = 80;
/// Lists in lists.
const DEEPEST: usize = 40;

/// `value | pprint`.
pub(super) fn pretty(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value"])?;
    let text = repr(&in_order(args.required(0)?, 0)?)?;
    if text.chars().count() > WIDTH {
        return Err(invalid(format!("a value that takes more than {WIDTH} characters")));
    }
    Ok(Value::from(text))
}

/// The value with the keys of its dicts sorted.
fn in_order(value: &Value, depth: usize) -> Result<Value, Error> {
    let kind = type_of(value);
    if depth == DEEPEST {
        return Err(invalid("a value is nested too deep"));
    }
    let all = |parts: Vec<Value>| {
        parts.iter().map(|part| in_order(part, depth + 1)).collect::<Result<Vec<_>, Error>>()
    };
    match kind {
        Type::List => all(items(value)?).map(Value::from),
        Type::Tuple => Ok(Value::from(Tuple::from(all(items(value)?)?))),
        Type::Dict => {
            let parts = sorted(pairs(value)?, |(key, _)| Ok(key.clone()), false)?;
            let part = |(key, value): (Value, Value)| Ok((key, in_order(&value, depth + 1)?));
            let parts = parts.into_iter().map(part).collect::<Result<Vec<_>, Error>>()?;
            Ok(Value::from_pairs(parts))
        }
        _ => Ok(value.clone()),
    }
}
