"""Every result says what schedules were compared on."""

import numpy as np
import pytest

from s2e_optuna.data import NoisyData, from_arrays
from s2e_optuna.reporting.validation import validation_words

IMAGES = np.random.default_rng(0).random((60, 4, 4))
LABELS = np.arange(60) % 3
PAIR = (IMAGES, LABELS)


def data(*parts: object, **options: object) -> NoisyData:
    return from_arrays(IMAGES, LABELS, *parts, **options)


@pytest.mark.parametrize(
    ("found", "facts", "words"),
    [
        (
            data(*PAIR, IMAGES[:9], LABELS[:9]),
            ("clean", "val", 60, 9),
            ("60 samples of the validation part", "taken to be right; if", "--validation noisy"),
        ),
        (
            data(None, None, *PAIR),
            ("clean", "test", 30, 30),
            ("30 samples that are half of the test part", "measured on the other 30"),
        ),
        (
            data(None, None, *PAIR, validation="noisy"),
            ("noisy", "train", 12, 60),
            (
                "12 samples cut from the training data; their labels are as noisy",
                "s2e check, a minute for twenty, and then --checked FILE.",
            ),
        ),
        (
            data(checked={row: row % 3 for row in range(60)}),
            ("noisy", "train", 12, 0),
            ("; 12 of their labels are checked", "put trainings in order"),
        ),
        (
            data(noise="pair", noise_rate=0.3, validation="clean"),
            ("clean", "train", 12, 0),
            ("12 samples cut from the training data, with their true labels",),
        ),
    ],
)
def test_source_size_and_trust_are_said(found, facts, words):
    assert (found.validation, *found.validation_facts().values()) == facts
    assert all(part in validation_words(found) for part in words)
