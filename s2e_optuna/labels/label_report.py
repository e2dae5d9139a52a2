"""What is said of the labels of a data set as a whole, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2e_optuna.labels.quality import LabelQuality
from s2e_optuna.scores import number_or_none

Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class LabelReport:
    """Noise rates and transition matrix with 95 % intervals, and what they rest on.

    Attributes
    ----------
    noise_rate, interval
        Share of wrong labels; 0 to 1.
    least
        Share of wrong labels that the data need at least; 0 where no label need be wrong.
    classes
        Their names.
    by_class, by_class_interval
        Share of wrong labels among those given as each class; None where no sample has the label.
    transition_matrix, transition_matrix_interval
        Row k is the distribution of the given label of a sample of class k; and [low, high].
    not_judged
        Classes whose labels are not judged: networks do not recognise their samples.
    contradictions
        Groups of equal samples with different labels.
    expected_precision, expected_recall
        Of the list: the share of wrong labels among the listed, and of listed ones among the
        wrong; None where there are none.
    clean
        Whether clean samples were compared with.
    assumption
        What all this rests on, a sentence.
    """

    noise_rate: float
    interval: tuple[float, float]
    least: float
    classes: tuple[str, ...]
    by_class: tuple[float | None, ...]
    by_class_interval: tuple[Interval, ...]
    transition_matrix: tuple[tuple[float, ...], ...]
    transition_matrix_interval: tuple[tuple[tuple[float, ...], ...], ...]
    not_judged: tuple[str, ...]
    contradictions: int
    expected_precision: float | None
    expected_recall: float | None
    clean: bool
    assumption: str

    @classmethod
    def of(
        cls, quality: LabelQuality, names: Sequence[str], contradictions: int, clean: bool
    ) -> LabelReport:
        """Collect what is shown of an assessment.

        Parameters
        ----------
        quality
            The assessment.
        names
            Names of the classes.
        contradictions
            Groups of equal samples with different labels.
        clean
            Whether there were clean samples.
        """
        noise = quality.noise
        return cls(
            noise_rate=noise.overall,
            interval=noise.interval,
            least=noise.least,
            classes=tuple(names),
            by_class=tuple(number_or_none(rate) for rate in noise.by_class),
            by_class_interval=tuple(
                (number_or_none(low), number_or_none(high))
                for low, high in noise.by_class_interval.T
            ),
            transition_matrix=_tuples(noise.matrix.tolist()),
            transition_matrix_interval=tuple(map(_tuples, noise.matrix_interval.tolist())),
            not_judged=tuple(names[k] for k in quality.not_judged),
            contradictions=contradictions,
            expected_precision=number_or_none(quality.expected_precision),
            expected_recall=number_or_none(quality.expected_recall),
            clean=clean,
            assumption=quality.assumption,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; numbers have four digits."""
        return {name: _rounded(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LabelReport:
        """Read what `to_dict` wrote; KeyError or TypeError if it is something else."""
        return cls(**{name: _tupled(content[name]) for name in cls.__dataclass_fields__})


def _tuples(rows: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in rows)


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value
