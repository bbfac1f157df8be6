//! Jinja2's filters of lists and dicts.

use minijinja::value::Value;
use minijinja::{Error, State};

use super::args::{Arguments, split};
use super::methods::{self, tuples};
use super::objects::{GroupTuple, OneShot};
use super::operators::{add, hashable, sorted};
use super::strings::pay;
use super::value::{Type, follow, get_attribute, invalid, items, length, pairs, type_of};

/// `value | default(default_value, boolean)`.
pub(super) fn default(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "default_value", "boolean"])?;
    let value = args.required(0)?;
    if value.is_undefined() || (args.truth(2) && !value.is_true()) {
        return Ok(args.get(1).cloned().unwrap_or_else(|| Value::from("")));
    }
    Ok(value.clone())
}

/// `value | length`.
pub(super) fn count(args: &[Value]) -> Result<Value, Error> {
    length(Arguments::bind(args, &["obj"])?.required(0)?).map(Value::from)
}

/// `value | first`.
pub(super) fn first(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["seq"])?;
    let value = args.required(0)?;
    if type_of(value) == Type::OneShot {
        return Ok(value.try_iter()?.next().unwrap_or_default());
    }
    Ok(items(value)?.into_iter().next().unwrap_or_default())
}

/// `value | last`.
pub(super) fn last(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["seq"])?;
    let value = args.required(0)?;
    if type_of(value) == Type::OneShot {
        return Err(invalid("a generator cannot be reversed; make a list of it first"));
    }
    Ok(items(value)?.pop().unwrap_or_default())
}

/// `value | list`.
pub(super) fn list(args: &[Value]) -> Result<Value, Error> {
    items(Arguments::bind(args, &["value"])?.required(0)?).map(Value::from)
}

/// `value | reverse`.
pub(super) fn reverse(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value"])?;
    let value = args.required(0)?;
    if let Some(text) = value.as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut parts = items(value)?;
    parts.reverse();
    Ok(if type_of(value) == Type::OneShot { Value::from(parts) } else { OneShot::of(parts) })
}

/// `value | items`.
pub(super) fn dict_items(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value"])?;
    let value = args.required(0)?;
    if value.is_undefined() {
        return Ok(OneShot::of(Vec::new()));
    }
    Ok(OneShot::of(tuples(pairs(value)?)))
}

/// A text in lower case, unless case counts.
fn folded(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    }
}

fn path(args: &Arguments, at: usize) -> Value {
    args.get(at).cloned().unwrap_or_else(|| Value::from(()))
}

/// `value | sort(reverse, case_sensitive, attribute)`.
pub(super) fn sort(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "reverse", "case_sensitive", "attribute"])?;
    let (path, sensitive) = (path(&args, 3), args.truth(2));
    let paths: Vec<Value> = match path.as_str() {
        Some(text) => text.split(',').map(Value::from).collect(),
        None => vec![path],
    };
    let key = |item: &Value| {
        let keys = paths.iter().map(|path| Ok(folded(follow(item, path, None)?, sensitive)));
        keys.collect::<Result<Vec<Value>, Error>>().map(Value::from)
    };
    sorted(items(args.required(0)?)?, key, args.truth(1)).map(Value::from)
}

/// `value | dictsort(case_sensitive, by, reverse)`.
pub(super) fn dict_sort(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "case_sensitive", "by", "reverse"])?;
    let by_key = match args.optional_string(2)?.unwrap_or("key") {
        "key" => true,
        "value" => false,
        other => return Err(invalid(format!("dictsort sorts by key or value, not {other}"))),
    };
    let sensitive = args.truth(1);
    let key = |(key, value): &(Value, Value)| {
        Ok(folded(if by_key { key.clone() } else { value.clone() }, sensitive))
    };
    let parts = sorted(pairs(args.required(0)?)?, key, args.truth(3))?;
    Ok(Value::from(tuples(parts)))
}

/// `value | unique(case_sensitive, attribute)`.
pub(super) fn unique(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "case_sensitive", "attribute"])?;
    let path = path(&args, 2);
    let mut seen: std::collections::HashSet<Value> = std::collections::HashSet::new();
    let mut out = Vec::new();
    for item in items(args.required(0)?)? {
        let key = folded(follow(&item, &path, None)?, args.truth(1));
        hashable(&key)?;
        if seen.insert(key) {
            out.push(item);
        }
    }
    Ok(OneShot::of(out))
}

/// `value | min(case_sensitive, attribute)` and `max`.
pub(super) fn extreme(largest: bool, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "case_sensitive", "attribute"])?;
    let path = path(&args, 2);
    let operator = if largest { ">" } else { "<" };
    let mut best: Option<(Value, Value)> = None;
    for item in items(args.required(0)?)? {
        let key = folded(follow(&item, &path, None)?, args.truth(1));
        let better = match &best {
            Some((least, _)) => super::operators::ordered(operator, &key, least)?,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

/// `value | sum(attribute, start)`.
pub(super) fn sum(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["iterable", "attribute", "start"])?;
    let path = path(&args, 1);
    let mut total = args.get(2).cloned().unwrap_or_else(|| Value::from(0));
    if type_of(&total) == Type::Str {
        return Err(invalid("sum cannot add strings; use the filter join"));
    }
    for item in items(args.required(0)?)? {
        total = add(state, &[total, follow(&item, &path, None)?])?;
    }
    Ok(total)
}

/// `value | map(...)`.
pub(super) fn map(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args)?;
    let (value, rest) =
        positional.split_first().ok_or_else(|| invalid("the filter has no value"))?;
    if !value.is_true() {
        return Ok(OneShot::of(Vec::new()));
    }
    let attribute = named.iter().find(|(name, _)| name == "attribute").map(|(_, path)| path);
    let mut out = Vec::new();
    if let (Some(path), true) = (attribute, rest.is_empty()) {
        if let Some((name, _)) =
            named.iter().find(|(name, _)| name != "attribute" && name != "default")
        {
            return Err(invalid(format!("map: unexpected keyword argument {name}")));
        }
        let default = named.iter().find(|(name, _)| name == "default").map(|(_, value)| value);
        let default = default.filter(|default| !default.is_none());
        for item in items(value)? {
            out.push(follow(&item, path, default)?);
        }
        return Ok(OneShot::of(out));
    }
    let filter = rest.first().and_then(Value::as_str);
    let filter = filter.ok_or_else(|| invalid("map needs a filter's name or attribute=..."))?;
    let options = &args[2..];
    for item in items(value)? {
        state.consume_fuel(1)?;
        out.push(state.apply_filter(filter, &[&[item], options].concat())?);
    }
    Ok(OneShot::of(out))
}

/// `select`, `reject`, `selectattr` and `rejectattr`.
pub(super) fn select(state: &mut State, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (positional, _) = split(args)?;
    let (value, rest) =
        positional.split_first().ok_or_else(|| invalid("the filter has no value"))?;
    if !value.is_true() {
        return Ok(OneShot::of(Vec::new()));
    }
    let (keep, by_attribute) = (name.starts_with("select"), name.ends_with("attr"));
    let path = match (by_attribute, rest.first()) {
        (true, None) => return Err(invalid(format!("{name} needs an attribute's name"))),
        (true, Some(path)) => path.clone(),
        (false, _) => Value::from(()),
    };
    let offset = 1 + usize::from(by_attribute);
    let test = match positional.get(offset) {
        Some(test) => Some(test.as_str().ok_or_else(|| invalid("a test's name is a string"))?),
        None => None,
    };
    let mut out = Vec::new();
    for item in items(value)? {
        state.consume_fuel(1)?;
        let tested = follow(&item, &path, None)?;
        let holds = match test {
            Some(test) => state.perform_test(test, &[&[tested], &args[offset + 1..]].concat())?,
            None => tested.is_true(),
        };
        if holds == keep {
            out.push(item);
        }
    }
    Ok(OneShot::of(out))
}

/// `value | groupby(attribute, default, case_sensitive)`.
pub(super) fn group_by(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "attribute", "default", "case_sensitive"])?;
    let (path, sensitive) = (args.required(1)?, args.truth(3));
    let default = args.get(2).filter(|default| !default.is_none());
    let key = |item: &Value| Ok(folded(follow(item, path, default)?, sensitive));
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in sorted(items(args.required(0)?)?, key, false)? {
        let of = key(&item)?;
        match groups.last_mut() {
            Some((before, list)) if *before == of => list.push(item),
            _ => groups.push((of, vec![item])),
        }
    }
    let group = |(of, list): (Value, Vec<Value>)| {
        let grouper = match list.first() {
            Some(first) if !sensitive => follow(first, path, default)?,
            _ => of,
        };
        Ok(Value::from_object(GroupTuple { grouper, list: Value::from(list) }))
    };
    groups.into_iter().map(group).collect::<Result<Vec<_>, Error>>().map(Value::from)
}

/// `value | batch(linecount, fill_with)`.
pub(super) fn batch(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "linecount", "fill_with"])?;
    args.required(1)?;
    let size = usize::try_from(args.integer(1)?.unwrap_or(0)).ok().filter(|&size| size > 0);
    let size = size.ok_or_else(|| invalid("batch needs a size above 0"))?;
    let parts = items(args.required(0)?)?;
    let mut out: Vec<Vec<Value>> = parts.chunks(size).map(<[Value]>::to_vec).collect();
    let fill = args.get(2).filter(|fill| !fill.is_none());
    if let (Some(last), Some(fill)) = (out.last_mut(), fill) {
        pay(state, size.saturating_mul(32))?;
        last.resize(size, fill.clone());
    }
    Ok(OneShot::of(out.into_iter().map(Value::from).collect()))
}

/// `value | slice(slices, fill_with)`.
pub(super) fn slice(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "slices", "fill_with"])?;
    args.required(1)?;
    let slices = usize::try_from(args.integer(1)?.unwrap_or(0)).ok().filter(|&count| count > 0);
    let slices = slices.ok_or_else(|| invalid("slice needs a number above 0"))?;
    pay(state, slices.saturating_mul(32))?;
    let mut parts = items(args.required(0)?)?.into_iter();
    let (size, longer) = (parts.len() / slices, parts.len() % slices);
    let fill = args.get(2).filter(|fill| !fill.is_none());
    let mut out = Vec::with_capacity(slices);
    for at in 0..slices {
        let mut part: Vec<Value> = parts.by_ref().take(size + usize::from(at < longer)).collect();
        part.extend(fill.filter(|_| at >= longer).cloned());
        out.push(Value::from(part));
    }
    Ok(OneShot::of(out))
}

/// `value | attr(name)`: an attribute and never an item.
pub(super) fn attribute(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["obj", "name"])?;
    let (value, name) = (args.required(0)?, args.string(1)?);
    let kind = type_of(value);
    let has = methods::exists(kind, name)
        || matches!(kind, Type::Namespace | Type::Other | Type::Callable | Type::Tuple);
    if has || kind == Type::Undefined {
        return get_attribute(value, name);
    }
    Ok(Value::UNDEFINED)
}
