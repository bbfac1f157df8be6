//! Settings of a judge.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ureq::http::Uri;

use super::{JudgeError, extra};

/// Settings of a judge, `[judge]` of a TOML file.
///
/// | field | default | range | purpose |
/// |---|---|---|---|
/// | `url` | none | http(s), no credentials, no query | base url such as `http://127.0.0.1:8000/v1`, or the full address up to `/chat/completions` |
/// | `model` | none | not empty | the model's name there |
/// | `k` | 1 | 1 to 100 | judgements of each answer |
/// | `temperature` | 0.0 | 0 to 2, or `"default"` | of the judge; `"default"` sends none |
/// | `max_tokens` | 2048 | 1 or more | longest judgement |
/// | `token_limit` | `"max_tokens"` | or `"max_completion_tokens"` | the field that carries `max_tokens` |
/// | `max_retries` | 5 | 0 to 20 | tries after the first, of a request that failed for a passing reason |
/// | `backoff_s` | 1.0 | 0 to 60 | pause before the first retry; doubled each time, a minute at most |
/// | `timeout_s` | 120.0 | more than 0 | for one request, connecting included |
/// | `requests_per_minute` | 0 | 0 (no limit) or more | over all threads |
/// | `concurrency` | 1 | 1 to 64 | requests under way at a time |
/// | `proxy` | none | a proxy's url | the environment's proxies are not read; not part of a record |
/// | `extra` | none | any but the program's own fields | further fields of the request, as they are: `grammar`, `response_format`, … |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeSettings {
    /// The endpoint.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Judgements of each answer.
    pub k: usize,
    /// The judge's temperature.
    pub temperature: Temperature,
    /// Longest judgement, in the judge's tokens.
    pub max_tokens: usize,
    /// The request field that carries `max_tokens`.
    pub token_limit: TokenLimit,
    /// Tries after the first.
    pub max_retries: u32,
    /// First pause, in seconds.
    pub backoff_s: f64,
    /// Time for one request, in seconds.
    pub timeout_s: f64,
    /// Requests a minute at most; 0 for no limit.
    pub requests_per_minute: f64,
    /// Requests under way at a time.
    pub concurrency: usize,
    /// A proxy's url; it may hold a password, so no record has it.
    #[serde(skip_serializing)]
    pub proxy: String,
    /// Further fields of the request.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What is sent as `temperature`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Temperature {
    /// This one.
    At(f64),
    /// None, for endpoints that allow only their own.
    Unset(Unset),
}

/// The word for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unset {
    /// The endpoint's own.
    Default,
}

/// The request's field for the longest answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// What most servers know.
    MaxTokens,
    /// What newer models of some endpoints ask for.
    MaxCompletionTokens,
}

impl TokenLimit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            k: 1,
            temperature: Temperature::At(0.0),
            max_tokens: 2048,
            token_limit: TokenLimit::MaxTokens,
            max_retries: 5,
            backoff_s: 1.0,
            timeout_s: 120.0,
            requests_per_minute: 0.0,
            concurrency: 1,
            proxy: String::new(),
            extra: Map::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    judge: JudgeSettings,
}

impl JudgeSettings {
    /// Reads `[judge]` of a TOML file; missing keys keep their defaults, ranges are not looked at yet.
    ///
    /// # Errors
    /// When the file cannot be read, or has an unknown key or a value of the wrong type.
    pub fn read(path: &Path) -> Result<Self, JudgeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| JudgeError::Io { path: path.into(), source })?;
        let file: File = toml::from_str(&text)
            .map_err(|source| JudgeError::Toml { path: path.into(), source: Box::new(source) })?;
        Ok(file.judge)
    }

    /// Enforces the table.
    ///
    /// # Errors
    /// When a field is out of its range.
    pub fn check(&self) -> Result<(), JudgeError> {
        self.endpoint()?;
        let wrong =
            |key, found: String, expected| Err(JudgeError::Setting { key, found, expected });
        if self.model.is_empty() {
            return wrong("model", "empty".into(), "the model's name at the endpoint");
        }
        if !(1..=100).contains(&self.k) {
            return wrong("k", self.k.to_string(), "1 to 100");
        }
        if let Temperature::At(value) = self.temperature
            && !(0.0..=2.0).contains(&value)
        {
            return wrong("temperature", value.to_string(), "0 to 2, or \"default\"");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "0".into(), "1 or more");
        }
        if self.max_retries > 20 {
            return wrong("max_retries", self.max_retries.to_string(), "20 at most");
        }
        if !(0.0..=60.0).contains(&self.backoff_s) {
            return wrong("backoff_s", self.backoff_s.to_string(), "0 to 60");
        }
        if !(self.timeout_s > 0.0 && self.timeout_s <= 86_400.0) {
            return wrong("timeout_s", self.timeout_s.to_string(), "more than 0, 86400 at most");
        }
        if !(self.requests_per_minute == 0.0
            || (self.requests_per_minute >= 0.01 && self.requests_per_minute.is_finite()))
        {
            let found = self.requests_per_minute.to_string();
            return wrong("requests_per_minute", found, "0 (no limit), or 0.01 or more");
        }
        if !(1..=64).contains(&self.concurrency) {
            return wrong("concurrency", self.concurrency.to_string(), "1 to 64");
        }
        extra::check(&self.extra)
    }

    /// The address that requests go to; as it is refused with credentials, it can be shown.
    ///
    /// # Errors
    /// When the url is missing or is none that can be used.
    pub fn endpoint(&self) -> Result<Uri, JudgeError> {
        const EXPECTED: &str = "an http or https url without user, password and query, such as http://127.0.0.1:8000/v1; a key comes from the environment";
        let wrong = |found: &str| {
            Err(JudgeError::Setting { key: "url", found: found.into(), expected: EXPECTED })
        };
        let text = self.url.trim();
        if text.is_empty() {
            return wrong("empty");
        }
        // What may be a secret is not repeated.
        if text.contains('@') {
            return wrong("one with credentials");
        }
        if text.contains(['?', '#']) {
            return wrong("one with a query or fragment");
        }
        let base = text.trim_end_matches('/');
        let full = match base.ends_with("/chat/completions") {
            true => base.to_owned(),
            false => format!("{base}/chat/completions"),
        };
        match full.parse::<Uri>() {
            Ok(uri)
                if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() =>
            {
                Ok(uri)
            }
            _ => wrong(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> JudgeSettings {
        JudgeSettings { url: url.into(), model: "m".into(), ..Default::default() }
    }

    #[test]
    fn the_url_may_be_a_base_or_the_full_address() {
        let full = "https://host.test/v1/chat/completions";
        for url in ["https://host.test/v1", "https://host.test/v1/", full] {
            assert_eq!(at(url).endpoint().unwrap().to_string(), full);
        }
    }

    #[test]
    fn a_url_that_could_carry_a_secret_is_refused_and_not_repeated() {
        for url in ["https://me:hunter22@host.test/v1", "https://host.test/v1?key=hunter22"] {
            let message = at(url).check().unwrap_err().to_string();
            assert!(message.contains("judge.url") && !message.contains("hunter22"), "{message}");
        }
        for url in ["", "host.test/v1", "ftp://host.test", "http://"] {
            assert!(at(url).check().is_err(), "{url}");
        }
    }

    #[test]
    fn every_range_of_the_table_is_enforced() {
        let good = at("http://h/v1");
        good.check().unwrap();
        type Spoil = fn(&mut JudgeSettings);
        let spoils: [(&str, Spoil); 9] = [
            ("model", |s| s.model.clear()),
            ("k", |s| s.k = 0),
            ("temperature", |s| s.temperature = Temperature::At(f64::NAN)),
            ("max_tokens", |s| s.max_tokens = 0),
            ("max_retries", |s| s.max_retries = 21),
            ("backoff_s", |s| s.backoff_s = -1.0),
            ("timeout_s", |s| s.timeout_s = 0.0),
            ("requests_per_minute", |s| s.requests_per_minute = f64::INFINITY),
            ("concurrency", |s| s.concurrency = 65),
        ];
        for (key, spoil) in spoils {
            let mut settings = good.clone();
            spoil(&mut settings);
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(&format!("judge.{key} is")), "{message}");
        }
    }

    #[test]
    fn a_file_gives_what_it_names_and_names_what_it_gets_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge.toml");
        let text = "[judge]\nurl = \"http://h/v1\"\nmodel = \"m\"\ntemperature = \"default\"\ntoken_limit = \"max_completion_tokens\"\nproxy = \"http://me:pw@p\"\n";
        std::fs::write(&path, text).unwrap();
        let settings = JudgeSettings::read(&path).unwrap();
        assert_eq!(settings.temperature, Temperature::Unset(Unset::Default));
        assert_eq!(settings.token_limit.name(), "max_completion_tokens");
        assert_eq!((settings.k, settings.timeout_s), (1, 120.0));
        // The proxy's password is in no record.
        assert!(!serde_json::to_string(&settings).unwrap().contains("pw"));
        std::fs::write(&path, "[judge]\nkey = \"sk\"\n").unwrap();
        let message = JudgeSettings::read(&path).unwrap_err().to_string();
        assert!(message.contains("judge.toml") && message.contains("`key`"), "{message}");
    }
}
