//! Test fixture: an HTTP server with scripted responses, on a free port.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server does with a request.
pub enum Act {
    /// Gives a chat completion with this content.
    Say(String),
    /// Gives a status, header lines and a body.
    Answer(u16, &'static str, String),
    /// Closes the connection.
    Close,
    /// Keeps the connection open and says nothing.
    Stall,
    /// Sends more than anyone reads.
    Flood,
    /// Sends these bytes as they are, and closes the connection.
    Raw(Vec<u8>),
}

/// Runs until the test's process ends.
pub struct Stub {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// A server that acts by the request's number, from 0, and its text: head and body.
    pub fn serve(act: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (act, count, log) = (Arc::new(act), Arc::new(AtomicUsize::new(0)), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (act, count, log) = (act.clone(), count.clone(), log.clone());
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    log.lock().unwrap().push(request.clone());
                    answer(stream, act(number, &request));
                });
            }
        });
        Self { url, seen }
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        text.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(text + &String::from_utf8(body).ok()?)
}

fn answer(mut stream: TcpStream, act: Act) {
    let (status, headers, body) = match act {
        Act::Say(content) => (200, "", completion(&content)),
        Act::Answer(status, headers, body) => (status, headers, body),
        Act::Close => return,
        Act::Raw(bytes) => {
            let _ = stream.write_all(&bytes);
            return;
        }
        Act::Stall => loop {
            thread::park();
        },
        Act::Flood => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
}

/// A chat completion as endpoints give it.
fn completion(content: &str) -> String {
    let content = serde_json::to_string(content).unwrap();
    format!(
        r#"{{"id":"c","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":{content}}},"finish_reason":"stop"}}]}}"#
    )
}
