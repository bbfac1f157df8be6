//! JSON as Python writes it: `NaN`, `Infinity` and integers of any size.

use serde_json::Value;

use crate::unreadable::unreadable;

/// Digits that always fit in 64 bits.
const SAFE_DIGITS: usize = 18;

/// Parses JSON; numbers that only Python has are kept as unreadable values.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let replaced = has_long_integer(text).then(|| replace(text)).flatten();
    match serde_json::from_str(replaced.as_deref().unwrap_or(text)) {
        Ok(value) => Ok(value),
        // The columns that an error names are those of the text as it is in the file.
        Err(error) => match replace(text).map(|text| serde_json::from_str(&text)) {
            Some(Ok(value)) => Ok(value),
            _ => Err(serde_json::from_str::<Value>(text).err().unwrap_or(error)),
        },
    }
}

fn has_long_integer(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().any(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits > SAFE_DIGITS
    })
}

/// The text with an object in place of each number that JSON or 64 bits do not have; none if there
/// is no such number.
fn replace(text: &str) -> Option<String> {
    let mut output = String::new();
    let (mut kept, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' | b'N' | b'I' => {
                let end = after_word(bytes, at);
                if let Some(description) = description(&text[at..end]) {
                    output.push_str(&text[kept..at]);
                    output.push_str(&unreadable(description).to_string());
                    kept = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    (kept > 0).then(|| output + &text[kept..])
}

fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn after_word(bytes: &[u8], start: usize) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let length = bytes[start..].iter().take_while(|byte| is_word(byte)).count();
    start + length.max(1)
}

/// What a number is that cannot be kept.
fn description(word: &str) -> Option<String> {
    if matches!(word, "NaN" | "Infinity" | "-Infinity") {
        return Some(format!("{word}, which is not a JSON number"));
    }
    let digits = word.strip_prefix('-').unwrap_or(word);
    if digits.len() > SAFE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let fits = word.parse::<i64>().is_ok() || word.parse::<u64>().is_ok();
        let shown: String = word.chars().take(24).collect();
        return (!fits).then(|| format!("the integer {shown}, which is beyond 64 bits"));
    }
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit());
    let infinite = is_number && word.parse::<f64>().is_ok_and(f64::is_infinite);
    infinite.then(|| format!("the number {word}, which is beyond 64 bits"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::unreadable::find;

    #[test]
    fn numbers_that_only_python_has_are_kept_until_they_are_read() {
        for (text, path, words) in [
            (r#"{"a": NaN, "b": "NaN"}"#, "x.a", "NaN"),
            (r#"{"b": "\"NaN", "a": [1, -Infinity]}"#, "x.a[1]", "-Infinity"),
            (r#"{"a":Infinity}"#, "x.a", "Infinity"),
            (r#"{"a": 1e999}"#, "x.a", "1e999"),
            (r#"{"a": 123456789012345678901234}"#, "x.a", "123456789012345678901234"),
        ] {
            let (found, description) = find("x", &parse(text).unwrap()).unwrap();
            assert!(found == path && description.contains(words), "{found}: {description}");
        }
    }

    #[test]
    fn other_numbers_keep_their_values() {
        let text = r#"{"a": 18446744073709551615, "b": -9223372036854775808, "c": 0.1, "d": 1e22,
            "e": "123456789012345678901234", "f": 5.0000000000000000000001}"#;
        let value = parse(text).unwrap();
        assert_eq!(value["a"], json!(u64::MAX));
        assert_eq!(value["b"], json!(i64::MIN));
        assert_eq!((&value["c"], &value["d"]), (&json!(0.1), &json!(1e22)));
        assert_eq!(value["e"], json!("123456789012345678901234"));
        assert_eq!(value["f"], json!(5.0));
    }

    #[test]
    fn as_in_python_the_last_of_equal_keys_counts_at_the_place_of_the_first() {
        let value = parse(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn an_error_names_the_column_of_the_file() {
        let error = parse(r#"{"a": NaN, "b": nonsense}"#).unwrap_err();
        assert_eq!(error.column(), 7, "{error}");
        assert!(parse("NaNa").is_err() && parse("\"\\").is_err() && parse("-").is_err());
    }
}
