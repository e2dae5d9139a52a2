"""Colours of all pictures: those of Okabe and Ito, which the colour-blind can tell apart."""

from __future__ import annotations

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"

INK, GREY, GRID = "#222222", "#666666", "#dddddd"
"""Of letters, axes and lines of a grid, on a white ground."""

VALUES = ((0.0, "#0f3a26"), (0.35, "#4f8f5a"), (0.7, "#a9c98a"), (1.0, "#dfe7bd"))
"""Scale of values, from the best (0) to the worst (1): from dark to light, to be read in grey."""
