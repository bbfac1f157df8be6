//! Numbers as text, with Python's format types, signs, padding and grouping.

use super::value::invalid;
use minijinja::Error;

/// Characters that one formatted value may have.
const WIDEST: usize = 1_000_000;

/// Where padding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
    Center,
    /// Between the sign and the digits.
    Inside,
}

/// How a value is written: the common part of `%` and of `str.format`.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) fill: char,
    pub(super) align: Option<Align>,
    /// A leading 0 of the width: numbers are padded behind their sign.
    pub(super) zeros: bool,
    /// `+`, a space, or `-` for negative numbers only.
    pub(super) sign: char,
    pub(super) alternate: bool,
    pub(super) width: usize,
    pub(super) grouping: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

impl Spec {
    pub(super) fn new() -> Self {
        Self {
            fill: ' ',
            align: None,
            zeros: false,
            sign: '-',
            alternate: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        }
    }

    /// Refuses sizes that no template writes.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.width > WIDEST || self.precision.is_some_and(|digits| digits > 4000) {
            return Err(invalid("a width or precision of a format is too large"));
        }
        Ok(())
    }

    /// A text, cut to the precision and padded.
    pub(super) fn text(&self, text: &str) -> String {
        let cut: String = match self.precision {
            Some(limit) => text.chars().take(limit).collect(),
            None => text.to_owned(),
        };
        self.pad("", &cut, Align::Left)
    }

    /// An integer in the bases of `d`, `b`, `o`, `x` and `X`.
    pub(super) fn integer(&self, number: i128) -> String {
        let size = number.unsigned_abs();
        let (prefix, digits) = match self.kind {
            Some('b') => ("0b", format!("{size:b}")),
            Some('o') => ("0o", format!("{size:o}")),
            Some('x') => ("0x", format!("{size:x}")),
            Some('X') => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let prefix = if self.alternate { prefix } else { "" };
        let every = if matches!(self.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        self.signed(number < 0, prefix, &self.grouped(&digits, every))
    }

    /// A float in the notations of `e`, `f`, `g` and `%`.
    pub(super) fn float(&self, number: f64) -> String {
        let kind = self.kind.unwrap_or('g');
        let size = number.abs();
        let mut digits = if number.is_nan() {
            "nan".to_owned()
        } else if number.is_infinite() {
            "inf".to_owned()
        } else {
            match kind.to_ascii_lowercase() {
                'e' => exponent(size, self.precision.unwrap_or(6)),
                'g' | 'n' => self.general(size, self.precision.unwrap_or(6).max(1)),
                '%' => format!("{:.*}", self.precision.unwrap_or(6), size * 100.0),
                _ => format!("{size:.*}", self.precision.unwrap_or(6)),
            }
        };
        if kind == '%' {
            digits.push('%');
        } else if kind.is_ascii_uppercase() {
            digits = digits.to_ascii_uppercase();
        }
        let negative = number.is_sign_negative() && !number.is_nan();
        self.signed(negative, "", &self.grouped(&digits, 3))
    }

    /// C's `%g`: fixed or with an exponent, whichever the size of the number asks for.
    fn general(&self, size: f64, precision: usize) -> String {
        let scientific = exponent(size, precision - 1);
        let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let power: i64 = power.parse().unwrap_or(0);
        let places = i64::try_from(precision).unwrap_or(i64::MAX);
        if (-4..places).contains(&power) {
            let decimals = usize::try_from(places - 1 - power).unwrap_or(0);
            let fixed = format!("{size:.decimals$}");
            return if self.alternate { fixed } else { without_zeros(&fixed).to_owned() };
        }
        let digits = if self.alternate { digits } else { without_zeros(digits) };
        format!("{digits}{}", &scientific[scientific.find('e').unwrap_or(scientific.len())..])
    }

    fn grouped(&self, digits: &str, every: usize) -> String {
        let Some(separator) = self.grouping else { return digits.to_owned() };
        let whole = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (whole, rest) = digits.split_at(whole);
        let mut out = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(every) {
                out.push(separator);
            }
            out.push(digit);
        }
        out + rest
    }

    /// Puts the sign before the digits and pads them.
    pub(super) fn signed(&self, negative: bool, prefix: &str, digits: &str) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        };
        let usual = if self.zeros { Align::Inside } else { Align::Right };
        self.pad(&format!("{sign}{prefix}"), digits, usual)
    }

    fn pad(&self, front: &str, body: &str, usual: Align) -> String {
        let missing = self.width.saturating_sub(front.chars().count() + body.chars().count());
        let fill = |count: usize| self.fill.to_string().repeat(count);
        match self.align.unwrap_or(usual) {
            Align::Left => format!("{front}{body}{}", fill(missing)),
            Align::Right => format!("{}{front}{body}", fill(missing)),
            Align::Inside => format!("{front}{}{body}", fill(missing)),
            Align::Center => {
                let left = missing / 2;
                format!("{}{front}{body}{}", fill(left), fill(missing - left))
            }
        }
    }
}

/// C's `%e`: at least two digits of exponent.
fn exponent(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}
