"""What every trial says about itself, in one system attribute.

The attribute is the trial's *tag*::

    s2e:tag = {"n": 17,            its own number; a clone of it, in a retried trial, has another
               "sig": "3f…-91…",   the search space and the sampler's options, hashed
               "m": 3,             the newest generation when it started
               "src": 14,          the trial whose commit opened the generation it draws from
               "commit": {"parent": 9, "batch": [8, 10, …], "theta": [1.02, …],
                          "kernel": [-0.51, …], "options": {…}, "space": ["x", …]}}

``sig`` is missing while no trial has finished, because the search space is not known: such a
trial draws from theta^1, the uniform distribution. ``src`` is missing for theta^1, from which a
share of the later trials may be drawn, too. ``kernel`` holds the surrogate's hyperparameters,
with which the other trials of the generation need not fit it again. ``options`` and ``space``, the
sampler's options and the names of the parameters, stand in the commit that opens generation 2 and
nowhere else: with them every later theta can be recomputed. So does ``"pruned": "final"``, which
says that pruned trials count with what they would have ended with; and ``"rule"``, by which rule
theta is computed (`RULE`). Earlier versions had neither, and a search that they began goes on by
the rules that it began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

Array = NDArray[np.float64]

TAG_KEY = "s2e:tag"

_FINAL = "final"

RULE = 3
"""By which a new search goes: how many draws an update takes (`commit`), and how they and the
candidates are drawn. The rules before are kept, so that each theta can be recomputed."""


@dataclass(frozen=True)
class Origin:
    """What all generations of a ``sig`` have in common."""

    options: Mapping[str, Any]
    """The sampler's options, as they are stored."""
    names: tuple[str, ...]
    """The parameters of the search space."""
    finals: bool = True
    """Whether pruned trials count with what they would have ended with."""
    rule: int = RULE
    """By which theta is computed."""


@dataclass(frozen=True)
class Commit:
    """The update that opened a generation."""

    number: int
    """The trial that carries it."""
    m: int
    """The generation it opens, from 2 on."""
    parent: int | None
    """The trial whose commit opened generation m-1; None for theta^1."""
    batch: tuple[int, ...]
    """The trials it was computed from."""
    theta: Array
    """Natural parameters, shape [d]."""
    kernel: tuple[float, ...] | None = None
    """Hyperparameters of the surrogate that theta was computed with; None without one."""
    origin: Origin | None = None
    """In the commit that opens the second generation."""


@dataclass(frozen=True)
class Tag:
    """What a trial says about itself; the module's description has it in full."""

    number: int
    sig: str | None
    m: int
    source: int | None
    commit: Commit | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the value of the system attribute."""
        content: dict[str, Any] = {"n": self.number, "m": self.m}
        if self.sig is not None:
            content["sig"] = self.sig
        if self.source is not None:
            content["src"] = self.source
        if self.commit is not None:
            content["commit"] = {
                "parent": self.commit.parent,
                "batch": list(self.commit.batch),
                "theta": rounded(self.commit.theta),
            }
            if self.commit.kernel is not None:
                content["commit"]["kernel"] = list(self.commit.kernel)
            if (origin := self.commit.origin) is not None:
                content["commit"]["options"] = dict(origin.options)
                content["commit"]["space"] = list(origin.names)
                if origin.finals:
                    content["commit"]["pruned"] = _FINAL
                if origin.rule > 1:
                    content["commit"]["rule"] = origin.rule
        return content

    @classmethod
    def of(cls, trial: FrozenTrial) -> Tag | None:
        """Read a trial's tag, or what it has been cloned from; None if it has none.

        The attribute may be anything: of another version, or written by hand. One that cannot be
        read is none, and so is such a commit.
        """
        content = trial.system_attrs.get(TAG_KEY)
        if not isinstance(content, Mapping):
            return None
        number, m = content.get("n"), content.get("m")
        sig, source = content.get("sig"), content.get("src")
        if not (is_count(number) and is_count(m)):
            return None
        if not (sig is None or isinstance(sig, str)) or not (source is None or is_count(source)):
            return None
        return cls(number, sig, m, source, _read_commit(number, m, content.get("commit")))


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a stored value is a number that a trial or a generation may have."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_commit(number: int, m: int, stored: Any) -> Commit | None:
    if not isinstance(stored, Mapping):
        return None
    parent, batch = stored.get("parent"), stored.get("batch")
    if not (parent is None or is_count(parent)):
        return None
    if not isinstance(batch, Sequence) or not batch or not all(map(is_count, batch)):
        return None
    theta, numbers = _read_numbers(stored.get("theta")), _read_numbers(stored.get("kernel"))
    if theta is None:
        return None
    kernel = None if numbers is None else tuple(map(float, numbers))
    options, names = stored.get("options"), stored.get("space")
    origin = None
    if isinstance(options, Mapping) and isinstance(names, Sequence):
        finals = stored.get("pruned") == _FINAL
        rule = stored.get("rule")
        rule = max(rule, 1) if is_count(rule) else 1
        origin = Origin(options, tuple(map(str, names)), finals, rule)
    return Commit(number, m, parent, tuple(batch), theta, kernel, origin)


def _read_numbers(stored: Any) -> Array | None:
    """Read a list of finite numbers, shape [n]; None if it is not one."""
    try:
        numbers = np.array(stored, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers.ndim == 1 and np.all(np.isfinite(numbers)) else None


def rounded(numbers: Array) -> list[float]:
    """Nine significant digits of numbers [n]: as they are stored, and as everybody uses them."""
    return [float(f"{value:.9g}") for value in numbers]


def space_signature(space: Mapping[str, BaseDistribution]) -> str:
    """Hash a search space; the same in every process."""
    text = json.dumps([[name, _text_of(space[name])] for name in sorted(space)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text_of(distribution: BaseDistribution) -> str:
    try:
        return distribution_to_json(distribution)
    except TypeError:  # choices that only a storage in memory holds: no other process reads this
        return repr(distribution)


def came_with_params(trial: FrozenTrial) -> bool:
    """Whether a trial that starts has its parameters: enqueued, a retry, of another sampler."""
    attrs = trial.system_attrs
    if trial.params or "fixed_params" in attrs or "retry_history" in attrs:
        return True
    tag = Tag.of(trial)
    return tag is not None and tag.number != trial.number
