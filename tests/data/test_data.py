import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.data import from_arrays
from s2e_optuna.data.noisy_data import as_images, scale_pixels
from s2e_optuna.data.strata import dealt, stratified_order
from s2e_optuna.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 5, 5)).astype(np.uint8)
LABELS = np.arange(60) % 3


@pytest.mark.parametrize(
    ("given_shape", "shape"),
    [
        ((4, 6, 7), (4, 1, 6, 7)),
        ((4, 6, 7, 3), (4, 3, 6, 7)),
        ((4, 6, 7, 1), (4, 1, 6, 7)),
        ((4, 3, 6, 7), (4, 3, 6, 7)),
        ((4, 3, 6, 3), (4, 3, 6, 3)),
        ((4, 6, 6, 13), (4, 13, 6, 6)),
        ((4, 13, 6, 6), (4, 13, 6, 6)),
        ((4, 1, 1, 7), (4, 1, 1, 7)),
        ((4, 9), (4, 1, 1, 9)),
    ],
)
def test_layouts_are_recognised(given_shape, shape):
    assert as_images(np.zeros(given_shape, np.uint8), "training").shape == shape


def test_channels_last_images_keep_their_pixels():
    pixels = RNG.integers(0, 256, (2, 6, 7, 3)).astype(np.uint8)
    assert (as_images(pixels, "training")[1, 2].numpy() == pixels[1, :, :, 2]).all()


def test_pixels_are_scaled_to_one_and_nothing_else():
    scaled = scale_pixels(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert scaled.tolist() == pytest.approx([0.0, 0.2, 1.0])
    floats = torch.tensor([0.25, -1.0])
    assert torch.equal(scale_pixels(floats), floats)


def test_labels_without_noise_are_taken_as_they_are():
    data = from_arrays(IMAGES, LABELS, IMAGES[:9], LABELS[:9])
    assert data.y_clean is None
    assert data.y_train.tolist() == LABELS.tolist()
    assert (data.validation, data.n_classes, data.x_test) == ("clean", 3, None)


def test_noise_is_put_on_the_training_labels_only():
    data = from_arrays(
        IMAGES, LABELS, IMAGES, LABELS, IMAGES, LABELS, noise="pair", noise_rate=0.4, seed=5
    )
    assert data.y_clean is not None
    assert data.y_test is not None
    assert data.y_clean.tolist() == data.y_val.tolist() == data.y_test.tolist() == LABELS.tolist()
    assert 0.2 < (data.y_train != data.y_clean).float().mean() < 0.6
    assert data.noise == "pair 0.4 (seed 5)"


def test_halves_of_the_test_part_are_random_fixed_and_complete():
    marked = np.arange(60, dtype=np.uint8).repeat(25).reshape(60, 5, 5)
    first, other = (
        from_arrays(IMAGES, LABELS, None, None, marked, LABELS, seed=s) for s in (1, 2)
    )
    assert first.x_test is not None
    val, test = (x[:, 0, 0, 0].tolist() for x in (first.x_val, first.x_test))
    assert sorted(val + test) == list(range(60))
    assert len(val) == 30
    assert 8 < sum(i < 30 for i in val) < 22  # not cut at the middle
    assert torch.equal(first.x_val, other.x_val)


def test_without_other_parts_validation_is_cut_from_the_noisy_training_data():
    data = from_arrays(IMAGES, LABELS, noise="symmetric", noise_rate=0.5)
    assert data.validation == "noisy"
    assert len(data.y_val) + len(data.y_train) == 60
    assert data.y_clean is not None
    assert len(data.y_clean) == len(data.ids) == len(data.y_train)


def test_noisy_validation_leaves_the_test_part_whole():
    data = from_arrays(IMAGES, LABELS, None, None, IMAGES, LABELS, validation="noisy")
    assert data.y_test is not None
    assert (data.validation, len(data.y_test)) == ("noisy", 60)


def test_a_clean_validation_part_can_be_cut_when_the_noise_is_added_here():
    marked = np.arange(60, dtype=np.uint8).repeat(25).reshape(60, 5, 5)
    data = from_arrays(marked, LABELS, noise="pair", noise_rate=0.45, validation="clean")
    rows = data.x_val[:, 0, 0, 0].long().numpy()
    assert data.validation == "clean"
    assert data.y_val.tolist() == LABELS[rows].tolist()


def test_train_size_keeps_the_proportions_and_the_ids():
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    data = from_arrays(IMAGES, labels, IMAGES, labels, train_size=12)
    assert torch.bincount(data.y_train).tolist() == [6, 4, 2]
    assert torch.equal(data.x_train[:, 0], torch.from_numpy(IMAGES[[int(i) for i in data.ids]]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 60))
def test_leading_parts_of_a_stratified_order_hold_the_classes_in_proportion(labels, size):
    values = np.array(labels)
    order = stratified_order(values, np.random.default_rng(0))
    assert sorted(order) == list(range(len(values)))
    part = values[order[:size]]
    for label in set(labels):
        expected = np.mean(values == label) * len(part)
        assert abs((part == label).sum() - expected) < 4


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=9), st.integers(2, 6))
def test_parts_hold_every_class_in_proportion(more, parts):
    """Classes of about one size, as most data have them, too: ten of about twelve each."""
    values = np.concatenate([np.arange(120) % 10, more]).astype(int)
    part = dealt(values, parts, np.random.default_rng(0))
    counts = np.array([np.bincount(values[part == k], minlength=13) for k in range(parts)])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_other_labels_can_be_put_in_place():
    data = from_arrays(IMAGES, LABELS, IMAGES, LABELS, noise="pair", noise_rate=0.2)
    changed = data.with_labels((LABELS + 1) % 3, "human")
    assert changed.y_train.tolist() == ((LABELS + 1) % 3).tolist()
    assert changed.noise == "human"
    with pytest.raises(DataError, match="only 3 classes"):
        data.with_labels(LABELS + 1)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["dog", "cat", "ox"])[LABELS], ("cat", "dog", "ox")),
        (np.array([b"dog", b"cat", b"ox"])[LABELS], ("cat", "dog", "ox")),
        (np.array(["dog", "cat", "ox"], dtype=object)[LABELS], ("cat", "dog", "ox")),
        (np.array(["2", "10", "01"])[LABELS], ("01", "2", "10")),
        (LABELS.astype(float), ("0", "1", "2")),
        (LABELS + 1, ("1", "2", "3")),
        (LABELS > 0, ("0", "1")),
        (LABELS[:, None], ("0", "1", "2")),
        (np.array([["dog"], ["cat"], ["ox"]])[LABELS], ("cat", "dog", "ox")),
        (np.eye(3, dtype=int)[LABELS], ("0", "1", "2")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (LABELS * 5, ("0", "5", "10")),
        ((LABELS > 0) * 2 - 1, ("-1", "1")),
    ],
)
def test_labels_of_other_kinds_are_numbered(labels, names):
    data = from_arrays(IMAGES, labels, IMAGES, labels, y_clean=labels)
    assert data.class_names == names and data.noise_rate == 0.0
    assert torch.equal(data.y_val, data.y_train)
    kind = labels.dtype.kind
    if labels.ndim == 2:
        labels = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
    words = {"S": np.char.decode, "f": np.int64, "b": np.int64}.get(kind, np.asarray)(labels)
    assert [names[label] for label in data.y_train] == list(map(str, words))


def test_names_of_classes_may_go_with_numbers_from_one():
    data = from_arrays(IMAGES, LABELS + 1, class_names=["a", "b", "c"], validation="noisy")
    assert data.class_names == ("a", "b", "c") and int(data.y_train.min()) == 0


NAN = IMAGES.astype(np.float32) / 255
NAN[7, 2, 2] = np.nan
BAD = {
    "float labels": ((IMAGES, LABELS + 0.5), {}, "labels must be integers"),
    "infinite labels": ((IMAGES, np.full(60, np.inf)), {}, "labels must be integers"),
    "NaN labels": ((IMAGES, np.full(60, np.nan)), {}, "none of them missing"),
    "one text label": ((IMAGES, np.array(["cat"] * 60)), {}, r"only one class \(cat\)"),
    "text and numbers": ((IMAGES, np.array(["cat", "dog"] * 30), IMAGES, LABELS), {}, "are text"),
    "missing text": ((IMAGES, ["cat", "dog", "nan"] * 20), {}, "20 of the train labels"),
    "text of no class": (
        (IMAGES, ["cat", "cow"] * 30),
        {"class_names": "ab"},
        "'cat', which is no",
    ),
    "shares": ((IMAGES, np.full((60, 2), 0.5)), {}, r"train labels \[60, 2\] are shares"),
    "several at once": ((IMAGES, np.ones((60, 2))), {}, "name several classes at once"),
    "wide labels": ((IMAGES, np.full((60, 2), 7)), {}, "one class number a sample"),
    "negative labels": ((IMAGES, LABELS - 1), {}, "hold -1"),
    "empty class": ((IMAGES, LABELS * 2, IMAGES, LABELS), {}, r"training sample \(class 1\)"),
    "single class": ((IMAGES, LABELS * 0), {}, r"only one class \(0\): .* at least two"),
    "a class": ((IMAGES, LABELS * 0), {"class_names": ["cat"]}, r"only one class \(cat\)"),
    "too few labels": ((IMAGES, LABELS[:-1]), {}, "60 images but 59 labels"),
    "labels beyond the outputs": ((IMAGES, LABELS), {"n_classes": 2}, "go up to 2"),
    "no labels": ((IMAGES, None), {}, "one of them is missing"),
    "no test labels": ((IMAGES, LABELS, None, None, IMAGES), {}, "test part needs both"),
    "no samples": ((IMAGES[:0], LABELS[:0]), {}, "training part is empty"),
    "NaN pixels": ((NAN, LABELS), {}, "first is number 7"),
    "NaN features": ((NAN[:, 2], LABELS), {}, "samples hold NaN .*number 7: .*SimpleImputer"),
    "objects": ((np.array([None] * 60), LABELS), {}, "type object"),
    "flat array": ((IMAGES[:, 0, 0], LABELS), {}, r"shape \[60\]"),
    "other test size": ((IMAGES, LABELS, None, None, IMAGES[:, 1:], LABELS), {}, "same size"),
    "train_size": ((IMAGES, LABELS), {"train_size": 61}, "train_size 61 is out of range"),
    "train_size 0": ((IMAGES, LABELS), {"train_size": 0}, "train_size 0 is out of range"),
    "validation": ((IMAGES, LABELS), {"validation": "some"}, "choose auto, clean or noisy"),
    "no clean part": ((IMAGES, LABELS), {"validation": "clean"}, "no clean validation part"),
    "noise without rate": ((IMAGES, LABELS), {"noise": "pair"}, "needs a noise_rate"),
    "rate without noise": ((IMAGES, LABELS), {"noise_rate": 0.1}, "`noise_rate` needs `noise`"),
    "rate too high": ((IMAGES, LABELS), {"noise": "pair", "noise_rate": 0.5}, "out of range"),
    "class names": ((IMAGES, LABELS), {"class_names": ["a", "b"]}, "only 2 classes"),
    "ids": ((IMAGES, LABELS), {"ids": ["a"]}, "1 ids for 60"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_get_one_sentence(case):
    arguments, options, says = BAD[case]
    with pytest.raises(DataError, match=says) as caught:
        from_arrays(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_data_set_is_printed_in_a_line(blobs):
    assert repr(blobs).startswith("NoisyData('blobs', 120 to train, 60 to validate, 60 to test")
    assert "tensor" not in repr(blobs) and "\n" not in repr(blobs)


def test_two_samples_of_a_class_are_told():
    labels = np.array([0] * 20 + [1] * 20 + [2] * 2)
    images = np.random.default_rng(0).random((42, 4, 4))
    told = from_arrays(images, labels, images, labels, class_names=["a", "b", "c"]).reading
    assert any("fewer than 3 training samples of 1 class (c)" in sentence for sentence in told)
