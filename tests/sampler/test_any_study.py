"""Properties over all that a study may hold and over all callers: the sampler goes on, in range.

The studies are those that a storage can hold, not those that Optuna would let in: its checks are
of the version that wrote the trials, and other programs write, too.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna import S2ESampler, best_schedule, suggest_simplex
from s2e_optuna.sampler import generations, recommended_trial
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.ledger import LOST_KEY
from s2e_optuna.sampler.tags import TAG_KEY
from s2e_optuna.schedules import SPACES

optuna.logging.set_verbosity(optuna.logging.ERROR)

UNIT = FloatDistribution(0.0, 1.0)
ASKED: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-2.0, 3.0),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "log": FloatDistribution(1e-5, 1.0, log=True),
    "n": IntDistribution(1, 9, step=2),
    "c": CategoricalDistribution(["a", None, 3]),
    "w_u1of2": UNIT,
    "w_u2of2": UNIT,
}

OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_size": 1},
    {"candidates": 1},
    {"estimator": "score", "batch_size": 2},
    {"update": "natural"},
]

number = st.floats() | st.floats(-3.0, 3.0) | st.integers() | st.sampled_from([10**400, 1e-320])
bound = st.floats(-10.0, 10.0) | st.floats() | st.sampled_from([-1.7e308, 1.7e308, 2.0**63])
count = st.integers(0, 8)


@st.composite
def floats(draw: st.DrawFn, finite: bool = False) -> FloatDistribution:
    """Any float distribution that Optuna lets one make, without its warnings."""
    ends = st.floats(-1e300, 1e300) if finite else bound
    low, high = draw(ends), draw(ends)
    if low > high:
        low, high = high, low
    if draw(st.booleans()) and abs(low) <= 10.0:
        low = round(low)
        return FloatDistribution(low, low + draw(count) * 0.25, step=0.25)
    return FloatDistribution(low, high, log=bool(low > 0.0 and draw(st.booleans())))


@st.composite
def ints(draw: st.DrawFn, finite: bool = False) -> IntDistribution:
    """Any int distribution, also of numbers that no float can hold."""
    most = 2**52 if finite else 10**400  # beyond 2^53 a float may have no integer beside it
    low = draw(st.integers(-5, 5) | st.integers(-most, most))
    width = draw(st.integers(0, 20) | st.integers(0, most))
    if low >= 1 and draw(st.booleans()):
        return IntDistribution(low, low + width, log=True)
    step = draw(st.integers(1, 5)) if width <= 20 and abs(low) < 2**50 else 1
    return IntDistribution(low, low + width // step * step, step=step)


choices = st.lists(
    st.none() | st.booleans() | st.integers(0, 3) | st.floats() | st.text(max_size=2),
    min_size=1,
    max_size=5,
)
odd_choices = st.lists(st.lists(st.integers(0, 2)) | st.none(), min_size=1, max_size=4)
categoricals = st.builds(CategoricalDistribution, choices)
stored = floats() | ints() | categoricals | st.builds(CategoricalDistribution, odd_choices)
drawable = floats(finite=True) | ints(finite=True) | categoricals

alien = st.none() | number | st.text(max_size=3) | st.lists(number, max_size=3)
alien |= st.dictionaries(st.text(max_size=3), number, max_size=2)


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda chance: usual if chance else other)


@st.composite
def tags(draw: st.DrawFn, own: int, sig: str, size: int) -> Any:
    """A tag, or what somebody else has written in its place."""
    if draw(st.integers(0, 3)) == 0:
        return draw(alien)
    theta = st.lists(st.floats(0.3, 9.0), min_size=size, max_size=size)
    commit = {
        "parent": draw(mostly(st.none(), count | alien)),
        "batch": draw(mostly(st.lists(st.integers(0, own), max_size=4), alien)),
        "theta": draw(mostly(theta, st.lists(number, max_size=size) | alien)),
        "kernel": draw(mostly(st.lists(st.floats(), min_size=11, max_size=13), alien)),
    }
    tag = {
        "n": draw(mostly(st.just(own), count | alien)),
        "m": draw(mostly(st.just(2), st.integers(1, 4) | alien)),
        "sig": draw(mostly(st.just(sig), st.none() | st.text(max_size=3) | alien)),
        "src": draw(mostly(st.just(own), st.none() | count | alien)),
        "commit": draw(mostly(st.just(commit), alien)),
    }
    return {key: value for key, value in tag.items() if draw(st.integers(0, 9)) > 0}


def value_in(distribution: BaseDistribution) -> st.SearchStrategy[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return st.sampled_from([distribution.low, distribution.high])


@st.composite
def trials(draw: st.DrawFn, number_of_trial: int, sampler: S2ESampler) -> FrozenTrial:
    """Anything that may stand in a storage as a trial."""
    space: dict[str, BaseDistribution] = {}
    params: dict[str, Any] = {}
    for name, distribution in ASKED.items():
        if draw(st.integers(0, 15)) > 0:
            space[name] = distribution
    for name in draw(st.lists(st.sampled_from(["y", "z", "tau", "v_u1of1"]), max_size=2)):
        space[name] = draw(stored)
    if draw(st.integers(0, 4)) == 0:
        space |= {p.name: UNIT for p in SPACES["s2e"].parameters}
    for name, distribution in space.items():
        odd = draw(st.integers(0, 20)) == 0
        params[name] = draw(alien) if odd else draw(value_in(distribution))
    size = Codec(ASKED).family.dimension
    system: dict[str, Any] = {
        TAG_KEY: draw(tags(number_of_trial, sampler.signature(ASKED), size)),
        "fixed_params": draw(st.dictionaries(st.sampled_from(list(ASKED)), number) | alien),
        "retry_history": draw(st.lists(count, max_size=3) | alien),
        "constraints": draw(st.lists(number, max_size=2)),
        "constraints:memory": draw(number | alien),
        LOST_KEY: True,
    }
    often = {TAG_KEY: 1, "constraints": 9, "constraints:memory": 9}
    system = {k: v for k, v in system.items() if draw(st.integers(0, 9)) >= often.get(k, 8)}
    schedule = {
        "space": draw(st.sampled_from(["s2e", "mlp"]) | alien),
        "epochs": draw(count | alien),
    }
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=draw(st.sampled_from([*TrialState, *[TrialState.COMPLETE] * 4])),
        value=draw(st.floats() | st.floats(-3.0, 3.0)),
        datetime_start=draw(st.sampled_from([None, datetime.now(), datetime.now(UTC)])),
        datetime_complete=datetime.now(),
        params=params,
        distributions=space,
        user_attrs=draw(
            st.fixed_dictionaries({}, optional={"schedule": st.just(schedule) | alien})
        ),
        system_attrs=system,
        intermediate_values=draw(st.dictionaries(count, st.floats(), max_size=3)),
    )


def objective(trial: optuna.Trial) -> float:
    weights = suggest_simplex(trial, "w", 3)
    value = float(weights[0])
    for name, distribution in ASKED.items():
        suggested = trial._suggest(name, distribution)
        assert distribution._contains(distribution.to_internal_repr(suggested))
        value += suggested if isinstance(suggested, int | float) else 0.5
    return value if math.isfinite(value) else 0.0


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Fail if the sampler says that something went wrong."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("s2e_optuna")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert records == []


@pytest.mark.filterwarnings("ignore:Choices for a categorical", "ignore:Fixed parameter")
@pytest.mark.filterwarnings("ignore:Overwrite an old format constraint")
@given(data=st.data(), options=st.sampled_from(OPTIONS))
@settings(max_examples=25)
def test_any_stored_study_can_be_gone_on_with(
    data: st.DataObject, options: dict[str, Any]
) -> None:
    sampler = S2ESampler(seed=0, **options)
    study = optuna.create_study(sampler=sampler)
    for place in range(data.draw(st.integers(1, 8))):
        template = data.draw(trials(place, sampler))
        study._storage.create_new_trial(study._study_id, template_trial=template)
    with nothing_logged():
        for _ in range(5):
            trial = study._storage.create_new_trial(study._study_id)
            trial = optuna.Trial(study, trial)
            study.tell(trial, objective(trial))
        generations(study)
        sampler.audit(study)
        assert recommended_trial(study).state == TrialState.COMPLETE
        with suppress(ValueError):  # none of them may hold a schedule
            assert best_schedule(study).epochs > 0


spaces = st.dictionaries(
    st.sampled_from(["x", "y", "c", "n", "w_u1of2", "w_u2of2", "alpha_u1of1"]),
    drawable | st.sampled_from(list(ASKED.values())),
    max_size=5,
)
own_space = st.sets(st.sampled_from(list(ASKED))).map(lambda names: {n: ASKED[n] for n in names})


def check_inside(space: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> None:
    assert params.keys() <= space.keys()
    for name, value in params.items():
        assert space[name]._contains(space[name].to_internal_repr(value))


@pytest.mark.filterwarnings("ignore:Fixed parameter")
@given(
    options=st.sampled_from(OPTIONS),
    history=st.integers(0, 9),
    fixed=st.dictionaries(
        st.sampled_from(["x", "log", "c", "w_u2of2"]), number | alien, max_size=2
    ),
    enqueued=st.dictionaries(st.sampled_from(list(ASKED)), number | alien, max_size=3),
    asked=st.lists(spaces | own_space, min_size=1, max_size=4),
)
@settings(max_examples=40)
def test_any_caller_gets_values_inside_what_it_asks_for(
    options: dict[str, Any],
    history: int,
    fixed: dict[str, Any],
    enqueued: dict[str, Any],
    asked: list[dict[str, BaseDistribution]],
) -> None:
    sampler = S2ESampler(seed=0, **options)
    study = optuna.create_study(sampler=sampler)
    with nothing_logged():
        study.optimize(objective, n_trials=history)
        study.enqueue_trial(enqueued)
        study.sampler = PartialFixedSampler(fixed, sampler)
        for space in asked:
            trial = study.ask()
            frozen = study.trials[trial.number]
            for _ in range(2):
                check_inside(space, sampler.sample_relative(study, frozen, dict(space)))
            for name, distribution in space.items():
                value = sampler.sample_independent(study, frozen, name, distribution)
                check_inside(space, {name: value})
            with suppress(
                ValueError, OverflowError
            ):  # fixed and enqueued values that Optuna does not take
                for name, distribution in ASKED.items():
                    value = trial._suggest(name, distribution)
                    if name not in fixed and name not in enqueued:
                        check_inside(ASKED, {name: value})
                study.tell(trial, 1.0)
