"""Checks the text side of what a run writes with Transformers and PEFT: terminator, pad token, chat template, tokenizer.

    python check_text.py REVEALED [CASE ...]

REVEALED is the program. For each case the script makes a small base folder (random weights, invented words), trains on it with
`revealed align` in full and with LoRA, merges the adapter, and loads every written folder with the libraries. Exit code 0 when in all
of them

- AutoTokenizer gives the ids that were trained, by its chat template where there was one,
- `generate` with the folder's generation config ends at the trained terminator,
- the other settings of the base's generation config and tokenizer config are still there,
- a reward pads with a token that no row ends in, and scores a padded batch as single rows.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NAMED_EOS = CHATML.replace("{% for", "{{ eos_token }}{% for", 1)
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"]
UNK, BOS, EOS, START, END, PAD = range(6)
WORDS = ["sun", "rain", "wind", "snow", "fog", "hail", "frost", "dew"]
# One answer for all, so that held-out rows are learned too.
ANSWER = " fine, then"
GENERATION = {"bos_token_id": BOS, "eos_token_id": EOS, "max_new_tokens": 60, "repetition_penalty": 1.0, "top_k": 7}
CONFIG = {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "<pad>",
          "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
          "model_max_length": 1000000000000000019884624838656}

# Files of each base, settings of its run, whether the template writes eos_token by name.
CASES = {
    "chain": dict(config={**CONFIG, "chat_template": CHATML}, generation=GENERATION),
    "stop-ids": dict(
        config={**{k: v for k, v in CONFIG.items() if k != "pad_token"}, "eos_token": "</s>", "chat_template": CHATML},
        generation={**GENERATION, "eos_token_id": [EOS, END]},
        map={"eos_token": {"content": "</s>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False},
             "bos_token": "<s>", "unk_token": "<unk>"},
    ),
    "template-file": dict(config=CONFIG, generation=GENERATION, file=CHATML),
    "another-template": dict(config={**CONFIG, "chat_template": "{{ messages }}"}, generation=GENERATION, jinja="{{ bos_token }}", file=CHATML),
    "template-none": dict(config={**CONFIG, "chat_template": CHATML}, generation=GENERATION, jinja=CHATML, template="none"),
    "no-generation-config": dict(config={**CONFIG, "chat_template": CHATML}, model={"eos_token_id": [EOS, END]}),
    "eos-by-name": dict(config={**CONFIG, "eos_token": "</s>", "chat_template": NAMED_EOS}, generation={**GENERATION, "eos_token_id": [EOS, END]}),
    "pad-is-eos": dict(
        config={**CONFIG, "pad_token": "<|im_end|>", "chat_template": CHATML, "extra_special_tokens": {"start_token": "<|im_start|>"},
                "added_tokens_decoder": {str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                                                  "special": True} for i, t in enumerate(SPECIALS)}},
        generation={**GENERATION, "pad_token_id": END}, shards="20KB",
    ),
}

RECIPE = """
[model]
path = "{base}"
tuning = "{tuning}"
[model.lora]
r = 16
lora_alpha = 32
target_modules = ["all-linear"]
[data]
demonstrations = "{data}"
template = "{template}"
held_out = 2
max_prompt_tokens = 60
max_completion_tokens = 20
[sft]
epochs = {epochs}
batch_size = 8
[sft.optimizer]
lr = {lr}
[negatives]
initial = 1
policy = 1
[reward]
steps = 2
batch_size = 4
[policy]
steps = 1
batch_size = 4
mini_batch_size = 4
[policy.optimizer]
lr = 1e-7
[run]
rounds = 1
out = "{out}"
"""


class Failed(Exception):
    """What is wrong with a folder, in one line."""


def expect(where, what, found, wanted):
    if found != wanted:
        raise Failed(f"{where}: {what} is {found!r}; expected {wanted!r}")


def make_base(folder, config, generation=None, map=None, model=None, jinja=None, shards="5GB", template="auto", **_):
    """A Llama with random weights and a tokenizer of bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIALS + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    torch.manual_seed(0)
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary) + 2, max_position_embeddings=128, tie_word_embeddings=True,
                                         bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None, **sizes))
    fit(llama, tokenizer, template == "none")
    llama.save_pretrained(folder, max_shard_size=shards)
    (folder / "generation_config.json").unlink(missing_ok=True)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, **(model or {})}))
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in (("tokenizer_config", config), ("generation_config", generation), ("special_tokens_map", map)):
        if value is not None:
            (folder / f"{name}.json").write_text(json.dumps(value))
    if jinja is not None:
        (folder / "chat_template.jinja").write_text(jinja)


def fit(llama, tokenizer, plain):
    """Teaches the answer, ended by `</s>`: what a run has to change is the end."""
    texts = [(f"name {word}", ANSWER) for word in WORDS]
    if not plain:
        texts = [(f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n", answer) for prompt, answer in texts]
    ids = [tokenizer.encode(prompt + answer).ids + [EOS] for prompt, answer in texts]
    width = max(map(len, ids))
    rows = torch.tensor([row + [PAD] * (width - len(row)) for row in ids])
    labels = rows.masked_fill(rows == PAD, -100)
    optimizer = torch.optim.AdamW(llama.parameters(), lr=5e-3)
    for _ in range(150):
        llama(rows, attention_mask=(rows != PAD).long(), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"revealed {arguments[0]}: {done.stderr[-600:]}")
    return done.stdout


def rows(case):
    """Demonstrations, as messages or, without a template, as text."""
    pairs = [(f"name {word}", ANSWER) for word in WORDS]
    if case.get("template") == "none":
        return [{"prompt": prompt, "completion": answer} for prompt, answer in pairs]
    return [{"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]} for prompt, answer in pairs]


def ids_of(tokenizer, row, whole):
    """A row's ids by Transformers: the prompt, or prompt and answer."""
    if "messages" not in row:
        return tokenizer(row["prompt"] + (row["completion"] if whole else "")).input_ids
    messages = row["messages"] if whole else row["messages"][:-1]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=not whole, return_dict=False)


def check_tokenizer(folder, case, trained, data, reward=False):
    """The tokenizer of a written folder against the rows that were trained."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    where = f"{folder.parent.name}/{folder.name}"
    named = "eos_token }}" in (case["config"].get("chat_template") or "")
    expect(where, "eos_token", tokenizer.eos_token_id, EOS if named else END)
    expect(where, "template", tokenizer.chat_template is None, case.get("template") == "none")
    if not reward and case.get("template") != "none":
        expect(where, "template", tokenizer.chat_template, case.get("file") or case["config"]["chat_template"])
    for row, line in zip(data, trained):
        ids, start = line["input_ids"], line["completion_start"]
        expect(where, "prompt ids", ids_of(tokenizer, row, False), ids[:start])
        whole = ids_of(tokenizer, row, True)
        end = len(ids) if "messages" in row else len(ids) - 1
        expect(where, "row ids", whole if reward else whole[:end], ids[:end])
    found = json.loads((folder / "tokenizer_config.json").read_text())
    for key, value in case["config"].items():
        if key not in ("eos_token", "pad_token", "chat_template"):
            expect(where, key, found.get(key), value)
    if "extra_special_tokens" in case["config"]:
        expect(where, "start_token", tokenizer.start_token, "<|im_start|>")
    map_file = folder / "special_tokens_map.json"
    if map_file.exists():
        expect(where, "special_tokens_map", json.loads(map_file.read_text())["eos_token"], "<|im_end|>")
    return tokenizer


def check_policy(folder, case, trained, data, model):
    """Generation ends at the trained terminator, with the rest of the base's generation settings."""
    tokenizer = check_tokenizer(folder, case, trained, data)
    where = f"{folder.parent.name}/{folder.name}"
    settings = GenerationConfig.from_pretrained(folder)
    stops = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    expect(where, "first stop token", stops[0], END)
    base = case.get("generation") or {}
    before = base.get("eos_token_id", case.get("model", {}).get("eos_token_id", []))
    expect(where, "stop tokens", set(stops), {END, *(before if isinstance(before, list) else [before])})
    for key in ("top_k", "max_new_tokens"):
        expect(where, key, getattr(settings, key), base.get(key, getattr(settings, key)))
    expect(where, "pad token", settings.pad_token_id, tokenizer.pad_token_id)
    if (folder / "config.json").exists():
        config = json.loads((folder / "config.json").read_text())
        first = config["eos_token_id"]
        expect(where, "config's stop token", first[0] if isinstance(first, list) else first, END)
        expect(where, "config's pad token", config["pad_token_id"], tokenizer.pad_token_id)
    model.generation_config = settings
    for row in data[:3]:
        prompt = ids_of(tokenizer, row, False)
        out = model.generate(input_ids=torch.tensor([prompt]), do_sample=False, max_new_tokens=40)[0].tolist()
        expect(where, f"end of {tokenizer.decode(out[len(prompt):])!r}", out[-1], END)


def check_reward(folder, case, trained, data, model):
    tokenizer = check_tokenizer(folder, case, trained, data, reward="messages" in data[0])
    where = f"{folder.parent.name}/{folder.name}"
    pad = json.loads((folder / "reward.json").read_text())["pad_token_id"]
    expect(where, "tokenizer's pad token", tokenizer.pad_token_id, pad)
    model.config.pad_token_id = pad
    ids = [line["input_ids"] for line in trained]
    if any(row[-1] == pad for row in ids):
        raise Failed(f"{where}: rows end in the pad token {pad}")
    batch = tokenizer.pad({"input_ids": ids}, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        together = model(**batch).logits[:, 0]
        single = torch.cat([model(torch.tensor([row])).logits[0] for row in ids])
    worst = (together - single).abs().max().item()
    if not worst < 1e-4:
        raise Failed(f"{where}: a padded batch scores otherwise, by {worst:.2e}")


def check_case(program, name, case, scratch):
    base = scratch / name / "base"
    base.mkdir(parents=True)
    make_base(base, **case)
    data = rows(case)
    (scratch / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    template = case.get("template", "auto")
    if "file" in case:
        template = str(scratch / name / "trained.jinja")
        pathlib.Path(template).write_text(case["file"])
    rows_file = scratch / name / "rows.jsonl"
    trained = lines(run(program, "log-probs", "--model", base, "--data", rows_file, "--template", template))
    for tuning, lr, epochs in (("full", 2e-3, 40), ("lora", 1e-2, 150)):
        out = scratch / name / tuning
        recipe = scratch / name / f"{tuning}.toml"
        recipe.write_text(RECIPE.format(base=base, tuning=tuning, data=rows_file, template=template, lr=lr, epochs=epochs, out=out))
        run(program, "align", recipe)
        policies = [(out / "policy", ["--model", out / "policy"])]
        if tuning == "lora":
            run(program, "merge", "--model", base, "--adapter", out / "policy", "--out", out / "merged")
            policies = [(out / "policy", ["--model", base, "--adapter", out / "policy"]), (out / "merged", ["--model", out / "merged"])]
        for folder, arguments in policies:
            own = lines(run(program, "log-probs", *arguments, "--data", rows_file))
            expect(folder, "our own reading", [o["input_ids"] for o in own], [t["input_ids"] for t in trained])
            auto = AutoPeftModelForCausalLM if (folder / "adapter_config.json").exists() else AutoModelForCausalLM
            check_policy(folder, case, trained, data, auto.from_pretrained(folder).eval())
        check_reward(out / "reward", case, trained, data, AutoModelForSequenceClassification.from_pretrained(out / "reward").eval())
        if tuning == "lora":
            adapter = AutoPeftModelForSequenceClassification.from_pretrained(out / "reward-adapter", num_labels=1)
            check_reward(out / "reward-adapter", case, trained, data, adapter.eval())
    print(f"{name}: ok")


def main(arguments):
    if not arguments:
        print(__doc__)
        return 2
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    program, names = str(pathlib.Path(arguments[0]).resolve()), arguments[1:] or list(CASES)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                check_case(program, name, CASES[name], pathlib.Path(folder))
            except Failed as error:
                failed += 1
                print(f"{name}: FAILED: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
