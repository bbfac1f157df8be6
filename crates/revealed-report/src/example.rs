//! An evaluation record for tests.

use std::collections::BTreeMap;

use revealed_eval::{Environment, EvalRecord, Figure, Item, Source};
use serde_json::Map;

pub(crate) fn record() -> EvalRecord {
    let figure = |subset: Option<&str>, value| Figure {
        name: "acc".into(),
        subset: subset.map(str::to_owned),
        value,
        interval: Some([0.1, 0.9]),
        n: 2,
        parts: Vec::new(),
    };
    let values = BTreeMap::from([("acc".to_owned(), 1.0)]);
    let item = Item { id: "0".into(), subset: None, values, detail: Map::new() };
    EvalRecord {
        evaluation: "toy".into(),
        figures: vec![figure(None, 0.5), figure(Some("hard"), 0.25)],
        items: vec![item],
        settings: Map::from_iter([("shots".to_owned(), 5.into())]),
        models: BTreeMap::from([("judge".to_owned(), Source::named("gpt"))]),
        data: vec![],
        environment: Environment {
            revealed: "0".into(),
            device: "flex".into(),
            dtype: "f32".into(),
            command: vec!["eval".into()],
        },
    }
}
