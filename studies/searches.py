"""Searches of the studies, by the product's own objective and workers on a shared storage.

    found = searched(Search(setting, space="s2e", sampler="s2e", trials=48, seed=0), frame)

Each is an Optuna study of its own in ``frame.storage``, which `s2e show` and `s2e dashboard` open.
The budget belongs to the study: other machines that run the same command with the same storage
share the work, and a search that was broken off goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.schedules import Schedule, trial_schedule
from studies.settings import Frame, Setting, StudyError, commit, digest, hardware

if TYPE_CHECKING:
    from s2e_optuna.search.worker import Job

ABOUT_ATTR = "studies:about"
"""User attribute of the study: setting, space, sampler, hardware, commit."""

CHOSEN_ATTR = "studies:chosen"
"""User attribute of the study: number of the recommended trial by how many had finished."""

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "median": lambda epochs: MedianPruner(),
    "hyperband": lambda epochs: HyperbandPruner(max_resource=epochs),
    "halving": lambda epochs: SuccessiveHalvingPruner(
        min_resource=max(3, epochs // 10), reduction_factor=2
    ),
}
"""Pruners by name; functions of the number of epochs."""


@dataclass(frozen=True)
class Search:
    """A search for a schedule.

    Attributes
    ----------
    setting
        What is trained on, always with Adam.
    space, method
        See `s2e_optuna.CoTeachingObjective`.
    sampler, sampler_options
        See `s2e_optuna.search.samplers.make_sampler`; options as pairs of name and value.
    pruner
        A key of `PRUNERS`.
    trials
        The budget; raising it goes on with the same study.
    seed
        Of the sampler and of the trainings; the label noise is the setting's.
    stack
        Trials that a worker trains side by side: so many are in flight at once.
    stop, leave_early
        See `s2e_optuna.CoTeachingObjective`; the paper's trials are worth their last epochs.
    """

    setting: Setting
    space: str = "s2e"
    sampler: str = "s2e"
    sampler_options: tuple[tuple[str, Any], ...] = ()
    pruner: str = "none"
    method: str = "coteaching"
    trials: int = 48
    seed: int = 0
    stack: int = 4
    stop: Literal["best", "last"] = "last"
    leave_early: bool = False

    def told(self, frame: Frame) -> dict[str, Any]:
        """Return everything that its trials depend on."""
        stopped = {"stop": self.stop, "leave_early": self.leave_early}
        return {
            "setting": self.setting.told(),
            "source": Path(frame.source(self.setting)).name,
            "space": self.space,
            "sampler": self.sampler,
            "sampler_options": dict(self.sampler_options),
            "pruner": self.pruner,
            "method": self.method,
            "seed": self.seed,
            "stack": self.stack,
            # Studies that were there before these had names without them.
            **(stopped if self.stop == "best" else {}),
        }

    def study_name(self, frame: Frame) -> str:
        """Name of its Optuna study."""
        words = (self.setting.name, self.space, self.sampler, f"seed{self.seed}")
        return "-".join((*words, digest(self.told(frame))))


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    search
        What was asked for.
    study
        The Optuna study; its trials hold `validation error` as value, and ``test_accuracy``,
        ``label_precision``, ``seconds`` as user attributes.
    schedule
        The one that is recommended: by the model of these trials, never by test accuracy.
    number
        Its trial.
    hardware, commit
        Where the search was begun.
    """

    search: Search
    study: optuna.Study
    schedule: Schedule
    number: int
    hardware: str
    commit: str

    @property
    def trials(self) -> list[FrozenTrial]:
        """The first complete trials, as many as were asked for, in the order of their ends."""
        return _complete(self.study)[: self.search.trials]

    @property
    def ended(self) -> list[FrozenTrial]:
        """All trials that are complete, were pruned or left early, in the order of their ends."""
        return _ended(self.study, TrialState.COMPLETE, TrialState.PRUNED)

    @property
    def seconds(self) -> float:
        """Seconds that its trainings took, all together."""
        return sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in self.trials)


def searched(search: Search, frame: Frame) -> Found:
    """Search, or go on with a search, until it has its number of trials.

    With ``frame.trains`` off, take it as it is; StudyError if no trial is there.
    """
    from s2e_optuna.search.progress import tally
    from s2e_optuna.storages.open import HEARTBEAT, open_storage, resolve_url
    from s2e_optuna.stored_names import TARGET_ATTR

    if frame.storage.startswith("sqlite:///"):
        frame.runs.mkdir(parents=True, exist_ok=True)
    url = resolve_url(frame.storage)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=search.study_name(frame),
        storage=open_storage(url, heartbeat=HEARTBEAT),
        load_if_exists=True,
        pruner=NopPruner(),
    )
    attrs = study.user_attrs
    if ABOUT_ATTR not in attrs:
        about = search.told(frame) | {"hardware": hardware(), "commit": commit()}
        study.set_user_attr(ABOUT_ATTR, about)
    if attrs.get(TARGET_ATTR, 0) < search.trials:
        study.set_user_attr(TARGET_ATTR, search.trials)
    finished = tally(study.get_trials(deepcopy=False)).finished
    if not frame.trains and not finished:
        raise StudyError(f"no trial of {study.study_name} has finished")
    if finished < search.trials and frame.trains:
        print(
            f"{study.study_name}: searching, {search.trials} trials, {finished} done", flush=True
        )
        _search(search, frame, study, url)
    return _found(search, study)


def _search(search: Search, frame: Frame, study: optuna.Study, url: Any) -> None:
    from s2e_optuna.device import split_devices
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.search.pool import LocalPool, clear_study
    from s2e_optuna.search.worker import run_worker

    job = functools.partial(_job, search=search, frame=frame)
    devices = split_devices(frame.device)
    with ProgressDisplay() as display:
        if frame.workers == 1:
            run_worker(
                url,
                study.study_name,
                stack=search.stack,
                device=devices[0],
                notify=display.worker,
                make_job=job,
            )
        else:
            LocalPool(
                study,
                url,
                workers=frame.workers,
                devices=devices,
                stack=search.stack,
                make_job=job,
                on_progress=display.search,
            ).run(search.trials)
    clear_study(study, search.trials)


def _job(study: optuna.Study, device: str, number: int, *, search: Search, frame: Frame) -> Job:
    """Make what a worker does; called in its process."""
    from s2e_optuna.objective import CoTeachingObjective
    from s2e_optuna.search.samplers import make_sampler
    from s2e_optuna.search.worker import Job
    from studies.trainings import config_of, data_of

    setting = search.setting
    objective = CoTeachingObjective(
        data_of(setting, frame),
        training=replace(config_of(setting, search.seed, device), stop=search.stop),
        method=search.method,
        space=search.space,
        leave_early=search.leave_early,
    )
    study.pruner = PRUNERS[search.pruner](setting.epochs)
    told: Mapping[str, Any] = {
        "sampler": search.sampler,
        "sampler_options": dict(search.sampler_options),
        "seed": search.seed,
    }
    return Job(objective.evaluate, make_sampler(told, number), setting.epochs)


def _found(search: Search, study: optuna.Study) -> Found:
    # Another study may have gone on with the search: what was not asked for here does not count.
    trials = _complete(study)[: search.trials]
    stored = study.user_attrs.get(CHOSEN_ATTR, {})
    if isinstance(stored, list):  # [number of trials, recommended one], as it was at first
        stored = {str(stored[0]): stored[1]}
    if str(len(trials)) not in stored:
        # Kept, so that a later version of the model does not ask for other trainings.
        stored |= {str(len(trials)): recommended_of(trials).number}
        study.set_user_attr(CHOSEN_ATTR, stored)
    number = int(stored[str(len(trials))])
    (trial,) = (trial for trial in trials if trial.number == number)
    schedule = trial_schedule(trial)
    assert schedule is not None  # the objective suggests one in every trial
    about = study.user_attrs[ABOUT_ATTR]
    return Found(search, study, schedule, number, about["hardware"], about["commit"])


def recommended_of(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Return the trial that is recommended if these are all there are."""
    from s2e_optuna.sampler import recommended_trial

    alone = optuna.create_study()
    alone.add_trials(trials)
    return trials[recommended_trial(alone).number]


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials in the order of their ends."""
    return _ended(study, TrialState.COMPLETE)


def _ended(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    done = study.get_trials(deepcopy=False, states=states)
    return sorted(done, key=lambda trial: (str(trial.datetime_complete), trial.number))
