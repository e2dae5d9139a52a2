"""When to stop a training, and what it is worth then: rules compared on recorded trainings.

    python -m studies.stopping

A search has validation samples, so each of its trainings can keep the networks of the epoch at
which they did best. A rule says which epoch that is, and what the training is worth: the value by
which a search compares it with others. Validation accuracy is noisy, so both may be taken from a
smoothed curve. What can be smoothed without keeping the networks of several epochs is a mean over
the epochs up to the present one; the value alone can be anything.

The tables are those of `studies.record_table`. The rule is chosen on the tuning tables, by the
test accuracy of the winner among 48 trainings that are drawn at random. Then all rules are
reported on the judging tables, where nothing is chosen. Test accuracy never picks an epoch or a
training.

Writes ``studies/results/stopping/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from s2e_optuna.scores import BEST_EPOCHS, last_epochs
from studies.emulator import DATA

PAGE = Path(__file__).parent / "results" / "stopping" / "README.md"

TRAININGS = 48

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trainings:
    """Accuracies by epoch [n, T] on validation and test samples; `use` is tune or judge."""

    name: str
    use: str
    validation: Array
    test: Array

    @classmethod
    def read(cls, path: Path) -> Trainings:
        """Read a table."""
        with np.load(path, allow_pickle=False) as stored:
            curves = (stored[key].astype(np.float64) for key in ("validation", "test"))
            return cls(path.stem, json.loads(str(stored["task"]))["use"], *curves)


def trailing_mean(curves: Array, window: int) -> Array:
    """Mean over the last `window` epochs, fewer at the beginning: [n, T] to [n, T]."""
    sums = np.cumsum(curves, axis=1)
    sums[:, window:] -= sums[:, :-window].copy()
    return np.asarray(sums / np.minimum(np.arange(1, curves.shape[1] + 1), window))


def moving_average(curves: Array, weight: float) -> Array:
    """Exponential moving average without a bias at the beginning: [n, T] to [n, T]."""
    found, mean, total = np.empty_like(curves), np.zeros(len(curves)), 0.0
    for epoch, now in enumerate(curves.T):
        mean = (1.0 - weight) * mean + weight * now
        total = (1.0 - weight) * total + weight
        found[:, epoch] = mean / total
    return found


def mean_of_best(curves: Array, count: int) -> Array:
    """Mean over the `count` best epochs: [n, T] to [n]."""
    return np.asarray(np.sort(curves, axis=1)[:, -count:].mean(axis=1))


@dataclass(frozen=True)
class Rule:
    """Which epoch is kept, and what the training is worth.

    Attributes
    ----------
    name
        In words.
    smoothed
        From validation accuracies [n, T] to what picks the epoch [n, T]: the first of the largest.
    value
        From the same to the value [n]; None takes what the epoch was picked by.
    """

    name: str
    smoothed: Callable[[Array], Array] = lambda curves: curves
    value: Callable[[Array], Array] | None = None

    def judge(self, trainings: Trainings) -> tuple[Array, Array]:
        """Return value and test accuracy of each training: [n] and [n]."""
        picked_by = self.smoothed(trainings.validation)
        epochs = picked_by.argmax(axis=1)
        value = picked_by.max(axis=1) if self.value is None else self.value(trainings.validation)
        return value, trainings.test[np.arange(len(epochs)), epochs]


class LastEpochs(Rule):
    """Keep the networks of the end: value and test accuracy are means over the last epochs."""

    def judge(self, trainings: Trainings) -> tuple[Array, Array]:
        """Return value and test accuracy of each training: [n] and [n]."""
        last = last_epochs(trainings.validation.shape[1])
        value, test = (
            curves[:, -last:].mean(axis=1) for curves in (trainings.validation, trainings.test)
        )
        return value, test


LAST = LastEpochs("the last epochs")
RULES = (
    Rule("best epoch"),
    *(Rule(f"best mean of {n} epochs", partial(trailing_mean, window=n)) for n in (2, 3, 5)),
    *(Rule(f"best moving average, {w:g}", partial(moving_average, weight=w)) for w in (0.5, 0.3)),
    *(
        Rule(f"best epoch; its value: mean of the {n} best", value=partial(mean_of_best, count=n))
        for n in (BEST_EPOCHS, 5)
    ),
)
"""All rules but that of the last epochs, which is there to compare with."""

PRODUCT = RULES[-2]
"""What `s2e_optuna.scores` implements."""


@dataclass(frozen=True)
class Outcome:
    """What a rule comes to on a table, in shares.

    Attributes
    ----------
    every
        Mean test accuracy of all trainings.
    ten
        Of the ten with the best values.
    winner
        Expected test accuracy of the best of 48 drawn at random, by value.
    optimism
        By how much the winner's value is above its test accuracy.
    """

    every: float
    ten: float
    winner: float
    optimism: float


def chances_to_win(trainings: int, drawn: int) -> Array:
    """Chance of each training, the best first, to be the best of so many that are drawn: [n]."""
    # The one of rank r wins if it is drawn and all others come from the n - r behind it.
    behind = trainings - np.arange(1, trainings + 1)
    chances = np.zeros(trainings)
    able = behind >= drawn - 1
    chances[able] = np.exp(_log_choose(behind[able], drawn - 1) - _log_choose(trainings, drawn))
    return chances


def _log_choose(n: ArrayLike, k: int) -> Array:
    n = np.asarray(n, dtype=np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def outcome(rule: Rule, trainings: Trainings) -> Outcome:
    """Apply a rule to a table."""
    value, test = rule.judge(trainings)
    order = np.argsort(-value, kind="stable")
    chances = chances_to_win(len(value), TRAININGS)
    return Outcome(
        float(test.mean()),
        float(test[order[:10]].mean()),
        float(chances @ test[order]),
        float(chances @ (value - test)[order]),
    )


def chosen(found: Mapping[Rule, Sequence[Outcome]]) -> Rule:
    """Choose the rule whose winners have the best test accuracy, on the mean over tables."""
    return max(found, key=lambda rule: float(np.mean([one.winner for one in found[rule]])))


def page(tables: Sequence[Trainings]) -> str:
    """Choose on the tuning tables and write everything down."""
    of_use = {use: [table for table in tables if table.use == use] for use in ("tune", "judge")}
    found = {
        use: {rule: [outcome(rule, table) for table in group] for rule in (LAST, *RULES)}
        for use, group in of_use.items()
    }
    best = chosen({rule: found["tune"][rule] for rule in RULES})
    before, after = ([100 * one.winner for one in found["judge"][rule]] for rule in (LAST, best))
    gains = ", ".join(
        f"{new - old:+.1f} ({table.name})"
        for table, old, new in zip(of_use["judge"], before, after, strict=True)
    )
    return "\n".join(
        [
            "# When to stop a training",
            "",
            "`python -m studies.stopping`. A training keeps the networks of the epoch that a "
            "rule picks by its validation accuracy. Test accuracy there in %: of all recorded "
            "trainings / of the ten with the best values / of the winner among "
            f"{TRAININGS} drawn at random (expected); in brackets by how much the "
            "winner's value is above its test accuracy. The tables and what they are for: "
            "`studies/record_table.py`.",
            "",
            f"**Chosen on the tuning tables: {best.name}.** It has the best winners there, on the "
            "mean over the tables; differences of a tenth of a percent are noise. A mean over "
            "several epochs picks an epoch late, which costs where the networks memorise. "
            "Averaging the best epochs for the value costs nothing, and makes it less optimistic "
            "than the best epoch alone.",
            "",
            f"On the judging tables its winners beat those of the last epochs by {gains} points.",
            "",
            *_table("Tuning", of_use["tune"], found["tune"], best),
            "",
            *_table("Judging", of_use["judge"], found["judge"], best),
            "",
        ]
    )


def _table(
    title: str,
    tables: Sequence[Trainings],
    found: Mapping[Rule, Sequence[Outcome]],
    best: Rule,
) -> list[str]:
    names = " | ".join(table.name for table in tables)
    lines = [f"## {title}", "", f"| kept | {names} |", "|---" * (len(tables) + 1) + "|"]
    for rule, outcomes in found.items():
        name = f"**{rule.name}**" if rule is best else rule.name
        cells = (
            f"{100 * one.every:.1f} / {100 * one.ten:.1f} / {100 * one.winner:.2f} "
            f"({100 * one.optimism:+.1f})"
            for one in outcomes
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def read_tables() -> list[Trainings]:
    """Read all recorded tables."""
    return [Trainings.read(path) for path in sorted(DATA.glob("*.npz"))]


def main() -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(read_tables()), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
