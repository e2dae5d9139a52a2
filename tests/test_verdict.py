"""How sure a comparison is."""

import numpy as np
import pytest
from scipy import stats

from s2e_optuna.reporting.verdict import _margin


def test_the_margin_is_welch_s_and_nearly_equal_values_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=5), 3 * rng.normal(size=4)
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert _margin(first, second) == pytest.approx((interval.high - interval.low) / 2)
    same = np.array([0.1 + 0.2, 0.3, 0.3])
    assert 0.0 < _margin(same, np.full(3, 0.3)) < 1e-15
    assert _margin(np.full(2, 0.5), np.full(3, 0.25)) == 0.0
