"""RewardBench's own runner on a reward folder and a preference file, beside `revealed eval preferences` on the same.

    python -m venv --clear scratch && . scratch/bin/activate
    python -m pip install torch==2.9.0 transformers==4.51.0 accelerate==1.6.0 datasets==3.5.0 wandb tabulate pandas scipy sentencepiece \\
        scikit-learn pydantic requests nltk markdown2 tiktoken rich "setuptools<80"
    python -m pip install --no-deps rewardbench==0.1.4 fschat==0.2.36 trl==0.16.0
    python golden/hand-over/runner.py --revealed REVEALED --reward RUN/reward --pairs PAIRS.jsonl

transformers 4.51.0 is what rewardbench 0.1.4 pins; the rest of its requirements it only imports. The reward's tokenizer needs a chat template.
The runner is the installed package, unchanged, but for `.to("cuda")`, which is read as "cpu" where there is no GPU. Exit code 0 when it has the
scores and the accuracy of `revealed`.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="disabled")
# f32 sums of two programs, in units of a calibrated score; a token more or less moves it by 0.1 and more.
TOLERANCE = 1e-3


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line.strip()]


def conversations(pairs, path):
    """Whole conversations, as the runner wants them."""
    rows = []
    for pair in pairs:
        prompt = pair["prompt"]
        turns = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        sides = {side: turns + [{"role": "assistant", "content": pair[side]}] for side in ("chosen", "rejected")}
        rows.append(json.dumps(sides) + "\n")
    path.write_text("".join(rows))


def runner(scratch):
    """Accuracy and raw scores by the runner, in a folder of its own since it writes beside the model."""
    from transformers import BatchEncoding

    import torch
    from rewardbench.rewardbench import Args, rewardbench

    if not torch.cuda.is_available():
        move = BatchEncoding.to
        BatchEncoding.to = lambda self, device, **more: move(self, "cpu" if device == "cuda" else device, **more)
    os.chdir(scratch)
    rewardbench(Args(model="reward", dataset="pairs.jsonl", load_json=True, not_quantized=True,
                     torch_dtype="float32", max_length=8192, batch_size=4, output_dir="results/"))
    rows = lines("results/reward_outputs.jsonl")
    return json.loads(Path("results/reward.json").read_text())["accuracy"], [[r["scores_chosen"], r["scores_rejected"]] for r in rows]


def flat(value):
    return value[0] if isinstance(value, list) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["revealed", "reward", "pairs"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    revealed, reward, pairs = (path.resolve() for path in (args.revealed, args.reward, args.pairs))
    for package in ["rewardbench", "transformers", "torch", "accelerate", "datasets", "fschat", "trl"]:
        print(package, importlib.metadata.version(package))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "reward").symlink_to(reward)
        conversations(lines(pairs), scratch / "pairs.jsonl")
        limits = ["--max-prompt-tokens", "4096", "--max-completion-tokens", "4096"]
        done = subprocess.run([revealed, "eval", "preferences", pairs, "--reward", reward, *limits, "--scores", scratch / "ours.jsonl"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        line = json.loads(done.stdout.splitlines()[0])
        scores = [row["reward"] for row in lines(scratch / "ours.jsonl")]
        calibration = json.loads((reward / "reward.json").read_text())["calibration"]
        print(f"revealed: accuracy {line['reward']['accuracy']} of {line['pairs']} pairs, {line['failed']} failed")
        accuracy, theirs = runner(scratch)
        theirs = [[(flat(s) - calibration["shift"]) / calibration["scale"] for s in pair] for pair in theirs]
        assert len(theirs) == len(scores)
        largest = max(abs(a - b) for one, other in zip(theirs, scores) for a, b in zip(one, other))
        turned = sum((a[0] > a[1]) != (b[0] > b[1]) for a, b in zip(theirs, scores))
        print(f"rewardbench: accuracy {accuracy}; scores differ by up to {largest:.2e}, {turned} pairs are ordered otherwise")
        good = largest < TOLERANCE and turned == 0 and abs(accuracy - line["reward"]["accuracy"]) < 1e-9
        sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
