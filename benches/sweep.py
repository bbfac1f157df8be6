#!/usr/bin/env python3
"""How time and memory grow: the bench `stages` over batch, length and rounds, drawn as one picture.

    cargo bench -p revealed --bench stages --no-run
    sweep.py TARGET/release/deps/stages-… MODEL SMALL_MODEL DEMONSTRATIONS.jsonl OUT.svg

MODEL is measured over batch and length, in one process a point (two steps after one that is not timed); SMALL_MODEL runs the rounds,
whose pool of pairs grows with every one. All lines go to standard output as JSON. Needs matplotlib.
"""
import json, subprocess, sys

import matplotlib
matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "revealed", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt

binary, model, small, data, out = sys.argv[1:]


def run(*options):
    done = subprocess.run([binary, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    print(done.stdout, end="", flush=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def point(stage, batch, completion, prompt=64):
    line, = run(model, "--stage", stage, "--lora", 16, "--steps", 2, "--batch", batch, "--prompt", prompt, "--completion", completion)
    return line


stages = ("sft", "log-probs", "generate")
batches = {stage: [point(stage, batch, 64) for batch in (1, 2, 4, 8, 16, 32)] for stage in stages}
lengths = {stage: [point(stage, 2, length) for length in (64, 128, 256, 512, 960)] for stage in stages}
lines = run(small, "--stage", "round", "--data", data, "--batch", 64, "--steps", 3, "--lora", 16, "--rounds", 50)
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
figure.savefig(out, metadata={"Date": None})
