import io
import math

import pytest
from rich.console import Console
from rich.table import Table

from s2e_optuna import Schedule
from s2e_optuna.reporting.terminal import (
    ComparisonRow,
    GenerationRow,
    TrialRow,
    comparison_table,
    duration,
    generations_table,
    mean_std,
    number,
    print_schedules,
    share,
    trials_table,
)

SCHEDULE = Schedule.coteaching(10, 0.4, t_k=4, name="trial 3")


class Stream(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def make_console(encoding: str = "utf-8") -> tuple[Console, Stream]:
    stream = Stream(encoding)
    return Console(file=stream, width=80, highlight=False), stream


def tables(console: Console) -> dict[str, Table]:
    return {
        "trials": trials_table(
            [
                TrialRow(3, 0.081, "COMPLETE", 0.97, 0.9, 12.0, SCHEDULE),
                TrialRow(1234, None, "FAIL", None, None, 1.25),
            ],
            console,
            value_label="val.\nerror",
            title="Best 2 of 2",
        ),
        "generations": generations_table(
            [
                GenerationRow(1, None, 0, -1.75, None, (0.25,) * 4),
                GenerationRow(2, 17, 6, -2.5, 0.125, (0.4, 0.3, 0.2, 0.1)),
            ],
            console,
        ),
        "comparison": comparison_table(
            [
                ComparisonRow("standard", (0.5, 0.52), (0.4, 0.4)),
                ComparisonRow("S2E", (0.95, 0.96, math.nan), (0.9, 0.9), (0.99,), ours=True),
            ],
            console,
        ),
    }


SHOWN = {
    "trials": ["Best 2 of 2", "0.0810", "complete", "97.0 %", "60.0 %", "█▇▇▆▅", "1234"],
    "generations": ["start", "trial 17", "-2.500", "0.1250", "0.40  0.30  0.20  0.10"],
    "comparison": ["51.00 ± 1.41 %", "95.50 ± 0.71 %", "40.00 ± 0.00 %", "99.00 %", "3"],
}


def test_a_comparison_has_no_empty_columns() -> None:
    unknown = (math.nan, math.nan)
    console = Console(width=80)
    table = comparison_table([ComparisonRow("S2E", unknown, (0.9, 0.8), unknown)], console)
    assert [column.header for column in table.columns] == ["method", "validation"]


@pytest.mark.parametrize("name", SHOWN)
def test_tables_show_their_numbers_in_80_columns(name: str) -> None:
    console, stream = make_console()
    console.print(tables(console)[name])
    for part in SHOWN[name]:
        assert part in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80
    assert "…" not in stream.getvalue()  # nothing was cut


@pytest.mark.parametrize("name", SHOWN)
def test_tables_and_curves_can_do_with_ascii(name: str) -> None:
    console, stream = make_console("ascii")
    console.print(tables(console)[name])
    print_schedules(console, [SCHEDULE])
    assert stream.getvalue().isascii()
    assert "***" in stream.getvalue()


def test_schedules_are_drawn_without_colours_where_there_are_none() -> None:
    console, stream = make_console()
    print_schedules(console, [SCHEDULE, Schedule.constant(10)])
    assert "\x1b" not in stream.getvalue()
    assert "trial 3" in stream.getvalue() and "constant" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90_000, "25 h 00 min"),
        (None, "?"),
        (math.inf, "?"),
    ],
)
def test_duration(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.08137, "0.0814"),
        (0.0, "0.0000"),
        (1.5e-6, "1.5e-06"),
        (12345.6, "1.235e+04"),
        (None, ""),
    ],
)
def test_number(value: float | None, expected: str) -> None:
    assert number(value) == expected


def test_shares_and_spreads() -> None:
    assert (share(0.1234), share(None), share(math.nan)) == ("12.3 %", "", "")
    assert mean_std([0.5]) == "50.00 %"
    assert mean_std([0.5, 0.7], "+-") == "60.00 +- 14.14 %"
    assert mean_std([math.nan]) == mean_std([]) == ""
