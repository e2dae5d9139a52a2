"""S2E for OptunaHub: the sampler of the package ``s2e-optuna`` under the registry's name."""

from s2e_optuna import S2ESampler, suggest_schedule, suggest_simplex

__all__ = ["S2ESampler", "suggest_schedule", "suggest_simplex"]
