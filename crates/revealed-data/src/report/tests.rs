use std::path::Path;

use super::*;
use crate::EncodeOptions;
use crate::encoder::tests::folder;

fn dataset(text: &str) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, text).unwrap();
    crate::read(&path).unwrap()
}

fn encoder(options: EncodeOptions) -> Encoder {
    let folder = folder(&[]);
    Encoder::from_folder(folder.path(), options).unwrap()
}

#[test]
fn a_report_counts_lists_and_shows_tokens_with_their_marks() {
    let data = dataset(concat!(
        "{\"id\":\"one\",\"prompt\":\"a b\",\"completion\":\" c\"}\n",
        "{\"id\":\"two\",\"prompt\":\"a b\",\"completion\":\"\"}\n",
        "{\"id\":\"three\",\"prompt\":\"a b a b a b a b\",\"completion\":\" c\"}\n",
        "{\"id\":\"four\",\"prompt\":\"b<unk>\",\"completion\":\" c c c c c c\"}\n",
    ));
    let options =
        EncodeOptions { max_prompt_tokens: 6, max_completion_tokens: 5, ..Default::default() };
    let report = report(&data, &encoder(options), 1).unwrap();
    assert_eq!((report.rows, report.dropped, report.truncated), (4, 1, 1));
    assert_eq!(report.dropped_rows[0].id, "three");
    assert_eq!(report.truncated_ids, ["four"]);
    assert_eq!((report.duplicate_prompts, report.empty_completions), (1, 1));
    assert_eq!((report.completion_tokens.min, report.completion_tokens.max), (1, 5));
    let marks: Vec<Mark> = report.preview[0].tokens.iter().map(|token| token.mark).collect();
    assert_eq!(marks, [Mark::P, Mark::P, Mark::P, Mark::C, Mark::T]);
    assert!(report.warnings.iter().any(|warning| warning.contains("spells a special token")));
    let text = report.to_string();
    for said in ["4 rows of prompt+completion", "three: the prompt has", "T       2 \"</s>\""] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["kind"], "prompt_completion");
}

#[test]
fn both_sides_of_a_preference_and_prompts_alone_are_reported() {
    let pair = dataset(r#"{"id":"x","prompt":"a","chosen":" b","rejected":" c c"}"#);
    let report_of = |data: &Dataset| report(data, &encoder(EncodeOptions::default()), 9).unwrap();
    let pairs = report_of(&pair);
    assert_eq!(pairs.rows, 1);
    assert_eq!(
        pairs.preview.iter().map(|row| &*row.id).collect::<Vec<_>>(),
        ["x chosen", "x rejected"]
    );
    let prompts = report_of(&dataset(r#"{"prompt":"a b"}"#));
    assert_eq!((prompts.prompt_tokens.total, prompts.completion_tokens.total), (3, 0));
}

#[test]
fn rows_whose_boundary_a_token_would_span_are_counted_and_listed() {
    let data = dataset("{\"id\":\"z\",\"prompt\":\"a \",\"completion\":\"b\"}");
    let warnings = report(&data, &encoder(EncodeOptions::default()), 0).unwrap().warnings;
    assert!(
        warnings[0].starts_with("1 of 1") && warnings[0].contains("(z: used as"),
        "{warnings:?}"
    );
}

#[test]
fn a_refused_row_is_named() {
    let data = dataset(r#"{"id":"evil","prompt":"a","completion":"b</s>c"}"#);
    let error = report(&data, &encoder(EncodeOptions::default()), 1).unwrap_err();
    assert!(error.to_string().contains("evil"));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("</s>"));
}

#[test]
fn a_split_adds_its_sizes() {
    let data =
        dataset("{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"b\",\"completion\":\"b\"}");
    let Records::Demonstrations(rows) = data.records.clone() else { unreachable!() };
    let split = crate::split(rows, 1, 3);
    let report = report(&data, &encoder(EncodeOptions::default()), 0).unwrap().with_split(&split);
    assert_eq!(report.split, Some(SplitSizes { train: 1, held_out: 1 }));
    assert!(report.to_string().contains("1 train, 1 held out"));
}

#[test]
fn lengths_are_nearest_ranks() {
    let found = lengths((1..=100).rev());
    assert_eq!(found, Lengths { min: 1, median: 50, p95: 95, max: 100, total: 5050 });
    assert_eq!(lengths(std::iter::empty()), Lengths::default());
}

#[test]
fn the_shared_demonstrations_are_reported_with_a_chat_template() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    if !shared.exists() {
        eprintln!("skipped: {} is missing", shared.display());
        return;
    }
    let options = EncodeOptions::default();
    let encoder =
        Encoder::from_folder(&shared.join("models/smollm2-135m-instruct"), options).unwrap();
    let data = crate::read(&shared.join("data/demonstrations/dolly_hhrlhf.jsonl")).unwrap();
    let report = report(&data, &encoder, 1).unwrap();
    assert_eq!(report.rows, 1000);
    assert!(report.prompt_tokens.max <= 512 && report.completion_tokens.max <= 512);
    let last = report.preview[0].tokens.last().unwrap();
    assert_eq!((last.mark, &*last.text), (Mark::T, "<|im_end|>"));
}
