"""From a batch of finished trials to the next theta (steps 7 and 8 of Algorithm 2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.relaxation import DIRECTIONS, Family, Update, limited_step, score_estimate
from s2e_optuna.sampler.ledger import TAG_KEY, Chain, rounded

Array = NDArray[np.float64]

_MAX_WEIGHT = 5.0  # importance weights are clipped: one unlikely trial must not rule a batch


@dataclass(frozen=True)
class Options:
    """What an update of theta depends on; part of every trial's ``sig``."""

    batch_size: int
    step_size: float
    update: Update
    estimator: Literal["score"]
    baseline: bool
    eigenvalue_floor: float
    max_kl: float
    min_theta: float

    def __post_init__(self) -> None:
        if self.batch_size < 1 + self.baseline:
            least = "2 (a trial's baseline is the mean of the others)" if self.baseline else "1"
            raise ValueError(f"batch_size must be at least {least}, but is {self.batch_size}.")
        if self.update not in DIRECTIONS:
            known = ", ".join(DIRECTIONS)
            raise ValueError(f"unknown update {self.update!r}: choose one of {known}.")
        if self.estimator != "score":
            raise ValueError(f"unknown estimator {self.estimator!r}: choose 'score'.")
        for name in ("step_size", "eigenvalue_floor", "min_theta"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be positive, but is {getattr(self, name)}.")
        if not self.max_kl > 0:
            raise ValueError(f"max_kl must be positive, but is {self.max_kl}.")

    def signature(self) -> str:
        """Hash the options; the same in every process."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def batch_values(batch: Sequence[FrozenTrial], sign: int) -> Array:
    """Values f(x) of a batch, to be minimised, all finite; shape [n].

    A pruned trial counts with its last reported value, but never better than the worst finished
    one of the batch. Infinite and missing values count as the worst.

    Parameters
    ----------
    batch
        Complete or pruned trials.
    sign
        1 to minimise, -1 to maximise.
    """
    f = np.full(len(batch), np.nan)
    for i, trial in enumerate(batch):
        if trial.state == TrialState.COMPLETE:
            f[i] = sign * (math.nan if trial.value is None else trial.value)
        elif trial.last_step is not None:
            f[i] = sign * trial.intermediate_values[trial.last_step]
    finite = np.isfinite(f)
    if not finite.any():
        return np.zeros(len(batch))
    f = np.where(f == -np.inf, np.min(f[finite]), f)  # the best there can be
    f = np.where(np.isfinite(f), f, np.max(f[finite]))
    complete = np.array([trial.state == TrialState.COMPLETE for trial in batch])
    if complete.any():
        f = np.where(complete, f, np.maximum(f, np.max(f[complete])))
    return f


def importance_weights(
    family: Family, x: Array, theta: Array, drawn_from: Sequence[Array]
) -> Array:
    """Clipped weights p_theta(x) / p_old(x) for points drawn from older thetas, shape [n]."""
    log_new = family.log_density(x, theta)
    log_old = np.array(
        [family.log_density(x[i : i + 1], old)[0] for i, old in enumerate(drawn_from)]
    )
    return np.asarray(np.exp(np.minimum(log_new - log_old, math.log(_MAX_WEIGHT))))


def next_theta(
    options: Options, chain: Chain, source: int | None, batch: Sequence[FrozenTrial], sign: int
) -> Array:
    """Compute the theta that follows the one opened by trial ``source``; shape [d].

    A function of its arguments alone, rounded as it will be stored, so that any worker, or an
    audit years later, gets the same numbers.
    """
    family = chain.codec.family
    theta = chain.theta_of(source)
    assert theta is not None
    f = batch_values(batch, sign)
    spread = float(np.std(f))
    if spread > 0.0:
        x = chain.codec.encode([trial.params for trial in batch])
        drawn_from = [chain.theta_of(t.system_attrs[TAG_KEY].get("src")) for t in batch]
        weights = importance_weights(
            family, x, theta, [theta if old is None else old for old in drawn_from]
        )
        # In standard deviations: a step must not depend on the units of the objective.
        estimate = score_estimate(
            family, theta, x, f / spread, weights=weights, baseline=options.baseline
        )
        fisher = family.fisher(theta)
        direction = DIRECTIONS[options.update](estimate, fisher, options.eigenvalue_floor)
        theta = limited_step(
            family,
            theta,
            direction,
            step_size=options.step_size,
            max_kl=options.max_kl,
            min_theta=options.min_theta,
        )
    return np.array(rounded(theta))


def audit_chain(
    options: Options, chain: Chain, finished: Mapping[int, FrozenTrial], sign: int
) -> list[str]:
    """Recompute all commits of a chain; say what is wrong, a sentence each."""
    problems = []
    users: dict[int, int] = {}
    generations: dict[int, int] = {}
    for number, commit in sorted(chain.commits.items()):
        if commit.m in generations:
            first = generations[commit.m]
            problems.append(f"Trials {first} and {number} both open generation {commit.m}.")
        generations.setdefault(commit.m, number)
        for member in commit.batch:
            if member in users:
                problems.append(
                    f"Trial {member} is in the batches of trials {users[member]} and {number}."
                )
            users.setdefault(member, number)
        missing = [member for member in commit.batch if member not in finished]
        if missing:
            problems.append(f"Trial {number} names trials that have not finished: {missing}.")
            continue
        if chain.theta_of(commit.parent) is None:
            problems.append(f"Trial {number} builds on trial {commit.parent}, which has no theta.")
            continue
        batch = [finished[member] for member in commit.batch]
        theta = next_theta(options, chain, commit.parent, batch, sign)
        if not np.allclose(theta, commit.theta, rtol=1e-6, atol=1e-9):
            problems.append(f"The theta in trial {number} is not what its batch gives.")
    return problems
