//! Settings from environment variables against huggingface_hub's own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use revealed_hub::HubSettings;
use serde_json::Value;

#[test]
fn every_combination_is_what_huggingface_hub_makes_of_it() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/hub/environment.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(golden).unwrap()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_str().unwrap();
    for (name, text) in golden["files"].as_object().unwrap() {
        let path = scratch.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.as_str().unwrap()).unwrap();
    }
    for case in golden["cases"].as_array().unwrap() {
        let variables: BTreeMap<&str, String> = case["variables"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap().replace("{dir}", folder)))
            .collect();
        let found = HubSettings::from_vars(|name| variables.get(name).cloned());
        let right = &case["resolved"];
        if right["refused"] == true {
            let message = found.unwrap_err().to_string();
            assert!(message.contains("a whole number of seconds"), "{message}");
            continue;
        }
        let found = found.unwrap();
        let path = |path: &Path| Value::from(path.to_str().unwrap().replace(folder, "{dir}"));
        assert_eq!(path(&found.home), right["home"], "{variables:?}");
        assert_eq!(path(&found.cache), right["cache"], "{variables:?}");
        assert_eq!(path(&found.token_path), right["token_path"], "{variables:?}");
        assert_eq!(Value::from(found.offline), right["offline"], "{variables:?}");
        assert_eq!(Value::from(found.endpoint.as_str()), right["endpoint"], "{variables:?}");
        assert_eq!(Value::from(found.answer_timeout.as_secs()), right["answer_timeout"]);
        assert_eq!(Value::from(found.download_timeout.as_secs()), right["download_timeout"]);
        // A relative path to a token depends on the folder in which a test runs.
        if found.token_path.is_absolute() {
            let token = found.token_to_send().unwrap();
            assert_eq!(token.map_or(Value::Null, Value::from), right["token"], "{variables:?}");
        }
    }
}

#[test]
fn the_variable_of_datasets_counts_for_data_sets_alone() {
    let settings = |value: &'static str| {
        HubSettings::from_vars(move |name| match name {
            "HF_HUB_OFFLINE" => Some("1".into()),
            "HF_DATASETS_OFFLINE" => Some(value.into()),
            _ => None,
        })
    };
    let found = settings("0").unwrap();
    assert_eq!((found.offline, found.datasets_offline), (true, false));
    assert!(settings("yes").unwrap().datasets_offline);
}
