"""Methods by name, with their options."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from s2e_optuna.errors import DataError, unknown_name
from s2e_optuna.training.methods.base import Method
from s2e_optuna.training.methods.comining import CoMining
from s2e_optuna.training.methods.coteaching import CoTeaching
from s2e_optuna.training.methods.coteaching_plus import CoTeachingPlus
from s2e_optuna.training.methods.decoupling import Decoupling
from s2e_optuna.training.methods.f_correction import ForwardCorrection
from s2e_optuna.training.methods.mentornet import MentorNet
from s2e_optuna.training.methods.reweight import Reweight
from s2e_optuna.training.methods.standard import Standard

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Standard(),
        Decoupling(),
        ForwardCorrection(),
        MentorNet(),
        CoTeaching(),
        CoTeachingPlus(),
        Reweight(),
        CoMining(),
    )
}
"""Methods by name, with their default options."""


def get_method(name: str) -> Method:
    """Look a method up by name, and set its options.

    Parameters
    ----------
    name
        A name in `METHODS`; options follow after a colon: ``"decoupling:warm_up=10"``, several
        with commas between them.

    Raises
    ------
    DataError
        There is no such method, it has no such option, or the value is not one for it.

    Examples
    --------
    >>> get_method("coteaching").networks
    2
    """
    base, _, settings = name.partition(":")
    if base not in METHODS:
        raise unknown_name("method", base, METHODS)
    method = METHODS[base]
    if not settings:
        return method
    known = {option.name: option.type for option in fields(method)}
    chosen: dict[str, Any] = {}
    for setting in settings.split(","):
        option, equals, text = setting.partition("=")
        if option not in known:
            usable = f"choose one of {', '.join(sorted(known))}" if known else "it has none"
            raise DataError(f"method {base!r} has no option {option!r}: {usable}")
        chosen[option] = _value(base, option, str(known[option]), text if equals else "true")
    return replace(method, **chosen)


def _value(method: str, option: str, annotation: str, text: str) -> bool | int | float:
    """Read an option's value; the types of options are bool, int and float, perhaps None."""
    kind = annotation.removesuffix(" | None")
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (KeyError, ValueError):
        wanted = {"bool": "true or false", "int": "a whole number"}.get(kind, "a number")
        raise DataError(
            f"option {option} of method {method!r} is {text!r}: give {wanted}"
        ) from None
