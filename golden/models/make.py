"""Writes tiny random-weight Hugging Face folders, LoRA adapters and optimizer tables.

    python make.py [OUT]        (OUT: default the folder of this script)

Everything is computed by PyTorch, Transformers and PEFT in float32 on one CPU thread, with eager
attention. Every case also lists config changes that must move the logits, so that a reader that
ignores such a field cannot pass, and a hand-written Transformers 4 spelling of the same config,
which must give bit-equal logits here.
"""

import argparse
import copy
import json
import pathlib
import shutil
import sys

import numpy
import peft
import safetensors
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Qwen2Config

from cases import ADAPTERS, CASES, EOS, PAD, TOKENS, V4, VOCAB
from optimizer import adamw_cases, clipping_cases, schedule_cases
from seeds import generator

VERSIONS = {
    "python": sys.version.split()[0],
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "peft": peft.__version__,
    "safetensors": safetensors.__version__,
    "numpy": numpy.__version__,
}
LENGTHS, NEW_TOKENS = (5, 12, 17), 12


@torch.no_grad()
def randomize(module, rng):
    """Weights large enough that every part of the model shows in the logits."""
    # Gemma multiplies embeddings by the square root of hidden_size, 4 in these models.
    embedding = 0.15 if "Gemma" in type(module).__name__ else 0.4
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=rng)
        if name.endswith("bias"):
            p.copy_(0.3 * noise)
        elif "norm" in name:
            p.copy_(1.0 + 0.3 * noise)
        elif "embed" in name or "lm_head" in name:
            p.copy_(embedding * noise)
        else:
            p.copy_(0.3 * noise)


def rows_of(name):
    rng = generator(name + "/rows")
    return [torch.randint(EOS + 1, VOCAB, (n,), generator=rng).tolist() for n in LENGTHS]


def rounded(tensor):
    return [rounded(t) for t in tensor] if tensor.dim() else round(tensor.item(), 6)


@torch.no_grad()
def logits_of(model, rows):
    return [model(input_ids=torch.tensor([row])).logits[0] for row in rows]


def token_log_probs(logits, rows):
    """`log_probs[i] = log p(row[i+1] | row[..=i])`, one fewer than the row has tokens."""
    return [
        l[:-1].log_softmax(-1).gather(-1, torch.tensor(r[1:])[:, None])[:, 0]
        for l, r in zip(logits, rows)
    ]


@torch.no_grad()
def greedy(model, row):
    """Cached decoding by `generate` without a stop token, and its smallest top-two margin.

    It equals uncached argmax, and the margin is far above the tolerance."""
    model.generation_config.eos_token_id = None
    ids = torch.tensor([row])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        use_cache=True,
        pad_token_id=PAD,
    )[0].tolist()
    assert len(out) == len(row) + NEW_TOKENS, "greedy decoding stopped early"
    top = model(input_ids=torch.tensor([out[:-1]])).logits[0, len(row) - 1 :].topk(2, dim=-1)
    assert top.indices[:, 0].tolist() == out[len(row) :], "cached and uncached decoding differ"
    margin = (top.values[:, 0] - top.values[:, 1]).min().item()
    assert margin > 2e-3, f"greedy margin {margin} is too small to compare; reseed"
    return out[len(row) :], margin


def causal_expected(model, rows):
    logits = logits_of(model, rows)
    decoded = [greedy(model, row) for row in rows]
    ids = [d[0] for d in decoded]
    assert len(set().union(*ids)) >= 6, f"greedy ids are too uniform: {ids}"
    expected = {
        "rows": rows,
        "logits": [rounded(l) for l in logits],
        "log_probs": [rounded(l) for l in token_log_probs(logits, rows)],
        "greedy": ids,
    }
    return expected, min(d[1] for d in decoded)


@torch.no_grad()
def scores_of(model, rows):
    """Scores of single rows; a right-padded batch must give the same."""
    single = torch.stack([model(input_ids=torch.tensor([r])).logits[0, 0] for r in rows])
    width = max(map(len, rows))
    ids = torch.tensor([r + [PAD] * (width - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    batch = model(input_ids=ids, attention_mask=mask).logits[:, 0]
    assert (batch - single).abs().max() < 1e-5, "padding changes the score"
    return single


def override(config, changes):
    config = copy.deepcopy(config)
    for key, value in changes.items():
        if key.startswith("rope_parameters."):
            config.rope_parameters = {**config.rope_parameters, key.split(".", 1)[1]: value}
        else:
            setattr(config, key, value)
    return config


def load(folder, config=None, auto=AutoModelForCausalLM, **kwargs):
    if config is not None:
        kwargs["config"] = config
    return auto.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **kwargs
    ).eval()


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def make_model(out, name):
    config_class, arguments, v4, sensitive = CASES[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    rng = generator(name)
    config = config_class(**TOKENS, **arguments)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomize(model, rng)
    if name == "llama-bf16":
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="12KB")
        assert len(list(folder.glob("model-*.safetensors"))) >= 2
    else:
        model.save_pretrained(folder)
    v4 = {**V4, **v4}
    (folder / "config.v4.json").write_text(json.dumps(v4, indent=2, sort_keys=True) + "\n")

    rows = rows_of(name)
    model = load(folder)
    expected, margin = causal_expected(model, rows)
    logits = logits_of(model, rows)
    old = load(folder, config_class.from_dict(v4))
    assert all(torch.equal(a, b) for a, b in zip(logits, logits_of(old, rows))), (
        f"{name}: config.v4.json differs"
    )
    shifts = []
    for changes in sensitive:
        changed = logits_of(load(folder, override(config, changes)), rows)
        shift = max((a - b).abs().max().item() for a, b in zip(logits, changed))
        assert shift > 1e-3, f"{name}: {changes} moves the logits by {shift} only"
        shifts.append(shift)

    reward = load(folder, auto=AutoModelForSequenceClassification, num_labels=1)
    weight = 0.3 * torch.randn(1, config.hidden_size, generator=generator(name + "/score"))
    reward.score.weight.data.copy_(weight)
    expected["classification"] = {
        "pad_token_id": PAD,
        "score_weight": rounded(reward.score.weight.data[0]),
        "scores": rounded(scores_of(reward, rows)),
    }
    write_json(folder / "expected.json", expected)
    largest = max(l.abs().max().item() for l in logits)
    print(
        f"{name:16} max |logit| {largest:6.2f}  greedy margin {margin:.4f}  least sensitivity {min(shifts, default=float('nan')):.4f}"
    )


def make_adapter(out, name):
    base, arguments = ADAPTERS[name]
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    reward = arguments["task_type"] == "SEQ_CLS"
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model = load(out / base, auto=auto, **({"num_labels": 1} if reward else {}))
    model = peft.get_peft_model(model, peft.LoraConfig(lora_dropout=0.0, bias="none", **arguments))
    rng = generator(name)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, model.parameters()):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    # a relative name instead of this machine's path
    model.peft_config["default"].base_model_name_or_path = f"../{base}"
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    # PEFT writes a set in an order that changes from run to run
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    fresh = load(out / base, auto=auto, **({"num_labels": 1} if reward else {}))
    rows = rows_of(name) if reward else rows_of(name)[:2]
    plain = None if reward else logits_of(fresh, rows)
    model = peft.PeftModel.from_pretrained(fresh, folder).eval()
    if reward:
        expected = {"rows": rows, "pad_token_id": PAD, "scores": rounded(scores_of(model, rows))}
        print(f"{name:16} scores {expected['scores']}")
    else:
        expected, margin = causal_expected(model, rows)
        shift = max((a - b).abs().max().item() for a, b in zip(plain, logits_of(model, rows)))
        assert shift > 0.1
        print(
            f"{name:16} greedy margin {margin:.4f}  the adapter moves the logits by up to {shift:.2f}"
        )
    write_json(folder / "expected.json", expected)


def make_reward(out, name="qwen2-reward"):
    """A full reward-model folder as Transformers writes it: backbone and `score.weight`."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    config = Qwen2Config(
        **TOKENS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        rms_norm_eps=1e-3,
        tie_word_embeddings=True,
        num_labels=1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    model = AutoModelForSequenceClassification.from_config(config)
    randomize(model, generator(name))
    model.save_pretrained(folder)
    rows = rows_of(name)
    scores = rounded(scores_of(load(folder, auto=AutoModelForSequenceClassification), rows))
    write_json(folder / "expected.json", {"rows": rows, "pad_token_id": PAD, "scores": scores})
    print(f"{name:16} scores {scores}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "out", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent
    )
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    out.mkdir(parents=True, exist_ok=True)
    print(json.dumps(VERSIONS))
    for name in CASES:
        make_model(out, name)
    for name in ADAPTERS:
        make_adapter(out, name)
    make_reward(out)
    tables = {"adamw": adamw_cases(), "schedules": schedule_cases(), "clipping": clipping_cases()}
    write_json(out / "adamw.json", tables)
    (out / "versions.json").write_text(json.dumps(VERSIONS, indent=2) + "\n")
    files = [p for p in out.rglob("*") if p.is_file()]
    for path in files:
        path.chmod(0o644)
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1000:.0f} KB in {out}")


if __name__ == "__main__":
    main()
