"""A schedule R(t): the share of each mini-batch to keep, by epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMAT = "s2e-schedule-1"


@dataclass(frozen=True, eq=False)
class Schedule:
    """The share R(t) of small-loss samples that is kept in each mini-batch of epoch t.

    Parameters
    ----------
    rates
        R(0) … R(T-1), shape [T]: all in [0, 1], the first exactly 1 (Assumption 1).
    name
        A label for plots and tables.

    Attributes
    ----------
    rates : numpy.ndarray
        Read-only float64 array, shape [T].

    Raises
    ------
    ValueError
        If the rates are not one-dimensional, not finite, outside [0, 1], or do not start at 1.

    Examples
    --------
    >>> from s2e_optuna import Schedule
    >>> schedule = Schedule.coteaching(epochs=5, tau=0.4, t_k=2)
    >>> schedule.rates
    array([1. , 0.8, 0.6, 0.6, 0.6])
    >>> schedule(1)
    0.8
    """

    rates: NDArray[np.float64]
    name: str = field(default="schedule", kw_only=True)

    def __post_init__(self) -> None:
        rates = np.array(self.rates, dtype=np.float64)
        if rates.ndim != 1 or rates.size == 0:
            raise ValueError(f"rates must have shape [epochs], but their shape is {rates.shape}.")
        if not np.all((rates >= 0.0) & (rates <= 1.0)):  # False for NaN, too
            raise ValueError("rates must be numbers in [0, 1].")
        if rates[0] != 1.0:
            raise ValueError(
                f"rates[0] must be 1: epoch 0 uses all samples, but it is {rates[0]}."
            )
        rates.flags.writeable = False
        object.__setattr__(self, "rates", rates)

    @classmethod
    def clipped(cls, values: ArrayLike, *, name: str = "schedule") -> Schedule:
        """Make a schedule of any finite curve: clip it to [0, 1] and set R(0) = 1."""
        return cls(clip_rates(values), name=name)

    @classmethod
    def constant(cls, epochs: int, rate: float = 1.0, *, name: str = "constant") -> Schedule:
        """Keep the same share in every epoch but the first.

        Parameters
        ----------
        epochs
            Number of epochs T.
        rate
            The share; 1 is training on everything.
        name
            A label for plots and tables.
        """
        return cls.clipped(np.full(epochs, rate), name=name)

    @classmethod
    def coteaching(
        cls,
        epochs: int,
        tau: float,
        t_k: float = 10.0,
        c: float = 1.0,
        *,
        name: str = "Co-teaching",
    ) -> Schedule:
        """Co-teaching's schedule, eq. (1): R(t) = 1 - tau min((t / t_k)^c, 1).

        Parameters
        ----------
        epochs
            Number of epochs T.
        tau
            Share that is dropped in the end: the noise rate, for someone who knows it.
        t_k
            Epochs until tau is reached.
        c
            Exponent of the ramp.
        """
        if not 0.0 <= tau <= 1.0 or t_k <= 0.0 or c <= 0.0:
            raise ValueError(
                f"Co-teaching's schedule needs 0 <= tau <= 1, t_k > 0 and c > 0, "
                f"but tau={tau}, t_k={t_k}, c={c}."
            )
        t = np.arange(epochs, dtype=np.float64)
        return cls.clipped(1.0 - tau * np.minimum((t / t_k) ** c, 1.0), name=name)

    @property
    def epochs(self) -> int:
        """Number of epochs T."""
        return len(self.rates)

    def __call__(self, t: int) -> float:
        """Return R(t) for epoch t = 0 … T-1; IndexError beyond."""
        if not 0 <= t < self.epochs:
            raise IndexError(f"the schedule has epochs 0 … {self.epochs - 1}, not {t}.")
        return float(self.rates[t])

    def __len__(self) -> int:
        return self.epochs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return np.array_equal(self.rates, other.rates)

    def __hash__(self) -> int:
        return hash(self.rates.tobytes())

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw R(t) over epochs with matplotlib.

        Parameters
        ----------
        ax
            Where to draw; a new figure if None.
        **kwargs
            Passed to `matplotlib.axes.Axes.plot`.
        """
        if ax is None:
            from matplotlib.figure import Figure  # not pyplot: no global state, no backend chosen

            ax = Figure(figsize=(5.0, 3.2), layout="constrained").subplots()
        ax.plot(np.arange(self.epochs), self.rates, **{"label": self.name, **kwargs})
        ax.set(xlabel="epoch t", ylabel="kept share R(t)", ylim=(-0.02, 1.02))
        ax.grid(alpha=0.3)
        return ax

    def to_json(self, path: str | Path | None = None) -> str:
        """Write the schedule as JSON text; also to a file, if ``path`` is given."""
        text = json.dumps(
            {"format": _FORMAT, "name": self.name, "rates": [float(rate) for rate in self.rates]}
        )
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> Schedule:
        """Read what `to_json` wrote: a `pathlib.Path`, or the text itself.

        Raises
        ------
        ValueError
            If the text is not a schedule.
        OSError
            If the file cannot be read.
        """
        try:
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
            content = json.loads(text)
        except UnicodeDecodeError as error:
            raise ValueError("not a schedule: it is no text.") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"not a schedule: not valid JSON ({error}).") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f'not a schedule: the JSON object has no "format": "{_FORMAT}".')
        try:
            return cls(
                np.asarray(content["rates"], dtype=np.float64),
                name=str(content.get("name", "schedule")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a schedule: {error}") from error


def clip_rates(values: ArrayLike) -> NDArray[np.float64]:
    """Clip curves, shape [..., T], to [0, 1] and set R(0) = 1 exactly."""
    rates = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    rates[..., 0] = 1.0
    return rates
