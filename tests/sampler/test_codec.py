import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from s2e_optuna.sampler.codec import Codec, draw_uniformly, from_unit, to_unit, value_at
from s2e_optuna.schedules import simplex_from_uniform, simplex_parameter_names

NUMERICAL = [
    FloatDistribution(-2.0, 3.0),
    FloatDistribution(1e-5, 10.0, log=True),
    FloatDistribution(-1.0, 1.0, step=0.25),
    IntDistribution(-3, 12),
    IntDistribution(0, 12, step=3),
    IntDistribution(1, 1000, log=True),
]
SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "layers": IntDistribution(1, 4),
    "act": CategoricalDistribution(["relu", None, 3]),
    **{name: FloatDistribution(0.0, 1.0) for name in simplex_parameter_names("mix", 4)},
}


@pytest.mark.parametrize("distribution", NUMERICAL, ids=str)
@given(unit=st.floats(0.0, 1.0))
def test_values_lie_in_the_distribution_and_come_back(distribution, unit: float) -> None:  # type: ignore[no-untyped-def]
    value = value_at(distribution, unit)
    assert distribution._contains(distribution.to_internal_repr(value))
    assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
    assert 0.0 <= to_unit(distribution, value) <= 1.0
    assert from_unit(distribution, to_unit(distribution, value)) == pytest.approx(value)


def test_steps_sit_in_the_middle_of_equal_cells() -> None:
    assert to_unit(IntDistribution(0, 3), 0) == 1 / 8
    values = from_unit(IntDistribution(0, 3), np.linspace(0.001, 0.999, 1000))
    np.testing.assert_array_equal(np.unique(values, return_counts=True)[1], [250] * 4)


def test_one_block_a_variable() -> None:
    codec = Codec(SPACE)
    assert [(b.kind, b.size) for b in codec.family.blocks] == [
        ("dirichlet", 4),  # mix
        ("categorical", 3),  # act
        ("dirichlet", 2),  # layers
        ("dirichlet", 2),  # lr
    ]


def test_decode_then_encode_returns_the_point() -> None:
    codec = Codec({name: d for name, d in SPACE.items() if name != "layers"})
    x = codec.family.sample(codec.family.uniform(), 100, np.random.default_rng(0))
    np.testing.assert_allclose(codec.encode([codec.decode(row) for row in x]), x, atol=1e-8)


def test_simplex_parameters_hold_the_drawn_weights() -> None:
    codec = Codec(SPACE)
    x = codec.family.sample(codec.family.uniform(), 1, np.random.default_rng(0))[0]
    params = codec.decode(x)
    u = [params[name] for name in simplex_parameter_names("mix", 4)]
    np.testing.assert_allclose(simplex_from_uniform(u), x[:4], atol=1e-8)


def test_a_simplex_name_with_another_range_is_no_simplex() -> None:
    codec = Codec({"w_u1of1": FloatDistribution(0.0, 2.0)})
    assert codec.groups == {} and codec.singles == ["w_u1of1"]


def test_edges_have_finite_statistics() -> None:
    codec = Codec(SPACE)
    row = {"lr": 1.0, "layers": 1, "act": None} | dict.fromkeys(
        simplex_parameter_names("mix", 4), 1
    )
    assert np.isfinite(codec.family.statistics(codec.encode([row]))).all()


def test_unknown_distributions_are_refused() -> None:
    with pytest.raises(ValueError, match="does not know"):
        draw_uniformly(object(), np.random.default_rng(0))  # type: ignore[arg-type]


def test_snapped_points_decode_to_the_same_parameters() -> None:
    codec = Codec(SPACE)
    points = codec.family.sample(codec.family.uniform(), 50, np.random.default_rng(0))
    snapped = codec.snapped(points)
    for point, moved in zip(points, snapped, strict=True):
        assert codec.decode(moved) == codec.decode(point)
    np.testing.assert_allclose(codec.encode(map(codec.decode, points)), snapped, atol=1e-7)


def test_pinned_points_have_the_given_values_and_else_their_own() -> None:
    codec = Codec(SPACE)
    points = codec.family.sample(codec.family.uniform(), 20, np.random.default_rng(0))
    given = {"layers": 3, "act": None, "mix_u2of3": 0.25, "unknown": 1.0}
    before = [codec.decode(point) for point in points]
    after = [codec.decode(point) for point in codec.pinned(points, given)]
    for old, new in zip(before, after, strict=True):
        for name, value in new.items():
            expected = given.get(name, old[name])
            assert value == (
                expected
                if expected is None or isinstance(expected, str)
                else pytest.approx(expected)
            )
