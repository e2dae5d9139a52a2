from typing import Any

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

from s2e_optuna.sampler.codec import (
    Codec,
    Numerical,
    draw_uniformly,
    from_unit,
    holds,
    nearest,
    searchable,
    to_unit,
    value_at,
)
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


@pytest.mark.parametrize(
    "distribution",
    [
        IntDistribution(-(2**63), 2**63 - 1),  # the highest has no float of its own
        IntDistribution(0, 2**70),
        IntDistribution(1, 2**62, log=True),
        IntDistribution(5, 5 + 3 * 7, step=3),
        FloatDistribution(-1.7e308, 1.7e308),  # its width is infinite
        FloatDistribution(1e-320, 1e300, log=True),
        FloatDistribution(1e10, np.nextafter(1e10, np.inf), log=True),  # the logarithms are equal
    ],
    ids=str,
)
def test_ranges_at_the_limits_of_floats(distribution: Numerical) -> None:
    for unit in (0.0, 1e-9, 0.3, 1.0 - 1e-9, 1.0):
        value = value_at(distribution, unit)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert 0.0 <= to_unit(distribution, value) <= 1.0


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(float("-inf"), 1.0),
        FloatDistribution(float("nan"), float("nan")),
        IntDistribution(0, 10**400),
        FloatDistribution(1.0, 1.0),
        CategoricalDistribution([1]),
    ],
    ids=lambda d: str(d)[:40],
)
def test_what_has_no_two_ends_or_only_one_value_is_not_searched(
    distribution: BaseDistribution,
) -> None:
    assert not searchable(distribution)
    if not isinstance(distribution, CategoricalDistribution) and distribution.low != 1.0:
        with pytest.raises(ValueError, match="needs a lower and an upper end"):
            draw_uniformly(distribution, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("distribution", "value", "held", "near"),
    [
        (FloatDistribution(0.0, 1.0), 1.5, False, 1.0),
        (FloatDistribution(0.0, 1.0), float("nan"), False, None),
        (FloatDistribution(0.0, 1.0), "much", False, None),
        (FloatDistribution(0.0, 1.0, step=0.1), 0.25, True, 0.25),
        (IntDistribution(1, 9), 10**400, False, None),
        (IntDistribution(1, 9), -2, False, 1),
        (CategoricalDistribution([True, 2, 3.0]), 1.0, True, 1.0),
        (CategoricalDistribution(["a", "b"]), "c", False, None),
    ],
    ids=str,
)
def test_which_stored_values_count(
    distribution: BaseDistribution, value: Any, held: bool, near: Any
) -> None:
    assert holds(distribution, value) == held
    if near is None:
        with pytest.raises(ValueError, match="is no value of"):
            nearest(distribution, value)
    else:
        assert nearest(distribution, value) == near
