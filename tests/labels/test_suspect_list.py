import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.data import from_arrays
from s2e_optuna.errors import DataError
from s2e_optuna.labels import (
    Suspect,
    Unseen,
    expectation,
    read_suspects,
    suspect_quality,
    suspects,
    suspects_of_models,
    unseen_probabilities,
    write_suspects,
)
from s2e_optuna.labels.suspect_list import suspicion
from s2e_optuna.training import TrainConfig, train

CONFIG = TrainConfig(epochs=20, batch_size=20, learning_rate=3e-3)
RATES = np.maximum(0.7, 1 - np.arange(20) / 20)


@pytest.fixture(scope="module")
def trained(blobs):
    return [
        train("coteaching", [RATES], blobs, replace(CONFIG, seed=seed))[0] for seed in range(2)
    ]


def test_suspicion_is_keeping_and_margin_in_equal_parts():
    probabilities = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]
    scores = suspicion(probabilities, [0, 1, 1], [1.0, 0.5, np.nan])
    assert scores == pytest.approx([0.25 / 2, (0.5 + 0.75) / 2, 1.0])
    assert suspicion(probabilities, [0, 1, 1]) == pytest.approx([0.25, 0.75, 1.0])


def test_predictions_of_those_who_have_not_seen_a_sample_count_as_much():
    own, unseen = [[0.9, 0.1]], [[0.2, 0.8]]
    assert suspicion(own, [0], [0.5], unseen) == pytest.approx([(0.3 + 0.8) / 2])


def test_memorised_labels_are_found_by_cross_validation(blobs):
    config = replace(CONFIG, epochs=30, learning_rate=1e-2)
    runs = train("coteaching", [None], blobs, config)
    told = []
    unseen = unseen_probabilities(
        "coteaching", None, blobs, config, 3, lambda fold, epoch: told.append((fold, epoch))
    )
    assert unseen.training.sum(axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    assert unseen.clean.shape == (3, 60, 3)
    assert told == [(fold, epoch + 1) for fold in range(3) for epoch in range(30)]
    without, with_them = (suspect_quality(suspects(runs, blobs, p)) for p in (None, unseen))
    assert with_them.recall > without.recall
    assert with_them.average_precision > 0.7
    with pytest.raises(DataError, match="folds 1 is out of range"):
        unseen_probabilities("coteaching", None, blobs, config, 1)


def test_wrong_labels_come_first(trained, blobs):
    rows = suspects(trained, blobs)
    assert sorted(int(row.id) for row in rows) == list(range(120))
    scores = [row.suspicion for row in rows]
    assert scores == sorted(scores, reverse=True)
    wrong = (blobs.y_clean != blobs.y_train).numpy()
    first = [int(row.id) for row in rows[: wrong.sum()]]
    assert wrong[first].mean() > 0.9


def test_precision_and_recall_against_the_truth(trained, blobs):
    rows = suspects(trained[0], blobs)
    quality = suspect_quality(rows)
    listed = {int(row.id) for row in rows if row.suspicion > 0.5}
    wrong = set(np.flatnonzero((blobs.y_clean != blobs.y_train).numpy()).tolist())
    assert (quality.listed, quality.wrong) == (len(listed), len(wrong))
    assert quality.precision == pytest.approx(len(listed & wrong) / len(listed))
    assert quality.recall == pytest.approx(len(listed & wrong) / len(wrong))
    assert min(quality.precision, quality.recall, quality.average_precision) > 0.8


def test_without_the_truth_there_is_no_quality(trained, blobs):
    rows = suspects(trained, replace(blobs, y_clean=None))
    assert suspect_quality(rows) is None and {row.true for row in rows} == {None}


def test_samples_that_were_never_offered_are_judged_by_probability(trained, blobs):
    nothing = np.zeros_like(trained[0].offered_counts)
    never = replace(trained[0], kept_counts=nothing, offered_counts=nothing)
    rows = suspects(never, blobs)
    assert {row.kept_share for row in rows} == {None}
    assert suspect_quality(rows).average_precision > 0.8


@pytest.mark.parametrize("method", ["standard", "coteaching_plus", "f_correction"])
def test_what_a_method_drops_for_other_reasons_says_nothing(method, blobs):
    (run,) = train(method, [RATES], blobs, CONFIG)
    rows = suspects(run, blobs)
    assert {row.kept_share for row in rows} == {None}
    assert sum(row.listed for row in rows) > 0


def test_samples_cut_for_validation_are_on_the_list_too(blobs):
    noisy = from_arrays(
        blobs.x_train, blobs.y_clean, noise="pair", noise_rate=0.3, n_classes=3, seed=1
    )
    rows = suspects(train("coteaching", [RATES], noisy, CONFIG), noisy)
    assert len(rows) == 120 and len(noisy.val_ids) == 24
    cut = [row for row in rows if row.id in noisy.val_ids]
    assert len(cut) == 24 and {row.kept_share for row in cut} == {None}
    assert suspect_quality(rows).precision > 0.8


def test_a_model_alone_lists_suspects(trained, blobs):
    rows = suspects_of_models([run.model for run in trained], blobs)
    assert suspect_quality(rows).average_precision > 0.8
    with pytest.raises(DataError, match="knows the classes 0, 1, 2 and the data a, b, c"):
        suspects_of_models([trained[0].model], replace(blobs, class_names=("a", "b", "c")))


@pytest.mark.parametrize("truth", [True, False])
def test_the_table_is_written_with_names_and_read_again(trained, blobs, tmp_path, truth):
    named = replace(
        blobs,
        class_names=("a", 'b, "c"', "é"),
        ids=tuple(f"d/{i}.png" for i in range(120)),
        y_clean=blobs.y_clean if truth else None,
    )
    runs = [replace(run, model=None, training_probabilities=None) for run in trained]
    with pytest.raises(DataError, match="complete training"):
        suspects(runs, named)
    rows = suspects(trained, named)
    write_suspects(rows, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 120 and written[0]["id"] == rows[0].id
    assert {row["given_label"] for row in written} == set(named.class_names)
    assert ("true_label" in written[0]) == truth
    again = read_suspects(tmp_path / "suspects.csv")
    assert [(row.id, row.listed, row.true) for row in again] == [
        (row.id, row.listed, row.true) for row in rows
    ]


@pytest.mark.parametrize("content", ["", "id,x\n1,2", "id,given_label\n1", "\x00"])
def test_other_files_are_no_lists(tmp_path, content):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(DataError, match="is not a list of suspects"):
        read_suspects(tmp_path / "s.csv")


def test_other_data_and_unfinished_trainings_are_refused(trained, blobs, digits):
    with pytest.raises(DataError, match="saw 120 samples"):
        suspects(trained, digits)
    with pytest.raises(DataError, match="complete training"):
        suspects(replace(trained[0], status="stopped"), blobs)


@pytest.fixture(scope="module")
def estimated(trained, blobs):
    """Predictions as if by networks that know the truth of nine in ten, of clean samples too."""
    rng = np.random.default_rng(0)

    def predicted(labels):
        told = np.where(rng.random(len(labels)) < 0.9, labels, rng.integers(0, 3, len(labels)))
        return (0.1 + 0.7 * np.eye(3)[told]).astype(np.float32)

    clean = np.stack([predicted(blobs.y_val.numpy()) for _ in range(2)])
    return suspects(trained, blobs, Unseen(predicted(blobs.y_clean.numpy()), clean))


def test_with_clean_samples_a_probability_ranks_and_lists(estimated):
    chances = [row.wrong_probability for row in estimated]
    assert chances == sorted(chances, reverse=True)
    assert [row.listed for row in estimated] == [chance > 0.5 for chance in chances]
    assert all(
        row.given_probability == pytest.approx(1 - row.wrong_probability) for row in estimated
    )
    assert all(row.predicted != row.given for row in estimated if row.listed)
    quality, expected = suspect_quality(estimated), expectation(estimated)
    assert quality.precision > 0.8 and quality.recall > 0.7
    assert expected.wrong == pytest.approx(quality.wrong, rel=0.3)
    assert expected.precision == pytest.approx(quality.precision, abs=0.15)


def test_without_clean_samples_there_is_no_probability(trained, blobs, estimated):
    unseen = np.full((120, 3), 1 / 3, dtype=np.float32)
    few = np.full((2, 60, 3), 1 / 3, dtype=np.float32)
    nobody = replace(blobs, y_val=0 * blobs.y_val)  # no clean sample of two classes
    for rows in (
        suspects(trained, blobs),
        suspects(trained, blobs, Unseen(unseen)),
        suspects(trained, nobody, Unseen(unseen, few)),
    ):
        assert {row.wrong_probability for row in rows} == {None} and expectation(rows) is None
        assert all(row.listed == (row.suspicion > 0.5) for row in rows)


def test_noisy_samples_and_those_learnt_from_are_not_taken_for_clean(blobs):
    config = replace(CONFIG, epochs=2)
    noisy = replace(blobs, validation="noisy")
    assert unseen_probabilities("standard", None, noisy, config, 2).clean is None
    assert unseen_probabilities("reweight", None, blobs, config, 2).clean is None


def test_a_probability_is_written_and_older_lists_have_none(estimated, tmp_path):
    write_suspects(estimated, tmp_path / "new.csv")
    again = read_suspects(tmp_path / "new.csv")
    assert [row.listed for row in again] == [row.listed for row in estimated]
    assert again[0].wrong_probability == pytest.approx(estimated[0].wrong_probability, abs=1e-6)
    lines = [line.split(",") for line in (tmp_path / "new.csv").read_text().splitlines()]
    at = lines[0].index("wrong_probability")
    older = "\n".join(",".join(cells[:at] + cells[at + 1 :]) for cells in lines)
    (tmp_path / "old.csv").write_text(older)
    assert {row.wrong_probability for row in read_suspects(tmp_path / "old.csv")} == {None}


def test_what_a_list_expects_of_itself():
    rows = [Suspect("a", "x", "y", 0.1, 0.2, 0.8, wrong_probability=p) for p in (0.8, 0.6, 0.2)]
    found = expectation(rows)
    assert (found.wrong, found.listed_wrong) == pytest.approx((1.6, 1.4))
    assert (found.precision, found.recall) == pytest.approx((0.7, 1.4 / 1.6))
    assert expectation([]) is None
    assert np.isnan(expectation(rows[2:]).precision)


def test_data_in_another_order_are_refused(trained, blobs):
    order = torch.arange(len(blobs.y_train)).flip(0)
    turned = replace(
        blobs, x_train=blobs.x_train[order], y_train=blobs.y_train[order], y_clean=None
    )
    for data in (turned, blobs.with_labels((blobs.y_train.numpy() + 1) % 3)):
        with pytest.raises(DataError, match="saw other samples or labels"):
            suspects(trained, data)
