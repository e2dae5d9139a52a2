"""Axes of pictures: figures of matplotlib without pyplot, their ticks, frames and legends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.colours import BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from s2e_optuna.reporting.series import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
"""Colours of the lines of a picture, the most important first."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1)), "--")
"""Their dashes."""

_ROW = 80  # characters of a legend in one row, with their samples


def empty_figure(size: tuple[float, float]) -> Figure:
    """Make a figure of a size in inches, without axes."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def new_figure() -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes."""
    figure = empty_figure((6.4, 3.8))
    return figure, figure.subplots()


def epoch_axis(ax: Axes, epochs: int, *, label: bool = True) -> None:
    """Make the x axis one of epochs.

    Parameters
    ----------
    ax
        Axes.
    epochs
        The number of epochs T.
    label
        Whether to write what it is.
    """
    ax.set_xlim(0, max(epochs - 1, 1))
    whole_numbers(ax)
    if label:
        ax.set_xlabel("epoch t")


def whole_numbers(ax: Axes) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def rate_axis(ax: Axes, *, label: bool = True) -> None:
    """Make the y axis one of R(t), with or without its name."""
    ax.set_ylim(0.0, 1.03)
    ax.set_yticks(np.linspace(0, 1, 6))
    if label:
        ax.set_ylabel("kept share R(t)")


def percent_axis(ax: Axes, values: Array) -> None:
    """Write the y axis in percent if all values [n] that are drawn are shares."""
    if is_share(values):
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, 0.0), min(high, 1.0) if np.nanmax(values) < 1.0 else 1.01)
        percent_ticks(ax.yaxis, *ax.get_ylim())


def percent_ticks(axis: Axis, low: float, high: float) -> None:
    """Write ticks as percentages, with as many decimals as tell them apart.

    Parameters
    ----------
    axis
        The axis, of a picture or of a scale of colours.
    low, high
        Shares at its ends.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    locator = MaxNLocator(nbins=6, steps=[1, 2, 5, 10])
    ticks = locator.tick_values(low, high)
    step = 100.0 * float(ticks[1] - ticks[0])  # 1, 2 or 5 times a power of ten
    decimals = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    axis.set_major_locator(locator)
    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def is_share(values: Array) -> bool:
    """Whether values [n] all lie in [0, 1]; NaN does not count."""
    return bool(np.nanmin(values) >= 0.0 and np.nanmax(values) <= 1.0)


def open_frame(ax: Axes) -> None:
    """Draw no frame above and on the right."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def finish(figure: Figure, ax: Axes, title: str | None) -> None:
    """Add grid, legend and title.

    Parameters
    ----------
    figure, ax
        A figure and its axes, with all their lines.
    title
        Title of the picture.
    """
    ax.grid(alpha=0.25)
    open_frame(ax)
    # Below the axes: curves may run anywhere inside.
    names = ax.get_legend_handles_labels()[1]
    fits = sum(map(len, names)) + 8 * len(names) <= _ROW
    columns = len(names) if fits else 3
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    if title:
        ax.set_title(title, fontsize=11, loc="left")
