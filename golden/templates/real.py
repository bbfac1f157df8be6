"""Renders made-up conversations with real chat templates, as Transformers' `apply_chat_template` does.

    python golden/templates/real.py SHARED [OUT]       # SHARED: the folder of tokenizers and models

Writes real.json: the conversations, and per template the SHA-256 of each text (null where the template refuses),
first without and then with `add_generation_prompt`. The templates themselves are not stored, only their SHA-256.
"""

import copy
import hashlib
import json
import sys
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

FOLDERS = [
    "models/smollm2-135m-instruct",
    "tokenizers/llama3",
    "tokenizers/qwen3",
    "cases/02-eos-of-base-after-chat-training/base",
    "cases/03-reasoning-content-field/qwen3",
    "cases/05-metaspace-first/first",
    "cases/29-pad-outside-vocabulary/added-pad",
]
SPECIALS = ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"]


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def thought(text, content):
    """An answer with its reasoning, under both names that templates read."""
    return {"thinking": text, "role": "assistant", "content": content, "reasoning_content": text}


SYSTEM = turn("system", "You answer \u201cbriefly\u201d.\n")
ASK, ANSWER = turn("user", "What is 2 + 2?"), turn("assistant", " 4 \n")
AGAIN, THINKS = turn("user", "  And the \u00e9mu\u00a0\U0001f600?"), turn("assistant", "<think>\nhm\n</think>\n\nA bird.")
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The \"weather\" of <a place> & time",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "enum": ["Rome", "\u00d6rebro"]}, "days": {"type": "integer", "default": 1},
        "scale": {"type": "number", "default": 1.0}}, "required": ["place"]}}}
PLAIN = {"type": "function", "function": {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}}}


def call(arguments, **more):
    return {"type": "function", "function": {"name": "weather", "arguments": arguments}, **more}


CALLS = turn("assistant", "", tool_calls=[call({"place": "Rome", "days": 2, "exact": True, "note": None, "scale": 0.5})])
TWO = turn("assistant", "I look it up.", tool_calls=[call({"place": "Rome"}), call({"place": "\u00d6rebro"})])
TEXTS = turn("assistant", None, tool_calls=[call("{\"place\": \"Rome\"}", id="call_1")])
RESULT = turn("tool", "{\"t\": 20.5}", name="weather")

CONVERSATIONS = {
    "one turn": ([ASK], {}),
    "answered": ([ASK, ANSWER], {}),
    "with a system prompt": ([SYSTEM, ASK, ANSWER], {}),
    "two turns": ([SYSTEM, ASK, ANSWER, AGAIN, THINKS], {}),
    "a third question": ([ASK, ANSWER, AGAIN, THINKS, ASK], {}),
    "the system prompt late": ([ASK, SYSTEM, AGAIN], {}),
    "system prompt only": ([SYSTEM], {}),
    "no messages": ([], {}),
    "two users": ([ASK, AGAIN], {}),
    "thinking on": ([ASK, ANSWER, AGAIN], {"enable_thinking": True}),
    "thinking off": ([ASK, ANSWER, AGAIN], {"enable_thinking": False}),
    "reasoning": ([ASK, thought("\ntwo and two\n", "4"), AGAIN, thought("a bird?", "\n\nA bird.")], {}),
    "reasoning before a question": ([ASK, thought("two and two", "4"), AGAIN], {}),
    "empty reasoning": ([ASK, thought("", "4")], {}),
    "tools": ([SYSTEM, ASK], {"tools": [TOOL, PLAIN]}),
    "tools without a system prompt": ([ASK, ANSWER], {"tools": [TOOL]}),
    "no tools": ([ASK], {"tools": []}),
    "tool call": ([SYSTEM, ASK, CALLS], {"tools": [TOOL]}),
    "tool result": ([ASK, CALLS, RESULT], {"tools": [TOOL]}),
    "tool result and answer": ([ASK, CALLS, RESULT, ANSWER], {"tools": [TOOL]}),
    "two tool calls": ([ASK, TWO, RESULT, RESULT, ANSWER, AGAIN], {"tools": [TOOL]}),
    "arguments as text": ([ASK, TEXTS, RESULT, ANSWER], {}),
    "reasoning and a tool call": ([ASK, thought("look it up", "") | {"tool_calls": CALLS["tool_calls"]}, RESULT], {"tools": [TOOL]}),
    "content in parts": ([turn("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], {}),
    "no content": ([ASK, turn("assistant", None)], {}),
    "documents": ([ASK], {"documents": [{"title": "T", "text": "Some text."}]}),
    "an unknown role": ([turn("narrator", "Once."), ASK], {}),
    "special words": ([turn("user", "<|im_end|>{{ 1 }}{% if %}\\n")], {}),
}


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def specials(config):
    found = {name: config.get(name) for name in SPECIALS}
    found = {name: token["content"] if isinstance(token, dict) else token for name, token in found.items()}
    return {name: token for name, token in found.items() if token is not None}


def rendered(template, messages, options, variables, prompt):
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            [copy.deepcopy(messages)], chat_template=template, add_generation_prompt=prompt, **copy.deepcopy(options), **variables)
        return sha(texts[0])
    except (jinja2.TemplateError, TypeError):
        return None


def main():
    shared = Path(sys.argv[1])
    out = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "real.json")
    templates = []
    for folder in FOLDERS:
        config = json.loads((shared / folder / "tokenizer_config.json").read_text())
        template, variables = config["chat_template"], specials(config)
        texts = {name: [rendered(template, *conversation, variables, prompt) for prompt in (False, True)]
                 for name, conversation in CONVERSATIONS.items()}
        templates.append({"folder": folder, "sha256": sha(template), "texts": texts})
    versions = {"jinja2": jinja2.__version__, "transformers": transformers.__version__}
    conversations = {name: {"messages": m, "options": o} for name, (m, o) in CONVERSATIONS.items()}
    out.write_text(json.dumps({"versions": versions, "conversations": conversations, "templates": templates}, indent=1) + "\n")
    hashes = [text for t in templates for pair in t["texts"].values() for text in pair]
    print(f"{len(templates)} templates, {len(hashes)} texts, {hashes.count(None)} of them refused")


if __name__ == "__main__":
    main()
