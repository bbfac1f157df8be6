//! `golden/tasks`: what lm-evaluation-harness makes of the same rows, model and tokenizers.

use std::path::PathBuf;

use burn::tensor::Device;
use revealed_data::{EncodeOptions, Encoder, TemplateChoice};
use revealed_models::CausalLm;
use serde_json::{Value, json};

use super::rows::made_up;
use super::run::asked_rows;
use super::*;
use crate::progress::Progress;
use crate::record::Item;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/tasks")).join(name)
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(golden("expected.json")).unwrap()).unwrap()
}

fn rows(name: &Value) -> Option<Vec<TaskRow>> {
    Some(read_rows(&golden(&format!("data/{}.jsonl", name.as_str()?))).unwrap())
}

fn model() -> CausalLm {
    CausalLm::load(&golden("model"), &Device::flex()).unwrap()
}

/// The tokenizer alone is what `bos` differs in.
fn encoder(side: &str, chat: bool) -> Encoder {
    let template = if chat { TemplateChoice::Auto } else { TemplateChoice::None };
    let options = EncodeOptions { template, ..EncodeOptions::default() };
    Encoder::from_folder(&golden(side), options).unwrap()
}

fn description(run: &Value) -> TaskDescription {
    let name = run["task"].as_str().unwrap();
    let mut task = match name.ends_with(".toml") {
        true => TaskDescription::read(golden(name).to_str().unwrap()).unwrap(),
        false => TaskDescription::read(name).unwrap(),
    };
    if let Some(text) = run["description"].as_str() {
        task.description = text.into();
    }
    if let Some(tokens) = run["max_gen_toks"].as_u64() {
        task.generation.max_gen_toks = tokens as usize;
    }
    task
}

fn run(run: &Value) -> TaskResult {
    let chat = run["chat"].as_bool() == Some(true);
    let encoder = encoder(run["tokenizer"].as_str().unwrap_or("model"), chat);
    let settings = TaskSettings {
        shots: Some(run["shots"].as_u64().unwrap() as usize),
        prompt: if chat { PromptForm::Chat } else { PromptForm::Plain },
        limit: run["limit"].as_u64().map(|limit| limit as usize),
        batch_size: 2,
        ..TaskSettings::default()
    };
    let questions = rows(&run["data"]).unwrap();
    let examples = match &run["shots_data"] {
        // lm-eval draws from the split that it asks about where there is no other.
        shots if *shots == run["data"] => None,
        shots => rows(shots),
    };
    let rows = TaskRows { questions: &questions, examples: examples.as_deref() };
    run_task(&description(run), rows, &settings, (&model(), &encoder), &mut |_| {}).unwrap()
}

/// 1e-3 on log-likelihoods: sums of some tens of tokens, each within 1e-5; mc2 moves by its own size times that.
fn assert_equal(found: &Item, wanted: &Value, name: &str) {
    let at = format!("{name}, {}: {found:?} {wanted}", found.id);
    for (metric, value) in wanted["values"].as_object().unwrap() {
        let (found, wanted) = (found.values[metric], value.as_f64().unwrap());
        let near = if metric == "log_likelihood" || metric == "mc2" { 1e-3 } else { 0.0 };
        assert!((found - wanted).abs() <= near, "{metric}, {at}");
    }
    assert_eq!(found.values.len(), wanted["values"].as_object().unwrap().len(), "{at}");
    for (field, near) in [("log_likelihoods", 1e-3), ("greedy", 0.0)] {
        let Some(wanted) = wanted[field].as_array() else { continue };
        let found = found.detail[field].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{at}");
        for (found, wanted) in found.iter().zip(wanted) {
            match (found.as_f64(), wanted.as_f64()) {
                (Some(found), Some(wanted)) => assert!((found - wanted).abs() < near, "{at}"),
                _ => assert_eq!(found, wanted, "{at}"),
            }
        }
    }
    for field in ["answer", "taken"] {
        if let Some(wanted) = wanted.get(field) {
            assert_eq!(found.detail[field], *wanted, "{at}");
        }
    }
}

#[test]
fn every_run_is_that_of_lm_eval_item_by_item() {
    let golden = expected();
    let runs = golden["runs"].as_array().unwrap();
    assert!(runs.len() > 20);
    for wanted in runs {
        let found = run(wanted);
        let name = format!("{} {} {}", wanted["task"], wanted["shots"], wanted["tokenizer"]);
        let items = wanted["items"].as_array().unwrap();
        assert_eq!(found.items.len(), items.len(), "{name}");
        for (found, wanted) in found.items.iter().zip(items) {
            assert_equal(found, wanted, &name);
        }
        for TaskFigure { figure, .. } in found.figures.iter().filter(|f| f.figure.subset.is_none())
        {
            // TruthfulQA's metrics are both `acc` there.
            let key = if figure.name.starts_with("mc") { "acc" } else { &figure.name };
            if let Some(wanted) = wanted["figures"][key].as_f64() {
                let close = (figure.value - wanted).abs() < 1e-3 * wanted.abs().max(1.0);
                assert!(close, "{name}: {figure:?} {wanted}");
            }
        }
    }
}

#[test]
fn filters_take_and_compare_as_lm_eval_does() {
    let answers = answer::Answers::new(&TaskDescription::read("gsm8k").unwrap()).unwrap();
    for row in expected()["filters"].as_array().unwrap() {
        let target = row["target"].as_str().unwrap();
        for (name, taken) in answers.of(row["text"].as_str().unwrap()) {
            assert_eq!(row["taken"][&name], json!(taken), "{row}");
            let equal = f64::from(answers.equal(&taken, target));
            assert_eq!(row["values"][&name], json!(equal), "{row}");
        }
    }
}

fn of(task: &str, tokenizer: &str, shots: u64) -> TaskResult {
    let golden = expected();
    let runs = golden["runs"].as_array().unwrap();
    let is = |run: &&Value| {
        run["task"] == task
            && run["tokenizer"].as_str().unwrap_or("model") == tokenizer
            && run["shots"] == shots
            && run["limit"].is_null()
    };
    run(runs.iter().find(is).unwrap())
}

#[test]
fn what_questions_share_is_computed_once_and_what_does_not_fit_is_counted() {
    // First-n shots of two subjects, four choices of one letter each.
    let mmlu = of("mmlu", "model", 2);
    assert!(mmlu.tokens_computed * 3 < mmlu.tokens_asked, "{mmlu:?}");
    assert_eq!(mmlu.truncated, 0);
    let parts: Vec<Option<&str>> =
        mmlu.figures.iter().map(|figure| figure.figure.subset.as_deref()).collect();
    assert_eq!(parts, [None, Some("garden_lore"), Some("smithing")]);
    let cut = of("arc_challenge", "bos", 12);
    assert_eq!(cut.truncated, 4);
    assert!(cut.items.iter().all(|item| item.detail["tokens_cut"].as_u64() > Some(0)));
    assert_eq!(cut.settings["truncated"], json!(4));
    assert_eq!(cut.settings["text_begins_with"], json!(["<s>"]));
    assert_eq!(cut.settings["description"]["task"], json!("arc_challenge"));
}

#[test]
fn a_limit_is_of_each_group_as_it_is_of_each_task_of_lm_eval() {
    let golden = expected();
    let runs = golden["runs"].as_array().unwrap();
    let wanted = runs.iter().find(|run| run["task"] == "mmlu" && !run["limit"].is_null()).unwrap();
    let places: Vec<String> =
        wanted["items"].as_array().unwrap().iter().map(|item| item["row"].to_string()).collect();
    assert!(places.len() > 1);
    let ids: Vec<String> = run(wanted).items.into_iter().map(|item| item.id).collect();
    assert_eq!(ids, places);
    let piqa = TaskDescription::read("piqa").unwrap();
    let questions = rows(&json!("piqa")).unwrap();
    assert_eq!(asked_rows(&piqa, &questions, Some(2)).unwrap(), [0, 1]);
    assert_eq!(asked_rows(&piqa, &questions, Some(1000)).unwrap().len(), questions.len());
}

fn asked(
    name: &str,
    rows: &[Value],
    settings: &TaskSettings,
) -> (Result<TaskResult, TaskError>, usize) {
    let task = TaskDescription::read(name).unwrap();
    let questions = made_up(rows.iter().cloned());
    let rows = TaskRows { questions: &questions, examples: None };
    let mut steps = 0;
    let count = &mut |at: Progress<'_>| steps += usize::from(at.done > 0);
    let result = run_task(&task, rows, settings, (&model(), &encoder("model", false)), count);
    (result, steps)
}

fn plain() -> TaskSettings {
    TaskSettings { shots: Some(0), ..TaskSettings::default() }
}

fn refused(name: &str, row: Value, settings: &TaskSettings, parts: &[&str]) {
    let error = asked(name, &[row], settings).0.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_reason() {
    let plain = plain();
    let chat = TaskSettings { prompt: PromptForm::Chat, ..plain.clone() };
    let none = TaskSettings { limit: Some(0), ..plain.clone() };
    let piqa = |label: Value| json!({"goal": "g", "sol1": "a", "sol2": "b", "label": label});
    let target = "rows.jsonl: line 1: task `piqa`, `doc_to_target` = \"label\" gives";
    refused("piqa", piqa(json!(2)), &plain, &[target, "2, expected", "`label` is 2 (a number)"]);
    refused("piqa", piqa(json!("")), &plain, &[target, "nothing, expected", "`label` is \"\""]);
    refused("piqa", piqa(json!(-1)), &plain, &["gives -1"]);
    let lacks = ["line 1", "`doc_to_choice` = \"{{ [sol1, sol2] }}\"", "`sol1` (missing), `sol2`"];
    refused("piqa", json!({"goal": "g"}), &plain, &lacks);
    refused("piqa", piqa(json!(0)), &chat, &["chat template"]);
    refused("piqa", piqa(json!(0)), &none, &["no rows"]);
    let shots = TaskSettings { shots: Some(1), ..none.clone() };
    refused("piqa", piqa(json!(0)), &shots, &["no rows"]);
    let one = TaskSettings { shots: Some(1), ..plain.clone() };
    refused("piqa", piqa(json!(0)), &one, &["1 shots are asked for"]);
    let long = json!({"goal": "g", "sol1": "never ".repeat(300), "sol2": "b", "label": 0});
    refused("piqa", long, &plain, &["rows.jsonl: line 1", "the model's context is 256"]);
    let gsm8k = json!({"question": "q", "answer": "a"});
    refused("gsm8k", gsm8k, &plain, &["rows.jsonl: line 1", "256 generated ones"]);
    let mc2 = json!({"question": "q", "mc2_targets": {"choices": ["a", "b"], "labels": [1]}});
    refused("truthfulqa_mc2", mc2, &plain, &["`doc_to_labels`", "gives [1]"]);
}

#[test]
fn a_row_is_named_by_file_line_field_and_column() {
    let refused = |name: &str, row: Value, parts: &[&str]| {
        refused(name, row, &plain(), &[&["rows.jsonl: line 1", name][..], parts].concat());
    };
    let choices = json!({"text": ["a", "b"], "label": ["A", "B"]});
    let arc = |key: Value| json!({"question": "q", "choices": choices, "answerKey": key});
    let target = "`doc_to_target` = \"{{ choices.label.index(answerKey) }}\"";
    refused("arc_easy", arc(json!("Z")), &[target, "`answerKey` is \"Z\"", "Z is not in"]);
    refused("arc_easy", arc(Value::Null), &[target, "`answerKey` (null)"]);
    let keyless = json!({"question": "q", "choices": choices});
    refused("arc_easy", keyless, &[target, "`answerKey` (missing)", "question, choices"]);
    refused("arc_easy", json!({"choices": choices, "answerKey": "A"}), &["`question` (missing)"]);
    refused("gsm8k", json!({"question": "q"}), &["`answer` (missing)"]);
    let openbook = json!({"choices": choices, "answerKey": "A"});
    refused("openbookqa", openbook, &["`doc_to_text` = \"question_stem\"", "(missing)"]);
    let mmlu = json!({"question": "q", "choices": ["a", "b", "c", "d"], "subject": "s"});
    refused("mmlu", mmlu, &["`doc_to_target` = \"answer\"", "`answer` (missing)"]);

    let wino = |sentence: &str, answer: Value| json!({"sentence": sentence, "option1": "a", "option2": "b", "answer": answer});
    for (answer, shown) in
        [(json!(""), "`answer` is \"\""), (json!("3"), "\"3\""), (json!(1), "1 (a number)")]
    {
        let parts = ["`doc_to_text`", "[answer]", "gives nothing", shown];
        refused("winogrande", wino("the _ is red .", answer), &parts);
    }
    let parts = ["`doc_to_target`", "sentence.split", "`sentence` is \"the cup"];
    refused("winogrande", wino("the cup is red .", json!("1")), &parts);
    refused("winogrande", wino("this is the _", json!("1")), &["not blank"]);
    // The file of another task.
    let parts = ["`choices` (missing)", "sentence, option1", "file that belongs to the task"];
    refused("arc_easy", wino("the _ is red .", json!("1")), &parts);
}

#[test]
fn a_right_answer_that_is_missing_is_not_scored() {
    let refused = |name: &str, row: Value, parts: &[&str]| {
        refused(name, row, &plain(), &[&["rows.jsonl: line 1", name][..], parts].concat());
    };
    refused("gsm8k", json!({"question": "q", "answer": null}), &["`answer` (null)"]);
    refused("gsm8k", json!({"question": "q", "answer": " "}), &["not blank"]);
    refused("lambada", json!({"text": ""}), &["`text` is \"\"", "not blank"]);
    let boolq = json!({"passage": null, "question": "q", "label": 1});
    refused("boolq", boolq, &["`passage` (null)"]);
    let mc1 = |labels: Value| json!({"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": labels}});
    refused("truthfulqa_mc1", mc1(json!([0, 0])), &["`doc_to_labels`", "1 for some"]);
    refused("truthfulqa_mc1", mc1(json!([0, 1])), &["that doc_to_target names"]);
    asked("truthfulqa_mc1", &[mc1(json!([1, 0]))], &plain()).0.unwrap();
    // Of all true choices together it does not matter which is first.
    let mc2 = json!({"question": "q", "mc2_targets": {"choices": ["a", "b"], "labels": [0, 1]}});
    asked("truthfulqa_mc2", &[mc2], &plain()).0.unwrap();
}

#[test]
fn a_bad_row_far_down_is_found_before_the_model_is_asked() {
    let piqa =
        |sol1: &str, label: Value| json!({"goal": "g", "sol1": sol1, "sol2": "b", "label": label});
    let mut rows = vec![piqa("a", json!(0)); 5];
    let wrong =
        [(piqa("a", json!(7)), "gives 7"), (piqa(&"never ".repeat(300), json!(0)), "context")];
    for (row, reason) in wrong {
        rows[4] = row;
        let (result, steps) = asked("piqa", &rows, &plain());
        let error = result.unwrap_err().to_string();
        assert!(error.contains("line 5") && error.contains(reason), "{error}");
        assert_eq!(steps, 0);
    }
    // As a shot of the first question: the others are its examples.
    let shots = TaskSettings { shots: Some(4), limit: Some(1), ..TaskSettings::default() };
    rows[4] = piqa("c", json!(7));
    (1..4).for_each(|at| rows[at] = piqa(["d", "e", "f"][at - 1], json!(0)));
    let (result, steps) = asked("piqa", &rows, &shots);
    assert!(result.unwrap_err().to_string().contains("line 5"));
    assert_eq!(steps, 0);
}
