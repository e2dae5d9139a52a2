"""One array of weights for all workers of a study: what its trials are judged by."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import replace

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2e_optuna.data import NoisyData
from s2e_optuna.labels import expected_validation
from s2e_optuna.stored_names import CHECKED_ATTR
from s2e_optuna.training import TrainConfig

STEPS = 255
"""Weights are stored in so many steps."""

PIECE = 30_000
"""Characters of an attribute; storages take twice as many."""


def agreed_validation(study: optuna.Study, data: NoisyData, config: TrainConfig) -> NoisyData:
    """Return data with the weights that a study has stored; without any, make and store them.

    The values of a study's trials compare, because all go by the same weights. `search` stores
    them before its workers begin. Where several processes without it begin at once, each makes
    them of the same trainings; what was stored last holds.

    Parameters
    ----------
    study
        Has them, or gets them.
    data
        Where nothing is checked they are returned as they are.
    config
        How trials are trained.
    """
    if data.val_checked is None or data.val_weights is not None:
        return data
    key = _key(data)
    weights = _read(study, key, (len(data.y_val), data.n_classes))
    if weights is None:
        made = expected_validation(data, config).val_weights
        assert made is not None
        weights = _read(study, key, (len(data.y_val), data.n_classes))  # another was faster
        if weights is None:
            weights = _write(study, key, made)
    return replace(data, val_weights=weights)


def _key(data: NoisyData) -> str:
    """Digest of the validation samples with their labels, and of what is checked."""
    assert data.val_checked is not None
    digest = hashlib.sha256("\0".join(data.val_ids).encode())
    for labels in (data.y_val, data.val_checked):
        digest.update(labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(study: optuna.Study, key: str, shape: tuple[int, int]) -> Tensor | None:
    attrs = study.user_attrs
    told = attrs.get(CHECKED_ATTR)
    if told is None or told["key"] != key:
        return None
    pieces = [attrs.get(f"{CHECKED_ATTR}:{number}", "") for number in range(told["pieces"])]
    content = zlib.decompress(base64.b64decode("".join(pieces)))
    return _weights(np.frombuffer(content, np.uint8), shape)


def _write(study: optuna.Study, key: str, weights: Tensor) -> Tensor:
    """Store the weights, and return them as they will be read."""
    steps = np.round(weights.numpy() * STEPS).astype(np.uint8)
    text = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):
        study.set_user_attr(f"{CHECKED_ATTR}:{number}", piece)
    study.set_user_attr(CHECKED_ATTR, {"key": key, "pieces": len(pieces)})  # last: all is there
    return _weights(steps, weights.shape)


def _weights(steps: NDArray[np.uint8], shape: tuple[int, ...]) -> Tensor:
    shares = steps.reshape(shape).astype(np.float32)
    return torch.from_numpy(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0))
