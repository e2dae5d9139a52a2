"""Pair lists in their published formats, and verification on drawings of faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, train
from studies.faces import (
    embed,
    read_cfp,
    read_pairs,
    verification_accuracy,
    verify,
)
from studies.synthetic_faces import write_tests, write_training


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_training(folder, people=8, images=20, noise=0.2)
    write_tests(folder, people=12, pairs=40)
    return folder


def test_lists_in_the_format_of_calfw_and_cplfw(faces):
    pairs = read_pairs(faces / "calfw" / "pairs_CALFW.txt", faces / "calfw" / "aligned images")
    assert (len(pairs.first), pairs.same.sum(), pairs.name) == (80, 40, "pairs_CALFW")
    assert [np.sum(pairs.folds == fold) for fold in range(10)] == [8] * 10
    for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        assert (a.split("_")[1] == b.split("_")[1]) == same


def test_lists_of_three_words(faces):
    pairs = read_pairs(faces / "agedb" / "agedb_30_pair.txt", faces / "agedb", name="AgeDB")
    assert (pairs.first[0], pairs.second[0], pairs.same[0]) == ("imgs/0.jpg", "imgs/1.jpg", True)
    assert pairs.same.sum() == 40


@pytest.mark.parametrize("protocol", ["FF", "FP"])
def test_the_protocol_of_cfp(faces, protocol):
    pairs = read_cfp(faces / "cfp", protocol)
    assert (len(pairs.same), pairs.same.sum(), len(set(pairs.folds))) == (80, 40, 10)
    kinds = {path.split("/")[-2] for path in pairs.second}
    assert kinds == {"frontal" if protocol == "FF" else "profile"}
    for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        assert (a.split("/")[3] == b.split("/")[3]) == same and a != b


def test_lists_in_the_format_of_lfw(tmp_path):
    for name in ("Ann_Lee", "Bo"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}_{number:04d}.jpg")
    lines = ["2 1", "Ann_Lee 1 2", "Ann_Lee 1 Bo 2", "Bo 1 2", "Bo 1 Ann_Lee 1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    pairs = read_pairs(tmp_path / "pairs.txt", tmp_path)
    assert pairs.first[0] == "Ann_Lee/Ann_Lee_0001.jpg" and pairs.second[1] == "Bo/Bo_0002.jpg"
    assert (pairs.same.tolist(), pairs.folds.tolist()) == ([True, False] * 2, [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a.jpg 1\nb.jpg 0", "two different flags"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 1", "odd number of lines"),
        ("a.jpg x\nb.jpg x", "is no list of pairs"),
        ("a b c d e", "have 5 words"),
        ("a.jpg 1\nb.jpg 1", r"2 of 2 images .* such as a\.jpg, b\.jpg"),
        ("Ann x 2", "is no list of pairs"),
    ],
)
def test_bad_lists_are_explained(tmp_path, text, says):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        read_pairs(tmp_path / "pairs.txt", tmp_path)


def test_a_damaged_protocol_is_explained(faces, tmp_path):
    with pytest.raises(DataError, match="cannot read the list"):
        read_cfp(tmp_path)
    (tmp_path / "Protocol" / "Split" / "FF" / "01").mkdir(parents=True)
    (tmp_path / "Protocol" / "Pair_list_F.txt").write_text("1 ../a.jpg\n")
    (tmp_path / "Protocol" / "Split" / "FF" / "01" / "same.txt").write_text("1,7\n")
    with pytest.raises(DataError, match="'1,7', which is no pair"):
        read_cfp(tmp_path, "FF")
    with pytest.raises(DataError, match="unknown protocol"):
        read_cfp(faces / "cfp", "PP")


def test_each_fold_takes_the_threshold_of_the_others():
    scores = [0.9, 0.1, 0.8, 0.2, 0.3, 0.25]
    same = [True, False, True, False, True, False]
    found = verification_accuracy(scores, same, [0, 0, 1, 1, 2, 2])
    # The third fold's best threshold is 0.275; the others choose 0.5 and 0.25 or so without it.
    assert found.by_fold[2] == 0.5 and found.by_fold[:2] == (1.0, 1.0)
    assert found.accuracy == pytest.approx(2.5 / 3)
    with pytest.raises(DataError, match="two folds"):
        verification_accuracy(scores, same, [0] * 6)


def test_equal_scores_are_not_told_apart():
    found = verification_accuracy([0.5] * 8, [True, False] * 4, [0, 0, 1, 1] * 2)
    assert found.accuracy == 0.5


def test_a_trained_network_knows_faces_of_strangers(faces):
    data = load_data(faces / "train", image_size=32)
    config = TrainConfig(epochs=25, network="cnn1", learning_rate=2e-3, device="cpu")
    (result,) = train("coteaching", [None], data, config)
    pairs = read_pairs(faces / "calfw" / "pairs_CALFW.txt", faces / "calfw" / "aligned images")
    assert verify(result.model, pairs).accuracy > 0.65


def test_embeddings_are_what_enters_the_last_layer_of_a_resnet():
    models = pytest.importorskip("torchvision.models")
    network = models.resnet50(num_classes=5)
    embedded = embed([network], torch.rand(2, 3, 64, 64))
    assert embedded.shape == (2, 2048)
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(np.ones(2))
    with pytest.raises(DataError, match="no linear layer"):
        embed([torch.nn.Flatten()], torch.zeros(1, 3, 4, 4))
