//! Recipes as TOML: read with overrides, written with comments, compared.

use std::path::Path;

use super::*;

impl Recipe {
    /// Reads a recipe and applies `key.path=value` overrides; missing keys keep their defaults.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value has the wrong type or range.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::RecipeFile { path: path.into(), source })?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// As [`read`](Self::read), from text; `origin` names it in messages.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let syntax = |origin: &str, source| TrainError::RecipeSyntax {
            origin: origin.into(),
            source: Box::new(source),
        };
        let given: toml::Table = toml::from_str(text).map_err(|source| syntax(origin, source))?;
        renamed::check(&given, origin)?;
        // Parsed once directly, for errors with line and column: the merge below has no lines.
        toml::from_str::<Self>(text).map_err(|source| syntax(origin, source))?;
        let mut merged = toml::Table::try_from(Self::default()).unwrap_or_default();
        merge(&mut merged, given);
        for item in overrides {
            let table =
                override_table(item).map_err(|source| syntax(&format!("--set {item}"), source))?;
            renamed::check(&table, &format!("--set {item}"))?;
            merge(&mut merged, table);
        }
        let mut recipe: Self = merged.try_into().map_err(|source| {
            syntax(if overrides.is_empty() { origin } else { "--set" }, source)
        })?;
        // TOML has no word for nothing, so files say "".
        for file in recipe.data.optional_files() {
            file.take_if(|path| path.as_os_str().is_empty());
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, a comment above every field.
    pub fn to_commented_toml(&self) -> String {
        let mut shown = self.clone();
        for file in shown.data.optional_files() {
            file.get_or_insert_default();
        }
        let plain = toml::to_string(&shown).unwrap_or_default();
        let mut section = String::new();
        let mut text = String::new();
        // Inside a text of several lines nothing is a section or a field.
        let mut inside = None;
        for line in plain.split_inclusive('\n') {
            let whole = line;
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(delimiter) = inside {
                inside = (!closes(line, delimiter)).then_some(delimiter);
            } else if let Some(name) =
                line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.to_owned();
            } else if let Some((field, value)) = line.split_once(" = ") {
                if let Some(comment) = comment(&section, field) {
                    text.push_str(&format!("# {}\n", comment.trim()));
                }
                let opened = ["\"\"\"", "'''"].into_iter().find(|open| value.starts_with(open));
                inside = opened.filter(|open| !closes(&value[open.len()..], open));
            }
            text.push_str(whole);
        }
        text
    }

    /// Keys whose values differ, dotted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let table = |recipe: &Self| toml::Value::try_from(recipe).ok();
        let mut keys = Vec::new();
        if let (Some(a), Some(b)) = (table(self), table(other)) {
            compare(&a, &b, "", &mut keys);
        }
        keys
    }
}

/// Whether a text that this delimiter opened ends in a line of it.
fn closes(line: &str, delimiter: &str) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        if rest.starts_with(delimiter) {
            return true;
        }
        // What a backslash stands before is no delimiter; literal texts know no backslashes.
        let escaped = rest.starts_with('\\') && delimiter.starts_with('"');
        let mut letters = rest.chars();
        letters.nth(usize::from(escaped));
        rest = letters.as_str();
    }
    false
}

fn comment(section: &str, field: &str) -> Option<&'static str> {
    let comments = match section {
        "model" => ModelSection::COMMENTS,
        "data" => DataSection::COMMENTS,
        "sft" => SftSection::COMMENTS,
        "negatives" => NegativesSection::COMMENTS,
        "negatives.weights" => NegativeWeights::COMMENTS,
        "reward" => RewardSection::COMMENTS,
        "policy" => PolicySection::COMMENTS,
        "gate" => GateSection::COMMENTS,
        "health" => HealthSection::COMMENTS,
        "run" => RunSection::COMMENTS,
        "model.lora" => {
            return Some(match field {
                "r" => "Rank",
                "lora_alpha" => "Scale: lora_alpha / r",
                "target_modules" => {
                    "Layers by name; \"all-linear\" is every one but the output head"
                }
                "use_rslora" => "Scale by lora_alpha / √r instead",
                _ => return None,
            });
        }
        _ if section.ends_with(".optimizer") => {
            return Some(match field {
                "lr" => "Peak learning rate",
                "schedule" => "\"constant\", \"linear\" or \"cosine\"",
                "warmup_ratio" => "Share of the steps in which the rate rises from 0",
                "adam_epsilon" => "AdamW's ε",
                "weight_decay" => "Decoupled weight decay",
                "max_grad_norm" => "Bound of the gradient's global norm",
                _ => return None,
            });
        }
        _ => return None,
    };
    comments.iter().find(|(name, _)| *name == field).map(|(_, comment)| *comment)
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(given)) => merge(inner, given),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `a.b=value` as a table; a value that is not TOML is taken as a string.
fn override_table(item: &str) -> Result<toml::Table, toml::de::Error> {
    let parsed = toml::from_str(item);
    match (parsed, item.split_once('=')) {
        (Ok(table), _) => Ok(table),
        (Err(_), Some((key, value))) => {
            toml::from_str(&format!("{}={}", key, toml::Value::String(value.trim().into())))
        }
        (Err(error), None) => Err(error),
    }
}

fn compare(a: &toml::Value, b: &toml::Value, prefix: &str, keys: &mut Vec<String>) {
    match (a, b) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(a, b, &path, keys),
                    _ => keys.push(path),
                }
            }
        }
        _ if a != b => keys.push(prefix.to_owned()),
        _ => {}
    }
}
