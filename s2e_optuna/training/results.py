"""What a training is told and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from s2e_optuna.data.augmentation import Augment, check_augment
from s2e_optuna.errors import DataError, unknown_name
from s2e_optuna.training.learning_rates import LearningRateSchedule, make_learning_rate_schedule
from s2e_optuna.training.model import Model
from s2e_optuna.training.networks import NetworkFactory
from s2e_optuna.training.optimizer import OPTIMIZERS

PRECISIONS = ("float32", "bfloat16")


def default_batch_size(n_samples: int) -> int:
    """Choose the batch size for so many training samples: 128, or less for small data.

    Schedules count in epochs, and drop samples from the first ones on. That presumes that a
    network has seen something by then: with few steps an epoch whole classes are dropped before
    they are learnt. So an epoch has at least 60 steps, or as many as batches of 16 give.
    """
    return next((size for size in (128, 64, 32) if n_samples >= 60 * size), min(16, n_samples))


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults are the common setting of the method comparisons.

    Attributes
    ----------
    epochs
        Number of epochs T; every schedule has T rates.
    network
        A name in `NETWORKS`, ``"auto"``, ``"package.module:function"``, or a function of your
        own that builds a `torch.nn.Module`; see `make_network`.
    execution
        How the models of a stack are run, one of `EXECUTIONS`; ``"auto"`` takes what was
        fastest when measured.
    batch_size
        Samples a step, B; the rest of an epoch that fills no batch is left out. None takes
        `default_batch_size`.
    optimizer
        ``"adam"``, ``"sgd"`` or ``"rmsprop"``.
    learning_rate
        Rate at the start; None takes the paper's: 1e-3, 0.1 and 0.01.
    decay_start
        See `LinearDecay`. SGD's rate falls to a tenth after half of the epochs and to a hundredth
        after three quarters; RMSProp's is constant.
    seed
        All randomness of the training: initial weights and order of the samples.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    evaluate_every
        Measure validation and test every so many epochs, and always after the last one.
    keep_probabilities
        Keep each training sample's class probabilities in the result.
    precision
        ``"float32"``, or ``"bfloat16"`` for the networks' products and convolutions. Losses are
        float32 either way, but with bfloat16 the ranking of samples comes out differently. On
        CUDA ``"float32"`` is what PyTorch is set to, which is the process's affair: by default
        products are float32, but convolutions round their inputs to TensorFloat-32 (ten bits of
        mantissa). ``torch.backends.cudnn.conv.fp32_precision = "ieee"`` before a training makes
        them float32.
    augment
        Random changes to the images of training batches, on the device: ``"none"``, as in the
        paper; ``"crop_flip"``, shifts by up to an eighth of the sides and horizontal flips; or a
        function of one image [channels, height, width], for example a transform of
        ``torchvision.transforms.v2``, which is called for each image with torch's generator
        seeded by `seed`, epoch and step. Evaluation and predictions see images as they are.
    cuda_graph
        Record a step once and replay it, on CUDA. None does so for all but a user's own
        networks, which may do what cannot be recorded. True is an error on the CPU, and for
        networks whose modules draw random numbers themselves.
    """

    epochs: int = 200
    network: str | NetworkFactory = "auto"
    execution: str = "auto"
    batch_size: int | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    decay_start: float = 0.4
    seed: int = 0
    device: str = "auto"
    evaluate_every: int = 1
    keep_probabilities: bool = False
    precision: str = "float32"
    cuda_graph: bool | None = None
    augment: str | Augment = "none"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"{name} {value} is out of range: choose 1 or more")
        if self.learning_rate is not None and not 0.0 < self.learning_rate < float("inf"):
            raise DataError(f"learning_rate {self.learning_rate} is out of range: choose > 0")
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        check_augment(self.augment)
        if not 0.0 <= self.decay_start <= 1.0:
            raise DataError(f"decay_start {self.decay_start} is out of range: choose 0 to 1")
        if self.seed < 0:
            raise DataError(f"seed {self.seed} is out of range: choose 0 or more")

    @property
    def learning_rate_schedule(self) -> LearningRateSchedule:
        """Learning rate and beta1 by epoch."""
        return make_learning_rate_schedule(
            self.optimizer, self.epochs, self.learning_rate, self.decay_start
        )

    @property
    def last_epochs(self) -> int:
        """Epochs at the end in which it is counted how often each sample is kept."""
        return min(self.epochs, max(5, -(-self.epochs // 10)))


@dataclass(frozen=True)
class EpochReport:
    """One trial after one epoch; accuracies and losses are means over the trial's networks.

    Attributes
    ----------
    trial
        Position in the list of schedules.
    epoch
        From 0, as in ``rates[epoch]``.
    validation_accuracy, validation_loss
        On the validation part; NaN in epochs without an evaluation.
    test_accuracy
        On the test part; only to be reported, never to choose anything. NaN without one.
    training_accuracy, training_loss
        On the given labels, from the forward passes of the training, over all samples.
    label_precision
        Share of clean samples among the kept; NaN where the truth is unknown.
    kept_share
        Share of samples that were kept.
    """

    trial: int
    epoch: int
    validation_accuracy: float
    validation_loss: float
    test_accuracy: float
    training_accuracy: float
    training_loss: float
    label_precision: float
    kept_share: float


CURVES = (
    "validation_accuracy",
    "validation_loss",
    "test_accuracy",
    "training_accuracy",
    "training_loss",
    "label_precision",
    "kept_share",
)
"""Names of the numbers measured each epoch, in `EpochReport` and in `TrainResult`."""

Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """One finished, stopped or failed trial.

    Attributes
    ----------
    method, seed
        What was run.
    rates
        R(t) as given, float64 [T].
    status
        ``"complete"``, ``"stopped"`` (by `on_epoch`) or ``"failed"``.
    failure
        What went wrong and in which epoch, or None.
    validation_accuracy, ..., kept_share
        One number an epoch that was run; see `EpochReport`.
    model
        The networks as they were at the end; None when the trial failed.
    kept_counts
        How often each training sample was kept in the last epochs (a tenth of all, at least
        5), summed over the networks, int64 [N].
    offered_counts
        How often it could have been kept, int64 [N].
    training_probabilities
        Class probabilities of the training samples, averaged over the networks, float32 [N, C];
        None unless they were asked for and the trial is complete.
    seconds
        Wall-clock time; epochs of a stack are shared out evenly among its trials.
    """

    method: str
    seed: int
    rates: NDArray[np.float64]
    status: str
    failure: str | None
    validation_accuracy: Curve
    validation_loss: Curve
    test_accuracy: Curve
    training_accuracy: Curve
    training_loss: Curve
    label_precision: Curve
    kept_share: Curve
    model: Model | None
    kept_counts: NDArray[np.int64]
    offered_counts: NDArray[np.int64]
    training_probabilities: NDArray[np.float32] | None = field(default=None, repr=False)
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs that were run."""
        return len(self.kept_share)


def curves_of(reports: Sequence[EpochReport]) -> dict[str, Curve]:
    """Turn a trial's reports into one array for each measured number."""
    return {name: np.array([getattr(r, name) for r in reports], dtype=float) for name in CURVES}
