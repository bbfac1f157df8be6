//! The choices that turn text into tokens.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Where the chat template comes from; in a file `"auto"`, `"none"` or a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum TemplateChoice {
    /// The model folder's own template if it has one, plain text otherwise.
    #[default]
    Auto,
    /// Plain text, whatever the model folder holds.
    None,
    /// The Jinja template in this file.
    File(PathBuf),
}

impl From<String> for TemplateChoice {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "none" => Self::None,
            _ => Self::File(PathBuf::from(text)),
        }
    }
}

impl From<TemplateChoice> for String {
    fn from(choice: TemplateChoice) -> Self {
        match choice {
            TemplateChoice::Auto => "auto".to_owned(),
            TemplateChoice::None => "none".to_owned(),
            TemplateChoice::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// What happens to a prompt of more than `max_prompt_tokens` tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongPrompt {
    /// The row is dropped and listed: a prompt without its beginning is another prompt.
    #[default]
    Drop,
    /// The last tokens are kept, behind the BOS if there is one.
    TruncateLeft,
}

/// What happens to a completion of more than `max_completion_tokens` tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongCompletion {
    /// The first tokens are kept and no terminator follows, as in a sample that met its limit.
    #[default]
    Truncate,
    /// The row is dropped and listed.
    Drop,
}

/// The rules for texts beyond the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TooLong {
    /// Prompts.
    pub prompts: LongPrompt,
    /// Completions.
    pub completions: LongCompletion,
}

/// How text becomes tokens.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `template` | `"auto"` | chat template: `"auto"`, `"none"` or a path | |
/// | `max_prompt_tokens` | 512 | limit of a prompt, BOS and generation prompt included | ≥ 1 |
/// | `max_completion_tokens` | 512 | limit of a completion, terminator included | ≥ 1 |
/// | `too_long.prompts` | `"drop"` | or `"truncate-left"` | |
/// | `too_long.completions` | `"truncate"` | or `"drop"` | |
/// | `now` | the moment of loading | what `strftime_now` shows, seconds since 1970 | |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodeOptions {
    /// Where the chat template comes from.
    pub template: TemplateChoice,
    /// Limit of a prompt in tokens, BOS and generation prompt included.
    pub max_prompt_tokens: usize,
    /// Limit of a completion in tokens, terminator included.
    pub max_completion_tokens: usize,
    /// The rules for texts beyond the limits.
    pub too_long: TooLong,
    /// What a template's `strftime_now` shows, in seconds since 1970; none for the moment of loading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            template: TemplateChoice::Auto,
            max_prompt_tokens: 512,
            max_completion_tokens: 512,
            too_long: TooLong::default(),
            now: None,
        }
    }
}

impl EncodeOptions {
    /// Enforces the table above.
    ///
    /// # Errors
    /// [`DataError::Option`] names the field out of its range.
    pub fn check(&self) -> Result<(), DataError> {
        for (name, value) in [
            ("max_prompt_tokens", self.max_prompt_tokens),
            ("max_completion_tokens", self.max_completion_tokens),
        ] {
            if value == 0 {
                return Err(DataError::Option { name, value });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_defaults_and_unknown_keys_are_refused() {
        let options: EncodeOptions =
            serde_json::from_str(r#"{"template":"none","too_long":{"prompts":"truncate-left"}}"#)
                .unwrap();
        assert_eq!(options.template, TemplateChoice::None);
        assert_eq!(options.too_long.prompts, LongPrompt::TruncateLeft);
        assert_eq!(options.max_prompt_tokens, 512);
        assert!(serde_json::from_str::<EncodeOptions>(r#"{"max_tokens":3}"#).is_err());
        let file: TemplateChoice = serde_json::from_str("\"a/b.jinja\"").unwrap();
        assert_eq!(file, TemplateChoice::File("a/b.jinja".into()));
        assert_eq!(serde_json::to_string(&file).unwrap(), "\"a/b.jinja\"");
    }

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let options = EncodeOptions { max_completion_tokens: 0, ..Default::default() };
        assert!(options.check().unwrap_err().to_string().contains("max_completion_tokens"));
        assert!(EncodeOptions::default().check().is_ok());
    }
}
