"""What a configuration's field tells of itself: its help, its place, what it may be.

A run is described by frozen dataclasses (`DataSpec`, `TrainConfig`, `SearchConfig`). The command
line, the stored settings and the objects that do the work are all made from their fields, so an
option is written once: as a field with its help, where it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

from s2e_optuna.errors import ConfigError

_KEY = "option"
_AS_NOW = object()

DATA_PANEL = "Data"
TRAINING_PANEL = "Training"
SEARCH_PANEL = "Search"
WORKERS_PANEL = "Workers and storage"
OUTPUT_PANEL = "Output"
PANELS = (DATA_PANEL, TRAINING_PANEL, SEARCH_PANEL, WORKERS_PANEL, OUTPUT_PANEL)
"""Headings of the help, in their order."""


@dataclass(frozen=True)
class Option:
    """A field that people set.

    Attributes
    ----------
    help
        One sentence or two; None keeps the field off the command line.
    panel
        Heading under which the command line shows it; None for the general one.
    metavar
        What stands for its value, for example ``N``.
    choices
        Names that it may have, for completion in the shell.
    least
        The lowest number it may be.
    flag
        Name on the command line, by default the field's.
    argument
        Whether it is given by its place in place of a flag.
    envvar
        Variable that is read where the flag is missing.
    parse
        Turns what was given on the command line, a list of texts, into the value.
    complete
        Completion in the shell, where choices do not do.
    stored
        Whether it decides about a trial's result: then it is stored with a study, and compared
        when the study goes on.
    hidden
        Whether it is left out of the help.
    adopted
        Whether a study that exists keeps the value that it was begun with, which is said; else
        another value is refused.
    before
        Value of studies that were made when there was no such field; by default the default.
    """

    help: str | None = None
    panel: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    flag: str | None = None
    argument: bool = False
    envvar: str | None = None
    parse: Callable[[list[str]], Any] | None = None
    complete: str | None = None
    stored: bool = True
    hidden: bool = False
    adopted: bool = False
    before: Any = _AS_NOW


def option(default: Any = MISSING, help: str | None = None, *, factory: Any = MISSING,
           **words: Any) -> Any:  # fmt: skip
    """Return a dataclass field with an `Option`; ``words`` are the Option's other attributes.

    Parameters
    ----------
    default
        What the field is where nobody says.
    help
        See `Option`.
    factory
        Makes the default, where it has to be made anew.
    words
        The Option's other attributes.
    """
    metadata = {_KEY: Option(help, **words)}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_of(one: Field[Any]) -> Option:
    """Return what a field tells of itself; a field without words is one that nobody stores."""
    found = one.metadata.get(_KEY)
    return found if isinstance(found, Option) else Option(stored=False)


def default_of(one: Field[Any]) -> Any:
    """Return a field's default; MISSING if it has none."""
    return one.default_factory() if one.default_factory is not MISSING else one.default


def parts_of(config: type) -> dict[str, type]:
    """Return the fields of a configuration that are configurations themselves."""
    hints = get_type_hints(config)
    return {one.name: hints[one.name] for one in fields(config) if is_dataclass(hints[one.name])}


def flat_fields(config: type) -> Iterator[tuple[type, Field[Any]]]:
    """Yield every field of a configuration and of its parts, with the class that has it.

    A name that several of them have comes once: it is one option, and all of them get it.
    """
    parts, seen = parts_of(config), set()
    own = [(config, one) for one in fields(config) if one.name not in parts]
    inner = [pair for part in parts.values() for pair in flat_fields(part)]
    for owner, one in [*own, *inner]:
        if one.name not in seen:
            seen.add(one.name)
            yield owner, one


Config = TypeVar("Config")


def build(config: type[Config], options: Mapping[str, Any]) -> Config:
    """Make a configuration and its parts of options by name.

    Parameters
    ----------
    config
        A dataclass whose parts are dataclasses.
    options
        Name of a field, of the configuration or of a part, to its value. An option that several
        of them have goes to all. None says that it was not given: then the default holds. A part
        may be given whole.

    Raises
    ------
    TypeError
        If nobody takes an option of that name.
    """
    parts = parts_of(config)
    given = {name: value for name, value in options.items() if value is not None}
    made = {name: value for name, value in given.items() if isinstance(value, parts.get(name, ()))}
    rest = {name: value for name, value in given.items() if name not in made}
    own = {one.name for one in fields(config)} - set(parts)  # type: ignore[arg-type]
    takers = [own, *(_names(part) for name, part in parts.items() if name not in made)]
    known = set().union(*takers)
    if unknown := [name for name in options if name not in known and name not in parts]:
        raise TypeError(
            f"{config.__name__} has no option {unknown[0]!r}: it has {', '.join(sorted(known))}."
        )
    for name, part in parts.items():
        if name not in made:
            made[name] = build(part, {k: v for k, v in rest.items() if k in _names(part)})
    return config(**{name: value for name, value in rest.items() if name in own}, **made)


def _names(config: type) -> set[str]:
    return {one.name for _, one in flat_fields(config)}


def values(config: Any) -> dict[str, Any]:
    """Return the values of a configuration and of its parts by name, the outer ones first."""
    parts = parts_of(type(config))
    own = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in parts}
    inner: dict[str, Any] = {}
    for name in parts:
        inner = {**values(getattr(config, name)), **inner}
    return {**inner, **own}


def settings(config: Any, leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values that are stored with a study, by name; parts are left out."""
    parts, left = parts_of(type(config)), set(leave_out)
    return {
        one.name: getattr(config, one.name)
        for one in fields(config)
        if one.name not in parts and one.name not in left and option_of(one).stored
    }


def earlier_settings(config: type) -> dict[str, Any]:
    """Return, for every stored field, the value of studies that were made before it was there."""
    return {
        one.name: default_of(one) if option_of(one).before is _AS_NOW else option_of(one).before
        for _, one in flat_fields(config)
        if option_of(one).stored
    }


def replaced(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a configuration with other values, wherever in it the fields are.

    Parameters
    ----------
    config
        A configuration, perhaps with parts.
    changes
        Name of a field to its new value; all parts that have such a field get it.
    """
    parts = parts_of(type(config))
    own = {one.name for one in fields(config)} - set(parts)  # type: ignore[arg-type]
    inner = {
        name: replaced(
            getattr(config, name), {k: v for k, v in changes.items() if k in _names(part)}
        )
        for name, part in parts.items()
    }
    return replace(config, **{k: v for k, v in changes.items() if k in own}, **inner)  # type: ignore[type-var]


def stored_values(config: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored fields of a configuration, those of an earlier version filled up.

    Parameters
    ----------
    config
        A dataclass without parts.
    stored
        What `settings` returned, then or now, and perhaps more.
    """
    earlier = earlier_settings(config)
    return {name: stored.get(name, value) for name, value in earlier.items()}


def with_options(*configs: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Show the fields of configurations in the signature of a function that takes them by name.

    The function has a parameter ``**options``: `inspect` and editors see the names in its place.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function)
        found = {name: one for name, one in own.parameters.items() if one.kind != one.VAR_KEYWORD}
        for config in configs:
            for _, one in flat_fields(config):
                found.setdefault(
                    one.name,
                    inspect.Parameter(
                        one.name,
                        inspect.Parameter.KEYWORD_ONLY,
                        default=default_of(one),
                        annotation=one.type,
                    ),
                )
        function.__signature__ = own.replace(parameters=list(found.values()))  # type: ignore[attr-defined]
        return function

    return decorate


def named_values(words: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` of the command line; values are numbers, true, false or words.

    Examples
    --------
    >>> named_values(["batch_size=6", "update=natural", "baseline=false"])
    {'batch_size': 6, 'update': 'natural', 'baseline': False}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise ConfigError(f"an option of the sampler is NAME=VALUE, not {word!r}.")
        found[name.replace("-", "_")] = _value(text)
    return found


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
