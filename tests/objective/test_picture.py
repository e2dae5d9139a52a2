import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from s2e_optuna import Schedule
from s2e_optuna.objective.picture import (
    BEST,
    COTEACHING,
    FOUND,
    PRECISION,
    Line,
    schedule_svg,
)

SVG = "{http://www.w3.org/2000/svg}"


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    return [
        [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        for line in lines
    ]


def draw(rates: object, **options: object) -> str:
    line = Line("this", np.asarray(rates, dtype=float), FOUND)
    return schedule_svg([line], title="Trial 1", **options)  # type: ignore[arg-type]


def test_a_curve_lies_where_its_numbers_are() -> None:
    rates = Schedule.coteaching(30, 0.5).rates
    (line,) = points(draw(rates))
    x, y = np.array(line).T
    assert len(line) == 30
    # Affine maps of epoch and share, y downwards: correlations of 1 and -1.
    assert np.corrcoef(x, np.arange(30))[0, 1] == pytest.approx(1.0)
    assert np.corrcoef(y, rates)[0, 1] == pytest.approx(-1.0, abs=1e-5)


def test_numbers_that_are_not_finite_interrupt_the_line() -> None:
    assert [len(line) for line in points(draw([1.0, 0.8, np.nan, 0.5, 0.4, 0.3]))] == [2, 3]


@pytest.mark.parametrize("epochs", [1, 2, 200, 5000])
def test_any_number_of_epochs_can_be_drawn(epochs: int) -> None:
    svg = draw(np.ones(epochs))
    labels = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert 1 <= sum(label is not None and label.isdigit() for label in labels) <= 8
    assert {"Trial 1", "epoch t", "kept share R(t)", "this"} <= set(labels)


def test_names_are_escaped() -> None:
    svg = schedule_svg([Line("a<b>&", np.array([1.0, 0.5]), FOUND)], title='"<&')
    assert "a<b>&" in "".join(ElementTree.fromstring(svg).itertext())


def test_the_first_line_is_drawn_last_and_all_are_named() -> None:
    lines = [
        Line("mine", np.array([1, 0.5]), FOUND),
        Line("best", np.array([1, 0.6]), BEST),
        Line("theirs", np.array([1, 0.7]), COTEACHING),
        Line("label precision", np.array([0.5, 0.7]), PRECISION),
    ]
    root = ElementTree.fromstring(schedule_svg(lines, title="t"))
    colours = [line.attrib["stroke"] for line in root.iter(f"{SVG}polyline")]
    assert colours == [line.style.colour for line in reversed(lines)]
    dashes = {line.attrib.get("stroke-dasharray") for line in root.iter(f"{SVG}polyline")}
    assert len(dashes) == 4  # told apart without colours, too
    assert all(line.name in "".join(root.itertext()) for line in lines)


def test_a_training_that_ended_early_says_so() -> None:
    assert "ended in epoch 3" in draw(np.ones(10), stopped=3)
    assert "ended" not in draw(np.ones(10), stopped=10)
