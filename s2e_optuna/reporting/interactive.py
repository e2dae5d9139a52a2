"""The pictures of a study for a browser: plotly figures, kept small.

optuna-dashboard stores a figure in the study, in pieces of 2,045 characters, and sends all of
them to every page of the study. So curves are rounded to three digits, many trials become few
lines, and figures carry no template.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.colours import BLUE, GREY, GRID, INK, RED, SKY, VALUES
from s2e_optuna.reporting.series import Band, ScoredSchedule
from s2e_optuna.reporting.terminal import GenerationRow, number

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from s2e_optuna.schedules import Schedule

Array = NDArray[np.float64]

_MOST_POINTS = 200


def schedules_plot(
    trials: Sequence[ScoredSchedule],
    *,
    recommended: Schedule | None = None,
    coteaching: Schedule | None = None,
    maximise: bool = False,
    value_label: str = "validation error",
    total: int | None = None,
) -> go.Figure:
    """Draw schedules coloured by the value of their trial, the better the darker.

    Parameters
    ----------
    trials
        Trials with one number of epochs.
    recommended, coteaching
        Drawn on top.
    maximise
        Whether larger values are better.
    value_label
        What the values are.
    total
        The number of finished trials, if these are a selection of them.
    """
    if not trials:
        raise ValueError("there is no schedule to draw.")
    sign = -1.0 if maximise else 1.0
    ranked = sorted(trials, key=lambda trial: sign * trial.value)
    values = np.array([trial.value for trial in ranked])
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    traces: list[dict[str, Any]] = []
    for trial in reversed(ranked):  # the best last, on top
        worse = abs(trial.value - ranked[0].value) / span
        traces.append(
            _line(
                trial.schedule.rates,
                f"{trial.schedule.name}: {value_label} {trial.value:.4f}",
                _shade(worse),
                1.2,
                showlegend=False,
            )
        )
    traces.append(_colour_bar(low, high, value_label, maximise))
    if coteaching is not None:
        traces.append(_line(coteaching.rates, coteaching.name, RED, 2.5, dash="dot"))
    if recommended is not None:
        name = f"recommended: {recommended.name}"
        traces.append(_line(recommended.rates, name, BLUE, 4))
    shown = f"{len(trials)} of {total}" if total and total > len(trials) else str(len(trials))
    trials_shown = "1 finished trial" if shown == "1" else f"{shown} finished trials"
    return _figure(
        traces,
        f"R(t) of {trials_shown}, coloured by {value_label}",
        {"title": "epoch t"},
        {"title": "kept share R(t)", "range": [0, 1.02]},
    )


def distribution_plot(generations: Sequence[Band], *, best: Schedule | None = None) -> go.Figure:
    """Draw the distribution over R(t) under p_theta; a slider goes through the generations.

    Parameters
    ----------
    generations
        In order.
    best
        Drawn over every generation.
    """
    if not generations:
        raise ValueError("there is no generation to draw.")
    traces: list[dict[str, Any]] = []
    for band in generations:
        last = band is generations[-1]
        low = _line(band.low, "10 %", SKY, 0, showlegend=False, visible=last)
        high = _line(band.high, "10-90 % of the draws", SKY, 0, visible=last)
        high |= {"fill": "tonexty", "fillcolor": "rgba(86,180,233,0.45)"}
        traces += [low, high, _line(band.median, "median", BLUE, 3, visible=last)]
    if best is not None:
        traces.append(_line(best.rates, f"recommended: {best.name}", RED, 2, dash="dash"))
    steps = [
        {
            "label": band.name.removeprefix("generation "),
            "method": "restyle",
            "args": [
                "visible",
                [i // 3 == j for i in range(3 * len(generations))] + [True] * (best is not None),
            ],
        }
        for j, band in enumerate(generations)
    ]
    figure = _figure(
        traces,
        "Distribution of R(t) under p_theta, by generation",
        {"title": "epoch t"},
        {"title": "kept share R(t)", "range": [0, 1.02]},
    )
    if len(generations) > 1:
        slider = {
            "active": len(generations) - 1,
            "currentvalue": {"prefix": "generation "},
            "pad": {"t": 45},
            "steps": steps,
        }
        figure.update_layout(sliders=[slider])
    return figure


def entropy_plot(generations: Sequence[GenerationRow]) -> go.Figure:
    """Draw the entropy of p_theta by generation: how much is still undecided."""
    if not generations:
        raise ValueError("there is no generation to draw.")
    shown = generations[:: max(1, len(generations) // _MOST_POINTS)]
    trace = _line([row.entropy for row in shown], "entropy", BLUE, 2.5, showlegend=False)
    trace |= {"x": [row.m for row in shown], "mode": "lines+markers"}
    return _figure(
        [trace],
        "Entropy of p_theta: what the search has not decided yet",
        {"title": "generation", "dtick": max(1, len(generations) // 10)},
        {"title": "entropy, nats"},
    )


def best_so_far_plot(
    values: ArrayLike,
    *,
    left: ArrayLike | None = None,
    maximise: bool = False,
    value_label: str = "validation error",
) -> go.Figure:
    """Draw values in the order in which trials finished, and the best so far.

    Parameters
    ----------
    values
        Shape [trials].
    left
        Last values of trials that left early [trials], NaN for the others, as `values` has NaN
        for these: crosses.
    maximise
        Whether larger values are better.
    value_label
        What the values are.
    """
    values = np.asarray(values, dtype=np.float64)
    complete = np.flatnonzero(np.isfinite(values))
    if not complete.size:
        raise ValueError("there is no finished trial to draw.")
    best = (np.fmax if maximise else np.fmin).accumulate(values)
    number = np.arange(1, len(values) + 1)
    # Corners of the staircase say everything about it, however many trials there are.
    steps = np.flatnonzero(np.diff(best[complete[0] :])) + 1 + complete[0]
    corners = np.unique(np.r_[complete[0], steps, len(best) - 1])
    marks = [_marks("a trial", number[complete], values[complete], {"color": SKY, "size": 6})]
    if left is not None and len(gone := np.flatnonzero(np.isfinite(left))):
        last = np.asarray(left, dtype=np.float64)[gone]
        marker = {"color": GREY, "size": 6, "symbol": "x-thin-open"}
        marks.append(_marks("left early", number[gone], last, marker))
    stairs = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": number[corners].tolist(),
        "y": _rounded(best[corners], 4),
        "line": {"color": BLUE, "width": 3, "shape": "hv"},
    }
    return _figure(
        [*marks, stairs],
        f"Best {value_label} so far",
        {"title": "complete trials" if len(marks) == 1 else "finished trials"},
        {"title": value_label},
    )


def _marks(
    name: str, number: NDArray[np.intp], values: NDArray[np.float64], marker: dict[str, Any]
) -> dict[str, Any]:
    """Mark some of the trials, by their numbers and values [n]: evenly chosen among very many."""
    count = min(len(values), 2 * _MOST_POINTS)
    kept = np.unique(np.linspace(0, len(values) - 1, count).astype(int))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": number[kept].tolist(),
        "y": _rounded(values[kept], 4),
        "marker": marker,
    }


def _figure(
    traces: list[dict[str, Any]], title: str, x: dict[str, Any], y: dict[str, Any]
) -> go.Figure:
    import plotly.graph_objects as go

    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GREY, "ticks": "outside"}
    layout = {
        # Stored with every figure otherwise: seven kilobytes.
        "template": None,
        "title": {"text": title, "font": {"size": 16}},
        "xaxis": {**axis, **x, "title": {"text": x["title"]}},
        "yaxis": {**axis, **y, "title": {"text": y["title"]}},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "font": {"color": INK},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"t": 95, "b": 60, "l": 70, "r": 30},
        "hovermode": "closest",
    }
    return go.Figure({"data": traces, "layout": layout}, skip_invalid=False)


def _line(
    y: ArrayLike,
    name: str,
    colour: str,
    width: float,
    *,
    dash: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    curve = np.asarray(y, dtype=np.float64)
    x = np.arange(len(curve))
    if len(curve) > _MOST_POINTS:
        x = np.unique(np.linspace(0, len(curve) - 1, _MOST_POINTS).round().astype(int))
    style: dict[str, Any] = {"color": colour, "width": width}
    if dash is not None:
        style["dash"] = dash
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if len(curve) > 1 else "markers",
        "name": name,
        "y": _rounded(curve[x], 3),
        "line": style,
        **more,
    }
    if len(x) < len(curve):
        trace["x"] = x.tolist()
    return trace


def _colour_bar(low: float, high: float, label: str, maximise: bool) -> dict[str, Any]:
    """Make a trace without points, whose colour bar explains the lines."""
    scale = [[1.0 - at, colour] for at, colour in reversed(VALUES)]
    bar: dict[str, Any] = {"title": {"text": label, "side": "right"}, "thickness": 14}
    if low == high:  # the one value has the colour of the best
        bar |= {"tickvals": [low], "ticktext": [number(low)]}
        low, high = (low - 1.0, high) if maximise else (low, high + 1.0)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "showlegend": False,
        "hoverinfo": "skip",
        "marker": {
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": scale if maximise else [list(pair) for pair in VALUES],
            "colorbar": bar,
            "showscale": True,
        },
    }


def _shade(position: float) -> str:
    """Colour at a position of the scale: 0 is the best."""
    at = [entry[0] for entry in VALUES]
    parts = [
        np.interp(position, at, [int(entry[1][i : i + 2], 16) for entry in VALUES])
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(float(part)):02x}" for part in parts)


def _rounded(values: ArrayLike, digits: int) -> list[float | None]:
    return [
        round(float(value), digits) if np.isfinite(value) else None
        for value in np.asarray(values, dtype=np.float64)
    ]
