//! The files of a shop-desk model folder and data file, in the ecosystem's own formats.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::note::Note;
use super::world::{BOS, EOS, PAD, vocabulary};

/// A Hugging Face `tokenizer.json`: one token a word, words separated by white space, [`BOS`] in
/// front of a text.
///
/// There is no unknown token: a word outside the vocabulary is an error of the tokenizer, never a
/// silent `<pad>`. There is no decoder either, by which decoding joins words with single spaces.
pub fn tokenizer_json() -> String {
    let vocab: Map<String, Value> =
        vocabulary().into_iter().enumerate().map(|(id, word)| (word, json!(id))).collect();
    let special: Vec<Value> = [PAD, BOS, EOS]
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    let bos = json!({"SpecialToken": {"id": BOS, "type_id": 0}});
    let sequence = |id: &str, type_id: u8| json!({"Sequence": {"id": id, "type_id": type_id}});
    pretty(&json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, sequence("A", 0)],
            "pair": [bos, sequence("A", 0), sequence("B", 1)],
            "special_tokens": {BOS: {"id": BOS, "ids": [1], "tokens": [BOS]}},
        },
        "decoder": null,
        // The format wants a name here; it is not in the vocabulary, so that unknown words are
        // refused.
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    }))
}

/// A Hugging Face `tokenizer_config.json` for [`tokenizer_json`], without a chat template.
pub fn tokenizer_config_json() -> String {
    pretty(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": false,
        "model_max_length": CONTEXT,
    }))
}

/// Prompt (13 words and [`BOS`]) and reply (40 tokens) are 54 tokens.
const CONTEXT: usize = 64;

/// A `config.json` of a fresh `LlamaForCausalLM` for this vocabulary, with tied embeddings and a
/// context of 64 tokens.
///
/// The feed-forward width is 8/3 `hidden`, rounded up to a multiple of 8: with its three matrices a
/// gated layer of that width has as many weights as a plain one of 4 `hidden`. Width 64, 2 layers,
/// 4 heads are 108,416 parameters.
///
/// # Panics
/// If `heads` does not divide `hidden` into even parts, which rotary embeddings need.
pub fn config_json(hidden: usize, layers: usize, heads: usize) -> String {
    assert!(
        heads > 0 && hidden.is_multiple_of(2 * heads),
        "the width {hidden} must be a multiple of twice the heads {heads}"
    );
    pretty(&json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary().len(),
        "hidden_size": hidden,
        "intermediate_size": (8 * hidden).div_ceil(3).next_multiple_of(8),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": hidden / heads,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "initializer_range": 0.08,
        "tie_word_embeddings": true,
        "use_cache": true,
        "torch_dtype": "float32",
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }))
}

/// Writes rows as JSON lines `{"id", "prompt", "completion"}`, the id being the row's number from
/// 0.
///
/// A completion begins with a space: joined to its prompt it must not run into the last word, as
/// the tokenizer would refuse ":dear".
///
/// # Errors
/// If the file cannot be written.
pub fn write_jsonl(path: &Path, rows: &[(Note, String)]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for (id, (note, reply)) in rows.iter().enumerate() {
        let row = json!({
            "id": id.to_string(),
            "prompt": note.prompt(),
            "completion": format!(" {reply}"),
        });
        writeln!(file, "{row}")?;
    }
    file.flush()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_tokenizer_gives_each_word_its_place_in_the_vocabulary() {
        let tokenizer = parsed(&tokenizer_json());
        let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
        assert_eq!(vocab.len(), 121);
        for (id, word) in vocabulary().iter().enumerate() {
            assert_eq!(vocab[word], id);
        }
        for token in tokenizer["added_tokens"].as_array().unwrap() {
            assert_eq!(vocab[token["content"].as_str().unwrap()], token["id"]);
        }
        assert!(!vocab.contains_key(tokenizer["model"]["unk_token"].as_str().unwrap()));
    }

    #[test]
    fn the_tokenizer_config_names_tokens_of_the_vocabulary_and_no_template() {
        let config = parsed(&tokenizer_config_json());
        assert_eq!(
            (&config["bos_token"], &config["eos_token"], &config["pad_token"]),
            (&json!("<bos>"), &json!("<eos>"), &json!("<pad>"))
        );
        assert!(config.get("chat_template").is_none());
    }

    #[test]
    fn the_standard_base_has_a_tenth_of_a_million_parameters() {
        let config = parsed(&config_json(64, 2, 4));
        let field = |name: &str| config[name].as_u64().unwrap();
        let (hidden, inner) = (field("hidden_size"), field("intermediate_size"));
        let layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden;
        let parameters = field("vocab_size") * hidden + field("num_hidden_layers") * layer + hidden;
        assert_eq!(parameters, 108_416);
        assert_eq!(field("head_dim") * field("num_attention_heads"), hidden);
    }

    #[test]
    #[should_panic(expected = "must be a multiple of twice the heads 3")]
    fn heads_that_do_not_divide_the_width_are_refused() {
        config_json(64, 2, 3);
    }

    #[test]
    fn rows_are_written_as_json_lines_of_joinable_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let note = Note { name: 0, item: 0, problem: 0 };
        write_jsonl(&path, &[(note, "dear anna ,".into()), (note, "that is all .".into())])
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<Value> = text.lines().map(parsed).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["id"], "1");
        assert_eq!(rows[1]["prompt"], note.prompt());
        assert_eq!(rows[1]["completion"], " that is all .");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write_jsonl(&folder.path().join("missing/rows.jsonl"), &[]).is_err());
    }
}
