//! The judge's settings, from a file and the command line; its key, from the environment.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use revealed::eval::judge::{ApiKey, JudgeClient, JudgeSettings};

use crate::progress::Progress;

/// A judge behind an OpenAI-compatible endpoint; without one no request is made.
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// TOML file with a [judge] table: url, model, k, temperature, max_tokens, timeout_s, …
    #[arg(long)]
    judge: Option<PathBuf>,
    /// Base url of the judge's endpoint, such as http://127.0.0.1:8000/v1
    #[arg(long)]
    judge_url: Option<String>,
    /// The judge's name at its endpoint
    #[arg(long)]
    judge_model: Option<String>,
    /// Judgements per answer
    #[arg(long)]
    k: Option<usize>,
    /// Environment variable with the key, which is sent to the judge's endpoint only
    #[arg(long, default_value = "OPENAI_API_KEY", value_name = "NAME")]
    judge_key_env: String,
}

impl JudgeArgs {
    /// Whether a judge is given.
    pub fn is_given(&self) -> bool {
        self.judge.is_some() || self.judge_url.is_some() || self.judge_model.is_some()
    }

    /// The judge's client; it makes no request yet.
    ///
    /// # Errors
    /// When a setting or the key is wrong.
    pub fn client(&self, progress: &Progress) -> Result<JudgeClient> {
        let mut settings = match &self.judge {
            Some(path) => JudgeSettings::read(path)?,
            None => JudgeSettings::default(),
        };
        if let Some(url) = &self.judge_url {
            settings.url.clone_from(url);
        }
        if let Some(model) = &self.judge_model {
            settings.model.clone_from(model);
        }
        settings.k = self.k.unwrap_or(settings.k);
        settings.check()?;
        let key = self.key()?;
        let endpoint = settings.endpoint()?;
        let host = endpoint.host().unwrap_or_default();
        match &key {
            None => progress.note(&format!(
                "judge: {} is not set, so {host} is asked without a key",
                self.judge_key_env
            )),
            Some(_) if endpoint.scheme_str() == Some("http") && !is_this_machine(host) => {
                progress.note(&format!("judge: the key goes to {host} unencrypted; prefer https"));
            }
            Some(_) => {}
        }
        Ok(JudgeClient::new(settings, key)?)
    }

    fn key(&self) -> Result<Option<ApiKey>> {
        let name = &self.judge_key_env;
        // A key pasted where its variable's name belongs would be recorded with the command line.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            bail!("--judge-key-env takes the name of an environment variable, not a key");
        }
        match std::env::var(name) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(ApiKey::new(&text).with_context(|| name.clone())?)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                bail!("{name} holds something that is no text")
            }
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

/// A name that can be part of a file name: separators are replaced.
pub fn file_name(name: &str) -> String {
    name.replace(['/', '\\', ':'], "_")
}
