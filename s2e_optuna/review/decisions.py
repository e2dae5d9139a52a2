"""What a person has decided about the labels of a list: a file that only grows.

One line of JSON a decision, and it is on the disk before anybody hears of it. The first line says
what the file is. A later decision about the same sample replaces an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from s2e_optuna.errors import InputError
from s2e_optuna.review.appended import AppendedFile
from s2e_optuna.stored_names import DECISIONS_FILE, SUSPECTS_FILE

_FORMAT = "s2e-decisions-1"


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes
    ----------
    id
        Name of the sample.
    given
        Its label when it was looked at.
    label
        Its true label; None where the person could not say.
    """

    id: str
    given: str
    label: str | None


def decisions_path(listed: Path) -> Path:
    """Return where the decisions about a list lie: beside it.

    Parameters
    ----------
    listed
        Folder of a search or training, or the file of the list.
    """
    if listed.is_dir():
        return listed / DECISIONS_FILE
    if listed.name == SUSPECTS_FILE:
        return listed.with_name(DECISIONS_FILE)
    return listed.with_name(f"{listed.stem}.{DECISIONS_FILE}")


class DecisionFile(AppendedFile):
    """Decisions in a file, to which one process at a time adds; a context manager.

    Parameters
    ----------
    path
        The file. It goes on where it stopped; a last line that was cut off is dropped, for nobody
        was told of it.

    Raises
    ------
    InputError
        Another process has it open, or it is damaged.
    OSError
        It cannot be written.

    Attributes
    ----------
    decisions
        All of them in their order.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            f"another s2e review has {path} open: use its page, in as many browsers as you like, "
            "or end it first.",
        )
        try:
            is_new, self.decisions, size = _parse(path)
            if size < self.size:
                self.cut(size)
            if is_new:
                self._write({"format": _FORMAT})
        except BaseException:
            self.close()
            raise

    def add(self, decision: Decision) -> None:
        """Write a decision; when this returns, it is on the disk.

        Raises
        ------
        OSError
            It could not be written; then nothing of it is in the file.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({**asdict(decision), "time": now})
        self.decisions.append(decision)

    def _write(self, content: Mapping[str, Any]) -> None:
        self.append(json.dumps(content).encode() + b"\n")


def read_decisions(path: Path) -> dict[str, Decision]:
    """Return the last decision about each sample, by its name; none where there is no file.

    Raises
    ------
    InputError
        The file is damaged.
    """
    return {one.id: one for one in _parse(path)[1]} if path.is_file() else {}


def _parse(path: Path) -> tuple[bool, list[Decision], int]:
    """Return whether the file is empty, the decisions, and the bytes of all whole lines."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    decisions = []
    for number, line in enumerate(content[:size].split(b"\n")[:-1], start=1):
        try:
            found = json.loads(line)
            if number == 1:
                if found["format"] != _FORMAT:
                    raise ValueError("another format")
                continue
            one = Decision(found["id"], found["given"], found["label"])
            texts = (one.id, one.given, one.label if one.label is not None else "")
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a name is no text")
            decisions.append(one)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"line {number} of {path} is no decision: take that line out, or move the file "
                "away."
            ) from error
    return size == 0, decisions, size
