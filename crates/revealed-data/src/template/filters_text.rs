//! Jinja2's filters of text.

use std::fmt::Write;

use minijinja::value::Value;
use minijinja::{Error, State};

use super::args::{Arguments, split};
use super::characters::{capitalize, is_letter, is_numeric, is_space, lines};
use super::format::percent;
use super::operators::escaped;
use super::printing::text;
use super::strings;
use super::value::{Type, invalid, items, pairs, type_of};

/// Filters that are a method of strings, applied to the text of any value.
pub(super) fn as_method(state: &mut State, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some((value, rest)) = args.split_first() else {
        return Err(invalid("the filter has no value"));
    };
    let value = text(value)?;
    match name {
        "capitalize" => {
            Arguments::bind(rest, &[])?;
            Ok(Value::from(capitalize(&value)))
        }
        "center" => {
            let width = Arguments::bind(rest, &["width"])?.integer(0)?.unwrap_or(80);
            method(state, &value, "center", &[Value::from(width)])
        }
        "trim" => {
            let chars = Arguments::bind(rest, &["chars"])?.get(0).cloned();
            method(state, &value, "strip", &chars.into_iter().collect::<Vec<_>>())
        }
        _ => method(state, &value, name, rest),
    }
}

fn method(state: &State, value: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    strings::call(state, value, name, args)?.ok_or_else(|| invalid(format!("no method {name}")))
}

/// Jinja2's own title case: a capital behind white space and `-({[<`.
pub(super) fn title(args: &[Value]) -> Result<Value, Error> {
    let value = text(Arguments::bind(args, &["value"])?.required(0)?)?;
    let separates = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::new();
    let mut rest = &value[..];
    while !rest.is_empty() {
        let start = rest.find(|c| !separates(c)).unwrap_or(rest.len());
        let end = rest[start..].find(separates).map_or(rest.len(), |end| start + end);
        let (separator, word) = (&rest[..start], &rest[start..end]);
        out.push_str(separator);
        let mut characters = word.chars();
        out.extend(characters.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(&characters.as_str().to_lowercase());
        rest = &rest[end..];
    }
    Ok(Value::from(out))
}

/// `value | replace(old, new, count)`.
pub(super) fn replace(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["s", "old", "new", "count"])?;
    let (old, new) = (text(args.required(1)?)?, text(args.required(2)?)?);
    let count = args.integer(3)?.unwrap_or(-1);
    strings::replaced(state, &text(args.required(0)?)?, &old, &new, count)
}

/// `value | join(d, attribute)`.
pub(super) fn join(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "d", "attribute"])?;
    let separator = args.get(1).map_or_else(|| Ok(String::new()), text)?;
    let mut out = String::new();
    for (at, part) in items(args.required(0)?)?.iter().enumerate() {
        if at > 0 {
            strings::pay(state, separator.len())?;
            out.push_str(&separator);
        }
        let part = match args.get(2).filter(|path| !path.is_none()) {
            Some(path) => super::value::follow(part, path, None)?,
            None => part.clone(),
        };
        out.push_str(&text(&part)?);
    }
    Ok(Value::from(out))
}

/// `value | indent(width, first, blank)`.
pub(super) fn indent(state: &State, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["s", "width", "first", "blank"])?;
    let value = args.string(0)?;
    let width = match args.get(1) {
        Some(width) if type_of(width) == Type::Str => width.as_str().unwrap_or_default().to_owned(),
        Some(_) => {
            " ".repeat(usize::try_from(args.integer(1)?.unwrap_or(0)).unwrap_or(0).min(4096))
        }
        None => "    ".to_owned(),
    };
    let (first, blank) = (args.truth(2), args.truth(3));
    let ended = format!("{value}\n");
    let mut out = String::new();
    for (at, line) in lines(&ended, false).into_iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        if indented {
            strings::pay(state, width.len())?;
            out.push_str(&width);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// `value | truncate(length, killwords, end, leeway)`.
pub(super) fn truncate(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["s", "length", "killwords", "end", "leeway"])?;
    let value = args.string(0)?;
    let end = args.optional_string(3)?.unwrap_or("...");
    let length = usize::try_from(args.integer(1)?.unwrap_or(255)).unwrap_or(0);
    let leeway = usize::try_from(args.integer(4)?.unwrap_or(5))
        .map_err(|_| invalid("leeway must not be negative"))?;
    let room = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| invalid("the length is shorter than the end that is added"))?;
    if value.chars().count() <= length + leeway {
        return Ok(Value::from(value));
    }
    let cut: String = value.chars().take(room).collect();
    let kept =
        if args.truth(2) { &cut } else { cut.rsplit_once(' ').map_or(&*cut, |(kept, _)| kept) };
    Ok(Value::from(format!("{kept}{end}")))
}

/// `value | wordcount`.
pub(super) fn word_count(args: &[Value]) -> Result<Value, Error> {
    let value = text(Arguments::bind(args, &["s"])?.required(0)?)?;
    let between = |c: char| !(c == '_' || is_letter(c) || is_numeric(c));
    Ok(Value::from(value.split(between).filter(|word| !word.is_empty()).count()))
}

/// `value | format(...)`: Python's `%`.
pub(super) fn format(args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args)?;
    let (value, rest) =
        positional.split_first().ok_or_else(|| invalid("the filter has no value"))?;
    if !rest.is_empty() && !named.is_empty() {
        return Err(invalid("arguments by position and by name at the same time"));
    }
    let right = if named.is_empty() {
        Value::from(minijinja::value::Tuple::from(rest.to_vec()))
    } else {
        Value::from_pairs(named)
    };
    percent(&text(value)?, &right).map(Value::from)
}

/// `escape`, `e`, `forceescape` and `safe`.
pub(super) fn escape(name: &str, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value"])?;
    let value = args.required(0)?;
    let plain = text(value)?;
    let keep = name == "safe" || (value.is_safe() && name != "forceescape");
    Ok(Value::from_safe_string(if keep { plain } else { escaped(&plain) }))
}

/// `value | striptags`.
pub(super) fn strip_tags(args: &[Value]) -> Result<Value, Error> {
    let mut value = text(Arguments::bind(args, &["value"])?.required(0)?)?;
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut kept = String::new();
        let mut rest = &value[..];
        while let Some((before, from)) = rest.find(open).map(|at| rest.split_at(at)) {
            let Some(end) = from.find(close) else { break };
            kept.push_str(before);
            rest = &from[end + close.len()..];
        }
        kept.push_str(rest);
        value = kept;
    }
    if value.contains('&') {
        return Err(invalid("striptags does not decode HTML's entities ('&')"));
    }
    let words: Vec<&str> = value.split(is_space).filter(|word| !word.is_empty()).collect();
    Ok(Value::from_safe_string(words.join(" ")))
}

/// `value | urlencode`.
pub(super) fn url_encode(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value"])?;
    let value = args.required(0)?;
    let parts = match type_of(value) {
        Type::Dict => pairs(value)?,
        Type::List | Type::Tuple | Type::Range | Type::View | Type::OneShot | Type::Undefined => {
            let pair = |item: &Value| match &items(item)?[..] {
                [key, value] => Ok((key.clone(), value.clone())),
                _ => Err(invalid("urlencode needs pairs")),
            };
            items(value)?.iter().map(pair).collect::<Result<_, Error>>()?
        }
        _ => return Ok(Value::from(quoted(&text(value)?, "/"))),
    };
    let pair = |(key, value): (Value, Value)| {
        let both = [quoted(&text(&key)?, ""), quoted(&text(&value)?, "")];
        Ok(both.map(|part| part.replace("%20", "+")).join("="))
    };
    let written: Vec<String> = parts.into_iter().map(pair).collect::<Result<_, Error>>()?;
    Ok(Value::from(written.join("&")))
}

fn quoted(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        let plain = character.is_ascii_alphanumeric() || "_.-~".contains(character);
        if plain || (byte.is_ascii() && kept.contains(character)) {
            out.push(character);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `value | xmlattr(autospace)`.
pub(super) fn xml_attributes(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["d", "autospace"])?;
    let mut out = Vec::new();
    for (key, value) in pairs(args.required(0)?)? {
        if value.is_none() || value.is_undefined() {
            continue;
        }
        let key = key.as_str().ok_or_else(|| invalid("xmlattr needs names that are strings"))?;
        if key.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=' | '\u{b}'))
        {
            return Err(invalid(format!("invalid character in the attribute name '{key}'")));
        }
        out.push(format!("{}=\"{}\"", escaped(key), escaped(&text(&value)?)));
    }
    let space = if !out.is_empty() && args.get(1).is_none_or(Value::is_true) { " " } else { "" };
    Ok(Value::from(format!("{space}{}", out.join(" "))))
}
