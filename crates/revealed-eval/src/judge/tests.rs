//! The client against a server that does not always do as it should.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::*;
use crate::error::EvalError;
use crate::testing::{Act, Stub};

const KEY: &str = "sk-planted-0123456789";

fn client_with(url: &str, change: impl FnOnce(&mut JudgeSettings)) -> JudgeClient {
    let mut settings = JudgeSettings {
        url: url.into(),
        model: "judge".into(),
        backoff_s: 0.0,
        max_retries: 2,
        ..Default::default()
    };
    change(&mut settings);
    JudgeClient::new(settings, Some(ApiKey::new(KEY).unwrap())).unwrap()
}

fn client(stub: &Stub) -> JudgeClient {
    client_with(&stub.url, |_| {})
}

fn ask(text: &str) -> Ask {
    Ask { system: "be fair".into(), user: text.into() }
}

/// Answers rightly after `count` of something else.
fn after(count: usize, act: impl Fn() -> Act + Send + Sync + 'static) -> Stub {
    Stub::serve(move |number, _| if number < count { act() } else { Act::Say("[[7]]".into()) })
}

fn answers_in_the_end(stub: &Stub, requests: usize) {
    assert_eq!(client(stub).ask(&ask("?")).unwrap().text, "[[7]]");
    assert_eq!(stub.seen().len(), requests);
}

fn server_error() -> Act {
    Act::Answer(500, "", "oops".into())
}

#[test]
fn a_request_is_what_endpoints_expect() {
    let stub = after(0, || Act::Close);
    let client = client_with(&format!("{}/", stub.url), |settings| {
        settings.temperature = Temperature::At(0.5);
    });
    let reply = client.ask(&ask("h\"é\n")).unwrap();
    assert_eq!(reply, Reply { text: "[[7]]".into(), cut: false });
    let seen = stub.seen().remove(0);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert!(head.contains(&format!("Bearer {KEY}")), "{head}");
    let wanted = serde_json::json!({
        "model": "judge",
        "messages": [{"role": "system", "content": "be fair"}, {"role": "user", "content": "h\"é\n"}],
        "temperature": 0.5,
        "max_tokens": 2048,
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), wanted);
}

#[test]
fn an_endpoint_may_want_other_fields_and_no_key() {
    let stub = after(0, || Act::Close);
    let settings: JudgeSettings =
        toml::from_str("temperature = \"default\"\ntoken_limit = \"max_completion_tokens\"")
            .unwrap();
    let settings = JudgeSettings { url: stub.url.clone(), model: "j".into(), ..settings };
    let client = JudgeClient::new(settings, None).unwrap();
    client.ask(&Ask { system: String::new(), user: "?".into() }).unwrap();
    let seen = stub.seen().remove(0);
    let body: Value = serde_json::from_str(seen.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(body["max_completion_tokens"], 2048);
    assert!(body.get("max_tokens").is_none() && body.get("temperature").is_none(), "{body}");
    assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
}

#[test]
fn another_question_or_setting_is_another_request() {
    let of = |change: fn(&mut JudgeSettings), text: &str| {
        client_with("http://h/v1", change).request_sha256(&ask(text))
    };
    let first = of(|_| {}, "?");
    assert_eq!(first, of(|settings| settings.timeout_s = 5.0, "?"));
    assert_ne!(first, of(|_| {}, "!"));
    assert_ne!(first, of(|settings| settings.model = "other".into(), "?"));
    assert_ne!(first, of(|settings| settings.max_tokens = 5, "?"));
    assert_ne!(first, of(|settings| settings.temperature = Temperature::At(1.0), "?"));
    assert_ne!(first, of(|settings| drop(settings.extra.insert("seed".into(), 1.into())), "?"));
}

#[test]
fn further_fields_are_sent_as_they_are() {
    let stub = after(0, || Act::Close);
    let extra =
        "grammar = 'root ::= \"[[\" [0-9] \"]]\"'\n[extra.response_format]\ntype = \"text\"";
    let settings: JudgeSettings = toml::from_str(&format!("[extra]\n{extra}")).unwrap();
    client_with(&stub.url, |to| to.extra = settings.extra).ask(&ask("?")).unwrap();
    let seen = stub.seen().remove(0);
    let body: Value = serde_json::from_str(seen.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["grammar"], r#"root ::= "[[" [0-9] "]]""#);
    assert_eq!(body["response_format"], serde_json::json!({"type": "text"}));
    assert_eq!((&body["model"], &body["max_tokens"]), (&"judge".into(), &2048.into()));
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    // Our own pause would be a minute.
    let stub = after(2, || Act::Answer(429, "Retry-After: 0\r\n", "slow down".into()));
    let client = client_with(&stub.url, |settings| settings.backoff_s = 60.0);
    assert_eq!(client.ask(&ask("?")).unwrap().text, "[[7]]");
    assert_eq!(stub.seen().len(), 3);
}

#[test]
fn a_pause_beyond_patience_is_an_error_that_says_so() {
    let stub = after(1, || Act::Answer(429, "Retry-After: 86400\r\n", String::new()));
    let error = client(&stub).ask(&ask("?")).unwrap_err();
    assert!(error.ends_the_run() && error.to_string().contains("wait 86400 s"), "{error}");
    assert_eq!(stub.seen().len(), 1);
    for absurd in ["1000000000", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let head: &'static str = format!("Retry-After: {absurd}\r\n").leak();
        let stub = after(1, move || Act::Answer(503, head, String::new()));
        let error = client(&stub).ask(&ask("?")).unwrap_err();
        assert!(matches!(error, JudgeError::WaitTooLong { .. }), "{absurd}: {error}");
        assert!(error.to_string().contains("no more than 600 s"), "{error}");
    }
}

#[test]
fn a_pause_that_is_none_is_as_if_none_was_asked_for() {
    for header in ["Retry-After: -5\r\n", "Retry-After: soon\r\n", "Retry-After: NaN\r\n"] {
        answers_in_the_end(&after(2, move || Act::Answer(429, header, String::new())), 3);
    }
}

#[test]
fn server_errors_and_lost_connections_are_tried_again() {
    answers_in_the_end(&after(2, server_error), 3);
    answers_in_the_end(&after(1, || Act::Close), 2);
}

#[test]
fn a_server_that_stays_broken_is_given_up() {
    let stub = after(99, server_error);
    let error = client(&stub).ask(&ask("?")).unwrap_err();
    assert!(error.to_string().contains("answers 500 after 3 tries: oops"), "{error}");
    assert_eq!(stub.seen().len(), 3);
    let stub = after(99, || Act::Close);
    let error = client(&stub).ask(&ask("?")).unwrap_err();
    assert!(matches!(error, JudgeError::Connection { attempts: 3, .. }), "{error}");
    assert!(error.ends_the_run());
}

#[test]
fn nobody_at_the_port_is_an_error_that_says_where() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client_with(&format!("http://{port}/v1"), |_| {}).ask(&ask("?")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&port.to_string()) && text.contains("judge.url"), "{text}");
}

#[test]
fn a_stalled_server_ends_in_a_timeout_that_says_what_to_do() {
    let stub = after(99, || Act::Stall);
    let client = client_with(&stub.url, |settings| {
        (settings.timeout_s, settings.max_retries) = (0.2, 1);
    });
    let error = client.ask(&ask("?")).unwrap_err();
    assert!(matches!(error, JudgeError::Timeout { attempts: 2, .. }), "{error}");
    assert!(error.ends_the_run() && error.to_string().contains("judge.timeout_s"), "{error}");
}

#[test]
fn nonsense_is_not_asked_again_and_does_not_end_the_run() {
    for body in
        ["<html>", "", "[]", "{}", r#"{"choices": []}"#, r#"{"choices": [{"message": {}}]}"#]
    {
        let stub = after(9, move || Act::Answer(200, "", body.into()));
        let error = client(&stub).ask(&ask("?")).unwrap_err();
        assert!(matches!(error, JudgeError::Nonsense { .. }), "{body}: {error}");
        assert!(!error.ends_the_run());
        assert_eq!(stub.seen().len(), 1);
    }
}

/// A completion whose body claims to be something that it is not: longer, in chunks, compressed.
fn broken_bodies() -> [Vec<u8>; 4] {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes();
    let gzip = |body: &[u8]| {
        let fields = format!("Content-Encoding: gzip\r\nContent-Length: {}", body.len());
        [&head(&fields), body].concat()
    };
    // `{"choices": []}` by Python's gzip, a byte of its middle changed.
    let mut damaged = vec![31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 206, 200, 207, 76, 78];
    damaged.extend([45, 86, 178, 82, 136, 142, 173, 5, 0, 8, 191, 34, 48, 15, 0, 0, 0]);
    [
        [&head("Content-Length: 999")[..], br#"{"choices": [{"mess"#].concat(),
        [&head("Transfer-Encoding: chunked")[..], b"ff\r\n{\"cho"].concat(),
        gzip(b"this was never compressed"),
        gzip(&damaged),
    ]
}

#[test]
fn a_body_that_breaks_off_or_cannot_be_decoded_is_asked_for_again() {
    for body in broken_bodies() {
        let again = body.clone();
        answers_in_the_end(&after(2, move || Act::Raw(again.clone())), 3);
        let stub = after(99, move || Act::Raw(body.clone()));
        let error = client(&stub).ask(&ask("?")).unwrap_err();
        assert!(matches!(error, JudgeError::Body { attempts: 3, .. }), "{error}");
        assert!(!error.ends_the_run() && error.to_string().contains("their end"), "{error}");
    }
}

#[test]
fn a_body_without_end_is_not_read_to_it() {
    let stub = after(9, || Act::Flood);
    let error = client(&stub).ask(&ask("?")).unwrap_err();
    assert!(matches!(error, JudgeError::TooLarge { .. }) && !error.ends_the_run(), "{error}");
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn a_refusal_is_not_asked_again_and_never_shows_the_key() {
    let body = format!(r#"{{"error": {{"message": "no such key:\n{KEY}"}}}}"#);
    for (status, ends) in [(401, true), (404, true), (400, false), (422, false)] {
        let body = body.clone();
        let stub = after(9, move || Act::Answer(status, "", body.clone()));
        let error = client(&stub).ask(&ask("?")).unwrap_err();
        assert_eq!((error.ends_the_run(), stub.seen().len()), (ends, 1), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("no such key: [key]") && !shown.contains(KEY), "{shown}");
    }
    let stub = after(0, || Act::Close);
    assert!(!format!("{:?}", client(&stub)).contains(KEY));
}

#[test]
fn an_answer_that_repeats_the_key_does_not_carry_it_on() {
    let stub = Stub::serve(|_, _| Act::Say(format!("[[7]] {KEY}")));
    assert_eq!(client(&stub).ask(&ask("?")).unwrap().text, "[[7]] [key]");
}

#[test]
fn a_redirect_is_not_followed() {
    let stub = after(9, || Act::Answer(307, "Location: http://127.0.0.1:9/\r\n", String::new()));
    let error = client(&stub).ask(&ask("?")).unwrap_err();
    assert!(error.to_string().contains("redirects are not followed"), "{error}");
    assert_eq!(stub.seen().len(), 1);
}

/// Asks about 0..count and gives what came of each, by job.
fn all(client: &JudgeClient, count: usize) -> (Vec<Option<bool>>, Result<(), EvalError>) {
    let jobs: Vec<(usize, Ask)> = (0..count).map(|at| (at, ask(&format!("job {at};")))).collect();
    let mut outcomes = vec![None; count];
    let ended = ask_all(
        client,
        &jobs,
        |(_, ask)| ask,
        |(at, _), outcome| {
            outcomes[*at] = Some(outcome.is_ok());
            Ok(())
        },
    );
    (outcomes, ended)
}

#[test]
fn several_at_a_time_are_all_answered_and_failures_are_handed_over() {
    let stub = Stub::serve(|_, text| match text.contains("job 3;") {
        true => Act::Answer(200, "", "nonsense".into()),
        false => Act::Say("[[7]]".into()),
    });
    let client = client_with(&stub.url, |settings| settings.concurrency = 4);
    let (outcomes, ended) = all(&client, 20);
    ended.unwrap();
    assert_eq!(outcomes[3], Some(false));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(true)).count(), 19);
    assert_eq!(stub.seen().len(), 20);
}

#[test]
fn what_would_meet_every_request_ends_the_run() {
    let stub = Stub::serve(|number, _| match number {
        3 => Act::Answer(401, "", String::new()),
        _ => Act::Say("[[7]]".into()),
    });
    let (outcomes, ended) = all(&client(&stub), 20);
    assert!(ended.unwrap_err().to_string().contains("answers 401"));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_some()).count(), 3);
    assert_eq!(stub.seen().len(), 4);
}

#[test]
fn a_stopped_run_asks_nothing_new_and_keeps_what_is_under_way() {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // The fourth request is under way when the run is stopped.
    let stub = Stub::serve(move |number, _| {
        flag.fetch_or(number == 3, Ordering::SeqCst);
        Act::Say("[[7]]".into())
    });
    let (outcomes, ended) = all(&client(&stub).stopped_by(stop.clone()), 20);
    assert!(matches!(ended, Err(EvalError::Judge(JudgeError::Interrupted))));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(true)).count(), 4);
    assert_eq!(stub.seen().len(), 4);
    // No pause is sat out: this one would be a minute.
    let busy = after(99, || Act::Answer(500, "", String::new()));
    let client = client_with(&busy.url, |settings| settings.backoff_s = 60.0).stopped_by(stop);
    assert!(matches!(client.ask(&ask("?")), Err(JudgeError::Interrupted)));
    assert_eq!(busy.seen().len(), 0);
}

#[test]
fn an_outcome_that_cannot_be_kept_ends_the_run() {
    let stub = after(0, || Act::Close);
    let jobs: Vec<Ask> = (0..20).map(|at| ask(&at.to_string())).collect();
    let full = || EvalError::NotFinite { name: "disk".into(), value: 0.0 };
    let ended = ask_all(&client(&stub), &jobs, |ask| ask, |_, _| Err(full()));
    assert!(matches!(ended, Err(EvalError::NotFinite { .. })));
    // The worker may be one request ahead of who writes.
    assert!(stub.seen().len() <= 2, "{}", stub.seen().len());
}

#[test]
fn failures_in_a_row_end_the_run() {
    let stub = after(usize::MAX, || Act::Answer(200, "", "nonsense".into()));
    let (outcomes, ended) = all(&client(&stub), 20);
    assert!(ended.unwrap_err().to_string().contains("5 requests in a row failed"));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(false)).count(), 5);
    assert_eq!(stub.seen().len(), 5);
}
