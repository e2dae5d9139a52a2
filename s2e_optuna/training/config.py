"""How a training goes: one frozen value, carried whole. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2e_optuna.errors import DataError, check_integer, unknown_name
from s2e_optuna.metrics import METRICS
from s2e_optuna.options import TRAINING_PANEL, option, settings, stored_values
from s2e_optuna.training.learning_rates import LearningRateSchedule, make_learning_rate_schedule

if TYPE_CHECKING:
    from s2e_optuna.data.augmentation import Augment
    from s2e_optuna.training.networks import NetworkFactory
else:  # evaluated where the command line is made of these types; torch would be imported for them
    Augment = NetworkFactory = Callable[..., Any]

# Names of what is implemented elsewhere, by modules that import torch; a test compares them.
NETWORK_NAMES = (
    *("auto", "mlp", "cnn1", "cnn2", "cnn3", "resnet18", "resnet50", "densenet121"),
    *("resnet18-pretrained", "resnet50-pretrained", "densenet121-pretrained"),
)
OPTIMIZER_NAMES = ("adam", "sgd", "rmsprop")
AUGMENTATION_NAMES = ("none", "crop_flip")
PRECISIONS = ("float32", "bfloat16")
STOPS = ("best", "last")


def default_batch_size(n_samples: int) -> int:
    """Choose the batch size for so many training samples: 128, or less for small data.

    Schedules count in epochs, and drop samples from the first ones on. That presumes that a
    network has seen something by then: with few steps an epoch whole classes are dropped before
    they are learnt. So an epoch has at least 60 steps, or as many as batches of 16 give.
    """
    return next((size for size in (128, 64, 32) if n_samples >= 60 * size), min(16, n_samples))


@dataclass(frozen=True)
class TrainConfig:
    """How to train, carried whole from whoever asks to the trainer.

    Attributes
    ----------
    epochs
        Number of epochs T; every schedule has T rates. The paper's is 200.
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
    weight_decay
        What of each weight is added to its gradient, as in `torch.optim`: an L2 penalty.
    decay_start
        See `LinearDecay`. SGD's rate falls to a tenth after half of the epochs and to a hundredth
        after three quarters; RMSProp's is constant.
    seed
        All randomness of the training: initial weights and order of the samples.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    stop
        ``"best"``: the model that is handed back is that of the epoch with the best validation
        accuracy. ``"last"``: that of the last one.
    metric
        What stands for accuracy where trainings are stopped and compared, see
        `s2e_optuna.metrics`: ``"accuracy"``, or ``"balanced_accuracy"`` or ``"macro_f1"``, in
        which all classes count alike.
    evaluate_every
        Measure validation and test every so many epochs, and always after the last one.
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

    Raises
    ------
    DataError
        If a value is unknown or out of range.
    """

    epochs: int = option(60, "Epochs of a training.", panel=TRAINING_PANEL, metavar="T")
    network: str | NetworkFactory = option(
        "auto",
        "auto picks by input size; resnet18-pretrained and others begin with trained weights; "
        "package.module:function is your own; an unknown name lists all.",
        panel=TRAINING_PANEL,
        choices=NETWORK_NAMES,
        metavar="NAME",
    )
    batch_size: int | None = option(
        None,
        "Samples a step; default: 128, less where there are few samples.",
        panel=TRAINING_PANEL,
        metavar="N",
    )
    optimizer: str = option(
        "adam",
        "adam, sgd or rmsprop, each with the paper's learning rates.",
        panel=TRAINING_PANEL,
        choices=OPTIMIZER_NAMES,
        metavar="NAME",
    )
    learning_rate: float | None = option(
        None,
        "Learning rate at the start; default: the paper's: 0.001, 0.1 and 0.01.",
        panel=TRAINING_PANEL,
        metavar="RATE",
    )
    weight_decay: float = option(
        0.0,
        "Weight decay: this share of each weight is added to its gradient, as in torch.optim.",
        panel=TRAINING_PANEL,
        metavar="SHARE",
    )
    decay_start: float = option(
        0.4,
        "Share of the epochs after which adam's rate falls, in a straight line to 0.",
        panel=TRAINING_PANEL,
        metavar="SHARE",
    )
    precision: str = option(
        "float32",
        "float32, or bfloat16 for products and convolutions: faster, other rankings of samples.",
        panel=TRAINING_PANEL,
        choices=PRECISIONS,
        metavar="NAME",
    )
    augment: str | Augment = option(
        "none",
        "Random changes to the images of training batches: none, or crop_flip (shifts by an "
        "eighth of the sides and horizontal flips).",
        panel=TRAINING_PANEL,
        choices=AUGMENTATION_NAMES,
        metavar="NAME",
    )
    stop: str = option(
        "best",
        "Which model of a training is kept and what it is worth: best, that of the epoch with the "
        "best validation accuracy; last, that of the last epochs, as in the paper.",
        panel=TRAINING_PANEL,
        choices=STOPS,
        metavar="NAME",
        before="last",
        adopted=True,
    )
    metric: str = option(
        "accuracy",
        "What schedules are compared on and trainings stopped by: accuracy, balanced_accuracy "
        "(the mean of the classes' recalls) or macro_f1, for data in which few classes are large.",
        panel=TRAINING_PANEL,
        choices=METRICS,
        metavar="NAME",
    )
    evaluate_every: int = option(
        1,
        "Measure validation and test every so many epochs, and after the last one.",
        panel=TRAINING_PANEL,
        metavar="N",
    )
    execution: str = option(
        "auto",
        "How the networks of a stack are run: folded, unfold, vmap or loop; auto takes what "
        "was fastest when measured (s2e doctor --bench).",
        panel=TRAINING_PANEL,
        metavar="NAME",
        hidden=True,
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda or cuda:N; for a search several with commas: workers are spread over "
        "them.",
        panel=TRAINING_PANEL,
        choices=("auto", "cpu", "cuda"),
        metavar="NAME",
        stored=False,
    )
    cuda_graph: bool | None = option(
        None,
        "Record a step once and replay it, on CUDA; default: for all but your own networks.",
        panel=TRAINING_PANEL,
        stored=False,
    )
    seed: int = option(0, "Seed of everything random.", metavar="N")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            value = getattr(self, name)
            if value is not None:
                check_integer(name, value, 1)
        rate = self.learning_rate
        if rate is not None and not (rate > 0 and math.isfinite(rate)):
            raise DataError(f"`learning_rate` must be above 0, but is {rate}.")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise DataError(f"`weight_decay` must be 0 or more, but is {self.weight_decay}.")
        if self.optimizer not in OPTIMIZER_NAMES:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZER_NAMES)
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.stop not in STOPS:
            raise unknown_name("stop", self.stop, STOPS)
        if self.metric not in METRICS:
            raise unknown_name("metric", self.metric, METRICS)
        if isinstance(self.augment, str):
            if self.augment not in AUGMENTATION_NAMES:
                raise unknown_name("augmentation", self.augment, AUGMENTATION_NAMES)
        elif not callable(self.augment):
            raise DataError(
                f"`augment` {self.augment!r} is neither a name nor a function of an image"
            )
        if not 0.0 <= self.decay_start <= 1.0:
            raise DataError(f"`decay_start` {self.decay_start} is out of range: choose 0 to 1")
        check_integer("seed", self.seed, 0)

    @property
    def learning_rate_schedule(self) -> LearningRateSchedule:
        """Learning rate and beta1 by epoch."""
        return make_learning_rate_schedule(
            self.optimizer, self.epochs, self.learning_rate, self.decay_start
        )

    @property
    def last_epochs(self) -> int:
        """Epochs at the end in which it is counted how often each sample is kept."""
        from s2e_optuna.scores import last_epochs  # NumPy: half of the time of `s2e --help`

        return last_epochs(self.epochs)

    def settings(self) -> dict[str, Any]:
        """Return what decides about a trial's result, as it is stored with a study."""
        return {**settings(self), "learning_rate": self.learning_rate_schedule.learning_rate}

    @classmethod
    def from_settings(cls, stored: Mapping[str, Any], **others: Any) -> TrainConfig:
        """Make it again of what `settings` returned, or an earlier version's.

        Parameters
        ----------
        stored
            Values by name; what is missing was not there yet, and is at its `Option.before`.
        others
            Fields that are not stored, such as ``device``.
        """
        return cls(**stored_values(cls, stored), **others)
