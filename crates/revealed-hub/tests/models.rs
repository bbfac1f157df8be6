//! Models and adapters by name: folders, the cache, and a hub on this machine.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{CLOSED, COMMIT, Mood, Server, cache, hub, offline, refused};

const INDEX: &str = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
const TINY: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("model.safetensors", "weights"),
    ("tokenizer.json", "{\"a\": 1}"),
    ("tokenizer_config.json", "{\"b\": 1}"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [TINY, more].concat()
}

#[test]
fn a_folder_is_used_as_it_is_and_a_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let name = home.path().to_str().unwrap();
    assert_eq!(offline(home.path()).model(name).unwrap(), home.path());
    let file = home.path().join("m.gguf");
    fs::write(&file, "").unwrap();
    let message = refused(offline(home.path()).model(file.to_str().unwrap()));
    assert!(
        message.contains("it is a file") && message.contains("local model folder"),
        "{message}"
    );
}

#[test]
fn names_that_are_no_ids_are_refused_as_huggingface_hub_refuses_them() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start("owner/name", TINY, Mood::Serves);
    let hub = hub(home.path(), &server.endpoint, &[]);
    for name in [
        "",
        "a/b/c",
        "../up",
        "./models/absent",
        "a/..",
        "/x/y",
        "a b/c",
        "-a/b",
        "a/b-",
        "a/.b",
        "a--b",
        "a/b..c",
        "a/b.git",
        "café/x",
        "datasets/a/b",
        "owner/name@",
        "owner/name@a b",
        "owner/name@../x",
        "owner/name@a//b",
    ] {
        let message = refused(hub.model(name));
        assert!(message.contains("neither a folder nor a hub id"), "{name}: {message}");
        assert!(message.contains("owner/name@revision"), "{message}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_cached_model_needs_no_hub() {
    let home = tempfile::tempdir().unwrap();
    let whole = cache(home.path(), "models--owner--whole", TINY);
    let legacy = cache(home.path(), "models--gpt2", TINY);
    let sharded = cache(
        home.path(),
        "models--owner--shards",
        &[
            ("config.json", "{}"),
            ("model.safetensors.index.json", INDEX),
            ("model-00001-of-00002.safetensors", "1"),
            ("model-00002-of-00002.safetensors", "2"),
        ],
    );
    let server = Server::start("owner/none", TINY, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[]);
    assert_eq!(online.model("owner/whole").unwrap(), whole);
    assert_eq!(online.model("gpt2").unwrap(), legacy);
    assert_eq!(server.requests(), Vec::<String>::new());
    assert_eq!(offline(home.path()).model("owner/shards").unwrap(), sharded);
    // Without a tokenizer the hub is asked for one, and its answer is not needed.
    assert_eq!(hub(home.path(), CLOSED, &[]).model("owner/shards").unwrap(), sharded);
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache(home.path(), "models--owner--name", TINY);
    let root = home.path().join("hub/models--owner--name");
    fs::create_dir_all(root.join("refs/refs/pr")).unwrap();
    fs::write(root.join("refs/refs/pr/1"), "abc\n").unwrap();
    let hub = offline(home.path());
    for revision in ["main", "abc", "refs/pr/1"] {
        assert_eq!(hub.model(&format!("owner/name@{revision}")).unwrap(), snapshot, "{revision}");
    }
    let message = refused(hub.model("owner/name@v2"));
    assert!(message.contains("has no refs/v2 in models--owner--name"), "{message}");
    fs::remove_file(root.join("refs/main")).unwrap();
    let message = refused(hub.model("owner/name"));
    assert!(
        message.contains("has no refs/main") && message.contains("snapshots of abc"),
        "{message}"
    );
    assert!(message.contains("owner/name@COMMIT"), "{message}");
    fs::write(root.join("refs/main"), "def").unwrap();
    let message = refused(hub.model("owner/name"));
    assert!(message.contains("no snapshot def") && message.contains("refs/main"), "{message}");
    fs::write(root.join("refs/main"), "../../../..").unwrap();
    assert!(refused(hub.model("owner/name")).contains("has no snapshot ../"));
}

#[test]
fn what_an_incomplete_snapshot_lacks_is_named_with_the_cache() {
    let home = tempfile::tempdir().unwrap();
    let shards: &[(&str, &str)] = &[
        ("config.json", "{}"),
        ("model.safetensors.index.json", INDEX),
        ("model-00001-of-00002.safetensors", "1"),
    ];
    cache(home.path(), "models--o--shards", shards);
    cache(home.path(), "models--o--config", &TINY[1..]);
    cache(home.path(), "models--o--weights", &TINY[..1]);
    cache(home.path(), "models--o--adapter", &[("adapter_config.json", "{}")]);
    let linked = cache(home.path(), "models--o--link", &TINY[..1]);
    std::os::unix::fs::symlink("../../blobs/gone", linked.join("model.safetensors")).unwrap();
    let outside = cache(home.path(), "models--o--outside", &TINY[..1]);
    let index = r#"{"weight_map": {"w": "../../../outside"}}"#;
    fs::write(outside.join("model.safetensors.index.json"), index).unwrap();
    fs::write(home.path().join("hub/outside"), "x").unwrap();
    for (name, part) in [
        ("o/shards", "without model-00002-of-00002.safetensors (1 of 2 shards are missing)"),
        ("o/config", "without config.json"),
        ("o/weights", "without model.safetensors"),
        ("o/adapter", "it is an adapter, not a model"),
        ("o/link", "model.safetensors (a link to a file that is not there)"),
        ("o/outside", "outside the model's folder"),
        ("o/absent", "has no folder models--o--absent"),
    ] {
        let message = refused(offline(home.path()).model(name));
        assert!(message.contains(part), "{message}");
        assert!(message.starts_with(&format!("`{name}` is not a folder")), "{message}");
        assert!(message.contains(home.path().join("hub").to_str().unwrap()), "{message}");
        assert!(message.contains("offline mode is on (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)"));
        let message = refused(hub(home.path(), CLOSED, &[]).model(name));
        assert!(message.contains(part) && message.contains(CLOSED), "{message}");
    }
}

#[test]
fn offline_nothing_is_contacted() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start("owner/name", TINY, Mood::Serves);
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let hub = hub(home.path(), &server.endpoint, &[(variable, "yes")]);
        for message in [
            refused(hub.model("owner/name")),
            refused(hub.adapter("owner/name")),
            refused(hub.dataset("owner/name", None, None, None)),
        ] {
            assert!(message.contains("offline mode is on"), "{message}");
        }
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[test]
fn a_model_is_fetched_into_the_cache_s_layout_once() {
    let home = tempfile::tempdir().unwrap();
    let files =
        with(&[("chat_template.jinja", "x"), ("pytorch_model.bin", "no"), ("logo.png", "no")]);
    let server = Server::start("owner/name", &files, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[("HF_TOKEN", "hf_secret")]);
    let folder = online.model("owner/name").unwrap();
    let root = home.path().join("hub/models--owner--name");
    assert_eq!(folder, root.join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), "weights");
    assert!(folder.join("config.json").is_symlink());
    assert_eq!(fs::read_to_string(folder.join("chat_template.jinja")).unwrap(), "x");
    assert!(!folder.join("pytorch_model.bin").exists() && !folder.join("logo.png").exists());
    let refs: Vec<_> =
        fs::read_dir(root.join("refs")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(refs, ["main"]);
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let token = Some("Bearer hf_secret".to_owned());
    assert!(server.authorizations().iter().all(|sent| *sent == token));
    let requests = server.requests().len();
    assert_eq!(online.model("owner/name").unwrap(), folder);
    assert_eq!(server.requests().len(), requests);
    assert_eq!(offline(home.path()).model(&format!("owner/name@{COMMIT}")).unwrap(), folder);
    // Another revision of the same commit is a matter of its name.
    assert_eq!(online.model("owner/name@v1/x").unwrap(), folder);
    assert_eq!(fs::read_to_string(root.join("refs/v1/x")).unwrap(), COMMIT);
}

#[test]
fn a_token_is_sent_from_its_file_unless_that_is_disabled() {
    for (disabled, right) in [("0", Some("Bearer hf_file".to_owned())), ("1", None)] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let server = Server::start("owner/name", TINY, Mood::Serves);
        let more = [("HF_HUB_DISABLE_IMPLICIT_TOKEN", disabled)];
        hub(home.path(), &server.endpoint, &more).model("owner/name").unwrap();
        let sent = server.authorizations();
        assert!(!sent.is_empty() && sent.iter().all(|token| *token == right), "{sent:?}");
    }
}

#[test]
fn an_interrupted_fetch_is_continued_and_broken_links_are_replaced() {
    let home = tempfile::tempdir().unwrap();
    let files = [
        ("config.json", "{}"),
        ("model.safetensors.index.json", INDEX),
        ("model-00001-of-00002.safetensors", "one"),
        ("model-00002-of-00002.safetensors", "two"),
    ];
    let root = home.path().join("hub/models--owner--name");
    let snapshot = root.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("model-00001-of-00002.safetensors"), "here").unwrap();
    std::os::unix::fs::symlink("../../blobs/gone", snapshot.join("config.json")).unwrap();
    let server = Server::start("owner/name", &files, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[]);
    assert_eq!(online.model("owner/name").unwrap(), snapshot);
    let read = |name: &str| fs::read_to_string(snapshot.join(name)).unwrap();
    assert_eq!(read("config.json"), "{}");
    assert_eq!(read("model-00001-of-00002.safetensors"), "here");
    assert_eq!(read("model-00002-of-00002.safetensors"), "two");
    // The repository has no tokenizer, which is remembered.
    let requests = server.requests().len();
    online.model("owner/name").unwrap();
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn a_cached_model_gets_the_tokenizer_of_its_own_commit() {
    let home = tempfile::tempdir().unwrap();
    let snapshot = cache(home.path(), "models--owner--name", &TINY[..2]);
    let own = snapshot.parent().unwrap().join(COMMIT);
    fs::rename(&snapshot, &own).unwrap();
    fs::write(home.path().join("hub/models--owner--name/refs/main"), COMMIT).unwrap();
    let server = Server::start("owner/name", TINY, Mood::Serves);
    assert_eq!(hub(home.path(), &server.endpoint, &[]).model("owner/name").unwrap(), own);
    assert!(own.join("tokenizer.json").is_file());
    assert_eq!(server.requests()[0], format!("/api/models/owner/name/revision/{COMMIT}"));
}

#[test]
fn what_a_repository_does_not_hold_is_told() {
    for (files, part) in [
        (vec![("config.json", "{}"), ("pytorch_model.bin", "x")], "safetensors"),
        (vec![("config.json", "{}"), ("m.gguf", "x")], "GGUF"),
        (vec![("README.md", "x")], "no config.json; it has README.md"),
        (vec![("adapter_config.json", "{}")], "holds an adapter"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start("owner/name", &files, Mood::Serves);
        let message = refused(hub(home.path(), &server.endpoint, &[]).model("owner/name"));
        assert!(message.contains(part) && message.starts_with("`owner/name`"), "{message}");
    }
}

#[test]
fn what_a_hub_answers_is_told() {
    for (mood, part) in [
        (Mood::Status(401), "set HF_TOKEN (status 401)"),
        (Mood::Status(403), "accept its conditions"),
        (Mood::Status(404), "no such repository"),
        (Mood::Status(500), "500"),
        (Mood::NoFiles, "config.json of owner/name"),
        (Mood::Silent, "sent nothing of owner/name in 2 s"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start("owner/name", TINY, mood);
        let quick = [("HF_HUB_ETAG_TIMEOUT", "1"), ("HF_HUB_DOWNLOAD_TIMEOUT", "1")];
        let message = refused(hub(home.path(), &server.endpoint, &quick).model("owner/name"));
        assert!(message.contains(part) && message.contains(&server.endpoint), "{message}");
        assert!(message.contains("local model folder"), "{message}");
    }
    let home = tempfile::tempdir().unwrap();
    for endpoint in ["", "mirror.example"] {
        let message = refused(hub(home.path(), endpoint, &[]).model("owner/name"));
        assert!(message.contains("HF_ENDPOINT") && message.contains("https://"), "{message}");
    }
}

#[test]
fn an_adapter_is_found_and_fetched_with_its_tokenizer() {
    let home = tempfile::tempdir().unwrap();
    let files = [
        ("adapter_config.json", "{}"),
        ("adapter_model.safetensors", "w"),
        ("chat_template.jinja", "x"),
    ];
    let server = Server::start("owner/name", &files, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[]);
    let folder = online.adapter("owner/name").unwrap();
    assert!(folder.join("chat_template.jinja").is_file());
    let requests = server.requests().len();
    assert_eq!(online.adapter("owner/name").unwrap(), folder);
    assert_eq!(server.requests().len(), requests);
    for (files, part) in [
        (vec![("adapter_config.json", "{}"), ("adapter_model.bin", "x")], "load it with PEFT"),
        (TINY.to_vec(), "not a PEFT adapter"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start("owner/name", &files, Mood::Serves);
        let message = refused(hub(home.path(), &server.endpoint, &[]).adapter("owner/name"));
        assert!(message.contains(part), "{message}");
    }
}
