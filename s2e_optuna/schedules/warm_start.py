"""Points of S2E's space whose curves are close to Co-teaching's (Appendix B.1)."""

from __future__ import annotations

from s2e_optuna.schedules.basis import BASIS_NAMES
from s2e_optuna.schedules.simplex import simplex_parameter_names, uniform_from_simplex

WARM_TAUS = (0.3, 0.5, 0.1, 0.4, 0.2, 0.6)
"""Noise rates to begin with when nothing is known; the middle ones first."""

# The least-squares fit of exp(-a2 t^a1) to 1 - min(t / 10, 1) with a1, a2 in [0, 1] has a1 = 1.
_DECAY = 0.188


def coteaching_params(tau: float) -> dict[str, float]:
    """Parameters of the S2E space for R(t) = 1 - tau (1 - exp(-0.188 t)).

    That is eq. (1) with t_k = 10 and c = 1 without its kink, within 0.16 tau at every epoch: the
    weight tau on f1, which falls to 0, and the rest on f3 with a2 = a3 = 0, which is 1.
    """
    weights = uniform_from_simplex([tau, 0.0, 1.0 - tau, 0.0])
    params = dict(zip(simplex_parameter_names("alpha", 4), map(float, weights), strict=True))
    for name in BASIS_NAMES:
        falls = name == "f1"
        params |= {
            f"{name}_a1": 1.0,
            f"{name}_a2": _DECAY if falls else 0.0,
            f"{name}_a3": 0.0,
            f"{name}_a4": 0.5,
        }
    return params
