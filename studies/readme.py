"""Numbers of README and documentation, from the files under ``studies/results/`` alone.

    python -m studies.readme

writes anew what lies between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` in them;
`BLOCKS` says how. A test fails if a page says something else, or has numbers with a ± outside of
such a block.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studies.pages import Table, mean_sd
from studies.settings import RESULTS

README = Path(__file__).parents[1] / "README.md"

PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]
"""Pages that hold such blocks."""

_BLOCK = re.compile(
    r"(?P<begin><!-- results: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end of results -->)",
    re.DOTALL,
)


def read(results: Path, name: str) -> Any:
    """Read a results file."""
    return json.loads((results / name).read_text(encoding="utf-8"))


def search_output(results: Path) -> list[str]:
    """Show the table that ``make search`` ends with, as the terminal shows it."""
    from s2e_optuna.reporting.terminal import ComparisonRow, comparison_table, console
    from s2e_optuna.reporting.verdict import METHOD_NAMES

    scores = read(results, "main_job/digits-sym50.json")["by_seed"]
    rows = [
        ComparisonRow(
            METHOD_NAMES[name],
            *(tuple(row[key]) for key in ("test_accuracy", "validation_accuracy")),
            tuple(row["label_precision"]),
            tuple(row["last_epochs"]),
            tuple(row.get("expected_validation", ())),
        )
        for name, row in scores.items()
    ]
    text = io.StringIO()
    target = console(text)
    target.width = 99
    target.print(comparison_table(rows, target, title=""))
    lines = [line.strip() for line in text.getvalue().splitlines()]
    return ["```", *(line for line in lines if line), "```"]


METHODS = {
    "standard": "plain training",
    "coteaching": "Co-teaching*",
    "comining": "Co-mining*",
    "reweight": "Reweight†",
    "s2e": "S2E",
}
"""Key of the comparison to column: what everybody starts from, and the strongest."""

TASKS = {
    "mnist-sym20": "symmetric 20%",
    "mnist-sym50": "symmetric 50%",
    "mnist-pair45": "pair 45%",
}


def methods(results: Path) -> list[str]:
    """Set S2E beside other methods on the same data; the best of a line is bold."""
    with (results / "method_comparison" / "small.csv").open(encoding="utf-8", newline="") as file:
        measured = list(csv.DictReader(file))
    rows = []
    for task, label in TASKS.items():
        values = [
            [float(m["test_last"]) for m in measured if (m["task"], m["method"]) == (task, key)]
            for key in METHODS
        ]
        rows.append([label, *_best_in_bold(values)])
    return Table(("test accuracy, %", *METHODS.values()), rows).markdown()


SEARCHES = (
    ("newton", 12),
    ("newton", 24),
    ("hyperband_tpe", 24),
    ("tpe", 24),
    ("gp", 24),
    ("random", 24),
)
"""Algorithm of Figure 6, and after how many trainings it is read."""


def searches(results: Path) -> list[str]:
    """Set S2E's search beside others, real trainings; the best of a line is bold."""
    from studies.figure6 import ALGORITHMS, values

    found = read(results, "figure6/small.json")["searches"]
    names = ["S2E" if key == "newton" else ALGORITHMS[key].label for key, _ in SEARCHES]
    rows = [
        [TASKS[task], *_best_in_bold([values(found[task][key], "test", n) for key, n in SEARCHES])]
        for task in found
    ]
    header = [f"{name}, {n}" for name, (_, n) in zip(names, SEARCHES, strict=True)]
    return Table(("test accuracy, %", *header), rows).markdown()


def _best_in_bold(values: Sequence[Sequence[float]]) -> list[str]:
    means = [sum(one) / len(one) for one in values]
    return [
        f"**{mean_sd(one)}**" if mean == max(means) else mean_sd(one)
        for one, mean in zip(values, means, strict=True)
    ]


BLOCKS: dict[str, Callable[[Path], list[str]]] = {
    "search-output": search_output,
    "methods": methods,
    "searches": searches,
}
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
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
