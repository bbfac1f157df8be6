//! What templates written for Python expect: its way to print values, its JSON and its dates.

use std::io;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

/// Parts of a list or mapping that is written, those of its parts included: lists that hold a list twice grow without costing steps.
const MOST_PARTS: usize = 1_000_000;
/// Lists in lists, as JSON readers limit them.
const MOST_LEVELS: usize = 128;
/// Letters of a date's format.
const LONGEST_FORMAT: usize = 1000;

/// Refuses what no template writes.
fn within(value: &Value, left: &mut usize, level: usize) -> Result<(), Error> {
    let large = || {
        Error::new(
            ErrorKind::InvalidOperation,
            "a list or mapping is too large or too deep to be written",
        )
    };
    *left = left.checked_sub(1).ok_or_else(large)?;
    if level > MOST_LEVELS {
        return Err(large());
    }
    let kind = value.kind();
    if !matches!(kind, ValueKind::Seq | ValueKind::Map) {
        return Ok(());
    }
    for part in value.try_iter()? {
        if kind == ValueKind::Map {
            within(&value.get_item(&part)?, left, level + 1)?;
        }
        within(&part, left, level + 1)?;
    }
    Ok(())
}

/// `{{ value }}`: Python prints `True`, `False` and `None`.
pub(super) fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
        }
        ValueKind::None => out.write_str("None").map_err(Error::from),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            within(value, &mut MOST_PARTS.clone(), 0)?;
            minijinja::escape_formatter(out, state, value)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `json.dumps(value, ensure_ascii=False)`: a space after `,` and `:`, nothing escaped for HTML.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    for known in ["ensure_ascii", "separators", "sort_keys"] {
        // Transformers' defaults are the only values seen in templates; they are accepted and ignored.
        let _: Option<Value> = options.get(known)?;
    }
    options.assert_all_used()?;
    within(value, &mut MOST_PARTS.clone(), 0)?;
    let bytes = match indent {
        // A pretty printer's indent is text; no template needs more than a few spaces.
        Some(width) => {
            json(value, PrettyFormatter::with_indent(" ".repeat(width.min(16)).as_bytes()))
        }
        None => json(value, SpacedFormatter),
    };
    let bad = |cause| Error::new(ErrorKind::BadSerialization, "cannot be JSON").with_source(cause);
    let text = String::from_utf8(bytes.map_err(bad)?);
    text.map(Value::from).map_err(|_| Error::new(ErrorKind::BadSerialization, "is not UTF-8"))
}

fn json(value: &Value, formatter: impl Formatter) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

struct SpacedFormatter;

impl Formatter for SpacedFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object_value(w)?;
        w.write_all(b" ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Python's `strftime` in UTC, for the directives that templates use.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    if format.len() > LONGEST_FORMAT {
        let message = format!("strftime_now takes {LONGEST_FORMAT} letters at most");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let days = seconds / 86_400;
    let clock = seconds % 86_400;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let month_name = MONTHS[month as usize - 1];
    // 1970-01-01 was a Thursday.
    let day_name = DAYS[((days + 3) % 7) as usize];
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let directive = characters.next();
        out.push_str(&match directive {
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let shown = other.map(String::from).unwrap_or_default();
                let message = format!("strftime_now does not know %{shown}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(out)
}

/// Year, month and day of a day since 1970 (Gregorian; `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_python() {
        // python: datetime.fromtimestamp(1709210096, UTC).strftime(..)
        let text = strftime("%a %A %d %b %B %Y %y %H:%M:%S %I %p %%", 1_709_210_096).unwrap();
        assert_eq!(text, "Thu Thursday 29 Feb February 2024 24 12:34:56 12 PM %");
        assert_eq!(strftime("%F", 0).unwrap(), "1970-01-01");
        assert_eq!(strftime("%F %T", 4_102_444_799).unwrap(), "2099-12-31 23:59:59");
        assert!(strftime("%q", 0).is_err() && strftime("%", 0).is_err());
    }
}
