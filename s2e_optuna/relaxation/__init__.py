"""Stochastic relaxation (Section 3.4): p_theta, estimates of derivatives, steps. No Optuna."""

from s2e_optuna.relaxation.estimates import Estimate, score_estimate, surrogate_estimate
from s2e_optuna.relaxation.family import Block, Family
from s2e_optuna.relaxation.gaussian_process import GaussianProcess, Prior
from s2e_optuna.relaxation.steps import (
    DIRECTIONS,
    Update,
    gradient_direction,
    limited_step,
    natural_direction,
    newton_direction,
)

__all__ = [
    "DIRECTIONS",
    "Block",
    "Estimate",
    "Family",
    "GaussianProcess",
    "Prior",
    "Update",
    "gradient_direction",
    "limited_step",
    "natural_direction",
    "newton_direction",
    "score_estimate",
    "surrogate_estimate",
]
