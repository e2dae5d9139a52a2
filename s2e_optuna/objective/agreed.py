"""One array of weights for all workers of a study: what its trials are judged by."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import torch
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
    them before its workers begin. Where several processes begin at once, each makes them, and
    all take those that were stored first.

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
    shape = (len(data.y_val), data.n_classes)
    weights = _read(study, key, shape)
    if weights is None:
        made = expected_validation(data, config).val_weights
        assert made is not None
        _write(study, key, made)
        weights = _read(study, key, shape)  # perhaps those of a process that was faster
        assert weights is not None
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
    if (told := _told(attrs, key)) is None:
        return None
    place = _place(told.get("digest"))
    pieces = [attrs.get(f"{place}:{number}", "") for number in range(told["pieces"])]
    content = zlib.decompress(base64.b64decode("".join(pieces)))
    shares = np.frombuffer(content, np.uint8).reshape(shape).astype(np.float32)
    return torch.from_numpy(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0))


def _write(study: optuna.Study, key: str, weights: Tensor) -> None:
    """Store the weights, unless others are there.

    Their pieces are named by what they hold, so those of two processes do not mix. Storages cannot
    look and write in one step: a process that writes between the two below still has the last
    word, and one that has read before it goes by its own, which differ where the hardware does.
    """
    content = np.round(weights.numpy() * STEPS).astype(np.uint8).tobytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    text = base64.b64encode(zlib.compress(content, 9)).decode()
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):
        study.set_user_attr(f"{_place(digest)}:{number}", piece)
    if _told(study.user_attrs, key) is None:
        told = {"key": key, "pieces": len(pieces), "digest": digest}
        study.set_user_attr(CHECKED_ATTR, told)  # last: all is there


def _told(attrs: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Return what a study says of the weights for these samples."""
    told: dict[str, Any] | None = attrs.get(CHECKED_ATTR)
    return told if told is not None and told["key"] == key else None


def _place(digest: str | None) -> str:
    """Return the name of the pieces; those of studies begun before have no digest."""
    return CHECKED_ATTR if digest is None else f"{CHECKED_ATTR}:{digest}"
