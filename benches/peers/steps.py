#!/usr/bin/env python3
"""Training steps and log-probs in PyTorch with Transformers and PEFT, on the workloads of `stages`, one JSON object a stage.

steps.py MODEL [--stage sft reward log-probs] [--lora 0] [--batch 8] [--prompt 64] [--completion 64] [--steps 3] [--threads 2]
         [--device cpu] [--dtype float32]

sft: the model's own loss with the prompts' labels masked, backward, clipping, AdamW. reward: a sequence classifier on pairs, -log sigmoid of the margin, both
sides of a pair in one batch. log-probs: those of the completions, without gradient. Rows are random tokens of full length. --dtype
bfloat16 holds the whole model in bfloat16, which is less than mixed precision. Seconds are the median after one step that is not timed.
Run with torch 2.9.0, transformers 5.23 and peft 0.21.2.
"""
import argparse, json, resource, statistics, time

import torch
import transformers
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--stage", nargs="+", default=["sft", "reward", "log-probs"])
for name, default in dict(lora=0, batch=8, prompt=64, completion=64, steps=3, threads=2).items():
    parser.add_argument(f"--{name}", type=int, default=default)
parser.add_argument("--device", default="cpu")
parser.add_argument("--dtype", default="float32")
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
cuda = args.device.startswith("cuda")


def load(stage):
    kind, task = (AutoModelForSequenceClassification, "SEQ_CLS") if stage == "reward" else (AutoModelForCausalLM, "CAUSAL_LM")
    model = kind.from_pretrained(args.model, dtype=getattr(torch, args.dtype), **(dict(num_labels=1) if stage == "reward" else {}))
    if stage == "reward":
        model.config.pad_token_id = 0
    if args.lora:
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=args.lora, lora_alpha=2 * args.lora, target_modules="all-linear", task_type=task))
    return model.to(args.device)


def work(stage, model):
    """A step, and the tokens that go through it."""
    rows = args.batch * (2 if stage == "reward" else 1)
    ids = torch.randint(5, model.config.vocab_size, (rows, args.prompt + args.completion)).to(args.device)
    mask = torch.ones_like(ids)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def learn(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def sft():
        labels = ids.clone()
        labels[:, : args.prompt] = -100
        learn(model(input_ids=ids, attention_mask=mask, labels=labels).loss)

    def reward():
        scores = model(input_ids=ids, attention_mask=mask).logits[:, 0].float()
        learn(-functional.logsigmoid(scores[: args.batch] - scores[args.batch :]).mean())

    def log_probs():
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, args.prompt - 1 : -1].float()
            torch.log_softmax(logits, -1).gather(-1, ids[:, args.prompt :, None])

    return {"sft": sft, "reward": reward, "log-probs": log_probs}[stage], ids.numel()


def timed(step):
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


for stage in args.stage:
    model = load(stage)
    model = model.eval() if stage == "log-probs" else model.train()
    step, tokens = work(stage, model)
    step()
    seconds = statistics.median(timed(step) for _ in range(args.steps))
    device = dict(peak_gpu_mib=torch.cuda.max_memory_allocated() // 2**20) if cuda else {}
    print(json.dumps({
        "stage": stage, "seconds": round(seconds, 4), "tokens_per_second": round(tokens / seconds, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, **device,
        **{key: value for key, value in vars(args).items() if key not in ("model", "stage", "steps")},
        "torch": torch.__version__, "transformers": transformers.__version__,
    }), flush=True)
