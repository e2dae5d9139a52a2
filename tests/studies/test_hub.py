"""What is offered to OptunaHub loads and works."""

from pathlib import Path

import optuna
import pytest

from s2e_optuna import S2ESampler

optunahub = pytest.importorskip("optunahub")
HUB = Path(__file__).parents[2] / "studies" / "hub"


def test_the_sampler_loads_from_the_registry_folder() -> None:
    module = optunahub.load_local_module("samplers/s2e", registry_root=str(HUB))
    study = optuna.create_study(sampler=module.S2ESampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=12)
    assert isinstance(study.sampler, S2ESampler)
    assert study.best_value < 0.05


def test_the_registry_folder_is_complete() -> None:
    folder = HUB / "samplers" / "s2e"
    assert {p.name for p in folder.glob("[!_]*")} == {"LICENSE", "README.md", "example.py"}
    front = (folder / "README.md").read_text(encoding="utf-8").split("---")[1]
    for key in ("author", "title", "description", "tags", "optuna_versions", "license"):
        assert f"\n{key}: " in front


def test_the_example_of_the_registry_folder_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        optunahub,
        "load_module",
        lambda package: optunahub.load_local_module(package, registry_root=str(HUB)),
    )
    code = (HUB / "samplers" / "s2e" / "example.py").read_text(encoding="utf-8")
    content: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, "example.py", "exec"), content)
    study = content["study"]
    assert isinstance(study, optuna.Study) and study.best_value < 0.01


def test_a_recorded_table_is_a_benchmark_problem() -> None:
    from studies.problem import ScheduleProblem

    problem = ScheduleProblem("digits-sym50", seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=S2ESampler(seed=0))
    study.optimize(problem, n_trials=8)
    noise = [t.value - problem.noise_free(t.params) for t in study.trials]  # type: ignore[operator]
    assert 0.0 < max(map(abs, noise)) < 0.05
    again = ScheduleProblem("digits-sym50")
    assert again.evaluate(study.best_params) == problem.noise_free(study.best_params)
