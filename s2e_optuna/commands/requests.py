"""What commands are asked that are no search. Imports no torch, no NumPy."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path

from s2e_optuna.data.spec import DATA_SETS, DataSpec
from s2e_optuna.errors import InputError
from s2e_optuna.options import DATA_PANEL, OUTPUT_PANEL, TRAINING_PANEL, option
from s2e_optuna.training.config import TrainConfig

METHODS = {
    "standard": "plain cross-entropy on everything",
    "decoupling": "two networks train where they disagree (Malach, 2017)",
    "f_correction": "corrects the loss by estimated mistakes (Patrini, 2017)",
    "mentornet": "one network, its own smallest losses (Jiang, 2018)",
    "coteaching": "two networks, each other's smallest losses (Han, 2018)",
    "coteaching_plus": "Co-teaching where the two disagree (Yu, 2019)",
    "reweight": "weighs samples by their use for clean ones (Ren, 2018)",
    "comining": "Co-teaching, weighted by both losses (Wang, 2019)",
}
"""Methods and what they do, in a few words; a test compares the names."""


@dataclass(frozen=True)
class TrainRequest:
    """What to train.

    Attributes
    ----------
    data, training
        On what, and how. Without a schedule there is a noise rate for Co-teaching's own.
    schedule
        File with a schedule, or None.
    keep_rate
        Share of a batch to keep in the end, in place of a schedule; or None.
    method
        A name in `s2e_optuna.training.METHODS`.
    epochs
        Whether epochs were asked for: those of a schedule are its own.
    seeds
        Trainings, each with a seed of its own.
    folds
        Folds of a cross-validation for the list of suspects; 0 leaves it out.
    posterior
        Whether to train also on the posterior over true labels.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    data: DataSpec = field(default_factory=DataSpec)
    training: TrainConfig = field(default_factory=TrainConfig)
    schedule: Path | None = option(
        None,
        "Schedule to train with, as s2e search writes it.",
        panel=TRAINING_PANEL,
        metavar="FILE",
    )
    keep_rate: float | None = option(
        None,
        "Share of a batch to learn from in the end, for data whose noise rate is not known: "
        "falls from 1 to this share in ten epochs.",
        panel=TRAINING_PANEL,
        metavar="SHARE",
    )
    method: str = option(
        "coteaching",
        "One of the methods above. Options follow the name: decoupling:warm_up=10.",
        panel=TRAINING_PANEL,
        choices=tuple(METHODS),
        metavar="NAME",
    )
    epochs: int | None = option(
        None,
        f"Epochs; default: as many as the schedule has, else {TrainConfig.epochs}.",
        panel=TRAINING_PANEL,
        metavar="T",
    )
    seeds: int = option(3, "Train with that many seeds.", metavar="N")
    folds: int = option(
        0,
        "Folds of a cross-validation for the list of suspects, as many trainings more; 0 "
        "leaves it out.",
        metavar="N",
    )
    posterior: bool = option(
        False,
        "Train also on what the true labels probably are, and on the clean part, as a search does "
        "in the end; the model that is kept is the best by validation. Needs --folds.",
    )

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"`seeds` must be at least 1, but is {self.seeds}.")
        if self.folds < 0 or self.folds == 1:
            raise InputError(f"`folds` must be 0 or at least 2, but is {self.folds}.")
        if self.posterior and not self.folds:
            raise InputError("`posterior` needs a cross-validation: give `folds`, 5 will do.")


@dataclass(frozen=True)
class JudgedData(DataSpec):
    """Where a list of suspects comes from: a folder with one, or data that a model judges."""

    data: str = option(
        MISSING,
        "Folder that s2e search or s2e train has written, its suspects.csv, or, with "
        "--model, a data set.",
        argument=True,
        metavar="FOLDER",
    )


@dataclass(frozen=True)
class ListedData(DataSpec):
    """What a list of suspects is about, where no search or training beside it says so."""

    data: str = option(
        factory=str,  # empty: nobody says
        help="What the list is about; default: what the search or training in its folder has "
        "read, with its options.",
        panel=DATA_PANEL,
        metavar="DATA",
    )
    checked: None = option(None, stored=False)


@dataclass(frozen=True)
class CheckedData(DataSpec):
    """Data of which a person checks a few labels: as a search takes them, without answers yet."""

    checked: None = option(None, stored=False)


@dataclass(frozen=True)
class PredictRequest:
    """What to predict, and where to.

    Attributes
    ----------
    model
        Folder with a model, or its file.
    data
        Samples, labelled or not.
    out
        File to write; None prints.
    probabilities
        Whether each class gets a column.
    skip_broken
        Leave out images that cannot be read.
    factory
        Name of the function that builds a network of the user's own.
    features
        Name of the function that makes a feature network of the user's own.
    device
        Where to compute.
    """

    model: Path = option(
        MISSING,
        "Folder that s2e search or s2e train has written (--out), or its model.safetensors.",
        argument=True,
        metavar="MODEL",
    )
    data: str = option(
        MISSING,
        "Samples, labelled or not: a folder of images, one image, an .npz file, a table or the "
        "name of a data set. Labels are not looked at.",
        argument=True,
        choices=DATA_SETS,
        metavar="DATA",
    )
    out: Path | None = option(
        None,
        "Write to this file (.csv, or .parquet with pyarrow installed); default: print CSV.",
        panel=OUTPUT_PANEL,
        metavar="FILE",
    )
    probabilities: bool = option(
        False, "Also write the probability of each class.", panel=OUTPUT_PANEL
    )
    skip_broken: bool = option(
        False, "Leave out images that cannot be read, and say so.", panel=DATA_PANEL
    )
    factory: str | None = option(
        None,
        "Name the network again where it is one of your own, package.module:function: its code "
        "is run.",
        panel=DATA_PANEL,
        flag="network",
        metavar="NAME",
    )
    features: str | None = option(
        None,
        "Name the features again where their network is one of your own, package.module:function: "
        "its code is run.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda or cuda:N.",
        panel=TRAINING_PANEL,
        choices=("auto", "cpu", "cuda"),
        metavar="NAME",
    )
