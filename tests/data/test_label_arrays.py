"""Label files of CIFAR-N: dictionaries of arrays in pickles, of which nothing else is made."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from s2e_optuna.data import load_data
from s2e_optuna.errors import DataError

RNG = np.random.default_rng(0)
OWN = RNG.integers(0, 10, 300)
WORSE = np.where(RNG.random(300) < 0.4, RNG.integers(0, 10, 300), OWN)
HUMAN = {"clean_label": OWN, "worse_label": WORSE, "random_label1": OWN}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    np.savez(path, x_train=RNG.random((300, 4, 4)), y_train=OWN)
    return path


def write(path: Path, content: object) -> Path:
    if path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ["CIFAR-10_human.npy", "CIFAR-10_human.pt"])
@pytest.mark.parametrize(
    "content",
    [
        HUMAN,
        {k: torch.from_numpy(v) for k, v in HUMAN.items()},
        {k: v.tolist() for k, v in HUMAN.items()},
    ],
    ids=["arrays", "tensors", "lists"],
)
def test_a_dictionary_of_labels(arrays, tmp_path, name, content):
    if name.endswith("npy") and isinstance(content["clean_label"], torch.Tensor):
        pytest.skip("nobody has tensors in an .npy file")
    path = write(tmp_path / name, content)
    data = load_data(arrays, labels=path, label_column="worse_label")
    assert data.y_train.tolist() == [int(WORSE[int(i)]) for i in data.ids]
    assert data.noise_rate == pytest.approx((WORSE != OWN).mean(), abs=0.1)
    assert any("in the order of the samples (0, 1, …)" in words for words in data.reading)
    with pytest.raises(DataError, match=r"clean_label, random_label1, worse_label: .*--label-col"):
        load_data(arrays, labels=path)
    with pytest.raises(DataError, match="no array 'nope'"):
        load_data(arrays, labels=path, label_column="nope")


@pytest.mark.parametrize("kind", [np.int64, np.float64, np.uint8])
def test_a_plain_array_and_one_of_another_order(arrays, tmp_path, kind):
    np.save(tmp_path / "l.npy", WORSE.astype(kind)[:, None])
    data = load_data(arrays, labels=tmp_path / "l.npy")
    assert data.y_train.tolist() == [int(WORSE[int(i)]) for i in data.ids]
    order = RNG.permutation(300)
    path = write(tmp_path / "o.npy", {name: values[order] for name, values in HUMAN.items()})
    with pytest.raises(DataError, match="another order"):
        load_data(arrays, labels=path, label_column="worse_label")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("name", ["l.npy", "l.pt"])
@pytest.mark.parametrize("content", [{"given": Evil()}, Evil(), "damaged", "no arrays"])
def test_nothing_but_arrays_is_made(arrays, tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    if content == "damaged":
        write(path, HUMAN)
        path.write_bytes(path.read_bytes()[:-400])
    else:
        write(path, {"labels": "text"} if content == "no arrays" else content)
    with pytest.raises(DataError, match=r"cannot read the labels in|holds no arrays") as caught:
        load_data(arrays, labels=path)
    assert not (tmp_path / "evil").exists() and "\n" not in str(caught.value)


def test_arrays_of_earlier_numpy_are_read(arrays, tmp_path):
    path = write(tmp_path / "l.npy", {"given": WORSE})
    content = path.read_bytes()
    assert b"numpy._core" in content or b"numpy.core" in content
    old = pickle.dumps({"given": WORSE}, protocol=2).replace(b"numpy._core", b"numpy.core")
    header = content[: content.index(b"\n") + 1]
    path.write_bytes(header + old)
    assert load_data(arrays, labels=path).y_train.tolist() == [
        int(WORSE[int(i)]) for i in load_data(arrays, labels=path).ids
    ]
