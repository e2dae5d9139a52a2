"""Data by name and path; torchvision's sets are read from files in their own formats."""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from s2e_optuna.data import load_data
from s2e_optuna.data.named_sets import _bundled_digits
from s2e_optuna.errors import DataError

RNG = np.random.default_rng(0)
MNIST_DATA = Path(__file__).parents[2] / "data" / "mnist27k.npz"


def test_digits_are_split_the_same_way_every_time():
    first, again = load_data("digits"), load_data("digits", seed=5)
    assert first.y_test is not None
    assert [len(y) for y in (first.y_train, first.y_val, first.y_test)] == [1000, 397, 400]
    assert first.input_shape == (1, 8, 8)
    assert torch.equal(first.x_train, again.x_train)
    assert 0.0 == first.x_train.min() < first.x_train.max() == 1.0
    assert torch.bincount(first.y_val).min() > 35


@pytest.mark.parametrize("known", [True, False])
def test_digits_are_those_of_scikit_learn_however_they_are_read(known, monkeypatch):
    if not known:  # its file lies elsewhere
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    bundle, rows = load_digits(), _bundled_digits()
    assert np.array_equal(rows, np.column_stack([bundle.data, bundle.target]))


def _write_idx(path: Path, array: np.ndarray, compress: bool = False) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with (gzip.open if compress else open)(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())


def _mnist(root: Path, loader: str = "MNIST") -> dict[str, np.ndarray]:
    raw = root / loader / "raw"
    raw.mkdir(parents=True)
    written = {}
    for prefix, size in (("train", 40), ("t10k", 20)):
        images = RNG.integers(0, 256, (size, 28, 28)).astype(np.uint8)
        labels = np.arange(size) % 10
        _write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        _write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
        written[prefix] = images
    return written


@pytest.mark.parametrize(
    ("name", "loader", "third"),
    [
        ("mnist", "MNIST", "3 - three"),
        ("fashion_mnist", "FashionMNIST", "Dress"),
        ("kmnist", "KMNIST", "tsu"),
    ],
)
def test_mnist_and_its_kin_in_torchvisions_files(tmp_path, name, loader, third):
    written = _mnist(tmp_path, loader)
    options = {"data_root": tmp_path, "download": False}
    data = load_data(name, noise="symmetric", noise_rate=0.2, **options)
    assert data.input_shape == (1, 28, 28)
    assert (data.x_train[:, 0].numpy() == written["train"]).all()
    assert (len(data.y_val), data.validation) == (10, "clean")
    assert (data.name, data.class_names[3]) == (name, third)


@pytest.mark.parametrize("broken", ["missing", "truncated"])
def test_mnist_that_cannot_be_read(tmp_path, broken):
    if broken == "truncated":
        _mnist(tmp_path)
        file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
        file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match=r"cannot load mnist from .*downloaded again"):
        load_data("mnist", data_root=tmp_path, download=False)


def _pickle(path: Path, content: object) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_in_torchvisions_files(tmp_path, monkeypatch, name):
    datasets = pytest.importorskip("torchvision.datasets")
    loader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    key, n_classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    folder = tmp_path / loader.base_folder
    folder.mkdir()
    sums = {"train_list": [], "test_list": []}
    first = None
    for part in sums:
        for file, _ in getattr(loader, part):
            pixels = RNG.integers(0, 256, (n_classes, 3072)).astype(np.uint8)
            first = pixels[0] if first is None else first
            content = {"data": pixels, key: list(range(n_classes))}
            sums[part].append([file, _pickle(folder / file, content)])
    names = [f"class {c}" for c in range(n_classes)]
    meta = dict(loader.meta)
    meta["md5"] = _pickle(folder / meta["filename"], {meta["key"]: names})
    monkeypatch.setattr(loader, "meta", meta)
    for part, listed in sums.items():
        monkeypatch.setattr(loader, part, listed)
    data = load_data(name, data_root=tmp_path, download=False)
    assert data.input_shape == (3, 32, 32)
    assert (data.x_train[0].flatten().numpy() == first).all()
    assert data.class_names == tuple(names)
    assert data.y_test is not None
    assert len(data.y_val) == len(data.y_test) == n_classes // 2


def _arrays(size: int = 30) -> dict[str, np.ndarray]:
    return {
        "x_train": RNG.integers(0, 256, (size, 4, 4)).astype(np.uint8),
        "y_train": np.arange(size) % 3,
    }


def test_npz_with_all_parts_and_names(tmp_path):
    arrays = _arrays()
    parts = {f"{a}_{p}": arrays[f"{a}_train"][:9] for a in "xy" for p in ("val", "test")}
    np.savez(tmp_path / "mine.npz", **arrays, **parts, class_names=["a", "b", "c"])
    data = load_data(tmp_path / "mine.npz")
    assert data.y_test is not None
    assert (data.name, len(data.y_val), len(data.y_test)) == ("mine", 9, 9)
    assert data.class_names == ("a", "b", "c")


def test_npz_with_names_of_classes_as_labels(tmp_path):
    names = np.array(["b", "c", "a"])
    arrays = _arrays()
    labels = {"y_train": names[arrays["y_train"]], "x_test": arrays["x_train"][:9]}
    np.savez(tmp_path / "mine.npz", **arrays | labels, y_test=names[arrays["y_train"]][:9])
    (tmp_path / "l.csv").write_text(
        "id,label\n" + "\n".join(f"{i},{'abc'[i % 3]}" for i in range(30))
    )
    data = load_data(tmp_path / "mine.npz", validation="noisy")
    assert data.class_names == ("a", "b", "c") and data.y_test[:3].tolist() == [1, 2, 0]
    given = load_data(tmp_path / "mine.npz", labels=tmp_path / "l.csv")
    assert given.y_train[:4].tolist() == [0, 1, 2, 0]


def test_npz_with_nothing_but_training_data(tmp_path):
    np.savez(tmp_path / "mine.npz", **_arrays())
    assert load_data(str(tmp_path / "mine.npz")).validation == "noisy"


def _truncated(path: Path) -> None:
    np.savez(path, **_arrays(300))
    path.write_bytes(path.read_bytes()[:2000])


def _flipped(path: Path) -> None:
    np.savez(path, **_arrays(300))
    content = bytearray(path.read_bytes())
    content[1500] ^= 255  # the archive's checksum notices
    path.write_bytes(bytes(content))


BAD_FILES = {
    "truncated": (_truncated, "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "truncated or no .npz"),
    "text": (lambda path: path.write_text("hello"), "truncated or no .npz"),
    "flipped byte": (_flipped, "damaged"),
    "missing": (lambda path: None, "there is no file"),
    "objects": (
        lambda path: np.savez(path, **_arrays() | {"y_train": np.array([None] * 30)}),
        "could run code",
    ),
    "other names": (lambda path: np.savez(path, x=np.zeros(3)), "no array x_train and y_train"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_npz_files_are_explained(tmp_path, case):
    write, says = BAD_FILES[case]
    write(tmp_path / "mine.npz")
    with pytest.raises(DataError, match=says):
        load_data(tmp_path / "mine.npz")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("minst", "unknown data set 'minst': choose one of digits, mnist"),
        ("photos/new.parquet", "there is no photos/new.parquet: give the path"),
        (__file__, "neither"),
    ],
)
def test_unknown_sources_list_what_exists(source, says):
    with pytest.raises(DataError, match=says):
        load_data(source)


def test_a_pair_of_arrays_is_data(tmp_path):
    arrays = _arrays()
    data = load_data((arrays["x_train"], arrays["y_train"]), noise="pair", noise_rate=0.2)
    assert (data.name, data.n_classes, data.validation) == ("arrays", 3, "noisy")
    with pytest.raises(DataError, match="3 arrays are no data set"):
        load_data((1, 2, 3))


class _Pictures(torch.utils.data.Dataset):
    classes = ("a", "b", "c")

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_a_torch_dataset_is_data():
    images = RNG.integers(0, 256, (30, 5, 4, 3)).astype(np.uint8)
    data = load_data(_Pictures([(Image.fromarray(x), i % 3) for i, x in enumerate(images)]))
    assert (data.input_shape, data.class_names) == ((3, 5, 4), ("a", "b", "c"))
    again = load_data(_Pictures([(torch.from_numpy(x), i % 3) for i, x in enumerate(images)]))
    assert torch.equal(data.x_train, again.x_train)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "is empty"),
        ([np.zeros((4, 4))], "must be a pair"),
        ([(np.zeros((4, 4)), 0), (np.zeros((4, 5)), 1)], "resize them"),
        ([(np.zeros((4, 4)), 0.5), (np.zeros((4, 4)), 1)], "labels must be integers"),
    ],
)
def test_bad_torch_datasets_are_explained(items, says):
    with pytest.raises(DataError, match=says):
        load_data(_Pictures(items))


def test_an_npz_file_may_hold_the_truth(tmp_path):
    arrays = _arrays()
    np.savez(tmp_path / "mine.npz", **arrays, y_clean=np.roll(arrays["y_train"], 1))
    assert load_data(tmp_path / "mine.npz").noise_rate == 1.0


def test_an_own_transition_matrix(tmp_path):
    matrix = [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    np.savetxt(tmp_path / "t.csv", matrix, delimiter=",")
    arrays = _arrays(300)
    pair = (arrays["x_train"], arrays["y_train"])
    first, second = (load_data(pair, noise=n) for n in (matrix, tmp_path / "t.csv"))
    assert torch.equal(first.y_train, second.y_train)
    wrong = first.y_clean[first.y_train != first.y_clean]
    assert len(wrong) > 20 and set(wrong.tolist()) == {0}
    with pytest.raises(DataError, match="2 rows for 3 classes"):
        load_data(pair, noise=np.eye(2))
    with pytest.raises(DataError, match=r"leave .noise_rate. out"):
        load_data(pair, noise=matrix, noise_rate=0.2)


def test_a_medmnist_archive(tmp_path):
    arrays = {}
    for part, count in (("train", 30), ("val", 12), ("test", 15)):
        arrays[f"{part}_images"] = RNG.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 3)[:, None].astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", **arrays)
    data = load_data(tmp_path / "mnist.npz")
    assert data.reading[0] == (
        "read as a MedMNIST archive: 30 to train, 12 to validate, 15 to test; 3 classes"
    )
    assert data.input_shape == (3, 4, 4) and data.y_test.tolist() == [0, 1, 2] * 5


@pytest.mark.parametrize(
    ("x", "y"), [("X", "y"), ("data", "target"), ("images", "labels"), ("xtrain", "ytrain")]
)
def test_arrays_of_other_names(tmp_path, x, y):
    arrays = _arrays()
    np.savez(tmp_path / "a.npz", **{x: arrays["x_train"], y: arrays["y_train"]}, other=[1])
    data = load_data(tmp_path / "a.npz")
    assert data.reading[0].startswith(f"read as arrays {x}, {y}: ")
    assert "arrays left out: other" in data.reading


def test_two_arrays_for_the_same_are_refused_unless_one_has_its_name(tmp_path):
    arrays = _arrays()
    more = {"images": arrays["x_train"][:5], "data": arrays["x_train"]}
    np.savez(tmp_path / "a.npz", y_train=arrays["y_train"], **more)
    with pytest.raises(DataError, match="arrays data and images, which both look like x_train"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **arrays, **more)
    assert "arrays left out: data, images" in load_data(tmp_path / "a.npz").reading


def test_arrays_with_names_of_samples_are_tied_to_a_table_by_them(tmp_path):
    ids = [f"scan{i}.png" for i in range(30)]
    np.savez(tmp_path / "a.npz", **_arrays(), ids=ids)
    order = RNG.permutation(30)
    lines = [f"{ids[i]},{(i + 1) % 3}" for i in order]
    (tmp_path / "l.csv").write_text("file,label\n" + "\n".join(lines))
    data = load_data(tmp_path / "a.npz", labels=tmp_path / "l.csv")
    assert data.y_train.tolist() == [(int(i[4:-4]) + 1) % 3 for i in data.ids]


def test_training_and_test_arrays_as_keras_returns_them():
    x, y = _arrays()["x_train"], _arrays()["y_train"][:, None]
    data = load_data(((x, y), (x[:10], y[:10])))
    assert (len(data.y_train), len(data.y_val), len(data.y_test)) == (30, 5, 5)


@pytest.mark.skipif(not MNIST_DATA.exists(), reason=f"{MNIST_DATA} is missing")
def test_real_mnist_digits():
    data = load_data(MNIST_DATA, train_size=8000)
    assert data.input_shape == (1, 28, 28)
    assert len(data.y_val) == 5000
