"""Labels of a few validation samples that somebody has checked: read, and tied to the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from s2e_optuna.data.class_numbers import encode_labels, is_missing
from s2e_optuna.data.noisy_data import NOT_CHECKED, NoisyData
from s2e_optuna.data.text_tables import read_text_table
from s2e_optuna.data.words import count, some
from s2e_optuna.errors import DataError

FEW = 5
"""Checked labels below which they say little."""

Checked = str | Path | Mapping[Any, Any] | tuple[ArrayLike, ArrayLike]
"""A CSV file with the columns ``id`` and ``label``; a sample's id, or its number where samples
have no names, to its label; or samples and their labels, as two sequences. A file may have the
column ``given_label``, too: the label that was looked at, where the data have another one now."""


def with_checked(data: NoisyData, checked: Checked | None) -> NoisyData:
    """Note the checked labels of a validation part that is as noisy as the training part.

    Samples without a label were looked at in vain, and are left out. Those of the training part
    are not used, because nobody knows how they were chosen: their number is said. Of two answers
    for one sample the later one counts.

    Parameters
    ----------
    data
        Any; without checked labels it is returned as it is. Those that it has already, of a column
        of true labels, stay.
    checked
        The labels.

    Raises
    ------
    DataError
        The validation labels count as right already, none of the samples is in the validation
        part, a label is no class, or the file cannot be read.
    """
    if checked is None:
        return data if data.val_checked is None else _with_words(data)
    source = str(checked) if isinstance(checked, str | Path) else "checked"
    pairs = as_pairs(checked)
    if data.validation != "noisy" or not data.val_ids:
        raise DataError(
            f"the labels of the validation part count as right, so checked ones ({source}) are "
            "of no use: leave `checked` out, or cut the part from the training data, with "
            "`validation` noisy"
        )
    words: list[str] = []
    found: dict[str, str] = {}
    changed: set[str] = set()
    for name, label in pairs:
        if is_missing(label):
            continue
        if found.get(name, label) != label:
            changed.add(name)
        found[name] = label
    if changed:
        words.append(
            f"warning: {count(len(changed), 'sample')} ({some(sorted(changed), 3)}) checked twice "
            "with different answers: the later ones count"
        )
    place = {name: row for row, name in enumerate(data.val_ids)}
    trained, used = set(data.ids), [name for name in found if name in place]
    outside = [name for name in found if name not in place]
    unknown = [name for name in outside if name not in trained]
    if not used:
        raise DataError(
            f"none of {count(len(found), 'checked sample')} ({source}) is in the validation part"
            f"{_for_example(unknown or outside)}: check some that `s2e check` draws, with the "
            "same options"
        )
    if unknown:
        words.append(
            f"warning: {count(len(unknown), 'checked sample')} ({some(unknown, 3)}) not in the "
            "data, and left out"
        )
    if len(outside) > len(unknown):
        words.append(
            f"{count(len(outside) - len(unknown), 'checked sample')} of the training part not "
            "used: only those that validate are"
        )
    labels = encode_labels([found[name] for name in used], data.class_names, source)
    numbers = np.full(len(data.val_ids), NOT_CHECKED, dtype=np.int64)
    if data.val_checked is not None:
        numbers[:] = data.val_checked.numpy()
    numbers[[place[name] for name in used]] = labels
    y_val = data.y_val.clone()
    looked_at = _labels_looked_at(checked)
    if again := [name for name in used if looked_at.get(name)]:
        # Corrected ones would say that no label is wrong.
        before = encode_labels([looked_at[name] for name in again], data.class_names, source)
        y_val[[place[name] for name in again]] = torch.from_numpy(np.asarray(before))
    return _with_words(
        replace(data, y_val=y_val, val_checked=torch.from_numpy(numbers)), tuple(words)
    )


def _with_words(data: NoisyData, words: tuple[str, ...] = ()) -> NoisyData:
    """Say what is checked."""
    assert data.val_checked is not None
    numbers = data.val_checked.numpy()
    known = numbers != NOT_CHECKED
    wrong = int((data.y_val.numpy()[known] != numbers[known]).sum())
    said = (
        f"{int(known.sum())} of the {len(numbers):,} validation labels checked, {wrong} of them "
        "wrong: schedules are judged by these and by what they say of the others"
    )
    warnings = _warnings(numbers[known], data.class_names)
    return replace(data, reading=(*data.reading, said, *words, *warnings))


def as_pairs(checked: Checked) -> list[tuple[str, str]]:
    """Return the name of each sample with its label, as texts; an empty one for no label."""
    if isinstance(checked, str | Path):
        return _read(Path(checked).expanduser())
    if isinstance(checked, Mapping):
        names, labels = list(checked), list(checked.values())
    elif isinstance(checked, tuple | list) and len(checked) == 2:
        names, labels = (np.asarray(values).tolist() for values in checked)
    else:
        raise DataError(
            "checked labels are a file, a mapping of samples to labels, or a pair of samples and "
            "labels"
        )
    if not isinstance(names, list) or not isinstance(labels, list) or len(names) != len(labels):
        raise DataError("checked samples and their labels differ in number: give one label each")
    texts = ["" if label is None else str(label) for label in labels]
    return list(zip(map(str, names), texts, strict=True))


def _read(path: Path) -> list[tuple[str, str]]:
    table = read_text_table(path)
    header = [cell.lower() for cell in table.rows[0]]
    if not {"id", "label"} <= set(header):
        raise DataError(
            f"{path} has the columns {some(table.rows[0])}: a file of checked labels needs id and "
            "label"
        )
    columns = (table.column(header.index(name), 1) for name in ("id", "label"))
    return list(zip(*columns, strict=True))


def _labels_looked_at(checked: Checked) -> dict[str, str]:
    """Return the labels that were looked at, by the samples' names, where a file has them."""
    if not isinstance(checked, str | Path):
        return {}
    table = read_text_table(Path(checked).expanduser())
    header = [cell.lower() for cell in table.rows[0]]
    if "given_label" not in header:
        return {}
    columns = (table.column(header.index(name), 1) for name in ("id", "given_label"))
    return dict(zip(*columns, strict=True))


def _warnings(labels: np.ndarray[Any, Any], class_names: Sequence[str]) -> list[str]:
    if len(labels) < FEW:
        return [f"warning: {count(len(labels), 'checked label')} say little: check 20"]
    if len(np.unique(labels)) == 1:
        return [
            f"warning: all {len(labels)} checked samples are of the class "
            f"{class_names[labels[0]]}: draw those to check at random"
        ]
    return []


def _for_example(names: Sequence[str]) -> str:
    return f" (for example {names[0]})" if names else ""
