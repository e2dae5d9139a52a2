"""Train P trials at once: same data, same batches, same initial weights, own schedules."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.streaming import Images
from s2e_optuna.device import keep_freed_memory, on_device
from s2e_optuna.errors import DataError
from s2e_optuna.training.checkpoint import Checkpoint, Keeper, fingerprint
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.epoch_buffers import EpochTally
from s2e_optuna.training.evaluation import Evaluation, evaluate, iterate_probabilities
from s2e_optuna.training.model import Model
from s2e_optuna.training.parts import Batches, Parts
from s2e_optuna.training.preparation import ShardPreparation
from s2e_optuna.training.results import EpochReport, TrainResult, curves_of
from s2e_optuna.training.setup import OWN, Setup, Share
from s2e_optuna.training.shards import make_shards, train_shards, without
from s2e_optuna.training.stack import Stack


@runtime_checkable
class HasRates(Protocol):
    """A schedule: R(t) for each epoch."""

    @property
    def rates(self) -> NDArray[np.float64]:
        """R(0) .. R(T-1)."""


ScheduleLike = HasRates | ArrayLike | None
"""A schedule, its rates [T], or None to keep everything."""

OnEpoch = Callable[[int, list[EpochReport]], Collection[int] | None]
"""Called after each epoch; may return positions of trials to stop."""


def train(
    method: str,
    schedules: Sequence[ScheduleLike],
    data: NoisyData,
    config: TrainConfig,
    on_epoch: OnEpoch | None = None,
    on_preparation: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    keep_probabilities: bool = False,
    test_once: bool = False,
    shares: Sequence[Share] | None = None,
    own: Sequence[Mapping[str, float]] | None = None,
) -> list[TrainResult]:
    """Train one trial for each schedule, all at once.

    All trials share the batches and the initial weights, and everything random comes from
    ``config.seed``: a trial depends on its schedule and the seed, not on its neighbours.

    Parameters
    ----------
    method
        Name in `METHODS`, with options if need be: ``"decoupling:warm_up=10"``.
    schedules
        Keep rates of each trial: anything with ``.rates``, an array [T], or None.
    data
        Training, validation and test parts.
    config
        How to train.
    on_epoch
        Called as ``on_epoch(epoch, reports)`` after each epoch (from 0) with the reports of
        the trials that still run; it may return positions in `schedules` to stop.
    on_preparation
        Called after each epoch of a training that only prepares the one that is asked for
        (``f_correction`` has one, as long again) with the number of such epochs so far.
    checkpoint
        Where to keep the training from time to time, and from where to go on with it.
    keep_probabilities
        Predict the training part when a trial is complete: `TrainResult.training_probabilities`.
        Nothing is predicted otherwise.
    test_once
        Measure the test part once a trial, when it ends, on the networks that are handed back:
        the curves on the test part are NaN but for `TrainResult.stopped_epoch`. A test part that
        is as large as the validation part takes as long as that each epoch. Without a meaning
        where ``config.stop`` is ``"last"``: what is reported then is a mean over epochs.
    shares
        What each trial has for itself, its seed in place of ``config.seed``: it then has the
        batches and first weights that it would have alone. Only where `takes_own_batches` says
        so, and without a checkpoint.
    own
        Fields of `config` in which trials differ, of those in `s2e_optuna.training.setup.OWN`
        (weight decay and learning rate): one mapping a trial.

    Returns
    -------
    list of TrainResult
        In the order of `schedules`. A trial whose loss is no longer finite ends as failed, the
        others go on.

    Raises
    ------
    DataError
        Unknown method, network or device, schedules of another length, fewer samples than a
        batch, shares that cannot train side by side, steps that cannot be recorded as
        `TrainConfig.cuda_graph` asks for.

    Examples
    --------
    >>> from s2e_optuna.training import TrainConfig, load_data, train
    >>> data = load_data("digits", noise="symmetric", noise_rate=0.5)
    >>> config = TrainConfig(epochs=2)
    >>> keep_all, keep_half = train("coteaching", [None, [1.0, 0.5]], data, config)
    >>> keep_half.status
    'complete'
    """
    rates = _rates(schedules, config.epochs)
    if shares is not None and (len(shares) != len(rates) or checkpoint is not None):
        raise DataError("shares are one for each schedule, and go without a checkpoint")
    if own is not None and (len(own) != len(rates) or not set().union(*own) <= set(OWN)):
        raise DataError(f"own settings are one for each schedule, of {' and '.join(OWN)}")
    setup = Setup.of(method, data, config, shares, own)
    if not len(rates):
        return []
    keep_freed_memory()
    with on_device(setup.device):
        logs = _train(
            setup,
            rates,
            data,
            on_epoch,
            on_preparation,
            checkpoint,
            keep_probabilities=keep_probabilities,
            test_once=test_once and config.stop == "best",
        )
    return [
        TrainResult(
            method=method,
            seed=config.seed if shares is None else shares[trial].seed,
            rates=rate,
            failure=log.failure,
            seconds=log.seconds,
            samples=data.identity,
            **log.outcome,
        )
        for trial, (rate, log) in enumerate(zip(rates, logs, strict=True))
    ]


def _train(
    setup: Setup,
    rates: NDArray[np.float64],
    data: NoisyData,
    on_epoch: OnEpoch | None,
    on_preparation: Callable[[int], None] | None,
    checkpoint: Checkpoint | None,
    *,
    keep_probabilities: bool,
    test_once: bool,
) -> list[_Log]:
    """Train on what is the current device; return what was gathered of each trial."""
    config, parts = setup.config, setup.parts(data)
    measured, tested = parts, None
    if test_once:
        measured, tested = replace(parts, test=None), parts.test
    shards, batches = make_shards(setup, rates), setup.batches(parts)
    logs = [_Log() for _ in rates]
    keeper = None
    if checkpoint is not None:
        # Each way to run the networks rounds differently: "auto" may take another one elsewhere.
        told = replace(config, execution=setup.network.execution)
        known_by = rates
        if setup.own is not None:  # trials are told from each other by these, too
            known_by = np.array(
                [[*row, *one.values()] for row, one in zip(rates, setup.own, strict=True)]
            )
        keeper = Keeper(checkpoint, fingerprint(setup.method_name, data, told), known_by)
    begun = 0 if keeper is None else keeper.restore(shards, batches, logs)
    if begun == 0:
        shards, batches = _prepared(setup, shards, parts, on_preparation)
    for epoch in range(begun, config.epochs):
        start = time.perf_counter()
        shards, reports = _train_epoch(shards, measured, batches, epoch, config)
        failed = _write_down(reports, time.perf_counter() - start, logs, config)
        running = [report for report in reports if report.trial not in failed]
        stopped: set[int] = set()
        if on_epoch is not None and running:
            stopped = set(on_epoch(epoch, running) or ()) & {r.trial for r in running}
        if failed or stopped:
            _finish_early(shards, logs, data, failed, stopped, tested)
            shards = without(shards, failed | stopped)
            if not shards:
                break
        if keeper is not None and epoch < config.epochs - 1:
            keeper.save_if_due(epoch + 1, shards, batches, logs)
    for shard in shards:
        _test_kept(shard, shard.trials, logs, tested)
        probabilities = _training_probabilities(shard, parts) if keep_probabilities else {}
        for trial in shard.trials:
            logs[trial].finish(shard, trial, data, "complete", probabilities.get(trial))
    return logs


def _prepared(
    setup: Setup,
    shards: list[Stack],
    parts: Parts,
    on_preparation: Callable[[int], None] | None,
) -> tuple[list[Stack], Batches]:
    """Let the method prepare every shard, each on the same batches."""
    prepared: list[Stack] = []
    for number, shard in enumerate(shards):
        batches = setup.batches(parts)
        preparation = ShardPreparation(shard, batches, on_preparation, number, len(shards))
        setup.method.prepare(preparation)
        prepared += preparation.shards
    return prepared, batches  # the training goes on where a preparation stopped


def _train_epoch(
    shards: list[Stack], parts: Parts, batches: Batches, epoch: int, config: TrainConfig
) -> tuple[list[Stack], list[EpochReport]]:
    """Train and, where it is due, evaluate; shards may come back as halves."""
    for shard in shards:
        shard.set_learning_rate(epoch)
    count = epoch >= config.epochs - config.last_epochs
    order = batches.draw(epoch)
    trained = train_shards(shards, parts.training, order, epoch, count=count)
    measured = parts if _is_measured(epoch, config) else None
    reports: list[EpochReport] = []
    for shard, tally in trained:
        found = _reports(shard, tally, measured, epoch)
        if shard.best is not None:
            values = [report.validation_value for report in found]
            shard.best.update(shard.tensors, values, epoch)
        reports += found
    return [shard for shard, _ in trained], reports


def _is_measured(epoch: int, config: TrainConfig) -> bool:
    return epoch == config.epochs - 1 or (epoch + 1) % config.evaluate_every == 0


def _write_down(
    reports: list[EpochReport], seconds: float, logs: list[_Log], config: TrainConfig
) -> set[int]:
    """Add an epoch to the logs; return the trials whose training has diverged."""
    failed: set[int] = set()
    for report in reports:
        log = logs[report.trial]
        log.reports.append(report)
        log.seconds += seconds / len(reports)
        if _diverged(report, _is_measured(report.epoch, config)):
            log.failure = (
                f"training diverged: the loss was not finite in epoch {report.epoch + 1} of "
                f"{config.epochs}"
            )
            failed.add(report.trial)
    return failed


def _finish_early(
    shards: list[Stack],
    logs: list[_Log],
    data: NoisyData,
    failed: set[int],
    stopped: set[int],
    tested: tuple[Images, Tensor] | None,
) -> None:
    """Keep what remains of the trials that leave."""
    for shard in shards:
        _test_kept(shard, [t for t in shard.trials if t in stopped - failed], logs, tested)
        for trial in (failed | stopped) & set(shard.trials):
            status = "failed" if trial in failed else "stopped"
            logs[trial].finish(shard, trial, data, status)


def _test_kept(
    stack: Stack, trials: Sequence[int], logs: list[_Log], part: tuple[Images, Tensor] | None
) -> None:
    """Measure what is kept of these trials on the test part, if it is to be done at their end."""
    if part is None or stack.best is None or not trials:
        return
    rows = torch.tensor([stack.trials.index(trial) for trial in trials])
    kept = stack.best.select(rows, stack.models_of(rows))
    found = evaluate(stack.network, kept.tensors, *part, metric=stack.setup.config.metric)
    numbers = torch.stack([found.accuracy, found.metric])
    for trial, epoch, (accuracy, metric) in zip(
        trials, kept.epoch.tolist(), stack.mean_of_networks(numbers), strict=True
    ):
        reports = logs[trial].reports
        reports[epoch] = replace(reports[epoch], test_accuracy=accuracy, test_metric=metric)


class _Log:
    """What is gathered of one trial while it runs."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []
        self.seconds = 0.0
        self.failure: str | None = None
        self.outcome: dict[str, Any] = {}

    def finish(
        self,
        stack: Stack,
        trial: int,
        data: NoisyData,
        status: str,
        probabilities: NDArray[np.float32] | None = None,
    ) -> None:
        """Keep what remains of a trial that leaves the stack."""
        row, networks, models = stack.trials.index(trial), stack.method.networks, stack.models
        model = Model(
            network=stack.network.name,
            factory=stack.network.factory,
            input_shape=data.input_shape,
            class_names=data.class_names,
            states=tuple(models.state(row * networks + i) for i in range(networks)),
            preparation=data.preparation,
            encoder=data.encoder,
        )
        epoch = self.reports[-1].epoch if stack.best is None else int(stack.best.epoch[row])
        failed = status == "failed"
        self.outcome = {
            "curves": curves_of(self.reports),
            "status": status,
            "model": None if failed else model,
            "stopped_epoch": None if failed else epoch,
            "kept_counts": stack.kept_counts[row].cpu().numpy().astype(np.int64),
            "offered_counts": stack.offered_of(row).cpu().numpy().astype(np.int64),
            "training_probabilities": probabilities,
        }


def _rates(schedules: Sequence[ScheduleLike], epochs: int) -> NDArray[np.float64]:
    """Check the rates of all schedules and put them together: [P, T]."""
    found = np.ones((len(schedules), epochs))
    for row, schedule in zip(found, schedules, strict=True):
        if schedule is None:
            continue
        values = schedule.rates if isinstance(schedule, HasRates) else schedule
        rates = np.asarray(values, dtype=np.float64)
        if rates.shape != (epochs,):
            raise DataError(
                f"a schedule has rates of shape {list(rates.shape)} for {epochs} epochs: "
                "give one rate an epoch"
            )
        if not np.all((rates >= 0.0) & (rates <= 1.0)):
            raise DataError(
                "a schedule has rates outside [0, 1]: keep rates are shares of a batch"
            )
        row[:] = rates
    return found


def _diverged(report: EpochReport, measured: bool) -> bool:
    finite = np.isfinite(report.training_loss)
    return not (finite and (not measured or np.isfinite(report.validation_loss)))


def _reports(
    stack: Stack, tally: EpochTally, parts: Parts | None, epoch: int
) -> list[EpochReport]:
    """Turn sums over models into one report a trial; evaluate when `parts` are given."""
    nothing = torch.full_like(tally.loss, float("nan"))
    validation = test = Evaluation(nothing, nothing, nothing, torch.stack([nothing, nothing]))
    metric = stack.setup.config.metric
    if parts is not None:
        measured_by = stack.setup.measured_by(stack.trials, len(parts.validation[1]))
        validation = evaluate(stack.network, stack.tensors, *parts.validation, measured_by, metric)
        if parts.test is not None:
            test = evaluate(stack.network, stack.tensors, *parts.test, metric=metric)
    kept = tally.kept.to(torch.float64)
    clean = nothing if tally.kept_clean is None else tally.kept_clean / kept
    numbers = torch.stack(
        [
            validation.accuracy,
            validation.loss,
            test.accuracy,
            tally.correct.to(torch.float64) / tally.samples,
            tally.loss / tally.samples,
            clean,
            kept / tally.samples,
            *validation.halves,
            validation.metric,
            test.metric,
        ]
    )
    by_trial = stack.mean_of_networks(numbers)
    return [
        EpochReport(trial, epoch, *row) for trial, row in zip(stack.trials, by_trial, strict=True)
    ]


def _training_probabilities(stack: Stack, parts: Parts) -> dict[int, NDArray[np.float32]]:
    """Predict the training part [N, C] for each trial, averaged over its networks."""
    chunks = iterate_probabilities(
        stack.network, stack.models.parameters, parts.training.images, stack.method.networks
    )
    together = torch.cat([chunk.cpu() for chunk in chunks], 1).numpy()
    return {trial: together[row].copy() for row, trial in enumerate(stack.trials)}
