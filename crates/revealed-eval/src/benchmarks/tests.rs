use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use approx::assert_abs_diff_eq;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Row {
    id: String,
    subset: String,
    chosen: Vec<f64>,
    rejected: Vec<f64>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    subset: Option<String>,
    value: f64,
}

#[derive(Deserialize)]
struct Case {
    benchmark: String,
    rows: Vec<Row>,
    figures: Vec<Wanted>,
    credits: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    weights: BTreeMap<String, BTreeMap<String, usize>>,
    cases: Vec<Case>,
}

fn expected() -> Expected {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rewardbench/expected.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn question(row: &Row, number: usize) -> BenchmarkQuestion {
    BenchmarkQuestion {
        id: row.id.clone(),
        subset: row.subset.clone(),
        prompt: revealed_data::Prompt::Text(number.to_string()),
        chosen: vec!["".into(); row.chosen.len()],
        rejected: vec!["".into(); row.rejected.len()],
    }
}

fn benchmark(name: &str) -> Benchmark {
    let all = [Benchmark::RewardBench, Benchmark::RewardBench2, Benchmark::RmBench];
    all.into_iter().find(|benchmark| benchmark.name() == name).unwrap()
}

#[test]
fn figures_are_those_of_the_official_scoring() {
    for (number, case) in expected().cases.iter().enumerate() {
        let benchmark = benchmark(&case.benchmark);
        let questions: Vec<BenchmarkQuestion> =
            case.rows.iter().enumerate().map(|(n, row)| question(row, n)).collect();
        let scored: Vec<ScoredQuestion<'_>> = questions
            .iter()
            .zip(&case.rows)
            .map(|(question, row)| ScoredQuestion {
                question,
                chosen: &row.chosen,
                rejected: &row.rejected,
            })
            .collect();
        let found = benchmark.figures(&scored);
        for Wanted { name, subset, value } in &case.figures {
            let figure = found.iter().find(|f| f.name == *name && f.subset == *subset);
            let figure = figure.unwrap_or_else(|| panic!("case {number}: {name} {subset:?}"));
            assert_abs_diff_eq!(figure.value, value, epsilon = 1e-9);
            if let Some([low, high]) = figure.interval {
                assert!(low <= figure.value && figure.value <= high, "{figure:?}");
            }
        }
        for (one, credit) in scored.iter().zip(&case.credits) {
            assert_abs_diff_eq!(benchmark.credit(one), credit, epsilon = 1e-9);
        }
    }
}

#[test]
fn sections_have_the_published_subsets_and_weights() {
    let ours: BTreeMap<String, BTreeMap<String, usize>> = SECTIONS
        .iter()
        .map(|(name, parts)| {
            let parts = parts.iter().map(|(part, weight)| ((*part).to_owned(), *weight));
            ((*name).to_owned(), parts.collect())
        })
        .collect();
    assert_eq!(ours, expected().weights);
}

fn read(benchmark: Benchmark, name: &str, text: &str) -> Result<Vec<BenchmarkQuestion>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    benchmark.read(&path).map_err(|error| {
        let (mut chain, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            chain = format!("{chain}: {error}");
            cause = error.source();
        }
        chain
    })
}

#[test]
fn the_published_layouts_are_read() {
    let v1 = r#"{"prompt":"Say hi","chosen":"hi","chosen_model":"a","rejected":"no","rejected_model":"b","subset":"hep-go","id":7}
{"prompt":"Say ho","chosen":"ho","rejected":"no","subset":"hep-cpp","id":7}"#;
    let rows = read(Benchmark::RewardBench, "v1.jsonl", v1).unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["hep-go/7", "hep-cpp/7"]);
    let turn = |content: &str| revealed_data::Message::new("user", content);
    assert_eq!(rows[0].prompt, revealed_data::Prompt::from(vec![turn("Say hi")]));
    assert_eq!((&*rows[1].chosen[0].text(), &*rows[1].rejected[0].text()), ("ho", "no"));

    let v2 = r#"[{"id":"tied:0","prompt":"A colour","chosen":["red","blue"],"rejected":["seven"],
        "num_correct":2,"num_incorrect":1,"total_completions":3,"models":["x"],"subset":"Ties",
        "additional_metadata":{"category":null}}]"#;
    let rows = read(Benchmark::RewardBench2, "v2.json", v2).unwrap();
    assert_eq!((rows[0].chosen.len(), rows[0].rejected.len()), (2, 1));

    let rm = r#"[{"id":"chat/0","prompt":"?","chosen":["a","b","c"],"rejected":["d","e","f"],"domain":"safety-refuse"}]"#;
    let rows = read(Benchmark::RmBench, "rm.json", rm).unwrap();
    assert_eq!((rows[0].subset.as_str(), &*rows[0].rejected[2].text()), ("safety-refuse", "f"));
}

#[test]
fn rows_of_another_benchmark_are_refused_by_name() {
    let refused = |benchmark, text: &str, words: &[&str]| {
        let message = read(benchmark, "rows.jsonl", text).unwrap_err();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let many = r#"{"id":"a","subset":"Math","prompt":"?","chosen":["x"],"rejected":["y","z","w"]}"#;
    refused(
        Benchmark::RewardBench,
        many,
        &["rows.jsonl: line 1: question a", "3 rejected", "one of each"],
    );
    let domain = many.replace("subset", "domain");
    refused(Benchmark::RmBench, &domain, &["line 1: question a", "three of each"]);
    let none = many.replace("[\"x\"]", "[]");
    refused(Benchmark::RewardBench2, &none, &["0 chosen"]);
    let count = many.replace("\"chosen\"", "\"num_correct\":2,\"chosen\"");
    refused(Benchmark::RewardBench2, &count, &["num_correct = 2"]);
    refused(Benchmark::RewardBench2, &many.replace("Math", "Ties"), &["ref:N or tied:N"]);
    let tie = many.replace("Math", "Ties").replace("\"a\"", "\"ref:1\"");
    refused(Benchmark::RewardBench2, &format!("{tie}\n{tie}"), &["each once"]);
    let styles =
        r#"{"id":"a","domain":"law","prompt":"?","chosen":["x","y","z"],"rejected":["x","y","z"]}"#;
    refused(Benchmark::RmBench, styles, &["\"law\"", "chat, math, code, safety"]);
    let of_one = r#"{"id":1,"subset":"hep-go","prompt":"?","chosen":"x","rejected":"y"}"#;
    refused(Benchmark::RewardBench2, of_one, &["line 1", "hep-go", "`revealed eval rewardbench`"]);
}

#[test]
fn a_column_that_is_missing_or_of_another_type_is_named_with_its_row() {
    let refused = |benchmark, name: &str, text: &str, words: &[&str]| {
        let message = read(benchmark, name, text).unwrap_err();
        for word in words {
            assert!(message.contains(word), "{word} is not in {message}");
        }
    };
    let (one, two) = (Benchmark::RewardBench, Benchmark::RmBench);
    refused(one, "a.jsonl", "{\"prompt\":\"?\"}", &["line 1", "lacks the column `subset`"]);
    let rm = r#"{"domain":"chat","prompt":"?","chosen":["x","y","z"],"rejected":["x","y","z"]}"#;
    let other = rm.replace("domain", "subset");
    let words = ["a.json: row 2", "`domain` of a file of RM-Bench", "subset, prompt"];
    refused(two, "a.json", &format!("[{rm},{other}]"), &words);
    let row = r#"{"subset":"hep-go","prompt":"?","chosen":"x","rejected":"y"}"#;
    for (from, to, words) in [
        ("\"hep-go\"", "null", ["null in `subset`", "must be text"]),
        ("\"x\"", "[1]", ["a list in `chosen`", "text or a list of texts"]),
        ("\"?\"", "3", ["a number in `prompt`", "a list of messages"]),
        ("\"rejected\"", "\"rejetced\"", ["lacks the column `rejected`", "rejetced"]),
        ("{", "{\"id\":[],", ["a list in `id`", "a number"]),
    ] {
        let text = format!("{row}\n{}", row.replacen(from, to, 1));
        refused(one, "a.jsonl", &text, &[&["a.jsonl: line 2"][..], &words].concat());
    }
}

#[test]
fn a_file_of_one_subset_has_no_overall_score() {
    let text = r#"{"id":"1","subset":"hep-go","prompt":"?","chosen":"x","rejected":"y"}"#;
    let rows = read(Benchmark::RewardBench, "one.jsonl", text).unwrap();
    let scored = [ScoredQuestion { question: &rows[0], chosen: &[1.0], rejected: &[1.0] }];
    let figures = Benchmark::RewardBench.figures(&scored);
    let names: Vec<_> = figures.iter().map(|f| (f.name.as_str(), f.subset.as_deref())).collect();
    assert_eq!(names, [("accuracy", Some("hep-go")), ("section", Some("Reasoning"))]);
    // A tie is wrong here, as in the official runner.
    assert_eq!(figures[0].value, 0.0);
}

#[test]
fn the_interval_of_ties_stays_within_what_a_share_can_be() {
    let (right, wrong): (&[f64], &[f64]) = (&[1.0, 1.1], &[0.0]);
    let best =
        ties_score((0..3).flat_map(|n| [(false, n, right, wrong), (true, n, &right[..1], wrong)]));
    assert!(best.value > 1.0 && best.high == best.value, "{best:?}");
    let worst =
        ties_score((0..3).flat_map(|n| [(false, n, wrong, right), (true, n, wrong, right)]));
    assert_eq!((worst.value, worst.low), (0.0, 0.0));
    let near = ties_score((0..3).flat_map(|n| [(false, n, right, wrong), (true, n, wrong, right)]));
    assert!(near.low >= 0.0 && near.high <= 1.0, "{near:?}");
}

#[test]
fn a_prior_set_is_named_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anthropic_hhh-00000-of-00001.jsonl");
    let row = r#"{"prompt":[{"role":"user","content":"?"}],"chosen":"x","rejected":"y"}"#;
    fs::write(&path, format!("{row}\n{row}")).unwrap();
    let rows = prior_set(&path).unwrap();
    assert_eq!(rows[1].subset, "anthropic_hhh");
    assert_eq!(rows[1].id, "anthropic_hhh/1");
}
