//! The methods of Python's `str`.

use minijinja::value::{Tuple, Value};
use minijinja::{Error, State};

use super::args::{Arguments, split};
use super::characters::{
    capitalize, casefold, is_case, is_decimal, is_digit, is_letter, is_numeric, is_space, is_title,
    lines, swap_case, title_case,
};
use super::format::braces;
use super::printing::is_printable;
use super::value::{Type, invalid, items, type_of};

/// The methods that work here.
pub(super) const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// The methods that Python has and that do not work here.
pub(super) const REFUSED: &[&str] = &["encode", "maketrans", "translate"];

/// Calls `text.name(args)`; none if there is no such method.
pub(super) fn call(
    state: &State,
    text: &str,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    if let Some(value) = plain(text, name) {
        Arguments::bind(args, &[])?;
        return Ok(Some(value));
    }
    Ok(Some(match name {
        "strip" | "lstrip" | "rstrip" => Value::from(strip(text, name, args)?),
        "split" | "rsplit" => split_text(text, name == "rsplit", args)?,
        "splitlines" => {
            let args = Arguments::bind(args, &["keepends"])?;
            lines(text, args.truth(0)).into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => partition(text, name == "rpartition", args)?,
        "replace" => replace(state, text, args)?,
        "startswith" | "endswith" => Value::from(starts(text, name == "startswith", args)?),
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, args)?,
        "join" => join(state, text, args)?,
        "removeprefix" => {
            let args = Arguments::bind(args, &["prefix"])?;
            Value::from(text.strip_prefix(args.string(0)?).unwrap_or(text))
        }
        "removesuffix" => {
            let args = Arguments::bind(args, &["suffix"])?;
            Value::from(text.strip_suffix(args.string(0)?).unwrap_or(text))
        }
        "center" | "ljust" | "rjust" => Value::from(justify(state, text, name, args)?),
        "zfill" => Value::from(zfill(state, text, args)?),
        "expandtabs" => Value::from(expand_tabs(state, text, args)?),
        "format" => {
            let (positional, named) = split(args)?;
            Value::from(braces(text, positional, &named)?)
        }
        "format_map" => {
            let args = Arguments::bind(args, &["mapping"])?;
            let pairs = super::value::pairs(args.required(0)?)?;
            let named: Vec<_> = pairs.into_iter().map(|(key, v)| (key.to_string(), v)).collect();
            Value::from(braces(text, &[], &named)?)
        }
        _ => return Ok(None),
    }))
}

/// The methods without arguments.
fn plain(text: &str, name: &str) -> Option<Value> {
    let all = |test: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(test));
    Some(match name {
        "lower" => Value::from(text.to_lowercase()),
        "upper" => Value::from(text.to_uppercase()),
        "title" => Value::from(title_case(text)),
        "capitalize" => Value::from(capitalize(text)),
        "swapcase" => Value::from(swap_case(text)),
        "casefold" => Value::from(casefold(text)),
        "islower" => Value::from(is_case(text, false)),
        "isupper" => Value::from(is_case(text, true)),
        "istitle" => Value::from(is_title(text)),
        "isspace" => all(is_space),
        "isalpha" => all(is_letter),
        "isdecimal" => all(is_decimal),
        "isdigit" => all(is_digit),
        "isnumeric" => all(is_numeric),
        "isalnum" => all(|c| is_letter(c) || is_numeric(c)),
        "isascii" => Value::from(text.is_ascii()),
        "isprintable" => Value::from(text.chars().all(is_printable)),
        "isidentifier" => {
            let starts = text.starts_with(|c: char| c == '_' || is_letter(c));
            Value::from(starts && text.chars().all(|c| c == '_' || is_letter(c) || is_decimal(c)))
        }
        _ => return None,
    })
}

/// `strip`, `lstrip` or `rstrip`.
fn strip<'a>(text: &'a str, name: &str, args: &[Value]) -> Result<&'a str, Error> {
    let args = Arguments::bind(args, &["chars"])?;
    let chars = args.optional_string(0)?;
    let cut = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    Ok(match name {
        "lstrip" => text.trim_start_matches(cut),
        "rstrip" => text.trim_end_matches(cut),
        _ => text.trim_matches(cut),
    })
}

/// `split` or `rsplit`.
fn split_text(text: &str, from_right: bool, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["sep", "maxsplit"])?;
    let most = args.integer(1)?.and_then(|most| usize::try_from(most).ok());
    let most = most.unwrap_or(usize::MAX - 1);
    let parts: Vec<&str> = match (args.optional_string(0)?, from_right) {
        (Some(""), _) => return Err(invalid("empty separator")),
        (Some(separator), false) => text.splitn(most + 1, separator).collect(),
        (Some(separator), true) => {
            let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
            parts.reverse();
            parts
        }
        (None, from_right) => words(text, most, from_right),
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// The words between white space, at most `most` of them and the rest.
fn words(text: &str, most: usize, from_right: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = if from_right {
        text.trim_end_matches(is_space)
    } else {
        text.trim_start_matches(is_space)
    };
    while !rest.is_empty() {
        let border = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(border) = border.filter(|_| out.len() < most) else {
            out.push(rest);
            break;
        };
        if from_right {
            let start = border + rest[border..].chars().next().map_or(1, char::len_utf8);
            out.push(&rest[start..]);
            rest = rest[..border].trim_end_matches(is_space);
        } else {
            out.push(&rest[..border]);
            rest = rest[border..].trim_start_matches(is_space);
        }
    }
    if from_right {
        out.reverse();
    }
    out
}

fn partition(text: &str, from_right: bool, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["sep"])?;
    let separator = args.string(0)?;
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    let parts = match (from_right, text.split_once(separator), text.rsplit_once(separator)) {
        (false, Some((before, after)), _) | (true, _, Some((before, after))) => {
            [before, separator, after]
        }
        (false, ..) => [text, "", ""],
        (true, ..) => ["", "", text],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

fn replace(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (positional, named) = split(args)?;
    if !named.is_empty() {
        return Err(invalid("replace() takes no keyword arguments"));
    }
    let args = Arguments::bind(positional, &["old", "new", "count"])?;
    if args.get(2).is_some_and(Value::is_none) {
        return Err(invalid("count must be an integer, not NoneType"));
    }
    replaced(state, text, args.string(0)?, args.string(1)?, args.integer(2)?.unwrap_or(-1))
}

/// Python's `replace`; a negative count replaces all.
pub(super) fn replaced(
    state: &State,
    text: &str,
    old: &str,
    new: &str,
    count: i64,
) -> Result<Value, Error> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = (text.len() / old.len().max(1) + 1).min(most);
    pay(state, found.saturating_mul(new.len()))?;
    Ok(Value::from(text.replacen(old, new, most)))
}

/// Pays for text before it is made, as minijinja does.
pub(super) fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / 64)
}

/// The characters from `start` to `end`, and the number of characters before them; none where the
/// start is behind the end.
fn window<'a>(
    text: &'a str,
    args: &Arguments,
    first: usize,
) -> Result<Option<(usize, &'a str)>, Error> {
    let (start, end) = (args.integer(first)?, args.integer(first + 1)?);
    if start.is_none() && end.is_none() {
        return Ok(Some((0, text)));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let clamp = |bound: i64| if bound < 0 { (bound + length).max(0) } else { bound };
    let (start, end) = (start.map_or(0, clamp), end.map_or(length, clamp).min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i64| {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte)
    };
    Ok(Some((usize::try_from(start).unwrap_or(0), &text[byte(start)..byte(end)])))
}

fn starts(text: &str, at_start: bool, args: &[Value]) -> Result<bool, Error> {
    let args = Arguments::bind(args, &["prefix", "start", "end"])?;
    let prefix = args.required(0)?;
    let prefixes = match type_of(prefix) {
        Type::Str => vec![prefix.clone()],
        Type::Tuple => items(prefix)?,
        other => {
            let found = other.name();
            return Err(invalid(format!("a string or a tuple of strings is needed, not {found}")));
        }
    };
    let part = window(text, &args, 1)?.map(|(_, part)| part);
    for prefix in prefixes {
        let prefix = prefix.as_str().ok_or_else(|| invalid("a tuple must hold strings only"))?;
        let holds = part.is_some_and(|part| {
            if at_start { part.starts_with(prefix) } else { part.ends_with(prefix) }
        });
        if holds {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `find`, `rfind`, `index`, `rindex` or `count`.
fn search(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["sub", "start", "end"])?;
    let part = args.string(0)?;
    let window = window(text, &args, 1)?;
    if name == "count" {
        return Ok(Value::from(window.map_or(0, |(_, text)| text.matches(part).count())));
    }
    let found = window.and_then(|(before, text)| {
        let at = if name.starts_with('r') { text.rfind(part) } else { text.find(part) };
        at.map(|at| before + text[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::from(at)),
        None if name.ends_with("find") => Ok(Value::from(-1)),
        None => Err(invalid("the substring is not in the text")),
    }
}

fn join(state: &State, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["iterable"])?;
    let mut out = String::new();
    for (at, part) in items(args.required(0)?)?.iter().enumerate() {
        let text = part.as_str().ok_or_else(|| {
            invalid(format!("item {at} is not a string but {}", type_of(part).name()))
        })?;
        if at > 0 {
            pay(state, separator.len())?;
            out.push_str(separator);
        }
        out.push_str(text);
    }
    Ok(Value::from(out))
}

/// `center`, `ljust` or `rjust`.
fn justify(state: &State, text: &str, name: &str, args: &[Value]) -> Result<String, Error> {
    let args = Arguments::bind(args, &["width", "fillchar"])?;
    args.required(0)?;
    let width = args.integer(0)?.ok_or_else(|| invalid("width must be an integer"))?;
    let fill = args.optional_string(1)?.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(invalid("the fill character must be exactly one character long"));
    }
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing)?;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd one left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
}

fn zfill(state: &State, text: &str, args: &[Value]) -> Result<String, Error> {
    let args = Arguments::bind(args, &["width"])?;
    args.required(0)?;
    let width = args.integer(0)?.ok_or_else(|| invalid("width must be an integer"))?;
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing)?;
    let sign = usize::from(text.starts_with(['+', '-']));
    Ok(format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]))
}

fn expand_tabs(state: &State, text: &str, args: &[Value]) -> Result<String, Error> {
    let args = Arguments::bind(args, &["tabsize"])?;
    let size = usize::try_from(args.integer(0)?.unwrap_or(8)).unwrap_or(0);
    let (mut out, mut column) = (String::new(), 0);
    for character in text.chars() {
        match character {
            '\t' if size > 0 => {
                let step = size - column % size;
                pay(state, step)?;
                out.extend(std::iter::repeat_n(' ', step));
                column += step;
            }
            '\t' => {}
            _ => {
                column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
                out.push(character);
            }
        }
    }
    Ok(out)
}
