//! Folders changed in the ways that people's folders are, compared with Transformers on
//! `golden/configs/cases.json`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use revealed_models::{
    CausalLm, CompletionBatch, Decoding, PaddingSide, PrefixCache, SamplingConfig, TensorFiles,
    Weight, sample, write_tensors,
};
use serde_json::{Value, json};
use support::{
    assert_close, device, golden, host, ids, json_file, max_difference, numbers, row_log_probs,
    unpad,
};

/// See `golden/README.md`.
const TOLERANCE: f32 = 1e-4;

type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

fn cases() -> Vec<Value> {
    let path = golden("../configs/cases.json");
    json_file(&path).as_array().unwrap().clone()
}

/// The first row of the table moved to the second, and the last to the first.
fn rolled((values, shape): &(Vec<f32>, Vec<usize>)) -> (Vec<f32>, Vec<usize>) {
    let mut values = values.clone();
    values.rotate_right(shape[1]);
    (values, shape.clone())
}

fn changed(mut tensors: Tensors, changes: &Value) -> Tensors {
    for change in changes.as_array().unwrap() {
        let words: Vec<&str> = change.as_array().unwrap().iter().flat_map(Value::as_str).collect();
        tensors = match words.as_slice() {
            ["rolled", from, to] => {
                let table = rolled(&tensors[*from]);
                tensors.insert((*to).into(), table);
                tensors
            }
            ["copied", from, to] => {
                let table = tensors[*from].clone();
                tensors.insert((*to).into(), table);
                tensors
            }
            ["renamed", from, to] => {
                let table = tensors.remove(*from).unwrap();
                tensors.insert((*to).into(), table);
                tensors
            }
            ["unprefixed", prefix] => {
                let bare =
                    |name: String| name.strip_prefix(prefix).map_or(name.clone(), Into::into);
                tensors.into_iter().map(|(name, table)| (bare(name), table)).collect()
            }
            ["prefixed", prefix] => tensors
                .into_iter()
                .map(|(name, table)| (format!("{prefix}{name}"), table))
                .collect(),
            _ => panic!("{change}"),
        };
    }
    tensors
}

/// Writes the folder of a case.
fn write(case: &Value, folder: &Path) {
    let base = golden(case["base"].as_str().unwrap());
    let mut fields = json_file(&base.join("config.json")).as_object().unwrap().clone();
    for (field, value) in case["config"].as_object().unwrap() {
        match value.as_str() {
            Some("absent") => drop(fields.remove(field)),
            _ => drop(fields.insert(field.clone(), value.clone())),
        }
    }
    std::fs::write(folder.join("config.json"), Value::Object(fields).to_string()).unwrap();
    let path = base.join("model.safetensors");
    let mut files = TensorFiles::open(std::slice::from_ref(&path), path.clone()).unwrap();
    let mut tensors = Tensors::new();
    for name in files.names() {
        let shape = files.shape(&name).unwrap().to_vec();
        tensors.insert(name.clone(), (files.read(&name, &shape).unwrap(), shape));
    }
    let tensors = changed(tensors, &case["tensors"]).into_iter();
    let tensors = tensors.map(|(name, (values, shape))| (name, TensorData::new(values, shape)));
    write_tensors(&folder.join("model.safetensors"), tensors.collect()).unwrap();
}

fn load(case: &Value) -> CausalLm {
    let folder = tempfile::tempdir().unwrap();
    write(case, folder.path());
    CausalLm::load(folder.path(), &device()).unwrap_or_else(|e| panic!("{}: {e}", case["name"]))
}

fn named(name: &str) -> CausalLm {
    load(cases().iter().find(|case| case["name"] == name).unwrap())
}

fn whole(rows: &[Vec<u32>]) -> Vec<(Vec<u32>, usize)> {
    rows.iter().map(|row| (row.clone(), 1)).collect()
}

#[test]
fn every_changed_folder_gives_the_log_probs_of_transformers() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let model = load(&case);
        let rows = whole(&ids(&case["rows"]));
        // Transformers was given each row alone; here other rows and padding change nothing.
        for side in [PaddingSide::Left, PaddingSide::Right] {
            let ours = row_log_probs(&model, &rows, side, 1.0);
            for (ours, theirs) in ours.iter().zip(case["log_probs"].as_array().unwrap()) {
                assert_close(ours, &numbers(theirs), TOLERANCE, name);
            }
        }
    }
}

#[test]
fn a_changed_folder_is_written_so_that_it_reads_the_same_and_says_what_is_so() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let (folder, model) = (tempfile::tempdir().unwrap(), load(&case));
        model.save(folder.path()).unwrap();
        let back = CausalLm::load(folder.path(), &device()).unwrap();
        let rows = whole(&ids(&case["rows"]));
        let [ours, theirs] =
            [&model, &back].map(|m| row_log_probs(m, &rows, PaddingSide::Right, 1.0).concat());
        assert_eq!(ours, theirs, "{name}");
        let written = TensorFiles::open_folder(folder.path()).unwrap().names();
        let head = written.iter().any(|n| n == "lm_head.weight" || n == "embed_out.weight");
        let config = json_file(&folder.path().join("config.json"));
        let tied = config.get("tie_word_embeddings") == Some(&json!(true));
        assert_eq!(tied, !head, "{name}");
        assert_eq!(tied, model.shape().tied, "{name}");
    }
}

#[test]
fn shared_prompts_and_prefixes_give_the_log_probs_of_whole_rows() {
    for name in ["dynamic", "longrope", "yarn"] {
        let model = named(name);
        // Two prompts, rows on both sides of the length beyond which rope changes.
        let row = |prompt: u32, prompt_length: usize, length: usize| {
            let token = |t: usize| 3 + (prompt * 11 + t as u32 * 7) % 60;
            let own = |t: usize| if t < prompt_length { token(t) } else { token(t + length) };
            ((0..length).map(own).collect::<Vec<u32>>(), prompt_length)
        };
        let rows = [
            row(1, 12, 14),
            row(1, 12, 16),
            row(1, 12, 33),
            row(2, 9, 47),
            row(2, 9, 11),
            row(2, 9, 47),
        ];
        let alone: Vec<Vec<f32>> = rows
            .iter()
            .map(|row| {
                let one = std::slice::from_ref(row);
                row_log_probs(&model, one, PaddingSide::Right, 1.0).concat()
            })
            .collect();
        let shared = CompletionBatch::sharing_prompts(&rows, 0, &device()).unwrap();
        let shared = unpad(&shared, model.log_probs(&shared, 1.0).log_probs);
        assert!(max_difference(&shared.concat(), &alone.concat()) < 1e-5, "{name}");
        let mut cache = PrefixCache::new(&model);
        for round in [&rows[..], &rows[..2], &rows[3..], &rows[..3]] {
            let scored = cache.score(round).unwrap();
            for (scored, (row, _)) in scored.iter().zip(round) {
                let at = rows.iter().position(|(other, _)| other == row).unwrap();
                assert_close(&scored.log_probs, &alone[at], 1e-5, name);
            }
        }
    }
}

/// Sampled log-probs are those of the whole row afterwards: the ratio of an update on its own
/// samples is 1.
#[test]
fn samples_have_the_log_probs_of_whole_rows_or_are_refused() {
    let config = |max_new_tokens| SamplingConfig {
        max_new_tokens,
        samples_per_prompt: 3,
        ..SamplingConfig::default()
    };
    let prompt = |length: u32| (0..length).map(|t| 3 + t * 5 % 60).collect::<Vec<u32>>();
    for (name, length, new) in [
        ("yarn", 10, 20),
        ("dynamic", 10, 14),
        ("longrope", 6, 10),
        ("longrope", 17, 20),
        ("llama3", 4, 20),
    ] {
        let model = named(name);
        for sample in sample(&model, &[prompt(length)], &config(new)).unwrap() {
            let mut row = prompt(length);
            row.extend(&sample.token_ids);
            let whole = [(row, length as usize)];
            let scored = row_log_probs(&model, &whole, PaddingSide::Right, 1.0).concat();
            assert_close(&sample.log_probs, &scored, 1e-5, name);
        }
    }
    for (name, length, new) in [("dynamic", 10, 15), ("longrope", 16, 1), ("longrope", 10, 7)] {
        let model = named(name);
        let error = sample(&model, &[prompt(length)], &config(new)).unwrap_err().to_string();
        assert!(error.contains("rope depends on the row's length"), "{error}");
        let decoded = PrefixCache::new(&model).greedy(&[prompt(length)], new, |_| false);
        assert!(decoded.unwrap_err().to_string().contains("rope"), "{name}");
    }
}

#[test]
fn decoding_from_a_cache_of_long_rows_starts_again_for_short_ones() {
    let model = named("longrope");
    let mut cache = PrefixCache::new(&model);
    let long: Vec<u32> = (0..20).map(|t| 3 + t * 5 % 60).collect();
    let short = long[..6].to_vec();
    for prompt in [&long, &short, &long] {
        let new = 8;
        let found = cache.greedy(std::slice::from_ref(prompt), new, |_| false).unwrap();
        let config = SamplingConfig {
            decoding: Decoding::Greedy,
            max_new_tokens: new,
            ..SamplingConfig::default()
        };
        let wanted = sample(&model, std::slice::from_ref(prompt), &config).unwrap();
        assert_eq!(found[0], wanted[0].token_ids);
    }
}

#[test]
fn a_scale_of_attention_has_its_gradient() {
    let model = named("yarn").trainable();
    let rows = [((0..12).map(|t| 3 + t * 5 % 60).collect::<Vec<u32>>(), 4)];
    let batch = CompletionBatch::new(&rows, 0, PaddingSide::Right, &device()).unwrap();
    let sum = |model: &CausalLm| host(model.log_probs(&batch, 1.0).log_probs).iter().sum::<f32>();
    let backward = model.backward(&batch, 1.0, |log_probs| log_probs.sum());
    let (Weight::F32(layer) | Weight::Bf16(layer)) =
        &model.decoder.linears().next().unwrap().weight;
    let gradient = backward.gradients.get::<2>(layer.id).unwrap();
    let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
    let at = (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()));
    let at = at.unwrap();
    let moved = |step: f32| {
        use burn::module::{Module, ModuleMapper, Param};
        use burn::tensor::Tensor;
        struct Move(burn::module::ParamId, usize, f32);
        impl ModuleMapper for Move {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if param.id != self.0 {
                    return param;
                }
                let (index, step) = (self.1, self.2);
                param.map(|tensor| {
                    let shape = tensor.dims();
                    let mut values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
                    values[index] += step;
                    Tensor::from_data(TensorData::new(values, shape), &device())
                })
            }
        }
        sum(&model.clone().map(&mut Move(layer.id, at, step)))
    };
    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
    assert!((slope - gradient[at]).abs() < 2e-2 * gradient[at].abs(), "{slope} {}", gradient[at]);
}
