"""R(t) of one trial as an SVG, written directly: a figure of matplotlib takes 100 times as long.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; every line also has its
own dashes, for print without colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.colours import BLUE, GREY, GRID, INK, ORANGE, RED

# Small, with large letters: the dashboard shows it as a stamp of 200 units.
_WIDTH, _HEIGHT = 440, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 428, 44, 276


@dataclass(frozen=True)
class Style:
    """How a line is drawn, as in SVG."""

    colour: str
    width: float
    dashes: str = ""


FOUND = Style(BLUE, 5.0)
"""The schedule that a picture is about."""

BEST = Style(INK, 2.5, "9 4")
"""The best schedule so far."""

COTEACHING = Style(RED, 3.0, "3 4")
"""What it is compared with."""

PRECISION = Style(ORANGE, 2.5, "12 3 3 3")
"""The share of clean samples among the kept."""


@dataclass(frozen=True)
class Line:
    """A curve over the epochs of a picture.

    Attributes
    ----------
    name
        What the legend calls it.
    y
        Numbers in [0, 1], shape [epochs]; those that are not finite interrupt the line.
    style
        How it is drawn.
    """

    name: str
    y: NDArray[np.float64]
    style: Style


def schedule_svg(lines: Sequence[Line], *, title: str, stopped: int | None = None) -> str:
    """Draw schedules over epochs.

    Parameters
    ----------
    lines
        From front to back: the first is drawn on top. The first one's length is the number of
        epochs T.
    title
        One line above the picture.
    stopped
        The number of epochs that were run, if they were fewer than T.

    Returns
    -------
    str
        An SVG document of 440 x 400 units, with a white ground.
    """
    epochs = len(lines[0].y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label={quoteattr(title)} '
        'font-family="Helvetica, Arial, sans-serif" font-size="17">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(16, 28, title, size=21, colour=INK),
        *_axes(epochs),
    ]
    if stopped is not None and stopped < epochs:
        x = _x(stopped, epochs)
        parts.append(
            f'<rect x="{x:.1f}" y="{_TOP}" width="{_RIGHT - x:.1f}" height="{_BOTTOM - _TOP}" '
            'fill="#999999" fill-opacity="0.25"/>'
        )
        parts.append(_text(min(x + 8, _RIGHT - 160), _TOP + 22, f"ended in epoch {stopped}"))
    parts += [_polyline(line, epochs) for line in reversed(lines)]
    parts += _legend(lines)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _x(t: float, epochs: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * t / max(epochs - 1, 1)


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(max(share, 0.0), 1.0)


def _polyline(line: Line, epochs: int) -> str:
    pieces: list[list[str]] = [[]]
    for t, share in enumerate(line.y[:epochs].tolist()):
        if math.isfinite(share):
            pieces[-1].append(f"{_x(t, epochs):.1f},{_y(share):.1f}")
        elif pieces[-1]:
            pieces.append([])
    style = f'fill="none" {_stroke(line.style)}'
    # A line of one point has no length: round ends make it a dot.
    return "".join(
        f'<polyline points="{" ".join(points)}" {style} stroke-linejoin="round" '
        f'stroke-linecap="{"round" if len(points) == 1 else "butt"}"/>'
        for points in (piece * 2 if len(piece) == 1 else piece for piece in pieces)
        if points
    )


def _axes(epochs: int) -> list[str]:
    parts = []
    for i in range(6):
        share = i / 5
        y = _y(share)
        parts.append(_rule(_LEFT, y, _RIGHT, y, GRID))
        parts.append(_text(_LEFT - 10, y + 6, f"{share:.1f}", anchor="end"))
    step = _step(epochs)
    for t in range(0, epochs, step):
        x = _x(t, epochs)
        parts.append(_rule(x, _BOTTOM, x, _BOTTOM + 6, GREY))
        parts.append(_text(x, _BOTTOM + 25, str(t), anchor="middle"))
    parts.append(_rule(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, GREY))
    parts.append(_rule(_LEFT, _TOP, _LEFT, _BOTTOM, GREY))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 48, "epoch t", anchor="middle"))
    middle = (_TOP + _BOTTOM) / 2
    parts.append(
        f'<text x="20" y="{middle}" fill="{GREY}" text-anchor="middle" '
        f'transform="rotate(-90 20 {middle})">kept share R(t)</text>'
    )
    return parts


def _step(epochs: int) -> int:
    """Epochs between two labels: 1, 2 or 5 times a power of ten, at most eight labels."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if (epochs - 1) / (power * factor) <= 7:
                return power * factor
        power *= 10


def _legend(lines: Sequence[Line]) -> list[str]:
    parts = []
    for i, line in enumerate(lines):
        x = 16 + (i % 2) * 208
        y = _BOTTOM + 78 + (i // 2) * 27
        sample = _stroke(line.style)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 34}" y2="{y}" {sample}/>')
        parts.append(_text(x + 41, y + 6, line.name, colour=INK))
    return parts


def _stroke(style: Style) -> str:
    dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
    return f'stroke="{style.colour}" stroke-width="{style.width}"{dashes}'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int | None = None,
    colour: str = GREY,
) -> str:
    sized = "" if size is None else f' font-size="{size}"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{sized}>'
        f"{escape(text)}</text>"
    )
