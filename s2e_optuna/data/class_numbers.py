"""Labels as people have them (names, whole floats, numbers from 1) as numbers 0 .. C-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from s2e_optuna.data.label_tables import encode_labels, is_missing, table_classes
from s2e_optuna.errors import DataError


def number_classes(
    labels: Mapping[str, Any], class_names: Sequence[str] | None
) -> tuple[dict[str, Any], Sequence[str] | None]:
    """Turn names, truth values, whole floats and numbers 1 .. C into numbers 0 .. C-1.

    Parameters
    ----------
    labels
        Name of a part to its labels; None where there are none.
    class_names
        Names of the classes, where the user gives them.

    Returns
    -------
    labels : dict
        The parts with labels. What is no label of these kinds is left as it is, for
        `s2e_optuna.data.noisy_data.as_labels` to say what is wrong with it.
    class_names : sequence of str or None
        Names of the classes; None where labels are numbers from 0 without names.

    Raises
    ------
    DataError
        A text is missing or no class, or some parts have text and others numbers.
    """
    found = {part: _whole(values) for part, values in labels.items() if values is not None}
    texts = {part: values for part, values in found.items() if _is_text(values)}
    if class_names is None and texts:
        others = found.keys() - texts.keys()
        if others:
            raise DataError(
                f"the {min(texts)} labels are text and the {min(others)} labels are not: give "
                "names everywhere, or numbers"
            )
        class_names = table_classes([_words(values, part) for part, values in texts.items()], ())
    if class_names is not None:
        for part, values in texts.items():
            found[part] = encode_labels(_words(values, part), class_names, part)
    if found and all(values.dtype.kind in "ui" and values.size for values in found.values()):
        lowest = min(int(values.min()) for values in found.values())
        highest = max(int(values.max()) for values in found.values())
        if lowest == 1 and (class_names is None or highest == len(class_names)):
            class_names = class_names or tuple(map(str, range(1, highest + 1)))
            found = {part: values.astype(np.int64) - 1 for part, values in found.items()}
    return found, class_names


def _whole(labels: Any) -> np.ndarray[Any, Any]:
    """Return an array; truth values and floats without fractions become integers."""
    values = labels.numpy(force=True) if isinstance(labels, Tensor) else np.asarray(labels)
    whole = values.dtype.kind == "f" and np.isfinite(values).all() and (values % 1 == 0).all()
    return values.astype(np.int64) if whole or values.dtype.kind == "b" else values


def _is_text(values: np.ndarray[Any, Any]) -> bool:
    if values.ndim != 1:
        return False
    objects = values.dtype.kind == "O" and all(isinstance(label, str) for label in values)
    return bool(values.size) and (objects or values.dtype.kind in "US")


def _words(values: np.ndarray[Any, Any], part: str) -> tuple[str, ...]:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    words = tuple(map(str, values.tolist()))
    if missing := sum(map(is_missing, words)):
        raise DataError(
            f"{missing} of the {part} labels are missing: fill them in, or remove the samples"
        )
    return words
