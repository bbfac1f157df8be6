//! Python's two ways to fill a text: `"%s" % value` and `"{}".format(value)`.

use std::iter::Peekable;
use std::str::Chars;

use minijinja::Error;
use minijinja::value::Value;

use super::numbers::{Align, Spec};
use super::printing::{float, repr, text};
use super::value::{Type, as_float, as_integer, get_attribute, get_item, invalid, items, type_of};

/// `format % right`.
pub(super) fn percent(format: &str, right: &Value) -> Result<String, Error> {
    let kind = type_of(right);
    let values = if kind == Type::Tuple { items(right)? } else { vec![right.clone()] };
    let mut values = values.into_iter();
    let mut characters = format.chars().peekable();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let key = mapping_key(&mut characters)?;
        let mut spec = flags(&mut characters);
        let mut next =
            || values.next().ok_or_else(|| invalid("not enough arguments for format string"));
        spec.width = match size(&mut characters, &mut next)? {
            Some(width) if width < 0 => {
                spec.align = Some(Align::Left);
                usize::try_from(-width).unwrap_or(usize::MAX)
            }
            width => usize::try_from(width.unwrap_or(0)).unwrap_or(usize::MAX),
        };
        if characters.next_if_eq(&'.').is_some() {
            let precision = size(&mut characters, &mut next)?.unwrap_or(0);
            spec.precision = Some(usize::try_from(precision).unwrap_or(0));
        }
        while characters.next_if(|c| matches!(c, 'h' | 'l' | 'L')).is_some() {}
        spec.check()?;
        let conversion = characters.next().ok_or_else(|| invalid("incomplete format"))?;
        spec.kind = Some(conversion);
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let value = match key {
            Some(key) if kind == Type::Dict => {
                let found = right.get_item(&Value::from(key.as_str()))?;
                let missing = || invalid(format!("the format's key '{key}' is missing"));
                if found.is_undefined() { return Err(missing()) } else { found }
            }
            Some(_) => return Err(invalid("format requires a mapping")),
            None => next()?,
        };
        out.push_str(&converted(spec, &value)?);
    }
    let unused = values.next().is_some() && matches!(kind, Type::Tuple);
    let plain = kind != Type::Tuple && !matches!(kind, Type::Dict | Type::List | Type::Undefined);
    if unused || (plain && !uses_value(format)) {
        return Err(invalid("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// Whether a format without keys takes a value.
fn uses_value(format: &str) -> bool {
    format.replace("%%", "").contains('%')
}

fn mapping_key(characters: &mut Peekable<Chars>) -> Result<Option<String>, Error> {
    if characters.next_if_eq(&'(').is_none() {
        return Ok(None);
    }
    let (mut key, mut depth) = (String::new(), 1);
    for character in characters {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(Some(key));
        }
        key.push(character);
    }
    Err(invalid("incomplete format key"))
}

fn flags(characters: &mut Peekable<Chars>) -> Spec {
    let mut spec = Spec::new();
    let mut left = false;
    while let Some(flag) = characters.next_if(|c| matches!(c, '#' | '0' | '-' | ' ' | '+')) {
        match flag {
            '#' => spec.alternate = true,
            '0' => (spec.fill, spec.zeros) = ('0', true),
            '-' => left = true,
            '+' => spec.sign = '+',
            _ if spec.sign != '+' => spec.sign = ' ',
            _ => {}
        }
    }
    if left {
        spec.fill = ' ';
        spec.align = Some(Align::Left);
    }
    spec
}

/// A width or precision: digits, or `*` for the next argument.
fn size(
    characters: &mut Peekable<Chars>,
    next: &mut impl FnMut() -> Result<Value, Error>,
) -> Result<Option<i64>, Error> {
    if characters.next_if_eq(&'*').is_some() {
        let number = as_integer(&next()?).ok_or_else(|| invalid("* wants int"))?;
        return Ok(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    }
    Ok(digits(characters).map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
}

fn digits(characters: &mut Peekable<Chars>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
        characters.next();
        let before: usize = number.unwrap_or(0);
        number = Some(before.saturating_mul(10).saturating_add(digit as usize));
    }
    number
}

fn converted(mut spec: Spec, value: &Value) -> Result<String, Error> {
    let kind = spec.kind.unwrap_or('s');
    if matches!(kind, 's' | 'r' | 'a' | 'c') {
        spec.fill = ' ';
        spec.align = spec.align.or(Some(Align::Right));
    }
    match kind {
        's' => Ok(spec.text(&text(value)?)),
        'r' => Ok(spec.text(&repr(value)?)),
        'c' => Ok(spec.text(&one_character(value)?)),
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let whole = match (kind, as_float(value)) {
                ('d' | 'i' | 'u', Some(number)) if type_of(value) == Type::Float => {
                    let fits = number.is_finite() && number.abs() < 1e38;
                    fits.then_some(number.trunc() as i128)
                }
                _ => as_integer(value),
            };
            let message = || invalid(format!("%{kind} needs a number, not {}", type_name(value)));
            let whole = whole.ok_or_else(message)?;
            if let Some(least) = spec.precision {
                let digits = Spec { width: 0, sign: '-', ..spec.clone() };
                let digits = digits.integer(whole.saturating_abs());
                return Ok(spec.signed(whole < 0, "", &format!("{digits:0>least$}")));
            }
            Ok(spec.integer(whole))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = as_float(value);
            let message = || invalid(format!("%{kind} needs a number, not {}", type_name(value)));
            Ok(spec.float(number.ok_or_else(message)?))
        }
        other => Err(invalid(format!("unsupported format character %{other}"))),
    }
}

fn type_name(value: &Value) -> &'static str {
    type_of(value).name()
}

fn one_character(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str().filter(|text| text.chars().count() == 1) {
        return Ok(text.to_owned());
    }
    let code = as_integer(value).and_then(|code| u32::try_from(code).ok());
    let character = code.and_then(char::from_u32);
    character.map(String::from).ok_or_else(|| invalid("%c needs one character or its code"))
}

/// `format.format(*positional, **named)`.
pub(super) fn braces(
    format: &str,
    positional: &[Value],
    named: &[(String, Value)],
) -> Result<String, Error> {
    let mut fields = Fields { positional, named, next: 0 };
    fields.fill(format, 2)
}

struct Fields<'a> {
    positional: &'a [Value],
    named: &'a [(String, Value)],
    next: usize,
}

impl Fields<'_> {
    fn fill(&mut self, format: &str, depth: usize) -> Result<String, Error> {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                out.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(invalid("single '}' in a format"));
            }
            let end = field_end(rest).ok_or_else(|| invalid("'{' without '}' in a format"))?;
            if depth == 0 {
                return Err(invalid("a format's fields are nested too deep"));
            }
            out.push_str(&self.field(&rest[..end], depth)?);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn field(&mut self, field: &str, depth: usize) -> Result<String, Error> {
        let at = field.find(['!', ':']).unwrap_or(field.len());
        let (name, rest) = field.split_at(at);
        let value = self.value(name)?;
        let (value, rest) = match rest.strip_prefix('!') {
            Some(rest) if rest.starts_with('s') => (Value::from(text(&value)?), &rest[1..]),
            Some(rest) if rest.starts_with('r') => (Value::from(repr(&value)?), &rest[1..]),
            Some(_) => return Err(invalid("a format's conversion must be !s or !r")),
            None => (value, rest),
        };
        let spec = match rest.strip_prefix(':') {
            Some(spec) => self.fill(spec, depth - 1)?,
            None if rest.is_empty() => String::new(),
            None => return Err(invalid("expected ':' after a format's conversion")),
        };
        formatted(&value, &spec)
    }

    fn value(&mut self, name: &str) -> Result<Value, Error> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let index = if first.is_empty() {
            self.next += 1;
            Some(self.next - 1)
        } else {
            first.parse::<usize>().ok()
        };
        let found = match index {
            Some(index) => self.positional.get(index),
            None => self.named.iter().find(|(key, _)| key == first).map(|(_, value)| value),
        };
        let missing = || invalid(format!("the format's field {{{name}}} has no value"));
        let mut value = found.ok_or_else(missing)?.clone();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (key, after) = after.split_once(']').ok_or_else(missing)?;
                let key = key.parse::<u64>().map_or_else(|_| Value::from(key), Value::from);
                value = get_item(&value, &key)?;
                rest = after;
            } else {
                let after = rest.strip_prefix('.').ok_or_else(missing)?;
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = get_attribute(&value, &after[..end])?;
                rest = &after[end..];
            }
        }
        Ok(value)
    }
}

/// The length of a field up to its closing brace.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Python's `format(value, spec)`.
fn formatted(value: &Value, written: &str) -> Result<String, Error> {
    if written.is_empty() {
        return text(value);
    }
    let spec = parse(written).ok_or_else(|| invalid(format!("invalid format '{written}'")))?;
    spec.check()?;
    let unknown = || {
        let kind = type_of(value).name();
        invalid(format!("the format '{written}' is not for {kind}"))
    };
    match (type_of(value), spec.kind) {
        (Type::Str, None | Some('s')) if spec.sign == '-' && !spec.alternate => {
            if spec.align == Some(Align::Inside) || spec.grouping.is_some() {
                return Err(unknown());
            }
            Ok(spec.text(value.as_str().unwrap_or_default()))
        }
        (Type::Int | Type::Bool, None | Some('d' | 'b' | 'o' | 'x' | 'X' | 'n'))
            if spec.precision.is_none() =>
        {
            Ok(spec.integer(as_integer(value).ok_or_else(unknown)?))
        }
        (Type::Int | Type::Bool | Type::Float, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => {
            Ok(spec.float(as_float(value).ok_or_else(unknown)?))
        }
        (Type::Float, None) => {
            let number = as_float(value).ok_or_else(unknown)?;
            if spec.precision.is_some() {
                let text = Spec { width: 0, ..spec.clone() }.float(number);
                let bare = text.trim_start_matches(['-', '+', ' ']);
                let point = if bare.contains(['.', 'e', 'n']) { "" } else { ".0" };
                return Ok(spec.signed(number.is_sign_negative(), "", &format!("{bare}{point}")));
            }
            Ok(spec.signed(number.is_sign_negative(), "", &float(number.abs())))
        }
        _ => Err(unknown()),
    }
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
fn parse(written: &str) -> Option<Spec> {
    let mut spec = Spec::new();
    let mut characters = written.chars().peekable();
    let align = |c: char| match c {
        '<' => Some(Align::Left),
        '>' => Some(Align::Right),
        '^' => Some(Align::Center),
        '=' => Some(Align::Inside),
        _ => None,
    };
    let mut ahead = written.chars();
    let (first, second) = (ahead.next()?, ahead.next());
    if let Some(found) = second.and_then(align) {
        (spec.fill, spec.align) = (first, Some(found));
        characters.nth(1);
    } else if let Some(found) = align(first) {
        spec.align = Some(found);
        characters.next();
    }
    if let Some(sign) = characters.next_if(|c| matches!(c, '+' | '-' | ' ')) {
        spec.sign = sign;
    }
    spec.alternate = characters.next_if_eq(&'#').is_some();
    if characters.next_if_eq(&'0').is_some() {
        spec.zeros = spec.align.is_none();
        spec.fill =
            if spec.fill == ' ' && second.and_then(align).is_none() { '0' } else { spec.fill };
    }
    spec.width = digits(&mut characters).unwrap_or(0);
    spec.grouping = characters.next_if(|c| matches!(c, ',' | '_'));
    if characters.next_if_eq(&'.').is_some() {
        spec.precision = Some(digits(&mut characters)?);
    }
    spec.kind = characters.next();
    characters.next().is_none().then_some(spec)
}
