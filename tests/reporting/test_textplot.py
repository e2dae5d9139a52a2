import numpy as np
import pytest

from s2e_optuna.reporting.textplot import MAX_CURVES, Curve, sparkline, text_plot

KNOWN = {
    "falling in ASCII": (
        [1.0, 0.75, 0.5, 0.25, 0.0],
        True,
        """\
     kept share R(t)
1.00 +****
0.75 +    ******
0.50 +          *****
0.25 +               ******
0.00 +                     ***
     ++-----------------------
      0                      t
      *** falling in ASCII""",
    ),
    "step in ASCII": (
        [1.0, 1.0, 0.0, 0.0],
        True,
        """\
     kept share R(t)
1.00 +*********
0.75 +         **
0.50 +           **
0.25 +             **
0.00 +               *********
     ++-----------------------
      0                      t
      *** step in ASCII""",
    ),
    "line": (
        [1.0, 0.0],
        False,
        """\
     kept share R(t)
1.00 ┤⠉⠒⠤⢄⡀
0.75 ┤    ⠈⠉⠒⠤⢄⡀
0.50 ┤         ⠈⠉⠒⠤⣀⡀
0.25 ┤              ⠈⠑⠒⠤⣀⡀
0.00 ┤                   ⠈⠑⠒⠤⣀
     └┬──────────────────────┬
      0                      t
      ⠤⠤⠤⠤⠤ line""",
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_curves(name: str) -> None:
    rates, ascii_only, expected = KNOWN[name]
    curve = Curve.over_epochs(name, rates)
    drawing = text_plot([curve], width=30, height=5, x_label="t", ascii_only=ascii_only)
    assert drawing.plain == expected


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("count", range(1, MAX_CURVES + 1))
@pytest.mark.parametrize("width", [30, 80, 120])
def test_every_drawing_fits_and_names_its_curves(count: int, ascii_only: bool, width: int) -> None:
    rates = np.linspace(1.0, 0.3, 12)
    curves = [Curve.over_epochs(f"c{i}", rates * (1 - i / 10)) for i in range(count)]
    lines = text_plot(curves, width=width, ascii_only=ascii_only).plain.splitlines()
    assert max(len(line) for line in lines[:-1]) <= width
    assert all(curve.name in lines[-1] for curve in curves)
    assert "kept share R(t)" in lines[0] and "epoch t" in lines[-2]
    if ascii_only:
        assert "\n".join(lines).isascii()


@pytest.mark.parametrize("rates", [[1.0], [1.0, 0.5], np.full(500, 0.7), [1.0, np.nan, 0.2]])
def test_short_long_and_broken_curves_are_drawn(rates: list[float]) -> None:
    assert "┤" in text_plot([Curve.over_epochs("c", rates)]).plain


def test_dashes_tell_curves_apart_without_colour() -> None:
    rates = np.full(50, 0.5)
    drawn = [
        text_plot([Curve.over_epochs("a", np.ones(50)), Curve.over_epochs("b", rates)]).plain,
        text_plot([Curve.over_epochs("a", np.ones(50))]).plain,
    ]
    middle = next(line for line in drawn[0].splitlines() if line.startswith("0.50"))
    solid = next(line for line in drawn[1].splitlines() if line.startswith("1.00"))
    assert " " in middle[6:].strip() and " " not in solid[6:].strip()


def test_the_range_can_follow_the_values() -> None:
    drawing = text_plot([Curve.over_epochs("best", [91.0, 95.0], first=1)], y_range=None).plain
    assert "95.0" in drawing and "91.0" in drawing


@pytest.mark.parametrize(
    "curves",
    [[], [Curve.over_epochs("c", [1.0])] * (MAX_CURVES + 1), [Curve.over_epochs("c", [])]],
)
def test_what_cannot_be_drawn_is_refused(curves: list[Curve]) -> None:
    with pytest.raises(ValueError, match="curve"):
        text_plot(curves)


def test_sparkline_follows_the_curve() -> None:
    assert sparkline([1.0, 0.5, 0.0]) == "█▅▁"
    assert sparkline([0.0, 1.0], ascii_only=True) == " #"
    assert len(sparkline(np.ones(200), width=16)) == 16
