//! Tensor names that are not those of the model: what they are likely to be, for messages.

use std::path::Path;

/// Parts of names, and what a file with such names is.
const SIGNS: &[(&[&str], &str)] = &[
    (
        &[
            ".qweight",
            ".qzeros",
            ".g_idx",
            ".weight_packed",
            ".weight_scale",
            ".weight_scale_inv",
            ".absmax",
            ".quant_map",
            ".quant_state",
            ".SCB",
            "_blocks",
            ".input_scale",
        ],
        "its weights are quantised, and only weights in float are supported; use the unquantised model that it was made from, or load it with Transformers, call dequantize() and save it again",
    ),
    (
        &["_orig_mod."],
        "the model was saved inside torch.compile's wrapper; save the wrapped model (`model._orig_mod.save_pretrained`), or remove `_orig_mod.` from the names",
    ),
    (
        &["base_model.model.", ".lora_A.", ".lora_B.", ".base_layer."],
        "a PEFT model was saved as a whole; call merge_and_unload() before saving, or save and give the adapter alone",
    ),
    (
        &["language_model.", "vision_tower.", "visual.", "vision_model.", "multi_modal_projector."],
        "the file is of a model that also reads images; save its language model alone with Transformers",
    ),
    (
        &[".experts.", "block_sparse_moe."],
        "the file is of a mixture of experts; only dense models are supported",
    ),
    (
        &["module."],
        "the model was saved inside a wrapper for training on several devices; save the wrapped model (`model.module.save_pretrained`), or remove `module.` from the names",
    ),
    (
        &["v_head.", "value_head."],
        "it has a value head next to its output head; save the language model without it (`model.pretrained_model.save_pretrained`)",
    ),
    (
        &["score.", "classifier.", "qa_outputs."],
        "it has the head of a classifier or reward, which a language model does not have; load it as a reward, or save the language model",
    ),
    (
        &["lm_head.", "embed_out."],
        "it has an output head, which this class does not have; remove the tensor",
    ),
    (
        &["mtp", "nextn", "eh_proj", "medusa_head", "midlayer."],
        "it has layers for predicting several tokens at once, which this class does not have; remove these tensors",
    ),
    (
        &[".sinks", "sink"],
        "it has attention sinks, which this class does not have; use the class that it was trained with",
    ),
    (
        &[".q_norm.", ".k_norm.", ".q_layernorm.", ".k_layernorm."],
        "it has norms of queries and keys, which this class does not have; use the model_type that it was trained with",
    ),
    (
        &[".bias"],
        "it has biases that this class does not have or that config.json switches off; correct attention_bias, mlp_bias or model_type in config.json",
    ),
];

/// What a name that the model does not have is likely to be, and what to do.
pub(super) fn why_unused(name: &str) -> &'static str {
    let has = |part: &&str| match part.starts_with('.') || part.starts_with('_') {
        true => name.contains(*part),
        false => name.starts_with(*part) || name.contains(&format!(".{part}")),
    };
    let sign = SIGNS.iter().find(|(parts, _)| parts.iter().any(has));
    sign.map_or(
        "Transformers leaves such tensors out; if the model needs none of them, remove them from the file, otherwise correct config.json",
        |(_, reason)| reason,
    )
}

/// A name in the file that a missing tensor is likely to have, with the reason.
pub(super) fn in_place_of<'a>(
    missing: &str,
    prefix: &str,
    mut names: impl Iterator<Item = &'a String>,
) -> Option<(&'a str, &'static str)> {
    let core = missing.strip_prefix(prefix).map_or(missing, |rest| rest.trim_start_matches('.'));
    let stem = core.strip_suffix(".weight").unwrap_or(core);
    let near = names.find(|name| {
        let ends = name.strip_suffix(core).is_some_and(|rest| rest.ends_with('.'));
        let packed = name
            .find(stem)
            .filter(|at| *at == 0 || name[..*at].ends_with('.'))
            .and_then(|at| name.get(at + stem.len()..));
        ends || packed.is_some_and(|rest| rest.starts_with('.') && rest != ".bias")
    })?;
    Some((near, why_unused(near)))
}

/// What a folder without safetensors weights has instead, and what to do.
pub(super) fn instead_of_weights(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let ending = |ends: &[&str]| {
        names.iter().find(|name| ends.iter().any(|end| name.ends_with(end))).cloned()
    };
    let convert = "load the folder with Transformers and write it with `save_pretrained`";
    if let Some(name) = ending(&[".safetensors"]) {
        return match name.contains("-of-") {
            true => format!(
                "it has shards such as {name} but not the index that names them all; fetch model.safetensors.index.json too"
            ),
            false => format!(
                "it has {name}; if this file is the whole model, rename it to model.safetensors, otherwise {convert}"
            ),
        };
    }
    if let Some(name) = ending(&[".gguf"]) {
        return format!(
            "it has {name}, and GGUF files are not read; use the model's safetensors, or load the file with Transformers (`gguf_file=`) and write it with `save_pretrained`"
        );
    }
    let torch = [".bin", ".bin.index.json", ".pth", ".pt", ".ckpt", ".h5", ".msgpack"];
    match ending(&torch) {
        Some(name) => format!("it has {name}, and only safetensors are read; {convert}"),
        None => "expected a Hugging Face model folder with its weights; fetch them too".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_checkpoints_are_recognised() {
        for (name, words) in [
            ("model.layers.0.self_attn.q_proj.qweight", "quantised"),
            ("model.layers.0.mlp.down_proj.weight_scale", "quantised"),
            ("_orig_mod.model.norm.weight", "torch.compile"),
            ("module.model.norm.weight", "several devices"),
            ("base_model.model.model.norm.weight", "merge_and_unload"),
            ("model.language_model.norm.weight", "images"),
            ("v_head.summary.weight", "value head"),
            ("score.weight", "classifier"),
            ("model.layers.0.self_attn.q_norm.weight", "norms of queries"),
            ("model.layers.0.self_attn.q_proj.bias", "biases"),
            ("model.mtp_layers.0.norm.weight", "several tokens"),
            ("model.layers.9.norm.weight", "leaves such tensors out"),
        ] {
            assert!(why_unused(name).contains(words), "{name}: {}", why_unused(name));
        }
    }

    #[test]
    fn a_wrapped_name_is_found_in_place_of_the_missing_one() {
        for name in
            ["_orig_mod.model.norm.weight", "norm.qweight", "model.language_model.norm.weight"]
        {
            let names = [String::from("other"), String::from(name)];
            let found = in_place_of("model.norm.weight", "model", names.iter());
            assert_eq!(found.map(|(name, _)| name), Some(name));
        }
        let names = [String::from("model.layernorm.weight")];
        assert!(in_place_of("model.norm.weight", "model", names.iter()).is_none());
    }
}
