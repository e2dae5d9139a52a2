"""The sequence of distributions a study went through, for tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study

from s2e_optuna.relaxation import Family
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.ledger import Ledger

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Generation:
    """One theta and where it came from."""

    m: int
    """1 for the uniform distribution, then 2, 3, …"""
    trial_number: int | None
    """The trial that opened it; None for the first."""
    batch: tuple[int, ...]
    """The trials it was computed from."""
    theta: Array
    """Natural parameters, shape [d]."""
    codec: Codec
    """Between points of the family and parameters of the search space."""

    @property
    def family(self) -> Family:
        """The family of distributions."""
        return self.codec.family

    def entropy(self) -> float:
        """Entropy of p_theta in nats; 0 for the uniform distribution of Betas alone."""
        return self.family.entropy(self.theta)

    def sample_params(self, n: int, seed: int = 0) -> list[dict[str, Any]]:
        """Draw n sets of parameter values from p_theta."""
        x = self.family.sample(self.theta, n, np.random.default_rng(seed))
        return self.codec.decode_all(x)


def generations(study: Study) -> list[Generation]:
    """Return all generations of a study's current search space, first to last.

    Empty for a study that no `S2ESampler` has touched, or in which no trial has finished.
    """
    ledger = Ledger()
    ledger.update(study._storage.get_all_trials(study._study_id, deepcopy=False))
    if not ledger.space or not ledger.any_tag:
        return []
    sig = ledger.newest_signature(ledger.space)
    codec = Codec(ledger.space)
    found = [Generation(1, None, (), codec.family.uniform(), codec)]
    if sig is not None:
        opened = ledger.chain(sig, ledger.space).opened
        found += [
            Generation(m, commit.number, commit.batch, commit.theta, codec)
            for m, commit in sorted(opened.items())
        ]
    return found
