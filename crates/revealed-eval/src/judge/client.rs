//! One request to a judge, retried until it is answered or fails for good.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::record::hex;
use ureq::http::{StatusCode, Uri};
use ureq::{Agent, Proxy};

use super::pace::Pace;
use super::retry::{LONGEST_WAIT, backoff, retry_after, share};
use super::{ApiKey, JudgeError, JudgeSettings, Temperature};

/// The longest body that is read; a judgement has some thousand bytes.
pub(super) const MAX_BODY: u64 = 8 << 20;
/// How often a pause looks whether the run is stopped.
const LOOK: Duration = Duration::from_millis(50);
/// Characters of a server's complaint that are shown.
const SAID: usize = 300;

/// A request to a judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The system message; none where it is empty.
    pub system: String,
    /// The user's message.
    pub user: String,
}

/// A judge's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its answer.
    pub text: String,
    /// Whether the answer ends because it may not be longer.
    pub cut: bool,
}

/// A client for one model at one endpoint; threads can share it.
#[derive(Debug)]
pub struct JudgeClient {
    settings: JudgeSettings,
    key: Option<ApiKey>,
    url: Uri,
    agent: Agent,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

/// Why a single try gave nothing.
enum Failed {
    /// It may pass; the pause the server asks for.
    Passing(JudgeError, Option<Duration>),
    Lasting(JudgeError),
}

impl JudgeClient {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(settings: JudgeSettings, key: Option<ApiKey>) -> Result<Self, JudgeError> {
        settings.check()?;
        let proxy = match settings.proxy.as_str() {
            "" => None,
            url => Some(Proxy::new(url).map_err(|_| JudgeError::Setting {
                key: "proxy",
                found: "none that can be read".into(),
                expected: "a proxy's url, such as http://proxy:3128",
            })?),
        };
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(settings.timeout_s)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(concat!("revealed/", env!("CARGO_PKG_VERSION")))
            .build();
        let pace = Pace::new(settings.requests_per_minute);
        let (url, agent, stop) = (settings.endpoint()?, config.new_agent(), Arc::default());
        Ok(Self { url, agent, key, settings, pace, stop })
    }

    /// Once `stop` is true, no new request is made; those under way are waited for, since they are paid for.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps, unless the run is stopped.
    fn rest(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while let Some(left) = end.checked_duration_since(Instant::now())
            && !self.is_stopped()
        {
            sleep(left.min(LOOK));
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &JudgeSettings {
        &self.settings
    }

    /// SHA-256 of all that determines what is asked: model, messages, temperature, limit and further fields. An answer
    /// found under it need not be paid for again.
    pub fn request_sha256(&self, ask: &Ask) -> String {
        hex(&Sha256::digest(self.body(ask).to_string()))
    }

    /// Asks, and asks again after 408, 429, 5xx, a timeout or a lost connection, `max_retries` times.
    ///
    /// # Errors
    /// When there is no answer, or none that is a chat completion, or the run is stopped.
    pub fn ask(&self, ask: &Ask) -> Result<Reply, JudgeError> {
        let body = self.body(ask).to_string();
        let mut attempt = 0;
        loop {
            self.rest(self.pace.turn(Instant::now()));
            if self.is_stopped() {
                return Err(JudgeError::Interrupted);
            }
            let (error, asked_for) = match self.attempt(&body, attempt + 1) {
                Ok(reply) => return Ok(reply),
                Err(Failed::Lasting(error)) => return Err(error),
                Err(Failed::Passing(error, asked_for)) => (error, asked_for),
            };
            if attempt >= self.settings.max_retries {
                return Err(error);
            }
            tracing::info!(%error, attempt, "asking the judge again");
            match asked_for {
                Some(pause) if pause > LONGEST_WAIT => {
                    return Err(JudgeError::WaitTooLong {
                        host: self.host(),
                        seconds: pause.as_secs(),
                    });
                }
                // Meant for everyone who asks with this key.
                Some(pause) => self.pace.hold(pause),
                None => self.rest(backoff(self.settings.backoff_s, attempt, share(&body, attempt))),
            }
            attempt += 1;
        }
    }

    fn body(&self, ask: &Ask) -> Value {
        let mut messages = vec![];
        if !ask.system.is_empty() {
            messages.push(json!({"role": "system", "content": ask.system}));
        }
        messages.push(json!({"role": "user", "content": ask.user}));
        let mut body = json!({"model": self.settings.model, "messages": messages});
        if let Temperature::At(value) = self.settings.temperature {
            body["temperature"] = json!(value);
        }
        body[self.settings.token_limit.name()] = json!(self.settings.max_tokens);
        for (key, value) in &self.settings.extra {
            body[key.as_str()] = value.clone();
        }
        body
    }

    fn attempt(&self, body: &str, attempts: u32) -> Result<Reply, Failed> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", key.bearer());
        }
        let response = request.send(body).map_err(|error| self.failed(error, attempts))?;
        let status = response.status();
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wanted = header.and_then(|header| retry_after(header, SystemTime::now()));
        let mut bytes = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_BODY + 1);
        reader.read_to_end(&mut bytes).map_err(|error| self.broken(error.into(), attempts))?;
        if bytes.len() as u64 > MAX_BODY {
            return Err(Failed::Lasting(JudgeError::TooLarge {
                host: self.host(),
                limit: MAX_BODY,
            }));
        }
        if status.is_success() {
            return self.reply(&bytes).map_err(Failed::Lasting);
        }
        let (url, said) = (self.url.to_string(), self.said(&bytes));
        let error = JudgeError::Status { url, status: status.as_u16(), said, attempts };
        Err(match passing(status) {
            true => Failed::Passing(error, wanted),
            false => Failed::Lasting(error),
        })
    }

    /// The answer in a chat completion.
    fn reply(&self, bytes: &[u8]) -> Result<Reply, JudgeError> {
        let nonsense = |found| JudgeError::Nonsense { host: self.host(), found };
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            return Err(nonsense(format!("something that is not JSON ({:?})", self.said(bytes))));
        };
        let choice = &value["choices"][0];
        match choice["message"]["content"].as_str() {
            Some(text) => {
                let text = self.key.as_ref().map_or(text.to_owned(), |key| key.cut_from(text));
                Ok(Reply { text, cut: choice["finish_reason"] == "length" })
            }
            None => Err(nonsense(format!(
                "JSON without choices[0].message.content ({:?})",
                self.said(bytes)
            ))),
        }
    }

    /// The beginning of a server's text, or of its `error.message`, on one line and without the key.
    fn said(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let value: Option<Value> = serde_json::from_str(&text).ok();
        let message = value.as_ref().and_then(|value| value["error"]["message"].as_str());
        let text = message.unwrap_or(&text);
        let text = self.key.as_ref().map_or(text.to_owned(), |key| key.cut_from(text));
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|character| !character.is_control()).take(SAID).collect()
    }

    fn failed(&self, error: ureq::Error, attempts: u32) -> Failed {
        let host = self.host();
        let is = |error: &std::io::Error, kind| error.kind() == kind;
        match error {
            ureq::Error::Timeout(_) => Failed::Passing(self.timeout(attempts), None),
            ureq::Error::Io(error) if is(&error, ErrorKind::TimedOut) => {
                Failed::Passing(self.timeout(attempts), None)
            }
            // A certificate that is not trusted, which no retry changes.
            ureq::Error::Io(error) if is(&error, ErrorKind::InvalidData) => {
                let reason = error.to_string();
                Failed::Lasting(JudgeError::Connection { host, reason, attempts })
            }
            ureq::Error::Io(_)
            | ureq::Error::Protocol(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed => {
                let reason = error.to_string();
                Failed::Passing(JudgeError::Connection { host, reason, attempts }, None)
            }
            other => {
                let reason = other.to_string();
                Failed::Lasting(JudgeError::Connection { host, reason, attempts })
            }
        }
    }

    /// A body that ends too early, or is not of the encoding that it claims.
    fn broken(&self, error: ureq::Error, attempts: u32) -> Failed {
        match self.failed(error, attempts) {
            Failed::Passing(JudgeError::Connection { host, reason, attempts }, _)
            | Failed::Lasting(JudgeError::Connection { host, reason, attempts }) => {
                Failed::Passing(JudgeError::Body { host, reason, attempts }, None)
            }
            timeout => timeout,
        }
    }

    fn timeout(&self, attempts: u32) -> JudgeError {
        JudgeError::Timeout { host: self.host(), seconds: self.settings.timeout_s, attempts }
    }

    fn host(&self) -> String {
        self.url.authority().map(ToString::to_string).unwrap_or_default()
    }
}

/// Whether the same request may fare better later.
fn passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 429)
}
