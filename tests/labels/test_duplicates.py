import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2e_optuna.errors import DataError
from s2e_optuna.labels.duplicates import Contradiction, contradictions


def test_equal_samples_with_different_labels_are_found():
    found = contradictions([3, 1, 3, 2, 1, 0], ["x", "y", "x", "y", "z", "y"])
    assert found == [Contradiction((1, 3, 5), (1, 2, 0))]
    assert found[0].least_wrong == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_a_group_is_found_if_and_only_if_its_labels_differ(pairs):
    labels, digests = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = contradictions(labels, digests)
    groups = {d: {lab for lab, e in pairs if e == d} for d in set(digests)}
    assert {digests[c.rows[0]] for c in found} == {
        d for d, kinds in groups.items() if len(kinds) > 1
    }
    for one in found:
        assert one.labels == tuple(labels[row] for row in one.rows)
        assert 1 <= one.least_wrong < len(one.rows)


def test_each_label_needs_a_digest():
    with pytest.raises(DataError, match="2 digests for 1 labels"):
        contradictions([0], [b"a", b"b"])
