from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from s2e_optuna.training.selection import keep_counts, small_loss_mask, small_loss_mask_within

LOSSES = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    elements=st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 2.0, 7.5]),  # many ties
)


@settings(deadline=None)
@given(LOSSES, st.floats(0, 1))
def test_the_mask_is_the_sliced_selection(losses, rate):
    count = int(keep_counts(rate, losses.shape[1]))
    mask = small_loss_mask(torch.from_numpy(losses), torch.tensor(count)).numpy()
    for row, kept in zip(losses, mask, strict=True):
        sliced = np.argsort(row, kind="stable")[:count]
        assert sorted(sliced) == np.flatnonzero(kept).tolist()


@settings(deadline=None)
@given(LOSSES, st.integers(1, 40))
def test_the_mask_is_rank_below_k(losses, count):
    tensor = torch.from_numpy(losses)
    rank = tensor.argsort(stable=True).argsort(stable=True)
    assert torch.equal(small_loss_mask(tensor, torch.tensor(count)), rank < count)


def test_each_row_has_its_own_count():
    losses = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    mask = small_loss_mask(losses, torch.tensor([[1], [2]]))
    assert mask.tolist() == [[False, True, False], [False, True, True]]


def test_nan_is_taken_last():
    mask = small_loss_mask(torch.tensor([float("nan"), 5.0]), torch.tensor(1))
    assert mask.tolist() == [False, True]


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 512))
def test_counts_of_decimal_rates_round_down_exactly(thousandths, batch_size):
    exact = int(Fraction(thousandths, 1000) * batch_size)
    assert keep_counts(thousandths / 1000, batch_size) == max(1, exact)


@pytest.mark.parametrize(("rate", "kept"), [(0.7, 7), (0.29, 2), (0.0, 1), (1.0, 10), (0.05, 1)])
def test_counts_of_a_batch_of_ten(rate, kept):
    assert keep_counts(rate, 10) == kept


@settings(deadline=None)
@given(LOSSES, st.integers(0, 2**40 - 1), st.floats(0, 1))
def test_the_mask_within_a_set_is_the_sliced_selection(losses, bits, rate):
    members = np.array([bits >> i & 1 for i in range(losses.shape[1])], dtype=bool)
    mask = small_loss_mask_within(
        torch.from_numpy(losses), torch.from_numpy(members), torch.tensor(rate).double()
    ).numpy()
    inside = np.flatnonzero(members)
    count = int(np.float64(np.float32(rate)) * len(inside) + 1e-9) or len(inside)
    for row, kept in zip(losses, mask, strict=True):
        sliced = inside[np.argsort(row[inside], kind="stable")[:count]]
        assert sorted(sliced) == np.flatnonzero(kept).tolist()
