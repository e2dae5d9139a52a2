"""From theta and a surrogate to a trial's parameters (step 4 of Algorithm 2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from s2e_optuna.cores import one_thread
from s2e_optuna.sampler.codec import Codec, fits
from s2e_optuna.sampler.features import FeatureFunction
from s2e_optuna.sampler.ledger import Chain, Ledger
from s2e_optuna.sampler.options import Options
from s2e_optuna.sampler.surrogate import Surrogate, worth_fitting
from s2e_optuna.sampler.values import Reported, batch_values

Array = NDArray[np.float64]

_TOO_FEW = 4  # trials that a conditional parameter's surrogate is fitted to
_SETTINGS = 4  # trials whose parameters stand for those about which somebody else decides
_MOST_FAILED = 50  # failed trials that are taken into account, the latest


def draw(
    options: Options,
    codec: Codec,
    theta: Array,
    surrogate: Surrogate | None,
    known: Mapping[str, Any],
    settings: Sequence[Mapping[str, Any]],
    rule: int,
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
    rule
        The chain's (`Origin.rule`): a seed goes on to give what it would have given.
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
            family.sample_uniform(n_uniform, rng)
            if rule > 1
            else family.sample(family.uniform(), n_uniform, rng),
            (family.sample_many if rule > 2 else family.sample)(theta, n - n_uniform, rng),
        ]
    )
    if known:
        points = codec.pinned(points, known)
    with one_thread():
        return np.asarray(points[surrogate.best(points, rng, settings)])


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
    of all, so that nobody goes there again and again, and running ones as fantasies.

    Parameters
    ----------
    chain, source
        The trial with the commit, and its chain.
    finished
        Finished trials by number.
    running
        Parameters of trials that have not finished.
    sign
        1 to minimise, -1 to maximise.
    own
        The user's own features.

    Returns
    -------
    Surrogate or None
        None if the commit has no process.
    """
    commit = chain.commits.get(source)
    if commit is None or commit.kernel is None:
        return None
    past = chain.history(source, finished, sign)
    late = [chain.candidates[n] for n in sorted(chain.candidates)]
    failed = [chain.failed[n] for n in sorted(chain.failed)[-_MOST_FAILED:]]
    reported = past.reported.followed_by(Reported.of(late, sign))
    f = reported.comparable(finals=chain.finals)
    f = np.concatenate([f, np.full(len(failed), np.max(f))])
    known = [*past.trials, *late, *failed]
    new = np.array([trial.number for trial in (*late, *failed)], dtype=np.int64)
    order = np.argsort(np.concatenate([past.numbers, new]))
    chosen = order[worth_fitting(f[order])]  # of many, some of the last
    trials = [known[i] for i in chosen]
    with one_thread():
        surrogate = Surrogate.fit(chain.codec, trials, f[chosen], own, commit.kernel)
        return surrogate.with_fantasies(running)


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

    Of so many uniform candidates that have the trial's other parameters, the one of which the
    surrogate expects most; without one, the first.

    Parameters
    ----------
    options, codec
        How, and of which parameters.
    surrogate
        A model of the trials that have them; None without one.
    known
        Parameters of the trial that have their values already.
    rng
        Random numbers.

    Returns
    -------
    dict
        Values of all parameters of the codec.
    """
    family = codec.family
    points = family.sample(family.uniform(), options.candidates, rng)
    if surrogate is None:
        return codec.decode(points[0])
    points = codec.pinned(points, known)
    with one_thread():
        return codec.decode(points[surrogate.best(points, rng)])
