"""All that can be said of labels, from plain arrays: labels and out-of-sample probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.cores import one_thread
from s2e_optuna.errors import DataError
from s2e_optuna.labels.arrays import Floats, Ints, Real, as_labels, as_probabilities
from s2e_optuna.labels.calibration import cross_fitted, fit_calibration
from s2e_optuna.labels.noise_rate import (
    CONFUSED_ALIKE,
    DRAWS,
    INTERVAL,
    Draws,
    NoiseRate,
    adjusted,
    bootstrap,
    confused_alike,
    false_alarms,
    stretched,
    summarise,
)
from s2e_optuna.labels.ranking import (
    USUAL_ALARMS,
    Ranking,
    alarm_ratio,
    evened,
    not_recognised,
    rank_labels,
)
from s2e_optuna.labels.surest import Surest, fit_surest
from s2e_optuna.labels.transition import (
    ByLabel,
    above_zero,
    as_counts,
    count_pairs,
    estimate_transition,
    label_posterior,
    least_symmetric_rate,
    symmetric_matrix,
    symmetric_prior,
    wrong_probability,
)
from s2e_optuna.labels.witness import calibrate_by_habits

BY_CLEAN = "The clean part's labels are taken to be right, and its samples to be like the others."
BY_SUREST = (
    "No label is known to be right: most labels of each class are taken to be, predictions to be "
    "right where they are surest, and labels to go wrong there as often as elsewhere."
)

_ONE_SIDED = 0.05


@dataclass(frozen=True, eq=False)
class CleanPart:
    """Samples whose true labels are known.

    Attributes
    ----------
    labels
        True labels, integers [V]; classes may be missing.
    pred_probs
        Their probabilities by the networks that judge the other samples, and have seen neither:
        [V, C], or [F, V, C] of the F networks of a cross-validation.
    given
        The labels they had before somebody looked, integers [V], if they had some: pairs from
        which the transition matrix can be counted.
    """

    labels: ArrayLike
    pred_probs: ArrayLike
    given: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class LabelQuality:
    """What N labels are worth.

    Attributes
    ----------
    wrong_probability
        How probably each label is wrong, float64 [N], with as few wrong labels as the data allow.
    listed
        Labels to look at, booleans [N]; none where the data do not need a wrong label.
    proposed
        The most probable class of each sample, integers [N].
    posterior
        Probability of each class to be the true one [N, C], with the noise rate as estimated: soft
        labels to train on.
    noise
        Noise rates and transition matrix with intervals.
    expected_precision, expected_recall
        Share of wrong labels among the listed, and of listed ones among the wrong; NaN where
        there are none.
    not_judged
        Classes whose labels are not judged: predictions do not recognise their samples.
    by_clean
        Whether the list is made by clean samples.
    """

    wrong_probability: Floats
    listed: NDArray[np.bool_]
    proposed: Ints
    posterior: Real
    noise: NoiseRate
    expected_precision: float
    expected_recall: float
    not_judged: tuple[int, ...]
    by_clean: bool

    @property
    def assumption(self) -> str:
        """What the list rests on, a sentence."""
        return BY_CLEAN if self.by_clean else BY_SUREST


def assess_labels(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    clean: CleanPart | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> LabelQuality:
    """Say how many labels are wrong, which ones, and what the true ones probably are.

    Parameters
    ----------
    labels
        Given labels, integers [N] in 0 .. C-1.
    pred_probs
        Class probabilities [N, C] by networks that have not seen the sample: a cross-validation.
    clean
        Samples whose true labels are known, if there are some. Twenty help already.
    draws
        Bootstrap samples that intervals are made of, 2 or more.
    seed
        Of the bootstrap.

    Returns
    -------
    LabelQuality
        Without a clean part it rests on more; see its `assumption`.

    Raises
    ------
    DataError
        Arrays that do not fit together, or no sample.

    Examples
    --------
    A tenth of 600 labels is wrong, and 50 more samples are known to be right:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> true = np.arange(650) % 3
    >>> evidence = np.exp(4 * np.eye(3)[true] + rng.standard_normal((650, 3)))
    >>> pred_probs = evidence / evidence.sum(axis=1, keepdims=True)
    >>> labels = np.where(np.arange(600) % 10 == 0, (true[:600] + 1) % 3, true[:600])
    >>> clean = CleanPart(true[600:], pred_probs[600:])
    >>> found = assess_labels(labels, pred_probs[:600], clean)
    >>> round(found.noise.overall, 1), int(found.listed.sum())
    (0.1, 58)
    """
    values = as_probabilities(pred_probs)
    if values.ndim != 2 or not len(values):
        raise DataError(
            f"pred_probs has the shape {values.shape}: it needs [N, C] with a sample or more"
        )
    given = as_labels(labels, *values.shape)
    with one_thread():
        return _assess(given, values, clean, np.random.default_rng(seed), draws)


def _assess(
    given: Ints, values: Real, clean: CleanPart | None, rng: np.random.Generator, draws: int
) -> LabelQuality:
    surest = fit_surest(given, values)
    if clean is None:
        return _by_surest(given, values, surest, rng, draws)
    found = _by_clean(given, values, clean, surest, rng, draws)
    if found.noise.least > 0.0 or not 0.0 < surest.low <= found.noise.overall:
        return found
    # Few clean samples cannot show that labels are wrong, though they look so; the surest
    # predictions may.
    other = _by_surest(given, values, surest, rng, draws)
    return replace(other, noise=found.noise, posterior=found.posterior)


def _by_clean(
    given: Ints,
    values: Real,
    clean: CleanPart,
    surest: Surest,
    rng: np.random.Generator,
    n_draws: int,
) -> LabelQuality:
    n_classes = values.shape[1]
    if np.shape(clean.pred_probs)[-1:] != (n_classes,):
        raise DataError(
            f"the clean part's pred_probs has the shape {np.shape(clean.pred_probs)} and the "
            f"others {n_classes} classes: give all of them"
        )
    # A few clean samples do better near what the surest predictions say than on their own.
    near = surest.calibration.scale
    calibration = fit_calibration(clean.labels, clean.pred_probs, (near, max(near / 5, 0.1)))
    fitted = calibration.apply(values)
    held_out: Real = cross_fitted(clean.labels, clean.pred_probs, calibration)
    truth = as_labels(clean.labels, held_out.shape[1], n_classes)
    pairs = None
    if clean.given is not None:
        before = as_labels(clean.given, len(truth), n_classes)
        pairs = count_pairs(truth, before, n_classes)
        own = as_probabilities(clean.pred_probs).reshape(held_out.shape)
        by_habits = calibrate_by_habits(given, values, truth, own, before)
        if by_habits is not None:  # either alone fails somewhere, see studies/decisions.md
            fitted = _halfway(fitted, by_habits[0].apply(values))
            held_out = _halfway(held_out, by_habits[1])
    prior = symmetric_prior(least_symmetric_rate(given, fitted), n_classes)
    matrix = estimate_transition(given, fitted, known=pairs, prior=prior).matrix
    pseudo = prior + as_counts(pairs, n_classes)
    posterior_rate = float(wrong_probability(given, fitted, matrix).mean())
    even = symmetric_matrix(posterior_rate, n_classes)
    counts, looks, drawn = _bootstrapped(given, fitted, matrix, even, pseudo, rng, n_draws)

    alike, listed_alike = confused_alike(matrix, truth, held_out)
    power = CONFUSED_ALIKE * alike
    right, wrong = false_alarms(truth, held_out, matrix, even, (0.0, power, CONFUSED_ALIKE))
    rates = np.maximum(1.0 - np.diag(matrix)[truth], 1e-12)
    s0, (s1, s1_likely, _) = right.mean(), wrong @ rates / rates.sum()
    weights = rng.dirichlet(np.ones(len(truth)), n_draws)
    s0_drawn = weights @ right + (s1 - s0) * rng.gamma(0.5, size=n_draws) / len(truth)
    s1_drawn = ((weights * rates) @ wrong.T).T / (weights @ rates)
    overall = float(adjusted(looks.mean(), s0, s1_likely))
    w_low, w_drawn, w_high = (adjusted(drawn.looks_wrong, s0_drawn, s) for s in s1_drawn)
    if pairs is not None:
        overall, w_drawn = _with_pairs(overall, w_drawn, pairs, rng)
        w_low = w_high = w_drawn  # how wrong labels look need not be guessed
    least = float(np.quantile(w_low, _ONE_SIDED))
    least = least if least * len(given) >= 1.0 else 0.0
    ends = float(np.quantile(w_low, INTERVAL[0])), float(np.quantile(w_high, INTERVAL[1]))
    noise = summarise(drawn, matrix, counts, overall, w_drawn, ends, least)
    stretch = _least_matrix(matrix, posterior_rate, least, len(given))
    stretch = evened(stretch, listed_alike)
    alarms = alarm_ratio(truth, held_out, stretch)
    return _put_together(given, fitted, noise, stretch, alarms, True)


def _halfway(one: Real, other: Real) -> Real:
    """Return the geometric mean of probabilities [..., C], of classes that sum to one."""
    means = np.sqrt(one) * np.sqrt(other)
    means /= above_zero(means.sum(axis=-1, keepdims=True))
    return np.asarray(np.maximum(means, np.finfo(means.dtype).tiny))


def _by_surest(
    given: Ints, values: Real, surest: Surest, rng: np.random.Generator, n_draws: int
) -> LabelQuality:
    fitted = surest.cautious.apply(values)
    prior = symmetric_prior(surest.low, values.shape[1])
    matrix = estimate_transition(given, fitted, prior=prior).matrix
    counts, looks, drawn = _bootstrapped(given, fitted, matrix, matrix, prior, rng, n_draws)
    posterior_rate = float(looks.mean())
    low = surest.low if surest.low * len(given) >= 1.0 else 0.0
    overall = max(posterior_rate, low) if low > 0.0 else 0.0
    # Nobody can tell wrong labels from errors of the networks: all up to their disagreement.
    most = max(float((values.argmax(axis=1) != given).mean()), overall)
    spread = np.linspace(low, most, n_draws)
    noise = summarise(drawn, matrix, counts, overall, spread, (low, most), low)
    stretch = _least_matrix(matrix, posterior_rate, low, len(given))
    return _put_together(given, fitted, noise, stretch, USUAL_ALARMS, False)


def _bootstrapped(
    given: Ints,
    fitted: Real,
    matrix: Floats,
    even: Floats,
    pseudo: Floats,
    rng: np.random.Generator,
    n_draws: int,
) -> tuple[Floats, Floats, Draws]:
    rows = ByLabel(given, fitted)
    looks = wrong_probability(given, fitted, even).astype(np.float64)[rows.order]
    drawn = bootstrap(rows, looks, matrix, pseudo, rng, n_draws)
    return rows.counts(matrix), looks, drawn


def _with_pairs(
    overall: float, drawn: Floats, pairs: Floats, rng: np.random.Generator
) -> tuple[float, Floats]:
    """Average w with what checked pairs say, each as it is sure (inverse variances)."""
    n, wrong = pairs.sum(), pairs.sum() - np.trace(pairs)
    counted = rng.beta(wrong + 0.5, n - wrong + 0.5, size=len(drawn))
    ours, theirs = float(drawn.var()) + 1e-12, float(counted.var()) + 1e-12
    share = theirs / (ours + theirs)
    mean = share * overall + (1.0 - share) * float(wrong / n)
    return mean, share * drawn + (1.0 - share) * counted


def _least_matrix(matrix: Floats, rate: float, least: float, n_samples: int) -> Floats:
    """Return T'; where no label need be wrong, with half a wrong label in all."""
    factor = max(least, 0.5 / n_samples) / max(rate, 1e-12)
    return stretched(matrix, np.float64(min(factor, 1.0)))


def _put_together(
    given: Ints, fitted: Real, noise: NoiseRate, matrix: Floats, alarms: float, by_clean: bool
) -> LabelQuality:
    unknown = not_recognised(given, fitted)
    ranking = rank_labels(
        given,
        fitted,
        matrix,
        alarms=alarms,
        judged=~unknown,
        rate=noise.least,
        lists=noise.least > 0.0,
    )
    posterior = label_posterior(given, fitted, noise.matrix)
    kept = np.flatnonzero(unknown[given])  # else networks that do not know a class would end it
    posterior[kept] = noise.overall * fitted[kept]
    posterior[kept, given[kept]] += 1.0 - noise.overall
    present = np.bincount(given, minlength=len(unknown)) > 0
    return LabelQuality(
        wrong_probability=ranking.wrong_probability,
        listed=ranking.listed,
        proposed=ranking.proposed,
        posterior=posterior,
        noise=noise,
        expected_precision=_precision(ranking),
        expected_recall=_recall(ranking, noise),
        not_judged=tuple(int(k) for k in np.flatnonzero(unknown & present)),
        by_clean=by_clean,
    )


def _precision(ranking: Ranking) -> float:
    chosen = ranking.wrong_probability[ranking.listed]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _recall(ranking: Ranking, noise: NoiseRate) -> float:
    wrong = noise.overall * len(ranking.listed)
    found = float(ranking.wrong_probability[ranking.listed].sum())
    return min(found / wrong, 1.0) if wrong > 0.0 else float("nan")
