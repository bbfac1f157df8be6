"""Writes expected.json: the tokens that Transformers' logits warpers keep, and their probabilities.

    python golden/sampling/make.py [OUT_DIR]

The warpers run in the order of `GenerationMixin._get_logits_processor`: temperature, top-k, top-p, min-p.
"""

import json
import pathlib
import sys

import torch
import transformers
from transformers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

LOGITS = {
    "peaked": [4.0, 1.5, 3.25, -2.0, 0.5, 2.75, -0.25, 1.0, -4.5, 2.0, 0.0, -1.0],
    "flat": [0.10, 0.05, 0.30, 0.20, -0.05, 0.00, 0.25, -0.10, 0.15, -0.15, 0.35, -0.20],
}
# temperature, top_k, top_p, min_p; 0 and 1.0 switch off, as in revealed's SamplingConfig
SETTINGS = [
    (1.0, 0, 1.0, 0.0),
    (0.7, 0, 1.0, 0.0),
    (1.0, 3, 1.0, 0.0),
    (1.0, 1, 1.0, 0.0),
    (1.0, 50, 1.0, 0.0),
    (1.0, 0, 0.9, 0.0),
    (2.0, 0, 0.5, 0.0),
    (1.0, 0, 0.01, 0.0),
    (1.0, 0, 1.0, 0.1),
    (0.5, 0, 1.0, 0.3),
    (1.0, 5, 0.8, 0.0),
    (1.3, 6, 0.9, 0.2),
    (1.0, 4, 0.6, 0.05),
]


def warp(logits, temperature, top_k, top_p, min_p):
    scores, ids = torch.tensor([logits]), torch.zeros(1, 1, dtype=torch.long)
    warpers = [TemperatureLogitsWarper(temperature)]
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p > 0.0:
        warpers.append(MinPLogitsWarper(min_p))
    for warper in warpers:
        scores = warper(ids, scores)
    return scores[0].double().softmax(-1).tolist()


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    torch.set_num_threads(1)
    cases = []
    for name, logits in LOGITS.items():
        for temperature, top_k, top_p, min_p in SETTINGS:
            probs = warp(logits, temperature, top_k, top_p, min_p)
            cases.append(
                {
                    "logits": name,
                    "temperature": temperature,
                    "top_k": top_k,
                    "top_p": top_p,
                    "min_p": min_p,
                    "probs": [round(p, 8) for p in probs],
                }
            )
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    lines = ",\n".join(json.dumps(case) for case in cases)
    (out / "expected.json").write_text(
        f'{{"versions": {json.dumps(versions)},\n"logits": {json.dumps(LOGITS)},\n"cases": [\n{lines}\n]}}\n'
    )


main()
