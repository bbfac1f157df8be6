#!/usr/bin/env python3
"""Sampling by Transformers' generate on the workload of `stages --stage generate`, as one JSON object.

generate.py MODEL [--batch 64] [--prompt 64] [--completion 64] [--group 1] [--ragged] [--steps 1] [--threads 2]

Rows begin with random tokens; --group adjacent rows share their prompt. With --ragged any token whose id is a multiple of 50 ends a
row, as there. Tokens are counted up to and with the one that ends a row.
Run with torch 2.9.0 and transformers 5.23.
"""
import argparse, json, resource, statistics, time

import torch
import transformers
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("model")
for name, default in dict(batch=64, prompt=64, completion=64, group=1, steps=1, threads=2).items():
    parser.add_argument(f"--{name}", type=int, default=default)
parser.add_argument("--ragged", action="store_true")
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
vocab = model.config.vocab_size
stops = torch.arange(0, vocab, 50)
prompts = torch.randint(5, vocab, (args.batch // args.group, args.prompt)).repeat_interleave(args.group, 0)


def step():
    how = dict(eos_token_id=stops.tolist()) if args.ragged else dict(min_new_tokens=args.completion)
    with torch.no_grad():
        ids = model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), do_sample=True, temperature=1.0, top_k=0,
                             max_new_tokens=args.completion, pad_token_id=1, **how)[:, args.prompt:]
    if not args.ragged:
        return ids.numel()
    ended = torch.isin(ids, stops)
    length = torch.where(ended.any(1), ended.int().argmax(1) + 1, ids.shape[1])
    return int(length.sum())


step()
seconds, tokens = [], []
for _ in range(args.steps):
    start = time.perf_counter()
    tokens.append(step())
    seconds.append(time.perf_counter() - start)
print(json.dumps({
    "stage": "generate", "seconds": round(statistics.median(seconds), 4), "tokens_per_second": round(sum(tokens) / sum(seconds), 1),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **vars(args), "torch": torch.__version__,
    "transformers": transformers.__version__,
}))
