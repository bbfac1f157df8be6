//! The supported values of `model_type`: class names in Transformers, and the config fields that each
//! class reads.

/// A `model_type`.
pub(super) struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The stem of its causal class in Transformers, as in `LlamaForCausalLM`.
    pub class_stem: &'static str,
    /// The stem of its base and classifier classes, as in `LlamaForSequenceClassification`.
    pub text_stem: &'static str,
    /// The fields that change a forward pass of its class.
    pub fields: &'static [&'static str],
}

/// All supported families.
pub(super) const FAMILIES: &[Family] = &[
    Family { model_type: "llama", class_stem: "Llama", text_stem: "Llama", fields: LLAMA },
    Family { model_type: "mistral", class_stem: "Mistral", text_stem: "Mistral", fields: MISTRAL },
    Family { model_type: "qwen2", class_stem: "Qwen2", text_stem: "Qwen2", fields: QWEN2 },
    Family { model_type: "qwen3", class_stem: "Qwen3", text_stem: "Qwen3", fields: QWEN3 },
    Family {
        model_type: "gpt_neox",
        class_stem: "GPTNeoX",
        text_stem: "GPTNeoX",
        fields: GPT_NEOX,
    },
    Family {
        model_type: "gemma3_text",
        class_stem: "Gemma3",
        text_stem: "Gemma3Text",
        fields: GEMMA3,
    },
];

pub(super) fn family(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_type == model_type)
}

/// The fields that change a forward pass of a `model_type`'s class; none where it is not supported.
pub(super) fn read_by(model_type: &str) -> &'static [&'static str] {
    family(model_type).map_or(&[], |family| family.fields)
}

/// Fields that describe a model or its generation, and never change the logits of a forward pass
/// without dropout.
pub(super) const GENERAL: &[&str] = &[
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "revealed",
    "sep_token_id",
    "seq_length",
    "summary_type",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
];

macro_rules! fields {
    ($($own:literal),* $(,)?) => {
        &[
            "hidden_act",
            "hidden_size",
            "intermediate_size",
            "max_position_embeddings",
            "num_attention_heads",
            "num_hidden_layers",
            "original_max_position_embeddings",
            "rope_parameters",
            "rope_scaling",
            "tie_word_embeddings",
            "vocab_size",
            $($own),*
        ]
    };
}

const LLAMA: &[&str] = fields![
    "attention_bias",
    "head_dim",
    "mlp_bias",
    "num_key_value_heads",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_theta",
];

const MISTRAL: &[&str] = fields![
    "head_dim",
    "num_key_value_heads",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
];

const QWEN2: &[&str] = fields![
    "head_dim",
    "layer_types",
    "max_window_layers",
    "num_key_value_heads",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
    "use_sliding_window",
];

const QWEN3: &[&str] = fields![
    "attention_bias",
    "head_dim",
    "layer_types",
    "max_window_layers",
    "num_key_value_heads",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
    "use_sliding_window",
];

/// `rope_theta`, `partial_rotary_factor` and `head_dim` are not read, and refused where they
/// contradict what is.
const GPT_NEOX: &[&str] = fields![
    "attention_bias",
    "head_dim",
    "layer_norm_eps",
    "partial_rotary_factor",
    "rope_theta",
    "rotary_emb_base",
    "rotary_pct",
    "use_parallel_residual",
];

const GEMMA3: &[&str] = &[
    "attention_bias",
    "head_dim",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "query_pre_attn_scalar",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "vocab_size",
];
