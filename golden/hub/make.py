"""What huggingface_hub makes of environment variables, printed as JSON: `python golden/hub/make.py > golden/hub/environment.json`.

Versions: huggingface_hub 2.4.0, Python 3.11. Each case is a process of its own with only the case's variables. `{dir}` in a value is a
scratch folder with the files `token`, `blank` and `own/token` (contents in `files`); it is put back into the results, so that a test can
make the same folder elsewhere. A timeout that is no number is an error there too (`refused`)."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version

FILES = {"token": " hf_of_file\r\n", "blank": " \n", "own/token": "hf_of_home", "home/.cache/huggingface/token": "hf_default"}
HOME = {"HOME": "{dir}/home"}
CASES = [
    {},
    {"HF_HOME": "{dir}/own"},
    {"HF_HOME": "{dir}/own/"},
    {"HF_HOME": "~/hf"},
    {"HF_HOME": "~"},
    {"HF_HOME": "~nobody-of-this-name/hf"},
    {"HF_HOME": "a~/hf"},
    {"HF_HOME": "$BASE/hf", "BASE": "{dir}"},
    {"HF_HOME": "${BASE}x/$UNSET/${UNSET}/$/${/$BASE", "BASE": "b$BASE"},
    {"HF_HOME": "${}/$é$BASE-", "BASE": "~"},
    {"HF_HOME": ""},
    {"HF_HOME": "relative/hf"},
    {"XDG_CACHE_HOME": "{dir}/xdg"},
    {"XDG_CACHE_HOME": ""},
    {"XDG_CACHE_HOME": "~/$BASE", "BASE": "xdg"},
    {"XDG_CACHE_HOME": "{dir}/xdg", "HF_HOME": "{dir}/own"},
    {"HF_HUB_CACHE": "{dir}/cache"},
    {"HF_HUB_CACHE": "~/$BASE/cache", "BASE": "x"},
    {"HF_HUB_CACHE": ""},
    {"HF_HUB_CACHE": "{dir}/new", "HUGGINGFACE_HUB_CACHE": "{dir}/old", "HF_HOME": "{dir}/own"},
    {"HUGGINGFACE_HUB_CACHE": "{dir}/old"},
    {"HUGGINGFACE_HUB_CACHE": "~/old", "HF_HOME": "{dir}/own"},
    {"HUGGINGFACE_HUB_CACHE": ""},
    {"HOME": ""},
    {"HOME": "/"},
    {"HOME": "{dir}/$BASE/", "BASE": "b"},
    {"HF_HUB_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "yes"},
    {"HF_HUB_OFFLINE": "On"},
    {"HF_HUB_OFFLINE": "TRUE"},
    {"HF_HUB_OFFLINE": "true "},
    {"HF_HUB_OFFLINE": "y"},
    {"HF_HUB_OFFLINE": "2"},
    {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"},
    {"TRANSFORMERS_OFFLINE": "true"},
    {"HF_ENDPOINT": "https://mirror.example/"},
    {"HF_ENDPOINT": "https://mirror.example/hub//"},
    {"HF_ENDPOINT": ""},
    {"HF_TOKEN": "hf_a"},
    {"HF_TOKEN": " hf_a\n"},
    {"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_b"},
    {"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "hf_b"},
    {"HUGGING_FACE_HUB_TOKEN": "hf_b"},
    {"HF_TOKEN": "hf_a", "HUGGING_FACE_HUB_TOKEN": "hf_b", "HF_TOKEN_PATH": "{dir}/token"},
    {"HF_TOKEN": "hf_a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
    {"HF_TOKEN_PATH": "{dir}/token"},
    {"HF_TOKEN_PATH": "{dir}/blank"},
    {"HF_TOKEN_PATH": "{dir}/absent"},
    {"HF_TOKEN_PATH": "~/../token"},
    {"HF_HUB_DOWNLOAD_TIMEOUT": "30", "HF_HUB_ETAG_TIMEOUT": " 7 "},
    {"HF_HUB_DOWNLOAD_TIMEOUT": "0", "HF_HUB_ETAG_TIMEOUT": "0"},
    {"HF_HUB_DOWNLOAD_TIMEOUT": "1.5"},
    {"HF_HUB_ETAG_TIMEOUT": ""},
]
CHILD = """
import json
from huggingface_hub import constants as c
from huggingface_hub.utils._headers import get_token_to_send
print(json.dumps({"home": c.HF_HOME, "cache": c.HF_HUB_CACHE, "offline": c.HF_HUB_OFFLINE, "endpoint": c.ENDPOINT,
    "token_path": c.HF_TOKEN_PATH, "token": get_token_to_send(None), "answer_timeout": c.HF_HUB_ETAG_TIMEOUT,
    "download_timeout": c.HF_HUB_DOWNLOAD_TIMEOUT}))
"""


def resolved(variables, folder):
    environment = {name: value.replace("{dir}", folder) for name, value in {**HOME, **variables}.items()}
    run = subprocess.run([sys.executable, "-c", CHILD], env=environment, cwd=folder, capture_output=True, text=True)
    if run.returncode:
        error = run.stderr.strip().splitlines()[-1]
        assert error.startswith("ValueError: invalid literal for int"), run.stderr
        return {"refused": True}
    return json.loads(run.stdout.replace(folder, "{dir}"))


with tempfile.TemporaryDirectory() as scratch:
    for name, text in FILES.items():
        path = os.path.join(scratch, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", newline="") as file:
            file.write(text)
    cases = [{"variables": {**HOME, **case}, "resolved": resolved(case, scratch)} for case in CASES]

python = ".".join(map(str, sys.version_info[:2]))
versions = {"huggingface_hub": version("huggingface_hub"), "python": python}
print(json.dumps({"versions": versions, "files": FILES, "cases": cases}, indent=1, ensure_ascii=False))
