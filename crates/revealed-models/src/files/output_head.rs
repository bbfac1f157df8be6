//! Whether the output head is the embedding, by the tensors that are there.
//!
//! As in Transformers 5, `tie_word_embeddings` alone does not decide: two different tensors are never
//! tied, and where one of two tied tensors is missing the other is used for both.

use serde_json::Value;

use crate::error::ModelError;
use crate::files::config::HfConfig;
use crate::files::weights::TensorFiles;

/// The names of embedding and output head in a folder.
pub(crate) struct HeadNames {
    /// The base model's name in its classes.
    pub prefix: &'static str,
    pub embedding: &'static str,
    /// The first is the one that is read and written.
    pub heads: &'static [&'static str],
}

const LLAMA: HeadNames = HeadNames {
    prefix: "model",
    embedding: "model.embed_tokens.weight",
    heads: &["lm_head.weight"],
};

const GPT_NEOX: HeadNames = HeadNames {
    prefix: "gpt_neox",
    embedding: "gpt_neox.embed_in.weight",
    heads: &["embed_out.weight", "lm_head.weight"],
};

impl HeadNames {
    pub fn of(config: &HfConfig) -> Result<&'static Self, ModelError> {
        Ok(match config.model_type()? {
            "gpt_neox" => &GPT_NEOX,
            _ => &LLAMA,
        })
    }
}

/// Makes config and files agree on the head: after it `tie_word_embeddings` is true exactly where they are tied, and
/// the tensors that it asks for are found.
///
/// # Errors
/// When a tensor is missing and no other is used for it, or one is there under two names.
pub(crate) fn settle(config: &mut HfConfig, files: &mut TensorFiles) -> Result<(), ModelError> {
    let names = HeadNames::of(config)?;
    let (embedding, head) = (names.embedding, names.heads[0]);
    let mut found = Vec::new();
    for name in names.heads {
        match *name {
            // Transformers knows this older name as it is only.
            "embed_out.weight" => found.extend(files.contains(name).then(|| (*name).to_owned())),
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
    let tied = config.flag("tie_word_embeddings", false)?;
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
