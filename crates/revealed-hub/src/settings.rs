//! The settings that huggingface_hub reads from environment variables, with the same names,
//! defaults and rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::HubError;
use crate::expand::{Vars, expand, expand_user};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// huggingface_hub's default for both timeouts, in seconds.
const DEFAULT_TIMEOUT: u64 = 10;

/// Where the hub and its cache are, and whether the hub may be contacted.
///
/// | field | variables, the first that is set counts | default |
/// |---|---|---|
/// | `home` | `HF_HOME`, `$XDG_CACHE_HOME/huggingface` | `~/.cache/huggingface` |
/// | `cache` | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | `hub` in `home` |
/// | `offline` | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` (1, on, yes, true) | false |
/// | `datasets_offline` | `HF_DATASETS_OFFLINE` | as `offline` |
/// | `endpoint` | `HF_ENDPOINT` | `https://huggingface.co` |
/// | `token` | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `token_path` | none |
/// | `token_path` | `HF_TOKEN_PATH` | `token` in `home` |
/// | `send_token` | not `HF_HUB_DISABLE_IMPLICIT_TOKEN` | true |
/// | `answer_timeout` | `HF_HUB_ETAG_TIMEOUT`, in seconds | 10 s |
/// | `download_timeout` | `HF_HUB_DOWNLOAD_TIMEOUT`, in seconds | 10 s |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The folder of everything that Hugging Face's programs keep for a user.
    pub home: PathBuf,
    /// The cache of repositories.
    pub cache: PathBuf,
    /// Whether nothing may be contacted.
    pub offline: bool,
    /// Whether nothing may be contacted for a data set.
    pub datasets_offline: bool,
    /// The hub's address, without a slash at the end.
    pub endpoint: String,
    /// The token of the environment.
    pub token: Option<String>,
    /// The file with the token that counts without one in the environment.
    pub token_path: PathBuf,
    /// Whether a token is sent at all.
    pub send_token: bool,
    /// How long the hub may take to describe a file.
    pub answer_timeout: Duration,
    /// How long a download may receive nothing.
    pub download_timeout: Duration,
}

impl HubSettings {
    /// The settings of this process's environment.
    ///
    /// # Errors
    /// When a variable is not valid Unicode or a timeout is not a number of seconds.
    pub fn from_env() -> Result<Self, HubError> {
        for name in VARIABLES {
            if let Some(Err(value)) = std::env::var_os(name).map(std::ffi::OsString::into_string) {
                return Err(HubError::Setting {
                    name,
                    value: value.to_string_lossy().into_owned(),
                    expected: "valid Unicode",
                });
            }
        }
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// The settings that the given variables make.
    ///
    /// # Errors
    /// When a timeout is not a number of seconds.
    pub fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let vars: Vars = &vars;
        let home = home(vars);
        let cache = vars("HF_HUB_CACHE")
            .or_else(|| vars("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| join(&home, "hub"));
        let token_path = vars("HF_TOKEN_PATH").unwrap_or_else(|| join(&home, "token"));
        let filled = |name: &str| vars(name).filter(|value| !value.is_empty());
        let offline = filled("HF_HUB_OFFLINE").or_else(|| filled("TRANSFORMERS_OFFLINE"));
        let offline = is_true(offline.as_deref());
        let datasets_offline =
            vars("HF_DATASETS_OFFLINE").map_or(offline, |value| is_true(Some(&value)));
        let endpoint = vars("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        let token = filled("HF_TOKEN").or_else(|| filled("HUGGING_FACE_HUB_TOKEN"));
        Ok(Self {
            cache: expand(&cache, vars).into(),
            offline,
            datasets_offline,
            endpoint: endpoint.trim_end_matches('/').into(),
            token: token.as_deref().and_then(clean),
            token_path: expand(&token_path, vars).into(),
            send_token: !is_true(vars("HF_HUB_DISABLE_IMPLICIT_TOKEN").as_deref()),
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT", vars)?,
            download_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT", vars)?,
            home: home.into(),
        })
    }

    /// The token to send: that of the environment, else that of the token file.
    ///
    /// # Errors
    /// When there is a token file that cannot be read.
    pub fn token_to_send(&self) -> Result<Option<String>, HubError> {
        if !self.send_token {
            return Ok(None);
        }
        match &self.token {
            Some(token) => Ok(Some(token.clone())),
            None => read_token(&self.token_path),
        }
    }
}

/// Every variable that is read, apart from those that a path names.
const VARIABLES: [&str; 13] = [
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
];

fn home(vars: Vars) -> String {
    let home = vars("HF_HOME").unwrap_or_else(|| {
        let cache =
            vars("XDG_CACHE_HOME").unwrap_or_else(|| join(&expand_user("~", vars), ".cache"));
        join(&cache, "huggingface")
    });
    expand(&home, vars)
}

/// As `os.path.join`: nothing is put before a name in an empty folder.
fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.into(),
        folder if folder.ends_with('/') => format!("{folder}{name}"),
        folder => format!("{folder}/{name}"),
    }
}

fn is_true(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().to_uppercase();
    matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// A token without line breaks and surrounding spaces; an empty one is none.
fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

fn read_token(path: &Path) -> Result<Option<String>, HubError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(clean(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HubError::Io { path: path.into(), source }),
    }
}

/// Zero and an unset variable are the default.
fn seconds(name: &'static str, vars: Vars) -> Result<Duration, HubError> {
    let Some(value) = vars(name) else { return Ok(Duration::from_secs(DEFAULT_TIMEOUT)) };
    match value.trim().parse::<u32>() {
        Ok(0) => Ok(Duration::from_secs(DEFAULT_TIMEOUT)),
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => Err(HubError::Setting { name, value, expected: "a whole number of seconds" }),
    }
}
