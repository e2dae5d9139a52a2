"""The options of `S2ESampler`, as one value."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import DIRECTIONS, Update
from s2e_optuna.sampler.ledger import Chain
from s2e_optuna.sampler.tags import Tag
from s2e_optuna.schedules import WARM_TAUS, coteaching_params


@dataclass(frozen=True)
class Options:
    """What an update of theta depends on; part of every trial's ``sig``."""

    batch_size: int
    step_size: float
    update: Update
    estimator: Literal["surrogate", "score"]
    baseline: bool
    eigenvalue_floor: float
    max_kl: float
    min_theta: float
    warm_start: bool
    prior: tuple[Mapping[str, Any], ...]
    candidates: int
    uniform_share: float
    features: str | None

    def __post_init__(self) -> None:
        least = 2 if self.estimator == "score" and self.baseline else 1
        if self.batch_size < least:
            reason = " (a trial's baseline is the mean of the others)" if least == 2 else ""
            raise ValueError(
                f"batch_size must be at least {least}{reason}, but is {self.batch_size}."
            )
        if self.update not in DIRECTIONS:
            known = ", ".join(DIRECTIONS)
            raise ValueError(f"unknown update {self.update!r}: choose one of {known}.")
        if self.estimator not in ("surrogate", "score"):
            raise ValueError(
                f"unknown estimator {self.estimator!r}: choose 'surrogate' or 'score'."
            )
        for name in ("step_size", "eigenvalue_floor", "min_theta"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be positive, but is {getattr(self, name)}.")
        if self.candidates < 1:
            raise ValueError(f"candidates must be at least 1, but is {self.candidates}.")
        if self.estimator == "score" and (self.candidates > 1 or self.features is not None):
            raise ValueError(
                "candidates and features need a surrogate: leave them out with estimator='score'."
            )
        if not 0.0 <= self.uniform_share < 1.0:
            raise ValueError(f"uniform_share must be in [0, 1), but is {self.uniform_share}.")
        if not self.max_kl > 0:
            raise ValueError(f"max_kl must be positive, but is {self.max_kl}.")

    def warm_params(self, number: int) -> Mapping[str, Any]:
        """Parameters that a study's ``number``-th trial starts warm with; empty if it does not."""
        if self.prior:
            return self.prior[number] if number < len(self.prior) else {}
        if not self.warm_start or number >= len(WARM_TAUS):
            return {}
        return coteaching_params(WARM_TAUS[number])

    def starts_warm(self, number: int, names: Collection[str]) -> bool:
        """Whether a study's ``number``-th trial starts warm, given the parameters' names.

        It takes what an earlier study knows of them, but one of Co-teaching's schedules whole.
        """
        warm = set(self.warm_params(number))
        return bool(warm & set(names) if self.prior else warm and warm <= set(names))

    def accepts(self, chain: Chain, trial: FrozenTrial) -> bool:
        """Whether the estimate can use a finished trial.

        The surrogate can use any. A score estimate is about p_theta, and must leave out what was
        not drawn from it.
        """
        if self.estimator == "surrogate":
            return True
        tag = Tag.of(trial)
        if tag is None or not chain.was_drawn(trial):
            return False
        return not self.starts_warm(tag.number, trial.params)

    def stored(self) -> dict[str, Any]:
        """Return the options as a study stores them; `read` is the inverse."""
        content: dict[str, Any] = json.loads(self._text())
        return content

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Options | None:
        """Read stored options; None if they are not those of this version."""
        try:
            return cls(**{**stored, "prior": tuple(stored["prior"])})
        except (KeyError, TypeError, ValueError):
            return None

    def signature(self) -> str:
        """Hash the options; the same in every process."""
        return self._signature

    @cached_property
    def _signature(self) -> str:
        return hashlib.sha256(self._text().encode()).hexdigest()[:8]

    def _text(self) -> str:
        # A prior in memory may hold choices that no other storage takes.
        return json.dumps(asdict(self), sort_keys=True, default=repr)
