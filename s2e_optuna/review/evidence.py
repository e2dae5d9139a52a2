"""What decisions tell: how many labels are wrong, what is to be expected, when to stop.

| symbol | meaning |
|---|---|
| p | probability that a label is wrong, or another score from 0 to 1 |
| b | what decisions add to the logit of every p |

Of n labels that were drawn at random, w wrong ones give Wilson's interval for the share of wrong
labels. Decisions about the most doubtful labels are no random draw: there they only say how good
the scores are. b is found by maximum a posteriori, logit P(wrong) = logit p + b with b normal
around 0: a list whose first fifty are all right is not expected to go on as it promised.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.data.words import count

Floats = NDArray[np.float64]

PRIOR_SD = 0.75
"""Standard deviation of b before anything is decided. Small: of the surest labels nearly all are
wrong whatever b is, so fifty of these must not make the doubtful ones sure."""

NEXT = 100
"""So many cards ahead advice looks."""

ENOUGH = 20
"""Decisions from which on there is advice."""

STOP_BELOW, HALF = 0.1, 0.5
"""Shares of wrong labels among the next cards below which it is advised to stop, or less is said
to be found."""

WITHIN = 0.1
"""Distance of both ends of an interval from the share that was seen at which it is narrow."""

_Z = NormalDist().inv_cdf(0.975)
_STEPS = 25
_LEAST = 1e-3  # no score is taken for certain


def share_wrong(wrong: float, checked: int) -> tuple[float, float]:
    """Return the interval of Wilson (1927), 95%, for the share of wrong labels.

    Parameters
    ----------
    wrong, checked
        How many of how many; at least one was checked. Expected ones need not be whole.

    Examples
    --------
    >>> [round(end, 3) for end in share_wrong(3, 20)]
    [0.052, 0.36]
    """
    share, weight = wrong / checked, _Z**2 / checked
    centre = share + weight / 2.0
    half = _Z * math.sqrt(share * (1.0 - share) / checked + weight / (4.0 * checked))
    low, high = (centre - half) / (1.0 + weight), (centre + half) / (1.0 + weight)
    return (0.0 if wrong == 0 else low), (1.0 if wrong == checked else high)


def shift(scores: ArrayLike, wrong: ArrayLike) -> float:
    """Return b.

    Parameters
    ----------
    scores
        p of the decided samples [n].
    wrong
        Whether their labels were wrong [n].
    """
    logits, found = _logits(scores), np.asarray(wrong, dtype=np.float64)
    b = 0.0
    for _ in range(_STEPS):  # Newton; the posterior is concave in b
        chances = _sigmoid(logits + b)
        gradient = float((found - chances).sum()) - b / PRIOR_SD**2
        step = gradient / (float((chances * (1.0 - chances)).sum()) + 1.0 / PRIOR_SD**2)
        b += max(-1.0, min(1.0, step))
        if abs(step) < 1e-6:
            break
    return b


def shifted(scores: ArrayLike, b: float) -> Floats:
    """Return the probabilities that decisions make of scores [n]; they keep their order."""
    return _sigmoid(_logits(scores) + b)


def seen_words(wrong: int, decided: int, of: str = "") -> str:
    """Say how many of the labels that were looked at were wrong.

    Parameters
    ----------
    wrong, decided
        How many of how many; at least one was decided.
    of
        What the interval is about.

    Examples
    --------
    >>> seen_words(3, 20, " of all labels are")
    '3 of 20 were wrong: between 5 and 36% of all labels are.'
    """
    low, high = share_wrong(wrong, decided)
    verb = "was" if wrong == 1 else "were"
    return f"{wrong} of {decided} {verb} wrong: between {low * 100:.0f} and {high * 100:.0f}%{of}."


def more_checks(wrong: int, checked: int) -> int:
    """Return how many more labels to check until the share of wrong ones is known.

    It is where neither end of `share_wrong` is further than `WITHIN` from the share that was seen,
    if the further labels are as often wrong as the first.

    Parameters
    ----------
    wrong, checked
        How many of how many; at least one was checked.

    Returns
    -------
    int
        0 where it is known already.

    Examples
    --------
    >>> more_checks(3, 20), more_checks(0, 40)
    (53, 0)
    """
    share, more = wrong / checked, 0
    while True:
        low, high = share_wrong(share * (checked + more), checked + more)
        if max(share - low, high - share) <= WITHIN:
            return more
        more += 1


def more_words(wrong: int, checked: int, drawn: int, samples: int) -> str:
    """Say how many more checks would settle how many labels are wrong.

    Parameters
    ----------
    wrong, checked
        How many of how many; at least one was checked.
    drawn
        How many were drawn, those included of which nobody could say.
    samples
        How many could be.

    Examples
    --------
    >>> more_words(3, 20, 20, 200)
    '53 more (-n 73), wrong as often, would narrow it to between 9 and 25%.'
    """
    if drawn >= samples:
        return "No more can be drawn."
    more = min(more_checks(wrong, checked), samples - drawn)
    if more == 0:
        return f"That is known to {round(100 * WITHIN)} points: more checks would say little new."
    size = checked + more
    low, high = share_wrong(wrong / checked * size, size)
    return (
        f"{more} more (-n {drawn + more}), wrong as often, would narrow it to between "
        f"{low * 100:.0f} and {high * 100:.0f}%."
    )


def rest_words(chances: Floats, decided: int) -> str:
    """Say what is to be expected of the cards that are left, and whether to go on.

    Parameters
    ----------
    chances
        Probabilities of being wrong of the cards left, in the order in which they are shown [n];
        at least one.
    decided
        Decisions so far.
    """
    verb = "is" if len(chances) == 1 else "are"
    words = (
        f"Of {count(len(chances), 'card')} left about {chances.sum():,.0f} {verb} expected to be "
        "wrong."
    )
    if decided < ENOUGH:
        return words
    ahead = chances[:NEXT]
    share = float(ahead.mean())
    next_ones = "the next one" if len(ahead) == 1 else f"the next {len(ahead)}"
    if share < STOP_BELOW:
        return f"{words} You can stop: {next_ones} are probably right in {_in_ten(share)} of ten."
    found = f"of {next_ones} about {round(share * len(ahead))} are probably wrong."
    return f"{words} {'Less is to be found now' if share < HALF else 'Go on'}: {found}"


def _in_ten(share: float) -> str:
    return "more than nine" if share < 0.05 else "nine"


def _logits(scores: ArrayLike) -> Floats:
    values = np.clip(np.asarray(scores, dtype=np.float64), _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(values) - np.log1p(-values))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))
