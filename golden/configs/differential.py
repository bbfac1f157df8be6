"""Compares `revealed log-probs` with Transformers on random small folders with odd but legal configs.

    python differential.py PROGRAM [--count N] [--seed S] [--keep FOLDER]

Run by hand with torch 2.9.0, transformers 5.23.0, tokenizers 0.23.3 and safetensors 0.8.0; no expected file.
Each case is one folder of Llama, Mistral, Qwen2, Qwen3 or GPT-NeoX: random sizes, activations, biases, windows and
layer types, rope of every kind in every spelling, tied and untied heads with and without their tensors, dtypes,
shards, tensor names with and without the base model's prefix, and fields that nothing reads. Its rows are shorter and
longer than the original context. A case fails where both programs accept the folder and a log-prob differs, or where
the program neither answers nor refuses. Cases that one side alone accepts are counted, with the program's reasons.
"""

import argparse
import collections
import json
import logging
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import safetensors.torch
import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 97
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gpt_neox"]
CLASSES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "gpt_neox": "GPTNeoX",
}
ACTIVATIONS = [
    "silu", "swish", "gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate",
    "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_10", "quick_gelu", "relu", "relu2", "relu6",
    "leaky_relu", "tanh", "sigmoid", "linear", "mish", "hardswish", "laplace", "sqrtsoftplus",
]  # fmt: skip
KINDS = ["default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional"]
IGNORED = {
    "pretraining_tp": [1, 2],
    "attention_dropout": [0.0, 0.1],
    "use_cache": [True, False],
    "num_nextn_predict_layers": [0, 1],
    "router_aux_loss_coef": [0.001],
    "output_router_logits": [False],
    "some_unknown_field": [3, "x", {"a": 1}, None],
    "use_mrope": [False],
    "attn_logit_softcapping": [None],
    "quantization_config": [None],
    "mlp_bias": [False, True],
    "attention_bias": [False, True],
    "max_window_layers": [0, 1, 28],
    "use_sliding_window": [False],
    "sliding_window": [None, 4096],
    "tokenizer_class": ["LlamaTokenizer"],
    "bos_token_id": [1, None],
    "eos_token_id": [2, [2, 3], None],
    "pad_token_id": [0, None, -1, VOCAB + 3],
    "initializer_range": [0.02],
    "torch_dtype": ["bfloat16", "float32"],
    "dtype": ["float32", "float16"],
    "_name_or_path": ["a/b"],
    "_attn_implementation": ["eager"],
    "rope_interleaved": [False],
    "num_labels": [2],
}


def sizes(rng, family):
    heads = rng.choice([2, 4])
    hidden = heads * rng.choice([4, 8, 12])
    fields = {
        "model_type": family,
        "architectures": rng.choice([[f"{CLASSES[family]}ForCausalLM"], [f"{CLASSES[family]}Model"], None]),
        "vocab_size": VOCAB,
        "hidden_size": hidden,
        "intermediate_size": rng.choice([24, 40]),
        "num_hidden_layers": rng.choice([1, 2, 3]),
        "num_attention_heads": heads,
        "hidden_act": rng.choice(ACTIVATIONS) if rng.random() < 0.5 else ("gelu" if family == "gpt_neox" else "silu"),
        "max_position_embeddings": rng.choice([16, 24, 48]),
    }
    if family == "gpt_neox":
        fields["layer_norm_eps"] = rng.choice([1e-5, 1e-3])
        if rng.random() < 0.7:
            fields["use_parallel_residual"] = rng.random() < 0.5
        if rng.random() < 0.5:
            fields["attention_bias"] = rng.random() < 0.5
        return fields
    fields["num_key_value_heads"] = rng.choice([heads, heads // 2, 1])
    fields["rms_norm_eps"] = rng.choice([1e-6, 1e-5, 1e-3])
    if family == "qwen3" or rng.random() < 0.4:
        fields["head_dim"] = rng.choice([8, 12, 16])
    elif rng.random() < 0.3 and family in ("llama", "mistral"):
        fields["head_dim"] = None
    if family in ("llama", "qwen3") and rng.random() < 0.5:
        fields["attention_bias"] = rng.random() < 0.6
    if family == "llama" and rng.random() < 0.5:
        fields["mlp_bias"] = rng.random() < 0.6
    windows(rng, family, fields)
    return fields


def windows(rng, family, fields):
    layers = fields["num_hidden_layers"]
    if family == "mistral" and rng.random() < 0.8:
        fields["sliding_window"] = rng.choice([None, 4, 7, 4096])
    if family in ("qwen2", "qwen3") and rng.random() < 0.7:
        fields["use_sliding_window"] = rng.random() < 0.6
        fields["sliding_window"] = rng.choice([None, 5, 9, 4096])
        fields["max_window_layers"] = rng.choice([0, 1, 2, 28])
        if rng.random() < 0.3:
            kinds = ["full_attention"]
            if fields["use_sliding_window"] and fields["sliding_window"]:
                kinds.append("sliding_attention")
            fields["layer_types"] = [rng.choice(kinds) for _ in range(layers)]


def rope_object(rng, kind, width, fields):
    """Settings of one kind; `width` is the number of rotated dimensions."""
    number = lambda *choices: rng.choice(choices)
    rope = {}
    if kind in ("linear", "dynamic", "yarn", "llama3"):
        rope["factor"] = number(2, 2.0, 4.0, 1.5)
    if kind == "proportional" and rng.random() < 0.5:
        rope["factor"] = number(1.0, 2.0)
    if kind == "yarn":
        for key, choices in {
            "attention_factor": (1.2, 1, None),
            "beta_fast": (32, 16.0, 4),
            "beta_slow": (1, 1.0, 0.5),
            "mscale": (1.0, 0.7),
            "mscale_all_dim": (1.0, 0.5, 0),
            "truncate": (True, False),
        }.items():
            if rng.random() < 0.3:
                rope[key] = number(*choices)
        if rng.random() < 0.1:
            rope["factor"] = None
    if kind == "llama3":
        rope |= {"low_freq_factor": number(1, 1.0, 0.5), "high_freq_factor": number(4, 4.0, 2.0)}
    if kind == "longrope":
        rope["short_factor"] = [rng.choice([1, 1.0, 1.1, 1.5]) for _ in range(width // 2)]
        rope["long_factor"] = [rng.choice([2, 3.0, 4.5]) for _ in range(width // 2)]
        if rng.random() < 0.4:
            rope["factor"] = number(2.0, 4)
        if rng.random() < 0.3:
            rope["attention_factor"] = number(1.1, 0.9)
    if kind in ("yarn", "llama3", "longrope"):
        small = fields["max_position_embeddings"] // 2
        where = rng.random()
        if where < 0.5:
            rope["original_max_position_embeddings"] = small
        elif where < 0.65:
            fields["original_max_position_embeddings"] = small
        elif where < 0.75:
            rope["original_max_position_embeddings"] = fields["max_position_embeddings"]
            fields["original_max_position_embeddings"] = small
    if kind != "default" or rng.random() < 0.5:
        rope[rng.choice(["type", "rope_type"])] = kind
        if rng.random() < 0.1:
            rope |= {"type": "linear", "rope_type": kind}
    if rng.random() < 0.1:
        rope["unknown_key"] = 5
    return rope


def rope(rng, family, fields):
    kind = rng.choice(KINDS)
    head = fields.get("head_dim") or fields["hidden_size"] // fields["num_attention_heads"]
    theta = rng.choice([10000.0, 10000, 500.0, 1000000, 1e6, 50000.5])
    part = rng.choice([0.25, 0.5, 1.0, 0.75, 0.4]) if family == "gpt_neox" else 1.0
    if kind == "proportional":
        part = rng.choice([0.5, 1.0, 0.3])
    width = head if kind == "proportional" else int(head * part)
    settings = rope_object(rng, kind, width + width % 2, fields)
    top_theta, top_part = ("rotary_emb_base", "rotary_pct") if family == "gpt_neox" else ("rope_theta", "partial_rotary_factor")
    inside = rng.random()
    if inside < 0.4:
        settings |= {"rope_theta": theta}
    else:
        fields[top_theta] = theta
    if inside < 0.15:
        fields[top_theta] = 7777.0
    if part != 1.0 or family == "gpt_neox":
        if rng.random() < 0.5:
            settings["partial_rotary_factor"] = part
        else:
            fields[top_part] = part
    spelling = rng.random()
    if spelling < 0.4:
        fields["rope_scaling"] = settings or None
    elif spelling < 0.75:
        fields["rope_parameters"] = settings
    elif spelling < 0.9:
        fields["rope_scaling"] = settings
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": 123.0}
    else:
        fields["rope_scaling"] = rng.choice([{}, None])
        fields["rope_parameters"] = settings


def config_of(rng):
    family = rng.choice(FAMILIES)
    fields = sizes(rng, family)
    rope(rng, family, fields)
    if rng.random() < 0.8:
        fields["tie_word_embeddings"] = rng.random() < 0.5
    for name, values in IGNORED.items():
        if name not in fields and rng.random() < 0.15:
            fields[name] = rng.choice(values)
    return {key: value for key, value in fields.items() if key != "architectures" or value}


@torch.no_grad()
def tensors_of(rng, fields, folder):
    """The tensors of a model of this config, by the names that a file may have."""
    plain = {k: v for k, v in fields.items() if k not in ("pad_token_id", "torch_dtype", "dtype")}
    (folder / "config.json").write_text(json.dumps(plain))
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    tensors = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        tensors[name] = 1 + 0.2 * noise if "norm" in name and "bias" not in name else 0.3 * noise
    return rename(rng, fields, tensors)


def rename(rng, fields, tensors):
    neox = fields["model_type"] == "gpt_neox"
    prefix = "gpt_neox" if neox else "model"
    embedding = f"{prefix}.embed_in.weight" if neox else f"{prefix}.embed_tokens.weight"
    head = tensors.pop("lm_head.weight")
    shape = tensors[embedding].shape
    choice = rng.random()
    if fields.get("tie_word_embeddings"):
        if choice < 0.25:
            tensors["lm_head.weight"] = 0.3 * torch.randn(shape)
        elif choice < 0.5:
            tensors["lm_head.weight"] = tensors[embedding].clone()
        elif choice < 0.65:
            tensors["lm_head.weight"] = tensors.pop(embedding)
    elif choice < 0.95:
        tensors["lm_head.weight"] = torch.randn(shape) * 0.3 if head.shape == shape else head
    if neox and rng.random() < 0.7 and "lm_head.weight" in tensors:
        tensors["embed_out.weight"] = tensors.pop("lm_head.weight")
    naming = rng.random()
    if naming < 0.15:
        tensors = {name.removeprefix(f"{prefix}."): value for name, value in tensors.items()}
    elif naming < 0.25:
        tensors = {f"{prefix}.{name}": value for name, value in tensors.items()}
    if rng.random() < 0.1:
        tensors[f"{prefix}.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    dtype = rng.choice([torch.float32, torch.float32, torch.bfloat16, torch.float16, torch.float64])
    return {name: value.to(dtype).contiguous() for name, value in tensors.items()}


def write(rng, tensors, folder):
    if rng.random() < 0.7:
        return safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    names = sorted(tensors)
    rng.shuffle(names)
    parts = [names[::2], names[1::2]]
    where = {}
    for index, part in enumerate(parts):
        shard = f"model-{index + 1:05}-of-{len(parts):05}.safetensors"
        safetensors.torch.save_file({n: tensors[n] for n in part}, folder / shard, {"format": "pt"})
        where |= {name: shard for name in part}
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tokenizer(folder):
    vocab = {f"w{i}": i for i in range(VOCAB - 1)} | {"<unk>": VOCAB - 1}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "w2", "pad_token": "w0", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def rows(rng, path, lengths):
    """Rows in order of length: the dynamic rope of Transformers never shrinks again within its scaled context."""
    words = lambda n: " ".join(f"w{rng.randrange(4, VOCAB - 1)}" for _ in range(n))
    with path.open("w") as file:
        for index, length in enumerate(sorted(lengths)):
            row = {"id": str(index), "prompt": words(2), "completion": " " + words(length - 3)}
            file.write(json.dumps(row) + "\n")


@torch.no_grad()
def reference(folder, lines):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    model, info = model
    if info["missing_keys"]:
        raise ValueError(f"Transformers starts at random: {sorted(info['missing_keys'])}")
    worst = largest = 0.0
    for line in lines:
        ids = line["input_ids"]
        logits = model.eval()(torch.tensor([ids])).logits[0]
        largest = max(largest, logits.abs().max().item())
        start = line["completion_start"]
        wanted = logits.log_softmax(-1)[range(start - 1, len(ids) - 1), ids[start:]]
        worst = max(worst, (wanted - torch.tensor(line["log_probs"])).abs().max().item())
    return worst, largest


def one(program, seed, folder):
    """What came of one case: a word, and what to print of it."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    fields = config_of(rng)
    try:
        tensors = tensors_of(rng, fields, folder)
    except Exception as error:
        return "no such model in Transformers", f"{type(error).__name__}: {str(error)[:300]}"
    write(rng, tensors, folder)
    (folder / "config.json").write_text(json.dumps(fields, indent=1))
    tokenizer(folder)
    limit = fields["max_position_embeddings"]
    stretch = (fields.get("rope_scaling") or fields.get("rope_parameters") or {}).get("factor") or 1
    kind = (fields.get("rope_scaling") or fields.get("rope_parameters") or {})
    kind = kind.get("rope_type", kind.get("type", "default"))
    longest = int(limit * stretch) if kind in ("dynamic", "linear") else limit
    rows(rng, folder / "rows.jsonl", [5, limit // 2 - 1, limit - 1, longest])
    done = subprocess.run(
        [program, "log-probs", "--model", folder, "--data", folder / "rows.jsonl"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    message = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    if done.returncode not in (0, 1) or "panicked" in done.stderr:
        return "FAIL", f"exit {done.returncode}: {done.stderr[-400:]}"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode == 0 and any("error" in line for line in lines):
        return "FAIL", str([line for line in lines if "error" in line])
    lines = lines if done.returncode == 0 else [{"input_ids": [4, 5, 6], "completion_start": 1, "log_probs": [0, 0]}]
    try:
        worst, largest = reference(folder, lines)
    except Exception as error:
        return ("both refuse" if done.returncode else "accepted here alone"), f"{type(error).__name__}: {str(error)[:200]}"
    if done.returncode:
        return "refused here alone", message
    if not worst < 1e-4 * max(1.0, largest / 10):
        return "FAIL", f"largest difference {worst:.2e}, logits up to {largest:.1f}"
    return "equal", f"{worst:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, help="where folders of failed cases go")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    counts, reasons = collections.Counter(), collections.Counter()
    for seed in range(args.seed, args.seed + args.count):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            outcome, note = one(pathlib.Path(args.program).resolve(), seed, folder)
            counts[outcome] += 1
            if outcome != "equal":
                reasons[(outcome, note.replace(str(folder), "FOLDER"))] += 1
            if outcome == "FAIL":
                print(f"FAIL seed {seed}: {note}", flush=True)
                if args.keep:
                    shutil.copytree(folder, args.keep / str(seed), dirs_exist_ok=True)
    for (outcome, note), count in sorted(reasons.items()):
        print(f"{outcome} {count}: {note}")
    print(dict(counts))
    sys.exit(counts["FAIL"] > 0)


if __name__ == "__main__":
    main()
