"""Renders the templates of `cases.py` with the Jinja2 environment of Transformers.

    python golden/templates/make.py [OUT]       # writes expected.json

`output` is the text, or null where Jinja2 refuses the template or the rendering; `error` then says how. The cases
under `unsupported` are those that Jinja2 renders and this project refuses; their output is left out.
"""

import datetime
import json
import platform
import sys
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

from cases import CONTEXT, UNSUPPORTED, cases, lines

NOW = 1_709_210_096


class Clock(datetime.datetime):
    """A clock that does not move, without a time zone."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


chat_template_utils.datetime = Clock


def rendered(template, context):
    """The text and no error, or no text and the error's type."""
    try:
        return chat_template_utils._cached_compile_jinja_template(template).render(**context), None
    except Exception as error:
        return None, type(error).__name__


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "expected.json")
    rows = []
    for template in cases():
        text, error = rendered(template, CONTEXT)
        rows.append({"template": template, "output": text} | ({"error": error} if error else {}))
    unsupported = list(lines(UNSUPPORTED))
    for template in unsupported:
        text, error = rendered(template, CONTEXT)
        assert error is None, (template, error)
    versions = {"python": platform.python_version(), "jinja2": jinja2.__version__,
                "transformers": transformers.__version__}
    document = {"versions": versions, "now": NOW, "context": CONTEXT,
                "unsupported": unsupported, "cases": rows}
    head = json.dumps(document | {"cases": None}, ensure_ascii=True)
    body = ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows)
    out.write_text(head.removesuffix("null}") + "[\n" + body + "\n]}\n")
    refused = sum(row["output"] is None for row in rows)
    print(f"{len(rows)} templates, {refused} of them refused")


if __name__ == "__main__":
    main()
