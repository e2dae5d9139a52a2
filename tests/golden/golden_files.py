"""Golden files: what the program said when they were written, beside what it says now.

After an intended change, ``S2E_UPDATE_GOLDEN=1 python -m pytest tests/golden`` writes them anew;
their diff is then the change, to be looked at and committed with it.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
UPDATING = bool(os.environ.get("S2E_UPDATE_GOLDEN"))

HOW_TO = "; if that is meant, S2E_UPDATE_GOLDEN=1 python -m pytest tests/golden writes it anew"


def golden_text(name: str, make: Callable[[], str]) -> str:
    """Read a golden file, written anew first if that is asked for."""
    path = HERE / name
    if UPDATING:
        # Two test processes may write it at once: each in one step, and both the same.
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(make(), encoding="utf-8")
        partial.replace(path)
    return path.read_text(encoding="utf-8")


def golden_json(name: str, make: Callable[[], Any]) -> Any:
    def text() -> str:
        return json.dumps(make(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    return json.loads(golden_text(name, text))


def check(found: Any, golden: Any, within: Mapping[str, float] | None = None) -> None:
    """Compare as JSON: the same keys, types and lengths, and the same values.

    ``within`` maps paths such as ``scores.s2e`` to how far numbers there and below may be off,
    and ``""`` is all of it; the longest path that fits counts.
    """
    wrong = _differences(json.loads(json.dumps(found)), golden, within or {}, "")
    if wrong:
        pytest.fail("\n".join([f"not as in the golden file{HOW_TO}", *wrong]), pytrace=False)


def _differences(found: Any, golden: Any, within: Mapping[str, float], path: str) -> list[str]:
    if isinstance(found, dict) and isinstance(golden, dict):
        lost = [f"{path}.{key} is gone" for key in golden if key not in found]
        new = [f"{path}.{key} is new: {found[key]!r}" for key in found if key not in golden]
        both = [key for key in golden if key in found]
        inside = (_differences(found[k], golden[k], within, f"{path}.{k}") for k in both)
        return [*lost, *new, *(line for lines in inside for line in lines)]
    if isinstance(found, list) and isinstance(golden, list):
        if len(found) != len(golden):
            return [f"{path} has {len(found)} entries, not {len(golden)}"]
        inside = (
            _differences(one, other, within, f"{path}.{i}")
            for i, (one, other) in enumerate(zip(found, golden, strict=True))
        )
        return [line for lines in inside for line in lines]
    if type(found) is not type(golden):
        return [f"{path} is {found!r}, not {golden!r}"]
    allowed = _allowed(path.removeprefix("."), within)
    if allowed and isinstance(found, int | float) and not isinstance(found, bool):
        same = abs(found - golden) <= allowed
    else:
        same = found == golden
    return [] if same else [f"{path} is {found!r}, not {golden!r} (within {allowed:g})"]


def _allowed(path: str, within: Mapping[str, float]) -> float:
    fitting = [key for key in within if not key or f"{path}.".startswith(f"{key}.")]
    return within[max(fitting, key=len)] if fitting else 0.0
