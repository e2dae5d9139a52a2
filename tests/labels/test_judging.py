"""From trainings to judged labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_labels import softmax

from s2e_optuna.data import from_arrays
from s2e_optuna.errors import DataError
from s2e_optuna.labels import (
    Unseen,
    judge,
    suspect_quality,
    suspects,
    suspects_of_models,
)
from s2e_optuna.labels.judging import digests, suspicion
from s2e_optuna.training import TrainConfig, train

CONFIG = TrainConfig(epochs=20, batch_size=20, learning_rate=3e-3)
RATES = np.maximum(0.7, 1 - np.arange(20) / 20)


@pytest.fixture(scope="module")
def trained(blobs):
    return [
        train("coteaching", [RATES], blobs, replace(CONFIG, seed=seed))[0] for seed in range(2)
    ]


def evidence(labels, n_classes=3, strength=4.0, seed=0):
    """Predictions by networks that are right in nine of ten."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((len(labels), n_classes)) + strength * np.eye(n_classes)[labels]
    return softmax(values).astype(np.float32)


def unseen_of(data, n_classes=3, clean=True):
    truth = data.y_train if data.y_clean is None else data.y_clean
    of_clean = evidence(data.y_val.numpy(), n_classes, seed=1)[None] if clean else None
    return Unseen(evidence(truth.numpy(), n_classes), of_clean)


def test_suspicion_is_keeping_and_margin_in_equal_parts():
    probabilities = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]
    scores = suspicion(probabilities, [0, 1, 1], [1.0, 0.5, np.nan])
    assert scores == pytest.approx([0.25 / 2, (0.5 + 0.75) / 2, 1.0])
    assert suspicion(probabilities, [0, 1, 1]) == pytest.approx([0.25, 0.75, 1.0])


def test_predictions_of_those_who_have_not_seen_a_sample_count_as_much():
    own, unseen = [[0.9, 0.1]], [[0.2, 0.8]]
    assert suspicion(own, [0], [0.5], unseen) == pytest.approx([(0.3 + 0.8) / 2])


def test_wrong_labels_come_first(trained, blobs):
    rows = suspects(trained, blobs)
    assert sorted(int(row.id) for row in rows) == list(range(120))
    scores = [row.suspicion for row in rows]
    assert scores == sorted(scores, reverse=True)
    wrong = (blobs.y_clean != blobs.y_train).numpy()
    first = [int(row.id) for row in rows[: wrong.sum()]]
    assert wrong[first].mean() > 0.9
    assert min(vars(suspect_quality(rows)).values()) > 0.8


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


def test_samples_cut_for_validation_are_judged_too(blobs):
    noisy = from_arrays(
        blobs.x_train, blobs.y_clean, noise="pair", noise_rate=0.3, n_classes=3, seed=1
    )
    runs = train("coteaching", [RATES], noisy, CONFIG)
    truth = noisy.y_clean.numpy(), noisy.y_val_clean.numpy()
    unseen = Unseen(evidence(truth[0]), held_out=evidence(truth[1], seed=1))
    for rows in (suspects(runs, noisy), judge(runs, noisy, unseen).rows):
        assert len(rows) == 120 and len(noisy.val_ids) == 24
        cut = [row for row in rows if row.id in noisy.val_ids]
        assert len(cut) == 24 and {row.kept_share for row in cut} == {None}
        assert suspect_quality(rows).average_precision > 0.8


def test_a_model_alone_lists_suspects(trained, blobs):
    rows = suspects_of_models([run.model for run in trained], blobs)
    assert suspect_quality(rows).average_precision > 0.8
    with pytest.raises(DataError, match="knows the classes 0, 1, 2 and the data a, b, c"):
        suspects_of_models([trained[0].model], replace(blobs, class_names=("a", "b", "c")))


def test_other_data_and_unfinished_trainings_are_refused(trained, blobs, digits):
    with pytest.raises(DataError, match="saw 120 samples"):
        suspects(trained, digits)
    with pytest.raises(DataError, match="complete training"):
        suspects(replace(trained[0], status="stopped"), blobs)


def test_data_in_another_order_are_refused(trained, blobs):
    order = torch.arange(len(blobs.y_train)).flip(0)
    turned = replace(
        blobs, x_train=blobs.x_train[order], y_train=blobs.y_train[order], y_clean=None
    )
    for data in (turned, blobs.with_labels((blobs.y_train.numpy() + 1) % 3)):
        with pytest.raises(DataError, match="saw other samples or labels"):
            suspects(trained, data)


@pytest.mark.parametrize("clean", [True, False])
def test_a_cross_validation_gives_probabilities_a_list_and_a_report(trained, blobs, clean):
    judged = judge(trained, blobs, unseen_of(blobs, clean=clean))
    rows, report = judged.rows, judged.report
    listed = [row.listed for row in rows]
    assert listed == sorted(listed, reverse=True) and 0 < sum(listed) < 60
    assert all(row.predicted != row.given for row in rows if row.listed)
    for row in rows:
        assert row.given_probability == pytest.approx(1 - row.wrong_probability)
    quality = suspect_quality(rows)
    assert quality.precision > 0.8 and quality.average_precision > 0.8
    low, high = report.interval
    assert low <= quality.wrong / 120 <= high
    assert report.clean == clean and judged.quality.by_clean == clean
    assert len(report.transition_matrix) == 3 and report.classes == blobs.class_names


def test_without_one_there_is_neither(trained, blobs):
    judged = judge(trained, blobs)
    assert judged.report is None and judged.quality is None
    assert {row.wrong_probability for row in judged.rows} == {None}


def test_equal_samples_with_different_labels_name_each_other(trained, blobs):
    images = blobs.x_train.clone()
    images[7] = images[3]
    labels = blobs.y_train.clone()
    labels[3], labels[7] = 0, 1
    twins = replace(blobs, x_train=images, y_train=labels)
    judged = judge([replace(run, samples="") for run in trained], twins, unseen_of(twins))
    found = {row.id: row.contradicts for row in judged.rows if row.contradicts is not None}
    assert found == {"3": "7", "7": "3"} and judged.report.contradictions == 1


def test_equal_pixels_and_equal_files_have_equal_digests(tmp_path, blobs):
    from PIL import Image

    from s2e_optuna.data import ImageFiles

    images = torch.zeros(3, 1, 2, 2)
    images[1] = 1.0
    found = digests(replace(blobs, x_train=images, validation="clean"))
    assert found[0] == found[2] != found[1]
    for i, colour in enumerate((10, 20, 10)):
        Image.new("L", (4, 4), colour).save(tmp_path / f"{i}.png")
    files = ImageFiles([tmp_path / f"{i}.png" for i in range(3)], (4, 4), workers=0)
    found = digests(replace(blobs, x_train=files))
    assert found[0] == found[2] != found[1]


class TestWhatUsersSaw:
    """In the list as it was before labels were assessed."""

    def drawn(self, n, n_classes, seed=0):
        rng = np.random.default_rng(seed)
        labels, of_clean = rng.integers(0, n_classes, n), rng.integers(0, n_classes, n // 2)
        images = rng.random((n + n // 2, 1, 2, 2)).astype(np.float32)
        return from_arrays(images[:n], labels, images[n:], of_clean, n_classes=n_classes)

    def judged(self, data, unseen):
        (run,) = train("standard", [None], data, TrainConfig(epochs=1, network="mlp"))
        return judge(run, data, unseen)

    @pytest.mark.parametrize("clean", [True, False])
    def test_data_without_a_wrong_label_have_no_list(self, clean):
        data = self.drawn(600, 10)
        unseen = Unseen(
            evidence(data.y_train.numpy(), 10, 2.5),
            evidence(data.y_val.numpy(), 10, 2.5, 1)[None] if clean else None,
        )
        judged = self.judged(data, unseen)
        assert (unseen.training.argmax(axis=1) == data.y_train.numpy()).mean() < 0.9
        assert sum(row.listed for row in judged.rows) <= 6

    def test_nor_do_many_classes_that_are_told_apart(self):
        data = self.drawn(1200, 120)
        unseen = Unseen(evidence(data.y_train.numpy(), 120, 9.0))
        assert not any(row.listed for row in self.judged(data, unseen).rows)

    def test_classes_with_one_and_three_images_are_named_and_not_listed(self):
        data = self.drawn(300, 3)
        labels = data.y_train.clone()
        labels[0], labels[1:4] = 3, 4
        data = replace(data, y_train=labels, n_classes=5, class_names=tuple("abcde"))
        known = torch.where(labels > 2, torch.zeros_like(labels), labels).numpy()
        predicted = np.pad(evidence(known), [(0, 0), (0, 2)])
        clean = np.pad(evidence(data.y_val.numpy(), seed=1), [(0, 0), (0, 2)])[None]
        judged = self.judged(data, Unseen(predicted, clean))
        assert judged.report.not_judged == ("d", "e")
        assert not any(row.listed for row in judged.rows if row.given in "de")

    def test_a_class_with_few_clean_samples_turns_nothing_off(self):
        data = self.drawn(400, 4)
        few = data.y_val.clone()
        few[torch.nonzero(few == 2).flatten()[3:]] = 0  # three clean samples of one class
        data = replace(data, y_val=few)
        wrong = torch.arange(400) % 5 == 0
        labels = torch.where(wrong, (data.y_train + 1) % 4, data.y_train)
        unseen = Unseen(evidence(data.y_train.numpy(), 4), evidence(few.numpy(), 4, seed=1)[None])
        judged = self.judged(replace(data, y_train=labels), unseen)
        assert judged.report.clean and judged.report.not_judged == ()
        listed = {int(row.id) for row in judged.rows if row.listed}
        assert wrong[sorted(listed)].double().mean() > 0.9 and len(listed) > 50

    def test_with_most_labels_wrong_the_proposed_class_is_right(self):
        data = self.drawn(1000, 10)
        rng = np.random.default_rng(3)
        off = (data.y_train.numpy() + rng.integers(1, 10, 1000)) % 10
        labels = np.where(rng.random(1000) < 0.7, off, data.y_train.numpy())
        unseen = Unseen(
            evidence(data.y_train.numpy(), 10), evidence(data.y_val.numpy(), 10, seed=1)[None]
        )
        noisy = replace(data, y_train=torch.from_numpy(labels))
        judged = self.judged(noisy, unseen)
        listed = [row for row in judged.rows if row.listed]
        right = [row.predicted == str(int(data.y_train[int(row.id)])) for row in listed]
        assert len(listed) > 500 and np.mean(right) > 0.85
