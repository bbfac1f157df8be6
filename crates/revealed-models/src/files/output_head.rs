//! Whether the output head is the embedding, by the tensors that are there.
//!
//! As in Transformers 5, `tie_word_embeddings` alone does not decide: two different tensors are never
//! tied, and where one of two tied tensors is missing the other is used for both.

use serde_json::Value;

use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::weights::TensorFiles;

/// The names of a family's modules in `model.safetensors`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The base model in its classes, such as `model`.
    pub prefix: &'static str,
    /// The embedding, such as `model.embed_tokens`.
    pub embedding: &'static str,
    /// The output head; the first name is the one that is read and written.
    pub heads: &'static [&'static str],
    /// The value of `tie_word_embeddings` where config.json has none.
    pub tied_by_default: bool,
}

/// Makes config and files agree on the head: after it `tie_word_embeddings` is true exactly where they are tied, and
/// the tensors that it asks for are found.
///
/// # Errors
/// When a tensor is missing and no other is used for it, or one is there under two names.
pub(crate) fn settle(
    names: &Names,
    config: &mut HfConfig,
    files: &mut TensorFiles,
) -> Result<(), ModelError> {
    let embedding = &format!("{}.weight", names.embedding);
    let heads: Vec<String> = names.heads.iter().map(|name| format!("{name}.weight")).collect();
    let head = heads[0].as_str();
    let mut found = Vec::new();
    for name in &heads {
        match name.as_str() {
            // Transformers does not add or remove the prefix of this older name.
            "embed_out.weight" => found.extend(files.contains(name).then(|| name.clone())),
            _ => found.extend(files.stored(name)?),
        }
    }
    if let [first, second, ..] = found.as_slice() {
        let reason = format!("the file has {first} and {second} for it; remove one of them");
        let (path, tensor) = (files.path().into(), head.into());
        return Err(ModelError::Tensor { path, tensor, reason });
    }
    if let Some(stored) = found.first() {
        files.alias(head, stored);
    }
    let tied = config.flag("tie_word_embeddings", names.tied_by_default)?;
    match (tied, files.stored(embedding)?.is_some(), found.first()) {
        (true, true, Some(_)) if !files.same(embedding, head)? => {
            config.set("tie_word_embeddings", Value::Bool(false));
        }
        (true, false, Some(stored)) => files.alias(embedding, stored),
        (false, true, None) => {
            let reason = "missing, and tie_word_embeddings in config.json is false or not there, so the embedding is not the output head either; fetch the whole model, or if its head is the embedding set tie_word_embeddings to true";
            let (path, tensor) = (files.path().into(), head.into());
            return Err(ModelError::Tensor { path, tensor, reason: reason.into() });
        }
        _ => {}
    }
    Ok(())
}
