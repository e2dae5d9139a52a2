import csv
from dataclasses import replace

import numpy as np
import pytest

from s2e_optuna.training import (
    DataError,
    TrainConfig,
    suspect_quality,
    suspects,
    train,
    write_suspects,
)


@pytest.fixture(scope="module")
def trained(blobs):
    config = TrainConfig(epochs=20, batch_size=20, learning_rate=3e-3)
    return train("coteaching", [np.maximum(0.7, 1 - np.arange(20) / 20)], blobs, config)[0]


def test_wrong_labels_come_first(trained, blobs):
    rows = suspects(trained, blobs)
    assert sorted(int(row.id) for row in rows) == list(range(120))
    scores = [row.suspicion for row in rows]
    assert scores == sorted(scores, reverse=True)
    wrong = (blobs.y_clean != blobs.y_train).numpy()
    first = [int(row.id) for row in rows[: wrong.sum()]]
    assert wrong[first].mean() > 0.9


def test_precision_and_recall_against_the_truth(trained, blobs):
    quality = suspect_quality(trained, blobs)
    listed = trained.kept_counts < 0.5 * trained.offered_counts
    wrong = (blobs.y_clean != blobs.y_train).numpy()
    assert (quality.listed, quality.wrong) == (listed.sum(), wrong.sum())
    assert quality.precision == pytest.approx(wrong[listed].mean())
    assert quality.recall == pytest.approx(listed[wrong].mean())
    assert min(quality.precision, quality.recall) > 0.8


def test_without_the_truth_there_is_no_quality(trained, blobs):
    assert suspect_quality(trained, replace(blobs, y_clean=None)) is None


def test_samples_that_were_never_offered_are_not_listed(trained, blobs):
    nothing = np.zeros_like(trained.offered_counts)
    never = replace(trained, kept_counts=nothing, offered_counts=nothing)
    assert suspect_quality(never, blobs).listed == 0
    assert {row.kept_share for row in suspects(never, blobs)} == {1.0}


def test_the_table_is_written_with_names(trained, blobs, tmp_path):
    named = replace(
        blobs, class_names=("a", 'b, "c"', "é"), ids=tuple(f"d/{i}.png" for i in range(120))
    )
    rows = suspects(trained, named)
    write_suspects(rows, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert len(read) == 120
    assert read[0]["id"] == rows[0].id
    assert {row["given_label"] for row in read} == set(named.class_names)
    assert float(read[0]["suspicion"]) == pytest.approx(rows[0].suspicion, abs=1e-4)


def test_other_data_and_unfinished_trainings_are_refused(trained, blobs, digits):
    with pytest.raises(DataError, match="saw 120 samples"):
        suspects(trained, digits)
    with pytest.raises(DataError, match="complete training"):
        suspects(replace(trained, training_predictions=None), blobs)
