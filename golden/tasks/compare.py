"""The same rows and model through lm-evaluation-harness and through `revealed eval tasks`, item by item.

    python golden/tasks/compare.py REVEALED MODEL FOLDER [--limit 100] [--shots 0 5] [--tasks piqa]

REVEALED is the program, MODEL a model folder, FOLDER holds arc_easy.jsonl and piqa.jsonl (`query`, `choices`, `gold`) and winogrande.jsonl
(`context_options`, `continuation`, `gold`). The first rows are asked; shots are drawn from the rows behind them. Prints the
largest difference of a log-likelihood and the items that differ in a metric.
"""

import argparse
import itertools
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query.strip()}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
}
# lm-eval takes contexts that vary for granted where doc_to_text gives a number.
CONTEXT = {
    "output_type": "multiple_choice",
    "doc_to_text": "gold",
    "doc_to_choice": "{{context_options}}",
    "doc_to_target": "continuation",
}


TASKS = [
    ("arc_easy", CHOICE, ["acc", "acc_norm"]),
    ("piqa", CHOICE, ["acc", "acc_norm"]),
    ("winogrande", CONTEXT, ["acc"]),
]


def toml(name, task, metrics):
    task = dict(task)
    if "context" in task["doc_to_choice"]:
        task["output_type"] = "multiple_context"
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"task": name, **task, "metrics": metrics}.items()]
    return "\n".join(lines) + "\n"


def theirs(lm, name, task, metrics, folder, shots):
    listed = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics]
    files = {"test": str(folder / f"{name}.jsonl"), "train": str(folder / f"{name}.shots.jsonl")}
    made = ConfigurableTask(config={
        **task, "task": name, "metric_list": listed, "dataset_path": "json", "dataset_kwargs": {"data_files": files},
        "test_split": "test", "training_split": "train", "num_fewshot": shots,
    })
    made.set_fewshot_seed(1234)
    found = evaluate(lm=lm, task_dict={"tasks": {name: made}, "groups": {}}, log_samples=True, bootstrap_iters=0)
    return sorted(found["samples"][name], key=lambda sample: sample["doc_id"])


def ours(program, model, name, folder, shots):
    out = folder / "record.json"
    subprocess.run([
        program, "-q", "eval", "tasks", folder / f"{name}.toml", "--model", model, "--data", folder / f"{name}.jsonl",
        "--shots-data", folder / f"{name}.shots.jsonl", "--shots", str(shots), "--out", out,
    ], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def compared(record, samples, metrics):
    largest, differing = 0.0, 0
    for item, sample in zip(record["items"], samples, strict=True):
        scored = [resp[0] for resp in sample["resps"]]
        pairs = zip(item["detail"]["log_likelihoods"], scored, strict=True)
        largest = max([largest, *(abs(a - float(b[0])) for a, b in pairs)])
        greedy = item["detail"]["greedy"] == [bool(b[1]) for b in scored]
        differing += not greedy or any(item["values"][metric] != float(sample[metric]) for metric in metrics)
    return largest, differing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 5])
    parser.add_argument("--tasks", nargs="+", default=[name for name, _, _ in TASKS])
    args = parser.parse_args()
    # Transformers 5 may rebuild a tokenizer of a named class from its vocabulary and lose tokenizer.json's own rules.
    side = AutoTokenizer.from_pretrained(args.model)
    lm = HFLM(pretrained=args.model, tokenizer=side, dtype="float32", device="cpu", batch_size=1)
    tasks = [task for task in TASKS if task[0] in args.tasks]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, _, _ in tasks:
            rows = (args.folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
            (folder / f"{name}.jsonl").write_text("\n".join(rows[: args.limit]) + "\n", encoding="utf-8")
            behind = rows[args.limit : args.limit + 200]
            (folder / f"{name}.shots.jsonl").write_text("\n".join(behind) + "\n", encoding="utf-8")
        for shots, (name, task, metrics) in itertools.product(args.shots, tasks):
            (folder / f"{name}.toml").write_text(toml(name, task, metrics), encoding="utf-8")
            start = time.perf_counter()
            record = ours(args.program, args.model, name, folder, shots)
            middle = time.perf_counter()
            samples = theirs(lm, name, task, metrics, folder, shots)
            seconds = {"revealed": round(middle - start, 1), "lm_eval": round(time.perf_counter() - middle, 1)}
            largest, differing = compared(record, samples, metrics)
            print(json.dumps({
                "task": name, "shots": shots, "items": len(samples), "items_that_differ": differing, "largest_difference": largest,
                "figures": {figure["name"]: round(figure["value"], 4) for figure in record["figures"]},
                "tokens": [record["settings"]["tokens_computed"], record["settings"]["tokens_asked"]], "seconds": seconds,
            }), flush=True)


if __name__ == "__main__":
    main()
