//! Config fields that show that a checkpoint is of another kind than its `model_type`.

use serde_json::Value;

/// Whether a value switches a field off.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    }
}

/// The values of a field that have no effect, in addition to those that switch it off.
#[derive(Clone, Copy)]
enum Neutral {
    None,
    Zero,
    AtMostOne,
    One,
    OnesOnly,
    Rotary,
}

impl Neutral {
    fn has(self, value: &Value) -> bool {
        let number = value.as_f64();
        match self {
            Self::None => false,
            Self::Zero => number == Some(0.0),
            Self::AtMostOne => number.is_some_and(|n| n <= 1.0),
            Self::One => number == Some(1.0),
            Self::OnesOnly => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| item.as_f64() == Some(1.0))),
            Self::Rotary => matches!(value.as_str(), Some("rope" | "rotary")),
        }
    }
}

/// Fields that are signs of other kinds of models, with their neutral values and the reason to
/// refuse the others.
const SIGNS: &[(&[&str], Neutral, &str)] = &[
    (
        &[
            "vision_config",
            "audio_config",
            "speech_config",
            "text_config",
            "vision_tower",
            "mm_vision_tower",
            "mm_projector_type",
        ],
        Neutral::None,
        "the checkpoint is of a model that also reads images or sound; save its language model alone with Transformers, and use that folder",
    ),
    (
        &[
            "num_experts",
            "num_local_experts",
            "n_routed_experts",
            "moe_num_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            "mlp_only_layers",
        ],
        Neutral::AtMostOne,
        "the checkpoint is a mixture of experts; only dense models are supported",
    ),
    (
        &["use_mrope"],
        Neutral::None,
        "the checkpoint has positions in several dimensions, for images and video; only text models are supported",
    ),
    (
        &[
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "attn_logit_cap",
            "final_logit_cap",
            "logit_softcapping",
        ],
        Neutral::Zero,
        "the checkpoint's logits are capped, which classes of this model_type do not do; use the class that it was trained with",
    ),
    (
        &[
            "residual_multiplier",
            "embedding_multiplier",
            "logits_scaling",
            "logit_scale",
            "scale_emb",
            "embedding_scale",
        ],
        Neutral::One,
        "the checkpoint scales its states or logits, which classes of this model_type do not do; use the class that it was trained with",
    ),
    (
        &[
            "attention_multiplier",
            "scale_depth",
            "query_pre_attn_scalar",
            "clip_qkv",
            "kv_lora_rank",
            "q_lora_rank",
            "rotary_dim",
        ],
        Neutral::None,
        "the checkpoint's attention differs from that of this model_type; use the class that it was trained with",
    ),
    (
        &[
            "attention_sinks",
            "use_attention_sinks",
            "attention_sink_size",
            "num_attention_sinks",
            "add_swa_attention_sink_bias",
            "add_full_attention_sink_bias",
        ],
        Neutral::Zero,
        "the checkpoint has attention sinks, which classes of this model_type do not have",
    ),
    (
        &["rope_interleaved", "rope_interleave", "rotary_interleaved"],
        Neutral::None,
        "the checkpoint rotates neighbouring dimensions, and this model_type rotates halves of a head; convert the weights as Transformers' conversion scripts do",
    ),
    (
        &["rope_local_base_freq", "local_rope_theta", "global_rope_theta", "swa_rope_theta"],
        Neutral::None,
        "the checkpoint has another rope in some layers; only one rope for all layers is supported",
    ),
    (
        &["no_rope_layers", "no_rope_layer_interval", "nope_layer_interval"],
        Neutral::OnesOnly,
        "some layers of the checkpoint have no rope; only one rope for all layers is supported",
    ),
    (
        &["alibi", "use_alibi"],
        Neutral::None,
        "the checkpoint's positions are ALiBi's, and not rope's",
    ),
    (&["position_embedding_type"], Neutral::Rotary, "the checkpoint's positions are not rope's"),
    (
        &[
            "attention_chunk_size",
            "sliding_window_pattern",
            "interleaved_sliding_window",
            "global_attn_every_n_layers",
            "num_kv_shared_layers",
        ],
        Neutral::None,
        "some layers of the checkpoint see other tokens than classes of this model_type let them see",
    ),
    (
        &["per_layer_config", "block_configs"],
        Neutral::None,
        "the checkpoint's layers differ from each other; only layers of one shape are supported",
    ),
    (
        &["draft_vocab_size", "eagle_config", "is_eagle"],
        Neutral::None,
        "the checkpoint is a draft model for speculative decoding; use the model that it drafts for",
    ),
    (
        &[
            "is_encoder_decoder",
            "add_cross_attention",
            "is_bidirectional",
            "bidirectional",
            "use_bidirectional_attention",
        ],
        Neutral::None,
        "the checkpoint is no causal decoder; only these are supported",
    ),
    (
        &["transformers_weights", "configuration_files"],
        Neutral::None,
        "it names other files to read in place of this folder's own; load the model with Transformers and save it again",
    ),
];

/// Why a field that its class does not read shows another kind of model; nothing where it does not.
pub(super) fn other_kind(model_type: &str, field: &str, value: &Value) -> Option<String> {
    if field == "is_causal" && *value == Value::Bool(false) {
        return Some(
            "the checkpoint's attention sees later tokens; only causal decoders are supported"
                .into(),
        );
    }
    if is_off(value) {
        return None;
    }
    if ["quantization_config", "compression_config"].contains(&field) {
        return Some(quantised(value));
    }
    let normed = ["use_qk_norm", "qk_norm", "qk_layernorm", "use_qk_layernorm"];
    if normed.contains(&field) && model_type != "qwen3" {
        return Some(
            "the checkpoint norms its queries and keys, which this model_type does not do".into(),
        );
    }
    if field == "use_parallel_residual" {
        return Some("the checkpoint adds attention and feed-forward in parallel, which this model_type does not do".into());
    }
    let sign = SIGNS.iter().find(|(fields, ..)| fields.contains(&field))?;
    let (_, neutral, reason) = sign;
    (!neutral.has(value)).then(|| (*reason).into())
}

/// The method of a quantisation, and what to do.
fn quantised(value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let on = |key: &str| value.get(key).and_then(Value::as_bool) == Some(true);
    let bits = match value.get("bits").or(value.get("w_bit")).and_then(Value::as_u64) {
        Some(bits) => format!(", {bits} bits"),
        None if on("load_in_4bit") => ", 4 bits".into(),
        None if on("load_in_8bit") => ", 8 bits".into(),
        None => String::new(),
    };
    let method = text("quant_method").or(text("quant_algo")).unwrap_or(match bits.is_empty() {
        true => "a method that is not named",
        false => "bitsandbytes or similar",
    });
    format!(
        "the checkpoint is quantised ({method}{bits}), and only weights in float are supported; use the unquantised model that it was made from, or load it with Transformers, call dequantize(), remove quantization_config and save it again"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_a_sign_unless_its_value_is_neutral() {
        for (field, sign, neutral) in [
            ("num_experts", json!(8), json!(1)),
            ("logits_scaling", json!(8.0), json!(1)),
            ("no_rope_layers", json!([1, 0]), json!([1, 1])),
            ("position_embedding_type", json!("alibi"), json!("rope")),
            ("attn_logit_softcapping", json!(50.0), json!(0.0)),
            ("use_mrope", json!(true), json!(false)),
            ("is_causal", json!(false), json!(true)),
            ("vision_config", json!({"depth": 1}), json!({})),
            ("qk_norm", json!(true), Value::Null),
        ] {
            assert!(other_kind("llama", field, &sign).is_some(), "{field}");
            assert!(other_kind("llama", field, &neutral).is_none(), "{field}");
        }
        assert!(other_kind("qwen3", "qk_norm", &json!(true)).is_none());
        assert!(other_kind("llama", "router_aux_loss_coef", &json!(0.1)).is_none());
    }

    #[test]
    fn a_quantisation_is_named() {
        for (value, words) in [
            (json!({"quant_method": "gptq", "bits": 4}), "gptq, 4 bits"),
            (json!({"load_in_8bit": true}), "8 bits"),
            (json!({"quant_method": "fp8"}), "(fp8)"),
        ] {
            let reason = other_kind("llama", "quantization_config", &value).unwrap_or_default();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
