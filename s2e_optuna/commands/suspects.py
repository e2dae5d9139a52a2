"""``s2e suspects``: look through the labels that are probably wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from s2e_optuna.commands.locations import shell, written_beside
from s2e_optuna.commands.takes import flags
from s2e_optuna.errors import InputError
from s2e_optuna.reporting.label_words import (
    LARGEST_MATRIX,
    chosen_words,
    count_pairs,
    report_words,
    truth_words,
)
from s2e_optuna.reporting.terminal import share
from s2e_optuna.stored_names import SUSPECTS_FILE
from s2e_optuna.writable import check_writable

if TYPE_CHECKING:
    from s2e_optuna.commands.requests import JudgedData
    from s2e_optuna.data import DataSpec
    from s2e_optuna.labels import LabelReport, Suspect
    from s2e_optuna.reporting.progress import ProgressDisplay

_MOST_PAIRS = 15


@dataclass(frozen=True)
class SuspectList:
    """A list of suspects, as far as it was asked for.

    Attributes
    ----------
    source
        Where it comes from, in words.
    rows
        The samples that were asked for, the most suspicious first.
    whole
        All samples that were judged.
    report
        What is said of their labels as a whole, where that lies beside the list.
    """

    source: str
    rows: tuple[Suspect, ...]
    whole: tuple[Suspect, ...]
    report: LabelReport | None = None

    @property
    def listed(self) -> tuple[Suspect, ...]:
        """Those of the rows that are suspicious."""
        return tuple(row for row in self.rows if row.listed)


def read_list(source: Path) -> SuspectList:
    """Read the list of a finished search or training: its folder, or the file itself.

    Raises
    ------
    InputError
        There is no list.
    s2e_optuna.training.DataError
        The file is no list of suspects.
    """
    from s2e_optuna.labels import read_suspects

    path = source / SUSPECTS_FILE if source.is_dir() else source
    if not path.is_file():
        raise InputError(
            f"there is no list of suspects {path}: give the folder that s2e search or s2e train "
            "has written (--out), its suspects.csv, or a data set and its --model."
        )
    if path.suffix.lower() != ".csv":
        raise InputError(
            f"{path} is no list of suspects: a data set is judged by a model, "
            "--model model.safetensors."
        )
    rows = tuple(read_suspects(path))
    return SuspectList(str(path), rows, rows, _report_beside(path))


def _report_beside(path: Path) -> LabelReport | None:
    """Read what the same search or training has said of the labels, if it is there."""
    from s2e_optuna.labels import LabelReport

    newest = written_beside(path)
    if newest is None:
        return None
    try:
        content = json.loads(newest.read_text(encoding="utf-8"))["labels"]
        return None if content is None else LabelReport.from_dict(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of an earlier version


def judge(path: Path, spec: DataSpec, display: ProgressDisplay) -> SuspectList:
    """Make a list by the predictions of a trained model, which knows the size of its images."""
    from s2e_optuna.labels import suspects_of_models
    from s2e_optuna.training import load_model

    model = load_model(path, features=spec.features)
    _, height, width = model.input_shape
    size = None if model.takes_vectors else (height, width)
    data = spec.of_images().load(display.reading, size, model.encoder)
    display.data(data)
    rows = tuple(suspects_of_models([model], data))
    return SuspectList(f"{data.name}, by {path}", rows, rows)


def check_csv_path(path: Path | None) -> None:
    """Raise an error, before any work, if a list cannot be written to ``path``."""
    if path is None:
        return
    if path.suffix != ".csv" or path.is_dir():
        raise InputError(f"{path} is no .csv file: --out names one.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder {path.absolute().parent} does not exist: make it first.")
    check_writable(path)


def write_listed(found: SuspectList, path: Path) -> None:
    """Write the suspicious ones among the rows."""
    from s2e_optuna.labels import write_suspects

    write_suspects(found.listed, path)


def choose(found: SuspectList, given: Sequence[str], predicted: Sequence[str]) -> SuspectList:
    """Keep samples with one of these given and one of these predicted classes.

    Parameters
    ----------
    found
        A list.
    given, predicted
        Names of classes; empty for all.

    Raises
    ------
    InputError
        No sample has such a class.
    """
    for wanted, column in ((given, "given"), (predicted, "predicted")):
        known = {getattr(row, column) for row in found.whole}
        missing = [name for name in wanted if name not in known]
        if missing:
            classes = ", ".join(sorted(known)[:20])
            raise InputError(f"no sample has the {column} class {missing[0]!r}: choose {classes}.")
    rows = tuple(
        row
        for row in found.rows
        if (not given or row.given in given) and (not predicted or row.predicted in predicted)
    )
    return replace(found, rows=rows)


def print_list(target: Console, found: SuspectList, *, top: int) -> None:
    """Print the most suspicious samples, and how often a class was given for another.

    Parameters
    ----------
    target
        Where to.
    found
        A list.
    top
        The most samples in the table.
    """
    from s2e_optuna.labels import suspect_quality

    listed = found.listed
    target.print(f"{found.source}: {len(found.whole)} samples", markup=False, soft_wrap=True)
    target.print(f"{len(listed)} of {len(found.rows)} labels look wrong.")
    if found.report is not None and len(found.rows) == len(found.whole):
        target.print(" ".join(report_words(found.report, len(listed), len(found.whole))))
    elif (words := chosen_words(found.rows)) is not None:
        target.print(words)
    elif found.rows:
        target.print(
            "How many of them are wrong is not known: s2e search estimates it, and s2e train with "
            "--folds 5."
        )
    quality = suspect_quality(found.rows)
    if quality is not None and quality.wrong:
        words = truth_words(quality.wrong, quality.precision, quality.recall)
        target.print(f"{words} Average precision: {quality.average_precision:.3f}.")
    if found.rows:
        target.print()
        target.print(_top_table(found.rows[:top]))
    if listed:
        target.print()
        _print_pairs(target, listed)


def list_dict(found: SuspectList, *, top: int) -> dict[str, Any]:
    """Return what `print_list` shows, for programs."""
    from s2e_optuna.labels import expectation, suspect_quality
    from s2e_optuna.scores import number_or_none

    quality, expected = suspect_quality(found.rows), expectation(found.rows)
    return {
        "source": found.source,
        "samples": len(found.whole),
        "chosen": len(found.rows),
        "listed": len(found.listed),
        "labels": None if found.report is None else found.report.to_dict(),
        "expected": None
        if expected is None
        else {name: number_or_none(value) for name, value in vars(expected).items()},
        "quality": None
        if quality is None
        else {
            "wrong": quality.wrong,
            "precision": number_or_none(quality.precision),
            "recall": number_or_none(quality.recall),
            "average_precision": number_or_none(quality.average_precision),
        },
        "pairs": [
            {"given": given, "predicted": predicted, "count": count}
            for (given, predicted), count in count_pairs(found.listed).most_common()
        ],
        "top": [{**vars(row), "listed": row.listed} for row in found.rows[:top]],
    }


def next_command(data: JudgedData, model: Path | None, out: Path | None) -> str | None:
    """Return the command by which a person corrects the list; None where it is in no file.

    Parameters
    ----------
    data
        Where the list comes from.
    model
        What has judged the data; None where the list was read.
    out
        Where the list was written to; None for nowhere.
    """
    if model is None:
        return shell("s2e", "review", str(data.data))
    return (
        None
        if out is None
        else shell("s2e", "review", str(out), "--data", *flags(data, frozenset({"checked"})))
    )


def _top_table(rows: Sequence[Suspect]) -> Table:
    table = Table(title="Most suspicious", title_justify="left", title_style="bold")
    table.box, table.show_edge, table.pad_edge = SIMPLE_HEAD, False, False
    truth = any(row.true is not None for row in rows)
    kept = any(row.kept_share is not None for row in rows)
    for name in ("sample", "given", "predicted"):
        table.add_column(name, overflow="fold")
    if truth:
        table.add_column("truth", overflow="fold")
    estimated = any(row.wrong_probability is not None for row in rows)
    score = "p(wrong)" if estimated else "suspicion"
    for name in (score, "p(given)", *(["kept"] if kept else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [row.id, row.given, row.predicted, *([row.true or ""] if truth else [])]
        cells += [f"{row.score:.3f}", f"{row.given_probability:.3f}"]
        table.add_row(*(_plain(c) for c in cells), *([share(row.kept_share)] if kept else []))
    return table


def _print_pairs(target: Console, rows: Sequence[Suspect]) -> None:
    """Print a matrix of given and predicted classes; of many, the most frequent pairs."""
    pairs = count_pairs(rows)
    given_names = _in_order({given for given, _ in pairs})
    predicted_names = _in_order({predicted for _, predicted in pairs})
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    width = sum(max(len(name), 4) + 2 for name in predicted_names) + max(map(len, given_names))
    if max(len(given_names), len(predicted_names)) > LARGEST_MATRIX or width > target.width:
        target.print("Given and predicted: the most frequent pairs", style="bold")
        for name in ("given", "predicted"):
            table.add_column(name, overflow="fold")
        table.add_column("samples", justify="right")
        for (given, predicted), count in pairs.most_common(_MOST_PAIRS):
            table.add_row(_plain(given), _plain(predicted), str(count))
    else:
        target.print("Suspicious labels: given (rows) and predicted (columns)", style="bold")
        table.add_column("")
        for name in predicted_names:
            table.add_column(_plain(name), justify="right", no_wrap=True)
        for given in given_names:
            counts = [pairs[given, predicted] for predicted in predicted_names]
            table.add_row(_plain(given), *(str(count) if count else "." for count in counts))
    target.print(table)


def _in_order(names: set[str]) -> list[str]:
    """Sort names; numbers by their value."""
    return sorted(
        names,
        key=lambda name: (
            (not name.isdecimal(), len(name), name) if name.isdecimal() else (True, 0, name)
        ),
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
