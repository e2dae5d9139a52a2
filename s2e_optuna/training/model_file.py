"""Models in files: everything that was fitted travels with them, and nothing that runs code."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.errors import DataError
from s2e_optuna.stored_names import MODEL_FILE
from s2e_optuna.training.model import Model
from s2e_optuna.training.networks import NetworkFactory, Parameters, own_factory
from s2e_optuna.writable import whole_file

FORMAT = "s2e_optuna model 1"

_PREPARATION = "preparation."
"""Begins the names of the arrays of a model's `Preparation` in its file."""


def save_model(model: Model, path: str | Path) -> None:
    """Write a model to a safetensors file; its metadata say how to rebuild the network."""
    tensors = {
        f"{index}.{name}": tensor.contiguous()
        for index, state in enumerate(model.states)
        for name, tensor in state.items()
    }
    metadata = {
        "format": FORMAT,
        "network": model.network,
        "input_shape": json.dumps(list(model.input_shape)),
        "class_names": json.dumps(list(model.class_names)),
    }
    metadata["preparation"], arrays = model.preparation.stored()
    if model.encoder is not None:
        metadata["columns"] = model.encoder.stored()
    tensors |= {f"{_PREPARATION}{name}": array for name, array in arrays.items()}
    with whole_file(path) as place:
        # Bytes: a file that safetensors writes by itself can be read by nobody else (mode 600).
        place.write_bytes(save(tensors, metadata=metadata))


def load_model(path: str | Path, factory: NetworkFactory | str | None = None) -> Model:
    """Read a trained model, with everything that was fitted for it.

    Parameters
    ----------
    path
        A folder that a search or a training has written (``--out``), or its
        ``model.safetensors``.
    factory
        What builds the network of a model with a network of your own, or its name,
        ``"package.module:function"``. It has to be given: a file does not decide what code is
        imported.

    Returns
    -------
    Model
        With ``predict``, ``predict_proba`` and ``classes_``, as classifiers of scikit-learn have
        them.

    Raises
    ------
    DataError
        The file is missing, damaged, not such a model or one of a later version, or its network
        needs a `factory`.
    """
    place = Path(path).expanduser()
    if place.is_dir() and not (place / MODEL_FILE).exists():
        raise DataError(
            f"there is no {MODEL_FILE} in {place}: give a folder that s2e search or s2e train has "
            "written (--out), or the file itself"
        )
    place = place / MODEL_FILE if place.is_dir() else place
    metadata, tensors = _read(place)
    name = metadata.get("network", "")
    if ":" in name:  # a user's own, see network_name
        if factory is None or (isinstance(factory, str) and factory != name):
            raise DataError(
                f"the model in {place} has a network of its own, {name}: hand load_model the "
                "function that builds it, or its name, as `factory`"
            )
    elif isinstance(factory, str):
        raise DataError(
            f"the model in {place} has the network {name}, and not one of your own: leave "
            "`factory` out"
        )
    if isinstance(factory, str):
        factory = own_factory(factory)
    try:
        arrays = {
            name.removeprefix(_PREPARATION): tensors.pop(name)
            for name in list(tensors)
            if name.startswith(_PREPARATION)
        }
        states: dict[int, Parameters] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".", 1)
            states.setdefault(int(index), {})[name] = tensor
        channels, height, width = json.loads(metadata["input_shape"])
        model = Model(
            network=metadata["network"],
            input_shape=(channels, height, width),
            class_names=tuple(json.loads(metadata["class_names"])),
            states=tuple(states[index] for index in sorted(states)),
            factory=factory,
            preparation=Preparation.from_stored(metadata.get("preparation"), arrays),
            encoder=TableColumns.from_stored(metadata["columns"])
            if "columns" in metadata
            else None,
        )
        model.modules()  # every parameter is there and has its shape
    except KeyError as error:
        raise DataError(
            f"the model in {place} is not complete, for it lacks {error}: save it again"
        ) from error
    except (IndexError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"the model in {place} is not complete ({error}): save it again"
        ) from error
    return model


def _read(place: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the description and the arrays of a file of a version that is known."""
    try:
        with safe_open(str(place), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read a model from {place}: {error}") from error
    written = metadata.get("format", "")
    if written == FORMAT:
        return metadata, tensors
    if written.startswith(FORMAT.rstrip("0123456789")):
        raise DataError(
            f"{place} is a model of a later version ({written}), and this version knows {FORMAT}: "
            "update s2e_optuna"
        )
    raise DataError(f"{place} is not a model saved by s2e_optuna: it lacks the description")
