"""Reads a run's event files with TensorBoard and compares them with its metrics.jsonl.

    python -m pip install tensorboard==2.21.0 "setuptools<81"
    python golden/tensorboard/check.py RUN

Every number of metrics.jsonl has to be in the event files, in order, as the float32 nearest to it, under its own tag in the
TensorBoard run of its stage, and nothing else may be there; TensorBoard checks the records' checksums while it reads. A step is
the count of the stage's steps so far: a line that repeats (round, step) of the line before it in its stage and has none of its
names belongs to that step. Exit code 0 or 1.
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader


def stage(line):
    """TensorBoard run of a line."""
    return line["phase"]


def expected(run):
    """(stage, tag) -> [(step, value)], by the rule of the docstring."""
    series, last = {}, {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        key, at = stage(line), (line["round"], line["step"])
        names = [n for n in line if n not in ("round", "phase", "step")]
        step, before, had = last.get(key, (0, None, set()))
        if before != at or had & set(names):
            step += 1
        last[key] = (step, at, set(names))
        for name in names:
            series.setdefault((key, name), []).append((step, line[name]))
    return series


def found(run):
    series = {}
    for path in sorted((run / "tensorboard").glob("*/events.out.tfevents.*")):
        for number, event in enumerate(EventFileLoader(str(path)).Load()):
            if number == 0:
                assert event.file_version == "brain.Event:2", event
                continue
            for value in event.summary.value:
                # The loader turns simple_value into a tensor of one float32.
                number = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
                series.setdefault((path.parent.name, value.tag), []).append((event.step, number))
    return series


def same(written, read):
    if written is None:
        return read != read
    return struct.unpack("f", struct.pack("f", written))[0] == read


def main(run):
    want, have = expected(run), found(run)
    if want.keys() != have.keys():
        sys.exit(f"tags differ: {sorted(want.keys() ^ have.keys())}")
    count = 0
    for key, points in want.items():
        if len(points) != len(have[key]):
            sys.exit(f"{key}: {len(points)} numbers in metrics.jsonl, {len(have[key])} in event files")
        for (step, value), (other_step, other) in zip(points, have[key]):
            if step != other_step or not same(value, other):
                sys.exit(f"{key}: {step}: {value} became {other_step}: {other}")
            count += 1
    print(f"{count} numbers of {len(want)} tags are the same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
