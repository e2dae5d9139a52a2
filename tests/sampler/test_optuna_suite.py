"""Optuna's own test suite for samplers."""

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from s2e_optuna import S2ESampler


class _Suite(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    pass


class TestDefault(_Suite):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return S2ESampler


class TestSmallBatches(_Suite):
    """Updates theta as often as it can, so that the suite's short studies reach it."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: S2ESampler(batch_size=2)


class TestPaper(_Suite):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return S2ESampler.paper
