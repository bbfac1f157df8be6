"""Golden values for the layouts of rows, from Transformers and TRL.

    python golden/data/layouts.py      # writes golden/data/layouts/ next to this file

Each case is one row as a file has it, and the tokens that Transformers' `apply_chat_template` gives for the
conversation that TRL's functions make of the row (`remove_none_values`, `maybe_convert_to_chatml`, `extract_prompt`).
Layouts that TRL does not read (Alpaca with `history`, `function_call` turns) have their conversation written here, by
the rules that LLaMA-Factory documents for them. All texts, the tokenizer and the template are our own.

Made with transformers 5.23.0, tokenizers 0.23.3, jinja2 3.1.6, trl 1.16.0 and the pyarrow that `expected.json` names.
"""

import json
from decimal import Decimal
from pathlib import Path

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
import transformers
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl.data_utils import extract_prompt, maybe_convert_to_chatml
from trl.trainer.utils import remove_none_values

HERE = Path(__file__).parent / "layouts"

# A ChatML template with tools, documents, reasoning, text parts and a variable.
TEMPLATE = """{%- macro content_of(message) -%}
{%- if message.content is string %}{{ message.content }}
{%- elif message.content %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}
{%- endmacro -%}
{%- if tools %}<|im_start|>tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- if documents %}<|im_start|>documents
{% for document in documents %}{{ document.title }}: {{ document.text }}
{% endfor %}<|im_end|>
{% endif %}
{%- if mood is defined %}<|im_start|>mood
{{ mood }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role ~ (' ' ~ message.name if message.name else '') }}
{% if message.role == 'assistant' %}{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>
{% endif %}{{ content_of(message) }}{% for call in message.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}
{%- else %}{{ content_of(message) }}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def tokenizer():
    """A byte-level tokenizer without merges: a token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    fast.chat_template = TEMPLATE
    return fast


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def said(speaker, text):
    return {"from": speaker, "value": text}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Genève", "days": 2, "exact": 0.1}}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}},
}
RESULT = {"role": "tool", "name": "weather", "content": "rain"}
Q, A = "Wie groß ist die Tür? 日本", "  2 m \n"

# Rows whose conversation TRL reads as it is.
AS_THEY_ARE = {
    "messages": {"messages": [user(Q), assistant(A)]},
    "multi_turn_with_system": {"messages": [system("Be brief."), user("a"), assistant("b"), user(Q), assistant(A)]},
    "system_in_the_middle": {"messages": [user("a"), assistant("b"), system("Now in verse."), user(Q), assistant(A)]},
    "reasoning": {"messages": [user(Q), assistant(A, reasoning_content="Doors are about two metres.")]},
    "text_parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}, assistant([{"type": "text", "text": "c"}])]},
    "answer_is_a_call": {"messages": [user(Q), assistant("", tool_calls=[CALL])], "tools": [TOOL]},
    "answer_after_a_call": {"messages": [user(Q), assistant("", tool_calls=[CALL]), RESULT, assistant(A)], "tools": [TOOL]},
    "null_content_with_a_call": {"messages": [user(Q), {"role": "assistant", "content": None, "tool_calls": [CALL]}], "tools": [TOOL]},
    "fields_that_arrow_fills": {"messages": [{**user(Q), "tool_calls": None, "name": None}, {**assistant("", tool_calls=[CALL]), "name": None}], "tools": [TOOL], "documents": None},
    "tools_as_text": {"messages": [user(Q), assistant(A)], "tools": json.dumps([TOOL])},
    "no_tools": {"messages": [user(Q), assistant(A)], "tools": []},
    "documents": {"messages": [user(Q), assistant(A)], "documents": [{"title": "Doors", "text": "A door is 2 m high."}]},
    "template_variables": {"messages": [user(Q), assistant(A)], "chat_template_kwargs": {"mood": "calm"}},
    "named_developer": {"messages": [{"role": "developer", "content": "Be brief.", "name": "ops"}, user(Q), assistant(A)]},
    "prompt_and_completion": {"prompt": [system("Be brief."), user(Q)], "completion": [assistant(A)]},
    "from_and_value": {"conversations": [said("user", Q), said("assistant", A)]},
    "conversations_with_roles": {"conversations": [user(Q), assistant(A)]},
}

# Rows of other programs, with the conversation that they mean.
WRITTEN = {
    "sharegpt": ({"conversations": [said("human", Q), said("gpt", A)]}, [user(Q), assistant(A)], {}),
    "sharegpt_speakers": ({"conversation": [said("system", "Be brief."), said("user", "a"), said("chatgpt", "b"), said("human", Q), said("model", A)]},
                          [system("Be brief."), user("a"), assistant("b"), user(Q), assistant(A)], {}),
    "sharegpt_system_column": ({"system": "Be brief.", "conversations": [said("human", Q), said("gpt", A)]}, [system("Be brief."), user(Q), assistant(A)], {}),
    "sharegpt_function_call": ({"conversations": [said("human", Q), said("function_call", json.dumps(CALL["function"])), said("observation", "rain"), said("gpt", A)], "tools": json.dumps([TOOL["function"]])},
                               [user(Q), assistant("", tool_calls=[CALL]), {"role": "tool", "content": "rain"}, assistant(A)], {"tools": [TOOL]}),
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, [user("Add.\n\n1 2"), assistant("3")], {}),
    "alpaca_history": ({"instruction": Q, "input": "", "output": A, "system": "Be brief.", "history": [["a", "b"], ["c", "d"]]},
                       [system("Be brief."), user("a"), assistant("b"), user("c"), assistant("d"), user(Q), assistant(A)], {}),
    "dolly": ({"instruction": "Add.", "context": "1 2", "response": "3"}, [user("Add.\n\n1 2"), assistant("3")], {}),
    "instruction_response": ({"instruction": Q, "response": A}, [user(Q), assistant(A)], {}),
    "question_answer": ({"question": Q, "answer": A}, [user(Q), assistant(A)], {}),
    "query_response": ({"query": Q, "response": A, "history": [["a", "b"]]}, [user("a"), assistant("b"), user(Q), assistant(A)], {}),
    "prompt_response": ({"prompt": Q, "response": A, "system": "Be brief."}, [system("Be brief."), user(Q), assistant(A)], {}),
    "input_output": ({"input": Q, "output": A}, [user(Q), assistant(A)], {}),
    "labelled": ({"prompt": [user(Q)], "completion": [assistant(A)], "label": True}, [user(Q), assistant(A)], {}),
}

# Pairs: the row, and the conversation of the prompt with both answers.
PAIRS = {
    "explicit": ({"prompt": [user(Q)], "chosen": [assistant("a")], "rejected": [assistant("b")]}, None),
    "implicit": ({"chosen": [system("s"), user(Q), assistant("a")], "rejected": [system("s"), user(Q), assistant("b")]}, None),
    "question": ({"system": "Be brief.", "question": Q, "chosen": "a", "rejected": "b"}, [system("Be brief."), user(Q)]),
    "instruction": ({"instruction": "Add.", "input": "1 2", "chosen": "3", "rejected": "4"}, [user("Add.\n\n1 2")]),
    "conversations": ({"conversations": [said("human", Q)], "chosen": said("gpt", "a"), "rejected": said("gpt", "b")}, [user(Q)]),
    "prompt_repeated": ({"prompt": Q, "chosen": [user(Q), assistant("a")], "rejected": [user(Q), assistant("b")], "score_chosen": 1.0}, [user(Q)]),
}


def ids(fast, messages, more, **how):
    return fast.apply_chat_template(messages, tokenize=True, return_dict=True, **more, **how)["input_ids"]


def expected(fast, messages, more):
    return {
        "prompt_ids": ids(fast, messages[:-1], more, add_generation_prompt=True),
        "full_ids": ids(fast, messages, more),
    }


def conversation(row):
    row = remove_none_values(row)
    if "conversations" in row:
        row = maybe_convert_to_chatml(row)
    messages = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
    tools = row.get("tools")
    tools = json.loads(tools) if isinstance(tools, str) else tools
    more = {"tools": tools or None, "documents": row.get("documents")}
    return messages, {**more, **row.get("chat_template_kwargs", {})}


def parquet():
    """Files with types that JSON does not have, and with text that is not UTF-8."""
    call = pa.struct([("type", pa.string()), ("function", pa.struct([("name", pa.string()), ("arguments", pa.struct([("town", pa.string()), ("days", pa.int64())]))]))])
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(call))])
    rows = [
        [user("a"), assistant("b")],
        [user("a"), {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"town": "x"}}}]}],
    ]
    table = pa.table({
        "messages": pa.array(rows, pa.list_(message)),
        "price": pa.array([Decimal("1.50"), Decimal("2.25")]),
        "time": pa.array([0, 1], pa.timestamp("us")),
        "day": pa.array([0, 1], pa.date32()),
        "blob": pa.array([b"\xff\xfe", b"text"]),
        "tags": pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
        "score": pa.array([float("nan"), 1.0]),
    })
    pq.write_table(table, HERE / "types.parquet", compression="zstd")
    bad = pa.array([b"fine", b"\xffbad", b"fine"], pa.binary()).view(pa.string())
    fine = pa.array(["a", "b", "c"])
    pq.write_table(pa.table({"prompt": bad, "completion": fine}), HERE / "prompt_not_utf8.parquet")
    pq.write_table(pa.table({"prompt": fine, "completion": fine, "note": bad}), HERE / "note_not_utf8.parquet")
    pq.write_table(pa.table({"prompt": pa.array([Decimal("1.5")]), "completion": ["a"]}), HERE / "decimal_prompt.parquet")


def main():
    HERE.mkdir(exist_ok=True)
    parquet()
    fast = tokenizer()
    cases = []
    for name, row in AS_THEY_ARE.items():
        cases.append({"name": name, "row": row, **expected(fast, *conversation(row))})
    for name, (row, messages, more) in WRITTEN.items():
        cases.append({"name": name, "row": row, **expected(fast, messages, more)})
    pairs = []
    for name, (row, prompt) in PAIRS.items():
        if prompt is None:
            split = row if "prompt" in row else extract_prompt(row)
            prompt, sides = split["prompt"], [split["chosen"][0], split["rejected"][0]]
        else:
            side = lambda value: value if isinstance(value, str) else value["value"] if isinstance(value, dict) else value[-1]["content"]
            sides = [assistant(side(row[key])) for key in ("chosen", "rejected")]
        chosen, rejected = (expected(fast, prompt + [one], {}) for one in sides)
        pairs.append({"name": name, "row": row, "chosen": chosen, "rejected": rejected})
    versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, jinja2, trl, pa)}
    out = {"versions": versions, "cases": cases, "pairs": pairs}
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    (HERE / "chat_template.jinja").write_text(TEMPLATE)
    (HERE / "tokenizer.json").write_text(fast.backend_tokenizer.to_str() + "\n")
    (HERE / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}) + "\n")


if __name__ == "__main__":
    main()
