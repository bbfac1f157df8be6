"""Writes `cases.json`: configs and tensors changed in ways that people's folders have, with Transformers' log-probs.

    python make.py [OUT_FILE]

Needs torch, transformers and safetensors in the versions of `golden/models/versions.json`. Each case starts
from a folder of `golden/models`, sets fields of its config.json (`"absent"` removes one) and changes its tensors.
Transformers loads the result again for every row, because its dynamic rope remembers the longest row. No weights
are stored here.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import zlib

import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
LENGTHS = [5, 17, 40]
PLAIN = {"rope_parameters": None, "rope_theta": 500.0, "max_position_embeddings": 24}
LONG = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0]
SHORT = [1.0, 1.0, 1.1, 1.1, 1.2, 1.2, 1.3, 1.4]


def rope(base="llama3", **fields):
    return {"base": base, "config": {**PLAIN, **fields}, "tensors": []}


EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
CASES = {
    "linear, old key": rope(rope_scaling={"type": "linear", "factor": 2}),
    "dynamic": rope(rope_scaling={"type": "dynamic", "factor": 2.0}),
    "dynamic in a part of the head": rope(
        "pythia", rotary_pct=0.25, rotary_emb_base=500, rope_theta=500, rope_scaling={"rope_type": "dynamic", "factor": 4}
    ),
    "yarn": rope(
        rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12}
    ),
    "yarn with all settings": rope(
        rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000, "factor": 3, "beta_fast": 8, "beta_slow": 2, "truncate": False,
            "mscale": 1.0, "mscale_all_dim": 0.5,
        }
    ),
    "yarn with its own attention factor": rope(
        rope_scaling={"rope_type": "yarn", "factor": None, "attention_factor": 1.3},
        original_max_position_embeddings=12,
    ),
    "yarn in a part of the head": rope(
        "pythia",
        rope_theta=None,
        rope_parameters={"type": "yarn", "factor": 2.0, "partial_rotary_factor": 0.5, "rope_theta": 500.0},
    ),
    "longrope": rope(
        rope_scaling={
            "type": "longrope", "short_factor": SHORT, "long_factor": LONG, "original_max_position_embeddings": 16,
        },
        max_position_embeddings=64,
    ),
    "longrope with factors": rope(
        rope_scaling={
            "rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, "factor": 3, "attention_factor": 1.1,
            "original_max_position_embeddings": 40,
        },
        original_max_position_embeddings=16,
        max_position_embeddings=64,
    ),
    "llama3": rope(
        rope_scaling={"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4},
        original_max_position_embeddings=16,
    ),
    "proportional": rope(rope_parameters={"rope_type": "proportional", "rope_theta": 500.0, "partial_rotary_factor": 0.5}),
    "scaling replaces parameters": rope(
        rope_parameters={"rope_type": "default", "rope_theta": 123.0}, rope_scaling={"type": "linear", "factor": 4.0}
    ),
    "empty scaling does not": rope(rope_parameters={"rope_type": "linear", "factor": 3.0}, rope_scaling={}),
    "rope_type has priority over type": rope(rope_scaling={"rope_type": "default", "type": "linear", "factor": 4.0}),
    "the object's theta has priority over the top level's": rope(
        rope_theta=7.0, rope_parameters={"rope_type": "default", "rope_theta": 100000}
    ),
    "no rope fields": {"base": "llama3", "config": {"rope_parameters": None}, "tensors": []},
    "no rope fields in GPT-NeoX": {"base": "neox-sequential", "config": {"rope_parameters": None}, "tensors": []},
    "an odd number of rotated dimensions": {
        "base": "neox-sequential",
        "config": {"rope_parameters": None, "rotary_pct": 0.4, "rotary_emb_base": 300},
        "tensors": [],
    },
    "Mistral without a window field": {
        "base": "mistral", "config": {"sliding_window": "absent", "attention_bias": True}, "tensors": [],
    },
    "Qwen2 with biases in the config": {"base": "qwen2", "config": {"attention_bias": True, "mlp_bias": True}, "tensors": []},
    "tied in the config, another head": {
        "base": "qwen2", "config": {}, "tensors": [["rolled", EMBEDDING, HEAD]],
    },
    "tied in the config, the same head": {
        "base": "qwen2", "config": {}, "tensors": [["copied", EMBEDDING, HEAD]],
    },
    "tied in the config, only the head": {
        "base": "qwen2", "config": {}, "tensors": [["renamed", EMBEDDING, HEAD]],
    },
    "untied by its class": {
        "base": "qwen2", "config": {"tie_word_embeddings": "absent"}, "tensors": [["rolled", EMBEDDING, HEAD]],
    },
    "tied GPT-NeoX, another head": {"base": "pythia", "config": {"tie_word_embeddings": True}, "tensors": []},
    "GPT-NeoX with the head's new name": {
        "base": "pythia", "config": {}, "tensors": [["renamed", "embed_out.weight", HEAD]],
    },
    "saved from the base model": {
        "base": "qwen3-mixed", "config": {"architectures": ["Qwen3Model"]}, "tensors": [["unprefixed", "model."]],
    },
    "the prefix twice": {"base": "llama-bias", "config": {}, "tensors": [["prefixed", "model."]]},
    "GPT-NeoX saved from the base model": {"base": "pythia", "config": {}, "tensors": [["unprefixed", "gpt_neox."]]},
    **{
        f"activation {name}": {"base": base, "config": {"hidden_act": name}, "tensors": []}
        for name, base in {
            "swish": "qwen3", "gelu": "llama-bias", "gelu_new": "pythia", "gelu_10": "mistral", "quick_gelu": "qwen2",
            "relu": "llama3", "relu2": "neox-sequential", "relu6": "qwen3", "leaky_relu": "mistral", "tanh": "qwen2",
            "sigmoid": "pythia", "linear": "llama3", "mish": "qwen3", "hardswish": "mistral", "laplace": "qwen2",
            "sqrtsoftplus": "neox-sequential",
        }.items()
    },
}  # fmt: skip


def changed_config(fields, changes):
    fields = fields | changes
    return {name: value for name, value in fields.items() if value != "absent"}


def changed_tensors(tensors, changes):
    for change, *names in changes:
        if change == "rolled":
            tensors[names[1]] = tensors[names[0]].roll(1, dims=0).contiguous()
        elif change == "copied":
            tensors[names[1]] = tensors[names[0]].clone()
        elif change == "renamed":
            tensors[names[1]] = tensors.pop(names[0])
        elif change == "unprefixed":
            tensors = {name.removeprefix(names[0]): value for name, value in tensors.items()}
        elif change == "prefixed":
            tensors = {names[0] + name: value for name, value in tensors.items()}
    return tensors


@torch.no_grad()
def log_probs(folder, row):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"], info["missing_keys"]
    ids = torch.tensor([row])
    logits = model.eval()(ids).logits[0].log_softmax(-1)
    return [round(value, 6) for value in logits[:-1].gather(-1, ids[0, 1:, None])[:, 0].tolist()]


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "cases.json"
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = []
    for name, case in CASES.items():
        base = MODELS / case["base"]
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        rows = [torch.randint(3, 64, (n,), generator=generator).tolist() for n in LENGTHS]
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            fields = changed_config(json.loads((base / "config.json").read_text()), case["config"])
            (folder / "config.json").write_text(json.dumps(fields))
            tensors = safetensors.torch.load_file(base / "model.safetensors")
            tensors = changed_tensors(tensors, case["tensors"])
            safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
            found = [log_probs(folder, row) for row in rows]
        cases.append({"name": name, **case, "rows": rows, "log_probs": found})
        print(f"{name}: {len(rows)} rows, mean log-prob {sum(map(sum, found)) / sum(map(len, found)):.3f}")
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    out.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
