"""What a run leaves behind, described without what differs from run to run.

Accuracies may be off by 0.003, in a search of the digits one sample of 397 in both networks and
both epochs: sums in another order may turn a close prediction. None did: one and two threads, and
instructions from SSE4 to AVX-512, gave the same numbers. A change of a seed, of the data or of a
default shows clearly.
"""

import csv
import hashlib
import json
import re

from safetensors import safe_open

ACCURACY = 0.003


def without_times(content):
    """Put 0 for whatever was timed."""
    if isinstance(content, dict):
        return {
            name: 0.0
            if name in ("seconds", "search", "retrain") and isinstance(value, float)
            else without_times(value)
            for name, value in content.items()
        }
    return content


def described_file(path):
    """Say what kind of file it is, by its beginning; of JSON the keys, in their order."""
    if path.suffix == ".json":
        return list(json.loads(path.read_text("utf-8")))
    if path.suffix in (".html", ".csv"):
        return path.read_text("utf-8").splitlines()[0]
    return "PNG" if path.read_bytes().startswith(b"\x89PNG") else "binary"


def described_model(path):
    with safe_open(path, "np") as file:
        shapes = {name: list(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118 - no dict
        return {"metadata": file.metadata(), "shapes": shapes}


def described_list(path):
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    # Which samples there are, and the labels that noise puts on them, NumPy draws: exactly.
    labels = sorted((int(row[0]), row[1], row[-1]) for row in rows)
    return {
        "number of rows": len(rows),
        "samples and labels": hashlib.sha256(repr(labels).encode()).hexdigest(),
        "formats": sorted({re.sub(r"\d+", "N", ",".join(row[:5] + row[6:])) for row in rows}),
        "suspicious": sorted({row[5] for row in rows}),
    }
