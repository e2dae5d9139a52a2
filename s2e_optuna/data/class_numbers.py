"""Labels as people have them (names, any whole numbers, one-hot) as numbers 0 .. C-1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.words import in_order
from s2e_optuna.errors import DataError

_MISSING = frozenset({"", "nan", "<na>", "#n/a"})
_MISSING_IN_TABLES = _MISSING | {"na", "n/a", "null"}


def number_classes(
    labels: Mapping[str, Any], class_names: Sequence[str] | None
) -> tuple[dict[str, Any], Sequence[str] | None]:
    """Turn names, truth values, whole numbers and one-hot rows into numbers 0 .. C-1.

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
        A text is missing or no class, some parts have text and others numbers, or rows are
        shares of classes.
    """
    found = {part: _whole(values, part) for part, values in labels.items() if values is not None}
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
    if found and all(v.dtype.kind in "ui" and v.ndim == 1 and v.size for v in found.values()):
        values = np.unique(np.concatenate([np.unique(part) for part in found.values()]))
        numbers = values.tolist()
        from_one = numbers[0] == 1 and numbers[-1] == len(class_names or numbers)
        if from_one and class_names is not None:
            found = {part: labels.astype(np.int64) - 1 for part, labels in found.items()}
        # -1 beside other numbers than 1 often means that there is no label.
        are_names = numbers[0] >= 0 or numbers == [-1, 1]
        if class_names is None and are_names and numbers != list(range(len(numbers))):
            class_names = tuple(map(str, numbers))
            found = {part: np.searchsorted(values, labels) for part, labels in found.items()}
    return found, class_names


def _whole(labels: Any, part: str) -> np.ndarray[Any, Any]:
    """Return one label a sample; truth values and floats without fractions become integers."""
    values = labels.numpy(force=True) if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim > 1 and values.size == len(values):  # [N, 1], as Keras and MedMNIST have them
        values = values.reshape(len(values))
    if values.ndim == 2 and values.dtype.kind in "buif" and values.size:
        values = _from_one_hot(values, part)
    whole = values.dtype.kind == "f" and np.isfinite(values).all() and (values % 1 == 0).all()
    return values.astype(np.int64) if whole or values.dtype.kind == "b" else values


def _from_one_hot(values: np.ndarray[Any, Any], part: str) -> np.ndarray[Any, Any]:
    """Return the class of each row [N, C] with a single 1; what is nothing like it stays."""
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        return values
    what = f"the {part.removeprefix('y_')} labels [{len(values)}, {values.shape[1]}]"
    if ((values > 0) & (values < 1)).any():
        raise DataError(f"{what} are shares of classes: give one class a sample")
    if not (values.sum(axis=1) == 1).all():
        raise DataError(f"{what} name several classes at once, or none: give one class a sample")
    return np.asarray(values.argmax(axis=1))


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


def is_missing(label: str, *, in_table: bool = False) -> bool:
    """Whether a text is what programs write in place of a label that is not there.

    Parameters
    ----------
    label
        The text.
    in_table
        Whether it comes from a table of text: there ``NA`` and ``null`` are none, either.
    """
    return label.strip().lower() in (_MISSING_IN_TABLES if in_table else _MISSING)


def without_fractions(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels such as ``3.0`` as ``3``, if all that are there are such numbers.

    Programs write whole numbers so where some labels of a column are missing.
    """
    there = [label for label in labels if not is_missing(label, in_table=True)]
    if not there or not all(_is_whole(label) for label in there):
        return tuple(labels)
    return tuple(label.removesuffix(".0") for label in labels)


def _is_whole(label: str) -> bool:
    return label.removesuffix(".0").removeprefix("-").isdecimal()


def table_classes(tables: Iterable[Sequence[str]], class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names that labels of a table refer to.

    Parameters
    ----------
    tables
        Columns of labels.
    class_names
        Names that the data have; empty where only the table knows.

    Returns
    -------
    tuple of str
        `class_names` if there are some, else all labels in order, numbers by their value.
    """
    if class_names:
        return tuple(class_names)
    return in_order({label for column in tables for label in column})


def encode_labels(
    labels: Sequence[str], class_names: Sequence[str], source: str
) -> NDArray[np.int64]:
    """Turn names of classes, or their numbers 0 .. C-1, into numbers.

    Parameters
    ----------
    labels
        Labels as they were written, N of them.
    class_names
        Names of the C classes.
    source
        Where the labels come from, for messages.

    Raises
    ------
    DataError
        A label is neither a class name nor the number of a class.
    """
    names = {name: number for number, name in enumerate(class_names)}
    numbers = {str(number): number for number in range(len(class_names))}
    known = set(labels)
    position = numbers if len(known & numbers.keys()) > len(known & names.keys()) else names
    wrong = next((label for label in labels if label not in position), None)
    if wrong is not None:
        shown = ", ".join(class_names[:10]) + (", …" if len(class_names) > 10 else "")
        raise DataError(
            f"the labels ({source}) hold {wrong!r}, which is no class: the classes are {shown}, "
            f"or their numbers 0 to {len(class_names) - 1}"
        )
    return np.array([position[label] for label in labels], dtype=np.int64)
