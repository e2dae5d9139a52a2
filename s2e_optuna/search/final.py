"""What follows a chosen schedule: final trainings and folds (long: each way to train is told)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from s2e_optuna.data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.labels import (
    CheckedLabels,
    Judgement,
    Unseen,
    check_folds,
    judge,
    unseen_probabilities,
)
from s2e_optuna.labels.linear import LinearModel
from s2e_optuna.labels.out_of_fold import validation_halves
from s2e_optuna.labels.predictors import together
from s2e_optuna.options import replaced
from s2e_optuna.schedules import Schedule
from s2e_optuna.scores import (
    METRIC_SCORES,
    SCORED,
    MethodScore,
    best_epoch,
    cross_judged,
    judged,
    reached,
)
from s2e_optuna.search.posterior import (
    averaged,
    can_be_halved,
    choose_predictors,
    clean_alone,
    clean_jobs,
    posterior_of_half,
    posterior_of_noisy,
    train_on_noisy_posterior,
    train_on_posterior,
)
from s2e_optuna.training import (
    ComparisonProgress,
    Model,
    TrainConfig,
    TrainResult,
    evaluate_schedules,
)
from s2e_optuna.training.jobs import Beside, Runner, in_parts, in_turn
from s2e_optuna.training.model import predict_proba

FOLDING = "cross-validation"
"""Name under which the trainings of the cross-validation tell how far they are."""

CLEAN_ONLY, POSTERIOR, LINEAR = "clean_only", "posterior", "linear"
"""Ways to train that are no entries: by the clean part alone, on the posterior over true labels,
and a logistic regression."""

_HALVED = (CLEAN_ONLY, POSTERIOR)
"""Ways whose trainings learn from the halves of the clean part in turn."""

_FINAL = 1  # spawn key of the seeds of final trainings: they never meet a trial's seed

Entries = Mapping[str, tuple[str, Schedule | None]]
"""Ways to train: name to method and schedule."""

Own = Mapping[str, Mapping[str, float]]
"""Ways to train to fields of the configuration that are their own."""


def final_seeds(seed: int, count: int) -> list[int]:
    """Seeds for what follows a search: fresh ones, which no trial of the search has used."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_FINAL,))
    return [int(state) for state in sequence.generate_state(count, np.uint32)]


@dataclass(frozen=True)
class Final:
    """What the final trainings gave.

    Attributes
    ----------
    results
        Name of a way to train to its trainings, one a seed.
    kept
        The way whose best model is kept.
    judging
        The entry whose models judge the labels: the best by validation.
    unseen
        Predictions by networks that have not seen the sample, those that the labels are judged
        by; None without a cross-validation.
    training
        How all of them were trained, but for their seeds.
    linear
        The logistic regression that it is compared with, if there is one.
    own
        Ways to train to fields of `training` that were their own.
    judgement
        What the labels are worth, where training on that needed it.
    rejudged
        Values by name and training on the validation part, NaN for a training that failed, where
        some of its labels are checked: a cross-validation knows more of the others than the
        trials were judged by. Else empty.
    """

    results: Mapping[str, tuple[TrainResult, ...]]
    kept: str
    judging: str
    unseen: Unseen | None
    training: TrainConfig
    linear: LinearModel | None = None
    own: Own = field(default_factory=dict)
    judgement: Judgement | None = field(default=None, repr=False)
    rejudged: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> tuple[TrainResult, ...]:
        """Trainings of the entry that judges that ran to their end, best validation first."""
        return _ordered(self.results[self.judging], self.training.stop)

    @property
    def models(self) -> tuple[Model, ...]:
        """Models of the way that is kept, best validation first."""
        return _models(self._best_first(range(len(self.results[self.kept]))))

    @property
    def model(self) -> Model:
        """The model that is kept; the best of each half, where halves are learnt from."""
        places = range(len(self.results[self.kept]))
        halved = self.kept in _HALVED and CLEAN_ONLY in self.results
        parts = (places[::2], places[1::2]) if halved else (places,)
        best = [models[0] for part in parts if (models := _models(self._best_first(part)))]
        return averaged(best) if len(best) > 1 else best[0]

    def _best_first(self, places: Sequence[int]) -> tuple[TrainResult, ...]:
        """Trainings of the way that is kept that ran to their end, of these."""
        runs, values = self.results[self.kept], self.rejudged.get(self.kept)
        if values is None:
            return _ordered([runs[place] for place in places], self.training.stop)
        usable = [place for place in places if runs[place].status == "complete"]
        return tuple(runs[place] for place in sorted(usable, key=lambda place: -values[place]))

    def require_complete(self) -> None:
        """Raise DataError if none of them ran to its end."""
        if not self.complete:
            failure = self.results[self.judging][0].failure
            raise DataError(f"every training with the schedule failed: {failure}")

    def judge(self, data: NoisyData) -> Judgement:
        """Judge the labels of the training part."""
        if self.judgement is not None:
            return self.judgement
        return judge(self.complete, data, self.unseen, self.training.device)


def train_final(
    entries: Entries,
    data: NoisyData,
    training: TrainConfig,
    *,
    seeds: int,
    folds: int = 0,
    kept: Sequence[str] = (),
    progress: Callable[[ComparisonProgress], None] | None = None,
    run: Runner = in_turn,
    posterior: bool = False,
    linear: LinearModel | None = None,
    own: Own | None = None,
) -> Final:
    """Train in every way with fresh seeds; cross-validate the best one; train on the posterior.

    Parameters
    ----------
    entries
        Ways to train.
    data
        What they train on.
    training
        How; its seed is the one that the fresh ones are made of, see `final_seeds`: one for each
        training, and one more for the folds.
    seeds
        Trainings of each way.
    folds
        Folds of the cross-validation; 0 leaves it out.
    kept
        Ways whose model may be kept, by default all: the one with the best `expected_validation`,
        on the mean over its trainings, is; of equal ones the last.
    progress
        Called after each epoch; its totals are those of trainings and folds together.
    run
        Runs the trainings; by default this process, one after the other.
    posterior
        Whether to train also on the clean part alone, and on the posterior over true labels;
        nothing is where there are no folds. Where the validation part is noisy there is the
        latter alone; where it is clean but too small to be halved, neither.
    linear
        A logistic regression on the same data, if there is one.
    own
        Entries to fields of `training` that are their own. What follows an entry has its, and
        what trains plainly that of ``standard``.

    Raises
    ------
    s2e_optuna.errors.DataError
        What training refuses.
    """
    if folds:
        check_folds(folds, len(data.y_train))
    *fresh, folding = final_seeds(training.seed, seeds + 1)
    halving = posterior and folds > 0 and can_be_halved(data)
    both = fresh if seeds > 1 else [*fresh, folding]  # both halves are learnt from
    noisy = posterior and folds > 0 and data.validation == "noisy"
    further = len(both) + seeds if halving else seeds if noisy else 0
    total = (len(entries) * seeds + folds + further) * training.epochs
    done: dict[str, int] = {}  # epochs by what is trained: some of it at the same time

    def tell(found: ComparisonProgress, of: str = "") -> None:
        done[of] = found.done
        if progress is not None:
            progress(replace(found, done=sum(done.values()), total=total))

    def telling(name: str, trainings: Sequence[int]) -> Callable[[int, int, bool], None]:
        """Return what jobs of so many trainings each tell."""
        so_far = [0] * len(trainings)

        def tell_job(place: int, epoch: int, _: bool) -> None:
            so_far[place] = trainings[place] * epoch
            now, of = sum(so_far), len(trainings)
            tell(ComparisonProgress((name,), folding, epoch, now, total, False, place, of), name)

        return tell_job

    plainly = replaced(training, (own or {}).get("standard", {}))
    halves = None
    if posterior and folds and data.validation == "clean":
        halves = validation_halves(data, folding)
    beside = Beside(run, (), telling(CLEAN_ONLY, [len(both[half::2]) for half in (0, 1)]))
    if halving and halves is not None:
        beside.jobs = clean_jobs(halves, plainly, both)
    # Probabilities are for the list of suspects.
    results = evaluate_schedules(
        entries, data, training, fresh, tell, keep_probabilities=True, run=beside, own=own
    )
    usual = kept or tuple(entries)

    def expected(name: str) -> float:
        """Mean of `expected_validation` over the trainings that ran to their end."""
        return _mean([expected_validation(run, training.stop) for run in _complete(found[name])])

    found = {name: tuple(runs) for name, runs in results.items()}
    best = max(reversed(usual), key=expected)
    unseen = None
    if folds and _complete(results[best]):
        method, schedule = entries[best]
        tell_fold = telling(FOLDING, [1] * folds)
        unseen = unseen_probabilities(
            method,
            schedule,
            data,
            replaced(training, {"seed": folding, **(own or {}).get(best, {})}),
            folds,
            lambda fold, epoch: tell_fold(fold, epoch, False),
            run,
        )
    values = dict.fromkeys(_HALVED, own["standard"]) | dict(own) if own else {}
    other = None if linear is None else linear.unseen
    if noisy and unseen is not None:
        if unseen.clean is not None:  # else calibration takes several for less sure than they are
            unseen = together(list(choose_predictors(data, unseen, other, None).values()))
        judgement = judge(_ordered(found[best], training.stop), data, unseen, training.device)
        soft, worth = posterior_of_noisy(data, judgement)
        parts = in_parts(fresh, run.processes)
        tell_posterior = telling(POSTERIOR, [len(some) for some in parts])
        found[POSTERIOR] = train_on_noisy_posterior(
            data, soft, worth, plainly, parts, tell_posterior, run
        )
        rejudged = {} if worth is None else _rejudged(found, data, worth, training)
        if worth is not None and linear is not None:
            rejudged[LINEAR] = (float(worth.value(linear.predicted, training.metric)),)
        ways = (POSTERIOR, *usual)
        kept_way = max(
            reversed(ways),
            key=lambda name: _mean(rejudged[name]) if rejudged else expected(name),
        )
        return Final(found, kept_way, best, unseen, training, linear, values, judgement, rejudged)
    if unseen is None or unseen.clean is None or halves is None or not posterior:
        return Final(found, best, best, unseen, training, linear, own or {})
    clean = clean_alone(data, halves, beside.found) if halving else None
    predictors = choose_predictors(data, unseen, other, clean)
    unseen = together(list(predictors.values()))
    if clean is not None:
        found[CLEAN_ONLY] = clean.runs
        targets = [posterior_of_half(data, predictors, clean, half, halves) for half in (0, 1)]
        tell_posterior = telling(POSTERIOR, [len(fresh[half::2]) for half in (0, 1)])
        found[POSTERIOR] = train_on_posterior(
            data, targets, halves, plainly, fresh, tell_posterior, run
        )
    ways = (*(name for name in _HALVED if name in found), *usual)
    kept_way = max(reversed(ways), key=expected)
    return Final(found, kept_way, best, unseen, training, linear, values)


def _ordered(runs: Sequence[TrainResult], stop: str) -> tuple[TrainResult, ...]:
    """Return trainings that ran to their end, best validation first."""
    usable = _complete(runs)
    return tuple(sorted(usable, key=lambda run: -judged(run.validation_value, stop)))


def _rejudged(
    results: Mapping[str, Sequence[TrainResult]],
    data: NoisyData,
    worth: CheckedLabels,
    training: TrainConfig,
) -> dict[str, tuple[float, ...]]:
    """Judge the model of each training by what classes are worth on the validation part."""

    def value(run: TrainResult) -> float:
        if run.status != "complete" or run.model is None:
            return math.nan
        predicted = predict_proba(run.model, data.x_val, training.device).argmax(axis=1)
        return float(worth.value(predicted, training.metric))

    return {name: tuple(map(value, runs)) for name, runs in results.items()}


def _mean(values: Sequence[float]) -> float:
    """Mean of the numbers among these; minus infinity where none is one."""
    usable = [value for value in values if not math.isnan(value)]
    return float(np.mean(usable)) if usable else -math.inf


def expected_validation(run: TrainResult, stop: str) -> float:
    """Return what a training is judged by, by validation samples that have not chosen its epoch.

    A single validation sample judges what it has chosen itself.

    Parameters
    ----------
    run
        The training.
    stop
        As for `judged`.
    """
    expected = cross_judged(run.validation_half_1, run.validation_half_2, stop)
    return judged(run.validation_value, stop) if math.isnan(expected) else expected


def comparison_entries(
    schedule: Schedule,
    method: str = "coteaching",
    noise_rate: float | None = None,
    estimated_rate: float | None = None,
) -> dict[str, tuple[str, Schedule]]:
    """Return what a schedule that was found is compared with, and itself as ``s2e``.

    Parameters
    ----------
    schedule
        The schedule that was found, T rates.
    method
        The method that it was searched for.
    noise_rate
        Share that Co-teaching drops in the end; without one there is no Co-teaching.
    estimated_rate
        Likewise, as it is estimated.

    Returns
    -------
    dict
        ``standard``, plain training, ``coteaching``, ``coteaching_estimated`` and ``s2e``: method
        and schedule.
    """
    entries = {"standard": ("standard", Schedule.constant(schedule.epochs))}
    rates = {"coteaching": noise_rate, "coteaching_estimated": estimated_rate}
    for name, rate in rates.items():
        if rate is not None:
            entries[name] = ("coteaching", Schedule.coteaching(schedule.epochs, rate))
    return {**entries, "s2e": (method, schedule)}


def scores(entries: Entries, final: Final) -> dict[str, MethodScore]:
    """Score every way to train by the models that are kept.

    Parameters
    ----------
    entries
        What `train_final` was given.
    final
        What it returned.
    """
    epochs, stop = final.training.epochs, final.training.stop
    usual = final.training.metric == "accuracy"
    everything: Entries = {**dict.fromkeys(_HALVED, ("standard", None)), **entries}
    curves = SCORED if usual else (*SCORED, *METRIC_SCORES)
    found = {
        name: MethodScore(
            method=everything[name][0],
            schedule=tuple(map(float, (everything[name][1] or Schedule.constant(epochs)).rates)),
            test_accuracy=_each(runs, lambda run: _reached(run, "test_accuracy", stop)),
            validation_accuracy=_each(
                runs,
                lambda run: (
                    judged(run.validation_accuracy, stop)
                    if usual
                    else _reached(run, "validation_accuracy", stop)
                ),
            ),
            label_precision=_each(runs, lambda run: _reached(run, "label_precision", stop)),
            seconds=round(sum(run.seconds for run in runs), 3),
            stopped_epoch=tuple(best_epoch(run.validation_value) for run in runs)
            if stop == "best"
            else (),
            last_epochs=_each(runs, lambda run: _reached(run, "test_accuracy", "last")),
            expected_validation=final.rejudged.get(name)
            or _each(runs, lambda run: expected_validation(run, stop)),
            curves={key: _curves(runs, key, epochs) for key in curves},
            test_metric=()
            if usual
            else _each(runs, lambda run: _reached(run, "test_metric", stop)),
            validation_metric=()
            if usual
            else _each(runs, lambda run: judged(run.validation_metric, stop)),
            searched=final.own.get(name, {}),
        )
        for name, runs in final.results.items()
    }
    if final.linear is not None:
        found[LINEAR] = MethodScore(
            method="logistic_regression",
            schedule=(),
            test_accuracy=(final.linear.test_accuracy,),
            validation_accuracy=(final.linear.validation_accuracy,),
            label_precision=(math.nan,),
            expected_validation=final.rejudged.get(LINEAR)
            or (final.linear.validation_accuracy if usual else final.linear.validation_metric,),
            seconds=final.linear.seconds,
            test_metric=() if usual else (final.linear.test_metric,),
            validation_metric=() if usual else (final.linear.validation_metric,),
        )
    first = [name for name in ("standard", LINEAR, CLEAN_ONLY) if name in found]
    return {name: found[name] for name in dict.fromkeys([*first, *found])}


def _curves(runs: Sequence[TrainResult], name: str, epochs: int) -> tuple[tuple[float, ...], ...]:
    lost = (math.nan,) * epochs
    return tuple(
        tuple(round(float(v), 5) for v in run.curves[name]) if run.status == "complete" else lost
        for run in runs
    )


def _reached(run: TrainResult, name: str, stop: str) -> float:
    return reached(run.curves[name], run.validation_value, stop)


def _each(
    runs: Sequence[TrainResult], number: Callable[[TrainResult], float]
) -> tuple[float, ...]:
    return tuple(number(run) if run.status == "complete" else math.nan for run in runs)


def _models(runs: Sequence[TrainResult]) -> tuple[Model, ...]:
    return tuple(run.model for run in runs if run.model is not None)


def _complete(runs: Sequence[TrainResult]) -> list[TrainResult]:
    return [run for run in runs if run.status == "complete"]
