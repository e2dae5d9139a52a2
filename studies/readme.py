"""The README's numbers, from the files under ``studies/results/`` and from nowhere else.

    python -m studies.readme

writes anew what lies between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` in the
README; `BLOCKS` says how. A test fails if the README says something else, or has numbers with a ±
outside of such a block.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studies.frame import RESULTS
from studies.pages import Table, mean_sd

README = Path(__file__).parents[1] / "README.md"

_BLOCK = re.compile(
    r"(?P<begin><!-- results: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of results -->)",
    re.DOTALL,
)


def read(results: Path, name: str) -> Any:
    """Read a results file."""
    return json.loads((results / name).read_text(encoding="utf-8"))


def search_output(results: Path) -> list[str]:
    """Show the table that ``make search`` ends with, as the terminal shows it."""
    from s2e_optuna.reporting.report import METHOD_NAMES
    from s2e_optuna.reporting.terminal import ComparisonRow, comparison_table, console

    scores = read(results, "main_job/digits-sym50.json")["by_seed"]
    rows = [
        ComparisonRow(
            METHOD_NAMES[name],
            *(tuple(row[key]) for key in ("test_accuracy", "validation_accuracy")),
            tuple(row["label_precision"]),
        )
        for name, row in scores.items()
    ]
    text = io.StringIO()
    target = console(text)
    target.width = 99
    target.print(comparison_table(rows, target, title=""))
    lines = [line.strip() for line in text.getvalue().splitlines()]
    return ["```", *(line for line in lines if line), "```"]


def mnist(results: Path) -> list[str]:
    """Set S2E's searches on MNIST beside what they are compared with; the best is bold."""
    from studies.main_job import NAMES

    rows = []
    for label, name in (("symmetric 50%", "mnist-sym50"), ("pair 45%", "mnist-pair45")):
        values = read(results, f"main_job/{name}.json")["test_accuracy_by_seed"]
        best = max(NAMES, key=lambda key: sum(values[key]))
        cells = [mean_sd(values[key]) for key in NAMES]
        rows.append(
            [label, *(f"**{c}**" if k == best else c for k, c in zip(NAMES, cells, strict=True))]
        )
    return Table(("test accuracy, %", *NAMES.values()), rows).markdown()


BLOCKS: dict[str, Callable[[Path], list[str]]] = {"search-output": search_output, "mnist": mnist}
"""Name of a block to what makes its lines out of the folder of results."""


def filled(text: str, results: Path = RESULTS) -> str:
    """Return a text with all of its blocks made anew; KeyError if one has an unknown name."""

    def fill(match: re.Match[str]) -> str:
        lines = BLOCKS[match["name"]](results)
        return f"{match['begin']}\n" + "\n".join(lines) + f"\n\n{match['end']}"

    return _BLOCK.sub(fill, text)


def without_blocks(text: str) -> str:
    """Return the rest of a text."""
    return _BLOCK.sub("", text)


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {README}")


if __name__ == "__main__":
    main()
