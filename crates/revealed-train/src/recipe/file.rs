//! Recipes as TOML: read with overrides, written with comments, compared.

use std::path::{Path, PathBuf};

use super::data::{DataSection, ModelSection};
use super::gate::{GateSection, HealthSection};
use super::negatives::{NegativeWeights, NegativesSection};
use super::policy::PolicySection;
use super::renamed;
use super::reward::RewardSection;
use super::root::Recipe;
use super::run::RunSection;
use super::sft::SftSection;
use crate::error::TrainError;

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

    /// As [`read`](Self::read), from text; `origin` is its name in error messages.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let syntax = |origin: &str, source| TrainError::RecipeSyntax {
            origin: origin.into(),
            source: Box::new(source),
        };
        let given: toml::Table = toml::from_str(text).map_err(|source| syntax(origin, source))?;
        renamed::check(&given, origin)?;
        // Parsed directly first, for errors with line and column: the merged table has no positions.
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
        // TOML has no null, so an empty string means no file.
        for file in optional_files(&mut recipe.data) {
            file.take_if(|path| path.as_os_str().is_empty());
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML, with a comment above every field.
    pub fn to_commented_toml(&self) -> String {
        let mut shown = self.clone();
        for file in optional_files(&mut shown.data) {
            file.get_or_insert_default();
        }
        let plain = toml::to_string(&shown).unwrap_or_default();
        let mut section = String::new();
        let mut text = String::new();
        // A line within a multi-line string is neither a section nor a field.
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

fn optional_files(data: &mut DataSection) -> [&mut Option<PathBuf>; 2] {
    [&mut data.prompts, &mut data.held_out_file]
}

/// Whether a multi-line string with this delimiter ends in this line.
fn closes(line: &str, delimiter: &str) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        if rest.starts_with(delimiter) {
            return true;
        }
        // An escaped character is no delimiter; literal strings have no escapes.
        let escaped = rest.starts_with('\\') && delimiter.starts_with('"');
        let mut chars = rest.chars();
        chars.nth(usize::from(escaped));
        rest = chars.as_str();
    }
    false
}

/// Comment of a field; none for unknown fields.
fn comment(section: &str, field: &str) -> Option<&'static str> {
    let comments = match section {
        "model" => ModelSection::COMMENTS,
        "model.lora" => LORA_COMMENTS,
        "data" => DataSection::COMMENTS,
        "sft" => SftSection::COMMENTS,
        "negatives" => NegativesSection::COMMENTS,
        "negatives.weights" => NegativeWeights::COMMENTS,
        "reward" => RewardSection::COMMENTS,
        "policy" => PolicySection::COMMENTS,
        "gate" => GateSection::COMMENTS,
        "health" => HealthSection::COMMENTS,
        "run" => RunSection::COMMENTS,
        _ if section.ends_with(".optimizer") => OPTIMIZER_COMMENTS,
        _ => return None,
    };
    comments.iter().find(|(name, _)| *name == field).map(|(_, comment)| *comment)
}

const LORA_COMMENTS: &[(&str, &str)] = &[
    ("r", "Rank"),
    ("lora_alpha", "Scale: lora_alpha / r"),
    ("target_modules", "Names of layers; \"all-linear\" for all but the output head"),
    ("use_rslora", "Scale by lora_alpha / √r instead"),
];

const OPTIMIZER_COMMENTS: &[(&str, &str)] = &[
    ("lr", "Peak learning rate"),
    ("schedule", "\"constant\", \"linear\" or \"cosine\""),
    ("warmup_ratio", "Share of the steps in which the learning rate rises from 0"),
    ("adam_epsilon", "AdamW's ε"),
    ("weight_decay", "Decoupled weight decay"),
    ("max_grad_norm", "Maximum global norm of the gradient"),
];

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

/// `a.b=value` as a table; a value that is not TOML is read as a string.
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
