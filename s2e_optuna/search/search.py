"""A whole search: study, workers, comparison, files (long: it and what it returns are told)."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import NopPruner

from s2e_optuna.data import NoisyData, OnImages
from s2e_optuna.data.fingerprint import FINGERPRINT_FILE, Fingerprint, fingerprint
from s2e_optuna.data.shared import SharedData, share
from s2e_optuna.labels import Judgement, LabelReport, suspect_quality, write_suspects
from s2e_optuna.labels.linear import fits_linear, linear_model
from s2e_optuna.objective.agreed import agreed_validation
from s2e_optuna.objective.resuming import study_folder
from s2e_optuna.objective.searched import values_of
from s2e_optuna.sampler import recommended_trial
from s2e_optuna.schedules import Schedule, trial_schedule
from s2e_optuna.scores import MethodScore, number_or_none
from s2e_optuna.search.changes import begin_warm, check_data
from s2e_optuna.search.comparison_file import (
    Comparison,
    comparison_key,
    read_comparison,
    remove_other_comparison,
    write_comparison,
)
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.final import comparison_entries, scores, train_final
from s2e_optuna.search.loop import read_target, set_target
from s2e_optuna.search.plain import search_plain
from s2e_optuna.search.pool import TICK, LocalPool, SearchError, clear_study
from s2e_optuna.search.posterior import estimated_rate
from s2e_optuna.search.processes import final_processes
from s2e_optuna.search.progress import Progress, Tally, tally
from s2e_optuna.search.ray_pool import RayPool
from s2e_optuna.search.samplers import make_sampler
from s2e_optuna.search.stored import adopted, check_direction, check_same, read_stored
from s2e_optuna.search.trainings import final_trainings
from s2e_optuna.search.worker import search_job
from s2e_optuna.storages.open import HEARTBEAT, open_storage, resolve_url
from s2e_optuna.stored_names import (
    COMPARISON_FILE,
    CONFIG_ATTR,
    MODEL_FILE,
    SCHEDULE_FILE,
    SUSPECTS_FILE,
    TARGET_ATTR,
)
from s2e_optuna.training import ComparisonProgress, save_model
from s2e_optuna.writable import check_folder, own_folder, whole_file

__all__ = ["SearchError", "SearchResult", "search"]

_logger = logging.getLogger(__name__)

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    config
        What was asked for.
    n_trials
        Finished trials of the study.
    best_value
        Lowest validation error rate of a trial; 1 - metric where that is not accuracy.
    recommended
        Number of the trial whose schedule is recommended.
    schedule
        Its schedule.
    scores
        Name to accuracies over the final seeds: ``standard``, ``linear`` (a logistic regression),
        ``clean_only`` (the clean part alone), ``coteaching``, ``coteaching_estimated`` (its rate
        estimated), ``s2e`` and ``posterior`` (trained on the posterior over true labels), as far
        as the data allow; empty if there was no comparison.
    noise_rate
        Share of wrong training labels, where the truth is known.
    validation
        ``"clean"`` or ``"noisy"``: what the search validated on.
    suspects_quality
        How many samples the list of suspects holds, how many wrong labels, which precision and
        recall are expected, where that can be estimated, and, where the truth is known, its
        precision, recall and average precision; None without a final comparison.
    kept
        Key in `scores` of the way to train whose model is kept: the best by validation.
    labels
        Noise rates and transition matrix, estimated; None without a cross-validation.
    left_early
        How many of the finished trials left early.
    seconds
        Wall-clock seconds by phase: ``search`` and ``retrain``.
    files
        Name to path of what was written.
    data
        What was searched on.
    searched
        Values of what was searched beside the schedule, those of the recommended trial; those of
        plain training are in its scores.
    """

    config: SearchConfig
    n_trials: int
    best_value: float
    recommended: int
    schedule: Schedule
    scores: Mapping[str, MethodScore]
    noise_rate: float | None
    validation: str
    suspects_quality: Mapping[str, float | int | None] | None
    seconds: Mapping[str, float]
    files: Mapping[str, Path]
    data: NoisyData = field(repr=False)
    kept: str | None = None
    labels: LabelReport | None = None
    left_early: int = 0
    searched: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the JSON object of ``s2e search --json``; null where there is no number."""
        table = {name: score.to_dict() for name, score in self.scores.items()}

        def column(key: str) -> dict[str, Any]:
            return {name: row[key] for name, row in table.items()}

        usual = self.config.training.metric == "accuracy"
        return {
            "study": self.config.study_name,
            "storage": self.config.masked_storage,
            "n_trials": self.n_trials,
            "left_early": self.left_early,
            "best_value": self.best_value,
            "recommended_trial": self.recommended,
            "schedule": [float(rate) for rate in self.schedule.rates],
            "test_accuracy": column("test_accuracy_mean"),
            "test_accuracy_std": column("test_accuracy_std"),
            "test_accuracy_by_seed": column("test_accuracy"),
            "stopped_epoch": column("stopped_epoch"),
            "last_epochs": column("last_epochs_mean"),
            "kept": self.kept,
            **({"searched": self.searched_by_way()} if self.searched else {}),
            "validation_accuracy": column("validation_accuracy_mean"),
            "expected_validation": column("expected_validation_mean"),
            **(
                {}
                if usual
                else {
                    "test_metric": column("test_metric_mean"),
                    "test_metric_std": column("test_metric_std"),
                    "test_metric_by_seed": column("test_metric"),
                    "validation_metric": column("validation_metric_mean"),
                }
            ),
            "label_precision": column("label_precision_mean"),
            "validation": self.validation,
            **self.data.validation_facts(),
            "reading": list(self.data.reading),
            "noise_rate": self.noise_rate,
            "suspects": None if self.suspects_quality is None else dict(self.suspects_quality),
            "labels": None if self.labels is None else self.labels.to_dict(),
            "settings": self.config.settings(),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "files": {name: str(path) for name, path in self.files.items()},
        }

    def searched_by_way(self) -> dict[str, dict[str, float]]:
        """Return values of what was searched beside the schedule, by way to train."""
        found = {name: dict(score.searched) for name, score in self.scores.items()}
        return {"s2e": dict(self.searched)} | {name: one for name, one in found.items() if one}


def search(
    config: SearchConfig,
    on_progress: OnProgress = lambda progress: None,
    on_images: OnImages | None = None,
    on_data: Callable[[NoisyData], None] = lambda data: None,
) -> SearchResult:
    """Search a schedule, train with it, compare it; the same call again goes on where it stopped.

    Local worker processes import the program's main module: a script that calls this needs
    ``if __name__ == "__main__":`` around it.

    Parameters
    ----------
    config
        What to do.
    on_progress
        Told about twice a second how far it is, from this thread.
    on_images
        Told how many images have been decoded, and how many there are.
    on_data
        Given the data as soon as they are read, before anything is done with them.

    Returns
    -------
    SearchResult
        Its files lie in ``config.folder``.

    Raises
    ------
    ConfigError, StorageError, s2e_optuna.training.DataError
        What is wrong with the input; nothing has been written.
    OSError
        If a file or folder of the data cannot be read, or the folder of the results not be
        written, which is tried before anything is done.
    SearchError
        If the same error repeats, or workers keep dying.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; running trials have been handed back as failed.
    """
    check_folder(config.folder)
    data = config.load(on_images)
    on_data(data)
    with _interrupted_by_sigterm():
        started = time.monotonic()
        begun, study, url = _open(config)
        if begun.data != config.data:  # the study goes on with what it was begun with
            data = begun.load(on_images)
            on_data(data)
        config, seen = begun, fingerprint(data)
        check_data(study, config, seen)
        target = set_target(study, config.trials)
        _make_artifact_folder(study)
        data = agreed_validation(study, data, replace(config.training, device=config.devices[0]))
        if tally(study.get_trials(deepcopy=False)).finished < target:
            data, shared = share(data) if config.launcher == "local" else (data, None)
            try:
                _pool(config, study, url, on_progress, shared).run(target)
            finally:
                if shared is not None:
                    shared.close()
        clear_study(study, read_target(study))  # s2e stop may have lowered it
        _remove_checkpoints(config)
        searched = time.monotonic() - started
        with own_folder(config.folder):
            return _finish(config, study, data, seen, searched, on_progress)


def _make_artifact_folder(study: optuna.Study) -> None:
    """Make the folder that the study's workers put their pictures into."""
    folder = read_stored(study).get("artifacts")
    if folder is None:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:  # each worker says that it lacks the folder
        _logger.warning("The artifact folder %s cannot be made (%s).", folder, error.strerror)


def _pool(
    config: SearchConfig,
    study: optuna.Study,
    url: Any,
    on_progress: OnProgress,
    shared: SharedData | None = None,
) -> LocalPool | RayPool:
    if config.launcher == "ray":
        return RayPool(
            study,
            url,
            workers=config.workers,
            gpus=config.ray_gpus,
            stack=config.stack,
            on_progress=on_progress,
            budget=config.budget,
        )
    return LocalPool(
        study,
        url,
        workers=config.workers,
        devices=config.devices,
        stack=config.stack,
        make_job=search_job if shared is None else partial(search_job, shared=shared),
        on_progress=on_progress,
        budget=config.budget,
    )


def _remove_checkpoints(config: SearchConfig) -> None:
    """Remove what killed workers have left; all trials have finished."""
    if config.checkpoints is None:
        return
    shutil.rmtree(study_folder(config.checkpoints, config.study_name), ignore_errors=True)
    with contextlib.suppress(OSError):  # another study's are there
        config.checkpoints.rmdir()


def _open(config: SearchConfig) -> tuple[SearchConfig, optuna.Study, Any]:
    """Open or create the study; return also what workers open, and what the study makes of it."""
    if isinstance(config.storage, str):
        # Resolved here, so that workers do not each hold on to an embedded server.
        url: Any = resolve_url(config.storage)
        if config.storage.partition("://")[0] == "embedded-postgres":
            _logger.info("PostgreSQL runs in %s.", config.storage)
        storage = open_storage(url, heartbeat=HEARTBEAT)
    else:
        url = storage = open_storage(config.storage)
    sampler = make_sampler(config.settings())
    options: dict[str, Any] = {"storage": storage, "sampler": sampler, "pruner": NopPruner()}
    try:
        study = optuna.load_study(study_name=config.study_name, **options)
    except KeyError:
        try:
            study = optuna.create_study(study_name=config.study_name, **options)
        except DuplicatedStudyError:  # another search was faster
            study = optuna.load_study(study_name=config.study_name, **options)
    check_direction(study)
    attrs = study.user_attrs
    if CONFIG_ATTR not in attrs and not study.get_trials(deepcopy=False):
        if config.warm_from is not None:
            begin_warm(study, config.warm_from)
        study.set_user_attr(CONFIG_ATTR, config.stored())
        study.set_user_attr(TARGET_ATTR, config.trials)
    elif CONFIG_ATTR in attrs and TARGET_ATTR not in attrs:
        study.set_user_attr(TARGET_ATTR, config.trials)
    stored = read_stored(study)
    config = adopted(stored, config)
    check_same(stored, config)
    return config, study, url


def _finish(
    config: SearchConfig,
    study: optuna.Study,
    data: NoisyData,
    seen: Fingerprint,
    searched: float,
    on_progress: OnProgress,
) -> SearchResult:
    started = time.monotonic()
    found = tally(study.get_trials(deepcopy=False))
    assert found.best_value is not None
    recommended = recommended_trial(study)
    schedule = trial_schedule(recommended)
    assert schedule is not None  # every trial of a search suggests one
    schedule = replace(schedule, name="S2E")
    folder = config.folder
    folder.mkdir(parents=True, exist_ok=True)
    files = {"schedule": folder / SCHEDULE_FILE}
    with whole_file(files["schedule"]) as place:
        schedule.to_json(place)
    comparison = Comparison({}, None, None)
    beside = values_of(recommended.params, config.searched)
    key = comparison_key(config, schedule, seen, beside, found.finished)
    remove_other_comparison(folder, key)
    seen.save(folder / FINGERPRINT_FILE)
    if config.final_seeds:
        files |= {
            "model": folder / MODEL_FILE,
            "comparison": folder / COMPARISON_FILE,
            "suspects": folder / SUSPECTS_FILE,
        }
        known = read_comparison(files, key)
        comparison = known or _compare(config, data, schedule, beside, found, files, on_progress)
        if known is None:
            write_comparison(files["comparison"], key, comparison, data, config)
    return SearchResult(
        config=config,
        n_trials=found.finished,
        best_value=found.best_value,
        recommended=recommended.number,
        schedule=schedule,
        scores=comparison.scores,
        noise_rate=data.noise_rate,
        validation=data.validation,
        suspects_quality=comparison.suspects,
        kept=comparison.kept,
        labels=comparison.labels,
        left_early=found.counts["pruned"],
        searched=beside,
        seconds={"search": searched, "retrain": time.monotonic() - started},
        files=files,
        data=data,
    )


def _compare(
    config: SearchConfig,
    data: NoisyData,
    schedule: Schedule,
    searched: Mapping[str, float],
    found: Tally,
    files: Mapping[str, Path],
    on_progress: OnProgress,
) -> Comparison:
    """Train with fresh seeds; write the model and the list of suspects."""
    # The rate that was asked for is what somebody who knows the noise would use.
    asked = config.data.noise_rate if config.data.noise is not None else None
    rate = data.noise_rate if asked is None else asked
    linear, estimated = None, None
    if config.folds and fits_linear(data):
        linear = linear_model(data, config.training.seed, config.folds, config.training.metric)
        estimated = estimated_rate(data, linear.unseen)
    entries = comparison_entries(schedule, config.method, rate, estimated)
    with final_trainings(final_processes(config.workers), config.devices[0]) as run:
        own = None
        if searched:
            plain = search_plain(
                config.searched,
                data,
                config.final_training,
                found.finished,
                run,
                leave_early=config.leave_early,
                progress=_relay(found, on_progress),
            )
            own = {"standard": plain, "s2e": searched}
        final = train_final(
            entries,
            data,
            config.final_training,
            seeds=config.final_seeds,
            folds=config.folds,
            # Co-teaching was told what nobody knows.
            kept=[name for name in entries if name != "coteaching"],
            progress=_relay(found, on_progress),
            run=run,
            posterior=True,
            linear=linear,
            own=own,
        )
    final.require_complete()
    save_model(final.model, files["model"])
    judged = final.judge(data)
    write_suspects(judged.rows, files["suspects"])
    return Comparison(scores(entries, final), _quality(judged), final.kept, judged.report)


def _relay(found: Tally, on_progress: OnProgress) -> Callable[[ComparisonProgress], None]:
    """Turn how far the final trainings are into what a search tells."""
    started, shown = time.monotonic(), -math.inf
    first: tuple[float, int] | None = None  # preparations count for nothing in the estimate

    def relay(progress: ComparisonProgress) -> None:
        nonlocal first, shown
        now = time.monotonic()
        if first is None:
            first = now, progress.done
        if now - shown < TICK and progress.done < progress.total:
            return
        shown = now
        done, left = progress.done - first[1], progress.total - progress.done
        on_progress(
            Progress(
                phase="retrain",
                counts=found.counts,
                best_value=found.best_value,
                finished=progress.done,
                target=progress.total,
                elapsed=now - started,
                seconds_left=(now - first[0]) / done * left if done > 0 else None,
                message=f"{' and '.join(progress.names)}, epoch {progress.epoch}",
            )
        )

    return relay


def _quality(judged: Judgement) -> Mapping[str, float | int | None]:
    """Count what is listed, and say how good the list should be and, with the truth, is."""
    rows, report = judged.rows, judged.report
    quality = suspect_quality(rows)
    found: dict[str, float | int | None] = {
        "listed": sum(row.listed for row in rows),
        "samples": len(rows),
    }
    if report is not None:
        found["expected_wrong"] = report.noise_rate * len(rows)
        found["expected_precision"] = report.expected_precision
        found["expected_recall"] = report.expected_recall
    if quality is None:
        return found
    return {
        **found,
        "wrong": quality.wrong,
        "precision": number_or_none(quality.precision),
        "recall": number_or_none(quality.recall),
        "average_precision": number_or_none(quality.average_precision),
    }


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that a job scheduler's stop leaves the study in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
