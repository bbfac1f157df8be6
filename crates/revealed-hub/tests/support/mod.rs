//! A hub on this machine, and caches on disk.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use revealed_hub::{Hub, HubSettings};

/// A port on which nobody listens.
pub const CLOSED: &str = "http://127.0.0.1:9";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the server treats requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Serves,
    /// Every answer has this status.
    Status(u16),
    /// No answer comes.
    Silent,
    /// Only descriptions of repositories come.
    NoFiles,
}

/// Path and authorization of each request.
type Requests = Mutex<Vec<(String, Option<String>)>>;

/// One repository at the commit [`COMMIT`], reachable as `main` and `v1/x`.
pub struct Server {
    pub endpoint: String,
    requests: Arc<Requests>,
}

impl Server {
    /// `id` is `owner/name`, or `datasets/owner/name` for a data set.
    pub fn start(id: &str, files: &[(&str, &str)], mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Requests> = Arc::default();
        let (seen, id) = (Arc::clone(&requests), id.to_owned());
        let files: BTreeMap<String, String> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let files = Arc::new(files);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, id, files) = (Arc::clone(&seen), id.clone(), Arc::clone(&files));
                thread::spawn(move || {
                    let _ = answer(stream, &id, &files, mood, &seen);
                });
            }
        });
        Self { endpoint, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.requests.lock().unwrap().iter().map(|(_, token)| token.clone()).collect()
    }
}

fn answer(
    stream: TcpStream,
    id: &str,
    files: &BTreeMap<String, String>,
    mood: Mood,
    seen: &Requests,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap()?;
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    seen.lock().unwrap().push((path.clone(), headers.get("authorization").cloned()));
    respond(stream, &path, headers.get("range").map(String::as_str), (id, files), mood)
}

const REFUSED: &str = "No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn respond(
    mut stream: TcpStream,
    path: &str,
    range: Option<&str>,
    (id, files): (&str, &BTreeMap<String, String>),
    mood: Mood,
) -> std::io::Result<()> {
    let described = path.starts_with("/api/");
    match mood {
        Mood::Silent => {
            thread::sleep(std::time::Duration::from_secs(60));
            return Ok(());
        }
        Mood::Status(status) => return write!(stream, "HTTP/1.1 {status} {REFUSED}"),
        Mood::NoFiles if !described => return write!(stream, "HTTP/1.1 500 {REFUSED}"),
        _ => {}
    }
    let body = match described {
        true => description(path, id, files),
        false => file(path, id, files).map(|text| (text, "text/plain")),
    };
    let Some((body, kind)) = body else {
        return write!(stream, "HTTP/1.1 404 {REFUSED}");
    };
    let asked = range.and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        let to = to.parse::<usize>().ok().map_or(body.len(), |to| to + 1);
        Some((from.parse::<usize>().ok()?, to))
    });
    let whole = body.len();
    let (status, range, part) = match asked {
        Some((from, to)) => {
            let range = format!("Content-Range: bytes {from}-{}/{whole}\r\n", to.max(1) - 1);
            ("206 Part", range, &body[from..to])
        }
        None => ("200 OK", String::new(), body.as_str()),
    };
    let etag =
        body.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let length = part.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nETag: \"{etag:016x}\"\r\nX-Repo-Commit: {COMMIT}\r\n{range}Connection: close\r\n\r\n{part}"
    )
}

fn description(
    path: &str,
    id: &str,
    files: &BTreeMap<String, String>,
) -> Option<(String, &'static str)> {
    let (kind, id) = match id.strip_prefix("datasets/") {
        Some(id) => ("datasets", id),
        None => ("models", id),
    };
    let revision = path.strip_prefix(&format!("/api/{kind}/{id}/revision/"))?;
    if !["main", "v1%2Fx", COMMIT].contains(&revision) {
        return None;
    }
    let names: Vec<String> =
        files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
    let text = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", names.join(", "));
    Some((text, "application/json"))
}

fn file(path: &str, id: &str, files: &BTreeMap<String, String>) -> Option<String> {
    let name = path.strip_prefix(&format!("/{id}/resolve/{COMMIT}/"))?;
    files.get(&name.replace("%20", " ").replace("%23", "#")).cloned()
}

/// A hub with the cache `home/hub`.
pub fn hub(home: &Path, endpoint: &str, more: &[(&str, &str)]) -> Hub {
    let settings = HubSettings::from_vars(|name| {
        let more = more.iter().find(|(variable, _)| *variable == name);
        match (name, more) {
            (_, Some((_, value))) => Some((*value).to_owned()),
            ("HF_HOME", None) => Some(home.display().to_string()),
            ("HF_ENDPOINT", None) => Some(endpoint.to_owned()),
            _ => None,
        }
    });
    Hub::new(settings.unwrap())
}

pub fn offline(home: &Path) -> Hub {
    hub(home, CLOSED, &[("HF_HUB_OFFLINE", "1")])
}

/// A repository's folder in the cache, with files of the commit `abc` that `refs/main` names.
pub fn cache(home: &Path, repository: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = home.join("hub").join(repository);
    fs::create_dir_all(root.join("refs")).unwrap();
    fs::write(root.join("refs/main"), "abc").unwrap();
    let snapshot = root.join("snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    for (name, text) in files {
        let path = snapshot.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    snapshot
}

/// The message of an error.
pub fn refused<T: std::fmt::Debug>(result: Result<T, revealed_hub::HubError>) -> String {
    result.unwrap_err().to_string()
}
