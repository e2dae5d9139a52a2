"""From a batch of finished trials to the next theta (steps 7 and 8 of Algorithm 2)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import (
    DIRECTIONS,
    Estimate,
    Family,
    Update,
    limited_step,
    score_estimate,
    surrogate_estimate,
)
from s2e_optuna.sampler.codec import Codec, fits
from s2e_optuna.sampler.features import FeatureFunction
from s2e_optuna.sampler.ledger import Chain, Commit, Ledger, Origin, Tag, rounded
from s2e_optuna.sampler.surrogate import Surrogate
from s2e_optuna.sampler.threads import one_thread
from s2e_optuna.sampler.values import Reported, batch_values
from s2e_optuna.schedules import WARM_TAUS, coteaching_params

Array = NDArray[np.float64]

_MAX_WEIGHT = 5.0  # importance weights are clipped: one unlikely trial must not rule a batch

# The surrogate estimate; chosen on the tuning tasks of studies/record_table.py.
_DRAWS = 1000
_STEPS = 3
_TOO_FEW = 4  # trials that a conditional parameter's surrogate is fitted to
_SETTINGS = 4  # trials whose parameters stand for those about which somebody else decides
_MOST_FAILED = 50  # failed trials that are taken into account, the latest


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
        return hashlib.sha256(self._text().encode()).hexdigest()[:8]

    def _text(self) -> str:
        # A prior in memory may hold choices that no other storage takes.
        return json.dumps(asdict(self), sort_keys=True, default=repr)


def importance_weights(
    family: Family, x: Array, theta: Array, drawn_from: Sequence[Array]
) -> Array:
    """Clipped weights p_theta(x) / p_old(x) for points drawn from older thetas, shape [n]."""
    log_new = family.log_density(x, theta)
    log_old = np.array(
        [family.log_density(x[i : i + 1], old)[0] for i, old in enumerate(drawn_from)]
    )
    return np.asarray(np.exp(np.minimum(log_new - log_old, math.log(_MAX_WEIGHT))))


def next_commit(
    options: Options,
    chain: Chain,
    number: int,
    source: int | None,
    batch: Sequence[int],
    finished: Mapping[int, FrozenTrial],
    sign: int,
    own: FeatureFunction | None = None,
) -> Commit:
    """Compute the commit of trial ``number``.

    A function of its arguments alone, rounded as it will be stored, so that any worker, or an
    audit years later, gets the same numbers.

    Parameters
    ----------
    options, chain
        How, and from which generations.
    number
        The trial that commits; it seeds what is random.
    source
        The trial that opened the generation before; None for theta^1.
    batch
        Trials of this batch.
    finished
        All finished trials, by number.
    sign
        1 to minimise, -1 to maximise.
    own
        The user's own features for the surrogate.
    """
    theta = chain.theta_of(source)
    assert theta is not None
    members = [finished[n] for n in batch]
    kernel: tuple[float, ...] | None = None
    with one_thread():
        if options.estimator == "score":
            theta = _score_step(options, chain, theta, members, sign)
        else:
            past = chain.history(source, finished, sign)
            f = past.reported.followed_by(Reported.of(members, sign)).comparable()
            if np.ptp(f) > 0.0:
                surrogate = Surrogate.fit(chain.codec, [*past.trials, *members], f, own)
                theta = _surrogate_steps(options, chain, theta, surrogate, number)
                kernel = tuple(rounded(surrogate.process.hyperparameters))
    m = 2 if source is None else chain.commits[source].m + 1
    origin = Origin(options.stored(), tuple(sorted(chain.codec.space))) if m == 2 else None
    return Commit(number, m, source, tuple(batch), np.array(rounded(theta)), kernel, origin)


def present_surrogate(
    chain: Chain,
    source: int,
    finished: Mapping[int, FrozenTrial],
    running: Sequence[Mapping[str, Any]],
    sign: int,
    own: FeatureFunction | None = None,
) -> Surrogate | None:
    """Condition the process of trial ``source``'s commit on all that is known by now.

    Finished trials that are in no batch yet count with their values, failed ones with the worst
    of all, so that nobody goes there again and again, and running ones as `Surrogate.believing`
    says. None if the commit has no process.
    """
    commit = chain.commits.get(source)
    if commit is None or commit.kernel is None:
        return None
    past = chain.history(source, finished, sign)
    late = [chain.candidates[n] for n in sorted(chain.candidates)]
    failed = [chain.failed[n] for n in sorted(chain.failed)[-_MOST_FAILED:]]
    f = past.reported.followed_by(Reported.of(late, sign)).comparable()
    f = np.concatenate([f, np.full(len(failed), np.max(f))])
    known = [*past.trials, *late, *failed]
    order = np.argsort(
        [trial.number for trial in known]
    )  # of many, `Surrogate.fit` takes the last
    trials = [known[i] for i in order]
    with one_thread():
        return Surrogate.fit(chain.codec, trials, f[order], own, commit.kernel).believing(running)


def draw(
    options: Options,
    codec: Codec,
    theta: Array,
    surrogate: Surrogate | None,
    known: Mapping[str, Any],
    settings: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
) -> Array:
    """Draw a trial's point.

    Of so many candidates, some from theta^1 and the others from theta, the one of which the
    surrogate expects most. Without a surrogate, a draw from theta.

    Parameters
    ----------
    options, codec, theta
        From what; theta has shape [d].
    surrogate
        A model of the objective; None without one.
    known
        The trial's parameters that have their values already.
    settings
        Values that the parameters may have about which somebody else decides, a setting each.
    rng
        Random numbers.

    Returns
    -------
    numpy.ndarray
        Shape [D].
    """
    family = codec.family
    if surrogate is None:
        return np.asarray(family.sample(theta, 1, rng)[0])
    n = options.candidates
    n_uniform = int(rng.binomial(n, options.uniform_share))
    points = np.concatenate(
        [
            family.sample(family.uniform(), n_uniform, rng),
            family.sample(theta, n - n_uniform, rng),
        ]
    )
    if known:
        points = codec.pinned(points, known)
    with one_thread():
        return np.asarray(points[surrogate.best(points, rng, settings)])


def latest_settings(ledger: Ledger, chain: Chain, names: Collection[str]) -> list[dict[str, Any]]:
    """Values that the latest trials have of some parameters, each setting once.

    A sampler around this one may decide about these, and does not say how: but it has done so
    in the latest trials.

    Parameters
    ----------
    ledger, chain
        What is known of the study, and the parameters' chain.
    names
        Some of the chain's parameters.

    Returns
    -------
    list of dict
        The parameters and their values, one to `_SETTINGS` times; empty before the first trial.
    """
    found: list[dict[str, Any]] = []
    trials = 0
    for number in range(ledger.n_seen - 1, -1, -1):
        trial = ledger.finished.get(number)
        if trial is None or not fits(chain.codec.space, trial):
            continue
        setting = {name: trial.params[name] for name in names}
        if setting not in found:
            found.append(setting)
        trials += 1
        if trials == _SETTINGS:
            break
    return found


def conditional_surrogate(
    codec: Codec, trials: Sequence[FrozenTrial], sign: int
) -> Surrogate | None:
    """Fit a surrogate to the trials that have all parameters of a codec; None if it says nothing.

    Parameters
    ----------
    codec
        Of parameters that not every trial has.
    trials
        Finished trials that have them.
    sign
        1 to minimise, -1 to maximise.
    """
    f = batch_values(trials, sign)
    if len(trials) < _TOO_FEW or np.ptp(f) == 0.0:
        return None
    with one_thread():
        return Surrogate.fit(codec, trials, f)


def draw_conditionally(
    options: Options,
    codec: Codec,
    surrogate: Surrogate | None,
    known: Mapping[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Draw parameters that not every trial has, those of a codec.

    Of so many uniform candidates that have the trial's other parameters, which are ``known``, the
    one of which the surrogate expects most; without one, the first.
    """
    family = codec.family
    points = family.sample(family.uniform(), options.candidates, rng)
    if surrogate is None:
        return codec.decode(points[0])
    points = codec.pinned(points, known)
    with one_thread():
        return codec.decode(points[surrogate.best(points, rng)])


def _step(options: Options, family: Family, theta: Array, estimate: Estimate) -> Array:
    direction = DIRECTIONS[options.update](
        estimate, family.fisher(theta), options.eigenvalue_floor
    )
    return limited_step(
        family,
        theta,
        direction,
        step_size=options.step_size,
        max_kl=options.max_kl,
        min_theta=options.min_theta,
    )


def _score_step(
    options: Options, chain: Chain, theta: Array, batch: Sequence[FrozenTrial], sign: int
) -> Array:
    f = batch_values(batch, sign)
    spread = float(np.std(f))
    if spread == 0.0:
        return theta
    family = chain.codec.family
    x = chain.codec.encode([trial.params for trial in batch])
    tags = [Tag.of(trial) for trial in batch]
    drawn_from = [None if tag is None else chain.theta_of(tag.source) for tag in tags]
    weights = importance_weights(
        family, x, theta, [theta if old is None else old for old in drawn_from]
    )
    # In standard deviations: a step must not depend on the units of the objective.
    estimate = score_estimate(
        family, theta, x, f / spread, weights=weights, baseline=options.baseline
    )
    return _step(options, family, theta, estimate)


def _surrogate_steps(
    options: Options, chain: Chain, theta: Array, surrogate: Surrogate, number: int
) -> Array:
    family = chain.codec.family
    rng = np.random.default_rng([number, int(chain.sig[:8], 16)])
    for _ in range(_STEPS):
        estimate = surrogate_estimate(family, theta, surrogate.utility, _DRAWS, rng)
        theta = _step(options, family, theta, estimate)
    return theta
