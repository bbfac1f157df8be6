//! Data sets by id: which files are a split's, from the cache and from a hub on this machine.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{CLOSED, COMMIT, Mood, Server, cache, hub, offline, refused};

/// The names of a split's files in a cache that holds files of the given names.
fn split(
    names: &[&str],
    readme: Option<&str>,
    config: Option<&str>,
    split: Option<&str>,
) -> Result<Vec<String>, String> {
    let home = tempfile::tempdir().unwrap();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
    files.extend(readme.map(|text| ("README.md", text)));
    let snapshot = cache(home.path(), "datasets--o--d", &files);
    let found = offline(home.path()).dataset("o/d", None, config, split);
    found.map(|paths| relative(&paths, &snapshot)).map_err(|error| error.to_string())
}

fn relative(paths: &[PathBuf], folder: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(name).collect()
}

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/hub/datasets.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn every_split_has_the_files_that_datasets_takes() {
    for case in golden()["cases"].as_array().unwrap() {
        let names = texts(&case["files"]);
        let of = |wanted| split(&names, case["readme"].as_str(), case["config"].as_str(), wanted);
        let Some(splits) = case["splits"].as_object() else {
            of(None).unwrap_err();
            continue;
        };
        for (name, right) in splits {
            let right = texts(right);
            match of(Some(name.as_str())) {
                Ok(found) => assert_eq!(found, right, "{names:?} {name}"),
                Err(reason) => {
                    assert!(reason.contains(".jsonl.gz` (json) cannot be read"), "{reason}");
                    assert!(right[0].ends_with(".jsonl.gz"));
                }
            }
        }
        if !splits.contains_key("train") {
            assert!(of(None).unwrap_err().contains("no split `train`"));
        }
    }
}

#[test]
fn ids_are_those_of_huggingface_hub() {
    let home = tempfile::tempdir().unwrap();
    for (name, valid) in golden()["ids"].as_object().unwrap() {
        let message = refused(offline(home.path()).dataset(name, None, None, None));
        let named = message.contains("neither a folder nor a hub id");
        // What follows an `@` is a revision here.
        assert_eq!(named, valid == false && name != "a/b@c", "{name}: {message}");
    }
}

#[test]
fn files_are_found_by_the_conventions_of_datasets() {
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&["x.jsonl"], "train", &["x.jsonl"]),
        (&["b.csv", "a.csv", "notes.md"], "train", &["a.csv", "b.csv"]),
        (&["train.jsonl", "test.jsonl"], "test", &["test.jsonl"]),
        (&["data/train.csv", "data/dev.csv"], "validation", &["data/dev.csv"]),
        (&["train_1.csv", "train_0.csv", "test_0.csv"], "train", &["train_0.csv", "train_1.csv"]),
        (&["my-train-set.json", "my_eval.json"], "test", &["my_eval.json"]),
        (
            &["data/train/1.csv", "data/train/0.csv", "data/valid/0.csv"],
            "train",
            &["data/train/0.csv", "data/train/1.csv"],
        ),
        (
            &["sub/testing/x/y.parquet", "sub/training/a.parquet"],
            "test",
            &["sub/testing/x/y.parquet"],
        ),
        (
            &[
                "data/train-00001-of-00002.parquet",
                "data/train-00000-of-00002.parquet",
                "data/extra-00000-of-00001.parquet",
            ],
            "train",
            &["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ),
        (
            &["data/extra-00000-of-00001-9f.parquet"],
            "extra",
            &["data/extra-00000-of-00001-9f.parquet"],
        ),
        // Shards outside `data` follow the words in their names.
        (&["a/train-00000-of-00001.parquet"], "train", &["a/train-00000-of-00001.parquet"]),
        // `training` contains no word of a split before a letter.
        (&["trainer.csv", "other.csv"], "train", &["other.csv", "trainer.csv"]),
        // Names that two patterns match count once.
        (&["train-train.csv"], "train", &["train-train.csv"]),
        // The most common format is the data.
        (
            &["train.parquet", "train_2.parquet", "train.csv"],
            "train",
            &["train.parquet", "train_2.parquet"],
        ),
        (&[".cache/train.csv", "__old/train.csv", "train.csv"], "train", &["train.csv"]),
        (&["dataset_infos.json", "config.json", "x.json"], "train", &["x.json"]),
    ];
    for (names, wanted, right) in cases {
        assert_eq!(split(names, None, None, Some(wanted)).unwrap(), *right, "{names:?}");
    }
    assert_eq!(split(&["train.csv", "test.csv"], None, None, None).unwrap(), ["train.csv"]);
    assert_eq!(split(&["x.csv"], None, Some("default"), None).unwrap(), ["x.csv"]);
}

const CONFIGS: &str = "---\nconfigs:\n- config_name: main\n  default: true\n  data_files:\n  - split: train\n    path: main/*.jsonl\n  - split: hard\n    path: [z.jsonl, a.jsonl]\n- config_name: other\n  data_dir: other\n- config_name: piped\n  data_files: p.csv\n  sep: '|'\n---\n# Text\n";

#[test]
fn metadata_says_which_files_a_configuration_and_a_split_have() {
    let names = [
        "main/b.jsonl",
        "main/a.jsonl",
        "z.jsonl",
        "a.jsonl",
        "p.csv",
        "other/test.csv",
        "other/train.csv",
    ];
    let found = |config, wanted| split(&names, Some(CONFIGS), config, wanted);
    assert_eq!(found(None, None).unwrap(), ["main/a.jsonl", "main/b.jsonl"]);
    assert_eq!(found(Some("main"), Some("hard")).unwrap(), ["z.jsonl", "a.jsonl"]);
    assert_eq!(found(Some("other"), Some("test")).unwrap(), ["other/test.csv"]);
    for (config, wanted, parts) in [
        (None, Some("test"), ["no split `test`", "train, hard"]),
        (Some("x"), None, ["no configuration `x`", "main, other, piped"]),
        (Some("piped"), None, ["sets `sep`", "not supported"]),
        (None, Some("train[:10]"), ["no split `train[:10]`", "slices"]),
    ] {
        let message = found(config, wanted).unwrap_err();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn what_cannot_be_chosen_is_refused_by_name() {
    let several = "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_files: b.csv\n---\n";
    let absent = "---\nconfigs:\n- config_name: a\n  data_files: gone.csv\n---\n";
    let nothing = "---\nconfigs:\n- config_name: a\n  data_files: 'gone/*'\n---\n";
    let mixed = "---\nconfigs:\n- config_name: a\n  data_files: '*'\n---\n";
    let url = "---\nconfigs:\n- config_name: a\n  data_files: https://x.example/a.csv\n---\n";
    let up = "---\nconfigs:\n- config_name: a\n  data_files: ../a.csv\n---\n";
    let stars = "---\nconfigs:\n- config_name: a\n  data_files: a**.csv\n---\n";
    let cases: &[(&[&str], Option<&str>, &str)] = &[
        (&["test.csv"], None, "no split `train`; it has: test; without a name, `train` is read"),
        (&["a.csv", "b.csv"], Some(several), "several configurations; name one: a, b"),
        (&["a.csv"], Some(absent), "the file `gone.csv`"),
        (&["a.csv"], Some(nothing), "match no data files"),
        (&["a.csv", "b.jsonl", "c.csv"], Some(mixed), "`b.jsonl` is not csv"),
        (&["a.csv"], Some(url), "https://x.example/a.csv"),
        (&["a.csv"], Some(up), "leaves the repository"),
        (&["a.csv"], Some(stars), "`a**.csv`"),
        (&["d.py", "x.csv"], None, "loading script (d.py)"),
        (&["notes.md"], None, "no data files (.parquet, .jsonl, .json, .csv)"),
        (&["train.jsonl.gz"], None, "`train.jsonl.gz` (json) cannot be read"),
        (&["train.tsv"], None, "`train.tsv` (tab-separated text) cannot be read"),
        (&["train.arrow"], None, "`train.arrow` (arrow)"),
        (&["train/1.png"], None, "`train/1.png` (images)"),
        (&["data/train-00000-of-00002.parquet"], None, "without data/train-00001-of-00002.parquet"),
        (&["a.csv"], Some("---\nconfigs: 7\n---\n"), "metadata in README.md"),
    ];
    for (names, readme, part) in cases {
        let message = split(names, *readme, None, None).unwrap_err();
        assert!(message.contains(part) && message.starts_with("`o/d`"), "{message}");
    }
    let message = split(&["a.csv"], None, Some("x"), None).unwrap_err();
    assert!(message.contains("no configuration `x`; it has only one, `default`"), "{message}");
}

#[test]
fn a_metadata_file_of_its_own_counts_before_the_readme() {
    let home = tempfile::tempdir().unwrap();
    let own = "configs:\n- config_name: a\n  data_files: own.csv\n";
    let files = [("README.md", CONFIGS), (".huggingface.yaml", own), ("own.csv", "x")];
    let snapshot = cache(home.path(), "datasets--o--d", &files);
    let found = offline(home.path()).dataset("o/d@main", None, None, None).unwrap();
    assert_eq!(found, [snapshot.join("own.csv")]);
}

const FILES: &[(&str, &str)] = &[
    ("README.md", "# no metadata"),
    ("data/train-00000-of-00002.parquet", "zero"),
    ("data/train-00001-of-00002.parquet", "one"),
    ("data/test-00000-of-00001.parquet", "test"),
];

#[test]
fn a_split_is_fetched_and_then_read_offline() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start("datasets/o/d", FILES, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[]);
    let found = online.dataset("o/d", None, None, None).unwrap();
    let root = home.path().join("hub/datasets--o--d");
    let snapshot = root.join("snapshots").join(COMMIT);
    let right = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];
    assert_eq!(relative(&found, &snapshot), right);
    assert_eq!(fs::read_to_string(&found[1]).unwrap(), "one");
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert!(!snapshot.join("data/test-00000-of-00001.parquet").exists());
    assert_eq!(offline(home.path()).dataset("o/d", None, None, None).unwrap(), found);
    // A hub that cannot be reached leaves what the cache has.
    let away = hub(home.path(), CLOSED, &[]);
    assert_eq!(away.dataset("o/d", None, None, None).unwrap(), found);
    let message = refused(away.dataset("o/d", None, None, Some("test")));
    assert!(message.contains("no split `test`"), "{message}");
    // The hub has it.
    let test = online.dataset("o/d", Some("v1/x"), None, Some("test")).unwrap();
    assert_eq!(fs::read_to_string(&test[0]).unwrap(), "test");
    assert_eq!(fs::read_to_string(root.join("refs/v1/x")).unwrap(), COMMIT);
}

#[test]
fn names_with_spaces_and_hashes_are_fetched() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start("datasets/o/d", &[("my data/a #1.csv", "x")], Mood::Serves);
    let found = hub(home.path(), &server.endpoint, &[]).dataset("o/d", None, None, None).unwrap();
    let snapshot = home.path().join("hub/datasets--o--d/snapshots").join(COMMIT);
    assert_eq!(found, [snapshot.join("my data/a #1.csv")]);
    assert_eq!(fs::read_to_string(&found[0]).unwrap(), "x");
}

#[test]
fn a_data_set_that_is_nowhere_is_refused_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start("datasets/o/d", FILES, Mood::Serves);
    let online = hub(home.path(), &server.endpoint, &[]);
    for (message, part) in [
        (refused(online.dataset("o/gone", None, None, None)), "no such repository"),
        (refused(online.dataset("o/d", Some("v9"), None, None)), "o/d at revision v9"),
        (refused(online.dataset("o/d", Some("a b"), None, None)), "`a b` is not a branch"),
        (refused(online.dataset("./o/d", None, None, None)), "local data set folder"),
        (refused(offline(home.path()).dataset("o/d", None, None, None)), "HF_DATASETS_OFFLINE"),
        (refused(hub(home.path(), CLOSED, &[]).dataset("o/d", None, None, None)), CLOSED),
    ] {
        assert!(message.contains(part), "{message}");
    }
}
