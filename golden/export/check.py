"""Loads folders in Transformers and PEFT and compares numbers; exit 0 equal, 1 different, 2 usage.

    python check.py model DIR NUMBERS.json [--tolerance 1e-4]
    python check.py adapter BASE DIR NUMBERS.json
    python check.py reward DIR NUMBERS.json
    python check.py reward-adapter BASE DIR NUMBERS.json

NUMBERS.json (absent keys are not compared; at least one must be there):
    model, adapter:
        {"rows": [[id, ..], ..], "logits": [[[V numbers] per token] per row],
         "log_probs": [[log p(id[i+1] | id[..=i]), one fewer than ids] per row],
         "greedy": [[continuation ids] per row]}
    reward, reward-adapter:
        {"rows": [[id, ..], ..], "scores": [number per row], "pad_token_id": optional}

Rows have no padding. Language models run row by row; reward models run row by row and as one batch
padded on the right with `pad_token_id` (the config's unless the file has its own). Weights are read
as float32, attention is eager, and a tensor that is missing, left over or of another shape is a
failure whatever the numbers say.
"""

import argparse
import json
import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

CAUSAL_KEYS, REWARD_KEYS = ("logits", "log_probs", "greedy"), ("scores",)


class Failed(Exception):
    """What is wrong with the folder or the numbers, in one line."""


def load_model(auto, folder, allowed_missing=(), allowed_extra=(), **kwargs):
    """The model in float32, every tensor accounted for."""
    model, info = auto.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **kwargs
    )
    missing = [k for k in info["missing_keys"] if k not in allowed_missing]
    extra = [k for k in info["unexpected_keys"] if k not in allowed_extra]
    for what, keys in (
        ("missing", missing),
        ("unexpected", extra),
        ("mismatched", info["mismatched_keys"]),
    ):
        if keys:
            raise Failed(f"{folder}: {what} tensors {sorted(map(str, keys))}")
    return model.eval()


def load_adapter(base, folder):
    """The PEFT model, with the adapter's tensor names equal to those that PEFT expects."""
    model = peft.PeftModel.from_pretrained(base, folder).eval()
    expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    found = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
    if set(expected) != set(found):
        raise Failed(
            f"{folder}: missing adapter tensors {sorted(set(expected) - set(found))}, "
            f"unexpected {sorted(set(found) - set(expected))}"
        )
    for name, tensor in expected.items():
        if not torch.equal(tensor.float(), found[name].float()):
            raise Failed(f"{folder}: adapter tensor {name} was not loaded as it is in the file")
    return model


def compare(name, pairs, tolerance):
    """Prints the largest difference of `(row, ours, theirs)` and returns whether it is within the tolerance."""
    worst, where = 0.0, None
    for row, ours, theirs in pairs:
        theirs = torch.tensor(theirs, dtype=torch.float32)
        if ours.shape != theirs.shape:
            raise Failed(
                f"{name} of row {row} has shape {list(theirs.shape)} instead of {list(ours.shape)}"
            )
        difference = (ours - theirs).abs().max().item() if ours.numel() else 0.0
        if not difference <= worst:  # a NaN is the worst of all
            worst, where = difference, row
    good = worst <= tolerance
    print(
        f"{name}: max difference {worst:.3g} (row {where}), tolerance {tolerance:g}: {'ok' if good else 'FAILED'}"
    )
    return good


@torch.no_grad()
def check_causal(model, numbers, tolerance):
    rows = numbers["rows"]
    logits = [model(input_ids=torch.tensor([row])).logits[0] for row in rows]
    log_probs = [
        l[:-1].log_softmax(-1).gather(-1, torch.tensor(row[1:], dtype=torch.long)[:, None])[:, 0]
        for l, row in zip(logits, rows)
    ]
    good = True
    for key, ours in (("logits", logits), ("log_probs", log_probs)):
        if key in numbers:
            good &= compare(
                key, [(i, o, t) for i, (o, t) in enumerate(zip(ours, numbers[key]))], tolerance
            )
    if "greedy" in numbers:
        wrong = [
            i
            for i, (row, ids) in enumerate(zip(rows, numbers["greedy"]))
            if greedy(model, row, len(ids)) != ids
        ]
        print(
            f"greedy: {len(rows) - len(wrong)} of {len(rows)} rows equal: {'FAILED, rows ' + str(wrong) if wrong else 'ok'}"
        )
        good &= not wrong
    return good


def greedy(model, row, tokens):
    """Uncached argmax continuation without a stop token."""
    ids = list(row)
    for _ in range(tokens):
        ids.append(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax().item())
    return ids[len(row) :]


@torch.no_grad()
def check_reward(model, numbers, tolerance):
    rows, scores, pad = numbers["rows"], numbers["scores"], model.config.pad_token_id
    if pad is None:
        raise Failed("the config has no pad_token_id, so Transformers cannot score a padded batch")
    ends_in_pad = [i for i, row in enumerate(rows) if row[-1] == pad]
    if ends_in_pad:
        print(
            f"note: rows {ends_in_pad} end in the pad token {pad}, so Transformers reads an earlier position"
        )
    single = torch.stack([model(input_ids=torch.tensor([row])).logits[0] for row in rows])
    width = max(map(len, rows))
    batch = model(
        input_ids=torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
        attention_mask=torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    ).logits
    if single.shape != (len(rows), 1):
        raise Failed(f"the model gives {single.shape[-1]} labels; a reward has num_labels 1")
    good = True
    for name, ours in (
        ("scores of single rows", single[:, 0]),
        ("scores of the padded batch", batch[:, 0]),
    ):
        good &= compare(name, [(i, o, t) for i, (o, t) in enumerate(zip(ours, scores))], tolerance)
    return good


def read_numbers(path, keys):
    numbers = json.loads(pathlib.Path(path).read_text())
    present = [k for k in keys if k in numbers]
    if not numbers.get("rows") or not present:
        raise Failed(
            f"{path}: needs non-empty rows and at least one of {', '.join(keys)}; it has {', '.join(numbers)}"
        )
    for key in present:
        if len(numbers[key]) != len(numbers["rows"]):
            raise Failed(f"{path}: {len(numbers[key])} {key} for {len(numbers['rows'])} rows")
    return numbers


def check(args):
    causal = args.kind in ("model", "adapter")
    numbers = read_numbers(args.numbers, CAUSAL_KEYS if causal else REWARD_KEYS)
    pad = (
        {"pad_token_id": numbers["pad_token_id"]}
        if not causal and "pad_token_id" in numbers
        else {}
    )
    if args.kind == "model":
        model = load_model(AutoModelForCausalLM, args.folder)
    elif args.kind == "adapter":
        model = load_adapter(load_model(AutoModelForCausalLM, args.base), args.folder)
    elif args.kind == "reward":
        model = load_model(AutoModelForSequenceClassification, args.folder, **pad)
    else:  # the base is a language model: its head is left over and the score comes from the adapter
        base = load_model(
            AutoModelForSequenceClassification,
            args.base,
            num_labels=1,
            allowed_missing=("score.weight",),
            allowed_extra=("lm_head.weight", "embed_out.weight"),
            **pad,
        )
        model = load_adapter(base, args.folder)
        if "score" not in (model.active_peft_config.modules_to_save or []):
            raise Failed(f'{args.folder}: adapter_config.json needs "modules_to_save": ["score"]')
    return (check_causal if causal else check_reward)(model, numbers, args.tolerance)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("model", "adapter", "reward", "reward-adapter"):
        command = kinds.add_parser(kind)
        if "adapter" in kind:
            command.add_argument("base", help="folder of the base model")
        command.add_argument("folder", help="folder to check")
        command.add_argument("numbers", help="JSON file with rows and expected numbers")
        command.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        good = check(args)
    except (Failed, OSError, ValueError, RuntimeError, KeyError) as error:
        print(
            f"FAILED: {error}"
            if isinstance(error, Failed)
            else f"FAILED: {type(error).__name__}: {error}"
        )
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
