//! Jinja2's filters of numbers.

use minijinja::Error;
use minijinja::value::Value;

use super::args::Arguments;
use super::characters::is_space;
use super::operators::integer;
use super::value::{Type, as_float, as_integer, invalid, type_of};

/// `value | abs`.
pub(super) fn absolute(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["x"])?;
    let value = args.required(0)?;
    match (as_integer(value), as_float(value)) {
        (Some(number), _) => number.checked_abs().map(integer).ok_or_else(|| invalid("too large")),
        (None, Some(number)) => Ok(Value::from(number.abs())),
        _ => Err(invalid(format!("abs needs a number, not {}", type_of(value).name()))),
    }
}

/// `value | int(default, base)`.
pub(super) fn int(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "default", "base"])?;
    let value = args.required(0)?;
    let default = || args.get(1).cloned().unwrap_or_else(|| Value::from(0));
    let base = args.integer(2)?.unwrap_or(10);
    match type_of(value) {
        Type::Undefined => Err(invalid("an undefined value is no number")),
        Type::Str => {
            let text = value.as_str().unwrap_or_default();
            if base != 0 && !(2..=36).contains(&base) {
                return Ok(parse_float(text).and_then(truncated).unwrap_or_else(default));
            }
            let base = u32::try_from(base).unwrap_or(10);
            let number = parse_integer(text, base).map(integer);
            let number = number.or_else(|| parse_float(text).and_then(truncated));
            Ok(number.unwrap_or_else(default))
        }
        Type::Float => {
            let number = as_float(value).unwrap_or(f64::NAN);
            if number.is_infinite() {
                return Err(invalid("infinity is no integer"));
            }
            Ok(truncated(number).unwrap_or_else(default))
        }
        _ => Ok(as_integer(value).map_or_else(default, integer)),
    }
}

fn truncated(number: f64) -> Option<Value> {
    // Python's integers go further; 2^127 is far beyond what a template counts.
    (number.is_finite() && number.abs() < 1.7e38).then(|| integer(number.trunc() as i128))
}

/// Python's `int(text, base)`.
fn parse_integer(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(is_space);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = prefixes
        .iter()
        .find(|(prefix, of)| lower.starts_with(prefix) && (base == 0 || base == *of));
    let (digits, base) = match prefixed {
        Some((_, of)) => (lower[2..].strip_prefix('_').unwrap_or(&lower[2..]), *of),
        None if base == 0 => {
            let zeros = lower.starts_with('0') && lower.contains(|c| !matches!(c, '0' | '_'));
            if zeros {
                return None;
            }
            (&lower[..], 10)
        }
        None => (&lower[..], base),
    };
    let size = i128::from_str_radix(&without_underscores(digits)?, base).ok()?;
    Some(if negative { -size } else { size })
}

/// The digits without the single underscores that Python allows between them.
fn without_underscores(digits: &str) -> Option<String> {
    let wrong =
        digits.starts_with(['_', '+', '-']) || digits.ends_with('_') || digits.contains("__");
    (!wrong && digits.is_ascii()).then(|| digits.replace('_', ""))
}

/// Python's `float(text)`.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let digit_beside = |at: usize| {
        let bytes = text.as_bytes();
        at > 0
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    if text.match_indices('_').any(|(at, _)| !digit_beside(at)) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// `value | float(default)`.
pub(super) fn float(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "default"])?;
    let value = args.required(0)?;
    let number = match type_of(value) {
        Type::Undefined => return Err(invalid("an undefined value is no number")),
        Type::Str => parse_float(value.as_str().unwrap_or_default()),
        _ => as_float(value),
    };
    let default = || args.get(1).cloned().unwrap_or_else(|| Value::from(0.0));
    Ok(number.map_or_else(default, Value::from))
}

/// `value | round(precision, method)`.
pub(super) fn round(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "precision", "method"])?;
    let value = args.required(0)?;
    let precision = args.integer(1)?.unwrap_or(0);
    let method = args.optional_string(2)?.unwrap_or("common");
    let wrong = || invalid(format!("round needs a number, not {}", type_of(value).name()));
    let number = as_float(value).ok_or_else(wrong)?;
    let power = i32::try_from(precision.clamp(-300, 300)).unwrap_or(0);
    match method {
        "common" => match as_integer(value) {
            Some(whole) if power >= 0 => Ok(integer(whole)),
            Some(whole) => Ok(integer(rounded_integer(whole, power.unsigned_abs()))),
            None if !number.is_finite() => Err(invalid("infinity and NaN cannot be rounded")),
            None if power >= 0 => {
                let digits = usize::try_from(power).unwrap_or(0);
                Ok(Value::from(format!("{number:.digits$}").parse().unwrap_or(number)))
            }
            None => {
                let step = 10f64.powi(-power);
                Ok(Value::from((number / step).round_ties_even() * step))
            }
        },
        "ceil" | "floor" => {
            let step = 10f64.powi(power);
            let scaled = number * step;
            if !scaled.is_finite() {
                return Err(invalid("infinity and NaN cannot be rounded"));
            }
            let whole = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
            // Python rounds to an integer, which has no negative zero.
            Ok(Value::from((whole + 0.0) / step))
        }
        other => Err(invalid(format!("round: the method is common, ceil or floor, not {other}"))),
    }
}

/// Rounds to a multiple of a power of ten; halves go to the even multiple.
fn rounded_integer(whole: i128, power: u32) -> i128 {
    let Some(step) = 10i128.checked_pow(power) else { return 0 };
    let (below, rest) = (whole.div_euclid(step), whole.rem_euclid(step));
    let up = rest * 2 > step || (rest * 2 == step && below % 2 != 0);
    (below + i128::from(up)) * step
}

/// `value | filesizeformat(binary)`.
pub(super) fn file_size(args: &[Value]) -> Result<Value, Error> {
    let args = Arguments::bind(args, &["value", "binary"])?;
    let value = args.required(0)?;
    let size = value.as_str().map_or_else(|| as_float(value), parse_float);
    let size = size.ok_or_else(|| invalid("filesizeformat needs a number"))?;
    let binary = args.truth(1);
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if size == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if size < base {
        return Ok(Value::from(format!("{} Bytes", size.trunc() as i128)));
    }
    let letters = if binary { "KMGTPEZY" } else { "kMGTPEZY" };
    let suffix = if binary { "iB" } else { "B" };
    let mut unit = base;
    let mut shown = String::new();
    for letter in letters.chars() {
        unit *= base;
        shown = format!("{:.1} {letter}{suffix}", base * size / unit);
        if size < unit {
            break;
        }
    }
    Ok(Value::from(shown))
}
