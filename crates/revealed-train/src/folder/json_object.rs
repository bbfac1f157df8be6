//! A JSON file in which single fields are changed and all others keep their text.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};

use crate::error::TrainError;

/// Fields of a JSON object in order, each value as text: numbers that Rust would round (such as `model_max_length`) and escapes
/// are preserved.
#[derive(Debug, Clone, Default)]
pub(crate) struct JsonObject {
    fields: Vec<(String, String)>,
}

impl JsonObject {
    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not a JSON object.
    pub fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrainError::io(path)(error)),
        };
        let fields = fields(&text).map_err(|error| TrainError::io(path)(error.into()))?;
        Ok(Some(Self { fields }))
    }

    /// Value of a field; null if it is missing.
    pub fn get(&self, name: &str) -> Value {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Sets a field; an existing field keeps its position.
    pub fn set(&mut self, name: &str, value: &Value) {
        self.set_text(name, value.to_string());
    }

    fn set_text(&mut self, name: &str, text: String) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = text,
            None => self.fields.push((name.to_owned(), text)),
        }
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| known != name);
    }

    /// Sets every field of `other`.
    pub fn overlay(&mut self, other: Self) {
        other.fields.into_iter().for_each(|(name, text)| self.set_text(&name, text));
    }

    /// Writes the object, one field per line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        let line = |(name, text): &(String, String)| format!("  {}: {text}", Value::from(&**name));
        let lines: Vec<String> = self.fields.iter().map(line).collect();
        let text = format!("{{\n{}\n}}\n", lines.join(",\n"));
        Ok(revealed_models::write_file(path, text.as_bytes())?)
    }
}

/// Fields of a JSON object; the last value of a name that occurs twice, as in Python.
fn fields(text: &str) -> Result<Vec<(String, String)>, serde_json::Error> {
    // The text is now known to be an object: between its values there are only commas and colons.
    serde_json::from_str::<Map<String, Value>>(text)?;
    let mut object = JsonObject::default();
    let mut rest = between(text).strip_prefix('{').unwrap_or_default();
    loop {
        rest = between(rest);
        if rest.is_empty() || rest.starts_with('}') {
            return Ok(object.fields);
        }
        let (name, after) = first_value(rest)?;
        let (value, after) = first_value(between(after))?;
        object.set_text(&serde_json::from_str::<String>(name)?, value.to_owned());
        rest = after;
    }
}

fn between(text: &str) -> &str {
    text.trim_start_matches([' ', '\n', '\r', '\t', ',', ':'])
}

/// Text of the first value, and the rest.
fn first_value(text: &str) -> Result<(&str, &str), serde_json::Error> {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next().transpose()?;
    Ok(text.split_at(values.byte_offset()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_not_set_keep_their_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer_config.json");
        assert!(JsonObject::read(&path).unwrap().is_none());
        let text = "{\"a\" : {\"x\": [1, {}],\n \"y\": \"\\u00e9 }, \"}, \"model_max_length\": \
            1000000000000000019884624838656,\"n\":null, \"n\": -1e400 , \"b\\\"\": true}";
        let text = text.replace("-1e400", "-1e40");
        fs::write(&path, &text).unwrap();
        let mut object = JsonObject::read(&path).unwrap().unwrap();
        assert_eq!(object.get("a"), json!({"x": [1, {}], "y": "é }, "}));
        assert_eq!((object.get("b\""), object.get("c")), (json!(true), Value::Null));
        object.set("b\"", &json!([2]));
        object.set("new", &json!("ü"));
        object.remove("n");
        object.write(&path).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        let expected = "{\n  \"a\": {\"x\": [1, {}],\n \"y\": \"\\u00e9 }, \"},\n  \"model_max_length\": \
            1000000000000000019884624838656,\n  \"b\\\"\": [2],\n  \"new\": \"ü\"\n}\n";
        assert_eq!(written, expected);
        fs::write(&path, "[1]").unwrap();
        let error = JsonObject::read(&path).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json"), "{error}");
    }
}
