//! Values of a file that JSON cannot hold, kept in place until a column that holds one is read.
//!
//! `NaN` in a column that nobody reads is no reason to refuse a row, so the reader keeps such a value
//! as an object with one private key, and every read of a column refuses it by its description.

use serde_json::{Map, Value};

/// No column of a file has this name: JSON keys with a NUL character are refused with the row.
const KEY: &str = "\0unreadable";

/// The stand-in for a value; `description` completes "it holds …".
pub(crate) fn unreadable(description: impl Into<String>) -> Value {
    Value::Object(Map::from_iter([(KEY.to_owned(), Value::String(description.into()))]))
}

/// The description of a stand-in.
pub(crate) fn description(value: &Value) -> Option<&str> {
    value.as_object()?.get(KEY)?.as_str()
}

/// The first stand-in within a value: its path, which begins with `name`, and its description.
pub(crate) fn find(name: &str, value: &Value) -> Option<(String, String)> {
    if let Some(description) = description(value) {
        return Some((name.to_owned(), description.to_owned()));
    }
    match value {
        Value::Array(parts) => parts
            .iter()
            .enumerate()
            .find_map(|(index, part)| find(&format!("{name}[{index}]"), part)),
        Value::Object(parts) => {
            parts.iter().find_map(|(key, part)| find(&format!("{name}.{key}"), part))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_path_leads_to_the_value() {
        let value = json!({"a": [1, {"b": unreadable("NaN")}]});
        assert_eq!(find("x", &value), Some(("x.a[1].b".to_owned(), "NaN".to_owned())));
        assert_eq!(find("x", &json!({"a": [null, 1]})), None);
    }
}
