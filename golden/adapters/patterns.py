"""Which names regular expressions match in Python, printed as JSON: `python golden/adapters/patterns.py > golden/adapters/patterns.json`.

Python 3.11, peft 0.21.2. `whole`: re.fullmatch, as PEFT matches `target_modules`; `key`: get_pattern_key's rule for `rank_pattern`; a string
of 0 and 1, one for each name, or null where Python refuses the expression. `targets`: PEFT's check_target_module_exists for settings."""

import json
import re
import sys
from importlib.metadata import version

import peft
from peft.tuners.tuners_utils import check_target_module_exists

BLOCK = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
NAMES = [f"model.layers.{i}.{part}" for i in (0, 1, 10, 11) for part in BLOCK]
NAMES += [f"gpt_neox.layers.{i}.{part}" for i in (0, 2) for part in ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")]
NAMES += ["lm_head", "embed_out", "model.embed_tokens", "score", "q_proj"]
PATTERNS = [
    r".*\.(q|v)_proj", r".*(q_proj|v_proj)$", r".*q_proj|.*v_proj", r"q_proj", r".*_proj", r".*", r".+", r"", r"model\.layers\.\d+\.self_attn\..*",
    r"model.layers.1.self_attn.q_proj", r"^model\.layers\.(?:[0-9]|1[01])\.mlp\.(?:up|down)_proj$", r"(?!.*lm_head).*", r"(?!.*(?:embed|lm_head|score)).*",
    r"^(?!.*self_attn).*_proj$", r".*(?<!k)_proj", r".*(?<=q)_proj", r".*(?=_proj).*", r"(?i).*Q_PROJ", r"(?i:.*Q)_proj", r"(?P<block>model|gpt_neox)\.layers\..*",
    r"(model)\.layers\.(\d)\2\..*", r"(?P<n>\d)?.*layers\.(?P<d>\d)(?P=d)\..*", r".*\.1{,2}\..*", r".*\.1{2}\..*", r".*\.\d{1,}\..*", r".*layers\.[^0]\..*",
    r".*layers\.[01]\..*", r".*[\.]q[_]proj", r".*[.][kq]_proj", r".*[]q]_proj", r".*[^]q]_proj", r".*\.[a-z_]+", r".*\.[\w]+", r"[\w.]+", r"\w+", r"[\w\.\-]+",
    r".*\bq_proj\b", r".*\Bproj", r"\Amodel.*\Z", r".*?q_proj", r".*+q_proj", r"(?>.*)q_proj", r".*(?#comment)q_proj", r"(?x) .* q_proj  # the query",
    r"(?s).*q_proj", r"(?m)^.*q_proj$", r"(?a).*q_proj", r"(?u).*q_proj", r".*\x71_proj", r".*\u0071_proj", r".*\161_proj", r".*\_proj", r".*\-proj", r".*q\_proj",
    r"model\.layers\.([0-9]|10)\..*", r"(a)?model.*(?(1)x|j)", r"()model\..*", r"(?:)model\..*", r".*(|q)_proj", r".*{", r".*{q}", r".*a{1", r"model[.]layers[.][0-9]+[.](self_attn[.](q|k|v|o)|mlp[.](gate|up|down))_proj",
    r".*\.(attention\.query_key_value|mlp\.dense_.*4h.*)", r".*dense(_h_to_4h|_4h_to_h)?", r".*[[]q_proj", r".*[a&&q]_proj", r".*[a--q]_proj", r".*[a-]_proj", r".*[-q]_proj", r".*[a-z-_]proj",
    r"(", r")", r"q_proj)|(v_proj", r"*", r"+q", r"[", r"[z-a]", r"\p{L}+", r"\h+", r"(?<name>q)", r"(?P<a>q)(?P<a>v)", r"\8", r"a**", r"x{2,1}", r".*\Kq_proj", r"q_proj\z",
]
SETTINGS = [
    {"target_modules": ["q_proj", "mlp.up_proj"]},
    {"target_modules": ["proj", "_proj", "dense"]},
    {"target_modules": ["model.layers.1.self_attn.q_proj", "1.self_attn.v_proj"]},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 1},
    {"target_modules": ["q_proj", "dense"], "layers_to_transform": [0, 11]},
    {"target_modules": ["q_proj", "dense"], "layers_to_transform": []},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h|layers"},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["blocks"]},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": []},
    {"target_modules": ["q_proj"], "layers_to_transform": [-1]},
    {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj", "0.self_attn.q_proj"]},
    {"target_modules": r".*_proj", "exclude_modules": r".*\.(mlp|1\d)\..*"},
    {"target_modules": r".*_proj", "exclude_modules": ["mlp", "down_proj"]},
    {"target_modules": r".*_proj|score", "modules_to_save": ["score", "mlp"]},
    {"target_modules": ["score", "q_proj"], "modules_to_save": ["classifier", "score"]},
    {"target_modules": ["q_proj", "o_proj"], "modules_to_save": ["1.*o_proj"]},
    {"target_modules": ["q_proj"], "exclude_modules": []},
    {"target_modules": ["q_proj"], "exclude_modules": ""},
]


def bits(matches):
    return "".join("1" if matches(name) else "0" for name in NAMES)


def whole(pattern):
    try:
        return bits(lambda name: re.fullmatch(pattern, name))
    except re.error:
        return None


def key(pattern):
    try:
        return bits(lambda name: re.match(rf"(.*\.)?({pattern})$", name))
    except re.error:
        return None


def targets(settings):
    config = peft.LoraConfig(**settings)

    def matches(name):
        found = check_target_module_exists(config, name)
        return bool(found) and type(found).__name__ != "_ExcludedModule"

    return bits(matches)


versions = {"python": ".".join(map(str, sys.version_info[:2])), "peft": version("peft")}
print(
    json.dumps(
        {
            "versions": versions,
            "names": NAMES,
            "patterns": [{"text": text, "whole": whole(text), "key": key(text)} for text in PATTERNS],
            "settings": [{"config": settings, "targets": targets(settings)} for settings in SETTINGS],
        },
        indent=1,
    )
)
