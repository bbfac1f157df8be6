"""Golden values for the shortcut audit of the crate `revealed-reward`.

    pip install numpy==2.4.6 scikit-learn==1.9.1
    python make.py

Writes `expected.json` beside this file: random prompts with a demonstration and samples (token ids, terminator 2, scores),
and what the audit has to find in them. From these sources:

- AUC: `sklearn.metrics.roc_auc_score`;
- probes: `sklearn.linear_model.LogisticRegression` on every pair in both orders, without intercept; C = 1/2, since both orders double
  the loss of the formula;
- correlations: residuals of a least-squares regression on prompt dummies, then `numpy.corrcoef`;
- calibration error: a loop over 20 bins of [0, 1] on every pair in both orders;
- the rest: plain loops written from the definitions.
"""

import json
import math
import pathlib
import platform
from collections import Counter

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

RNG = np.random.default_rng(7)
TERMINATOR, MARKS, VOCABULARY = 2, [11, 13], 40
LOGIT_SCALE = 1.25


def completion(expert):
    """Experts are longer, end more often and favour other words; policies sometimes loop."""
    length = int(RNG.integers(8, 22) if expert else RNG.integers(4, 20))
    tokens = [int(10 + (VOCABULARY - 10) * u ** (1.0 if expert else 1.4)) for u in RNG.random(length)]
    if not expert and RNG.random() < 0.2:
        tokens += tokens[-5:]
    terminated = bool(RNG.random() < (0.95 if expert else 0.6))
    return tokens + [TERMINATOR] * terminated, terminated


def scored(expert, offset):
    tokens, terminated = completion(expert)
    # One decimal, so that some scores tie.
    score = 0.6 * expert + 0.05 * len(tokens) + 0.4 * terminated + 0.7 * RNG.normal() + offset
    return {"tokens": tokens, "terminated": terminated, "score": round(score, 1)}


def groups(prompts):
    made = []
    for index in range(prompts):
        offset = RNG.normal()
        samples = 0 if index == 5 else int(RNG.integers(1, 5))
        made.append({"demonstration": scored(True, offset), "samples": [scored(False, offset) for _ in range(samples)]})
    return made


def pairs(of):
    return [(g["demonstration"], s) for g in of for s in g["samples"]]


def fit(differences, C=0.5):
    """Weights of both orders' logistic regression with ridge 1/2 |w|^2."""
    x = np.array(differences, dtype=np.float64)
    x, y = np.concatenate([x, -x]), np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    model = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    return model.fit(x, y).coef_[0]


def length_probe(lengths):
    differences = np.array([d - s for d, s in lengths], dtype=np.float64)
    rms = math.sqrt((differences**2).mean())
    return {"weight": float(fit(differences[:, None] / rms)[0] / rms), "mean": float(np.array(lengths).mean())}


def bag(tokens, columns):
    counts = Counter(tokens)
    return np.array([math.log(1 + counts[c]) for c in columns])


def accuracy(margins):
    for m in margins:
        assert abs(m) < 1e-9 or abs(m) > 1e-5, "too close to a tie to compare"
    return float(np.mean([0.5 if abs(m) < 1e-9 else float(m > 0) for m in margins])) if len(margins) else None


def calibration_error(logits):
    p = 1 / (1 + np.exp(-np.array(logits)))
    p, label = np.concatenate([p, 1 - p]), np.concatenate([np.ones(len(p)), np.zeros(len(p))])
    total = 0.0
    for b in range(20):
        inside = (p >= b / 20) & ((p < (b + 1) / 20) | (b == 19))
        if inside.any():
            total += inside.sum() / len(p) * abs(label[inside].mean() - p[inside].mean())
    return float(total)


def repetition(tokens):
    grams = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
    repeats = sum(gram in grams[:i] for i, gram in enumerate(grams))
    return repeats / len(grams) if grams else 0.0


def partial_correlation(of, feature):
    of = [g for g in of if g["samples"]]
    x = np.array([feature(s) for g in of for s in g["samples"]], dtype=np.float64)
    y = np.array([s["score"] for g in of for s in g["samples"]])
    dummies = np.zeros((len(x), len(of)))
    owner = [i for i, g in enumerate(of) for _ in g["samples"]]
    dummies[np.arange(len(x)), owner] = 1
    residual = lambda v: v - dummies @ np.linalg.lstsq(dummies, v, rcond=None)[0]
    return float(np.corrcoef(residual(x), residual(y))[0, 1])


def audit(train, held_out):
    fitted, held = pairs(train), pairs(held_out)
    margins = [d["score"] - s["score"] for d, s in held]
    length = length_probe([(len(d["tokens"]), len(s["tokens"])) for d, s in fitted])
    columns = sorted({t for pair in fitted for side in pair for t in side["tokens"]})
    weights = fit([bag(d["tokens"], columns) - bag(s["tokens"], columns) for d, s in fitted])
    by_bag = [float(weights @ (bag(d["tokens"], columns) - bag(s["tokens"], columns))) for d, s in held]
    sizes = [(len(d["tokens"]), len(s["tokens"])) for d, s in held]
    matched = [abs(a - b) <= 1 or abs(a - b) / max(a, b) <= 0.1 for a, b in sizes]
    owners = [i for i, g in enumerate(held_out) for _ in g["samples"]]
    hard = [logit < 1e-9 for logit in by_bag]
    with_samples = [g for g in held_out if g["samples"]]
    labels = [1] * len(with_samples) + [0] * len(held)
    scores = [g["demonstration"]["score"] for g in with_samples] + [s["score"] for _, s in held]
    only = lambda keep: [m for m, k in zip(margins, keep) if k]
    return {
        "prompts": len(with_samples),
        "pairs": len(held),
        "accuracy": accuracy(margins),
        "auc": float(roc_auc_score(labels, scores)),
        "ece": calibration_error([LOGIT_SCALE * m for m in margins]),
        "length_accuracy": accuracy([length["weight"] * (a - b) for a, b in sizes]),
        "bag_accuracy": accuracy(by_bag),
        "length_matched_prompts": len({o for o, m in zip(owners, matched) if m}),
        "length_matched_pairs": sum(matched),
        "length_matched_accuracy": accuracy(only(matched)),
        "bag_hard_pairs": sum(hard),
        "bag_hard_accuracy": accuracy(only(hard)),
        "length_correlation": partial_correlation(held_out, lambda s: len(s["tokens"])),
        "terminated_correlation": partial_correlation(held_out, lambda s: s["terminated"]),
        "repetition_correlation": partial_correlation(held_out, lambda s: repetition(s["tokens"])),
        "marks_correlation": partial_correlation(
            held_out, lambda s: sum(t in MARKS for t in s["tokens"]) / len(s["tokens"])
        ),
    }, length, {str(c): float(w) for c, w in zip(columns, weights)}


def main():
    train, held_out = groups(30), groups(40)
    figures, length, weights = audit(train, held_out)
    # More columns than rows, badly scaled; and lengths that separate.
    rows = [[float(RNG.integers(-2, 3)) * 10.0 ** (c % 4 - 1) for c in range(12)] for _ in range(8)]
    always_longer = [(int(n + m), int(n)) for n, m in zip(RNG.integers(1, 50, 20), RNG.integers(1, 9, 20))]
    expected = {
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "marks": MARKS,
        "logit_scale": LOGIT_SCALE,
        "train": train,
        "held_out": held_out,
        "audit": figures,
        "length_probe": length,
        "bag_weights": weights,
        "logistic": {"rows": rows, "weights": fit(rows).tolist()},
        "always_longer": {"lengths": always_longer, **length_probe(always_longer)},
    }
    path = pathlib.Path(__file__).with_name("expected.json")
    path.write_text(json.dumps(expected, separators=(",", ":")).replace('"held_out"', '\n"held_out"') + "\n")
    print(json.dumps(figures, indent=1), length, expected["always_longer"]["weight"])


main()
