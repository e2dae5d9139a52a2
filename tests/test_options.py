"""Configurations as nested values, made of options by name."""

from dataclasses import dataclass, field

import pytest

from s2e_optuna.errors import ConfigError
from s2e_optuna.options import (
    build,
    earlier_settings,
    flat_fields,
    named_values,
    option,
    replaced,
    settings,
    stored_values,
    values,
)


@dataclass(frozen=True)
class Part:
    seed: int = option(0, "Seed.")
    size: int | None = option(None, "Size.", stored=False)


@dataclass(frozen=True)
class Other:
    seed: int = option(0, "Seed.")
    stop: str = option("best", "Stop.", before="last")


@dataclass(frozen=True)
class Whole:
    part: Part = field(default_factory=Part)
    other: Other = field(default_factory=Other)
    trials: int = option(3, "Trials.")


def test_an_option_goes_to_everybody_who_has_it() -> None:
    made = build(Whole, {"seed": 5, "trials": 2, "size": None})
    assert made == Whole(Part(5), Other(5), 2)
    assert values(made) == {"seed": 5, "size": None, "stop": "best", "trials": 2}
    assert [one.name for _, one in flat_fields(Whole)] == ["trials", "seed", "size", "stop"]


def test_a_part_may_be_given_whole() -> None:
    assert build(Whole, {"part": Part(1, 2), "seed": 3}) == Whole(Part(1, 2), Other(3))


@pytest.mark.parametrize("options", [{"sizes": 1}, {"part": Part(), "size": 4}])
def test_an_option_that_nobody_takes_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="has no option 'size"):
        build(Whole, options)


def test_values_are_replaced_wherever_they_are() -> None:
    changed = replaced(Whole(), {"seed": 7, "stop": "last", "trials": 1})
    assert changed == Whole(Part(7), Other(7, "last"), 1)


def test_what_studies_did_before_an_option_was_there() -> None:
    assert settings(Other()) == {"seed": 0, "stop": "best"} and settings(Part()) == {"seed": 0}
    assert earlier_settings(Whole) == {"trials": 3, "seed": 0, "stop": "last"}
    assert Other(**stored_values(Other, {"seed": 2})) == Other(2, "last")


def test_options_of_the_sampler() -> None:
    found = named_values(["batch-size=6", "step_size=0.5", "update=natural", "warm_start=false"])
    assert found == {"batch_size": 6, "step_size": 0.5, "update": "natural", "warm_start": False}
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        named_values(["batch_size"])
