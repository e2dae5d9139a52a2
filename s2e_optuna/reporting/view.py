"""A stored study as pictures and tables need it, read once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.errors import InputError
from s2e_optuna.metrics import METRICS, error_words
from s2e_optuna.reporting.series import Band, ScoredSchedule, spread
from s2e_optuna.reporting.terminal import GenerationRow, TrialRow
from s2e_optuna.sampler.values import violation
from s2e_optuna.schedules import Schedule, get_space, trial_schedule
from s2e_optuna.search.progress import INTERRUPTED, state_name
from s2e_optuna.stored_names import CONFIG_ATTR, METRIC_ATTR

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from s2e_optuna.sampler import Generation

_DRAWS = 400  # curves drawn from p_theta for a band: its edges are good to a few per cent


@dataclass(frozen=True)
class StudyView:
    """What is shown of a study, read once.

    Attributes
    ----------
    study
        The study.
    trials
        All its trials.
    ranked
        Finished trials with a value, best first; those that violate a constraint are the last.
    generations
        Theta by generation; empty for other samplers.
    recommended
        The trial whose parameters to use; None if none has finished.
    """

    study: Study
    trials: tuple[FrozenTrial, ...]
    ranked: tuple[FrozenTrial, ...]
    generations: tuple[Generation, ...]
    recommended: FrozenTrial | None

    @property
    def feasible(self) -> tuple[FrozenTrial, ...]:
        """The ranked trials that violate no constraint; all of them if each violates one."""
        return tuple(trial for trial in self.ranked if violation(trial) == 0.0) or self.ranked

    @property
    def maximise(self) -> bool:
        """Whether larger values are better."""
        return self.study.direction.name == "MAXIMIZE"

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state (`s2e_optuna.search.progress.state_name`)."""
        repeated = {
            number
            for trial in self.trials
            for number in trial.system_attrs.get("retry_history", ())  # Optuna's own callback
        }
        return dict(
            Counter(
                INTERRUPTED if trial.number in repeated else state_name(trial)
                for trial in self.trials
            )
        )

    @property
    def value_label(self) -> str:
        """What the values are: a search of schedules minimises the validation error."""
        for trial in self.ranked[:1]:
            if "training_seed" in trial.user_attrs:
                metric = trial.user_attrs.get(METRIC_ATTR)
                return error_words(metric if metric in METRICS else "accuracy")
        return "value"

    def chosen(self, trial_number: int | None) -> FrozenTrial | None:
        """Return one trial, or the recommended one; None if none has finished yet."""
        if trial_number is None:
            return self.recommended
        if not 0 <= trial_number < len(self.trials):
            raise InputError(
                f"study {self.study.study_name!r} has no trial {trial_number}: "
                f"its trials are 0 to {len(self.trials) - 1}."
                if self.trials
                else f"study {self.study.study_name!r} has no trials yet."
            )
        return self.trials[trial_number]


def study_names(storage: BaseStorage) -> list[str]:
    """Names of the studies in a storage, the newest last."""
    return [study.study_name for study in storage.get_all_studies()]


def read_study(storage: BaseStorage, name: str) -> StudyView:
    """Read a study.

    Raises
    ------
    InputError
        If there is none of this name, or it has several objectives.
    """
    import optuna

    from s2e_optuna.sampler import generations, recommended_trial

    names = study_names(storage)
    if name not in names:
        known = f"there are {', '.join(names)}" if names else "the storage is empty"
        raise InputError(f"there is no study {name!r} in this storage: {known}.")
    study = optuna.load_study(study_name=name, storage=storage)
    if len(study.directions) > 1:
        raise InputError(f"study {name!r} has several objectives: s2e works with one.")
    trials = tuple(study.get_trials(deepcopy=False))
    sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
    scored = [(trial, finite_value(trial)) for trial in trials if trial.state.name == "COMPLETE"]
    ranked = sorted(
        (violation(trial), sign * value, trial.number)
        for trial, value in scored
        if value is not None
    )
    return StudyView(
        study,
        trials,
        tuple(trials[number] for *_, number in ranked),
        tuple(generations(study)),
        recommended_trial(study) if ranked else None,
    )


def trial_row(trial: FrozenTrial) -> TrialRow:
    """Collect what the table of trials shows."""
    attrs = trial.user_attrs
    took = trial.duration
    return TrialRow(
        trial.number,
        finite_value(trial),
        trial.state.name if violation(trial) == 0.0 else "INFEASIBLE",
        label_precision=_numeric(attrs.get("label_precision")),
        test_accuracy=_numeric(attrs.get("test_accuracy")),
        seconds=_numeric(attrs.get("seconds", took.total_seconds() if took else None)),
        schedule=trial_schedule(trial),
    )


def generation_rows(generations: tuple[Generation, ...]) -> list[GenerationRow]:
    """Collect what the table of generations shows."""
    rows = []
    former = None
    for generation in generations:
        kl = None
        if former is not None:
            kl = float(generation.family.kl(generation.theta, former.theta))
        rows.append(
            GenerationRow(
                generation.m,
                generation.trial_number,
                len(generation.batch),
                float(generation.entropy()),
                kl,
                _mean_alpha(generation),
            )
        )
        former = generation
    return rows


def generation_bands(
    generations: Sequence[Generation], space_name: str | None, epochs: int, count: int = 6
) -> list[Band]:
    """Summarise the curves that generations draw; empty if they draw no schedules.

    Of more than ``count`` generations so many are taken, the first and the last among them.

    Parameters
    ----------
    generations
        In order.
    space_name
        Search space of the schedules; None if the trials suggested none.
    epochs
        The number of epochs T.
    count
        The most that are taken.
    """
    if space_name is None:
        return []
    space = get_space(space_name)
    bands = []
    for generation in spread(generations, count):
        params = generation.sample_params(_DRAWS, seed=generation.m)
        if any(parameter.name not in params[0] for parameter in space.parameters):
            return []
        x = np.stack([space.encode(draw) for draw in params])
        bands.append(Band.of_rates(f"generation {generation.m}", space.rates(x, epochs)))
    return bands


def scored_schedules(
    trials: Sequence[FrozenTrial], epochs: int, count: int = 30
) -> list[ScoredSchedule]:
    """Return schedules with their values: of ``count`` of the trials, evenly chosen.

    Parameters
    ----------
    trials
        Finished trials.
    epochs
        The number of epochs T; trials with another one are left out.
    count
        The most that are taken.
    """
    found = []
    for trial in spread(trials, count):
        schedule, value = trial_schedule(trial), finite_value(trial)
        if schedule is not None and value is not None and schedule.epochs == epochs:
            found.append(ScoredSchedule(schedule, value))
    return found


def ended_values(view: StudyView) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what feasible trials were worth, those that left early too, in the order of ending.

    Returns
    -------
    tuple of ndarray of shape [n]
        Values of those that came to their end, and last reports of those that left; each NaN
        for the others.
    """
    ended = [
        trial
        for trial in view.trials
        if trial.state.name == "PRUNED" and trial.intermediate_values and violation(trial) == 0.0
    ]
    ended += view.feasible
    ended.sort(key=lambda trial: (trial.datetime_complete or datetime.max, trial.number))
    values = [trial.value if trial.state.name == "COMPLETE" else math.nan for trial in ended]
    left = [
        math.nan
        if trial.state.name == "COMPLETE"
        else trial.intermediate_values[max(trial.intermediate_values)]
        for trial in ended
    ]
    return np.array(values, dtype=np.float64), np.array(left, dtype=np.float64)


def reference_schedule(view: StudyView, epochs: int) -> tuple[Schedule | None, float | None]:
    """Return Co-teaching's schedule with the noise rate, and that rate, if it is known."""
    settings = view.study.user_attrs.get(CONFIG_ATTR)
    rate = _numeric(settings.get("noise_rate")) if isinstance(settings, dict) else None
    if rate is None or not 0.0 <= rate < 1.0:
        return None, None
    return Schedule.coteaching(epochs, rate), rate


def space_name(view: StudyView) -> str | None:
    """Return the search space of the schedules; None if the trials suggested none."""
    for trial in view.ranked:
        attr = trial.user_attrs.get("schedule")
        if isinstance(attr, dict) and "space" in attr:
            return str(attr["space"])
    return None


def _mean_alpha(generation: Generation) -> tuple[float, ...]:
    groups = list(generation.codec.groups)
    if "alpha" not in groups:
        return ()
    where = generation.family.theta_slices[groups.index("alpha")]
    theta = generation.theta[where]
    return tuple(float(weight) for weight in theta / theta.sum())


def finite_value(trial: FrozenTrial) -> float | None:
    """Return a trial's value; None if it has none, or no finite one."""
    value = trial.values[0] if trial.values else None
    return value if value is not None and math.isfinite(value) else None


def _numeric(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
