"""Validation labels of which some are checked, as weights: what a training is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from s2e_optuna.data.noisy_data import NoisyData
from s2e_optuna.errors import DataError
from s2e_optuna.labels.checked import check_labels, tempered_average
from s2e_optuna.schedules import Schedule
from s2e_optuna.training.config import TrainConfig
from s2e_optuna.training.model import predict_proba
from s2e_optuna.training.trainer import train

RATES = (0.1, 0.3, 0.5, 0.7)
"""Shares that Co-teaching drops in the trainings whose networks are averaged."""

SHARE_OF_EPOCHS = 0.5
"""Their length. Four of half the length choose as eight of the whole length do."""

RAMP = 1 / 3
"""Share of their epochs until the rate is reached."""

SEED = 2  # spawn key: these trainings share no seed with trials and final ones


def expected_validation(data: NoisyData, config: TrainConfig) -> NoisyData:
    """Let what is checked of the validation labels, and what it says of the others, judge.

    Four networks are trained with Co-teaching, for half the epochs. Their average is a second
    witness, beside the given label, of how probable each class is for each sample that is not
    checked, see `s2e_optuna.labels.checked`. On the validation part predictions then count by
    these weights: one array for all trainings that are to be compared. Values put trainings in
    order; they are a little higher than accuracies on true labels.

    Parameters
    ----------
    data
        Where nothing is checked, or the weights are there already, they are returned as they are.
    config
        How trainings are to be made; the weights depend on its seed.

    Returns
    -------
    NoisyData
        With `NoisyData.val_weights`.

    Raises
    ------
    DataError
        What training refuses; all of these trainings failed.
    """
    if data.val_checked is None or data.val_weights is not None:
        return data
    checked = check_labels(
        data.y_val.numpy(), data.val_checked.numpy(), validation_average(data, config)
    )
    weights = np.asarray(checked.weights, dtype=np.float32)
    return replace(data, val_weights=torch.from_numpy(weights))


def validation_average(data: NoisyData, config: TrainConfig) -> NDArray[np.float64]:
    """Predict the validation part by trainings that nothing but its noisy labels stops: [V, C]."""
    epochs = max(1, round(SHARE_OF_EPOCHS * config.epochs))
    seed = int(np.random.SeedSequence(config.seed, spawn_key=(SEED,)).generate_state(1)[0])
    runs = train(
        "coteaching",
        [Schedule.coteaching(epochs, rate, max(1.0, RAMP * epochs)) for rate in RATES],
        replace(data, val_checked=None, x_test=None, y_test=None, y_clean=None),
        replace(config, epochs=epochs, seed=seed, stop="best"),
    )
    models = [run.model for run in runs if run.status == "complete" and run.model is not None]
    if not models:
        raise DataError(f"the trainings that go before a search failed: {runs[0].failure}")
    return tempered_average([predict_proba(model, data.x_val, config.device) for model in models])
