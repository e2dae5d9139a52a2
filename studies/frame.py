"""The frame of the paper's studies: command line, scales, and the page in the end.

A study is one file, ``python -m studies.NAME``, and one value of `Study`: what it does at each
scale, how it computes its numbers, and how it shows them. Trainings (`studies.trainings`) and
searches (`studies.searches`) are kept under ``runs/`` and shared by all studies: nothing is run
twice, and a study that was broken off goes on. Tables and pages are made by `studies.pages`.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from s2e_optuna.writable import check_writable
from studies.pages import provenance_lines, save, write_text
from studies.settings import RESULTS, RUNS, Frame, StudyError, commit, hardware

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from studies.pages import Table


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes
    ----------
    name
        Of its file and of its folder under ``studies/results/``.
    title, about
        Heading and introduction of its page; what the paper says belongs there.
    scales
        Name to what the study does at that scale, smallest first.
    compute
        Train and search; return what goes into ``SCALE.json``: the pages are made of that alone.
    section
        Lines of Markdown about one scale.
    table
        The numbers, for ``SCALE.csv``.
    draw
        The picture.
    data
        The data sets of each scale: a single one may be named with ``--data PATH``.
    """

    name: str
    title: str
    about: str
    scales: Mapping[str, Any]
    compute: Callable[[Frame], dict[str, Any]]
    section: Callable[[dict[str, Any]], list[str]]
    table: Callable[[dict[str, Any]], Table]
    draw: Callable[[dict[str, Any]], Figure]
    data: Mapping[str, Sequence[str]]


def parse(study: Study, words: Sequence[str] | None) -> tuple[argparse.Namespace, Frame]:
    """Read the command line, the same for all studies."""
    parser = argparse.ArgumentParser(
        prog=f"python -m studies.{study.name}",
        description=study.title,
        epilog="An interrupted study goes on where it stopped; what is there is not run again.",
    )
    parser.add_argument(
        "--scale",
        choices=study.scales,
        default=next(iter(study.scales)),
        help="tiny: a check that it runs; small: an hour to three on two CPU cores; paper: the "
        "paper's own setting, for a GPU [default: tiny]",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="read a data set from a file or folder, for example mnist=mnist.npz; may be repeated",
    )
    parser.add_argument(
        "--storage", metavar="URL", help="shared by searches [default: a SQLite file under runs/]"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes [default: 1]")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:0,cuda:1, … [auto]")
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"[default: {RUNS}]")
    parser.add_argument(
        "--results", type=Path, help="[default: studies/results; for tiny, results in --runs]"
    )
    parser.add_argument("--no-training", action="store_true", help="only show what there is")
    parser.add_argument("--page", action="store_true", help="only write the pages anew")
    options = parser.parse_args(words)
    if options.results is None:
        # What is published is not touched by a check that a study runs.
        checks = options.scale == "tiny" and not options.page
        options.results = options.runs / "results" if checks else RESULTS
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    names = study.data.get(options.scale, ())
    sources = {}
    for given in options.data:
        name, equals, path = given.partition("=")
        if not equals:
            if len(names) != 1:
                parser.error(
                    f"--data {given}: say for which data set ({', '.join(names) or 'none'} here), "
                    f"for example --data {next(iter(names), 'mnist')}={given}"
                )
            name, path = names[0], given
        if name not in names:
            parser.error(f"--data {given}: this scale uses {', '.join(names) or 'no data'}")
        sources[name] = path
    frame = Frame(
        scale=options.scale,
        storage=options.storage or f"sqlite:///{options.runs / 'searches.db'}",
        workers=options.workers,
        sources=sources,
        device=options.device,
        runs=options.runs,
        trains=not options.no_training,
    )
    return options, frame


def main(study: Study, words: Sequence[str] | None = None) -> None:
    """Run a study from the command line and write its results.

    What a user can do something about ends in one sentence and the exit codes of ``s2e``.
    """
    from s2e_optuna.errors import explain

    options, frame = parse(study, words)
    try:
        print(f"wrote {_run(study, frame, options.results / study.name, options.page)}")
    except KeyboardInterrupt:
        _end("Interrupted. The same command goes on where this one stopped.", 130)
    except StudyError as error:
        _end(f"{study.name}: {error}", 2)
    except Exception as error:
        if (said := explain(error)) is None:
            raise
        _end(f"{study.name}: {said[0]}", said[1])


def _end(sentence: str, code: int) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(code)


def _run(study: Study, frame: Frame, folder: Path, only_page: bool) -> Path:
    """Compute, unless there is only a page to write; return the page."""
    check_writable(folder)
    if not only_page:
        started = time.monotonic()
        content = study.compute(frame)
        content |= {
            "scale": frame.scale,
            "command": command(study, frame),
            "workers": frame.workers,
            "seconds": round(time.monotonic() - started, 1),
            "hardware": hardware(),
            "commit": commit(),
        }
        text = json.dumps(finite(content), indent=1, allow_nan=False)
        write_text(folder / f"{frame.scale}.json", text + "\n")
    return write_results(study, folder)


def write_results(study: Study, folder: Path) -> Path:
    """Write table, picture and page of every scale of which there is a ``SCALE.json``.

    Notes that were written by hand, ``SCALE-notes.md``, are put in.
    """
    lines = [f"# {study.title}", "", study.about.strip(), ""]
    for scale in study.scales:
        source = folder / f"{scale}.json"
        if not source.exists():
            continue
        content = json.loads(source.read_text(encoding="utf-8"))
        write_text(folder / f"{scale}.csv", study.table(content).csv())
        save(study.draw(content), folder / scale)
        lines += [f"## {scale}", "", *study.section(content), ""]
        lines += [f"![{study.title}, {scale}]({scale}.png)", ""]
        notes = folder / f"{scale}-notes.md"
        if notes.exists():
            lines += [notes.read_text(encoding="utf-8").strip(), ""]
        lines += [*provenance_lines(content), ""]
    page = folder / "README.md"
    write_text(page, "\n".join(lines))
    return page


def command(study: Study, frame: Frame) -> str:
    """Say how to run it again; where data and results lie differs from machine to machine."""
    words = ["python", "-m", f"studies.{study.name}", "--scale", frame.scale]
    if frame.workers > 1:
        words += ["--workers", str(frame.workers)]
    for name, path in (frame.sources or {}).items():
        words += ["--data", f"{name}={Path(path).name}"]
    return shlex.join(words)


def finite(value: Any) -> Any:
    """Return nested numbers as JSON knows them: None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
