//! Python's operators where minijinja's differ: ordering, `in`, `~`, `%` and slices.

use std::cmp::Ordering;

use minijinja::value::{Tuple, Value};
use minijinja::{Error, State};

use super::format::percent;
use super::objects::Range;
use super::printing::text;
use super::value::{Type, as_float, as_integer, invalid, items, type_of};

/// `left operator right`, for the operators of comparison.
pub(super) fn compare(state: &State, args: &[Value]) -> Result<Value, Error> {
    let [left, operator, right] = args else {
        return Err(invalid("a comparison has two operands"));
    };
    let holds = match operator.as_str().unwrap_or_default() {
        "==" => left == right,
        "!=" => left != right,
        "in" => contains(state, right, left)?,
        "not in" => !contains(state, right, left)?,
        operator => ordered(operator, left, right)?,
    };
    Ok(Value::from(holds))
}

/// `left < right` and its like.
pub(super) fn ordered(operator: &str, left: &Value, right: &Value) -> Result<bool, Error> {
    let order = order(operator, left, right)?;
    Ok(order.is_some_and(|order| match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// The order of two values of comparable types; none where one is not a number.
fn order(operator: &str, left: &Value, right: &Value) -> Result<Option<Ordering>, Error> {
    let (a, b) = (type_of(left), type_of(right));
    match (a, b) {
        _ if a.is_number() && b.is_number() => {
            let nan = |value| as_float(value).is_some_and(f64::is_nan);
            Ok((!nan(left) && !nan(right)).then(|| left.cmp(right)))
        }
        (Type::Str, Type::Str) => Ok(Some(left.as_str().cmp(&right.as_str()))),
        (Type::List, Type::List) | (Type::Tuple, Type::Tuple) => {
            let (left, right) = (items(left)?, items(right)?);
            for (x, y) in left.iter().zip(&right) {
                if x != y {
                    return order(operator, x, y);
                }
            }
            Ok(Some(left.len().cmp(&right.len())))
        }
        _ => Err(invalid(format!(
            "'{operator}' is not supported between {} and {}",
            a.name(),
            b.name()
        ))),
    }
}

/// Python's `item in container`.
pub(super) fn contains(state: &State, container: &Value, item: &Value) -> Result<bool, Error> {
    let kind = type_of(container);
    match kind {
        Type::Str => {
            let text = container.as_str().unwrap_or_default();
            state.consume_fuel(text.len() as u64 / 64)?;
            let part = item.as_str().ok_or_else(|| {
                invalid(format!("'in <string>' needs a string, not {}", type_of(item).name()))
            })?;
            Ok(text.contains(part))
        }
        Type::Dict => {
            hashable(item)?;
            Ok(container.as_object().is_some_and(|dict| dict.get_value(item).is_some()))
        }
        _ => {
            let parts = items(container)?;
            state.consume_fuel(parts.len() as u64)?;
            Ok(parts.contains(item))
        }
    }
}

/// Whether Python takes `value` as a dict's key.
pub(super) fn hashable(value: &Value) -> Result<(), Error> {
    match type_of(value) {
        kind @ (Type::List | Type::Dict) => {
            Err(invalid(format!("unhashable type: '{}'", kind.name())))
        }
        Type::Tuple => items(value)?.iter().try_for_each(hashable),
        _ => Ok(()),
    }
}

/// `a ~ b ~ c`.
pub(super) fn concat(state: &State, parts: &[Value]) -> Result<Value, Error> {
    let mut out = String::new();
    for part in parts {
        let part = text(part)?;
        state.consume_fuel(part.len() as u64 / 64)?;
        out.push_str(&part);
    }
    Ok(Value::from(out))
}

/// `a + b + c`, left to right.
pub(super) fn add(state: &State, parts: &[Value]) -> Result<Value, Error> {
    let (first, rest) = parts.split_first().ok_or_else(|| invalid("+ takes two values"))?;
    if parts.iter().all(|part| part.as_str().is_some() && !part.is_safe()) {
        return concat(state, parts);
    }
    rest.iter().try_fold(first.clone(), |left, right| plus(state, &left, right))
}

fn plus(state: &State, left: &Value, right: &Value) -> Result<Value, Error> {
    let (a, b) = (type_of(left), type_of(right));
    match (a, b) {
        (Type::Str, Type::Str) if left.is_safe() || right.is_safe() => {
            // A safe text escapes what is added to it.
            let part = |value: &Value| {
                let text = value.as_str().unwrap_or_default();
                if value.is_safe() { text.to_owned() } else { escaped(text) }
            };
            Ok(Value::from_safe_string(part(left) + &part(right)))
        }
        (Type::Str, Type::Str) => concat(state, &[left.clone(), right.clone()]),
        (Type::List, Type::List) | (Type::Tuple, Type::Tuple) => {
            let all = [items(left)?, items(right)?].concat();
            state.consume_fuel(all.len() as u64)?;
            Ok(if a == Type::List { Value::from(all) } else { Value::from(Tuple::from(all)) })
        }
        _ => match (as_integer(left), as_integer(right), as_float(left), as_float(right)) {
            (Some(a), Some(b), ..) => {
                a.checked_add(b).map(integer).ok_or_else(|| invalid("the sum is too large"))
            }
            (.., Some(a), Some(b)) => Ok(Value::from(a + b)),
            _ => {
                Err(invalid(format!("'+' is not supported between {} and {}", a.name(), b.name())))
            }
        },
    }
}

/// HTML's five special characters, as markupsafe writes them.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(character),
        }
    }
    out
}

/// `left % right`: the remainder, or Python's formatting where `left` is a string.
pub(super) fn modulo(left: &Value, right: &Value) -> Result<Value, Error> {
    if left.is_safe() {
        return Err(invalid("% of a text that is marked as safe is not supported"));
    }
    if let Some(format) = left.as_str() {
        return percent(format, right).map(Value::from);
    }
    let (a, b) = (type_of(left), type_of(right));
    if !a.is_number() || !b.is_number() {
        let (a, b) = (a.name(), b.name());
        return Err(invalid(format!("'%' is not supported between {a} and {b}")));
    }
    if let (Some(a), Some(b)) = (as_integer(left), as_integer(right)) {
        let remainder = a.checked_rem(b).ok_or_else(|| invalid("modulo by zero"))?;
        let other_sign = remainder != 0 && (remainder < 0) != (b < 0);
        return Ok(integer(if other_sign { remainder + b } else { remainder }));
    }
    let (a, b) = (as_float(left).unwrap_or(f64::NAN), as_float(right).unwrap_or(f64::NAN));
    if b == 0.0 {
        return Err(invalid("modulo by zero"));
    }
    let remainder = a % b;
    Ok(Value::from(if remainder == 0.0 {
        0f64.copysign(b)
    } else if (remainder < 0.0) != (b < 0.0) {
        remainder + b
    } else {
        remainder
    }))
}

/// `-value`, or `+value`.
pub(super) fn signed(value: &Value, negative: bool) -> Result<Value, Error> {
    let sign = if negative { "-" } else { "+" };
    match (as_integer(value), as_float(value)) {
        (Some(number), _) if negative => {
            number.checked_neg().map(integer).ok_or_else(|| invalid("an integer is too large"))
        }
        (Some(number), _) => Ok(integer(number)),
        (None, Some(number)) => Ok(Value::from(if negative { -number } else { number })),
        _ => Err(invalid(format!("'{sign}' needs a number, not {}", type_of(value).name()))),
    }
}

/// `left ** right`.
pub(super) fn power(left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(base), Some(exponent)) = (as_integer(left), as_integer(right))
        && exponent >= 0
    {
        let result = u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent));
        return result.map(integer).ok_or_else(|| invalid("the result of ** is too large"));
    }
    let (Some(base), Some(exponent)) = (as_float(left), as_float(right)) else {
        let (a, b) = (type_of(left).name(), type_of(right).name());
        return Err(invalid(format!("'**' is not supported between {a} and {b}")));
    };
    let result = base.powf(exponent);
    let lost = base.is_finite() && exponent.is_finite() && !result.is_finite();
    if lost {
        return Err(invalid("the result of ** is no real number or is too large"));
    }
    Ok(Value::from(result))
}

/// An integer as minijinja holds small ones.
pub(super) fn integer(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: &[Value]) -> Result<Value, Error> {
    let kind = type_of(value);
    let bound = |at: usize| match bounds.get(at).filter(|bound| !bound.is_none()) {
        None => Ok(None),
        Some(bound) => as_integer(bound).map(Some).ok_or_else(|| {
            invalid(format!("a slice needs integers, not {}", type_of(bound).name()))
        }),
    };
    let (start, stop, step) = (bound(0)?, bound(1)?, bound(2)?.unwrap_or(1));
    if step == 0 {
        return Err(invalid("slice step cannot be zero"));
    }
    match kind {
        Type::Str => {
            let characters: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            let indexes = indexes(characters.len(), start, stop, step);
            Ok(Value::from(indexes.map(|at| characters[at]).collect::<String>()))
        }
        Type::List | Type::Tuple => {
            let parts = items(value)?;
            let indexes = indexes(parts.len(), start, stop, step);
            let chosen: Vec<Value> = indexes.map(|at| parts[at].clone()).collect();
            Ok(if kind == Type::List {
                Value::from(chosen)
            } else {
                Value::from(Tuple::from(chosen))
            })
        }
        Type::Range => {
            let range = value.downcast_object_ref::<Range>();
            let range = range.ok_or_else(|| invalid("not a range"))?;
            let (first, end) = borders(range.len(), start, stop, step);
            let at = |index: i128| {
                i64::try_from(i128::from(range.start) + index * i128::from(range.step))
                    .unwrap_or(i64::MAX)
            };
            let step = i64::try_from(step * i128::from(range.step)).unwrap_or(i64::MAX);
            Range::of(at(first), at(end), step)
        }
        _ => Err(invalid(format!("'{}' object cannot be sliced", kind.name()))),
    }
}

/// Python's `slice.indices`: the first index and the one behind the last.
fn borders(length: usize, start: Option<i128>, stop: Option<i128>, step: i128) -> (i128, i128) {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |bound: i128| {
        let bound = if bound < 0 { bound.saturating_add(length) } else { bound };
        bound.clamp(low, high)
    };
    let (from, to) = if step > 0 { (low, high) } else { (high, low) };
    (start.map_or(from, clamp), stop.map_or(to, clamp))
}

fn indexes(
    length: usize,
    start: Option<i128>,
    stop: Option<i128>,
    step: i128,
) -> impl Iterator<Item = usize> {
    let (mut at, stop) = borders(length, start, stop, step);
    std::iter::from_fn(move || {
        let more = if step > 0 { at < stop } else { at > stop };
        let index = usize::try_from(at).ok().filter(|_| more)?;
        at = at.saturating_add(step);
        Some(index)
    })
}

/// Python's stable `sorted`; an error where two keys have no order.
pub(super) fn sorted<T>(
    parts: Vec<T>,
    key: impl Fn(&T) -> Result<Value, Error>,
    reverse: bool,
) -> Result<Vec<T>, Error> {
    let mut keyed = Vec::with_capacity(parts.len());
    for part in parts {
        keyed.push((key(&part)?, part));
    }
    let before = |a: &Value, b: &Value| match reverse {
        false => ordered("<", a, b),
        true => ordered("<", b, a),
    };
    Ok(merge_sort(keyed, &before)?.into_iter().map(|(_, part)| part).collect())
}

/// A merge sort whose comparison can fail and need not be a total order (it is not for NaN).
fn merge_sort<T>(
    mut left: Vec<(Value, T)>,
    before: &impl Fn(&Value, &Value) -> Result<bool, Error>,
) -> Result<Vec<(Value, T)>, Error> {
    if left.len() < 2 {
        return Ok(left);
    }
    let right = left.split_off(left.len() / 2);
    let mut right = merge_sort(right, before)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    for item in merge_sort(left, before)? {
        while let Some(other) = right.peek() {
            if !before(&other.0, &item.0)? {
                break;
            }
            merged.extend(right.next());
        }
        merged.push(item);
    }
    merged.extend(right);
    Ok(merged)
}
