"""Models in files: everything that was fitted travels with them, and nothing that runs code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from s2e_optuna.data.encoder import Encoder
from s2e_optuna.data.named_sets import default_root
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.pretrained import PretrainedFeatures
from s2e_optuna.data.spec import is_own
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.data.text_features import TextFeatures
from s2e_optuna.data.wide_vectors import WideVectors
from s2e_optuna.errors import DataError
from s2e_optuna.own_code import import_function
from s2e_optuna.stored_names import MODEL_FILE
from s2e_optuna.training.model import Model
from s2e_optuna.training.networks import NetworkFactory, Parameters, own_factory
from s2e_optuna.writable import whole_file

FORMAT = "s2e_optuna model 1"

FEATURES_FORMAT = "s2e_optuna model 2"
"""Of models on pretrained features: earlier versions would take their arrays for parameters."""

TEXTS_FORMAT = "s2e_optuna model 3"
"""Of models on features of texts, which earlier versions do not know."""

VECTORS_FORMAT = "s2e_optuna model 4"
"""Of models on wide vectors that were reduced, likewise."""

_PREPARATION, _FEATURES = "preparation.", "features."
"""Begin the names of the arrays of a model's `Preparation` and features in its file."""

_KINDS: dict[type[Encoder], tuple[str, str]] = {
    PretrainedFeatures: ("features", FEATURES_FORMAT),
    TextFeatures: ("texts", TEXTS_FORMAT),
    WideVectors: ("vectors", VECTORS_FORMAT),
}
"""Under which name an encoder with arrays is stored, and in which format."""


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
    if isinstance(model.encoder, TableColumns):
        metadata["columns"] = model.encoder.stored()
    elif model.encoder is not None:
        kind, metadata["format"] = _KINDS[type(model.encoder)]
        metadata[kind], fitted = model.encoder.stored()
        tensors |= {f"{_FEATURES}{name}": array for name, array in fitted.items()}
    tensors |= {f"{_PREPARATION}{name}": array for name, array in arrays.items()}
    with whole_file(path) as place:
        # Bytes: a file that safetensors writes by itself can be read by nobody else (mode 600).
        place.write_bytes(save(tensors, metadata=metadata))


def load_model(
    path: str | Path,
    factory: NetworkFactory | str | None = None,
    features: Callable[[], Any] | str | None = None,
) -> Model:
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
    features
        Likewise the function that makes the features of a model, where it is your own.

    Returns
    -------
    Model
        With ``predict``, ``predict_proba`` and ``classes_``, as classifiers of scikit-learn have
        them.

    Raises
    ------
    DataError
        The file is missing, damaged, not such a model or one of a later version, or its network
        needs a `factory`, or its `features`.
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
    function = _feature_function(place, metadata, features)
    try:
        arrays, fitted = _taken(tensors, _PREPARATION), _taken(tensors, _FEATURES)
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
            encoder=_encoder(metadata, fitted, function),
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


def _feature_function(
    place: Path, metadata: Mapping[str, str], features: Callable[[], Any] | str | None
) -> Callable[[], Any] | None:
    """Return the function of a feature network of the user's own, if that is given."""
    stored = metadata.get("features", metadata.get("texts", "{}"))
    name = json.loads(stored).get("name", "")
    if is_own(name):
        if features is None or (isinstance(features, str) and features != name):
            raise DataError(
                f"the model in {place} is one on features of your own, {name}: hand load_model "
                "the function that makes them, or its name, as `features`"
            )
        makes = "returns a torch.nn.Module"
        return import_function(name, "features", makes) if isinstance(features, str) else features
    if features is not None and features != name:
        has = f"has features of {name}" if name else "has no pretrained features"
        raise DataError(f"the model in {place} {has}: leave `features` out")
    return None


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take what is called so out of the arrays."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _encoder(
    metadata: Mapping[str, str], arrays: Mapping[str, Tensor], function: Callable[[], Any] | None
) -> Encoder | None:
    if "columns" in metadata:
        return TableColumns.from_stored(metadata["columns"])
    if "features" in metadata:
        return PretrainedFeatures.from_stored(
            metadata["features"], arrays, function, default_root()
        )
    if "vectors" in metadata:
        return WideVectors.from_stored(metadata["vectors"], arrays)
    if "texts" in metadata:
        return TextFeatures.from_stored(metadata["texts"], arrays, function, default_root())
    return None


def _read(place: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the description and the arrays of a file of a version that is known."""
    try:
        with safe_open(str(place), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read a model from {place}: {error}") from error
    written = metadata.get("format", "")
    if written in (FORMAT, FEATURES_FORMAT, TEXTS_FORMAT, VECTORS_FORMAT):
        return metadata, tensors
    if written.startswith(FORMAT.rstrip("0123456789")):
        raise DataError(
            f"{place} is a model of a later version ({written}), and this version knows "
            f"{VECTORS_FORMAT}: update s2e_optuna"
        )
    raise DataError(f"{place} is not a model saved by s2e_optuna: it lacks the description")
