"""Golden values for the reward benchmarks of the crate `revealed-eval`.

    pip install numpy==2.4.6 pandas==3.1.1 datasets==5.2.0
    pip install --no-deps rewardbench==0.1.4
    python make.py

Writes `expected.json` beside this file: invented scores of invented questions, and what the benchmarks make of them.

- RewardBench and RewardBench 2: the functions of the published package `rewardbench` themselves, run from its installed source without the
  model stack that importing the package asks for (its module is parsed and only these functions are executed):
  `calculate_scores_per_section`, `reroll_and_score_dataset`, `process_single_model`; the tables of `rewardbench.constants`. The leaderboard's
  score of RewardBench is the weighted mean of `get_average_over_rewardbench` in the same package's `analysis`, run in the same way.
- RM-Bench is in no package: written anew in numpy from the formulas in its authors' README and paper.
"""

import ast
import importlib.metadata
import json
import math
import pathlib
import platform
from typing import List

import datasets
import numpy as np
import pandas as pd
from datasets import Dataset

datasets.disable_progress_bars()
RNG = np.random.default_rng(11)
PACKAGE = importlib.metadata.distribution("rewardbench")


def functions(path, names):
    """The named functions of a module of the package, without running its imports."""
    text = pathlib.Path(PACKAGE.locate_file(path)).read_text()
    scope = {"np": np, "pd": pd, "math": math, "Dataset": Dataset, "List": List}
    chosen = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name in names]
    assert len(chosen) == len(names)
    exec(compile(ast.Module(chosen, []), path, "exec"), scope)
    return scope


CONSTANTS = {}
exec(pathlib.Path(PACKAGE.locate_file("rewardbench/constants.py")).read_text(), CONSTANTS)
UTILS = functions(
    "rewardbench/utils.py",
    ["calculate_scores_per_section", "reroll_and_score_dataset", "sample_stats", "process_single_model"],
)
AVERAGE = functions("analysis/get_benchmark_results.py", ["get_average_over_rewardbench"])
AVERAGE |= CONSTANTS
# The function reads these as its module's globals.
AVERAGE["get_average_over_rewardbench"].__globals__.update(CONSTANTS)

COUNTS, SECTIONS = CONSTANTS["EXAMPLE_COUNTS"], CONSTANTS["SUBSET_MAPPING"]
PRIOR = ["anthropic_helpful", "anthropic_hhh", "shp", "summarize"]


def drawn(size, right):
    """Scores in tenths, so that some tie."""
    return [round(float(x), 1) for x in RNG.normal(0.6 * right, 0.8, size)]


def figure(name, subset, value):
    return {"name": name, "subset": subset, "value": float(value)}


def rewardbench(subsets, priors):
    rows, credits, accuracy = [], [], {}
    for subset in subsets + priors:
        size = int(RNG.integers(2, 9))
        results = []
        for index in range(size):
            chosen, rejected = drawn(1, True), drawn(1, False)
            results.append(1 if chosen[0] > rejected[0] else 0)
            rows.append({"id": f"{subset}/{index}", "subset": subset, "chosen": chosen, "rejected": rejected})
        accuracy[subset] = sum(results) / len(results)
        credits += results
    figures = [figure("accuracy", name, value) for name, value in accuracy.items()]
    sections = UTILS["calculate_scores_per_section"](COUNTS, SECTIONS, accuracy)
    present = {name for name, tests in SECTIONS.items() if any(test in subsets for test in tests)}
    figures += [figure("section", name, value) for name, value in sections.items() if name in present]
    if len(subsets) == len(COUNTS):
        frame = pd.DataFrame([{"model": "m", "model_type": "t"} | {s: accuracy[s] for s in subsets}])
        # Without prior sets the model is absent from their table.
        other = {"model": "m" if priors else "other"} | {s: accuracy.get(s, 0.5) for s in PRIOR}
        if priors:
            other |= {s: accuracy.get(s, float("nan")) for s in PRIOR}
        table = AVERAGE["get_average_over_rewardbench"](frame, pd.DataFrame([other]))
        figures.append(figure("score", None, table["average"][0]))
        if priors:
            figures.append(figure("section", "Prior Sets", table["Prior Sets (0.5 weight)"][0]))
    return {"benchmark": "rewardbench", "rows": rows, "figures": figures, "credits": credits}


def rewardbench2(ties):
    rows, credits = [], []
    for subset in ["Factuality", "Precise IF", "Math", "Safety", "Focus"]:
        for index in range(int(RNG.integers(3, 8))):
            rows.append({"id": f"{subset}-{index}", "subset": subset, "chosen": drawn(1, True), "rejected": drawn(3, False)})
    rows += ties
    figures, scores = [], []
    for subset in ["Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties"]:
        chosen = [r for r in rows if r["subset"] == subset]
        flat = [
            {"id": r["id"], "text": "", "scores": s, "num_correct": len(r["chosen"])}
            for r in chosen
            for s in r["chosen"] + r["rejected"]
        ]
        counts = [len(r["chosen"]) + len(r["rejected"]) for r in chosen]
        rolled = UTILS["reroll_and_score_dataset"](Dataset.from_list(flat), counts)
        if subset == "Ties":
            _, value = UTILS["process_single_model"](rolled)
            credits += [float(min(r["chosen"]) > max(r["rejected"])) for r in chosen]
        else:
            value = sum(rolled["results"]) / len(rolled["results"])
            credits += rolled["results"]
        scores.append(value)
        figures.append(figure("accuracy", subset, value))
    figures.append(figure("score", None, np.mean(scores)))
    return {"benchmark": "rewardbench2", "rows": rows, "figures": figures, "credits": credits}


def ties(prompts, lift):
    rows = []
    for index in range(prompts):
        right = int(RNG.integers(2, 6))
        chosen = [round(x + lift, 1) for x in drawn(right, True)]
        if index == 0:
            chosen = [chosen[0]] * right  # no spread
        if index == 1:
            chosen = chosen[:1]  # one right answer only
        rows.append({"id": f"tied:{index}", "subset": "Ties", "chosen": chosen, "rejected": drawn(4, False)})
        if index != 2:  # a tied question without its reference
            rows.append({"id": f"ref:{index}", "subset": "Ties", "chosen": [round(drawn(1, True)[0] + lift, 1)], "rejected": drawn(4, False)})
    rows.append({"id": "ref:90", "subset": "Ties", "chosen": drawn(1, True), "rejected": drawn(4, False)})
    return rows


def rm_bench(domains):
    rows, credits, levels = [], [], {}
    styles = ["concise", "detailed", "markdown"]
    for domain in domains:
        for index in range(int(RNG.integers(3, 9))):
            bonus = np.array([0.0, 0.4, 0.8])  # fancier answers score higher
            chosen = [round(float(x), 1) for x in np.array(drawn(3, True)) + bonus]
            rejected = [round(float(x), 1) for x in np.array(drawn(3, False)) + bonus]
            rows.append({"id": f"{domain}/{index}", "subset": domain, "chosen": chosen, "rejected": rejected})
            credits.append(float(np.mean([[c > r for r in rejected] for c in chosen])))
    for domain in ["chat", "math", "code", "safety"]:
        own = [r for r in rows if r["subset"].startswith(domain)]
        if not own:
            continue
        cells = np.mean([[[c > r for r in row["rejected"]] for c in row["chosen"]] for row in own], axis=0)
        upper, lower = np.triu_indices(3, 1), np.tril_indices(3, -1)
        level = {"hard": cells[upper].mean(), "normal": np.diag(cells).mean(), "easy": cells[lower].mean()}
        level["average"] = np.mean(list(level.values()))
        level |= {f"{styles[i]}>{styles[j]}": cells[i, j] for i in range(3) for j in range(3)}
        levels[domain] = level
    figures = [figure(name, domain, v) for domain, level in levels.items() for name, v in level.items()]
    if len(levels) == 4:
        for name in next(iter(levels.values())):
            figures.append(figure(name, None, np.mean([level[name] for level in levels.values()])))
    return {"benchmark": "rm_bench", "rows": rows, "figures": figures, "credits": credits}


def main():
    core = list(COUNTS)
    cases = [
        rewardbench(core, []),
        rewardbench(core, PRIOR),
        rewardbench(core, PRIOR[:2]),
        rewardbench(["hep-go", "math-prm", "donotanswer"], []),
        rewardbench2(ties(9, 0.0)),
        rewardbench2(ties(9, 1.5)),
        rewardbench2(ties(12, 3.0)),
        rm_bench(["chat", "math", "code", "safety-refuse", "safety-response"]),
        rm_bench(["code", "safety-response"]),
    ]
    versions = {name: importlib.metadata.version(name) for name in ["rewardbench", "numpy", "pandas", "datasets"]}
    weights = {section: {test: COUNTS[test] for test in tests} for section, tests in SECTIONS.items()}
    out = {"versions": {"python": platform.python_version()} | versions, "weights": weights, "cases": cases}
    path = pathlib.Path(__file__).with_name("expected.json")
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


main()
