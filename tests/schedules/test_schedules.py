"""Basis functions, spaces and `Schedule`."""

import json
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2e_optuna import Schedule, suggest_schedule
from s2e_optuna.schedules import (
    BASIS_NAMES,
    SCHEDULE_ATTR,
    SPACES,
    basis_function,
    get_space,
    simplex_from_uniform,
    trial_schedule,
)

unit = st.floats(0.0, 1.0)
epochs = st.integers(1, 250)


@given(st.sampled_from(BASIS_NAMES), st.lists(unit, min_size=4, max_size=4), epochs)
def test_basis_functions_start_at_one_and_stay_in_range(name: str, a: list[float], n: int) -> None:
    values = basis_function(name, a, n)
    assert values.shape == (n,) and values[0] == 1.0
    assert np.all((values >= 0.0) & (values <= 2.0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # Table 1 at t = 4, T = 16, a = (0.5, 0.25, 0.5, 0.75), worked out by hand
        ("f1", np.exp(-0.25 * 2.0) + 0.5 * 0.25**0.75),
        ("f2", np.exp(-0.25 * 2.0) + 0.5 * np.log(1 + 4**0.75) / np.log(1 + 8.0)),
        ("f3", 2.0**-0.5 + 0.5 * 0.25**0.75),
        ("f4", 2.0**-0.5 + 0.5 * np.log(1 + 4**0.75) / np.log(1 + 8.0)),
    ],
)
def test_table_1(name: str, expected: float) -> None:
    assert basis_function(name, [0.5, 0.25, 0.5, 0.75], 16)[4] == pytest.approx(expected)


@pytest.mark.parametrize("name", BASIS_NAMES)
def test_zero_to_the_power_of_zero(name: str) -> None:
    """With a1 = a4 = 0 the terms are constants from t = 1 on, but R(0) is still 1."""
    falling = np.exp(-0.5) if name in ("f1", "f2") else 1.0
    np.testing.assert_allclose(
        basis_function(name, [0.0, 0.5, 0.25, 0.0], 4), [1.0, *[falling + 0.25] * 3]
    )


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda s: s.name)
@given(data=st.data(), n=epochs)
@settings(max_examples=50)
def test_every_point_of_every_space_is_a_schedule(space, data, n: int) -> None:  # type: ignore[no-untyped-def]
    params = {
        p.name: data.draw(st.sampled_from(p.choices) if p.choices else st.floats(p.low, p.high))
        for p in space.parameters
    }
    assert space.schedule(params, n).epochs == n  # Schedule checks the range and R(0)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    "sampler",
    [
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.TPESampler(seed=0, n_startup_trials=2),
        optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False),
    ],
    ids=lambda s: type(s).__name__,
)
def test_suggest_and_rebuild(space: str, sampler: optuna.samplers.BaseSampler) -> None:
    study = optuna.create_study(sampler=sampler)
    seen = []

    def objective(trial: optuna.Trial) -> float:
        seen.append(suggest_schedule(trial, 40, space))
        return float(seen[-1].rates.mean())

    study.optimize(objective, n_trials=4)
    assert [trial_schedule(trial) for trial in study.trials] == seen


def test_s2e_space_sums_the_weighted_basis_functions() -> None:
    params = {f"alpha_u{i}of3": 0.0 for i in range(1, 4)}  # all the weight on f4
    a = {"a1": 0.9, "a2": 0.4, "a3": 0.3, "a4": 0.2}
    params |= {f"{f}_{name}": value for f in BASIS_NAMES for name, value in a.items()}
    schedule = SPACES["s2e"].schedule(params, 30)
    expected = basis_function("f4", list(a.values()), 30)
    np.testing.assert_allclose(schedule.rates, np.clip(expected, 0, 1))


def test_coteaching_space_contains_coteachings_schedule() -> None:
    params = {"tau": 0.5, "t_k_over_T": 10 / 200, "c": 1.0}
    np.testing.assert_allclose(
        SPACES["coteaching"].schedule(params, 200).rates, Schedule.coteaching(200, 0.5).rates
    )


@pytest.mark.parametrize("n", [1, 2, 3, 20, 60, 1000])
def test_curves_of_many_points_are_those_of_each(n: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((400, 19))
    x[200:, 3:] = rng.integers(2, size=(200, 16))  # corners
    found = SPACES["s2e"].drawn_rates(simplex_from_uniform(x[:, :3]), x[:, 3:], n)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SPACES["s2e"].rates(x, n), atol=2e-6)
    choice = rng.integers(4, size=400)
    found = SPACES["single"].drawn_rates(np.eye(4)[choice], x[:, 15:], n)
    expected = SPACES["single"].rates(np.column_stack([choice, x[:, 15:]]), n)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_unclipped_sums_are_clipped() -> None:
    params = {f"alpha_u{i}of3": 1.0 for i in range(1, 4)}
    params |= {f"{f}_a{j}": v for f in BASIS_NAMES for j, v in enumerate((1, 0, 1, 1), 1)}
    assert SPACES["s2e"].schedule(params, 50).rates.max() == 1.0


def test_unknown_space_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown space 'cubic': choose one of s2e, coteaching"):
        get_space("cubic")
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        suggest_schedule(optuna.trial.FixedTrial({}), 0)


@pytest.mark.parametrize(
    "rates",
    [[], [0.5, 0.5], [1.0, 1.1], [1.0, -0.1], [1.0, float("nan")], [[1.0]]],
)
def test_invalid_rates(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        Schedule(np.array(rates))


def test_a_schedule_is_a_value() -> None:
    schedule = Schedule.coteaching(20, 0.4)
    with pytest.raises(ValueError, match="read-only"):
        schedule.rates[3] = 0.0
    assert schedule == Schedule.coteaching(20, 0.4) != Schedule.coteaching(20, 0.5)
    assert len({schedule, Schedule.coteaching(20, 0.4)}) == 1
    assert schedule(0) == 1.0 and schedule(15) == pytest.approx(0.6)
    with pytest.raises(IndexError, match="0 … 19"):
        schedule(20)


@given(st.lists(unit, min_size=0, max_size=30))
def test_json_round_trip_is_exact(tail: list[float]) -> None:
    schedule = Schedule(np.array([1.0, *tail]), name="R — found")
    read = Schedule.from_json(schedule.to_json())
    assert read == schedule and read.name == schedule.name


def test_json_file(tmp_path: Path) -> None:
    schedule = Schedule.constant(3)
    schedule.to_json(tmp_path / "schedule.json")
    assert Schedule.from_json(tmp_path / "schedule.json") == schedule


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"format": "s2e-schedule-1"}']
    + [json.dumps({"format": "s2e-schedule-1", "rates": r}) for r in ([0.2], ["x"], None)],
)
def test_json_that_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match="not a schedule"):
        Schedule.from_json(text)


def test_coteaching_schedule_checks_its_parameters() -> None:
    with pytest.raises(ValueError, match="0 <= tau <= 1"):
        Schedule.coteaching(10, tau=1.2)


def test_plot_draws_the_curve() -> None:
    ax = Schedule.coteaching(10, 0.5).plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), Schedule.coteaching(10, 0.5).rates)
    assert ax.get_xlabel() == "epoch t"


@pytest.mark.parametrize("value", [-0.2, 1.0000001, 7.0, float("inf")])
@pytest.mark.parametrize("space", SPACES)
def test_enqueued_values_outside_give_the_schedule_of_the_nearer_end(
    space: str, value: float
) -> None:
    numbers = [p for p in SPACES[space].parameters if p.choices is None]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({p.name: value for p in numbers})
    trial = study.ask()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        suggested = suggest_schedule(trial, 20, space)
    outside = [p for p in numbers if not p.low <= value <= p.high]
    assert sum("out of range" in str(warning.message) for warning in caught) == len(outside)
    inside = {p.name: min(max(value, p.low), p.high) for p in numbers}
    assert suggested == SPACES[space].schedule(trial.params | inside, 20)
    assert trial_schedule(study.trials[0]) == suggested


@pytest.mark.parametrize(
    "attr",
    [
        {"space": ["s2e"], "epochs": 5},
        {"space": {}, "epochs": 5},
        {"space": "s2e", "epochs": True},
        {"space": "s2e", "epochs": 0},
        {"space": "s2e", "epochs": 10**12},
        {"space": "single", "epochs": 5},
        "s2e",
    ],
    ids=str,
)
def test_attributes_that_are_none_of_ours_hold_no_schedule(attr: object) -> None:
    params = {"tau": 0.2, "t_k_over_T": 0.1, "c": 1.0, "basis": "f9"}
    params |= {f"a{i}": 0.5 for i in range(1, 5)}
    choices = optuna.distributions.CategoricalDistribution(["f9", "f10"])
    number = optuna.distributions.FloatDistribution(0.0, 2.0)
    trial = optuna.create_trial(
        value=0.0,
        params=params,
        distributions={name: choices if name == "basis" else number for name in params},
        user_attrs={SCHEDULE_ATTR: attr},
    )
    assert trial_schedule(trial) is None


def test_a_training_of_too_many_epochs() -> None:
    with pytest.raises(ValueError, match="epochs must be at most 1,000,000"):
        suggest_schedule(optuna.trial.FixedTrial({}), 10**7)
