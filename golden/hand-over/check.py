"""Loads what a run hands on with the libraries it is handed on to.

    python golden/hand-over/check.py RUN BASE DEMONSTRATIONS

RUN is a run folder (LoRA), BASE the model it began with, DEMONSTRATIONS the run's file. Written for torch 2.9.0, transformers 5.23.0,
peft 0.21.2 and the versions of trl and lm-eval that it prints. Exit code 0 when every library took the folders.
"""

import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from huggingface_hub import ModelCard  # noqa: E402
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402
from trl import RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer  # noqa: E402

run, base, demonstrations = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
for package in ["torch", "transformers", "peft", "trl", "lm_eval"]:
    print(package, importlib.metadata.version(package))

rows = [json.loads(line) for line in demonstrations.read_text().splitlines() if line.strip()][:16]


def texts(row):
    """A row's prompt and completion, as text."""
    if "messages" in row:
        return row["messages"][0]["content"], row["messages"][-1]["content"]
    return row["prompt"], row["completion"]


pairs = [texts(row) for row in rows]
tokenizer = AutoTokenizer.from_pretrained(run / "policy")
if tokenizer.pad_token is None:
    tokenizer.pad_token = tokenizer.eos_token

for folder in ["policy", "reward", "reward-adapter"]:
    card = ModelCard.load(run / folder / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] in ("peft", "transformers") and data["base_model"], data
print("model cards: read, with their metadata")

policy = AutoPeftModelForCausalLM.from_pretrained(run / "policy")
ids = tokenizer(pairs[0][0], return_tensors="pt").input_ids[:, -64:]
with torch.no_grad():
    adapted = policy(ids).logits
merged = policy.merge_and_unload()
with torch.no_grad():
    folded = merged(ids).logits
assert (adapted - folded).abs().max() < 1e-3, (adapted - folded).abs().max()
print("peft: the adapter loads, and merges to the same logits")

file = json.loads((run / "reward" / "reward.json").read_text())
reward = AutoModelForSequenceClassification.from_pretrained(run / "reward")
reward.config.pad_token_id = file["pad_token_id"]
adapter = AutoPeftModelForSequenceClassification.from_pretrained(run / "reward-adapter", num_labels=1)
adapter.config.pad_token_id = file["pad_token_id"]
batch = [tokenizer(p + " " + c).input_ids[-128:] for p, c in pairs]
scores = []
for model in (reward.eval(), adapter.eval()):
    with torch.no_grad():
        scores.append(torch.cat([model(torch.tensor([row])).logits[0] for row in batch]))
assert (scores[0] - scores[1]).abs().max() < 1e-3, scores
print("transformers and peft: the reward and its adapter give the same scores")

with tempfile.TemporaryDirectory() as scratch:
    common = dict(report_to=[], use_cpu=True, logging_strategy="no", save_strategy="no")
    preferences = Dataset.from_list([{"chosen": p + " " + c, "rejected": p + " no"} for p, c in pairs])
    trainer = RewardTrainer(
        model=reward,
        args=RewardConfig(output_dir=scratch, max_steps=1, per_device_train_batch_size=2, max_length=128, **common),
        train_dataset=preferences,
        processing_class=tokenizer,
    )
    trainer.train()
    print("trl: RewardTrainer goes on from the reward")

    prompts = Dataset.from_list([{"prompt": p[-200:]} for p, _ in pairs])
    judge = AutoModelForSequenceClassification.from_pretrained(run / "reward")
    judge.config.pad_token_id = file["pad_token_id"]
    start = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run / "policy").merge_and_unload()
    trainer = RLOOTrainer(
        model=start,
        reward_funcs=[judge],
        reward_processing_classes=[tokenizer],
        args=RLOOConfig(
            output_dir=scratch,
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=2,
            max_completion_length=8,
            **common,
        ),
        train_dataset=prompts,
        processing_class=tokenizer,
    )
    trainer.train()
    print("trl: RLOOTrainer improves the policy against the reward")

    import lm_eval
    from lm_eval.tasks import TaskManager
    from lm_eval.models.huggingface import HFLM

    start.save_pretrained(Path(scratch) / "merged")
    tokenizer.save_pretrained(Path(scratch) / "merged")
    questions = Path(scratch) / "questions.jsonl"
    questions.write_text("".join(json.dumps({"q": p[-100:], "c": [c[:40], "no"], "g": 0}) + "\n" for p, c in pairs))
    (Path(scratch) / "own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: " + str(questions) + "\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{g}}"\ndoc_to_choice: "{{c}}"\nmetric_list:\n  - metric: acc\n'
    )
    for name, model in [
        ("merged", HFLM(pretrained=str(Path(scratch) / "merged"), device="cpu", batch_size=1)),
        ("adapter", HFLM(pretrained=base, peft=str(run / "policy"), device="cpu", batch_size=1)),
    ]:
        manager = TaskManager(include_path=scratch, include_defaults=False)
        result = lm_eval.simple_evaluate(model=model, tasks=["own"], task_manager=manager)
        print(f"lm-eval: the {name} policy, acc {result['results']['own']['acc,none']}")
print("all taken")
