"""Train P trials at once: same data, same batches, same initial weights, own schedules."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from s2e_optuna.data.augmentation import Augmentation
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.data.streaming import Images
from s2e_optuna.device import keep_freed_memory, on_device, resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.training.blocks import train_blocks, trials_per_block, without
from s2e_optuna.training.checkpoint import Checkpoint, Keeper
from s2e_optuna.training.config import TrainConfig, default_batch_size
from s2e_optuna.training.evaluation import Evaluation, evaluate, iterate_probabilities
from s2e_optuna.training.methods import Method, get_method
from s2e_optuna.training.model import Model
from s2e_optuna.training.networks import StackedNetwork, make_network
from s2e_optuna.training.optimizer import make_optimizer
from s2e_optuna.training.parts import Batches, Parts, put_on_device
from s2e_optuna.training.preparation import BlockPreparation
from s2e_optuna.training.recording import GraphMemory
from s2e_optuna.training.results import EpochReport, TrainResult, curves_of
from s2e_optuna.training.stack import Stack, StepOptions
from s2e_optuna.training.tape import EpochTally


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

    Returns
    -------
    list of TrainResult
        In the order of `schedules`. A trial whose loss is no longer finite ends as failed, the
        others go on.

    Raises
    ------
    DataError
        Unknown method, network or device, schedules of another length, fewer samples than a
        batch, steps that cannot be recorded as `TrainConfig.cuda_graph` asks for.

    Examples
    --------
    >>> from s2e_optuna.training import TrainConfig, load_data, train
    >>> data = load_data("digits", noise="symmetric", noise_rate=0.5)
    >>> config = TrainConfig(epochs=2)
    >>> keep_all, keep_half = train("coteaching", [None, [1.0, 0.5]], data, config)
    >>> keep_half.status
    'complete'
    """
    rates = [_rates(schedule, config.epochs) for schedule in schedules]
    setup = _Setup.of(method, rates, data, config)
    if not rates:
        return []
    keep_freed_memory()
    with on_device(setup.device):
        logs = _train(setup, data, on_epoch, on_preparation, checkpoint)
    return [
        TrainResult(
            method=method,
            seed=config.seed,
            rates=rate,
            failure=log.failure,
            seconds=log.seconds,
            **log.outcome,
        )
        for rate, log in zip(rates, logs, strict=True)
    ]


def _train(
    setup: _Setup,
    data: NoisyData,
    on_epoch: OnEpoch | None,
    on_preparation: Callable[[int], None] | None,
    checkpoint: Checkpoint | None,
) -> list[_Log]:
    """Train on what is the current device; return what was gathered of each trial."""
    config, rates = setup.config, setup.rates
    parts = put_on_device(data, setup.rule.uses_clean_data, setup.device, setup.augmentation)
    blocks, batches = setup.blocks(), setup.batches(parts)
    logs = [_Log() for _ in rates]
    keeper = None
    if checkpoint is not None:
        # Each way to run the networks rounds differently: "auto" may take another one elsewhere.
        told = replace(config, execution=setup.network.execution)
        keeper = Keeper(checkpoint, setup.method, data, told, rates)
    begun = 0 if keeper is None else keeper.restore(blocks, batches, logs)
    if begun == 0:
        blocks, batches = _prepared(setup, blocks, parts, on_preparation)
    for epoch in range(begun, config.epochs):
        start = time.perf_counter()
        blocks, reports = _train_epoch(blocks, parts, batches, epoch, config)
        failed = _write_down(reports, time.perf_counter() - start, logs, config)
        running = [report for report in reports if report.trial not in failed]
        stopped: set[int] = set()
        if on_epoch is not None and running:
            stopped = set(on_epoch(epoch, running) or ()) & {r.trial for r in running}
        if failed or stopped:
            _finish_early(blocks, logs, data, failed, stopped)
            blocks = without(blocks, failed | stopped)
            if not blocks:
                break
        if keeper is not None and epoch < config.epochs - 1:
            keeper.save_if_due(epoch + 1, blocks, batches, logs)
    for block in blocks:
        predictions = _predictions(block, parts, config.keep_probabilities)
        for trial in block.trials:
            logs[trial].finish(block, trial, data, "complete", predictions[trial])
    return logs


@dataclass(frozen=True)
class _Setup:
    """What is the same from the first epoch to the last."""

    method: str
    rule: Method
    network: StackedNetwork
    device: torch.device
    rates: list[NDArray[np.float64]]
    n_samples: int
    batch_size: int
    config: TrainConfig
    options: StepOptions
    order_seed: int
    trusted_seed: int
    dropout_seed: int
    network_seeds: tuple[int, ...]
    augmentation: Augmentation | None

    @classmethod
    def of(
        cls, method: str, rates: list[NDArray[np.float64]], data: NoisyData, config: TrainConfig
    ) -> _Setup:
        """Look up what the names mean, and check that it fits the data."""
        rule = get_method(method).fitted_to(data)
        device = resolve_device(config.device)
        network = make_network(
            config.network,
            data.input_shape,
            data.n_classes,
            execution=config.execution,
            device_type=device.type,
        )
        n_samples = len(data.y_train)
        batch_size = config.batch_size or default_batch_size(n_samples)
        if n_samples < batch_size:
            raise DataError(
                f"the training part has {n_samples} samples, fewer than one batch of "
                f"{batch_size}: use a batch_size of at most {n_samples}"
            )
        order_seed, *more_seeds = _seeds(config.seed, 3 + rule.networks)
        *network_seeds, trusted_seed, dropout_seed = more_seeds
        return cls(
            method,
            rule,
            network,
            device,
            rates,
            n_samples,
            batch_size,
            config,
            StepOptions(
                memory=GraphMemory(device) if _is_recorded(config, network, device) else None,
                bfloat16=config.precision == "bfloat16",
            ),
            order_seed,
            trusted_seed,
            dropout_seed,
            tuple(network_seeds),
            Augmentation.of(config.augment, config.seed, data.input_shape),
        )

    def blocks(self) -> list[Stack]:
        """Make the networks of all trials, with their first weights, in blocks."""
        trials = list(range(len(self.rates)))
        size = trials_per_block(self.network, self.rule, self.batch_size, self.device, len(trials))
        return [self._block(trials[i : i + size]) for i in range(0, len(trials), size)]

    def _block(self, trials: list[int]) -> Stack:
        initial = self.network.initial(self.network_seeds, copies=len(trials))
        placed = {name: tensor.to(self.device) for name, tensor in initial.items()}
        trained = self.network.parameter_names
        return Stack(
            self.network,
            self.rule,
            make_optimizer(
                self.config.optimizer, {n: t for n, t in placed.items() if n in trained}
            ),
            {n: t for n, t in placed.items() if n not in trained},
            self.dropout_seed,
            trials,
            torch.from_numpy(np.stack([self.rates[trial] for trial in trials])).to(self.device),
            self.batch_size,
            self.n_samples,
            self.options,
        )

    def batches(self, parts: Parts) -> Batches:
        """Begin to draw batches; always the same ones."""
        return Batches(parts.training, self.batch_size, self.order_seed, self.trusted_seed)


def _is_recorded(config: TrainConfig, network: StackedNetwork, device: torch.device) -> bool:
    """Whether steps become CUDA graphs; DataError where they cannot, but shall."""
    if device.type != "cuda":
        reason = f"the training runs on {device.type}"
    elif network.uses_host_randomness:
        reason = f"{network.name} seeds its random numbers on the host, anew each step"
    else:
        return network.factory is None if config.cuda_graph is None else config.cuda_graph
    if config.cuda_graph:
        raise DataError(f"cuda_graph is not possible, for {reason}: leave it out")
    return False


def _prepared(
    setup: _Setup,
    blocks: list[Stack],
    parts: Parts,
    on_preparation: Callable[[int], None] | None,
) -> tuple[list[Stack], Batches]:
    """Let the method prepare every block, each on the same batches."""
    prepared: list[Stack] = []
    for number, block in enumerate(blocks):
        batches = setup.batches(parts)
        preparation = BlockPreparation(
            block, parts.training, batches, setup.config, on_preparation, number, len(blocks)
        )
        setup.rule.prepare(preparation)
        prepared += preparation.blocks
    return prepared, batches  # the training goes on where a preparation stopped


def _train_epoch(
    blocks: list[Stack], parts: Parts, batches: Batches, epoch: int, config: TrainConfig
) -> tuple[list[Stack], list[EpochReport]]:
    """Train and, where it is due, evaluate; blocks may come back as halves."""
    for block in blocks:
        block.optimizer.set_rates(config.plan.rate(epoch), config.plan.beta1(epoch))
    count = epoch >= config.epochs - config.last_epochs
    order = batches.draw()
    parts.training.begin_epoch(order, epoch)
    trained = train_blocks(blocks, parts.training, order, epoch, count=count)
    measured = parts if _is_measured(epoch, config) else None
    reports = [
        report for block, tally in trained for report in _reports(block, tally, measured, epoch)
    ]
    return [block for block, _ in trained], reports


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
    blocks: list[Stack], logs: list[_Log], data: NoisyData, failed: set[int], stopped: set[int]
) -> None:
    """Keep what remains of the trials that leave."""
    for block in blocks:
        for trial in (failed | stopped) & set(block.trials):
            status = "failed" if trial in failed else "stopped"
            logs[trial].finish(block, trial, data, status)


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
        predictions: dict[str, NDArray[Any]] | None = None,
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
        )
        self.outcome = {
            **curves_of(self.reports),
            "status": status,
            "model": None if status == "failed" else model,
            "kept_counts": stack.kept_counts[row].cpu().numpy().astype(np.int64),
            "offered_counts": stack.offered_counts.cpu().numpy().astype(np.int64),
            **(predictions or {}),
        }


def _rates(schedule: ScheduleLike, epochs: int) -> NDArray[np.float64]:
    if schedule is None:
        return np.ones(epochs)
    values = schedule.rates if isinstance(schedule, HasRates) else schedule
    rates = np.array(values, dtype=np.float64)
    if rates.shape != (epochs,):
        raise DataError(
            f"a schedule has rates of shape {list(rates.shape)} for {epochs} epochs: "
            "give one rate an epoch"
        )
    if not np.all((rates >= 0.0) & (rates <= 1.0)):
        raise DataError("a schedule has rates outside [0, 1]: keep rates are shares of a batch")
    return rates


def _seeds(seed: int, count: int) -> list[int]:
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count, np.uint64) >> 1]


def _diverged(report: EpochReport, measured: bool) -> bool:
    finite = np.isfinite(report.training_loss)
    return not (finite and (not measured or np.isfinite(report.validation_loss)))


def _reports(
    stack: Stack, tally: EpochTally, parts: Parts | None, epoch: int
) -> list[EpochReport]:
    """Turn sums over models into one report a trial; evaluate when `parts` are given."""
    nothing = torch.full_like(tally.loss, float("nan"))
    validation = test = Evaluation(nothing, nothing)
    if parts is not None:
        validation = evaluate(stack.network, stack.tensors, *parts.validation)
        if parts.test is not None:
            test = evaluate(stack.network, stack.tensors, *parts.test)
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
        ]
    )
    by_trial = torch.unflatten(numbers, 1, (-1, stack.method.networks)).mean(2).T.tolist()
    return [
        EpochReport(trial, epoch, *row) for trial, row in zip(stack.trials, by_trial, strict=True)
    ]


def _predictions(
    stack: Stack, parts: Parts, keep_probabilities: bool
) -> dict[int, dict[str, NDArray[Any]]]:
    """Predict the class of every sample by the probabilities averaged over the networks."""
    images: dict[str, Images] = {
        "training": parts.training.images,
        "validation": parts.validation_images,
    }
    if parts.test is not None:
        images["test"] = parts.test[0]
    found: dict[int, dict[str, NDArray[Any]]] = {trial: {} for trial in stack.trials}
    for name, pixels in images.items():
        classes, kept = [], []
        for chunk in iterate_probabilities(
            stack.network, stack.tensors, pixels, stack.method.networks
        ):
            classes.append(chunk.argmax(2).cpu())
            if keep_probabilities and name == "training":
                kept.append(chunk.cpu())
        predicted = torch.cat(classes, 1).numpy()
        for row, trial in enumerate(stack.trials):
            found[trial][f"{name}_predictions"] = predicted[row].copy()
        if kept:
            probabilities = torch.cat(kept, 1).numpy()
            for row, trial in enumerate(stack.trials):
                found[trial]["training_probabilities"] = probabilities[row].copy()
    return found
