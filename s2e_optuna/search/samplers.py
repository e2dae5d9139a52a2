"""Samplers by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from s2e_optuna.errors import ConfigError
from s2e_optuna.sampler import S2ESampler


def make_sampler(settings: Mapping[str, Any], worker: int | None = None) -> BaseSampler:
    """Make the sampler that a study's settings name.

    Parameters
    ----------
    settings
        With ``sampler``, ``sampler_options`` and ``seed``.
    worker
        A number of this worker among all. Samplers that draw from a seed alone would repeat
        each other with the same one, so theirs is derived from both. S2E needs no number.

    Raises
    ------
    ConfigError
        If the sampler does not take these options, or a package is missing.
    """
    name, options = settings["sampler"], {"seed": settings["seed"], **settings["sampler_options"]}
    if name in ("tpe", "random", "cmaes", "gp") and worker is not None:
        options["seed"] = int(
            np.random.SeedSequence([options["seed"], worker]).generate_state(1)[0]
        )
    if name == "tpe":
        options = {"constant_liar": True, **options}  # several workers, several trials at once
    kinds: dict[str, Any] = {
        "s2e": S2ESampler,
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
        "gp": optuna.samplers.GPSampler,
        "qmc": optuna.samplers.QMCSampler,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler: BaseSampler = kinds[name](**options)
            return sampler
    except ImportError as error:
        raise ConfigError(f"the sampler {name} needs a package: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the sampler {name} does not take these options: {error}") from error
