"""A command's options, made from the fields of the configuration that it takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from s2e_optuna.commands import completion
from s2e_optuna.options import PANELS, Option, build, default_of, flat_fields, option_of, values

_PLAIN = (bool, int, float, str, Path)
"""Types that the command line knows; where a field may be of several, it takes the first one."""

R = TypeVar("R")


def takes(config: type) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let a command take a configuration: its first parameter, filled from the command line.

    Every field with a help text, of the configuration and of its parts, becomes an argument or an
    option. One that is not given is at the field's default. The command's other parameters are
    options as ever.

    Parameters
    ----------
    config
        A dataclass with fields made by `s2e_optuna.options.option`.
    """
    shown = [(owner, one) for owner, one in flat_fields(config) if option_of(one).help is not None]
    shown.sort(key=lambda pair: _place(option_of(pair[1])))

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        others = [one.replace(kind=one.KEYWORD_ONLY) for one in own]

        @functools.wraps(command)
        def run(**given: Any) -> R:
            rest = {one.name: given.pop(one.name) for one in others}
            for _, one in shown:
                if (parse := option_of(one).parse) is not None:
                    given[one.name] = parse(given[one.name]) if given[one.name] else None
            return command(build(config, given), **rest)

        made = [_parameter(owner, one) for owner, one in shown]
        run.__signature__ = inspect.Signature([*made, *others])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in (*made, *others)}
        return run

    return decorate


def _place(words: Option) -> tuple[bool, int]:
    """Arguments come first, then general options, then the others by their panels."""
    return not words.argument, -1 if words.panel is None else PANELS.index(words.panel)


def one_option(config: type, name: str) -> Any:
    """Return a field as the type of a command's parameter, for commands that take it alone."""
    ((owner, one),) = [pair for pair in flat_fields(config) if pair[1].name == name]
    return _parameter(owner, one).annotation


def _parameter(owner: type, one: Field[Any]) -> inspect.Parameter:
    """Describe a field as typer wants it."""
    words = option_of(one)
    kind, may_be_none = _plain_type(get_type_hints(owner)[one.name])
    default = inspect.Parameter.empty if default_of(one) is MISSING else one.default
    if words.parse is not None:
        kind = list[str]
    if default is MISSING:
        default, may_be_none = None, True  # made where it is needed
    complete = completion.one_of(words.choices) if words.choices else None
    if words.complete is not None:
        complete = getattr(completion, words.complete)
    about: dict[str, Any] = {
        "help": words.help,
        "metavar": words.metavar,
        "autocompletion": complete,
        "envvar": words.envvar,
        "hidden": words.hidden,
        "min": words.least,
        # What a text says of its default is said there.
        "show_default": default is not None and "default:" not in (words.help or "").lower(),
    }
    if words.argument:
        annotation: Any = typer.Argument(**about)
    else:
        flag = "--" + (words.flag or one.name).replace("_", "-")
        name = f"{flag}/--no-{flag[2:]}" if kind is bool and default is not False else flag
        annotation = typer.Option(name, rich_help_panel=words.panel, **about)
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind | None if may_be_none else kind, annotation],
    )


def _plain_type(hint: Any) -> tuple[Any, bool]:
    """Return the first type of a field that the command line knows, and whether it may be None."""
    kinds = get_args(hint) or (hint,)
    plain = next((kind for kind in kinds if kind in _PLAIN), str)
    return plain, type(None) in kinds


def flags(config: Any, leave_out: frozenset[str] = frozenset()) -> list[str]:
    """Write a configuration as words of the command line; what is at its default is left out.

    Parameters
    ----------
    config
        A configuration that a command takes.
    leave_out
        Names of fields that are written by others.
    """
    return flags_of(type(config), values(config), leave_out)


def flags_of(
    config: type, given: Mapping[str, Any], leave_out: frozenset[str] = frozenset()
) -> list[str]:
    """Write the values of a configuration as words of the command line, as `flags` does.

    Parameters
    ----------
    config
        The configuration's class.
    given
        Name of a field to its value; a field that is not named is at its default.
    leave_out
        Names of fields that are written by others.
    """
    words: list[str] = []
    for _, one in flat_fields(config):
        about, value = option_of(one), given.get(one.name, default_of(one))
        if about.argument:
            words.insert(0, str(value))
            continue
        if about.help is None or one.name in leave_out or value == default_of(one):
            continue
        flag = "--" + (about.flag or one.name).replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, dict):
            for name, what in value.items():
                words += [flag, f"{name}={what}"]
        elif isinstance(value, tuple | list):  # stored ones are lists
            for what in value:
                words += [flag, str(what)]
        else:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def as_flags(message: str, config: type) -> str:
    """Write options that a message names in backticks as the command line knows them."""
    for _, one in flat_fields(config):
        flag = "--" + (option_of(one).flag or one.name).replace("_", "-")
        message = message.replace(f"`{one.name}`", flag)
    return message
