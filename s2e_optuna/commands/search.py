"""``s2e search``: run it with its progress shown, draw its pictures, say what came out."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from s2e_optuna.commands.locations import shell
from s2e_optuna.commands.requests import TrainRequest
from s2e_optuna.commands.show import progress_figure
from s2e_optuna.commands.takes import flags
from s2e_optuna.data.spec import is_own
from s2e_optuna.metrics import METRIC_WORDS, error_words
from s2e_optuna.options import replaced
from s2e_optuna.reporting.label_words import list_words, result_truth
from s2e_optuna.reporting.plots import (
    distribution_figure,
    learning_figure,
    save_figure,
    schedule_figure,
)
from s2e_optuna.reporting.progress import Insight, ProgressDisplay
from s2e_optuna.reporting.report import learning_curves, review_command, write_report
from s2e_optuna.reporting.terminal import (
    ComparisonRow,
    comparison_table,
    duration,
    number,
    print_schedules,
    share,
)
from s2e_optuna.reporting.validation import validation_words
from s2e_optuna.reporting.verdict import METHOD_NAMES, verdict
from s2e_optuna.reporting.view import (
    StudyView,
    generation_bands,
    read_study,
    scored_schedules,
)
from s2e_optuna.schedules import Schedule, trial_schedule

if TYPE_CHECKING:
    from s2e_optuna.search.config import SearchConfig
    from s2e_optuna.search.progress import Progress
    from s2e_optuna.search.search import SearchResult


def run_search(
    config: SearchConfig, display: ProgressDisplay, labels_file: Path | None = None
) -> tuple[SearchResult, dict[str, Path]]:
    """Search, and draw pictures beside the other files.

    Parameters
    ----------
    config
        What to do.
    display
        Where progress is shown.
    labels_file
        Save the labels that were trained on here.

    Returns
    -------
    result
        What `s2e_optuna.search.search.search` returns.
    files
        Name to path of everything that was written, the pictures included.
    """
    from s2e_optuna.data import check_labels_path, save_labels
    from s2e_optuna.search.search import search
    from s2e_optuna.storages import open_storage
    from s2e_optuna.storages.retry import PATIENCE
    from s2e_optuna.web.refresher import Refresher

    if labels_file is not None:
        check_labels_path(labels_file)

    def read() -> StudyView:
        return read_study(open_storage(config.storage, patience=PATIENCE), config.study_name)

    def prepare() -> None:
        """Do what can be done before the final trainings have ended."""
        _import_early()
        refresher.refresh()

    early = threading.Thread(target=prepare, name="s2e-early", daemon=True)

    def relay(progress: Progress) -> None:
        display.search(progress)
        if progress.phase == "search":
            refresher.notice(progress.finished)
        elif early.ident is None:  # other processes train now, and this one waits
            early.start()

    with display:
        with Refresher(read, on_view=lambda view: display.insight(insight(view))) as refresher:
            result = search(config, relay, display.reading, display.data)
        view = refresher.view or read()
        files = {**result.files, **draw_pictures(result, view)}
        if labels_file is not None:
            save_labels(labels_file, result.data)
            files["labels"] = labels_file
    return result, files


def _import_early() -> None:
    """Import what comes after the trainings, all that takes long, while this process waits."""
    for name in ("sklearn.neighbors", "matplotlib.figure", "plotly.graph_objects"):
        with contextlib.suppress(ImportError):  # whoever needs it says so
            importlib.import_module(name)


def insight(view: StudyView) -> Insight:
    """Collect what the display of a running search says of the study."""
    schedule = None if view.recommended is None else trial_schedule(view.recommended)
    if not view.generations:
        return Insight(schedule)
    newest = view.generations[-1]
    return Insight(schedule, newest.m, newest.entropy())


def draw_pictures(result: SearchResult, view: StudyView) -> dict[str, Path]:
    """Draw the schedule, the best value so far and the generations into the search's folder.

    Beside them goes the report, a page that holds the pictures in itself.
    """
    from s2e_optuna.labels import read_suspects

    config, schedule = result.config, result.schedule
    found = schedule_figure(
        Schedule(schedule.rates, name=f"{schedule.name} (trial {result.recommended})"),
        coteaching=coteaching(result),
        noise_rate=result.noise_rate,
        trials=scored_schedules(view.feasible[:30], schedule.epochs),
        maximise=False,
        value_label=view.value_label,
        title=config.study_name,
    )
    figures = {"picture": ("schedule.png", found)}
    if len(view.ranked) > 1:
        figures["progress"] = ("progress.png", progress_figure(view))
    bands = generation_bands(view.generations, config.space, schedule.epochs)
    if bands:
        picture = distribution_figure(bands, best=schedule, title=config.study_name)
        figures["generations"] = ("generations.png", picture)
    metric = config.training.metric
    learnt = "test_accuracy" if metric == "accuracy" else "test_metric"
    for name, key in (("learning", learnt), ("precision", "label_precision")):
        if curves := learning_curves(result.scores, key):
            label = key.replace("metric", METRIC_WORDS[metric]).replace("_", " ")
            picture = learning_figure(curves, y_label=label, title=config.study_name)
            figures[name] = (f"{name}.png", picture)
    config.folder.mkdir(parents=True, exist_ok=True)
    for name in ("progress", "generations"):
        if name not in figures:  # another search in the same folder may have had them
            (config.folder / f"{name}.png").unlink(missing_ok=True)
    files = {
        key: save_figure(figure, config.folder / name) for key, (name, figure) in figures.items()
    }
    listed = result.files.get("suspects")
    files["report"] = write_report(
        config.folder / "report.html",
        result,
        schedule=found,
        suspects=() if listed is None else read_suspects(listed),
        command=search_command(config),
    )
    return files


def coteaching(result: SearchResult) -> Schedule | None:
    """Co-teaching's schedule with the noise rate that somebody who knows it would use."""
    if "coteaching" in result.scores:
        return Schedule.clipped(result.scores["coteaching"].schedule, name="Co-teaching")
    rate = result.config.data.noise_rate if result.config.data.noise else result.noise_rate
    return None if rate is None else Schedule.coteaching(result.schedule.epochs, rate)


def print_search(target: Console, result: SearchResult, files: dict[str, Path]) -> None:
    """Print the comparison, R(t), where the files lie and what to do next.

    Parameters
    ----------
    target
        Where to.
    result
        What the search found.
    files
        What was written: name to path.
    """
    config, metric = result.config, result.config.training.metric
    took = duration(result.seconds.get("search"))
    target.print(Text.assemble(("Search ", "bold"), (config.study_name, "bold")))
    left = f" ({result.left_early} left early)" if result.left_early else ""
    target.print(
        f"{result.n_trials} trials{left}, {took} in this run. "
        f"Lowest {error_words(metric)}: {number(result.best_value)}."
    )
    if result.noise_rate is not None:
        target.print(
            f"Labels: {result.data.noise}; {share(result.noise_rate)} of them are wrong.",
            markup=False,
        )
    target.print(validation_words(result.data))
    target.print()
    if result.scores:
        rows = [
            ComparisonRow.of(METHOD_NAMES.get(name, name), score, ours=name == "s2e")
            for name, score in result.scores.items()
        ]
        target.print(comparison_table(rows, target, metric=metric))
        target.print()
        for sentence in verdict(result):
            target.print(sentence)
        target.print()
    if not result.config.final_seeds:
        target.print(
            "No final comparison was asked for (--seeds 0): no model and no list of suspects."
        )
        target.print()
    curve = coteaching(result)
    print_schedules(target, [result.schedule, *([] if curve is None else [curve])])
    _print_suspects(target, result)
    target.print("\nFiles", style="bold")
    width = max(map(len, files))
    for name, path in files.items():
        target.print(f"  {name:<{width}}  {path}", markup=False, soft_wrap=True)
    target.print("\nNext", style="bold")
    for what, command in next_commands(config, files, result.searched):
        target.print(f"  {what}:", markup=False)
        target.print(f"    {command}", markup=False, soft_wrap=True)


def next_commands(
    config: SearchConfig, files: dict[str, Path], searched: Mapping[str, float] | None = None
) -> list[tuple[str, str]]:
    """Say what to do next, and the command for it, ready to be pasted into a shell.

    Parameters
    ----------
    config
        The search.
    files
        What it has written: name to path.
    searched
        Values of what was searched beside the schedule.
    """
    storage = _storage_words(config)
    training = replaced(config.training, searched or {})
    request = TrainRequest(config.data, training, method=config.method)
    words = ["s2e", "train", *flags(request, frozenset({"epochs"}))]
    if "schedule" in files:
        words += ["--schedule", str(files["schedule"])]
    suspicious, reviewed = [], []
    if "suspects" in files:
        folder = files["suspects"].parent
        suspicious = [("the labels that look wrong", shell("s2e", "suspects", str(folder)))]
        reviewed = [("look at them, correct them, begin again", review_command(folder))]
    predicting = []
    if "model" in files:
        own = config.data.features if is_own(config.data.features or "") else None
        named = [] if own is None else ["--features", own]
        predicted = shell("s2e", "predict", str(files["model"].parent), "NEW_DATA", *named)
        predicting = [("the classes of new samples", predicted)]
    return [
        ("the study in the terminal", f"s2e show {storage} {shell('--study', config.study_name)}"),
        ("the study in the browser", f"s2e dashboard {storage}"),
        ("train with this schedule", shell(*words)),
        *suspicious,
        *predicting,
        *reviewed,
    ]


def search_command(config: SearchConfig) -> str:
    """Return the command that runs this search."""
    words = shell("s2e", "search", *flags(config, frozenset({"study", "storage", "out"})))
    study, out = shell("--study", config.study_name), shell("--out", str(config.folder))
    return f"{words} {study} {_storage_words(config)} {out}"


def _storage_words(config: SearchConfig) -> str:
    url = config.storage if isinstance(config.storage, str) else ""
    if not url or config.masked_storage != url:
        # A password is never printed; s2e reads this variable by itself, too.
        return '--storage "$S2E_STORAGE"'
    return shell("--storage", url)


def _print_suspects(target: Console, result: SearchResult) -> None:
    quality = result.suspects_quality
    if quality is None:
        return
    listed, samples = (quality.get(key) for key in ("listed", "samples"))
    target.print(f"\n{list_words(int(listed or 0), int(samples or 0), result.labels)}")
    if truth := result_truth(result):
        target.print(truth)
