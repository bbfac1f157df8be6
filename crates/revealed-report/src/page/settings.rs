//! `recipe.toml` as dotted keys: the report reads a few of them and shows them all.

use std::collections::BTreeMap;

/// A recipe's keys with their values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<String, toml::Value>,
}

impl Settings {
    /// From TOML.
    ///
    /// # Errors
    /// What is wrong with the text, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            error.message().lines().next().unwrap_or("not TOML").to_owned()
        })?;
        let mut values = BTreeMap::new();
        flatten(String::new(), toml::Value::Table(table), &mut values);
        Ok(Self { values })
    }

    /// A number, whole or not.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            toml::Value::Float(value) => Some(*value),
            toml::Value::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// All keys with their values as TOML writes them, sorted.
    pub fn all(&self) -> impl Iterator<Item = (&str, String)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.to_string()))
    }

    /// What a nat of KL to the SFT model costs in the objective; nothing where the anchor has moved away from it.
    pub fn kl_price(&self) -> Option<f64> {
        match self.text("policy.reference") {
            Some("moving") => Some(0.0),
            _ => self.number("policy.kl_coef"),
        }
    }

    /// Keys whose values differ, with both values; `None` where one has no such key.
    pub fn differences(&self, other: &Self) -> Vec<(String, [Option<String>; 2])> {
        let keys: std::collections::BTreeSet<&String> =
            self.values.keys().chain(other.values.keys()).collect();
        keys.into_iter()
            .map(|key| (key, [self, other].map(|of| of.values.get(key).map(ToString::to_string))))
            .filter(|(_, [a, b])| a != b)
            .map(|(key, values)| (key.clone(), values))
            .collect()
    }
}

fn flatten(prefix: String, value: toml::Value, into: &mut BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(key, value, into);
            }
        }
        value => {
            into.insert(prefix, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dotted_and_differences_have_both_values() {
        let a = Settings::parse("[policy]\nkl_coef = 0.1\nsteps = 3\n[run]\nout = \"a\"").unwrap();
        let b = Settings::parse("[policy]\nkl_coef = 0.2\nsteps = 3").unwrap();
        assert_eq!((a.number("policy.steps"), a.text("run.out")), (Some(3.0), Some("a")));
        assert_eq!((a.kl_price(), b.kl_price()), (Some(0.1), Some(0.2)));
        let moving = Settings::parse("[policy]\nkl_coef = 0.1\nreference = \"moving\"").unwrap();
        assert_eq!(moving.kl_price(), Some(0.0));
        assert_eq!(Settings::default().kl_price(), None);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            a.differences(&b),
            [
                ("policy.kl_coef".to_owned(), [some("0.1"), some("0.2")]),
                ("run.out".to_owned(), [some("\"a\""), None]),
            ]
        );
        assert!(Settings::parse("[policy").is_err());
    }
}
