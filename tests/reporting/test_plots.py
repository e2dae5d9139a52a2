import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from s2e_optuna import Schedule
from s2e_optuna.errors import InputError
from s2e_optuna.reporting.interactive import schedules_plot
from s2e_optuna.reporting.plots import (
    BLUE,
    Band,
    LearningCurves,
    ScoredSchedule,
    best_so_far_figure,
    distribution_figure,
    draw_figure,
    learning_figure,
    save_figure,
    schedule_figure,
    schedules_figure,
    theta_figure,
)
from s2e_optuna.reporting.terminal import GenerationRow

RNG = np.random.default_rng(0)
T = 15
FOUND = Schedule.coteaching(T, 0.5, name="trial 7")
TRIALS = [
    ScoredSchedule(Schedule.coteaching(T, tau), value)
    for tau, value in zip(RNG.random(8), RNG.random(8), strict=True)
]
ONE = Schedule.constant(1)

GENERATIONS = [GenerationRow(m, m, 3, -float(m), 0.1, (0.4, 0.3, 0.2, 0.1)) for m in range(1, 6)]

FIGURES: dict[str, Callable[[], Figure]] = {
    "schedule alone": lambda: schedule_figure(FOUND),
    "schedule over everything": lambda: schedule_figure(
        FOUND,
        coteaching=Schedule.coteaching(T, 0.45),
        noise_rate=0.45,
        trials=TRIALS,
        title="digits",
    ),
    "schedule of one epoch": lambda: schedule_figure(ONE, coteaching=ONE, noise_rate=0.0),
    "minimised trials of one value": lambda: schedule_figure(
        FOUND, trials=[ScoredSchedule(FOUND, 3.0)] * 2, maximise=False
    ),
    "one generation": lambda: distribution_figure([Band.of_rates("g", RNG.random((9, T)))]),
    "five generations": lambda: distribution_figure(
        [Band.of_rates(f"g{m}", RNG.random((9, T))) for m in range(5)], best=FOUND, title="digits"
    ),
    "thirty generations": lambda: distribution_figure(
        [Band.of_rates(f"g{m}", RNG.random((9, T))) for m in range(30)]
    ),
    "learning": lambda: learning_figure(
        [LearningCurves(name, RNG.random((3, T))) for name in ("s2e", "coteaching", "standard")]
    ),
    "learning of one seed and epoch": lambda: learning_figure(
        [LearningCurves("s2e", np.array([0.9]))]
    ),
    "learning with gaps": lambda: learning_figure(
        [LearningCurves("s2e", np.array([[np.nan, 0.5, np.nan, 0.8]] * 2))]
    ),
    "six schedules": lambda: schedules_figure([FOUND] * 6, title="six"),
    "theta": lambda: theta_figure(GENERATIONS, title="digits"),
    "theta without weights": lambda: theta_figure(
        [GenerationRow(m, m, 3, -m, 0.1) for m in (1, 2)]
    ),
    "best so far": lambda: best_so_far_figure({"s2e": RNG.random(20)}, maximise=False),
    "best so far of three": lambda: best_so_far_figure(
        {name: RNG.random((4, 20)) * 100 for name in ("s2e", "random", "tpe")}
    ),
    "best so far of one trial": lambda: best_so_far_figure({"s2e": [0.5]}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_picture_has_named_axes_and_is_not_blank(name: str) -> None:
    figure = FIGURES[name]()
    stream = io.BytesIO()
    figure.savefig(stream, dpi=50)
    pixels = np.asarray(Image.open(stream).convert("RGB")).reshape(-1, 3)
    blue = np.array([int(BLUE[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(pixels - blue).sum(axis=1) < 60).sum() > 20  # the main line
    assert (pixels == 255).all(axis=1).mean() < 0.99
    texts = " ".join(text.get_text() for text in figure.findobj(match=_is_text))
    assert any(word in texts for word in ("epoch", "complete trials", "generation"))


def _is_text(artist: object) -> bool:
    return hasattr(artist, "get_text")


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf", ".PNG"])
def test_pictures_are_written_by_the_ending_of_the_name(tmp_path: Path, ending: str) -> None:
    path = save_figure(schedule_figure(FOUND), tmp_path / f"r{ending}")
    assert path.stat().st_size > 1000
    if ending == ".svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture_that_is_drawn_once_is_the_one_that_is_drawn_twice(kind: str) -> None:
    once, twice = io.BytesIO(), io.BytesIO()
    figures = [FIGURES["schedule over everything"]() for _ in range(2)]
    with matplotlib.rc_context({"svg.hashsalt": "the same"}):
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figures[0].savefig(twice, format=kind, dpi=160, metadata=dates.get(kind))
        axes = figures[1].axes[0]
        with mock.patch.object(axes, "draw", wraps=axes.draw) as draw:
            draw_figure(figures[1], once, kind)
    assert once.getvalue() == twice.getvalue() and draw.call_count == 1


def test_the_found_curve_lies_where_its_rates_are() -> None:
    figure = schedule_figure(FOUND)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "trial 7"]
    assert np.array_equal(line.get_ydata(), FOUND.rates)


def test_the_best_trial_is_drawn_darkest_and_last() -> None:
    figure = schedule_figure(FOUND, trials=TRIALS)
    colours = figure.axes[0].collections[0].get_edgecolor()
    assert list(colours.sum(axis=1)) == sorted(colours.sum(axis=1), reverse=True)


@pytest.mark.parametrize("generations", [1, 2, 6])
def test_the_title_of_the_generations_is_within_the_picture(generations: int) -> None:
    bands = [Band.of_rates(f"g{m}", RNG.random((9, T))) for m in range(generations)]
    figure = distribution_figure(bands, best=FOUND, title="images")
    figure.savefig(io.BytesIO())
    title = figure._suptitle.get_window_extent()
    assert 0 <= title.x0 < title.x1 <= figure.bbox.width and title.y1 <= figure.bbox.height


def test_the_best_so_far_never_falls() -> None:
    figure = best_so_far_figure({"a": [3.0, 5.0, np.nan, 4.0]})
    assert list(figure.axes[0].lines[0].get_ydata()) == [3.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("spread", [0.5, 0.06, 0.012, 0.0007])
def test_the_ticks_of_values_are_all_different(spread: float) -> None:
    trials = [ScoredSchedule(FOUND, 0.08), ScoredSchedule(FOUND, 0.08 + spread)]
    figure = schedule_figure(FOUND, trials=trials)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(labels) >= 3 and len(set(labels)) == len(labels)


def test_the_scale_of_one_value_has_one_tick() -> None:
    figure = schedule_figure(FOUND, trials=[ScoredSchedule(FOUND, 0.33203125)])
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["33.2%"]


@pytest.mark.parametrize("maximise", [False, True])
def test_the_only_trial_has_the_colour_of_the_best_in_the_browser(maximise: bool) -> None:
    trials = [ScoredSchedule(FOUND, 0.33203125)]
    figure = schedules_plot(trials, maximise=maximise).to_plotly_json()
    line, scale = figure["data"][0]["line"]["color"], figure["data"][1]["marker"]
    assert scale["colorbar"]["ticktext"] == ["0.3320"]
    assert 0.33203125 in (scale["cmin"], scale["cmax"]) and scale["cmin"] < scale["cmax"]
    assert line == dict(scale["colorscale"])[float(maximise)]


@pytest.mark.parametrize("path", ["r.gif", "r", "nowhere/r.png"])
def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match=r"picture"):
        save_figure(schedule_figure(FOUND), tmp_path / path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda: distribution_figure([]),
        lambda: learning_figure([]),
        lambda: best_so_far_figure({}),
        lambda: theta_figure([]),
    ],
)
def test_nothing_to_draw_is_refused(draw: Callable[[], Figure]) -> None:
    with pytest.raises(ValueError, match="there is no"):
        draw()


@pytest.mark.parametrize("count", [0, 7])
def test_schedules_that_cannot_be_told_apart_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 6 schedules"):
        schedules_figure([FOUND] * count)
