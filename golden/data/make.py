"""Golden values for revealed-data, from Transformers and PyArrow.

    python golden/data/make.py SHARED_FOLDER      # writes beside this file

SHARED_FOLDER holds models/ and tokenizers/. The texts are our own. Ids come from `apply_chat_template` and from the
tokenizers' own call; the assistant mask from `return_assistant_tokens_mask`; the template renderings from Transformers' Jinja.
"""

import json
import sys
from pathlib import Path

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

SHARED = Path(sys.argv[1])
HERE = Path(__file__).parent


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", "Name a colour."), turn("assistant", "Blue.")],
    [
        turn("system", "Answer in one line."),
        turn("user", "Wie groß ist die Tür?\n"),
        turn("assistant", "2 m hoch, 90 cm breit."),
        turn("user", "  And the window? 日本 🙂"),
        turn("assistant", "1.2 m \t × 80 cm — roughly.\n\nAsk again!"),
    ],
    [turn("user", "Say nothing."), turn("assistant", "")],
    [turn("user", "{{ 1 + 1 }} {% if %} & <b>?"), turn("assistant", "It's 'quoted' & \"so\" <i>on</i>.")],
]

GENERATION_TEMPLATE = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
{{ '[' + message.role + '] ' }}{% generation %}{{ message.content }}{% if loop.last %}{{ eos_token }}{% endif %}{% endgeneration %}
    {%- else %}
{{ '[' + message.role + '] ' + message.content + '\\n' }}
    {%- endif %}
{%- endfor %}
{% if add_generation_prompt %}[assistant] {% endif %}"""

# Small templates, each after one habit of templates in the wild.
TEMPLATES = [
    "{% for m in messages %}\n  {% if m.role == 'user' %}\n    U: {{ m.content }}\n  {% else %}\nA: {{ m.content | trim }}\n  {% endif %}\n{% endfor %}\nend\n",
    "{{ bos_token }}{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }}.{{ m['content'].strip().split('\\n')[-1].upper() }};{% endfor %}{{ ns.n }}",
    "{{ messages | tojson }}",
    "{{ {'b': [1, 2.5, true, none], 'a': 'é<&>\\''} | tojson(indent=2) }}",
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}{% set system = 'none' %}{% set rest = messages %}{% endif %}{{ system }}|{{ rest | length }}|{{ rest[-1].content[:5] }}|{{ tools is none }}|{{ missing is defined }}",
    "{% macro show(m) -%}\n<{{ m.role }}>{{ m.content.replace('o', '0') }}\n{%- endmacro %}{% for m in messages %}{{ show(m) }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{% if loop.index > 2 %}{% break %}{% endif %}{{ loop.index0 }}{{ m.role | capitalize }}{{ m.content.startswith(' ') }}{{ m.get('name', 'anon') }}{% endfor %}",
    "{%- set names = messages | map(attribute='role') | list | join(', ') -%}\n{{ names }}{{ '%s has %d' | format('x', 3) }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{% for m in messages %}{% for k, v in m.items() %}{{ k }}={{ v | replace('\\n', '\\\\n') }},{% endfor %}{% endfor %}",
]


def template_ids(tokenizer, conversation):
    ids = lambda messages, **more: tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **more)["input_ids"]
    return {
        "messages": conversation,
        "prompt_ids": ids(conversation[:-1], add_generation_prompt=True),
        "full_ids": ids(conversation),
    }


def main():
    folders = {
        "smollm2": SHARED / "models/smollm2-135m-instruct",
        "qwen3": SHARED / "tokenizers/qwen3",
        "llama3": SHARED / "tokenizers/llama3",
    }
    chat = {}
    for name, folder in folders.items():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        chat[name] = [template_ids(tokenizer, conversation) for conversation in CONVERSATIONS]

    plain = {}
    for name, folder in {
        "stories260k": SHARED / "models/stories260k",
        "pythia": SHARED / "tokenizers/gpt-neox-20b-pythia",
        "mistral": SHARED / "tokenizers/mistral-v0.1",
    }.items():
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        texts = [("Once upon a time", ", there was a cat."), ("The sum of 2 and 3 is", " 5"), ("Größe?\n", "Drei — 3.\n")]
        plain[name] = [
            {
                "prompt": prompt,
                "completion": completion,
                "prompt_ids": tokenizer(prompt)["input_ids"],
                "whole_ids": tokenizer(prompt + completion)["input_ids"],
            }
            for prompt, completion in texts
        ]

    stories = AutoTokenizer.from_pretrained(SHARED / "models/stories260k")
    masked = []
    for conversation in CONVERSATIONS[:2]:
        text, spans = render_jinja_template(
            [conversation], chat_template=GENERATION_TEMPLATE, return_assistant_tokens_mask=True,
            eos_token="</s>", bos_token="<s>", add_generation_prompt=False,
        )
        out = stories.apply_chat_template(
            conversation, chat_template=GENERATION_TEMPLATE, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        # Transformers counts characters.
        masked.append(
            {
                "messages": conversation,
                "text": text[0],
                "generated": [text[0][a:b] for a, b in spans[0]],
                "input_ids": out["input_ids"],
                "assistant_mask": out["assistant_masks"],
            }
        )

    rendered = [
        {
            "template": template,
            "messages": conversation,
            "text": render_jinja_template(
                [conversation], chat_template=template, bos_token="<s>", eos_token="</s>", add_generation_prompt=True
            )[0][0],
        }
        for template in TEMPLATES
        for conversation in CONVERSATIONS[:2]
    ]

    versions = {m.__name__: m.__version__ for m in (transformers, tokenizers, jinja2, pa)}
    expected = {
        "versions": versions, "chat": chat, "plain": plain,
        "generation": {"template": GENERATION_TEMPLATE, "rows": masked}, "rendered": rendered,
    }
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, separators=(",", ":")) + "\n")

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    messages = pa.table({"messages": pa.array(
        [CONVERSATIONS[0], [turn("user", "Wie groß?"), turn("assistant", "Größe: 3 m\n")]], pa.list_(message))})
    pq.write_table(messages, HERE / "messages.parquet", compression="zstd")
    pairs = pa.table({"id": [10], "prompt": ["Two and two?"], "chosen": ["Four."], "rejected": ["Five."], "margin": [0.5]})
    pq.write_table(pairs, HERE / "preferences.parquet", compression="snappy")


if __name__ == "__main__":
    main()
