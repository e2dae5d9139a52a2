"""Pictures of schedules, of the distribution over them, and of what training with them gave.

All functions return a `matplotlib.figure.Figure` made without pyplot: no global state, no
backend, safe in threads and on machines without a screen. Every line has its own dashes besides
its colour, for black-and-white print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from s2e_optuna.colours import BLUE, GREY, RED, SKY, VALUES
from s2e_optuna.errors import InputError
from s2e_optuna.reporting.axes import (
    CYCLE,
    DASHES,
    empty_figure,
    epoch_axis,
    finish,
    is_share,
    new_figure,
    open_frame,
    percent_axis,
    percent_ticks,
    rate_axis,
    whole_numbers,
)
from s2e_optuna.reporting.series import Array, Band, LearningCurves, ScoredSchedule, spread
from s2e_optuna.reporting.terminal import GenerationRow, number
from s2e_optuna.writable import check_writable, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from s2e_optuna.schedules import Schedule

_SUFFIXES = (".png", ".svg", ".pdf")

_PIXELS = 160
"""Of an inch."""


def schedule_figure(
    found: Schedule,
    *,
    coteaching: Schedule | None = None,
    noise_rate: float | None = None,
    trials: Sequence[ScoredSchedule] = (),
    maximise: bool = True,
    value_label: str = "validation accuracy",
    title: str | None = None,
) -> Figure:
    """Draw the found R(t) over what it is to be compared with.

    Parameters
    ----------
    found
        The schedule that the search found.
    coteaching
        Co-teaching's schedule with the true noise rate, if that is known.
    noise_rate
        The true share of wrong labels, if known: a line at 1 - noise_rate, the share of clean
        samples.
    trials
        Other trials of the search, drawn thin and coloured by value.
    maximise
        Whether larger values are better: the best trials are drawn darkest and on top.
    value_label
        What the values are.
    title
        Title of the picture.
    """
    figure, ax = new_figure()
    if trials:
        _draw_trials(figure, ax, trials, maximise, value_label)
    _draw_line(ax, found.rates, found.name, BLUE, "-", width=2.6, zorder=4)
    if coteaching is not None:
        _draw_line(ax, coteaching.rates, "Co-teaching", RED, DASHES[1], width=1.8, zorder=3)
    if noise_rate is not None:
        ax.axhline(
            1.0 - noise_rate,
            color="0.35",
            linewidth=1.0,
            linestyle=DASHES[2],
            zorder=2.5,
            label=f"share of clean labels ({1.0 - noise_rate:.0%})",
        )
    epoch_axis(ax, found.epochs)
    rate_axis(ax)
    finish(figure, ax, title)
    return figure


def schedules_figure(schedules: Sequence[Schedule], *, title: str | None = None) -> Figure:
    """Draw several schedules side by side, each with its name, colour and dashes.

    Raises
    ------
    ValueError
        If there is none, or more than can be told apart (six).
    """
    if not 1 <= len(schedules) <= len(CYCLE):
        raise ValueError(f"a picture takes 1 to {len(CYCLE)} schedules, not {len(schedules)}.")
    figure, ax = new_figure()
    for i, schedule in enumerate(schedules):
        _draw_line(
            ax, schedule.rates, schedule.name, CYCLE[i], DASHES[i], width=2.2, zorder=3 - 0.1 * i
        )
    epoch_axis(ax, max(schedule.epochs for schedule in schedules))
    rate_axis(ax)
    finish(figure, ax, title)
    return figure


def distribution_figure(
    generations: Sequence[Band], *, best: Schedule | None = None, title: str | None = None
) -> Figure:
    """Draw the distribution over R(t) under p_theta, one panel a generation.

    Parameters
    ----------
    generations
        The generations in order. If there are more than six, the first, the last and four
        between them are drawn.
    best
        The best schedule so far, drawn dashed in every panel.
    title
        Title of the picture.
    """
    if not generations:
        raise ValueError("there is no generation to draw.")
    shown = spread(generations, 6)
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = empty_figure((2.5 * columns + 0.7, 2.1 * rows + 0.6))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, band in zip(panels.flat, shown, strict=False):
        t = np.arange(len(band.median))
        panel.fill_between(t, band.low, band.high, color=SKY, alpha=0.45, linewidth=0)
        panel.plot(t, band.median, color=BLUE, linewidth=2.0)
        if best is not None:
            panel.plot(best.rates, color=RED, linewidth=1.4, linestyle=DASHES[1])
        panel.set_title(band.name, fontsize=9, loc="left")
        panel.grid(alpha=0.25)
        epoch_axis(panel, len(band.median), label=False)
        rate_axis(panel, label=False)
        open_frame(panel)
    for panel in panels.flat[len(shown) :]:
        panel.set_visible(False)
        above = panels[-2, list(panels.flat).index(panel) % columns] if rows > 1 else None
        if above is not None:
            above.tick_params(labelbottom=True)
    figure.supxlabel("epoch t", fontsize=10)
    figure.supylabel("kept share R(t)", fontsize=10)
    legend = "median and 10–90 % band of R(t) under $p_\\theta$" + (
        "; dashed: best schedule" if best else ""
    )
    figure.suptitle(f"{title}\n{legend}" if title else legend, fontsize=10, wrap=True)
    return figure


def theta_figure(generations: Sequence[GenerationRow], *, title: str | None = None) -> Figure:
    """Draw how theta moved: the entropy of p_theta, and the expected weights of the basis.

    The second panel is left out where the search space has no weights.
    """
    if not generations:
        raise ValueError("there is no generation to draw.")
    weighted = any(row.mean_alpha for row in generations)
    figure = empty_figure((6.4, 4.8 if weighted else 2.6))
    panels = figure.subplots(1 + weighted, 1, sharex=True, squeeze=False)[:, 0]
    m = [row.m for row in generations]
    panels[0].plot(m, [row.entropy for row in generations], color=BLUE, marker="o", markersize=3)
    panels[0].set_ylabel("entropy, nats")
    if weighted:
        for i in range(max(len(row.mean_alpha) for row in generations)):
            shares = [row.mean_alpha[i] if row.mean_alpha else np.nan for row in generations]
            panels[1].plot(
                m, shares, color=CYCLE[i % 6], linestyle=DASHES[i % 6], label=f"f{i + 1}"
            )
        panels[1].set(ylabel="expected weight", ylim=(0.0, 1.0))
        panels[1].legend(frameon=False, fontsize=9, ncols=4)
    for panel in panels:
        panel.grid(alpha=0.25)
        open_frame(panel)
    panels[-1].set_xlabel("generation")
    whole_numbers(panels[-1])
    if title:
        panels[0].set_title(title, fontsize=11, loc="left")
    return figure


def learning_figure(
    curves: Sequence[LearningCurves],
    *,
    y_label: str = "test accuracy",
    title: str | None = None,
) -> Figure:
    """Draw accuracy by epoch for each method: mean over seeds, band of one standard deviation.

    Parameters
    ----------
    curves
        One a method, the most important first.
    y_label, title
        Labels of the picture.
    """
    if not curves:
        raise ValueError("there is no learning curve to draw.")
    figure, ax = new_figure()
    for i, curve in enumerate(curves):
        finite = np.isfinite(curve.values).any(axis=0)
        epochs = np.arange(1, curve.values.shape[1] + 1)[finite]
        values = curve.values[:, finite]
        mean = np.nanmean(values, axis=0)
        colour = CYCLE[i % len(CYCLE)]
        seeds = len(values)
        if seeds > 1:
            spread = np.nanstd(values, axis=0)
            ax.fill_between(
                epochs, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0
            )
        ax.plot(
            epochs,
            mean,
            color=colour,
            linestyle=DASHES[i % len(DASHES)],
            linewidth=2.0,
            marker="o" if len(epochs) == 1 else None,
            label=curve.name + (f" ({seeds} seeds)" if seeds > 1 else ""),
        )
    longest = max(curve.values.shape[1] for curve in curves)
    ax.set_xlim(1, max(longest, 2))
    whole_numbers(ax)
    ax.set(xlabel="epochs of training", ylabel=y_label)
    percent_axis(ax, np.concatenate([curve.values.ravel() for curve in curves]))
    finish(figure, ax, title)
    return figure


def best_so_far_figure(
    searches: Mapping[str, ArrayLike],
    *,
    left: ArrayLike | None = None,
    maximise: bool = True,
    y_label: str = "validation accuracy",
    title: str | None = None,
) -> Figure:
    """Draw the best value so far against the number of finished trials.

    Parameters
    ----------
    searches
        Name of each search to its values in the order in which trials finished: shape
        [trials], or [repeats, trials] for a mean with a band of one standard deviation.
    left
        Of one search the last values of trials that left early [trials], NaN for the others, as
        `searches` has NaN for these: crosses.
    maximise
        Whether larger values are better.
    y_label, title
        Labels of the picture.
    """
    if not searches:
        raise ValueError("there is no search to draw.")
    figure, ax = new_figure()
    accumulate = np.fmax.accumulate if maximise else np.fmin.accumulate
    longest, seen = 1, []
    for i, (name, given) in enumerate(searches.items()):
        values = np.atleast_2d(np.asarray(given, dtype=np.float64))
        best = accumulate(values, axis=1)
        number = np.arange(1, best.shape[1] + 1)
        mean = best.mean(axis=0)
        colour = CYCLE[i % len(CYCLE)]
        if len(values) == 1:
            label = "one trial" if len(searches) == 1 else None
            ax.scatter(number, values[0], s=12, color=colour, alpha=0.4, linewidths=0, label=label)
        else:
            spread = best.std(axis=0)
            ax.fill_between(
                number,
                mean - spread,
                mean + spread,
                step="post",
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
        ax.step(
            number,
            mean,
            where="post",
            color=colour,
            linestyle=DASHES[i % len(DASHES)],
            linewidth=2.0,
            marker="o" if len(number) == 1 else None,
            label="best so far" if len(searches) == 1 and len(values) == 1 else name,
        )
        longest = max(longest, best.shape[1])
        seen.append(values.ravel())
    some_left = left is not None and bool(np.isfinite(left).any())
    if some_left:
        gone = np.asarray(left, dtype=np.float64)
        number = np.arange(1, len(gone) + 1)
        ax.scatter(number, gone, s=16, marker="x", color=GREY, linewidths=1, label="left early")
        seen.append(gone)
    ax.set_xlim(0.5, longest + 0.5)
    whole_numbers(ax)
    ax.set(xlabel="finished trials" if some_left else "complete trials", ylabel=y_label)
    percent_axis(ax, np.concatenate(seen))
    finish(figure, ax, title)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the ending of ``path``.

    Raises
    ------
    InputError
        If the ending is another one, or the folder does not exist.
    """
    path = check_picture_path(path)
    with whole_file(path) as place:
        draw_figure(figure, place, path.suffix.lower().removeprefix("."))
    return path


def draw_figure(figure: Figure, target: str | Path | IO[bytes], kind: str) -> None:
    """Draw a figure to a file, once; ``Figure.savefig`` draws one with a layout twice.

    Parameters
    ----------
    figure
        Its layout, if it has one, is made anew.
    target
        Where to.
    kind
        ``"png"``, ``"svg"`` or ``"pdf"``.
    """
    from matplotlib.backend_bases import get_registered_canvas_class

    # No date in the file: the same picture is the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.set_dpi(_PIXELS)
    canvas = get_registered_canvas_class(kind)(figure)
    getattr(canvas, f"print_{kind}")(target, metadata=metadata)


def check_picture_path(path: str | Path) -> Path:
    """Return ``path`` if a picture can be written there; InputError says why it cannot."""
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path} is no picture file: end its name in {', '.join(_SUFFIXES)}.")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} for the picture {path.name} does not exist.")
    check_writable(path)
    return path


def _draw_line(
    ax: Axes, rates: Array, label: str, colour: str, dashes: Any, *, width: float, zorder: float
) -> None:
    ax.plot(
        np.arange(len(rates)),
        rates,
        label=label,
        color=colour,
        linestyle=dashes,
        linewidth=width,
        marker="o" if len(rates) == 1 else None,
        zorder=zorder,
        clip_on=False,  # a line along R = 1 or R = 0 keeps its full width
    )


def _draw_trials(
    figure: Figure,
    ax: Axes,
    trials: Sequence[ScoredSchedule],
    maximise: bool,
    value_label: str,
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    # Worst first, so that the best lie on top.
    ordered = sorted(trials, key=lambda trial: trial.value, reverse=not maximise)
    values = np.array([trial.value for trial in ordered])
    scale = [(1.0 - at, colour) for at, colour in reversed(VALUES)] if maximise else VALUES
    cmap = LinearSegmentedColormap.from_list("value", list(scale))
    low, high = float(values.min()), float(values.max())
    same = low == high  # a scale of one value: its own colour is that in the middle
    norm = Normalize(low - 0.5, high + 0.5) if same else Normalize(low, high)
    lines = LineCollection(
        [np.column_stack([np.arange(t.schedule.epochs), t.schedule.rates]) for t in ordered],
        colors=cmap(norm(values)),
        linewidths=0.8,
        alpha=0.75,
        zorder=1.5,
    )
    ax.add_collection(lines)
    shown = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    bar = figure.colorbar(
        ScalarMappable(norm, cmap), ax=ax, pad=0.02, label=f"{value_label} of {shown}"
    )
    if same:
        bar.set_ticks([low], labels=[f"{low:.1%}" if is_share(values) else number(low)])
    elif is_share(values):
        percent_ticks(bar.ax.yaxis, low, high)
