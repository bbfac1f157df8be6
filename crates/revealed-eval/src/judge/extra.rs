//! Further request fields of some endpoints: grammars, response formats, token biases.

use serde_json::{Map, Value};

use super::JudgeError;

/// Fields that the program sets, or that would change how answers are counted or read.
const OURS: [&str; 7] =
    ["model", "messages", "temperature", "max_tokens", "max_completion_tokens", "n", "stream"];

/// Refuses fields of ours, and values that TOML has and JSON has not.
pub(super) fn check(extra: &Map<String, Value>) -> Result<(), JudgeError> {
    if let Some(key) = extra.keys().find(|key| OURS.contains(&key.as_str())) {
        return Err(JudgeError::ExtraOurs { key: key.clone() });
    }
    match extra.iter().find(|(_, value)| !is_json(value)) {
        Some((key, _)) => Err(JudgeError::ExtraValue { key: key.clone() }),
        None => Ok(()),
    }
}

/// TOML has no null: one that is there was a `nan` or `inf`. A date is read as a table with a name of its own.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(all) => all.iter().all(is_json),
        Value::Object(all) => {
            all.iter().all(|(key, value)| !key.starts_with("$__toml") && is_json(value))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::judge::JudgeSettings;

    fn message(extra: &str) -> String {
        let text = format!("url = \"http://h/v1\"\nmodel = \"m\"\n[extra]\n{extra}\n");
        let settings: JudgeSettings = toml::from_str(&text).unwrap();
        settings.check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn fields_of_ours_and_values_that_json_has_not_are_refused_by_name() {
        assert_eq!(message("grammar = 'root ::= \"a\"'\nlogit_bias = {15 = -100, 16 = 1.5}"), "");
        for key in super::OURS {
            let message = message(&format!("{key} = 1"));
            assert!(message.contains(&format!("judge.extra.{key} is")), "{message}");
        }
        for value in ["nan", "{a = [inf]}", "2024-02-29", "[[1979-05-27T07:32:00Z]]"] {
            let message = message(&format!("seed = {value}"));
            assert!(message.contains("judge.extra.seed"), "{value}: {message}");
        }
    }
}
