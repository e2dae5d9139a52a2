import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna.data import (
    corrupt_labels,
    corrupt_labels_by_instance,
    from_arrays,
    read_transition_matrix,
)
from s2e_optuna.errors import DataError
from s2e_optuna.training import transition_matrix


@settings(deadline=None)
@given(st.sampled_from(["symmetric", "pair"]), st.floats(0, 0.49), st.integers(2, 20))
def test_rows_of_a_transition_matrix_are_distributions_with_the_rate(kind, rate, n_classes):
    matrix = transition_matrix(kind, rate, n_classes)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=1) == pytest.approx(np.ones(n_classes))
    assert np.diag(matrix) == pytest.approx(np.full(n_classes, 1 - rate))


def test_pair_noise_moves_to_the_next_class_and_wraps():
    expected = [[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]]
    assert transition_matrix("pair", 0.4, 3) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_drawn_labels_follow_the_matrix(kind):
    clean = np.repeat(np.arange(4), 20_000)
    matrix = transition_matrix(kind, 0.3, 4)
    drawn = corrupt_labels(clean, matrix, np.random.default_rng(0))
    shares = np.array([np.bincount(drawn[clean == c], minlength=4) / 20_000 for c in range(4)])
    assert shares == pytest.approx(matrix, abs=0.012)


def test_the_seed_decides_the_labels():
    clean, matrix = np.arange(500) % 5, transition_matrix("symmetric", 0.5, 5)
    first, again, other = (
        corrupt_labels(clean, matrix, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_rate_zero_changes_nothing():
    clean = np.arange(50) % 5
    drawn = corrupt_labels(clean, transition_matrix("pair", 0.0, 5), np.random.default_rng(0))
    assert (drawn == clean).all()


@pytest.mark.parametrize(
    ("kind", "rate", "says"),
    [
        ("symmetric", 0.9, "0 <= noise_rate < 0.9"),
        ("symmetric", -0.1, "out of range"),
        ("symmetric", float("nan"), "out of range"),
        ("pair", 0.5, "a wrong class could be as frequent as the true one"),
        ("instance", 0.5, "0 <= noise_rate < 0.5"),
        ("triple", 0.2, "choose one of instance, pair, symmetric, or give a file"),
    ],
)
def test_bad_noise_says_why(kind, rate, says):
    with pytest.raises(DataError, match=says):
        transition_matrix(kind, rate, 10)


@pytest.mark.parametrize(
    ("labels", "matrix", "says"),
    [
        ([0, 1], [[1, 0]], "square"),
        ([0, 1], [[0.5, 0.4], [0, 1]], "sum to 1"),
        ([0, 2], [[1, 0], [0, 1]], "0 .. 1"),
    ],
)
def test_bad_matrices_are_refused(labels, matrix, says):
    with pytest.raises(DataError, match=says):
        corrupt_labels(labels, matrix, np.random.default_rng(0))


def test_instance_noise_has_about_its_rate_and_depends_on_the_sample():
    rng = np.random.default_rng(0)
    clean = np.repeat(np.arange(4), 3000)
    looks = rng.random((2, 4, 20))  # two kinds of samples in each class
    kind = rng.integers(0, 2, len(clean))
    drawn = corrupt_labels_by_instance(clean, looks[kind, clean], 0.3, 4, rng)
    assert (drawn != clean).mean() == pytest.approx(0.3, abs=0.02)
    wrong = drawn != clean
    to = np.zeros((2, 4, 4))
    np.add.at(to, (kind[wrong], clean[wrong], drawn[wrong]), 1)
    shares = to / to.sum(axis=2, keepdims=True)
    assert np.abs(shares[0] - shares[1]).max() > 0.2
    same = corrupt_labels_by_instance(clean, looks[0, clean], 0.0, 4, rng)
    assert (same == clean).all()


def test_a_transition_matrix_is_read_from_a_file(tmp_path):
    matrix = transition_matrix("pair", 0.25, 3)
    np.savetxt(tmp_path / "t.csv", matrix, delimiter=",")
    np.savetxt(tmp_path / "t.txt", matrix)
    np.save(tmp_path / "t.npy", matrix)
    for name in ("t.csv", "t.txt", "t.npy"):
        assert read_transition_matrix(tmp_path / name) == pytest.approx(matrix)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"1,0\n0", "cannot use .*t.csv"),
        ("t.csv", b"1,0\nx,1", "cannot use .*t.csv"),
        ("t.csv", b"0.5,0.6\n0,1", "sum to 1"),
        ("t.csv", b"nan,1\n0,1", "sum to 1"),
        ("t.npy", b"\x93NUMPY cut", "cannot use .*t.npy"),
        ("t.txt", None, "there is no file"),
    ],
)
def test_a_bad_matrix_file_is_explained(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_transition_matrix(tmp_path / name)


def test_a_pickle_is_not_taken_for_a_matrix(tmp_path):
    np.save(tmp_path / "t.npy", np.array([None, 1], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot use .*t\.npy"):
        read_transition_matrix(tmp_path / "t.npy")


@pytest.mark.parametrize(
    "text",
    [
        ",cow,ant,bee\ncow,1,0,0\nant,0,.5,.5\nbee,.1,.2,.7\n",
        "cow,ant,bee\n1,0,0\n0,.5,.5\n.1,.2,.7\n",
        "cow,1,0,0\nant,0,.5,.5\nbee,.1,.2,.7\n",
    ],
)
def test_named_rows_and_columns_go_to_their_classes(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    matrix = read_transition_matrix(tmp_path / "t.csv", ("ant", "bee", "cow"))
    assert matrix.tolist() == [[0.5, 0.5, 0], [0.2, 0.7, 0.1], [0, 0, 1]]
    assert read_transition_matrix(tmp_path / "t.csv")[0].tolist() == [1, 0, 0]
    with pytest.raises(
        DataError, match=r"names the classes cow, ant, bee, the data ant, bee, dog"
    ):
        read_transition_matrix(tmp_path / "t.csv", ("ant", "bee", "dog"))


def test_the_order_of_a_matrix_without_names_is_said(tmp_path):
    arrays = np.random.default_rng(0).random((30, 4, 4)), np.array(["ant", "bee", "cow"] * 10)
    (tmp_path / "t.csv").write_text(",cow,ant,bee\ncow,1,0,0\nant,0,0,1\nbee,0,0,1\n")
    named = from_arrays(*arrays, noise=tmp_path / "t.csv")
    assert (named.y_train[named.y_clean == 0] == 1).all() and not any(
        "transition matrix" in sentence for sentence in named.reading
    )
    plain = from_arrays(*arrays, noise=np.eye(3))
    assert "rows and columns of the transition matrix are ant, bee, cow" in plain.reading
