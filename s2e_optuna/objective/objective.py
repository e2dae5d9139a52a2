"""Joins training and Optuna: an objective for schedules (long: all it takes is told)."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from s2e_optuna.data import DataSpec, InMemory, NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.labels import expected_validation
from s2e_optuna.metrics import error_words
from s2e_optuna.objective import MINUTES
from s2e_optuna.objective.agreed import agreed_validation
from s2e_optuna.objective.artifacts import TrialArtifacts, best_so_far
from s2e_optuna.objective.reporter import Reporter
from s2e_optuna.objective.resuming import (
    Group,
    file_name,
    groups_of,
    marker,
    study_folder,
)
from s2e_optuna.objective.searched import searched_names, suggest_searched
from s2e_optuna.options import build, with_options
from s2e_optuna.schedules import Schedule, get_space, suggest_schedule
from s2e_optuna.scores import best_epoch, judged, reached
from s2e_optuna.storages.cached import batch_of
from s2e_optuna.stored_names import METRIC_ATTR
from s2e_optuna.training import (
    METHODS,
    Checkpoint,
    EpochReport,
    TrainConfig,
    TrainResult,
    get_method,
    train,
)

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

_logger = logging.getLogger(__name__)

LONGEST_CURVE = 20
"""Reports of a trial, about, if ``report_every`` is not given."""

_LOST = "the trial was marked as finished by another process"


@dataclass(frozen=True)
class Outcome:
    """How one trial ended.

    Attributes
    ----------
    state
        ``COMPLETE``, ``PRUNED`` or ``FAIL``.
    value
        Validation error rate, or 1 - metric; None unless the state is ``COMPLETE``.
    attrs
        User attributes to store with the trial: numbers, and ``error`` where it failed.
    error
        One sentence, if it failed.
    """

    state: TrialState
    value: float | None = None
    attrs: dict[str, float | int | str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class _Asked:
    """What an objective is told of data and training."""

    data: DataSpec
    training: TrainConfig


class CoTeachingObjective:
    """Objective for Optuna: train with a suggested schedule, return the validation error rate.

    The value is 1 - validation accuracy, or the ``metric`` in its place, of the model that one
    would keep: the mean of the three best epochs. With ``stop="last"``, as in the paper, it is the
    mean over the last tenth of the epochs (at least 5, and all if there are fewer). Minimise it.
    What is reported on the way is the same of the epochs so far, and with ``stop="best"`` never
    rises.

    Each trial trains with its own seed, derived from ``seed`` and the trial's number; it is
    stored as the user attribute ``training_seed``. Other user attributes: ``stopped_epoch`` (from
    0) and, at this epoch, ``label_precision`` (where the truth is known), ``kept_share`` and
    ``test_accuracy`` (stored, never used to choose anything); ``seconds``; and, with another
    metric than accuracy, its name as ``metric``, and ``test_metric``. A training that
    diverges ends as a failed trial with its reason in ``error``; the study goes on.

    Data are loaded when the first trial starts, once in each process.

    Parameters
    ----------
    data
        A name or path for `s2e_optuna.data.load_data`, a pair (images, labels), a torch
        ``Dataset`` of such pairs, a `s2e_optuna.data.DataSpec`, or a `s2e_optuna.data.NoisyData`.
    training
        How to train; in its place its fields may be given by name.
    method
        Name in `s2e_optuna.training.METHODS`; it must use a schedule.
    space
        Search space of the schedule, see `suggest_schedule`.
    report_every
        Epochs between two calls of ``trial.report`` and of ``trial.should_prune``; by default
        such that a trial makes about 20. Without a pruner (`optuna.pruners.NopPruner`) they are
        written together, those of ten seconds in one transaction. Note that a study
        without a pruner has Optuna's `optuna.pruners.MedianPruner`, and that with
        ``stop="last"`` early errors say little, because memorisation comes late: consider
        `optuna.pruners.NopPruner`.
    artifacts
        Where each trial leaves a picture of its R(t) and a table of its curves for
        optuna-dashboard: a folder, or an artifact store of Optuna. None leaves them out.
    checkpoints
        Folder in which long trainings are kept from time to time. A trial that is run again (its
        worker died, or was stopped) goes on from there. None keeps nothing.
    checkpoint_minutes
        Minutes between two checkpoints of a training.
    leave_early
        Whether trials that will not win end as pruned, see `s2e_optuna.objective.leaving`; they
        are judged a whole stack at a time, whatever pruner the study has. Only with
        ``stop="best"``: early epochs do not tell what the last ones will be worth.
    search
        Parameters of the training that are suggested beside the schedule, of
        `s2e_optuna.objective.searched.SEARCHABLE`: names, or one text with commas.
    options
        Fields of `s2e_optuna.data.DataSpec` and `s2e_optuna.training.TrainConfig` by name, such
        as ``noise``, ``noise_rate``, ``labels``, ``epochs``, ``network``, ``optimizer`` or
        ``device``; ``seed`` is that of the label noise and of all trainings.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of range.

    Examples
    --------
    >>> import optuna
    >>> from s2e_optuna import CoTeachingObjective, S2ESampler
    >>> objective = CoTeachingObjective("digits", noise="symmetric", noise_rate=0.5, epochs=5)
    >>> study = optuna.create_study(sampler=S2ESampler(seed=0))
    >>> study.optimize(objective, n_trials=2)
    """

    @with_options(DataSpec, TrainConfig)
    def __init__(
        self,
        data: str | Path | InMemory | NoisyData | DataSpec = "digits",
        *,
        training: TrainConfig | None = None,
        method: str = "coteaching",
        space: str = "s2e",
        report_every: int | None = None,
        artifacts: ArtifactStore | str | Path | None = None,
        checkpoints: str | Path | None = None,
        checkpoint_minutes: float = MINUTES,
        leave_early: bool = False,
        search: str | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        get_space(space)
        check_searchable(method)
        self.search = searched_names(search)
        if report_every is not None and report_every < 1:
            raise ValueError(f"report_every must be at least 1, but is {report_every}.")
        loaded = data if isinstance(data, NoisyData) else None
        if loaded is not None and options.get("noise") is not None:
            raise ValueError(
                "noise is put on data that are loaded here: give either noise or a NoisyData."
            )
        asked = build(
            _Asked,
            {**options, "training": training, "data": None if loaded is not None else data},
        )
        self.method = method
        self.space = space
        self.config = asked.training
        self.report_every = report_every or max(1, -(-self.config.epochs // LONGEST_CURVE))
        self.artifacts = None if artifacts is None else TrialArtifacts(artifacts)
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self.checkpoint_minutes = checkpoint_minutes
        self.leave_early = leave_early
        self._spec = asked.data if loaded is None else None
        self._begun: set[str] = set()
        self._agreed: dict[str | None, NoisyData] = {}
        self._loaded = loaded

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._spec is not None:
            state["_loaded"] = None  # every process loads its own: smaller than a copy in a pipe
        state["_agreed"] = {}
        return state

    @property
    def data(self) -> NoisyData:
        """The data, loaded at the first use; raises `s2e_optuna.training.DataError`."""
        if self._loaded is None:
            assert self._spec is not None
            self._loaded = self._spec.load(device=self.config.device)
        return self._loaded

    def use(self, data: NoisyData) -> None:
        """Train on data that were loaded already: those that this objective would load."""
        self._loaded = data

    def __call__(self, trial: Trial) -> float:
        """Train one trial.

        Returns
        -------
        float
            Validation error rate of the best epochs, or of the last; NaN, which Optuna turns into
            a failed trial, if the training diverged.

        Raises
        ------
        optuna.TrialPruned
            If the study's pruner says so, or the trial leaves early.
        s2e_optuna.training.DataError
            If the data cannot be used.
        """
        (outcome,) = self.evaluate([trial])
        with batch_of(trial):
            for key, value in outcome.attrs.items():
                trial.set_user_attr(key, value)
        if outcome.state == TrialState.PRUNED:
            raise TrialPruned("The training was stopped early.")
        if outcome.value is None:
            _logger.warning("Trial %d failed: %s", trial.number, outcome.error)
            return math.nan
        return outcome.value

    def training_seed(self, number: int) -> int:
        """Seed of the training of a stack whose first trial has this number."""
        state = np.random.SeedSequence([self.config.seed, number]).generate_state(1)
        return int(state[0])

    def evaluate(
        self, trials: Sequence[Trial], on_epoch: Callable[[int], None] | None = None
    ) -> list[Outcome]:
        """Train several trials at once, as one stack.

        They share mini-batches and initial weights, drawn afresh for every stack, so that their
        schedules are compared under the same luck. Reports and artifacts go to the trials; user
        attributes are only returned, so that the caller may write them together with the result.

        Parameters
        ----------
        trials
            Running trials, P >= 1 of them.
        on_epoch
            Called after each epoch with the number of finished epochs. What it raises ends the
            training.

        Returns
        -------
        list of Outcome
            In the order of ``trials``.

        Raises
        ------
        s2e_optuna.training.DataError
            If the data cannot be used.
        """
        # Before anything is suggested: what fails here fails for every trial.
        data = self._judged(trials[0])
        self._adopt(trials[0])
        schedules, own = self._suggest(trials)
        outcomes: dict[int, Outcome] = {}
        for group in groups_of(trials):
            chosen = [trials[i] for i in group.positions]
            rates = [schedules[i] for i in group.positions]
            values = [own[i] for i in group.positions]
            found = self._train(chosen, rates, values, group, data, on_epoch)
            outcomes |= dict(zip(group.positions, found, strict=True))
        return [outcomes[i] for i in range(len(trials))]

    def _suggest(self, trials: Sequence[Trial]) -> tuple[list[Schedule], list[dict[str, float]]]:
        """Suggest schedules and what is searched beside them."""
        for trial in trials:
            # Samplers draw lazily; they may read and think for long: not inside the transaction.
            getattr(trial, "relative_params", None)
        with batch_of(trials[0]):
            schedules = [suggest_schedule(one, self.config.epochs, self.space) for one in trials]
            return schedules, [suggest_searched(t, self.search, self.config) for t in trials]

    def _judged(self, trial: Trial) -> NoisyData:
        """Return the data, with what checked validation labels are worth to the trial's study."""
        data = self.data
        if data.val_checked is None or data.val_weights is not None:
            return data
        study = getattr(trial, "study", None)  # a FixedTrial has none
        name = None if study is None else study.study_name
        if name not in self._agreed:
            self._agreed[name] = (
                expected_validation(data, self.config)
                if study is None
                else agreed_validation(study, data, self.config)
            )
        return self._agreed[name]

    def _adopt(self, trial: Trial) -> None:
        """Go on as a study was begun: values of two kinds cannot be compared."""
        study = getattr(trial, "study", None)  # a FixedTrial has none
        if study is None or study.study_name in self._begun:
            return
        done = [
            t.user_attrs
            for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if "training_seed" in t.user_attrs
        ]
        others = {attrs.get(METRIC_ATTR, "accuracy") for attrs in done} - {self.config.metric}
        if others:
            raise DataError(
                f"the study {study.study_name!r} was begun with the metric {min(others)}: choose "
                f"another study for {self.config.metric}"
            )
        self._begun.add(study.study_name)
        if self.config.stop == "best" and any("stopped_epoch" not in attrs for attrs in done):
            _logger.warning(
                "The study %s was begun with stop=last and goes on so.", study.study_name
            )
            self.config = replace(self.config, stop="last")

    def _train(
        self,
        trials: Sequence[Trial],
        schedules: Sequence[Schedule],
        own: Sequence[Mapping[str, float]],
        group: Group,
        data: NoisyData,
        on_epoch: Callable[[int], None] | None,
    ) -> list[Outcome]:
        config = replace(self.config, seed=self.training_seed(group.first))
        reporter = Reporter(trials, self.report_every, self.config, leave_early=self.leave_early)
        checkpoint = self._checkpoint(trials, group, reporter)

        def relay(epoch: int, reports: list[EpochReport]) -> set[int]:
            stop = reporter(epoch, reports)
            if on_epoch is not None:
                on_epoch(epoch + 1)
            return stop

        results = train(
            self.method,
            schedules,
            data,
            config,
            relay,
            checkpoint=checkpoint,
            test_once=True,
            own=own if self.search else None,
        )
        reporter.flush()
        if checkpoint is not None:
            with contextlib.suppress(OSError):  # of a folder that is out of reach, as on saving
                checkpoint.path.unlink(missing_ok=True)
        outcomes = [
            Outcome(TrialState.FAIL, attrs={"error": _LOST}, error=_LOST)
            if i in reporter.lost
            else self._outcome(result)
            for i, result in enumerate(results)
        ]
        self._attach(
            {i: trial for i, trial in enumerate(trials) if i not in reporter.lost},
            schedules,
            results,
            outcomes,
        )
        return outcomes

    def _checkpoint(
        self, trials: Sequence[Trial], group: Group, reporter: Reporter
    ) -> Checkpoint | None:
        study = getattr(trials[0], "study", None)  # a FixedTrial has none
        if self.checkpoints is None or study is None:
            return None
        folder = study_folder(self.checkpoints, study.study_name)
        return Checkpoint(
            folder / file_name(group),
            every=60.0 * self.checkpoint_minutes,
            resume=None if group.resume is None else folder / group.resume,
            on_saved=marker(trials, group),
            on_restored=reporter.restore,
        )

    def _attach(
        self,
        trials: Mapping[int, Trial],
        schedules: Sequence[Schedule],
        results: Sequence[TrainResult],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Upload pictures and tables of the trials at these positions: finished ones take none."""
        if self.artifacts is None or not trials:
            return
        first = next(iter(trials.values()))
        best = best_so_far(first.study)
        asked = None if self._spec is None else self._spec.noise_rate
        rate = self.data.noise_rate if asked is None else asked
        with batch_of(first):
            for i, trial in trials.items():
                # Somebody may have marked it as failed; its result comes late, too.
                with contextlib.suppress(UpdateFinishedTrialError):
                    self.artifacts.attach(
                        trial,
                        schedules[i],
                        results[i].curves,
                        value=outcomes[i].value,
                        best=best,
                        noise_rate=rate,
                        value_label=error_words(self.config.metric),
                    )

    def _outcome(self, result: TrainResult) -> Outcome:
        attrs: dict[str, float | int | str] = {
            "training_seed": result.seed,
            "seconds": round(result.seconds, 3),
        }
        stop, validation = self.config.stop, result.validation_value
        if self.config.metric != "accuracy":
            attrs[METRIC_ATTR] = self.config.metric
        for name in ("label_precision", "kept_share", "test_accuracy", "test_metric"):
            value = reached(result.curves[name], validation, stop)
            if math.isfinite(value):  # a truth or test part that is not there has no number
                attrs[name] = round(value, 6)
        if stop == "best" and (epoch := best_epoch(validation)) is not None:
            attrs["stopped_epoch"] = epoch
        if result.status == "complete":
            return Outcome(TrialState.COMPLETE, 1.0 - judged(validation, stop), attrs)
        if result.status == "stopped":
            return Outcome(TrialState.PRUNED, None, attrs)
        message = result.failure or "the training failed"
        return Outcome(TrialState.FAIL, None, {**attrs, "error": message}, message)


def check_searchable(method: str) -> None:
    """Refuse a method that is unknown or has no schedule to search for (`DataError`)."""
    if not get_method(method).uses_schedule:
        usable = ", ".join(name for name, rule in METHODS.items() if rule.uses_schedule)
        raise DataError(
            f"method {method!r} uses no schedule to search for: choose one of {usable}"
        )
