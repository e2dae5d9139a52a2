"""``s2e predict``: the classes of new samples, as a table."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from s2e_optuna.commands.requests import PredictRequest
from s2e_optuna.errors import InputError
from s2e_optuna.writable import check_writable, whole_file

if TYPE_CHECKING:
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.training.model import Model, Predictions

_MOST_CLASSES = 10
"""Classes that are counted in the line about a file."""


def run_prediction(request: PredictRequest, display: ProgressDisplay) -> tuple[Model, Predictions]:
    """Load the model, read the samples and predict them.

    Raises
    ------
    InputError
        The output cannot be written.
    s2e_optuna.errors.DataError
        The model cannot be loaded, or the samples are not like those that it was trained on.
    """
    from s2e_optuna.data.new_samples import new_samples
    from s2e_optuna.training import load_model
    from s2e_optuna.training.model import predict_samples

    check_out(request.out)
    model = load_model(request.model, request.factory, request.features)
    samples = new_samples(request.data)
    for sentence in samples.words:
        display.note(sentence)
    found = predict_samples(
        model,
        samples,
        device=request.device,
        skip_broken=request.skip_broken,
        progress=display.reading,
    )
    for sentence in found.words:
        display.note(sentence)
    return model, found


def check_out(path: Path | None) -> None:
    """Raise an error, before any work, if predictions cannot be written to ``path``."""
    if path is None:
        return
    if path.suffix.lower() not in (".csv", ".parquet") or path.is_dir():
        raise InputError(f"{path} is no .csv or .parquet file: --out names one.")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"{path} needs pyarrow, which is not installed: name a .csv file, or install "
            "s2e-optuna[parquet]."
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder {path.absolute().parent} does not exist: make it first.")
    check_writable(path)


def write_predictions(
    model: Model, found: Predictions, out: Path | None, *, probabilities: bool
) -> None:
    """Write a row for each sample: id, class, its probability; and perhaps those of all classes.

    Parameters
    ----------
    model
        What has predicted.
    found
        What it says.
    out
        ``.csv`` or ``.parquet``; None writes CSV to standard output.
    probabilities
        Whether each class gets a column, ``probability_NAME``.
    """
    if out is None:
        _write_csv(sys.stdout, model, found, probabilities)
    elif out.suffix.lower() == ".parquet":
        with whole_file(out) as place:
            _write_parquet(place, model, found, probabilities)
    else:
        with whole_file(out) as place, place.open("w", newline="", encoding="utf-8") as file:
            _write_csv(file, model, found, probabilities)


def written_words(model: Model, found: Predictions, out: Path) -> str:
    """Say what was written: how many samples of which class."""
    counts = Counter(found.probabilities.argmax(axis=1).tolist())
    shown = [f"{model.class_names[i]} {n:,}" for i, n in counts.most_common(_MOST_CLASSES)]
    more = ", …" if len(counts) > _MOST_CLASSES else ""
    return f"Wrote {out}: {len(found.ids):,} predictions ({', '.join(shown)}{more})"


def _header(model: Model, probabilities: bool) -> list[str]:
    every = [f"probability_{name}" for name in model.class_names] if probabilities else []
    return ["id", "predicted_label", "probability", *every]


def _write_csv(file: IO[str], model: Model, found: Predictions, probabilities: bool) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_header(model, probabilities))
    for sample, row in _rows(found):
        best = int(row.argmax())
        every = [f"{p:.6f}" for p in row] if probabilities else []
        writer.writerow([sample, model.class_names[best], f"{row[best]:.6f}", *every])


def _rows(found: Predictions) -> Iterator[tuple[str, Any]]:
    yield from zip(found.ids, found.probabilities, strict=True)


def _write_parquet(place: Path, model: Model, found: Predictions, probabilities: bool) -> None:
    import pyarrow
    from pyarrow import parquet

    best = found.probabilities.argmax(axis=1)
    columns = [
        pyarrow.array(found.ids, pyarrow.string()),
        pyarrow.array([model.class_names[i] for i in best], pyarrow.string()),
        pyarrow.array(found.probabilities.max(axis=1)),
        *([pyarrow.array(column) for column in found.probabilities.T] if probabilities else []),
    ]
    parquet.write_table(pyarrow.table(columns, names=_header(model, probabilities)), place)
