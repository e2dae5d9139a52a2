"""Find the weights of a mixture of three experts."""

import numpy as np
import optuna
import optunahub

module = optunahub.load_module("samplers/s2e")
BEST = np.array([0.6, 0.3, 0.1])


def objective(trial: optuna.Trial) -> float:
    weights = module.suggest_simplex(trial, "weight", 3)
    return float(np.sum((weights - BEST) ** 2))


if __name__ == "__main__":
    study = optuna.create_study(sampler=module.S2ESampler(seed=0))
    study.optimize(objective, n_trials=40)
    print(f"best value {study.best_value:.2g}")
