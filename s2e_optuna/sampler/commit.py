"""From a batch of finished trials to the next theta (steps 7 and 8 of Algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from s2e_optuna.cores import one_thread
from s2e_optuna.relaxation import (
    DIRECTIONS,
    Estimate,
    Family,
    limited_step,
    score_estimate,
    surrogate_estimate,
)
from s2e_optuna.sampler.features import FeatureFunction
from s2e_optuna.sampler.ledger import Chain
from s2e_optuna.sampler.options import Options
from s2e_optuna.sampler.surrogate import Surrogate
from s2e_optuna.sampler.tags import Commit, Origin, Tag, rounded
from s2e_optuna.sampler.values import Reported, batch_values

Array = NDArray[np.float64]

_MAX_WEIGHT = 5.0  # importance weights are clipped: one unlikely trial must not rule a batch

# The surrogate estimate; chosen on the tuning tasks of studies/record_table.py.
_STEPS = 3
_DRAWS = 256
_DRAWS_OF_RULE_1 = 1000
# From rule 2 on, hyperparameters are kept until there are so many times as many trials.
_GROWTH = 1.1


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
            reported = past.reported.followed_by(Reported.of(members, sign))
            f = reported.comparable(finals=chain.finals)
            if np.ptp(f) > 0.0:
                kept = _kept_kernel(chain, source, len(past.trials), len(f))
                surrogate = Surrogate.fit(chain.codec, [*past.trials, *members], f, own, kept)
                theta = _surrogate_steps(options, chain, theta, surrogate, number)
                kernel = tuple(rounded(surrogate.process.hyperparameters))
    m = 2 if source is None else chain.commits[source].m + 1
    origin = None
    if m == 2:
        names = tuple(sorted(chain.codec.space))
        origin = Origin(options.stored(), names, chain.finals, chain.rule)
    return Commit(number, m, source, tuple(batch), np.array(rounded(theta)), kernel, origin)


def _kept_kernel(
    chain: Chain, source: int | None, before: int, now: int
) -> tuple[float, ...] | None:
    """Return the surrogate's hyperparameters where those of the last commit still do.

    They are fitted anew each time that the trials have become a tenth more, at first at every
    commit: among hundreds a few say nothing new of them, and the fit would cost more than all
    else.

    Parameters
    ----------
    chain, source
        The chain, and the trial with the last commit; None for theta^1.
    before, now
        Number of trials that the last commit was computed from, and of those now.

    Returns
    -------
    tuple of float or None
        None if they are to be fitted.
    """
    if chain.rule == 1 or source is None:
        return None
    grown = int(math.log(now, _GROWTH)) > int(math.log(before, _GROWTH))
    return None if grown else chain.commits[source].kernel


def importance_weights(
    family: Family, x: Array, theta: Array, drawn_from: Sequence[Array]
) -> Array:
    """Clipped importance weights of points that were drawn from older thetas.

    Parameters
    ----------
    family
        The family of distributions.
    x
        Points, shape [n, D].
    theta
        The present parameters, shape [d].
    drawn_from
        Those that each point was drawn from, n of shape [d].

    Returns
    -------
    numpy.ndarray
        p_theta(x) / p_old(x), at most `_MAX_WEIGHT`, shape [n].
    """
    log_new = family.log_density(x, theta)
    log_old = np.array(
        [family.log_density(x[i : i + 1], old)[0] for i, old in enumerate(drawn_from)]
    )
    return np.asarray(np.exp(np.minimum(log_new - log_old, math.log(_MAX_WEIGHT))))


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
    f = batch_values(batch, sign, finals=chain.finals)
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
    draws, single = (_DRAWS_OF_RULE_1 if chain.rule == 1 else _DRAWS), chain.rule > 2
    rng = np.random.default_rng([number, int(chain.sig[:8], 16)])
    for _ in range(_STEPS):
        estimate = surrogate_estimate(family, theta, surrogate.utility, draws, rng, single=single)
        theta = _step(options, family, theta, estimate)
    return theta
