"""A picture of how true classes became given labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMED = 30
"""Classes up to which each row and column has its name."""

_MOST_NUMBERS = 12
_LEAST_SHOWN = 0.5  # percent: smaller shares are left blank


def transition_figure(
    matrix: ArrayLike, names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draw a transition matrix.

    Parameters
    ----------
    matrix
        Shape [C, C], row k the distribution of the given label of a sample of class k.
    names
        C names.
    title
        Above the picture.
    """
    from matplotlib.figure import Figure

    shares = 100.0 * np.asarray(matrix, dtype=np.float64)
    n_classes = len(shares)
    side = float(np.clip(0.5 * n_classes + 1.6, 3.2, 7.2))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    ax = figure.subplots()
    picture = ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=100.0)
    if n_classes <= MOST_NAMED:
        shown = [name if len(name) <= 14 else name[:13] + "…" for name in names]
        ax.set_xticks(range(n_classes), shown, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(n_classes), shown)
    if n_classes <= _MOST_NUMBERS:
        for true, row in enumerate(shares):
            for given, share in enumerate(row):
                if share >= _LEAST_SHOWN:
                    colour = "white" if share > 60 else "black"
                    ax.text(given, true, f"{share:.0f}", ha="center", va="center", color=colour)
    ax.set_xlabel("given label")
    ax.set_ylabel("true class")
    figure.colorbar(picture, ax=ax, shrink=0.8, label="%")
    if title:
        ax.set_title(title, fontsize=11, loc="left")
    return figure
