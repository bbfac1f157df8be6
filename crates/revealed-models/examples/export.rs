//! Writes all four kinds of folders from a base model, with numbers for `golden/export/check.py`.
//!
//!     cargo run -p revealed-models --example export -- BASE_FOLDER OUT_DIR
//!
//! `OUT_DIR` gets `model`, `adapter`, `reward` and `reward-adapter`, each beside a file of its name with
//! `.json`. The adapters have had one training step, so that they change something.

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use revealed_models::{
    CausalLm, CompletionBatch, Decoding, LoraConfig, PaddingSide, SamplingConfig, ScalarModel,
    TokenBatch, copy_tokenizer, sample, write_file,
};
use serde_json::{Value, json};

/// What a reward's padded batch is filled with; no row ends in it.
const PAD: u32 = 0;

/// Vocabularies above this have their log-probs compared instead of all their logits.
const MANY: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [base, out] = arguments.as_slice() else {
        return Err("usage: export BASE_FOLDER OUT_DIR".into());
    };
    std::fs::create_dir_all(out)?;
    let device = Device::flex();
    let model = CausalLm::load(base, &device)?;
    let rows = rows(model.shape().vocab_size as u32);
    let base_name = base.to_string_lossy();

    model.save(&out.join("model"))?;
    copy_tokenizer(base, &out.join("model"))?;
    write(out, "model", language_numbers(&model, &rows, &device)?)?;

    let adapted = trained(model.clone().with_lora(&lora(), 1)?, &rows, &device)?;
    adapted.save_adapter(&out.join("adapter"), &base_name)?;
    write(out, "adapter", language_numbers(&adapted, &rows, &device)?)?;

    let reward = ScalarModel::new(model.clone(), 2);
    reward.save(&out.join("reward"), PAD)?;
    write(out, "reward", reward_numbers(&reward, &rows, &device)?)?;

    let reward = trained_reward(ScalarModel::new(model.with_lora(&lora(), 3)?, 4), &rows, &device)?;
    reward.save_adapter(&out.join("reward-adapter"), &base_name)?;
    write(out, "reward-adapter", reward_numbers(&reward, &rows, &device)?)?;
    Ok(())
}

fn rows(vocab: u32) -> Vec<Vec<u32>> {
    let row =
        |length: u32, step: u32| (0..length).map(move |i| 3 + (i * step + step) % (vocab - 3));
    vec![row(6, 7).collect(), row(13, 31).collect(), row(2, 5).collect()]
}

fn lora() -> LoraConfig {
    LoraConfig { r: 4, lora_alpha: 8.0, ..LoraConfig::default() }
}

/// One step of likelihood on the rows.
fn trained(
    model: CausalLm,
    rows: &[Vec<u32>],
    device: &Device,
) -> Result<CausalLm, Box<dyn Error>> {
    let rows: Vec<(&[u32], usize)> = rows.iter().map(|row| (row.as_slice(), 1)).collect();
    let batch = CompletionBatch::new(&rows, PAD, PaddingSide::Right, device)?;
    let gradients = model.backward(&batch, 1.0, |log_probs| -log_probs.sum()).gradients;
    Ok(AdamWConfig::new().init().step(STEP, model, gradients))
}

/// One step that raises the scores of the rows.
fn trained_reward(
    model: ScalarModel,
    rows: &[Vec<u32>],
    device: &Device,
) -> Result<ScalarModel, Box<dyn Error>> {
    let batch = TokenBatch::new(rows, PAD, PaddingSide::Right, device)?;
    let gradients = GradientsParams::from_grads((-model.scores(&batch)).sum().backward(), &model);
    Ok(AdamWConfig::new().init().step(STEP, model, gradients))
}

/// AdamW's first step moves every weight by this much: enough to change the logits by more than 1e-3.
const STEP: f64 = 5e-3;

fn language_numbers(
    model: &CausalLm,
    rows: &[Vec<u32>],
    device: &Device,
) -> Result<Value, Box<dyn Error>> {
    let (mut logits, mut log_probs) = (Vec::new(), Vec::new());
    let vocab = model.shape().vocab_size;
    for row in rows {
        if vocab <= MANY {
            let batch = TokenBatch::new(&[row], PAD, PaddingSide::Right, device)?;
            let flat = host(model.logits(&batch));
            logits.push(flat.chunks(vocab).map(<[f32]>::to_vec).collect::<Vec<_>>());
        }
        let batch = CompletionBatch::new(&[(row, 1)], PAD, PaddingSide::Right, device)?;
        log_probs.push(host(model.log_probs(&batch, 1.0).log_probs));
    }
    let config = SamplingConfig {
        decoding: Decoding::Greedy,
        max_new_tokens: 8,
        ..SamplingConfig::default()
    };
    let greedy: Vec<Vec<u32>> =
        (sample(model, rows, &config)?.into_iter()).map(|sample| sample.token_ids).collect();
    let mut numbers = json!({"rows": rows, "log_probs": log_probs, "greedy": greedy});
    if vocab <= MANY {
        numbers["logits"] = json!(logits);
    }
    Ok(numbers)
}

fn reward_numbers(
    model: &ScalarModel,
    rows: &[Vec<u32>],
    device: &Device,
) -> Result<Value, Box<dyn Error>> {
    let batch = TokenBatch::new(rows, PAD, PaddingSide::Left, device)?;
    Ok(json!({"rows": rows, "scores": host(model.scores(&batch)), "pad_token_id": PAD}))
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn write(out: &Path, name: &str, numbers: Value) -> Result<(), Box<dyn Error>> {
    write_file(&out.join(format!("{name}.json")), numbers.to_string().as_bytes())?;
    Ok(())
}
