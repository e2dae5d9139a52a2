"""Learning rates by epoch, as in the paper's experiments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

BETA1_EARLY = 0.9
BETA1_LATE = 0.1


@dataclass(frozen=True)
class LearningRateSchedule(ABC):
    """Learning rate and beta1 by epoch.

    Attributes
    ----------
    epochs
        Epochs of the training, T.
    learning_rate
        Rate at the start.
    """

    epochs: int
    learning_rate: float

    @abstractmethod
    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0."""

    def beta1(self, epoch: int) -> float:
        """Decay of the first moment in an epoch, for optimisers that have one."""
        return BETA1_EARLY


@dataclass(frozen=True)
class LinearDecay(LearningRateSchedule):
    """Constant, then falling to 0 in a straight line (Appendix A.2.1).

    Attributes
    ----------
    decay_start
        Share of the epochs after which the rate falls and beta1 becomes 0.1.
    """

    learning_rate: float = 1e-3
    decay_start: float = 0.4

    @property
    def first_decay_epoch(self) -> int:
        """First epoch (from 0) of the fall; the rate is still full in it."""
        return round(self.decay_start * self.epochs)

    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0."""
        start = self.first_decay_epoch
        if epoch < start:
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch) / max(1, self.epochs - start)

    def beta1(self, epoch: int) -> float:
        """Decay of the first moment in an epoch, counted from 0."""
        return BETA1_EARLY if epoch < self.first_decay_epoch else BETA1_LATE


@dataclass(frozen=True)
class StepDecay(LearningRateSchedule):
    """A tenth after half of the epochs, a hundredth after three quarters (Appendix A.2.4: SGD)."""

    learning_rate: float = 0.1

    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0."""
        passed = (2 * epoch >= self.epochs) + (4 * epoch >= 3 * self.epochs)
        return self.learning_rate * (1.0, 0.1, 0.01)[passed]


@dataclass(frozen=True)
class ConstantRate(LearningRateSchedule):
    """The same rate in every epoch (Appendix A.2.4: RMSProp)."""

    learning_rate: float = 0.01

    def rate(self, epoch: int) -> float:
        """Learning rate, the same in every epoch."""
        return self.learning_rate


def make_learning_rate_schedule(
    optimizer: str, epochs: int, learning_rate: float | None, decay_start: float
) -> LearningRateSchedule:
    """Return the paper's for an optimiser, from another learning rate if one is given.

    Parameters
    ----------
    optimizer
        ``"adam"``, ``"sgd"`` or ``"rmsprop"``.
    epochs
        Epochs of the training, T.
    learning_rate
        Rate at the start; None takes the paper's.
    decay_start
        See `LinearDecay`; only Adam's has one.
    """
    if optimizer == "sgd":
        return StepDecay(epochs) if learning_rate is None else StepDecay(epochs, learning_rate)
    if optimizer == "rmsprop":
        return (
            ConstantRate(epochs) if learning_rate is None else ConstantRate(epochs, learning_rate)
        )
    return LinearDecay(epochs, 1e-3 if learning_rate is None else learning_rate, decay_start)
