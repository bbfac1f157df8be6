#!/usr/bin/env python3
"""A step of PPO as TRL's users would run it, as one JSON object.

ppo.py MODEL [DEMONSTRATIONS.jsonl] [--batch 8] [--steps 3] [--lora 16] [--prompt 64] [--completion 64] [--threads 2]

--steps steps of PPOTrainer, one update of --batch completions each, f32, no gradient checkpointing. LoRA on all linear layers of the
policy, whose reference is itself without adapters; reward and value models are full copies of the folder with fresh heads, and the
value model trains in full, as in TRL's own example. Prompts are random tokens, or those of rows of `prompt` and `completion` or of two
`messages`, cut to --prompt tokens and padded to the longest of their batch. No completion ends before --completion tokens. Seconds are
the median of all steps but the first.
Run with torch 2.9.0, transformers 5.23, peft 0.21.2 and trl 1.12, the last with a PPOTrainer.
"""
import argparse, contextlib, json, resource, statistics, sys, tempfile, time

import peft
import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("data", nargs="?")
for name, default in dict(batch=8, steps=3, lora=16, prompt=64, completion=64, threads=2).items():
    parser.add_argument(f"--{name}", type=int, default=default)
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(args.model)
# The filler must not be the terminator, or no completion would keep its end.
tokenizer.pad_token = next(t for t in tokenizer.get_vocab() if tokenizer.convert_tokens_to_ids(t) == 1)
tokenizer.padding_side = "left"

rows = args.batch * args.steps
if args.data:
    prompts = []
    for line in open(args.data):
        row = json.loads(line)
        prompt = row["prompt"] if "prompt" in row else row["messages"][-2]["content"]
        prompts.append(tokenizer(prompt + "\n").input_ids[: args.prompt])
    prompts = prompts[:rows]
else:
    prompts = torch.randint(5, len(tokenizer), (rows, args.prompt)).tolist()


class Clock(TrainerCallback):
    def __init__(self):
        self.times = []

    def on_train_begin(self, *_, **__):
        self.times.append(time.perf_counter())

    on_step_end = on_train_begin


def scorer():
    return AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=1, dtype=torch.float32)


config = PPOConfig(
    output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", save_strategy="no",
    disable_tqdm=True, per_device_train_batch_size=args.batch, local_rollout_forward_batch_size=args.batch, num_mini_batches=1,
    num_ppo_epochs=1, total_episodes=rows, num_sample_generations=0, response_length=args.completion, temperature=1.0,
)
clock = Clock()
# The trainer's own lines leave by stderr.
with contextlib.redirect_stdout(sys.stderr):
    PPOTrainer(
        config, tokenizer, AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), None, scorer(),
        Dataset.from_dict({"input_ids": prompts}), scorer(), callbacks=[clock],
        peft_config=peft.LoraConfig(r=args.lora, lora_alpha=2 * args.lora, target_modules="all-linear", task_type="CAUSAL_LM"),
    ).train()
seconds = [end - start for start, end in zip(clock.times, clock.times[1:])]
print(json.dumps({
    "stage": "ppo", "seconds": round(statistics.median(seconds[1:] or seconds), 2),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    **{key: value for key, value in vars(args).items() if key not in ("model", "data")}, "torch": torch.__version__,
    "transformers": transformers.__version__, "peft": peft.__version__, "trl": trl.__version__,
}))
