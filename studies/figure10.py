"""Figure 10: schedules of Co-teaching's, and the closest ones of S2E's space.

    python -m studies.figure10 --scale paper

Nothing is trained. As in Appendix B.1, schedules are drawn from Co-teaching's space, with tau in
(0, 1), c in {0.5, 1, 2} and t_k in (0, T), and fitted by least squares in all 19 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.optimize import least_squares

from s2e_optuna.schedules import Schedule, get_space
from s2e_optuna.schedules.warm_start import coteaching_params
from studies.frame import Study, main
from studies.pages import Table, tidy
from studies.settings import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Epochs T, schedules that are fitted, and starting points of each fit."""

    epochs: int
    schedules: int
    starts: int


SCALES = {"tiny": Scale(20, 3, 1), "small": Scale(200, 30, 4), "paper": Scale(200, 100, 4)}

SHOWN = 3
"""Schedules in the picture, as many as in the paper: the first ones. The worst joins them."""


def drawn(scale: Scale) -> list[dict[str, float]]:
    """Draw parameters of Co-teaching's schedules."""
    rng = np.random.default_rng(10)
    return [
        {
            "tau": float(rng.uniform(0.0, 1.0)),
            "c": float(rng.choice([0.5, 1.0, 2.0])),
            "t_k": float(rng.uniform(0.0, scale.epochs)),
        }
        for _ in range(scale.schedules)
    ]


def fit(target: Array, starts: int, seed: int) -> Array:
    """Return the closest curve R(t) of S2E's space, the best of several fits."""
    space, epochs = get_space("s2e"), len(target)
    rng = np.random.default_rng(seed)
    # One start is what the sampler's warm start takes for this tau, the others are random.
    warm = space.encode(coteaching_params(1.0 - float(target.min())))
    points = [warm, *rng.random((starts - 1, len(space.parameters)))]

    def residuals(x: Array) -> Array:
        return space.curves(x[None], epochs)[0] - target

    fits = [
        least_squares(residuals, np.clip(point, 0.001, 0.999), bounds=(0.0, 1.0), max_nfev=100)
        for point in points
    ]
    best = min(fits, key=lambda result: float(result.cost))
    return space.rates(best.x[None], epochs)[0]


def compute(frame: Frame) -> dict[str, Any]:
    """Fit every schedule."""
    scale = SCALES[frame.scale]
    rows = []
    for i, params in enumerate(track(drawn(scale), "figure10: fits")):
        target = Schedule.coteaching(scale.epochs, **params).rates
        closest = fit(target, scale.starts, i)
        error = closest - target
        rows.append(
            {
                **params,
                "rmse": float(np.sqrt(np.mean(error**2))),
                "largest": float(np.abs(error).max()),
                "target": target.round(6).tolist(),
                "fit": closest.round(6).tolist(),
            }
        )
    worst = max(range(len(rows)), key=lambda i: float(rows[i]["rmse"]))
    for row in (row for i, row in enumerate(rows) if i >= SHOWN and i != worst):
        row["target"] = row["fit"] = None  # they are not drawn
    return {"epochs": scale.epochs, "starts": scale.starts, "rows": rows, "worst": worst}


def shown(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schedules that are drawn."""
    return [*content["rows"][:SHOWN], content["rows"][content["worst"]]]


def table(content: dict[str, Any]) -> Table:
    """One line a schedule."""
    names = ("tau", "c", "t_k", "rmse", "largest")
    return Table(names, [[row[name] for name in names] for row in content["rows"]])


def section(content: dict[str, Any]) -> list[str]:
    """Write the fits that are drawn, and how close all are."""
    rows = [
        [
            f"{r['tau']:.2f}",
            f"{r['c']:g}",
            f"{r['t_k']:.0f}",
            f"{r['rmse']:.4f}",
            f"{r['largest']:.3f}",
        ]
        for r in shown(content)
    ]
    rmse = np.array([row["rmse"] for row in content["rows"]])
    largest = np.array([row["largest"] for row in content["rows"]])
    lines = [
        f"T = {content['epochs']}, the best of {content['starts']} fits each. Drawn are the first "
        "three and the worst:",
        "",
        *Table(("tau", "c", "t_k", "RMSE", "largest error"), rows).markdown(),
        "",
        f"Of all {len(rmse)} schedules half have an RMSE below {np.median(rmse):.4f} and nine "
        f"tenths below {np.quantile(rmse, 0.9):.4f}; the largest error at any epoch is "
        f"{np.median(largest):.3f} in the median and {largest.max():.3f} at worst.",
        "",
        "| Co-teaching's c | schedules | median RMSE | worst RMSE |",
        "|---|---|---|---|",
    ]
    for c in (0.5, 1.0, 2.0):
        some = rmse[[row["c"] == c for row in content["rows"]]]
        if len(some):
            lines.append(f"| {c:g} | {len(some)} | {np.median(some):.4f} | {some.max():.4f} |")
    return lines


def draw(content: dict[str, Any]) -> Figure:
    """Draw the first schedules with their fits, and the errors of all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 3.2), layout="constrained")
    *panels, last = figure.subplots(1, SHOWN + 2)
    for ax, row in zip(panels, shown(content), strict=True):
        ax.plot(
            row["target"],
            color="#D55E00",
            linestyle=(0, (5, 2)),
            linewidth=2.0,
            label="Co-teaching",
        )
        ax.plot(row["fit"], color="#0072B2", linewidth=2.0, label="closest in S2E's space")
        ax.set(xlabel="epoch t", ylim=(0, 1.03), xlim=(0, content["epochs"] - 1))
        ax.set_title(
            f"τ = {row['tau']:.2f}, c = {row['c']:g}, $t_k$ = {row['t_k']:.0f}", fontsize=10
        )
    panels[0].set_ylabel("kept share $R(t)$")
    panels[0].legend(frameon=False, fontsize=9)
    for c, colour, marker in ((0.5, "#009E73", "s"), (1.0, "#E69F00", "o"), (2.0, "#CC79A7", "^")):
        some = [row for row in content["rows"] if row["c"] == c]
        last.plot(
            [row["tau"] for row in some],
            [row["rmse"] for row in some],
            linestyle="",
            marker=marker,
            color=colour,
            markersize=5,
            label=f"c = {c:g}",
        )
    last.set(xlabel="τ", ylabel="RMSE of the fit", xlim=(0, 1), ylim=(0, None))
    last.set_title(f"all {len(content['rows'])} schedules", fontsize=10)
    last.legend(frameon=False, fontsize=9)
    for ax in (*panels, last):
        tidy(ax)
    return figure


STUDY = Study(
    name="figure10",
    title="Figure 10: Co-teaching's schedules in S2E's space",
    about="""
The paper shows three schedules drawn from Co-teaching's space with their best approximations,
which lie close; it gives no numbers. Here is how close, for many more than three. With c = 2 a
schedule falls slowly at first and then faster; every falling term of Table 1 does the opposite. So
these fits are the worst, the more so the more is dropped.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data={},
)

if __name__ == "__main__":
    main(STUDY)
