"""Writes adapters of every kind of setting that is accepted, made and read by PEFT: `python golden/adapters/make.py`.

Versions: torch 2.9.0, transformers 5.23.0, peft 0.21.2, Python 3.11 (golden/requirements.txt). Bases are the models of golden/models. The
adapters have random factors; `expected.json` holds, for each, the base, two rows of token ids and their log-probs (log p(id[i+1] | id[..=i]))
or scores, by the model that PeftModel.from_pretrained makes of base and folder."""

import json
import pathlib
import shutil
import sys
import warnings

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
sys.path.insert(0, str(MODELS))
from seeds import generator  # noqa: E402

QV = r".*\.self_attn\.(q|v)_proj"
# name -> base, arguments of LoraConfig, settings that are written by hand afterwards
CASES = {
    "regex": ("llama3", {"target_modules": QV}, {}),
    "regex-anchors": ("llama3", {"target_modules": r"^model\.layers\.1\.(?:self_attn|mlp)\..*_proj$"}, {}),
    "regex-lookahead": ("qwen3", {"target_modules": r"model\.(?!.*layers\.0\.).*(?<!down)_proj"}, {}),
    "regex-neox": ("pythia", {"target_modules": r"gpt_neox\.layers\.\d+\.(attention\.query_key_value|mlp\..*4h)"}, {}),
    "all-linear": ("llama3", {"target_modules": "all-linear"}, {"target_modules": "all-linear"}),
    "all-linear-upper": ("pythia", {"target_modules": "all-linear"}, {"target_modules": "All-Linear"}),
    "names": ("llama3", {"target_modules": ["layers.1.self_attn.q_proj", "model.layers.0.mlp.up_proj", "v_proj"]}, {}),
    "names-of-others": ("llama3", {"target_modules": ["q_proj", "c_attn", "query_key_value"]}, {}),
    "exclude-names": ("llama3", {"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["layers.0.self_attn.q_proj", "1.mlp.up_proj"]}, {}),
    "exclude-regex": ("llama3", {"target_modules": "all-linear", "exclude_modules": r".*\.(mlp|0)\..*"}, {"target_modules": "all-linear"}),
    "layer": ("llama3", {"target_modules": ["q_proj", "o_proj"], "layers_to_transform": 1}, {}),
    "layers": ("qwen3-mixed", {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 2], "layers_pattern": "layers"}, {}),
    "ranks": (
        "llama3",
        {
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {"layers.0.self_attn.q_proj": 1, r"^model\.layers\.1\..*": 3, "up_proj": 4},
            "alpha_pattern": {"(q|v)_proj": 5, "up_proj": 1},
        },
        {},
    ),
    "ranks-rslora": ("llama3", {"target_modules": ["q_proj", "v_proj"], "use_rslora": True, "rank_pattern": {"v_proj": 5}, "alpha_pattern": {".*layers.1.*": 2}}, {}),
    "start-gaussian": ("llama3", {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"}, {}),
    "start-false": ("llama3", {"target_modules": ["q_proj"], "init_lora_weights": False}, {}),
    "start-eva": ("llama3", {"target_modules": ["q_proj"], "init_lora_weights": "eva"}, {}),
    "start-orthogonal": ("llama3", {"target_modules": ["q_proj"], "init_lora_weights": "orthogonal"}, {}),
    "start-mica": ("llama3", {"target_modules": ["q_proj"], "init_lora_weights": "mica"}, {}),
    "bfloat16": ("llama3", {"target_modules": ["q_proj", "down_proj"]}, {}),
    "bias-without-biases": ("llama3", {"target_modules": ["q_proj"], "bias": "all"}, {}),
    "harmless": (
        "llama3",
        {"target_modules": ["q_proj"], "lora_dropout": 0.5, "fan_in_fan_out": True},
        {"loftq_config": {"loftq_bits": 4}, "revision": "main", "auto_mapping": {"base_model_class": "X"}, "ensure_weight_tying": True, "corda_config": None},
    ),
    "reward": ("llama3", {"target_modules": QV, "task_type": "SEQ_CLS"}, {}),
    "reward-ranks": ("qwen2", {"target_modules": ["q_proj", "up_proj"], "task_type": "SEQ_CLS", "rank_pattern": {"up_proj": 1}, "modules_to_save": ["score"]}, {}),
}


def load(base, reward):
    auto = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    more = {"num_labels": 1} if reward else {}
    return auto.from_pretrained(MODELS / base, dtype=torch.float32, attn_implementation="eager", **more).eval()


def rounded(tensor):
    return [round(number, 6) for number in tensor.tolist()]


@torch.no_grad()
def make(name):
    base, arguments, by_hand = CASES[name]
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    reward = arguments.get("task_type") == "SEQ_CLS"
    settings = peft.LoraConfig(r=2, lora_alpha=3, **{"task_type": "CAUSAL_LM", **arguments})
    model = peft.get_peft_model(load(base, reward), settings)
    rng = generator(name)
    for parameter_name, parameter in model.named_parameters():
        if "lora_" in parameter_name or "modules_to_save" in parameter_name:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    model.peft_config["default"].base_model_name_or_path = f"../../models/{base}"
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text()), **by_hand}
    for field in ("target_modules", "exclude_modules", "modules_to_save"):
        if isinstance(config.get(field), list):
            config[field].sort()
    # Keys of patterns keep their order, which counts.
    path.write_text(json.dumps(config, indent=1) + "\n")
    if name == "bfloat16":
        weights = folder / "adapter_model.safetensors"
        save_file({key: tensor.bfloat16() for key, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    for file in folder.iterdir():
        file.chmod(0o644)

    plain, fresh = load(base, reward), load(base, reward)
    adapted = peft.PeftModel.from_pretrained(fresh, folder).eval()
    rows = [torch.randint(3, 64, (n,), generator=generator(name + "/rows")).tolist() for n in (5, 12)]
    expected = {"base": base, "rows": rows}
    outputs = [adapted(input_ids=torch.tensor([row])).logits[0] for row in rows]
    before = [plain(input_ids=torch.tensor([row])).logits[0] for row in rows]
    shift = max((a - b).abs().max().item() for a, b in zip(outputs, before))
    assert shift > 1e-2, f"{name}: the adapter moves the output by {shift} only"
    if reward:
        expected["scores"] = rounded(torch.stack([output[0] for output in outputs]))
    else:
        expected["log_probs"] = [
            rounded(output[:-1].log_softmax(-1).gather(-1, torch.tensor(row[1:])[:, None])[:, 0]) for output, row in zip(outputs, rows)
        ]
    print(f"{name:20} moves the output by up to {shift:.2f}")
    return expected


torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore")
versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
text = json.dumps({"versions": versions, "cases": {name: make(name) for name in CASES}}, separators=(",", ":"))
(HERE / "expected.json").write_text(text + "\n")
