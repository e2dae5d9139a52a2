"""The frame of the paper's studies: command line, scales, settings, and the page in the end.

A study is one file, ``python -m studies.NAME``, and one value of `Study`: what it does at each
scale, how it computes its numbers, and how it shows them. Trainings (`studies.trainings`) and
searches (`studies.searches`) are kept under ``runs/`` and shared by all studies: nothing is run
twice, and a study that was broken off goes on. Tables and pages are made by `studies.pages`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from s2e_optuna.writable import check_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from studies.pages import Table

RESULTS = Path(__file__).parent / "results"
RUNS = Path("runs")

NOISES = {"sym20": ("symmetric", 0.2), "sym50": ("symmetric", 0.5), "pair45": ("pair", 0.45)}
"""The paper's label noises: name to kind and rate."""

NETWORKS = {"mnist": "mlp", "cifar10": "cnn1", "cifar100": "cnn2", "digits": "mlp"}
"""The paper's network for each data set (Table 5)."""


class StudyError(LookupError):
    """Something that a study needs was not given, or is not there yet."""


@dataclass(frozen=True)
class Setting:
    """Data with label noise, and how to train on them; see `s2e_optuna.training`.

    `data` is the name of a data set; ``--data`` may say that it is read from a file or a folder.
    The seed of the label noise is `noise_seed`, whatever the seed of a training. With `clean_size`
    validation and test part are so many samples each: measuring every epoch on all of them costs
    more than training on few.
    """

    data: str
    noise: str
    noise_rate: float
    network: str = "auto"
    epochs: int = 200
    train_size: int | None = None
    batch_size: int | None = 128
    optimizer: str = "adam"
    learning_rate: float | None = None
    evaluate_every: int = 1
    noise_seed: int = 0
    clean_size: int | None = None

    @property
    def noise_name(self) -> str:
        """Its short name: ``sym50``."""
        return f"{self.noise[:4].removesuffix('m')}{round(100 * self.noise_rate)}"

    @property
    def name(self) -> str:
        """A readable name; settings that differ in rarer things share it."""
        return f"{self.data}-{self.noise_name}-{self.network}-{self.epochs}"

    def told(self) -> dict[str, Any]:
        """Return what is not at its default, so that new fields do not change old keys."""
        named = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in named.items() if value != default}


def paper_setting(data: str, noise: str, **changes: Any) -> Setting:
    """Return a setting of Section 4.1: data set, and one of `NOISES`."""
    kind, rate = NOISES[noise]
    return Setting(
        **{"data": data, "noise": kind, "noise_rate": rate, "network": NETWORKS[data]} | changes
    )


def data_sets(scales: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name the data sets of each scale that has `settings`, by name; for `Study.data`."""
    return {
        name: sorted({setting.data for setting in scale.settings.values()})
        for name, scale in scales.items()
    }


@dataclass(frozen=True)
class Frame:
    """What the command line said.

    Attributes
    ----------
    scale
        A key of the study's scales.
    storage
        Where searches are stored; any number of commands on any machines may share it.
    workers
        Processes that train.
    sources
        Name of a data set to the file or folder that it is read from.
    device
        See `s2e_optuna.device.split_devices`.
    runs
        Folder for finished trainings.
    trains
        False: show what there is, train nothing.
    """

    scale: str
    storage: str
    workers: int = 1
    sources: Mapping[str, str] | None = None
    device: str = "auto"
    runs: Path = RUNS
    trains: bool = True

    def source(self, setting: Setting) -> str:
        """Return name or path of a setting's data."""
        return (self.sources or {}).get(setting.data, setting.data)


def digest(content: Any) -> str:
    """Eight hexadecimal digits of something that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


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
    from studies.main_job import commit, hardware
    from studies.pages import write_results, write_text

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
