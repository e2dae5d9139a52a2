"""`S2ESampler` and what belongs to it: the generation ledger, the recommendation."""

from s2e_optuna.sampler.generations import Generation, generations
from s2e_optuna.sampler.recommend import best_schedule, recommended_trial
from s2e_optuna.sampler.s2e import S2ESampler

__all__ = ["Generation", "S2ESampler", "best_schedule", "generations", "recommended_trial"]
