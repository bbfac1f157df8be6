//! Requests to the hub, each with a limit on how long it may give nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};

use crate::cache::Snapshot;
use crate::error::HubError;
use crate::repository::Repository;
use crate::settings::HubSettings;

/// Why the hub did not give something.
#[derive(Debug)]
pub(crate) struct Failure {
    pub reason: String,
    /// Whether the hub gave an answer, which a second attempt would get again.
    pub answered: bool,
}

/// A repository's commit and the names of its files.
#[derive(Debug)]
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// A client of the hub that the settings name.
pub(crate) struct Client {
    api: Api,
    settings: HubSettings,
}

impl Client {
    pub fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let endpoint = settings.endpoint.clone();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(HubError::Setting {
                name: "HF_ENDPOINT",
                value: endpoint,
                expected: "an address that begins with https:// or http://",
            });
        }
        let built = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(endpoint)
            .with_token(settings.token_to_send()?)
            .with_progress(false)
            .build();
        match built {
            Ok(api) => Ok(Self { api, settings: settings.clone() }),
            Err(error) => Err(HubError::Setting {
                name: "HF_ENDPOINT",
                value: format!("{} ({error})", settings.endpoint),
                expected: "an address that a client can be made for",
            }),
        }
    }

    /// What the hub has at the repository's revision.
    pub fn list(&self, repository: &Repository) -> Result<Listing, Failure> {
        let api = self.repo(repository, &repository.revision);
        // Descriptions of repositories with many files are long: the limit is that of both
        // timeouts.
        let limit = self.settings.answer_timeout + self.settings.download_timeout;
        let what = match repository.revision.as_str() {
            "main" => repository.id.clone(),
            revision => format!("{} at revision {revision}", repository.id),
        };
        let answer = within(limit, limit, &Arc::default(), move || api.info());
        let info = self.value(answer, &what)?;
        if !plain_name(&info.sha) || info.sha.contains('/') {
            let reason = format!("{} gave `{}` as a commit", self.settings.endpoint, info.sha);
            return Err(Failure { reason, answered: true });
        }
        let names = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        let mut files: Vec<String> = names.filter(|name| plain_name(name)).collect();
        files.sort_unstable();
        Ok(Listing { commit: info.sha, files })
    }

    /// A file of a snapshot, fetched if the cache does not have it.
    pub fn file(
        &self,
        repository: &Repository,
        snapshot: &Snapshot,
        name: &str,
    ) -> Result<PathBuf, Failure> {
        if let Some(path) = snapshot.file(name) {
            return Ok(path);
        }
        let path = snapshot.folder.join(name);
        if path.is_symlink() {
            // It leads nowhere, and would be in the way.
            fs::remove_file(&path).map_err(|error| self.failed(&path, &error))?;
        }
        let api = self.repo(repository, &snapshot.commit);
        let encoded = encode(name);
        let asked = encoded.clone();
        let received = Arc::new(AtomicU64::new(0));
        let counter = Counter(Arc::clone(&received));
        let (first, silent) = (self.settings.answer_timeout, self.settings.download_timeout);
        let answer =
            within(first, silent, &received, move || api.download_with_progress(&asked, counter));
        let got = self.value(answer, &format!("{name} of {}", repository.id))?;
        if encoded != name {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| self.failed(&path, &error))?;
            }
            fs::rename(&got, &path).map_err(|error| self.failed(&path, &error))?;
        }
        forget_commit_as_revision(snapshot, repository, &self.settings.cache);
        snapshot.file(name).ok_or_else(|| Failure {
            reason: format!("{name} is not of commit {} any more", snapshot.commit),
            answered: true,
        })
    }

    fn repo(&self, repository: &Repository, revision: &str) -> ApiRepo {
        // The client itself replaces only slashes.
        let revision = encode(revision).replace('/', "%2F");
        let kind = repository.kind.repo_type();
        self.api.repo(Repo::with_revision(repository.id.clone(), kind, revision))
    }

    fn failed(&self, path: &Path, error: &std::io::Error) -> Failure {
        Failure { reason: format!("{}: {error}", path.display()), answered: true }
    }

    fn value<T>(&self, answer: Answer<Result<T, ApiError>>, what: &str) -> Result<T, Failure> {
        let hub = &self.settings.endpoint;
        let failure = |reason: String, answered| Err(Failure { reason, answered });
        match answer {
            Answer::Got(Ok(value)) => Ok(value),
            Answer::Got(Err(error)) => {
                let answered = status(&error).is_some_and(|code| code < 500);
                failure(format!("the hub {hub} did not give {what}: {}", explain(&error)), answered)
            }
            Answer::Silent(limit) => {
                let reason = format!(
                    "the hub {hub} sent nothing of {what} in {} s (HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT set the limit)",
                    limit.as_secs()
                );
                failure(reason, false)
            }
            Answer::Ended => failure(
                format!("the hub {hub} gave an answer for {what} that the client cannot read"),
                true,
            ),
        }
    }
}

/// hf-hub records a commit that it is asked for as a revision; huggingface_hub does not.
fn forget_commit_as_revision(snapshot: &Snapshot, repository: &Repository, cache: &Path) {
    let refs = cache.join(repository.folder_name()).join("refs");
    // It may be gone already.
    let _ = fs::remove_file(refs.join(&snapshot.commit));
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(code) => Some(code),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// An error with what to do about it.
fn explain(error: &ApiError) -> String {
    match status(error) {
        Some(401) => {
            "it does not exist, or it is private and needs a token: set HF_TOKEN (status 401)"
                .into()
        }
        Some(403) => {
            "access is denied: accept its conditions on its page and set HF_TOKEN (status 403)"
                .into()
        }
        Some(404) => "there is no such repository, revision or file (status 404)".into(),
        _ => error.to_string(),
    }
}

/// Whether a name stays within the folder that it is put into.
fn plain_name(name: &str) -> bool {
    let normal = |part| matches!(part, Component::Normal(_));
    !name.is_empty() && !name.contains('\\') && Path::new(name).components().all(normal)
}

/// Percent-encodes what is special in a URL's path.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(byte.into());
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

struct Counter(Arc<AtomicU64>);

impl Progress for Counter {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.0.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer<T> {
    Got(T),
    /// Nothing was received for so long.
    Silent(Duration),
    /// The work ended without a result.
    Ended,
}

/// What `work` gives, as long as `received` grows: first within the limit `first`, then within
/// `silent` each time. A thread whose work is given up is left to end by itself.
fn within<T: Send + 'static>(
    first: Duration,
    silent: Duration,
    received: &Arc<AtomicU64>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(work());
    });
    let (mut limit, mut seen) = (first, 0);
    loop {
        match receiver.recv_timeout(limit) {
            Ok(value) => return Answer::Got(value),
            Err(RecvTimeoutError::Disconnected) => return Answer::Ended,
            Err(RecvTimeoutError::Timeout) => {
                let now = received.load(Ordering::Relaxed);
                if now == seen {
                    return Answer::Silent(limit);
                }
                (limit, seen) = (silent, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_receives_nothing_is_given_up() {
        let short = Duration::from_millis(20);
        let long = || thread::sleep(Duration::from_secs(60));
        assert_eq!(within(short, short, &Arc::default(), long), Answer::Silent(short));
        let hour = Duration::from_secs(3600);
        assert_eq!(within(hour, hour, &Arc::default(), || 7), Answer::Got(7));
    }

    #[test]
    fn a_name_in_a_url_is_percent_encoded() {
        assert_eq!(encode("data/a b#1?%é.csv"), "data/a%20b%231%3F%25%C3%A9.csv");
    }

    #[test]
    fn names_that_leave_the_folder_are_not_plain() {
        for name in ["", "../a", "/a", "a/../b", "./a", "a\\b"] {
            assert!(!plain_name(name), "{name}");
        }
        assert!(plain_name("data/train-00000-of-00001.parquet"));
    }
}
