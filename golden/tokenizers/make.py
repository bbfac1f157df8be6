"""Token ids of small made-up tokenizer folders as AutoTokenizer of Transformers gives them.

usage: make.py            rewrites expected.json (transformers 5.23.0, tokenizers 0.23.3)

expected.json: `tokenizers` (tokenizer.json by name), and `cases`: the tokenizer's name, the
tokenizer_config.json, optionally special_tokens_map.json, and what AutoTokenizer gives:
`special_tokens_map`, `ids` of each of `texts` without special tokens, `prefix` (the ids that are put
before a text), and for chats the ids of the prompt and of the whole."""
import json, os, sys, tempfile, warnings

warnings.filterwarnings("ignore")
import transformers
from transformers import AutoTokenizer

transformers.logging.set_verbosity_error()

TEXTS = ["a b", " a b", "  a", "a</s>b", "a</s> b", "a</s>  b", "a[X]b", "a [X] b", "ab c<|u|>a", "\na", "", "12", "a 12", "a   12"]
CHATML = ("{{ bos_token }}{% for m in messages %}<|u|>{{ m['content'] }}</s>{% endfor %}"
          "{% if add_generation_prompt %}<|u|>{% endif %}")
CHATS = [["a", "b c"], ["a ", " b"], ["a", "\nb"], ["a  1", " 12"]]


def special(id, content, special=True, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": special, **flags}


def sentencepiece(normalizer, pre_tokenizer):
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "▁a", "▁b", "▁c", "▁▁"]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)] + ["<|u|>", "[X]"]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
                         special(vocab["<|u|>"], "<|u|>"), special(vocab["[X]"], "[X]", special=False)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [["▁", "▁"], ["▁", "a"], ["▁", "b"], ["▁", "c"]]}}


def byte_level():
    """Splits digits; "Ġ1" is a token that only a tokenizer without that rule finds."""
    letters = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + n) for n in range(68)]
    pieces = ["<unk>", "<s>", "</s>", *letters, "ĠĠ", "Ġ1", "12", "Ġa", "<|u|>", "[X]"]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
                         special(vocab["<|u|>"], "<|u|>"), special(vocab["[X]"], "[X]", special=False)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [["Ġ", "Ġ"], ["Ġ", "1"], ["1", "2"], ["Ġ", "a"]]}}


PREPEND = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}


TOKENIZERS = {
    "prepend": sentencepiece(PREPEND, None),
    "metaspace-first": sentencepiece(None, metaspace("first")),
    "metaspace-always": sentencepiece(None, metaspace("always")),
    "metaspace-never": sentencepiece(None, metaspace("never")),
    "digits": byte_level(),
}
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
FLAGS = {"lstrip": True, "rstrip": True, "normalized": False, "single_word": False, "special": True}


def cases():
    for name in TOKENIZERS:
        yield name, {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast"}, None
    for tokenizer_class in ["LlamaTokenizer", "LlamaTokenizerFast"]:
        for legacy in [True, False, None]:
            config = {**NAMED, "tokenizer_class": tokenizer_class}
            yield "prepend", config if legacy is None else {**config, "legacy": legacy}, None
    yield "metaspace-never", {**NAMED, "tokenizer_class": "LlamaTokenizer", "legacy": True}, None
    yield "prepend", {**NAMED, "tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}, None
    # Defaults of the class, a token that is switched off, tokens of the older file.
    yield "prepend", {"tokenizer_class": "LlamaTokenizer"}, None
    yield "prepend", {"tokenizer_class": "LlamaTokenizer", "bos_token": None}, None
    yield "prepend", {"tokenizer_class": "PreTrainedTokenizerFast"}, {"bos_token": "<s>", "eos_token": {
        "content": "</s>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}}
    # Tokens that tokenizer.json lacks, and other flags of one that it has.
    yield "prepend", {**NAMED, "pad_token": "[PAD]", "tokenizer_class": "PreTrainedTokenizerFast"}, None
    yield "prepend", {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast",
                      "added_tokens_decoder": {"2": {"content": "</s>", **FLAGS},
                                               "400": {"content": "ab", **FLAGS}}}, None
    yield "prepend", {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False}, None
    yield "prepend", {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast",
                      "extra_special_tokens": {"image_token": "[X]"}}, None
    # The model type decides whether the class is followed.
    for model_type in ["llama", "mistral", "gpt_neox", "qwen3"]:
        for legacy in [True, False]:
            yield "prepend", {**NAMED, "tokenizer_class": "LlamaTokenizer", "legacy": legacy}, None, model_type
    yield "digits", {**NAMED, "tokenizer_class": "GPT2Tokenizer"}, None, "llama"
    yield "digits", {**NAMED, "tokenizer_class": "GPT2Tokenizer"}, None, "mistral"
    yield "digits", {**NAMED, "tokenizer_class": "PreTrainedTokenizerFast"}, None, "llama"


def main():
    out = []
    for name, config, special_map, *model_type in cases():
        with tempfile.TemporaryDirectory() as folder:
            write = lambda file, value: json.dump(value, open(os.path.join(folder, file), "w"))
            write("tokenizer.json", TOKENIZERS[name])
            write("tokenizer_config.json", config)
            if model_type:
                write("config.json", {"model_type": model_type[0]})
            if special_map:
                write("special_tokens_map.json", special_map)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            ids = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
            whole, bare = tokenizer("a").input_ids, tokenizer("a", add_special_tokens=False).input_ids
            chats = []
            for turns in CHATS:
                messages = [{"role": role, "content": content} for role, content in zip(["user", "assistant"], turns)]
                apply = lambda some, add: tokenizer.apply_chat_template(
                    some, chat_template=CHATML, add_generation_prompt=add, tokenize=True, return_dict=False)
                chats.append({"messages": messages, "prompt": apply(messages[:1], True), "whole": apply(messages, False)})
            case = {"tokenizer": name, "tokenizer_config": config, "special_tokens_map": special_map,
                    "model_type": model_type[0] if model_type else None,
                    "specials": tokenizer.special_tokens_map, "ids": ids,
                    "prefix": whole[: len(whole) - len(bare)], "chats": chats}
            out.append(case)
    versions = {"transformers": transformers.__version__}
    expected = {"versions": versions, "texts": TEXTS, "template": CHATML, "tokenizers": TOKENIZERS, "cases": out}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")
    with open(path, "w") as file:
        json.dump(expected, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")
    print(len(out), "cases")


if __name__ == "__main__":
    main()
