"""What is the same for all trials of a training, from its first epoch to its last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data.augmentation import Augmentation
from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.device import resolve_device
from s2e_optuna.errors import DataError
from s2e_optuna.training.config import TrainConfig, default_batch_size
from s2e_optuna.training.methods import Method, get_method
from s2e_optuna.training.networks import Parameters, StackedNetwork, make_network
from s2e_optuna.training.networks.mlp import Mlp
from s2e_optuna.training.parts import Batches, OwnBatches, Parts, put_on_device
from s2e_optuna.training.recording import GraphMemory

WORK_OF_LEAVING_OUT = 3e7
"""Operations of a step of one model below which leaving samples out is not worth it.

Measured for 8 trials of `mlp` with 784 inputs, one thread: the processor time of an epoch that
multiplies by nought is 1.18 times as long with half of each batch of 128 kept, 1.10 times with
batches of 64, 1.05 times with batches of 32, and as long with batches of 16.
"""

OWN = ("weight_decay", "learning_rate")
"""Fields of `TrainConfig` that may differ among the trials of a stack."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of all that is random in a training.

    Attributes
    ----------
    order, trusted
        Of the order of the samples, and of the clean ones that some methods learn from.
    dropout
        Of the dropout.
    networks
        Of the initial weights, one for each network of a trial.
    """

    order: int
    trusted: int
    dropout: int
    networks: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, networks: int) -> Seeds:
        """Derive all seeds of a training, whose trials have so many networks, from one."""
        drawn = np.random.SeedSequence(seed).generate_state(3 + networks, np.uint64) >> 1
        order, *of_networks, trusted, dropout = map(int, drawn)
        return cls(order, trusted, dropout, tuple(of_networks))


@dataclass(frozen=True, eq=False)
class Share:
    """What a trial has for itself, where trials of a stack do not share everything.

    Attributes
    ----------
    seed
        Of its batches and first weights: those that it would have alone.
    samples
        Positions of the training samples that it learns from, int64 [n]; None for all.
    validation
        Positions of the validation samples by which it is measured, int64 [v]; None for all.
    """

    seed: int
    samples: NDArray[np.int64] | None = None
    validation: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Setup:
    """A training once all names are looked up and checked; what its stacks are made from.

    Attributes
    ----------
    method_name
        The method as it was asked for, with its options.
    method
        How the networks of a trial learn.
    network
        Architecture.
    device
        Where it trains.
    config
        How to train.
    n_samples, batch_size
        Training samples N, and samples of a batch B.
    seeds
        Of all that is random.
    augmentation
        Changes the images that are learnt from; None leaves them as they are.
    memory
        Of the CUDA graphs as which steps are recorded; None records nothing.
    shares
        What each trial has for itself; None where all share batches and first weights.
    own
        Fields of `config` that are each trial's own (`OWN`) with their values; None where none is.
    """

    method_name: str
    method: Method
    network: StackedNetwork
    device: torch.device
    config: TrainConfig
    n_samples: int
    batch_size: int
    seeds: Seeds
    augmentation: Augmentation | None = None
    memory: GraphMemory | None = None
    shares: tuple[Share, ...] | None = None
    own: tuple[Mapping[str, float], ...] | None = None

    @classmethod
    def of(
        cls,
        method: str,
        data: NoisyData,
        config: TrainConfig,
        shares: Sequence[Share] | None = None,
        own: Sequence[Mapping[str, float]] | None = None,
    ) -> Setup:
        """Look up what the names mean, and check that it fits the data.

        Parameters
        ----------
        method
            Name in `METHODS`, with options if need be.
        data
            Training, validation and test parts.
        config
            How to train.
        shares
            What each trial has for itself; see `takes_own_batches`. None where they share all.
        own
            Fields of `config`, of those in `OWN`, in which trials differ: one mapping a trial.

        Raises
        ------
        DataError
            Unknown method, network or device, fewer samples than a batch, steps that
            cannot be recorded as `TrainConfig.cuda_graph` asks for, shares where trials cannot
            have batches of their own.
        """
        rule = get_method(method).fitted_to(data)
        if data.val_checked is not None and data.val_weights is None:
            raise DataError(
                "some validation labels are checked, but not used: give the training "
                "s2e_optuna.labels.expected_validation(data, config) in place of the data"
            )
        if data.targets is not None:
            _check_targets(data.targets, data, rule)
        device = resolve_device(config.device)
        network = _network_for(data, config, device)
        n_samples = len(data.y_train)
        batch_size = config.batch_size or default_batch_size(n_samples)
        if n_samples < batch_size:
            raise DataError(
                f"the training part has {n_samples} samples, fewer than one batch of "
                f"{batch_size}: use a batch_size of at most {n_samples}"
            )
        if shares is not None and not takes_own_batches(method, data, config):
            raise DataError(
                f"trials of the method {method} on these data share their batches: train them "
                "seed by seed"
            )
        return cls(
            method_name=method,
            method=rule,
            network=network,
            device=device,
            config=config,
            n_samples=n_samples,
            batch_size=batch_size,
            seeds=Seeds.of(config.seed, rule.networks),
            augmentation=Augmentation.of(config.augment, config.seed, data.input_shape),
            memory=GraphMemory(device) if is_recorded(config, network, device) else None,
            shares=None if shares is None else tuple(shares),
            own=None if own is None else tuple(own),
        )

    def decay_of(self, trials: Sequence[int]) -> Tensor | None:
        """Weight decay of trials by position [P * networks]; None where there is none."""
        usual = self.config.weight_decay
        searched = self.own is not None and any("weight_decay" in one for one in self.own)
        if not usual and not searched:
            return None
        return self._of_networks([self._own_of(trial, "weight_decay", usual) for trial in trials])

    def factors_of(self, trials: Sequence[int]) -> Tensor | None:
        """Learning rates of trials by position, as multiples of that of `config`, likewise.

        None where all have that of `config`.
        """
        if self.own is None or not any("learning_rate" in one for one in self.own):
            return None
        usual = self.config.learning_rate_schedule.learning_rate
        rates = [self._own_of(trial, "learning_rate", usual) for trial in trials]
        return self._of_networks([rate / usual for rate in rates])

    def _own_of(self, trial: int, name: str, usual: float) -> float:
        return usual if self.own is None else self.own[trial].get(name, usual)

    def _of_networks(self, numbers: Sequence[float]) -> Tensor:
        of_trials = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        return of_trials.repeat_interleave(self.method.networks)

    @property
    def by_hand(self) -> bool:
        """Whether steps take the gradients that `Mlp` has written out, not those of a graph.

        Only on a CPU: a step on a GPU is recorded, and its short operations cost nothing.
        """
        return (
            self.device.type == "cpu"
            and self.config.precision == "float32"
            and isinstance(self.network, Mlp)
            and self.method.takes_cross_entropy
        )

    @property
    def leaves_out(self) -> bool:
        """Whether samples that are not kept are left out of products.

        Nothing changes but the time: what is left out is 0.
        """
        work = step_operations(self.network, self.batch_size)
        return self.by_hand and self.method.uses_schedule and work >= WORK_OF_LEAVING_OUT

    def parts(self, data: NoisyData) -> Parts:
        """Copy the data to the device; DataError where they are not what the method needs."""
        return put_on_device(
            data,
            self.method.uses_clean_data,
            self.device,
            self.augmentation,
            own_batches=self.shares is not None,
        )

    def batches(self, parts: Parts) -> Batches:
        """Begin to draw batches; always the same ones."""
        if self.shares is not None:
            orders = [self._seeds_of(share).order for share in self.shares]
            samples = [share.samples for share in self.shares]
            return OwnBatches(parts.training, self.batch_size, orders, samples)
        return Batches(parts.training, self.batch_size, self.seeds.order, self.seeds.trusted)

    def initial(self, trials: Sequence[int]) -> Parameters:
        """First parameters and buffers [P * networks, ...] of trials by position."""
        if self.shares is None:
            tensors = self.network.initial(self.seeds.networks, copies=len(trials))
        else:
            of_each = [self._seeds_of(self.shares[trial]).networks for trial in trials]
            tensors = self.network.initial([seed for group in of_each for seed in group])
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def _seeds_of(self, share: Share) -> Seeds:
        return Seeds.of(share.seed, self.method.networks)

    def measured_by(self, trials: Sequence[int], validation: int) -> Tensor | None:
        """Mark the validation samples by which trials are measured, booleans [P * networks, V].

        None where all are measured by all of them.
        """
        if self.shares is None or all(share.validation is None for share in self.shares):
            return None
        marked = torch.ones((len(trials), validation), dtype=torch.bool, device=self.device)
        for row, trial in enumerate(trials):
            chosen = self.shares[trial].validation
            if chosen is not None:
                marked[row] = False
                marked[row, torch.from_numpy(chosen).to(self.device)] = True
        return marked.repeat_interleave(self.method.networks, 0)


def _check_targets(targets: Tensor, data: NoisyData, method: Method) -> None:
    """Raise DataError unless soft labels fit the data, and the method can learn from them."""
    if not method.learns_soft:
        raise DataError(
            f"method {method.name!r} learns from labels, not from soft ones: use standard"
        )
    if targets.shape != (len(data.y_train), data.n_classes) or targets.min() < 0:
        raise DataError(
            f"the soft labels have shape {list(targets.shape)}: give one number, 0 or more, for "
            f"each of {len(data.y_train)} samples and {data.n_classes} classes"
        )


def _network_for(data: NoisyData, config: TrainConfig, device: torch.device) -> StackedNetwork:
    return make_network(
        config.network,
        data.input_shape,
        data.n_classes,
        execution=config.execution,
        device_type=device.type,
    )


def takes_own_batches(method: str, data: NoisyData, config: TrainConfig) -> bool:
    """Whether trials can train in one stack that differ in more than their schedules (`Share`).

    Each then has the batches and the first weights that it would have alone. Small networks take
    most of a step's time for its many short operations, so five seeds at once take little longer
    than one.

    Parameters
    ----------
    method, data, config
        As for `train`.
    """
    device = resolve_device(config.device)
    network = _network_for(data, config, device)
    return (
        device.type == "cpu"  # nobody has tried it elsewhere
        and get_method(method).takes_own_batches
        and network.takes_own_batches
        and Augmentation.of(config.augment, config.seed, data.input_shape) is None
        and isinstance(data.x_train, Tensor)
    )


def step_operations(network: StackedNetwork, batch_size: int) -> int:
    """Estimate the operations of a step of one model: forward, and two gradients."""
    return 3 * batch_size * network.footprint.operations


def is_recorded(config: TrainConfig, network: StackedNetwork, device: torch.device) -> bool:
    """Whether steps become CUDA graphs.

    Parameters
    ----------
    config
        Its `cuda_graph` is what is asked for.
    network, device
        What shall train, and where.

    Raises
    ------
    DataError
        They cannot, but shall.
    """
    if device.type != "cuda":
        reason = f"the training runs on {device.type}"
    elif network.uses_host_randomness:
        reason = f"{network.name} seeds its random numbers on the host, anew each step"
    else:
        return network.factory is None if config.cuda_graph is None else config.cuda_graph
    if config.cuda_graph:
        raise DataError(f"cuda_graph is not possible, for {reason}: leave it out")
    return False
