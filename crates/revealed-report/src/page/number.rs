//! Numbers as people read them.

/// Rounding error of zero, relative to an interval's width.
const ROUNDING: f64 = 1e-12;

/// About three digits; `—` for none.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let text = match () {
        () if value.is_nan() => return "—".into(),
        () if value.is_infinite() => {
            return if value > 0.0 { "∞".into() } else { "−∞".into() };
        }
        () if size >= 1e5 || (size > 0.0 && size < 1e-3) => format!("{size:.1e}"),
        () if size >= 100.0 => format!("{size:.0}"),
        () if size >= 10.0 => format!("{size:.1}"),
        () if size >= 1.0 => format!("{size:.2}"),
        () => format!("{size:.3}"),
    };
    if value < 0.0 { format!("−{text}") } else { text }
}

/// The same with its sign always.
pub fn signed(value: f64) -> String {
    match value {
        value if value >= 0.0 => format!("+{}", number(value)),
        value => number(value),
    }
}

/// An interval; an end that is zero up to rounding is written as 0.
pub fn range([low, high]: [f64; 2]) -> String {
    let end = |end: f64| if end.abs() < ROUNDING * (high - low) { 0.0 } else { end };
    format!("{} to {}", number(end(low)), number(end(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits_and_a_true_minus() {
        let all = [0.0, 0.1234, -1.234, 12.34, 1234.0, 2.5e-5, 1e6, f64::NAN, f64::NEG_INFINITY];
        let texts: Vec<String> = all.into_iter().map(number).collect();
        let expected = ["0.000", "0.123", "−1.23", "12.3", "1234", "2.5e-5", "1.0e6", "—", "−∞"];
        assert_eq!(texts, expected);
        assert_eq!((signed(0.5), signed(-0.5)), ("+0.500".into(), "−0.500".into()));
        assert_eq!(range([3.4e-17, 0.39]), "0.000 to 0.390");
        assert_eq!(range([-2e-5, 1e-5]), "−2.0e-5 to 1.0e-5");
    }
}
