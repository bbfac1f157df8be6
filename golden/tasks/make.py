"""Writes model/, bos/, data/ and expected.json: what lm-evaluation-harness makes of the runs in cases.py.

    python -m pip install lm-eval==0.4.13 torch==2.9.0 transformers==5.23.0 tokenizers==0.23.3 accelerate
    python golden/tasks/make.py

The model is a random Llama and the tokenizer is trained here on the rows, so nothing is fetched. `bos` is the same tokenizer with
a BOS token before every text. Descriptions are lm-eval's own YAML files, of which only the rows' source, TruthfulQA's preamble and
the number of generated tokens are replaced.
"""

import json
import os
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import lm_eval
import torch
import transformers
from lm_eval.api.task import ConfigurableTask
from lm_eval.api.metrics import exact_match_fn
from lm_eval.evaluator import evaluate
from lm_eval.filters.extraction import RegexFilter
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import cases
from cases import DATA, FILTERED, RUNS, TEXT

HERE = Path(__file__).parent
YAML = Path(lm_eval.__file__).parent / "tasks"
CONTEXT = 256
CHAT = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tokenizer(bos):
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    )
    inner.train_from_iterator([TEXT], trainer)
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    made.chat_template = CHAT
    return made


def model(vocab, digits):
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=CONTEXT, initializer_range=0.15, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():  # So that answers hold numbers.
        made.lm_head.weight[digits] *= 1.6
    return made


def config(run, folder):
    if run.get("own"):
        own = getattr(cases, run["own"])
        made = {key: value for key, value in own.items() if key not in ("metrics", "generation", "exact_match")}
        rule = own.get("exact_match", {})
        made["metric_list"] = [{"metric": m, "aggregation": "mean", "higher_is_better": True, **rule} for m in own["metrics"]]
        # Named, so that a question is not drawn as its own example.
        made["test_split"] = made["fewshot_split"] = "test"
        if "generation" in own:
            made["generation_kwargs"] = {**own["generation"], "do_sample": False}
    else:
        made = load_yaml(YAML / run["yaml"])
    made = {key: value for key, value in made.items() if key not in ("tag", "group", "dataset_name", "should_decontaminate")}
    made["dataset_path"] = "json"
    splits = [made.get("test_split") or made.get("validation_split")]
    files = {splits[0]: str(folder / f"{run['data']}.jsonl")}
    if run["shots"]:
        split = made.get("fewshot_split") or made.get("training_split") or splits[0]
        files[split] = str(folder / f"{run['shots_data']}.jsonl")
    made["dataset_kwargs"] = {"data_files": files}
    for key in ("training_split", "validation_split", "test_split", "fewshot_split"):
        # A split that decides how shots are drawn stays; one that nothing is read from goes.
        if made.get(key) and made[key] not in files:
            made.pop(key)
    made["num_fewshot"] = run["shots"]
    if "description" in run:
        made["doc_to_text"] = "{{'" + run["description"].replace("\n", "\\n") + "Q: ' + question + '\\nA:'}}"
    if run["task"] == "mmlu":
        made["description"] = "The following are multiple choice questions (with answers) about {{subject | replace('_', ' ')}}.\n\n"
    if "max_gen_toks" in run:
        made["generation_kwargs"] = {**made["generation_kwargs"], "max_gen_toks": run["max_gen_toks"]}
    return made


def evaluated(run, lm, folder):
    made = config(run, folder)
    made["task"] = run["task"]
    task = ConfigurableTask(config=made)
    task.set_fewshot_seed(1234)
    results = evaluate(
        lm=lm, task_dict={"tasks": {run["task"]: task}, "groups": {}}, log_samples=True, bootstrap_iters=0, limit=run.get("limit"),
        apply_chat_template=run.get("chat", False), fewshot_as_multiturn=run.get("chat", False),
    )
    return results["samples"][run["task"]], results["results"][run["task"]]


def plain(value):
    return value.item() if hasattr(value, "item") else value


def items(run, samples):
    """Items in order; the values of several filters together."""
    found = {}
    for sample in samples:
        item = found.setdefault(sample["doc_id"], {"values": {}})
        for metric in sample["metrics"]:
            name = metric
            if run["task"] in ("gsm8k", "stops.toml"):
                name = f"{metric},{sample['filter']}".removesuffix(",none")
                item.setdefault("taken", {})[name] = sample["filtered_resps"][0]
                item["answer"] = sample["resps"][0][0]
            if run["task"] == "truthfulqa_mc1":
                name = "mc1"
            if run["task"] == "truthfulqa_mc2":
                name = "mc2"
            if metric == "perplexity":
                name = "log_likelihood"
            item["values"][name] = float(plain(sample[metric]))
        if "answer" not in item:
            scored = [resp[0] for resp in sample["resps"]]
            item["log_likelihoods"] = [round(float(s[0]), 6) for s in scored]
            item["greedy"] = [bool(s[1]) for s in scored]
    return [found[key] for key in sorted(found)]


def grouped(run, lm, folder):
    """lm-eval has a task for every group; here they are put together again in the order of the rows, with their places under a limit."""
    rows, shots = DATA[run["data"]], DATA[run["shots_data"]]
    all_items = [None] * len(rows)
    for name in sorted({row[run["group"]] for row in rows}):
        part = {**run, "data": f"{run['data']}.{name}", "shots_data": f"{run['shots_data']}.{name}"}
        places = [i for i, row in enumerate(rows) if row[run["group"]] == name]
        write(folder / f"{part['data']}.jsonl", [rows[i] for i in places])
        write(folder / f"{part['shots_data']}.jsonl", [row for row in shots if row[run["group"]] == name])
        for place, item in zip(places, items(run, evaluated(part, lm, folder)[0])):
            all_items[place] = {**item, "row": place} if "limit" in run else item
    return [item for item in all_items if item]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def made_questions(lm, folder):
    """Questions of which some have the answer that the model happens to give."""
    questions = [f"There are {w} {a}. How many {w} are there with {b} more?" for w, a, b in
                 [("pebbles", 4, 9), ("lamps", 31, 2), ("boats", 6, 6), ("nuts", 100, 11), ("pears", 8, 1)]]
    rows = [{"question": q, "answer": "Nobody knows.\n#### 5"} for q in questions]
    write(folder / "gsm8k.jsonl", rows)
    run = next(run for run in RUNS if run["task"] == "gsm8k")
    for row, item in list(zip(rows, items(run, evaluated(run, lm, folder)[0])))[::2]:
        row["answer"] = "So it is.\n#### " + item["taken"]["exact_match,flexible-extract"]
    return rows


def made_words(net, side):
    """Texts whose last word is what the model says next, where that is a word."""
    found = []
    for word in cases.WORDS:
        text = f"And so at last they came to the {word}"
        with torch.no_grad():
            likeliest = net(torch.tensor([side.encode(text)])).logits[0, -1].argmax().item()
        after = side.decode([likeliest])
        if after.startswith(" ") and len(after.split(" ")) == 2 and after.strip():
            found.append({"text": text + after})
    return found[:2]


def filtered():
    """What GSM8K's filters take from texts, and whether that is right."""
    made = load_yaml(YAML / "gsm8k/gsm8k.yaml")
    rule = {key: value for key, value in made["metric_list"][0].items() if key not in ("metric", "aggregation", "higher_is_better")}
    rows = []
    for text, target in FILTERED:
        row = {"text": text, "target": target, "taken": {}, "values": {}}
        for entry in made["filter_list"]:
            options = {key: value for key, value in entry["filter"][0].items() if key != "function"}
            name = f"exact_match,{entry['name']}"
            row["taken"][name] = RegexFilter(**options).apply([[text]], [{}])[0][0]
            found = exact_match_fn(predictions=[row["taken"][name]], references=[target], **rule)
            row["values"][name] = float(found["exact_match"])
        rows.append(row)
    return rows


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def main():
    import tempfile

    torch.set_num_threads(1)
    sides = {"model": tokenizer(False), "bos": tokenizer(True)}
    digits = [i for piece, i in sides["model"].get_vocab().items() if any(c in "0123456789#" for c in piece)]
    net = model(len(sides["model"]), digits)
    net.save_pretrained(HERE / "model")
    for name, side in sides.items():
        side.save_pretrained(HERE / name)
    (HERE / "data").mkdir(exist_ok=True)
    lms = {name: HFLM(pretrained=net, tokenizer=side, batch_size=1, device="cpu") for name, side in sides.items()}
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        DATA["lambada"] += made_words(net, sides["model"])
        for name, rows in DATA.items():
            write(scratch / f"{name}.jsonl", rows)
        DATA["gsm8k"] = made_questions(lms["model"], scratch)
        write(scratch / "gsm8k.jsonl", DATA["gsm8k"])
        for run in RUNS:
            lm = lms[run.get("tokenizer", "model")]
            if "group" in run:
                found = grouped(run, lm, scratch)
                runs.append({**run, "items": found})
            else:
                samples, figures = evaluated(run, lm, scratch)
                numbers = {k.removesuffix(",none"): plain(v) for k, v in figures.items() if isinstance(plain(v), (int, float))}
                runs.append({**run, "items": items(run, samples), "figures": numbers})
    for name, rows in DATA.items():
        write(HERE / "data" / f"{name}.jsonl", rows)
    for run in runs:
        run.pop("yaml", None)
        run.pop("own", None)
    lines = [f"    {json.dumps(run, ensure_ascii=False)}" for run in runs]
    versions = {"lm_eval": lm_eval.__version__ if hasattr(lm_eval, "__version__") else "0.4.13",
                "torch": torch.__version__, "transformers": transformers.__version__}
    for own in (cases.OWN, cases.STOPS):
        lines_of = [f"{key} = {toml(value)}\n" for key, value in own.items()]
        (HERE / f"{own['task']}.toml").write_text("".join(lines_of), encoding="utf-8")
    head = f'  "versions": {json.dumps(versions)},\n  "filters": {json.dumps(filtered(), ensure_ascii=False)},\n'
    text = f'{{\n{head}  "runs": [\n' + ",\n".join(lines) + "\n  ]\n}\n"
    (HERE / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
