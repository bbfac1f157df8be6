"""Which files `datasets` takes for which split, printed as JSON: `python golden/hub/datasets_files.py > golden/hub/datasets.json`.

Versions: datasets 5.2.0, huggingface_hub 2.4.0, fsspec 2026.9.0, Python 3.11. Each case is a folder of files with made-up names and
perhaps a README; the builder that `datasets` makes for it says which files it would read. `refused` is the type of its error. Also, which
names huggingface_hub takes for ids of repositories."""

import json
import os
import sys
import tempfile
import warnings
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets
from huggingface_hub.utils import HFValidationError, validate_repo_id

warnings.filterwarnings("ignore")
datasets.logging.set_verbosity_error()
SHARD = "data/{}-{:05}-of-{:05}.parquet".format


def readme(*configs):
    return "---\nlicense: mit\nconfigs:\n" + "\n".join(configs) + "\n---\n# Title\n"


FORMS = readme(
    "- config_name: one\n  data_files: a.csv",
    "- config_name: several\n  data_files: [b.csv, 'sub/*.csv']",
    "- config_name: splits\n  default: true\n  data_files:\n  - split: train\n    path: [sub/z.csv, sub/y.csv]\n  - split: hard.er\n    path: 'sub/**'",
    "- config_name: folder\n  data_dir: split",
    "- config_name: below\n  data_dir: split\n  data_files: test/*.csv",
    "- config_name: all\n  data_files: '**/*.csv'",
    "- config_name: class\n  data_files: '[!a].csv'",
)
FORM_FILES = ["a.csv", "b.csv", "sub/z.csv", "sub/y.csv", "sub/deep/x.csv", "split/train/1.csv", "split/test/1.csv", "split/test/0.csv"]
CASES = [
    (["x.jsonl"],),
    (["b.csv", "a.csv", "B.csv", "LICENSE", "notes.rst"],),
    (["train.jsonl", "test.jsonl", "validation.jsonl"],),
    (["data/train.csv", "data/dev.csv", "data/eval.csv"],),
    (["train_1.csv", "train_10.csv", "train_2.csv", "test_0.csv"],),
    (["my-train-set.json", "my_eval.json", "train.2.json", "val 3.json"],),
    (["data/train/1.csv", "data/train/0.csv", "data/valid/0.csv", "other.csv"],),
    (["sub/testing/x/y.parquet", "sub/training/a.parquet", "sub/train-2/b.parquet", "my_train/c.parquet"],),
    ([SHARD("train", i, 3) for i in (2, 0, 1)] + [SHARD("extra", 0, 1), SHARD("test", 0, 1)],),
    (["data/extra-00000-of-00001-9f.parquet", "data/a-b-00000-of-00001.parquet"],),
    (["data/b-00000-of-00001.parquet", "data/a.x-00000-of-00001.parquet", "train.parquet"],),
    (["a/train-00000-of-00001.parquet", "a/test-00000-of-00001.parquet"],),
    (["data/train-00000-of-00001.jsonl.gz"],),
    (["trainer.csv", "other.csv", "detrain.csv", "train.csv"],),
    (["trainer.csv", "other.csv"],),
    (["train.parquet", "train_2.parquet", "train.csv"],),
    (["train.csv", "train.parquet"],),
    (["train.json", "train.jsonl"],),
    ([".cache/train.csv", "__old/train.csv", "__train.csv", "train.csv"],),
    (["config.json", "x.json"],),
    (["default/train/0000.parquet", "default/test/0000.parquet", "other/train/0000.parquet"],),
    (["TRAIN.csv", "Test.csv"],),
    (["train.v1.csv", "v1.test.csv"],),
    (["validation/a.csv", "val/b.csv", "evaluation/c.csv", "development/d.csv"],),
    (["a.txt", "b.csv", "c.csv"],),
    (["train"],),
    ([],),
    *[(FORM_FILES, FORMS, name) for name in (None, "one", "several", "splits", "folder", "below", "all", "class", "none")],
    (["a.csv"], readme("- config_name: a\n  data_files: gone.csv")),
    (["a.csv"], readme("- config_name: a\n  data_files: 'gone/*'")),
    (["a.csv"], readme("- config_name: a\n  data_files: ./a.csv")),
    (["a.csv"], readme("- config_name: a\n  data_files: 'a**.csv'")),
    (["a.csv"], readme("- data_files: a.csv")),
    (["a.csv"], readme("- config_name: a\n  data_files:\n  - split: train")),
    (["a.csv", "b.csv"], readme("- config_name: a\n  data_files: a.csv", "- config_name: b\n  data_files: b.csv")),
    (["a.csv", "b.csv"], readme("- config_name: a\n  data_files: a.csv", "- config_name: default\n  data_files: b.csv")),
    (["a.csv", "b.csv"], "# no metadata\n---\nconfigs: 7\n---\n"),
]
NAMES = [
    "gpt2", "owner/name", "123", "Foo-BAR_foo.bar123", "_a/_b", "a/b_", "a.b/c.d", "", "/", "a/", "/b", "a/b/c", "datasets/a/b", ".a", "a.", "-a",
    "a-", "a--b", "a..b", "foo.git", "a/b.git", "a.git/b", "a b", "a/b@c", "café", "a\\b", "x" * 96, "x" * 97, "x" * 96 + "/" + "y" * 96, "x/" + "y" * 97,
]


def found(files, readme=None, name=None):
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            path = os.path.join(folder, file)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        if readme:
            with open(os.path.join(folder, "README.md"), "w") as file:
                file.write(readme)
        try:
            with tempfile.TemporaryDirectory() as cache:
                builder = datasets.load_dataset_builder(folder, name=name, cache_dir=cache)
            patterns = builder.config.data_files
            splits = {str(split): [os.path.relpath(path, folder) for path in paths] for split, paths in patterns.items()}
            return {"splits": splits}
        except Exception as error:
            return {"refused": type(error).__name__}


def is_id(name):
    try:
        validate_repo_id(name)
        return True
    except HFValidationError:
        return False


cases = []
for case in CASES:
    files, text, name = (*case, None, None)[:3]
    cases.append({"files": files, "readme": text, "config": name, **found(files, text, name)})
versions = {package: version(package) for package in ("datasets", "huggingface_hub", "fsspec")}
versions["python"] = ".".join(map(str, sys.version_info[:2]))
print(json.dumps({"versions": versions, "cases": cases, "ids": {name: is_id(name) for name in NAMES}}, indent=1, ensure_ascii=False))
