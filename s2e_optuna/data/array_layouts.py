"""Which array of an ``.npz`` file is what: by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s2e_optuna.data.named_sets import Source
from s2e_optuna.data.npz import no_such_arrays, npz_names, read_npz
from s2e_optuna.data.split import PARTS, part_of
from s2e_optuna.data.words import some
from s2e_optuna.errors import DataError

ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "y_clean")
"""Names of arrays here; those of other layouts are brought to these."""

_X = frozenset({"x", "xs", "image", "images", "img", "imgs", "data", "feature", "features"})
_Y = frozenset({"y", "ys", "label", "labels", "target", "targets"})
_OTHERS = {
    **dict.fromkeys(("class_names", "classes", "label_names", "target_names"), "class_names"),
    **dict.fromkeys(("ids", "filenames", "file_names", "paths"), "ids"),
    **dict.fromkeys(("y_clean", "clean", "clean_label", "clean_labels"), "y_clean"),
    **dict.fromkeys(("y_train_clean", "true_labels", "y_true"), "y_clean"),
}


def role_of(name: str) -> str | None:
    """Return what an array is, by its name in any case; None for other names.

    Examples
    --------
    >>> [role_of(name) for name in ("train_images", "Y_test", "X", "target", "xtrain", "foo")]
    ['x_train', 'y_test', 'x_train', 'y_train', 'x_train', None]
    """
    lowered = name.casefold()
    if lowered in _OTHERS:
        return _OTHERS[lowered]
    words = re.split(r"[_\W]+", lowered)
    if len(words) == 1:  # xtrain
        words = [w for w in re.split(r"^(x|y)(?=[a-z])", lowered) if w]
    axes = {"x" if word in _X else "y" for word in words if word in _X | _Y}
    parts = {part for word in words if (part := part_of(word)) is not None}
    known = all(word in _X | _Y or part_of(word) is not None for word in words)
    if not known or len(axes) != 1 or len(parts) > 1 or len(words) > 2:
        return None
    return f"{axes.pop()}_{parts.pop() if parts else 'train'}"


def read_arrays(path: Path) -> Source:
    """Read an ``.npz`` file with images and labels, whatever its arrays are called.

    Raises
    ------
    DataError
        There are no such arrays, or two for the same.
    """
    names = npz_names(path)
    roles: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name != role_of(name)):
        role = role_of(name)
        if role is None or roles.get(role) == role:
            continue
        if role not in roles:
            roles[role] = name
        else:
            raise DataError(
                f"{path} has the arrays {roles[role]} and {name}, which both look like {role}: "
                f"call the right one {role}"
            )
    if not {"x_train", "y_train"} <= roles.keys():
        missing = [name for name in ("x_train", "y_train") if name not in names]
        raise no_such_arrays(path, missing, names)
    found = read_npz(path, list(roles.values()), required=list(roles.values()))
    arrays = {role: found[name] for role, name in roles.items()}
    class_names, ids = arrays.pop("class_names", None), arrays.pop("ids", None)
    unused = [name for name in names if name not in roles.values()]
    return Source(
        path.stem,
        dict(arrays),
        None if class_names is None else tuple(map(str, class_names.tolist())),
        None if ids is None else tuple(map(str, ids.tolist())),
        _layout(roles),
        (f"arrays left out: {some(unused)}",) if unused else (),
    )


def read_samples(path: Path) -> tuple[dict[str, Any], dict[str, Sequence[str]], str]:
    """Read the samples of an ``.npz`` file, and no labels.

    Returns
    -------
    parts : dict
        Name of a part to its samples.
    ids : dict
        Name of a part to the names of its samples, where the file has them.
    layout : str
        What the file was taken for.

    Raises
    ------
    DataError
        There are no samples.
    """
    names = npz_names(path)
    roles: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name != role_of(name)):
        role = role_of(name)
        if role is not None and (role.startswith("x_") or role == "ids"):
            roles.setdefault(role, name)
    if not any(role.startswith("x_") for role in roles):
        if len(names) != 1:
            raise no_such_arrays(path, ["x"], names)
        roles["x_train"] = names[0]  # whatever it is called, there is nothing else
    found = read_npz(path, list(roles.values()), required=list(roles.values()))
    parts: dict[str, Any] = {
        part: found[roles[f"x_{part}"]] for part in PARTS if f"x_{part}" in roles
    }
    ids: dict[str, Sequence[str]] = {}
    first = next(iter(parts))
    if "ids" in roles and len(found[roles["ids"]]) == len(parts[first]):
        ids[first] = tuple(map(str, found[roles["ids"]].tolist()))
    shown = [roles[f"x_{part}"] for part in parts]
    return parts, ids, f"{'an array' if len(shown) == 1 else 'arrays'} {some(shown, 6)}"


def _layout(roles: dict[str, str]) -> str:
    parts: Sequence[str] = [role for role in ARRAYS if role in roles]
    if all(roles[role] == role for role in parts):
        return "arrays"
    if roles["x_train"] == "train_images" and roles["y_train"] == "train_labels":
        return "a MedMNIST archive"
    return f"arrays {some([roles[role] for role in parts], 6)}"
