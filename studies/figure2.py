"""Figure 2: the basis functions of Table 1, and schedules that are made of them.

    python -m studies.figure2 --scale paper

Nothing is trained. The paper does not say with which parameters it drew its figure; here all four
functions have the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from s2e_optuna.schedules import BASIS_NAMES, basis_function, get_space
from studies.frame import Study, main
from studies.pages import Table, tidy
from studies.settings import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = (0.5, 0.4, 0.6, 0.8)
"""a1 … a4 of the functions that are drawn."""

WEIGHTS = (0.65, 0.25, 0.05, 0.05)
"""alpha of the example R(t)."""

FORMULAS = {
    "f1": "exp(-a2 t^a1) + a3 (t/T)^a4",
    "f2": "exp(-a2 t^a1) + a3 log(1 + t^a4) / log(1 + T^a4)",
    "f3": "(1 + a2 t)^-a1 + a3 (t/T)^a4",
    "f4": "(1 + a2 t)^-a1 + a3 log(1 + t^a4) / log(1 + T^a4)",
}

SCALES = {"tiny": (60, 200), "small": (200, 20_000), "paper": (200, 20_000)}
"""Epochs T, and schedules drawn at random."""


def compute(frame: Frame) -> dict[str, Any]:
    """Evaluate the functions, an example, and schedules at theta = 1."""
    epochs, draws = SCALES[frame.scale]
    basis = {name: basis_function(name, SHAPE, epochs) for name in BASIS_NAMES}
    example = np.tensordot(WEIGHTS, np.array(list(basis.values())), axes=1)
    space = get_space("s2e")
    x = np.random.default_rng(0).random((draws, len(space.parameters)))
    raw = space.curves(x, epochs)
    drawn = space.rates(x, epochs)
    low, middle, high = np.quantile(drawn, (0.1, 0.5, 0.9), axis=0)
    return {
        "epochs": epochs,
        "draws": draws,
        "shape": SHAPE,
        "weights": WEIGHTS,
        "basis": {name: values.round(6).tolist() for name, values in basis.items()},
        "example": example.round(6).tolist(),
        "drawn": drawn[:12].round(6).tolist(),
        "quantiles": {
            name: values.round(6).tolist()
            for name, values in (("low", low), ("middle", middle), ("high", high))
        },
        "starts_at_1": float(np.isclose(raw[:, 0], 1.0).mean()),
        "falls_first": float((raw[:, 1] <= 1.0).mean()),
        "rises_again": float((raw[:, -1] > raw.min(axis=1) + 0.01).mean()),
        "above_1": float((raw > 1.0 + 1e-9).any(axis=1).mean()),
    }


def table(content: dict[str, Any]) -> Table:
    """One line an epoch."""
    columns = [content["basis"][name] for name in BASIS_NAMES]
    rows = [
        [t, *values] for t, values in enumerate(zip(*columns, content["example"], strict=True))
    ]
    return Table(("t", *BASIS_NAMES, "R"), rows)


def section(content: dict[str, Any]) -> list[str]:
    """Write the table of the functions and what Assumption 1 asks of schedules."""
    rows = []
    for name in BASIS_NAMES:
        values = np.array(content["basis"][name])
        lowest = int(values.argmin())
        rows.append(
            [
                name,
                f"`{FORMULAS[name]}`",
                f"{values[0]:.2f}",
                f"{values[lowest]:.2f} (t = {lowest})",
                f"{values[-1]:.2f}",
            ]
        )
    shape = ", ".join(f"a{i} = {value:g}" for i, value in enumerate(content["shape"], 1))
    weights = ", ".join(f"{value:g}" for value in content["weights"])
    return [
        f"T = {content['epochs']}; {shape}; the example has the weights {weights}.",
        "",
        *Table(("function", "Table 1", "at t = 0", "lowest", "at T - 1"), rows).markdown(),
        "",
        f"Of {content['draws']:,} schedules drawn at theta = 1, {content['starts_at_1']:.1%} "
        f"start at 1, {content['falls_first']:.1%} fall at first, {content['rises_again']:.1%} "
        f"rise again later, as Assumption 1 has it; {content['above_1']:.1%} exceed 1 somewhere "
        "and are clipped there.",
    ]


def draw(content: dict[str, Any]) -> Figure:
    """Draw the functions as in the paper, and what the space holds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    looks = (("#E69F00", "-"), ("#009E73", (0, (5, 2))), ("#CC79A7", (0, (1, 1.4))))
    for name, (colour, dashes) in zip(
        BASIS_NAMES, (*looks, ("#000000", (0, (6, 2, 1, 2)))), strict=True
    ):
        left.plot(
            content["basis"][name], color=colour, linestyle=dashes, label=f"${name[0]}_{name[1]}$"
        )
    left.plot(content["example"], color="#0072B2", linewidth=2.6, label="example $R(t)$")
    left.legend(frameon=False, ncols=2)
    left.set(xlabel="epoch t", ylabel="value", ylim=(0, None), title="basis functions (Table 1)")
    bands = content["quantiles"]
    right.fill_between(
        range(content["epochs"]),
        bands["low"],
        bands["high"],
        color="#56B4E9",
        alpha=0.35,
        linewidth=0,
        label="10–90% of all",
    )
    for rates in content["drawn"]:
        right.plot(rates, color="0.45", linewidth=0.7)
    right.plot(bands["middle"], color="#0072B2", linewidth=2.2, label="median")
    right.legend(frameon=False, loc="lower right")
    right.set(
        xlabel="epoch t",
        ylabel="kept share $R(t)$",
        ylim=(0, 1.02),
        xlim=(0, content["epochs"] - 1),
        title=r"schedules drawn at $\theta = 1$",
    )
    for ax in (left, right):
        tidy(ax)
    return figure


STUDY = Study(
    name="figure2",
    title="Figure 2: the basis functions",
    about="""
The paper draws the four functions of Table 1 and, in blue, an example of R(t). Nothing is trained
here, so nothing can differ but the parameters, which the paper does not name. On the right is what
the paper does not show: what the space holds before anything has been searched for.""",
    scales=SCALES,
    compute=compute,
    section=section,
    table=table,
    draw=draw,
    data={},
)

if __name__ == "__main__":
    main(STUDY)
