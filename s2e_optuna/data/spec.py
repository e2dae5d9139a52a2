"""What data a run is about: one frozen value, carried whole. Imports neither torch nor NumPy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from s2e_optuna.errors import DataError, check_integer, unknown_name
from s2e_optuna.options import DATA_PANEL, option, settings, stored_values

if TYPE_CHECKING:
    from s2e_optuna.data.checked import Checked
    from s2e_optuna.data.encoder import Encoder
    from s2e_optuna.data.noise import Noise
    from s2e_optuna.data.noisy_data import NoisyData
    from s2e_optuna.data.pretrained_vectors import Extract
    from s2e_optuna.data.sources import InMemory
else:  # evaluated where the command line is made of these types; torch would be imported for them
    Checked = InMemory = Noise = Any

TORCHVISION_SETS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
"""Names of data sets that torchvision downloads, and its classes for them."""

FEATURES = ("resnet18", "resnet50", "efficientnet_v2_s", "convnext_tiny", "vit_b_16")
"""Some of the networks whose features may stand for images, for completion in the shell."""

ROLE_COLUMNS = ("path_column", "label_column", "clean_column", "split_column", "text_column")
"""Fields of `DataSpec` that name columns of a table by what these are."""

TIMM = "timm:"
"""Begins the names of timm's networks."""

SENTENCES = "sentence-transformers:"
"""Begins the names of networks whose features stand for texts."""

WORDS = "words"
"""Name of the features of texts that need no network: hashed words and pairs of words."""

DATA_SETS = ("digits", *TORCHVISION_SETS)
"""Names that `load_data` knows, besides paths."""

NOISE_KINDS = ("symmetric", "pair", "instance")
"""Kinds of label noise that need a rate."""

MATRIX_FILES = (".csv", ".txt", ".npy")
"""Endings of files with a transition matrix."""

VALIDATION_PARTS = ("auto", "clean", "noisy")


def is_own(features: str) -> bool:
    """Whether features are made by a user's function."""
    return ":" in features and not features.startswith((TIMM, SENTENCES))


def is_matrix_file(noise: Any) -> bool:
    """Whether noise is the name of a file with a transition matrix."""
    return isinstance(noise, str | Path) and Path(noise).suffix.lower() in MATRIX_FILES


def check_noise_kind(kind: str) -> None:
    """Refuse label noise of an unknown kind (`DataError`)."""
    if kind not in NOISE_KINDS:
        error = unknown_name("noise", kind, NOISE_KINDS)
        raise DataError(f"{error}, or give a file with a transition matrix (.csv, .txt, .npy)")


@dataclass(frozen=True)
class DataSpec:
    """Which data, whose labels, and what is done to them; see `load_data` for each.

    Attributes
    ----------
    data
        Name or path; in memory, a pair (images, labels) or a torch ``Dataset`` of such pairs.
    noise, noise_rate
        Label noise to add: ``"symmetric"``, ``"pair"`` or ``"instance"`` and its rate, or a file
        with a transition matrix, or the matrix; None adds none.
    validation
        ``"auto"``, ``"clean"`` or ``"noisy"``.
    train_size
        Use only that many training samples.
    labels, path_column, label_column, clean_column, split_column
        A table of labels and its columns.
    val_labels, test_labels
        Tables with the labels of validation and test samples.
    checked
        Labels of validation samples that somebody has checked: a file, or samples and labels.
    label_from_name
        Pattern by which labels are read from file names.
    drop_columns
        Columns of a table of features that are left out.
    text_column
        Column of a table with the texts that are learnt from.
    features
        A pretrained network whose features stand for the images, or for the texts of a table.
    views
        1, or 2 for the mean of the features of an image and of its mirror image.
    components
        Principal components that features, or vectors in arrays, are reduced to; None decides by
        their number, 0 keeps all.
    skip_broken
        Leave out images that cannot be read.
    image_size
        Height and width of the images of a folder.
    data_root
        Folder for downloads and decoded images.
    seed
        Seed of the noise.

    Raises
    ------
    DataError
        If a value is out of range, or two do not go together.
    """

    data: str | Path | InMemory = option(
        "digits",
        "digits, mnist, fashion_mnist, kmnist, cifar10, cifar100; an .npz file with the "
        "arrays x_train, y_train and, if there are, x_val, y_val, x_test, y_test; a table (.csv, "
        ".tsv, .parquet) of numbers and categories, or of texts; or a folder of images, "
        "train/CLASS/* and, if there are, val and test.",
        argument=True,
        choices=DATA_SETS,
        metavar="DATA",
    )
    noise: str | Noise | None = option(
        None,
        "Put wrong labels on the training part: symmetric, pair, instance, or a file with a "
        "transition matrix (.csv, .txt, .npy).",
        panel=DATA_PANEL,
        choices=NOISE_KINDS,
        metavar="KIND",
    )
    noise_rate: float | None = option(
        None, "Share of wrong labels.", panel=DATA_PANEL, metavar="SHARE"
    )
    train_size: int | None = option(
        None, "Use only that many training samples.", panel=DATA_PANEL, metavar="N"
    )
    validation: str = option(
        "auto",
        "What schedules are compared on. clean: the validation part or, without one, half of "
        "the test part; their labels must be right. noisy: a part of the training data. auto: "
        "clean if there is such a part.",
        panel=DATA_PANEL,
        choices=VALIDATION_PARTS,
        metavar="PART",
    )
    labels: Path | str | None = option(
        None,
        "Take the training labels from this table (.csv, .tsv, .txt, also .gz), from a file that "
        "--save-labels wrote or one of CIFAR-N (.pt, .npy). Samples that it does not list are "
        "left out.",
        panel=DATA_PANEL,
        metavar="FILE",
    )
    path_column: str | None = option(
        None,
        "Its column with paths or ids; default: the one whose values name the samples; without "
        "one the order tells.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    label_column: str | None = option(
        None,
        "Its column with labels; default: label, given, class and the like, or the only one left.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    clean_column: str | None = option(
        None,
        "Its column with the true labels, for reports; where half of the rows or fewer have one, "
        "these validate, and very few count as with --checked; default: clean, clean_label or "
        "true_label, if it exists.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    split_column: str | None = option(
        None,
        "Its column that says which part a row belongs to (train, val, test; or whether it "
        "validates); default: one whose values say so.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    val_labels: Path | str | None = option(
        None,
        "Table with the right labels of validation samples, which are then not trained on.",
        panel=DATA_PANEL,
        metavar="FILE",
    )
    test_labels: Path | str | None = option(
        None,
        "Table with the right labels of test samples, which are then not trained on.",
        panel=DATA_PANEL,
        metavar="FILE",
    )
    checked: Path | str | Checked | None = option(
        None,
        "Table with the columns id and label: samples of a noisy validation part that somebody "
        "has checked, with their right labels; begin with twenty, drawn at random.",
        panel=DATA_PANEL,
        metavar="FILE",
    )
    drop_columns: tuple[str, ...] | None = option(
        None,
        "Leave this column of a table of numbers and categories out; may be repeated.",
        panel=DATA_PANEL,
        metavar="NAME",
        flag="drop-column",
        parse=tuple,
    )
    text_column: str | None = option(
        None,
        "Learn from the texts in this column of a table, by --features; default with features of "
        "texts: text, sentence, review and the like, or the only column of texts.",
        panel=DATA_PANEL,
        metavar="NAME",
    )
    features: str | None = option(
        None,
        "Learn from the features of a pretrained network in place of the images: a classifier of "
        "torchvision such as efficientnet_v2_s, timm:NAME, or package.module:function of your "
        "own; in place of texts: sentence-transformers:NAME, words (hashed, without a network), "
        "or a function of your own. They are computed once and kept.",
        panel=DATA_PANEL,
        choices=FEATURES,
        metavar="NAME",
    )
    views: int = option(
        1,
        "2: the mean of the features of an image and of its mirror image.",
        panel=DATA_PANEL,
        metavar="N",
    )
    components: int | None = option(
        None,
        "Reduce features, or rows of numbers in arrays, to N principal components; 0 keeps all; "
        "default: 256 if there are more than 512.",
        panel=DATA_PANEL,
        metavar="N",
        adopted=True,
        before=0,
    )
    label_from_name: str | None = option(
        None,
        'Take labels from the names of files: auto, or a pattern such as "{label}_*".',
        panel=DATA_PANEL,
        metavar="PATTERN",
    )
    skip_broken: bool = option(
        False, "Leave out images that cannot be read, and say so.", panel=DATA_PANEL
    )
    image_size: int | None = option(
        None,
        "Resize the images of a folder to N x N; default: 64 for large ones, such as photographs. "
        "With --features: the size of the images that the network gets; default: its own.",
        panel=DATA_PANEL,
        least=1,
        metavar="N",
    )
    data_root: Path | str | None = option(
        None,
        "Folder for downloads, decoded images and features; default: the user's cache.",
        panel=DATA_PANEL,
        metavar="FOLDER",
        stored=False,
    )
    seed: int = option(0, "Seed of everything random.", metavar="N")

    def __post_init__(self) -> None:
        for name in ("train_size", "image_size"):
            value = getattr(self, name)
            if value is not None:
                check_integer(name, value, 1)
        check_integer("seed", self.seed, 0)
        if self.components is not None:
            check_integer("components", self.components, 0)
        if self.views not in (1, 2):
            raise DataError(f"`views` must be 1 or 2, but is {self.views!r}.")
        if self.features is None and self.views != 1:
            raise DataError("`views` is about `features`: name a network, or leave it out.")
        if self.features is None and self.text_column is not None:
            raise DataError(
                "`text_column` is about `features`: name what makes vectors of texts, such as "
                "sentence-transformers:NAME or words, or leave it out."
            )
        if not isinstance(self.noise, str) or is_matrix_file(self.noise):
            if self.noise is not None and self.noise_rate is not None:
                words = self.noise if isinstance(self.noise, str) else "a transition matrix"
                raise DataError(f"{words} has its rates in itself: leave `noise_rate` out.")
        elif self.noise_rate is None:
            check_noise_kind(self.noise)
            raise DataError(f"noise {self.noise} needs a `noise_rate`, for example 0.4.")
        if self.noise_rate is not None and not (0.0 <= self.noise_rate < 1.0):
            raise DataError(f"`noise_rate` must be in [0, 1), but is {self.noise_rate}.")

    @property
    def is_named(self) -> bool:
        """Whether it is a data set that is known by its name, and not a path."""
        return isinstance(self.data, str) and self.data in DATA_SETS

    @property
    def label(self) -> str:
        """A short name for the data with their labels, as studies are called."""
        name = str(self.data) if self.is_named else Path(str(self.data)).resolve().stem
        if self.noise is not None:
            rate = "" if self.noise_rate is None else f"-{self.noise_rate:g}"
            return f"{name}-{Path(str(self.noise)).stem}{rate}"
        if self.labels is not None:
            return f"{name}-{self.label_column or Path(self.labels).name.split('.')[0]}"
        return name

    def of_images(self) -> Self:
        """Return the same data without features of a network, all columns: what people look at."""
        name = self.features or ""
        if self.text_column is not None or name == WORDS or name.startswith(SENTENCES):
            return replace(self, features=WORDS, views=1, components=0)
        return replace(self, features=None, views=1, components=0)

    def settings(self) -> dict[str, Any]:
        """Return what decides about a trial's result, as it is stored: paths in full."""
        return {
            **settings(self),
            "data": self.data if self.is_named else str(Path(str(self.data)).resolve()),
            "noise": _resolved(str(self.noise)) if is_matrix_file(self.noise) else self.noise,
            **{
                name: _resolved(getattr(self, name))
                for name in ("labels", "val_labels", "test_labels")
            },
            "checked": _stored_checked(self.checked),
            "drop_columns": None if not self.drop_columns else list(self.drop_columns),
            "contents": _digest(self.noise if self.labels is None else self.labels),
        }

    @classmethod
    def from_settings(cls, stored: Mapping[str, Any]) -> DataSpec:
        """Make it again of what `settings` returned, or an earlier version's.

        Parameters
        ----------
        stored
            Values by name; what is missing was not there yet, and is at its `Option.before`.
        """
        found = stored_values(cls, stored)
        found["drop_columns"] = found["drop_columns"] and tuple(found["drop_columns"])
        return cls(**found, data_root=stored.get("data_root"))

    def load(
        self,
        progress: Callable[[int, int], None] | None = None,
        size: tuple[int, int] | None = None,
        encoder: Encoder | None = None,
        device: str = "auto",
        extract: Extract | None = None,
    ) -> NoisyData:
        """Load the data.

        Parameters
        ----------
        progress
            Told how many images have been decoded, and how many there are.
        size
            Height and width of the images of a folder where `image_size` says none.
        encoder
            That of a model, see `load_data`.
        device
            Where features are computed.
        extract
            Computes features of files, in place of this process.

        Raises
        ------
        DataError
            What `load_data` refuses.
        """
        from s2e_optuna.data.sources import load_data

        options = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "data"}
        options["image_size"] = size if self.image_size is None else self.image_size
        return load_data(
            self.data,
            progress=progress,
            encoder=encoder,
            device=device,
            extract=extract,
            **options,
        )


def _resolved(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().resolve())


def _stored_checked(checked: Checked | None) -> Any:
    """Return what is stored of checked labels: the file's path, or all of them as texts."""
    if checked is None or isinstance(checked, str | Path):
        return _resolved(checked)
    from s2e_optuna.data.checked import as_pairs

    return dict(as_pairs(checked))


def _digest(file: object) -> str | None:
    """Digest of a file's contents: trials on other labels do not belong into the same study."""
    if not isinstance(file, str | Path) or not Path(file).expanduser().is_file():
        return None  # no file; where it should be one, loading the data says so
    return hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()[:16]


DATA_OPTIONS = tuple(one.name for one in fields(DataSpec) if one.name not in ("data", "seed"))
"""Options of `load_data`, by name."""
