"""Weight sharing as a search for R(t): the baseline of Table 7, after ASNG (Akimoto et al., 2019).

S2E trains every schedule from scratch. Here one set of weights w serves all of them: it minimises

    G(theta, w) = E_{p_theta}[L_val(w; R_x)]        (Appendix B.2)

by turns. In every turn lambda schedules are drawn from p_theta. From the same w each takes the
same mini-batches in its own way, and the validation losses after them rank the schedules. Then
theta takes a natural-gradient step, and w goes on as the first schedule left it: the weights have
taken the steps of one draw from p_theta, the others have only looked ahead. They have to look
ahead, because R(t) has no part in a forward pass: a schedule shows in what is learnt with it.

=========  ==============================================================  =======
symbol     meaning                                                         shape
=========  ==============================================================  =======
theta      natural parameters of p_theta, see `s2e_optuna.relaxation`     [d]
lambda     schedules a turn
delta      length of theta's step in the metric of the Fisher matrix F
s          accumulated path of the whitened steps, F^(1/2) step           [d]
gamma      what |s|^2 would be if all steps were random
=========  ==============================================================  =======

Training itself (data, batches, networks, optimiser, Co-teaching) is the product's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import FloatDistribution

from s2e_optuna.data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.relaxation import Family, limited_step, natural_direction, score_estimate
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.schedules import Schedule, get_space
from s2e_optuna.schedules.spaces import Space
from s2e_optuna.training import TrainConfig
from s2e_optuna.training.evaluation import evaluate
from s2e_optuna.training.parts import EpochOrder
from s2e_optuna.training.setup import Setup
from s2e_optuna.training.shards import train_shards
from s2e_optuna.training.stack import Stack

Array = NDArray[np.float64]

ALPHA = 1.5
"""A path so much longer than a random one leaves delta as it is (Akimoto et al.)."""

FIRST_LENGTH = 1.0
"""delta at the start (Akimoto et al.)."""

MAX_KL, MIN_THETA = 1.0, 0.3
"""Limits of a step, those of `s2e_optuna.S2ESampler`."""


# ---------------------------------------------------------------------------------- theta


@dataclass(frozen=True, eq=False)
class Adaptive:
    """Theta, and what its step size is adapted by; see the table above."""

    theta: Array
    path: Array
    length: float = FIRST_LENGTH
    gamma: float = 0.0

    @classmethod
    def start(cls, family: Family) -> Adaptive:
        """Begin at the uniform distribution."""
        return cls(family.uniform(), np.zeros(family.dimension))


def ranked(losses: ArrayLike) -> Array:
    """Turn losses [n] into utilities to be minimised: -1 the best quarter, 1 the worst, 0 else.

    Equal losses share their utilities, so that their order does not matter.
    """
    values = np.asarray(losses, dtype=np.float64)
    by_rank = np.zeros(len(values))
    quarter = -(-len(values) // 4)
    by_rank[:quarter] -= 1.0
    by_rank[-quarter:] += 1.0
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    means = [by_rank[end - n : end].mean() for end, n in zip(ends, count, strict=True)]
    return np.array(means)[group]


def natural_step(family: Family, state: Adaptive, x: Array, losses: ArrayLike) -> Adaptive:
    """Step along the natural gradient of E[loss], delta long, and adapt delta.

    Parameters
    ----------
    family, state
        Where theta is.
    x
        Points drawn from p_theta, shape [n, D], n >= 2.
    losses
        Theirs, to be minimised, shape [n]; only their order counts.

    Returns
    -------
    Adaptive
        The same state if all losses are equal.
    """
    utility = ranked(losses)
    if not utility.any():
        return state
    fisher = family.fisher(state.theta)
    estimate = score_estimate(family, state.theta, x, utility, baseline=False)
    direction = natural_direction(estimate, fisher, 0.0)
    eigenvalues, vectors = np.linalg.eigh(fisher)
    whitened = vectors @ (np.sqrt(eigenvalues) * (vectors.T @ direction))  # F^(1/2) direction
    norm = float(np.linalg.norm(whitened))
    theta = limited_step(
        family,
        state.theta,
        direction / norm,
        step_size=state.length,
        max_kl=MAX_KL,
        min_theta=MIN_THETA,
    )
    # Steps that agree make the path longer than steps at random do, and then delta grows.
    beta = min(1.0, state.length / np.sqrt(family.dimension))
    kept, new = 1.0 - beta, beta * (2.0 - beta)
    path = kept * state.path + np.sqrt(new) * whitened / norm
    gamma = kept**2 * state.gamma + new
    growth = np.exp(beta * (float(path @ path) / ALPHA - gamma))
    return Adaptive(theta, path, state.length * float(growth), gamma)


@dataclass(frozen=True, eq=False)
class ScheduleFamily:
    """p_theta over the schedules of a search space."""

    space: Space
    codec: Codec

    @classmethod
    def of(cls, name: str) -> ScheduleFamily:
        """Take a space of `s2e_optuna.schedules` all of whose parameters are numbers."""
        space = get_space(name)
        return cls(
            space, Codec({p.name: FloatDistribution(p.low, p.high) for p in space.parameters})
        )

    @property
    def family(self) -> Family:
        """The family of p_theta."""
        return self.codec.family

    def rates(self, x: Array, epochs: int) -> Array:
        """Curves R(t) [n, T] of points [n, D]."""
        points = [self.space.encode(self.codec.decode(point)) for point in x]
        return self.space.rates(np.stack(points), epochs)

    def mean(self, theta: Array, epochs: int) -> Schedule:
        """Return the schedule at E[x], which is what a search by weight sharing ends with."""
        parts = (theta[where] for where in self.family.theta_slices)
        x = np.concatenate([part / part.sum() for part in parts])
        (rates,) = self.rates(x[None], epochs)
        return Schedule(rates, name="weight sharing")


# -------------------------------------------------------------------------------- weights


@dataclass(frozen=True)
class Turns:
    """How weights and theta take turns.

    Attributes
    ----------
    samples
        lambda: schedules drawn in a turn, at least 2.
    by_batch
        A turn is one mini-batch, after which schedules are compared on a batch drawn from the
        validation part; or else a whole epoch, and the whole validation part.
    """

    samples: int = 2
    by_batch: bool = True

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2 to compare, but is {self.samples}.")


@dataclass(frozen=True, eq=False)
class Shared:
    """What a search by weight sharing ends with.

    Attributes
    ----------
    schedule
        R(t) at the mean of p_theta.
    theta
        The last theta [d].
    updates
        Steps that theta has taken: a turn whose schedules keep equally many samples gives none.
    followed
        Keep rate with which the shared weights have learnt, by epoch: that of the first draws.
    validation_accuracy, test_accuracy
        Of the shared weights, by epoch. The latter chooses nothing; NaN without a test part.
    entropy
        Of p_theta, by epoch, in nats.
    """

    schedule: Schedule
    theta: Array
    updates: int
    followed: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)


def search_shared(
    data: NoisyData,
    config: TrainConfig,
    turns: Turns | None = None,
    *,
    space: str = "s2e",
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Shared:
    """Search R(t) for Co-teaching with one set of weights.

    Parameters
    ----------
    data
        Training, validation and test parts, in memory.
    config
        How to train; its seed decides all that is random.
    turns
        How weights and theta take turns; by default two schedules every mini-batch.
    space
        Search space of the schedules.
    on_epoch
        Called with the number of finished epochs.

    Raises
    ------
    s2e_optuna.training.DataError
        The data cannot be trained on, or do not fit into memory.
    """
    turns = turns or Turns()
    schedules = ScheduleFamily.of(space)
    trainer = _SharedWeights(data, config, turns)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 1]))
    state = Adaptive.start(schedules.family)
    found = Shared(schedules.mean(state.theta, config.epochs), state.theta, 0)
    updates = 0
    for epoch in range(config.epochs):
        followed = []
        for order in trainer.orders(epoch):
            x = schedules.family.sample(state.theta, turns.samples, rng)
            rates = schedules.rates(x, config.epochs)[:, epoch]
            losses = trainer.turn(order, rates, epoch, rng)
            before, state = state, natural_step(schedules.family, state, x, losses)
            updates += state is not before
            followed.append(rates[0])
        found.followed.append(float(np.mean(followed)))
        validation, test = trainer.accuracies()
        found.validation_accuracy.append(validation)
        found.test_accuracy.append(test)
        found.entropy.append(schedules.family.entropy(state.theta))
        on_epoch(epoch + 1)
    return replace(
        found,
        schedule=schedules.mean(state.theta, config.epochs),
        theta=state.theta,
        updates=updates,
    )


class _SharedWeights:
    """A stack of lambda trials that all start every turn from the same weights."""

    def __init__(self, data: NoisyData, config: TrainConfig, turns: Turns) -> None:
        setup = Setup.of("coteaching", data, config)
        self._stack = Stack.fresh(setup, np.ones((turns.samples, config.epochs)))
        self._parts = setup.parts(data)
        if not isinstance(self._parts.validation[0], torch.Tensor):
            raise DataError("weight sharing needs validation images that fit into memory")
        self._batches = setup.batches(self._parts)
        self._by_batch = turns.by_batch

    def orders(self, epoch: int) -> Sequence[EpochOrder]:
        """Draw an epoch and cut it into turns."""
        samples = self._batches.draw(epoch).samples
        parts = torch.split(samples, 1) if self._by_batch else [samples]
        return [EpochOrder(part) for part in parts]

    def turn(self, order: EpochOrder, rates: Array, epoch: int, rng: np.random.Generator) -> Array:
        """Let each trial learn from the same batches, and compare them.

        Afterwards all trials have the weights of the first one.

        Parameters
        ----------
        order
            The batches.
        rates
            Keep rate of each trial [P].
        epoch
            From 0.
        rng
            Draws the validation samples, where not all of them count.

        Returns
        -------
        ndarray
            Validation losses [P].
        """
        stack = self._stack
        stack.rates[:, epoch] = rates
        stack.set_learning_rate(epoch)
        train_shards([stack], self._parts.training, order, epoch, count=False)
        images, labels = self._parts.validation
        if self._by_batch:
            assert isinstance(images, torch.Tensor)
            size = min(stack.setup.batch_size, len(labels))
            drawn = rng.choice(len(labels), size, replace=False)
            chosen = torch.from_numpy(drawn).to(labels.device)
            images, labels = images[chosen], labels[chosen]
        loss = evaluate(stack.network, stack.tensors, images, labels).loss
        by_trial = torch.unflatten(loss, 0, (-1, stack.method.networks)).mean(1)
        self._share()
        return by_trial.cpu().numpy()

    @torch.no_grad()
    def _share(self) -> None:
        """Give every trial the weights, moments and statistics of the first one."""
        for tensor in self._stack.by_trial().values():
            tensor[1:] = tensor[:1].clone()

    def accuracies(self) -> tuple[float, float]:
        """Measure the shared weights: validation and test accuracy, means over their networks."""
        stack, test = self._stack, self._parts.test
        shared = {name: t[: stack.method.networks] for name, t in stack.tensors.items()}
        found = [
            float("nan")
            if part is None
            else float(evaluate(stack.network, shared, *part).accuracy.mean())
            for part in (self._parts.validation, test)
        ]
        return found[0], found[1]
