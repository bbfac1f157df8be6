#!/usr/bin/env python3
"""How time and memory grow: the bench `stages` over batch, length and rounds, drawn as one picture.

    cargo bench -p revealed --bench stages --no-run
    sweep.py TARGET/release/deps/stages-… MODEL SMALL_MODEL DEMONSTRATIONS.jsonl OUT

MODEL is measured over batch and length, in one process a point (two steps after one that is not timed); SMALL_MODEL runs the rounds,
whose pool of pairs grows with every one, and so does the number of rewards that are averaged. Writes OUT.jsonl, a line a process, and
OUT.svg; points that OUT.jsonl has already are not measured again. Needs matplotlib.
"""
import json, os, subprocess, sys

import matplotlib
matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "revealed", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt

binary, model, small, data, out = sys.argv[1:]


known = {}
if os.path.exists(f"{out}.jsonl"):
    known = {line["options"]: line["lines"] for line in map(json.loads, open(f"{out}.jsonl"))}


def run(folder, options, *more):
    if options not in known:
        done = subprocess.run([binary, folder, *options.split(), *more], stdout=subprocess.PIPE, text=True, check=True)
        known[options] = [json.loads(line) for line in done.stdout.splitlines()]
        with open(f"{out}.jsonl", "a") as file:
            print(json.dumps({"options": options, "lines": known[options]}), file=file)
    return known[options]


def point(stage, batch, completion):
    return run(model, f"--stage {stage} --lora 16 --steps 2 --batch {batch} --prompt 64 --completion {completion}")[0]


stages = ("sft", "log-probs", "generate")
batches = {stage: [point(stage, batch, 64) for batch in (1, 2, 4, 8, 16, 32)] for stage in stages}
lengths = {stage: [point(stage, 2, length) for length in (64, 128, 256, 512, 960)] for stage in stages}
lines = run(small, "--stage round --batch 16 --steps 2 --lora 16 --rounds 50", "--data", data)
rounds = {}
for line in lines[:-1]:
    _, number, _ = line["stage"].split()
    seconds, _ = rounds.get(int(number), (0, 0))
    rounds[int(number)] = (seconds + line["seconds"], line["rss_mib"])

figure, axes = plt.subplots(2, 3, figsize=(11, 6))
for column, (title, label, groups, x) in enumerate([
    ("Rows of 64 + 64 tokens", "rows", batches, lambda line: line["batch"]),
    ("Two rows, 64 + n tokens", "n", lengths, lambda line: line["completion"]),
]):
    for stage, points in groups.items():
        axes[0][column].plot([x(p) for p in points], [p["seconds"] for p in points], "o-", label=stage)
        axes[1][column].plot([x(p) for p in points], [p["peak_rss_mib"] / 1024 for p in points], "o-", label=stage)
    axes[0][column].set(title=title, xlabel=label, ylabel="seconds a step", ylim=0)
    axes[1][column].set(xlabel=label, ylabel="peak memory, GiB", ylim=0)
    axes[0][column].legend(frameon=False)
axes[0][2].plot(list(rounds), [seconds for seconds, _ in rounds.values()])
axes[0][2].set(title="50 rounds of a small model", xlabel="round", ylabel="seconds a round", ylim=0)
axes[1][2].plot(list(rounds), [rss for _, rss in rounds.values()])
axes[1][2].set(xlabel="round", ylabel="resident memory at its end, MiB", ylim=0)
figure.tight_layout()
figure.savefig(f"{out}.svg", metadata={"Date": None})
