//! `revealed merge`: an adapter folded into full weights, checked by loading them again, with a
//! model card.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use revealed::Device;
use revealed::data::{EncodeOptions, Encoder, TextFolder};
use revealed::models::{CausalLm, PaddingSide, TokenBatch, write_file};
use revealed::train::{TextSide, copy_text_files, merged_card, write_text_files};
use serde_json::json;

use crate::output::{Output, chain};
use crate::progress::Progress;
use crate::rows::{load_model, text_folder};
use crate::setup::{adapter_folder, model_folder};

/// Rows and tokens a row on which logits are compared.
const ROWS: usize = 4;
const TOKENS: usize = 32;
/// A model card's name in its folder.
const CARD: &str = "README.md";

/// Arguments of `revealed merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// Model folder or hub id the adapter belongs to
    #[arg(long)]
    model: String,
    /// PEFT adapter: a folder or hub id
    #[arg(long)]
    adapter: PathBuf,
    /// Folder for the merged model
    #[arg(long)]
    out: PathBuf,
}

/// Writes the merged model and prints the largest difference of its logits from the adapter's.
///
/// # Errors
/// When a folder is missing or damaged, or a weight is NaN or infinite.
pub fn merge(args: &MergeArgs, device: &Device, progress: &Progress) -> Result<()> {
    let folder = model_folder(&args.model)?;
    if args.out.join("config.json").exists() {
        bail!(
            "{}: this folder holds a model already; choose another with --out",
            args.out.display()
        );
    }
    let adapter = adapter_folder(&args.adapter)?;
    let model = load_model(&folder, Some(&adapter), device)?;
    let merged = model.clone().merged()?;
    finite(&merged, &adapter)?;
    merged.save(&args.out)?;
    write_text(&text_folder(&folder, Some(&adapter)), &args.out, progress)?;
    write_file(&args.out.join(CARD), card(args, &folder).as_bytes())?;
    let merged = CausalLm::load(&args.out, device)?;
    let rows = probe(&model);
    let logits = |model: &CausalLm| -> Result<_> {
        Ok(model.logits(&TokenBatch::new(&rows, 0, PaddingSide::Right, device)?))
    };
    let difference = (logits(&model)? - logits(&merged)?).abs().max().into_scalar::<f32>();
    let mut output = Output::new();
    output.line(&json!({
        "out": args.out,
        "max_logit_difference": difference,
        "tokens": rows.iter().map(Vec::len).sum::<usize>(),
    }))?;
    output.flush()
}

/// Refuses sums of weight and adapter that are not numbers: a model of them gives none either.
fn finite(merged: &CausalLm, adapter: &Path) -> Result<()> {
    match merged.non_finite_tensor() {
        None => Ok(()),
        Some(tensor) => bail!(
            "{}: with this adapter on it tensor `{tensor}` holds NaN or infinity, so nothing is merged; check `lora_alpha` and `r` of its adapter_config.json, or take an earlier checkpoint",
            adapter.display()
        ),
    }
}

/// The adapter's tokenizer and template, else the base's, with the terminator and pad token that
/// the adapter was trained with.
fn write_text(text: &TextFolder, out: &Path, progress: &Progress) -> Result<()> {
    if !text.file("tokenizer.json").is_file() {
        return Ok(copy_text_files(text, out)?);
    }
    match Encoder::from_text_folder(text, EncodeOptions::default()) {
        Ok(encoder) => Ok(write_text_files(text, out, &TextSide::of(&encoder))?),
        Err(error) => {
            progress.note(&format!(
                "the tokenizer's files are copied as they are, since its stop token is not known: {}",
                chain(&error)
            ));
            Ok(copy_text_files(text, out)?)
        }
    }
}

/// The merged model's card, from the adapter's where it has one.
fn card(args: &MergeArgs, base: &Path) -> String {
    let adapter = adapter_folder(&args.adapter).ok();
    let own = adapter.and_then(|folder| std::fs::read_to_string(folder.join(CARD)).ok());
    let name = args.out.file_name().unwrap_or(args.out.as_os_str()).to_string_lossy();
    let (adapter, base) = (args.adapter.display().to_string(), base.display().to_string());
    merged_card(own.as_deref(), [&adapter, &base], &name)
}

/// Token rows that reach all over the vocabulary.
fn probe(model: &CausalLm) -> Vec<Vec<u32>> {
    let shape = model.shape();
    let length = TOKENS.min(shape.context);
    // A prime step visits tokens far apart.
    let token = |index: usize| (index * 7919 % shape.vocab_size) as u32;
    (0..ROWS).map(|row| (0..length).map(|at| token(row * length + at)).collect()).collect()
}
