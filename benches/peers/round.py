#!/usr/bin/env python3
"""A round of the loop as TRL's users would put it together, phase by phase, one JSON object each.

round.py MODEL DEMONSTRATIONS.jsonl [--batch 64] [--steps 3] [--lora 16] [--prompt 64] [--completion 64] [--threads 2]
         [--micro-batch 16]

The workload of `stages --stage round`: two completions of every prompt by the initial model (Transformers' generate); RewardTrainer on
pairs of demonstration and completion, --steps steps of 16 pairs; RLOOTrainer against that reward, --steps steps of --batch
completions, 4 a prompt, one update each from gradients of --micro-batch completions at a time. LoRA on all linear layers, f32, no gradient checkpointing. Rows of `prompt` and `completion`
or of two `messages` are read; prompts and completions are cut to their bounds in tokens, 8 rows are left out.
Run with torch 2.9.0, transformers 5.23, peft 0.21.2 and trl 1.16.
"""
import argparse, json, resource, tempfile, time

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("data")
for name, default in dict(batch=64, steps=3, lora=16, prompt=64, completion=64, threads=2).items():
    parser.add_argument(f"--{name}", type=int, default=default)
parser.add_argument("--micro-batch", type=int, default=16)
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(args.model)
# The filler must not be the terminator, or no completion would keep its end.
tokenizer.pad_token = next(t for t in tokenizer.get_vocab() if tokenizer.convert_tokens_to_ids(t) == 1)
tokenizer.padding_side = "left"
common = dict(output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=args.steps,
              report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True)


def cut(text, tokens):
    return tokenizer.decode(tokenizer(text).input_ids[:tokens])


rows = []
for line in open(args.data):
    row = json.loads(line)
    prompt, completion = (row["prompt"], row["completion"]) if "prompt" in row else [m["content"] for m in row["messages"][-2:]]
    rows.append((cut(prompt + "\n", args.prompt), cut(completion, args.completion)))
rows = rows[: args.batch][:-8]
prompts = [prompt for prompt, _ in rows]


def lora(task):
    return LoraConfig(r=args.lora, lora_alpha=2 * args.lora, target_modules="all-linear", task_type=task)


def sample():
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.no_grad():
        ids = model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=args.completion,
                             num_return_sequences=2, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def fit(completions):
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    pairs = Dataset.from_list([{"chosen": p + d, "rejected": p + c} for i, (p, d) in enumerate(rows) for c in completions[2 * i : 2 * i + 2]])
    config = RewardConfig(per_device_train_batch_size=16, max_length=args.prompt + args.completion, **common)
    trainer = RewardTrainer(model, config, train_dataset=pairs, processing_class=tokenizer, peft_config=lora("SEQ_CLS"))
    trainer.train()
    return trainer.model


def improve(reward):
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    config = RLOOConfig(per_device_train_batch_size=args.micro_batch, num_generations=4,
                        gradient_accumulation_steps=args.batch // args.micro_batch, max_completion_length=args.completion, beta=0.05,
                        temperature=1.0, top_k=0, **common)
    reward = reward.merge_and_unload().eval()
    RLOOTrainer(model, reward, config, train_dataset=Dataset.from_list([{"prompt": p} for p in prompts]),
                processing_class=tokenizer, reward_processing_classes=tokenizer, peft_config=lora("CAUSAL_LM")).train()


total, given = 0.0, ()
for phase, work in dict(sample=sample, fit=fit, improve=improve).items():
    start = time.perf_counter()
    result = work(*given)
    seconds = time.perf_counter() - start
    given, total = (result,), total + seconds
    print(json.dumps({"stage": f"round {phase}", "seconds": round(seconds, 2)}), flush=True)
print(json.dumps({"stage": "round", "seconds": round(total, 2), "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                  **{key: value for key, value in vars(args).items() if key not in ("model", "data")}}))
