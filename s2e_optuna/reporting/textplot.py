"""Curves drawn with characters.

A cell of a terminal holds 2 x 4 braille dots, so a plot of 70 x 13 cells has 140 x 52 points:
enough to tell two schedules apart. Curves are told apart by dashes first and by colour second,
because output is often piped, printed or read without colours. Where the output cannot show
braille, each curve has a letter-like mark instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.text import Text

Array = NDArray[np.float64]

_DOT_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] of a cell
_BRAILLE = 0x2800

# Dots drawn and dots left out along the line: solid, dashed, dotted, long dashes.
_DASHES = ((1, 0), (5, 4), (1, 3), (8, 2))
_COLOURS = ("bold bright_blue", "yellow", "magenta", "green")
_ASCII_MARKS = "*o+x"

MAX_CURVES = len(_DASHES)


@dataclass(frozen=True)
class Curve:
    """A named line: y against x, both of shape [n]; points that are not finite are left out."""

    name: str
    y: Array
    x: Array

    @classmethod
    def over_epochs(cls, name: str, y: ArrayLike, first: int = 0) -> Curve:
        """Make a curve of one value an epoch.

        Parameters
        ----------
        name
            Its name in the legend.
        y
            Shape [n].
        first
            Number of the first epoch.
        """
        y = np.asarray(y, dtype=np.float64)
        return cls(name, y, np.arange(first, first + len(y), dtype=np.float64))


@dataclass(frozen=True)
class _Area:
    """The drawing area: its size in dots and the values at its edges."""

    columns: int
    rows: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def dot(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of a point, row 0 on top; beyond the edges it is moved to them."""
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        column = round(min(max(across, 0.0), 1.0) * (self.columns - 1))
        row = round((1.0 - min(max(up, 0.0), 1.0)) * (self.rows - 1))
        return column, row

    def path(self, curve: Curve) -> Iterator[tuple[int, int]]:
        """All dots of a curve in order, neighbours joined without gaps."""
        finite = np.isfinite(curve.x) & np.isfinite(curve.y)
        points = zip(curve.x[finite], curve.y[finite], strict=True)
        corners = [self.dot(float(x), float(y)) for x, y in points]
        yield from corners[:1]
        for start, end in pairwise(corners):
            steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
            for step in range(1, steps + 1):
                yield (
                    start[0] + round((end[0] - start[0]) * step / steps),
                    start[1] + round((end[1] - start[1]) * step / steps),
                )


def text_plot(
    curves: Sequence[Curve],
    *,
    width: int = 80,
    height: int = 13,
    x_label: str = "epoch t",
    y_label: str = "kept share R(t)",
    y_range: tuple[float, float] | None = (0.0, 1.0),
    ascii_only: bool = False,
) -> Text:
    """Draw curves with braille dots, or with ASCII marks.

    Parameters
    ----------
    curves
        One to `MAX_CURVES` curves, the most important one first: it is drawn on top.
    width
        Columns of the whole drawing, at least 30.
    height
        Rows of the drawing area, at least 5; labels and legend take four more.
    x_label, y_label
        What the axes show.
    y_range
        Values at the lower and upper edge; None takes them from the curves.
    ascii_only
        For outputs whose encoding has no braille.

    Returns
    -------
    rich.text.Text
        Lines of at most ``width`` columns; ``.plain`` is the drawing without colours.

    Raises
    ------
    ValueError
        If there is no curve, there are too many, or no point of them is finite.
    """
    if not 1 <= len(curves) <= MAX_CURVES:
        raise ValueError(f"a text plot takes 1 to {MAX_CURVES} curves, not {len(curves)}.")
    x_range, y_range = _ranges(curves, y_range)
    tick_rows = _tick_rows(height)
    tick_values = [y_range[1] - (y_range[1] - y_range[0]) * i / 4 for i in range(5)]
    y_labels = dict(zip(tick_rows, _number_labels(tick_values), strict=True))
    margin = max(len(label) for label in y_labels.values())
    columns = max(width, 30) - margin - 2

    scale = (1, 1) if ascii_only else (2, 4)
    area = _Area(columns * scale[0], height * scale[1], x_range, y_range)
    cells = _ascii_cells(curves, area) if ascii_only else _braille_cells(curves, area)

    vertical, tick, corner, bar, x_tick = "|++-+" if ascii_only else "│┤└─┬"
    text = Text(no_wrap=True)
    text.append(f"{' ' * margin} {y_label}\n", style="dim")
    for row in range(height):
        label = y_labels.get(row, "")
        text.append(f"{label:>{margin}} {tick if row in y_labels else vertical}", style="dim")
        for column in range(columns):
            text.append(*cells.get((column, row), (" ", "")))
        text.append("\n")
    axis, numbers = _x_axis(x_range, columns, bar, x_tick, x_label)
    text.append(f"{' ' * margin} {corner}{axis}\n", style="dim")
    text.append(f"{' ' * margin}  {numbers}\n", style="dim")
    text.append(" " * (margin + 2))
    for i, curve in enumerate(curves):
        name = _ascii(curve.name) if ascii_only else curve.name
        text.append(f"{_sample(i, ascii_only)} ", style=_COLOURS[i])
        text.append(name + ("   " if i + 1 < len(curves) else ""))
    lines = text.split("\n")
    for line in lines:
        line.rstrip()
    return Text("\n", no_wrap=True).join(lines)


def sparkline(values: ArrayLike, *, width: int = 30, ascii_only: bool = False) -> str:
    """Draw numbers in [0, 1] in one line of ``width`` columns, for a row of a table.

    Parameters
    ----------
    values
        Numbers in [0, 1], shape [n].
    width
        Columns; of more numbers so many are drawn.
    ascii_only
        For outputs whose encoding has no blocks.
    """
    marks = " .:-=+*#" if ascii_only else "▁▂▃▄▅▆▇█"
    values = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    at = np.linspace(0, len(values) - 1, min(width, len(values)))
    levels = np.interp(at, np.arange(len(values)), values)
    return "".join(marks[int(level)] for level in np.rint(levels * (len(marks) - 1)))


def _ranges(
    curves: Sequence[Curve], y_range: tuple[float, float] | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    x = np.concatenate([curve.x for curve in curves])
    y = np.concatenate([curve.y for curve in curves])
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        raise ValueError("there is nothing to draw: no point of the curves is a finite number.")
    x_low, x_high = float(x[finite].min()), float(x[finite].max())
    if y_range is None:
        y_range = float(y[finite].min()), float(y[finite].max())
    low, high = y_range
    if high <= low:  # one value only: put it in the middle
        half = abs(low) * 0.1 or 0.5
        low, high = low - half, high + half
    return (x_low, x_high if x_high > x_low else x_low + 1.0), (low, high)


def _tick_rows(height: int) -> list[int]:
    # The row of a value in quarters, found as `_Area.dot` finds it for braille dots.
    return [round(i / 4 * (4 * height - 1)) // 4 for i in range(5)]


def _number_labels(values: Sequence[float]) -> list[str]:
    spread = max(values) - min(values)
    decimals = min(max(2 - int(np.floor(np.log10(spread))), 0), 6) if spread < 1000 else 0
    labels = [f"{value:.{decimals}f}" for value in values]
    while decimals > 1 and all(label.endswith("0") for label in labels):
        decimals -= 1
        labels = [label[:-1] for label in labels]
    return labels


def _braille_cells(curves: Sequence[Curve], area: _Area) -> dict[tuple[int, int], tuple[str, str]]:
    bits: dict[tuple[int, int], int] = {}
    owner: dict[tuple[int, int], int] = {}
    for i, curve in enumerate(curves):
        drawn, skipped = _DASHES[i]
        for step, (column, row) in enumerate(area.path(curve)):
            if step % (drawn + skipped) >= drawn:
                continue
            cell = (column // 2, row // 4)
            bits[cell] = bits.get(cell, 0) | _DOT_BITS[row % 4][column % 2]
            owner.setdefault(cell, i)  # a cell has one colour: that of the first curve in it
    return {cell: (chr(_BRAILLE | bits[cell]), _COLOURS[owner[cell]]) for cell in bits}


def _ascii_cells(curves: Sequence[Curve], area: _Area) -> dict[tuple[int, int], tuple[str, str]]:
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for i, curve in enumerate(curves):
        for cell in area.path(curve):
            cells.setdefault(cell, (_ASCII_MARKS[i], _COLOURS[i]))
    return cells


def _x_axis(
    x_range: tuple[float, float], columns: int, bar: str, tick: str, label: str
) -> tuple[str, str]:
    low, high = x_range
    step = _nice_step((high - low) / max(columns // 14, 1))
    axis = [bar] * columns
    numbers = [" "] * columns
    free_until = 0
    last_start = columns - len(label) - 2
    value = np.ceil(low / step) * step
    while value <= high + 1e-9 * step:
        column = round((value - low) / (high - low) * (columns - 1))
        axis[column] = tick
        mark = f"{value:g}"
        start = max(column - len(mark) // 2, 0)
        if start >= free_until and start + len(mark) <= last_start:
            numbers[start : start + len(mark)] = mark
            free_until = start + len(mark) + 1
        value += step
    numbers[columns - len(label) :] = label
    return "".join(axis), "".join(numbers)


def _nice_step(rough: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten, but no finer than whole numbers."""
    power = 10.0 ** np.floor(np.log10(max(rough, 1e-12)))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return max(float(step), 1.0)


def _sample(i: int, ascii_only: bool) -> str:
    if ascii_only:
        return _ASCII_MARKS[i] * 3
    drawn, skipped = _DASHES[i]
    dots = [step % (drawn + skipped) < drawn for step in range(10)]
    return "".join(
        chr(_BRAILLE | (_DOT_BITS[2][0] * dots[2 * c] | _DOT_BITS[2][1] * dots[2 * c + 1]))
        for c in range(5)
    ).replace(chr(_BRAILLE), " ")


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
