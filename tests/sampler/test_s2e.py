"""S2ESampler in studies: what it draws, learns from, refuses (long: one class, all its ways)."""

import itertools
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from s2e_optuna import S2ESampler, Schedule, best_schedule, suggest_schedule, suggest_simplex
from s2e_optuna.relaxation import Block, Family, GaussianProcess
from s2e_optuna.sampler import generations, recommend, recommended_trial, view
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.commit import importance_weights
from s2e_optuna.sampler.features import curve_features, own_features
from s2e_optuna.sampler.surrogate import Surrogate
from s2e_optuna.sampler.tags import TAG_KEY, Tag
from s2e_optuna.sampler.values import batch_values
from s2e_optuna.schedules import SPACES, WARM_TAUS, trial_schedule

optuna.logging.set_verbosity(optuna.logging.WARNING)


def sphere(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    y = trial.suggest_float("y", 1e-3, 10.0, log=True)
    weights = suggest_simplex(trial, "w", 3)
    bonus = {"a": 0.0, "b": 1.0, "c": 2.0}[trial.suggest_categorical("c", ["a", "b", "c"])]
    return (x - 0.5) ** 2 + np.log10(y) ** 2 + (1 - weights[0]) + bonus


def run(objective: Callable[[optuna.Trial], float], n: int, **options: object) -> optuna.Study:
    direction = str(options.pop("direction", "minimize"))
    study = optuna.create_study(sampler=S2ESampler(**options), direction=direction)  # type: ignore[arg-type]
    study.optimize(objective, n_trials=n)
    return study


def mean_of_last(study: optuna.Study, n: int) -> float:
    return float(np.mean([trial.value for trial in study.trials[-n:]]))


@pytest.mark.parametrize("update", ["newton", "natural", "gradient"])
def test_score_estimates_learn_a_mixed_space(update: str) -> None:
    study = run(sphere, 400, estimator="score", update=update, batch_size=20, seed=1)
    assert mean_of_last(study, 50) < 0.6 * float(np.mean([t.value for t in study.trials[:50]]))


@pytest.mark.parametrize("update", ["newton", "natural"])
def test_the_surrogate_learns_a_mixed_space_from_few_trials(update: str) -> None:
    study = run(sphere, 60, update=update, seed=1, uniform_share=0.0)
    assert mean_of_last(study, 20) < 0.5 * float(np.mean([t.value for t in study.trials[:6]]))


def curve_error(trial: optuna.Trial) -> float:
    """A made-up training: the best schedule keeps 40% from epoch 10 on."""
    rates = suggest_schedule(trial, 50).rates
    return float(np.mean((rates - Schedule.coteaching(50, 0.6).rates) ** 2))


def test_the_surrogate_learns_schedules_through_their_curves() -> None:
    found = [run(curve_error, 24, seed=seed, warm_start=False).best_value for seed in range(8)]
    random = []
    for seed in range(8):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        study.optimize(curve_error, n_trials=24)
        random.append(study.best_value)
    assert np.mean(found) < 0.7 * np.mean(random)  # 0.47 over 16 seeds


@pytest.mark.parametrize(
    ("rule", "values", "of_curves"),
    [
        (1, (11.06386430, 2.88904257, 0.15233116), (6.91918597e-4, 5.48034969e-4, 5.09185386e-4)),
        (2, (0.248790939, 3.99856767, 4.36726944e-3), (8.836506e-4, 6.57343819e-4, 5.11971095e-4)),
        (3, (1.3740594, 0.115024982, 7.57626015), (2.09502705e-3, 1.35560584e-3, 1.12917004e-3)),
    ],
)
def test_a_seed_gives_the_trials_that_it_has_always_given(
    rule: int,
    values: Sequence[float],
    of_curves: Sequence[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to rounding: a study of an earlier version goes on as it would have gone on there."""
    monkeypatch.setattr("s2e_optuna.sampler.ledger.RULE", rule)
    for objective, expected in ((sphere, values), (curve_error, of_curves)):
        trials = run(objective, 30, seed=0).trials
        assert [trials[n].value for n in (20, 25, 29)] == pytest.approx(expected, rel=1e-5)


def test_hyperparameters_are_kept_until_the_trials_are_a_tenth_more() -> None:
    study = run(sphere, 60, seed=0)
    commits = [tag.commit for trial in study.trials if (tag := Tag.of(trial)) and tag.commit]
    kept = [
        commit.number
        for before, commit in itertools.pairwise(commits)
        if np.allclose(before.kernel, commit.kernel, rtol=1e-8, atol=0.0)
    ]
    assert kept and min(kept) > 40
    assert S2ESampler(seed=0).audit(study) == []


def test_curves_of_draws_in_single_precision_are_those_of_trials() -> None:
    codec = Codec({p.name: FloatDistribution(0.0, 1.0) for p in SPACES["s2e"].parameters})
    features = curve_features(codec, SPACES["s2e"], 60)
    points = codec.family.sample_uniform(50, np.random.default_rng(0))
    np.testing.assert_allclose(features.of_draws(points), features.of(points), atol=2e-5)


def test_features_of_a_trial_are_computed_once() -> None:
    asked = []

    def features(params: dict[str, float]) -> float:
        asked.append(params)
        return params["x"]

    codec = Codec({"x": FloatDistribution(0.0, 2.0)})
    trials = [
        optuna.create_trial(params={"x": x}, distributions=codec.space, value=x)  # type: ignore[arg-type]
        for x in (0.5, 1.0, 1.5)
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    found = own_features(codec, features)
    before = len(asked)
    some = found.of_trials(codec, trials[:2])
    every = found.of_trials(codec, trials)
    assert every[:2].tolist() == some.tolist()
    assert asked[before:] == [trial.params for trial in trials]
    trials[0].params = {"x": 0.25}  # another trial of that number
    assert found.of_trials(codec, trials)[0] != every[0]


def test_the_first_trials_of_a_schedule_study_start_warm() -> None:
    study = run(curve_error, 8, seed=0)
    final_rates = [trial_schedule(trial).rates[-1] for trial in study.trials[:6]]  # type: ignore[union-attr]
    np.testing.assert_allclose(final_rates, [1 - tau for tau in WARM_TAUS], atol=1e-4)
    assert all(generation.trial_number not in range(6) for generation in generations(study))


def test_score_estimates_leave_warm_starts_out() -> None:
    study = run(curve_error, 20, seed=0, estimator="score")
    assert in_batches(study) and not in_batches(study) & set(range(6))


def test_recommending_by_the_model_beats_the_luckiest_trial() -> None:
    rng = np.random.default_rng(0)
    truth = {"model": [], "observed": []}
    for seed in range(10):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        study.optimize(lambda t: curve_error(t) + 0.1 * rng.normal(), n_trials=40)
        for by, values in truth.items():
            rates = best_schedule(study, by=by).rates  # type: ignore[arg-type]
            values.append(np.mean((rates - Schedule.coteaching(50, 0.6).rates) ** 2))
    assert np.mean(truth["model"]) < 0.8 * np.mean(truth["observed"])


def test_a_lone_trial_is_not_recommended_for_what_the_model_hopes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study()
    distribution = {"x": FloatDistribution(0.0, 1.0)}
    known = [(0.3 + 0.01 * i, 0.1 * (-1) ** i) for i in range(12)]
    for x, value in [*known, (0.05, 1.0), (0.6, 1.0), (0.95, -0.08)]:
        study.add_trial(
            optuna.create_trial(params={"x": x}, distributions=distribution, value=value)
        )
    assert recommended_trial(study).params["x"] < 0.5
    monkeypatch.setattr(recommend, "_CAUTION", 0.0)
    assert recommended_trial(study).params["x"] == 0.95


def test_many_added_trials_are_taken_in_by_a_few_commits() -> None:
    """Added trials of an earlier study: 1,000 of them in two commits, the process on some."""
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    rng = np.random.default_rng(0)
    distribution = {"x": FloatDistribution(0.0, 1.0)}
    for x in rng.random(1000):
        study.add_trial(
            optuna.create_trial(params={"x": x}, distributions=distribution, value=(x - 0.3) ** 2)
        )
    study.optimize(lambda trial: (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2, n_trials=4)
    assert [len(generation.batch) for generation in generations(study)[1:]] == [500, 500, 3]
    assert S2ESampler(seed=0).audit(study) == []


def test_the_algorithm_as_printed_runs() -> None:
    study = optuna.create_study(sampler=S2ESampler.paper(batch_size=10, seed=0))
    study.optimize(sphere, n_trials=60)
    assert len(generations(study)) == 6
    assert S2ESampler.paper(batch_size=10).audit(study) == []


def test_maximising_mirrors_minimising() -> None:
    low = run(sphere, 60, seed=3)
    high = run(lambda trial: -sphere(trial), 60, seed=3, direction="maximize")
    assert [t.params for t in low.trials] == [t.params for t in high.trials]


def test_first_trials_are_uniform() -> None:
    study = run(sphere, 300, batch_size=1000, seed=0)
    first = [trial.user_attrs["w"][0] for trial in study.trials]
    assert stats.kstest(first, stats.beta(1, 2).cdf).pvalue > 1e-3
    x = [(trial.params["x"] + 1) / 2 for trial in study.trials]
    assert stats.kstest(x, "uniform").pvalue > 1e-3
    counts = np.unique([t.params["c"] for t in study.trials], return_counts=True)[1]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_later_trials_follow_the_committed_theta() -> None:
    """300 trials that wait on one generation are a sample of its p_theta."""
    study = run(
        lambda trial: trial.suggest_float("x", 0.0, 1.0),
        7,
        seed=0,
        batch_size=6,
        candidates=1,
        uniform_share=0.0,
    )
    theta = generations(study)[-1].theta
    assert len(generations(study)) == 2 and theta[0] < theta[1]  # towards small x
    drawn = [study.ask({"x": FloatDistribution(0.0, 1.0)}).params["x"] for _ in range(300)]
    assert stats.kstest(drawn, stats.beta(*theta).cdf).pvalue > 1e-3


def test_a_share_of_the_trials_is_drawn_uniformly() -> None:
    study = run(
        lambda trial: trial.suggest_float("x", 0.0, 1.0), 7, seed=0, batch_size=6, candidates=1
    )
    trials = [study.ask({"x": FloatDistribution(0.0, 1.0)}) for _ in range(300)]
    stored = study.trials
    uniform = [
        trial.params["x"]
        for trial in trials
        if "src" not in stored[trial.number].system_attrs[TAG_KEY]
    ]
    assert 40 < len(uniform) < 80
    sampler = study.sampler
    assert isinstance(sampler, S2ESampler)
    first = [np.random.default_rng([0, number]).random() < 0.2 for number in range(300)]
    chosen = [sampler._draws_uniformly(number) for number in range(300)]
    assert sum(a == b for a, b in zip(first, chosen, strict=True)) < 250  # another stream
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def test_a_trial_is_the_candidate_that_the_surrogate_expects_most_of() -> None:
    def bowl(trial: optuna.Trial) -> float:
        return sum((trial.suggest_float(f"x{i}", -1.0, 1.0) - 0.1 * i) ** 2 for i in range(5))

    def mean_of_best(candidates: int) -> float:
        best = [run(bowl, 30, seed=s, candidates=candidates).best_value for s in range(4)]
        return float(np.mean(best))

    assert mean_of_best(400) < 0.5 * mean_of_best(1)


def test_schedule_searches_explore_boldly_once_much_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    early, late = set(), set()
    utility = Surrogate.utility

    def noting(
        self: Surrogate, points: np.ndarray, exploration: float | None = None
    ) -> np.ndarray:
        if exploration is not None:
            (early if len(self.process.y) < 24 else late).add(exploration)
        return utility(self, points, exploration)

    monkeypatch.setattr(Surrogate, "utility", noting)
    run(curve_error, 40, seed=0)
    assert early == {0.5} and late == {0.5, 3.0}


def test_running_trials_are_taken_into_account(monkeypatch: pytest.MonkeyPatch) -> None:
    study = run(lambda trial: trial.suggest_float("x", 0.0, 1.0), 13, seed=0)
    seen = []

    def with_fantasies(self: Surrogate, running: list[dict[str, float]]) -> Surrogate:
        seen.append([params["x"] for params in running])
        return self

    monkeypatch.setattr(Surrogate, "with_fantasies", with_fantasies)
    drawn = [study.ask({"x": FloatDistribution(0.0, 1.0)}).params["x"] for _ in range(3)]
    assert seen == [[], drawn[:1], drawn[:2]]


def test_other_workers_take_the_kernel_from_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    study = run(sphere, 10, seed=0)
    other = optuna.load_study(
        study_name=study.study_name, storage=study._storage, sampler=S2ESampler(seed=0)
    )
    (commit,) = (
        t.system_attrs[TAG_KEY]["commit"]
        for t in study.trials
        if t.system_attrs[TAG_KEY].get("m") == 4 and "commit" in t.system_attrs[TAG_KEY]
    )
    assert len(commit["kernel"]) == 10  # eight features, the function and the noise
    monkeypatch.setattr(GaussianProcess, "fit", lambda *_: pytest.fail("fitted again"))
    trial = other.ask()
    assert "commit" not in study.trials[trial.number].system_attrs[TAG_KEY]
    sphere(trial)


def test_own_features() -> None:
    """The objective depends on the sum of eight parameters alone."""

    def objective(trial: optuna.Trial) -> float:
        return abs(sum(trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(8)) - 6.5)

    def regret(**options: object) -> float:
        values = [run(objective, 15, seed=seed, **options).best_value for seed in range(6)]
        return float(np.mean(values))

    assert regret(features=sum_of_parameters) < 0.5 * regret()


def sum_of_parameters(params: dict[str, float]) -> float:
    return sum(params.values())


def nowhere(params: dict[str, float]) -> float:
    return float("nan")


def partly(params: dict[str, float]) -> list[float]:
    return [params["x"], float("inf") if params["x"] > 0.999 else 0.0]


def of_another_space(params: dict[str, float]) -> float:
    return params["width"]


def ragged(params: dict[str, float]) -> list[float]:
    return [1.0] * (1 + int(3 * params["x"]))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (nowhere, "must return finite numbers, but returned [nan] for {'x': 0."),
        (partly, "must return finite numbers"),
        (of_another_space, "fails with KeyError: 'width'"),
        (ragged, "must return equally many numbers"),
    ],
)
def test_features_that_are_no_numbers_are_told_once_and_replaced(
    function: Callable[[dict[str, float]], object],
    sentence: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(sampler=S2ESampler(features=function, seed=0))  # type: ignore[arg-type]
    study.optimize(lambda trial: abs(trial.suggest_float("x", 0.0, 1.0) - 0.7), n_trials=20)
    (record,) = caplog.records
    assert sentence in record.getMessage() and record.exc_info is None
    assert study.best_value < 0.02 and len(generations(study)) > 4
    assert S2ESampler(features=function).audit(study) == []  # type: ignore[arg-type]


def test_a_study_that_starts_from_an_earlier_one() -> None:
    earlier = run(sphere, 40, seed=0)
    study = run(sphere, 12, seed=1, prior=earlier)
    started = [trial.params for trial in study.trials[:6]]
    assert all(params in [trial.params for trial in earlier.trials] for params in started)
    assert started[0] == recommended_trial(earlier).params
    assert len({params["x"] for params in started}) == 6
    assert study.best_value <= 1.5 * earlier.best_value
    assert generations(study)[1].batch == (0, 1, 2, 3, 4, 5)


def test_an_earlier_study_of_other_parameters_is_not_ignored_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    earlier = run(lambda trial: trial.suggest_float("momentum", 0.0, 1.0), 8)
    run(sphere, 8, prior=earlier)
    (record,) = caplog.records
    assert record.getMessage() == (
        "the prior study shares no parameter with this one and is not used: "
        "it has momentum, this one c, w_u1of2, w_u2of2, x, …."
    )


def test_an_earlier_study_needs_finished_trials() -> None:
    with pytest.raises(ValueError, match="no trial has finished"):
        S2ESampler(prior=optuna.create_study())


@pytest.mark.parametrize(
    "options",
    [
        {"uniform_share": 1.0},
        {"candidates": 0},
        {"candidates": 10, "estimator": "score"},
        {"features": sum_of_parameters, "estimator": "score"},
        {"batch_size": 0},
        {"batch_size": 1, "estimator": "score"},  # with a baseline
        {"update": "sgd"},
        {"estimator": "oracle"},
        {"step_size": 0.0},
        {"step_size": float("nan")},
        {"max_kl": 0.0},
        {"max_kl": float("nan")},
        {"min_theta": -1.0},
        {"eigenvalue_floor": 0.0},
        {"seed": -1},
    ],
    ids=lambda options: " ".join(options),
)
def test_options_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        S2ESampler(**options)  # type: ignore[arg-type]


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=S2ESampler())
    trial = study.ask()
    with pytest.raises(ValueError, match="multi-objective"):
        trial.suggest_float("x", 0, 1)
    frozen = study.trials[0]
    with pytest.raises(ValueError, match="multi-objective"):
        study.sampler.sample_relative(study, frozen, {"x": FloatDistribution(0, 1)})


SCRIPT = """
import optuna, sys
from s2e_optuna import S2ESampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
def objective(trial):
    c = trial.suggest_categorical("c", ["a", "b"])
    return trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 9) + (c == "a")
study = optuna.create_study(sampler=S2ESampler(seed=7))
study.optimize(objective, n_trials=40)
print([t.params for t in study.trials])
"""


def test_same_seed_same_study_in_another_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_same_seed_on_two_workers_gives_no_duplicates() -> None:
    storage = optuna.storages.InMemoryStorage()
    name = optuna.create_study(storage=storage, sampler=S2ESampler(seed=5)).study_name
    workers = [
        optuna.load_study(study_name=name, storage=storage, sampler=S2ESampler(seed=5))
        for _ in range(2)
    ]
    for _ in range(30):
        trials = [(worker, worker.ask()) for worker in workers]
        for worker, trial in trials:
            worker.tell(trial, (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
    x = [trial.params["x"] for trial in workers[0].trials]
    assert len(set(x)) == 60
    assert S2ESampler(seed=5).audit(workers[0]) == []


def test_without_a_seed_studies_differ() -> None:
    assert run(sphere, 1).trials[0].params != run(sphere, 1).trials[0].params


def test_threads_share_one_sampler() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(sphere, n_trials=120, n_jobs=4)
    assert len({trial.params["x"] for trial in study.trials}) == 120
    assert S2ESampler().audit(study) == []
    assert len(generations(study)) > 10


def test_a_pickled_sampler_goes_on() -> None:
    sampler = pickle.loads(pickle.dumps(S2ESampler(seed=1)))
    study = optuna.create_study(sampler=sampler)
    study.optimize(sphere, n_trials=20)
    assert [t.params for t in study.trials] == [t.params for t in run(sphere, 20, seed=1).trials]


def test_resuming_goes_on_from_the_same_theta() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=S2ESampler(seed=2))
    study.optimize(sphere, n_trials=25)
    resumed = optuna.load_study(
        study_name=study.study_name, storage=storage, sampler=S2ESampler(seed=2)
    )
    resumed.optimize(sphere, n_trials=25)
    whole = run(sphere, 50, seed=2)
    assert [t.params for t in resumed.trials] == [t.params for t in whole.trials]


def in_batches(study: optuna.Study) -> set[int]:
    return {number for generation in generations(study) for number in generation.batch}


@pytest.mark.parametrize("estimator", ["score", "surrogate"])
def test_enqueued_and_added_trials_are_for_the_surrogate_only(estimator: str) -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0, estimator=estimator))  # type: ignore[arg-type]
    study.enqueue_trial({"x": 0.25})
    done = optuna.create_trial(
        params={"x": 0.5}, distributions={"x": FloatDistribution(0.0, 1.0)}, value=0.5
    )
    study.add_trial(done)
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=20)
    assert study.trials[0].params["x"] == 0.25
    assert in_batches(study) & {0, 1} == ({0, 1} if estimator == "surrogate" else set())


def test_failed_trials_are_ignored() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        return float("nan") if trial.number % 3 == 0 else x

    study = run(objective, 40, seed=0)
    assert all(study.trials[number].state == TrialState.COMPLETE for number in in_batches(study))
    assert len(generations(study)) > 3


def test_a_retried_trial_keeps_the_tag_it_was_drawn_with() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0, batch_size=2))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=6)
    failed = study.ask({"x": FloatDistribution(0.0, 1.0)})
    study.tell(failed, state=TrialState.FAIL)
    optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.trials[failed.number])
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=4)
    retried = study.trials[failed.number + 1]
    original = study.trials[failed.number]
    assert retried.params == original.params
    assert retried.system_attrs[TAG_KEY] == original.system_attrs[TAG_KEY]
    assert retried.number in in_batches(study)
    assert S2ESampler(batch_size=2).audit(study) == []


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2),
        optuna.pruners.SuccessiveHalvingPruner(),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9),
    ],
    ids=lambda p: type(p).__name__,
)
def test_pruners(pruner: optuna.pruners.BasePruner) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(9):
            trial.report(x + 1.0 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=pruner)
    study.optimize(objective, n_trials=60)
    assert any(t.state == TrialState.PRUNED for t in study.trials)
    assert len(generations(study)) == 20  # pruned trials count
    assert S2ESampler().audit(study) == []


def frozen(
    state: TrialState, value: float | None = None, **reported: float
) -> optuna.trial.FrozenTrial:
    steps = {int(step[1:]): value for step, value in reported.items()}
    return optuna.create_trial(state=state, value=value, intermediate_values=steps)


def test_values_of_a_batch() -> None:
    batch = [
        frozen(TrialState.COMPLETE, 1.0),
        frozen(TrialState.COMPLETE, 3.0),
        frozen(TrialState.COMPLETE, float("inf")),
        frozen(TrialState.COMPLETE, float("-inf")),
        frozen(TrialState.PRUNED, None, s1=9.0, s2=4.0),  # its last report
        frozen(TrialState.PRUNED, None, s1=0.5),  # better than the worst: not believed
        frozen(TrialState.PRUNED),  # never reported
    ]
    np.testing.assert_array_equal(batch_values(batch, 1), [1.0, 3.0, 4.0, 0.5, 4.0, 4.0, 4.0])
    np.testing.assert_array_equal(batch_values(batch[:2], -1), [-1.0, -3.0])
    diverged = [frozen(TrialState.PRUNED, None, s1=9.0, s9=v) for v in (np.nan, np.inf, -np.inf)]
    for sign, worst in ((1, 4.0), (-1, -1.0)):
        values = batch_values([*batch[:2], batch[4], *diverged], sign)
        assert values[3:].tolist() == [worst] * 3  # whatever their step
    assert not batch_values([frozen(TrialState.PRUNED)], 1).any()


def test_importance_weights_are_clipped() -> None:
    family = Family((Block("dirichlet", 2),))
    x = np.array([[0.5, 0.5], [0.999, 0.001]])
    new, old = np.array([50.0, 1.0]), np.array([1.0, 50.0])
    weights = importance_weights(family, x, new, [new, old])
    np.testing.assert_allclose(weights, [1.0, 5.0])


def branches(trial: optuna.Trial) -> float:
    if trial.suggest_categorical("branch", ["a", "b"]) == "a":
        weights = suggest_simplex(trial, "w", 3)
        return 0.2 + float(np.sum((weights - [0.7, 0.2, 0.1]) ** 2))
    z = trial.suggest_int("z", 1, 9)
    return (trial.suggest_float("y", 0.0, 1.0) - 0.3) ** 2 + 0.1 * abs(z - 4)


def test_conditional_parameters_are_drawn_by_the_trials_that_have_them() -> None:
    study = run(branches, 40, seed=0)
    assert set(generations(study)[-1].codec.space) == {"branch"}
    late = [trial for trial in study.trials[20:] if trial.params["branch"] == "b"]
    assert len(late) > 8 and np.median([abs(t.params["z"] - 4) for t in late]) <= 1.0
    uniform = run(branches, 40, seed=0, candidates=1)
    assert study.best_value < 0.2 * uniform.best_value
    assert S2ESampler(seed=0).audit(study) == []


def test_a_score_estimate_draws_conditional_parameters_uniformly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view, "draw_conditionally", lambda *_: pytest.fail("asked a surrogate"))
    run(branches, 10, seed=0, estimator="score")


def test_what_is_searched_beside_a_schedule_counts_too() -> None:
    def objective(trial: optuna.Trial) -> float:
        rates = suggest_schedule(trial, 20).rates
        rate = trial.suggest_float("learning_rate", 1e-5, 1.0, log=True)
        return float(np.mean((rates - 0.6) ** 2)) + (np.log10(rate) + 2.0) ** 2

    study = run(objective, 36, seed=0)
    late = [np.log10(trial.params["learning_rate"]) for trial in study.trials[24:]]
    assert abs(np.median(late) + 2.0) < 0.3


def test_a_changed_space_starts_a_new_chain_with_the_old_trials() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0, batch_size=4))
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=12)
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 2), n_trials=12)
    current = generations(study)
    assert set(current[0].codec.space) == {"x"}
    assert min(in_batches(study)) < 4  # trials drawn from the uniform law fit the smaller space
    assert S2ESampler(batch_size=4).audit(study) == []


def test_constant_values_move_nothing() -> None:
    study = run(lambda trial: 0.0 * trial.suggest_float("x", 0.0, 1.0), 20, seed=0)
    np.testing.assert_array_equal(generations(study)[-1].theta, [1.0, 1.0])


def test_a_storage_that_cannot_be_written_costs_a_tag_not_a_trial(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    study = run(sphere, 10, seed=0)

    def refuse(*args: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(study._storage, "set_trial_system_attr", refuse)
        trial = study.ask()
    assert "could not be tagged" in caplog.text
    study.tell(trial, sphere(trial))
    study.optimize(sphere, n_trials=10)
    assert S2ESampler().audit(study) == []


def test_tags_are_small_and_readable() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(lambda t: float(suggest_schedule(t, 50).rates.mean()), n_trials=30)
    attrs = [trial.system_attrs for trial in study.trials]
    assert all(list(attr) == [TAG_KEY] for attr in attrs)
    assert max(len(str(attr)) for attr in attrs) < 2000
    assert [generation.m for generation in generations(study)] == list(range(1, 10))
    assert generations(study)[1].batch == (0, 1, 2, 3, 4, 5)  # the warm start
    assert generations(study)[-1].sample_params(3)[0].keys() == study.trials[0].params.keys()


def test_audit_notices_a_forged_theta() -> None:
    study = run(sphere, 15, seed=0)
    number = generations(study)[1].trial_number
    assert number is not None
    stored = study.get_trials(deepcopy=False)[number]  # the in-memory storage's own object
    stored.system_attrs[TAG_KEY]["commit"]["theta"][0] += 0.5
    assert any(f"trial {number}" in problem for problem in S2ESampler().audit(study))


def test_generations_of_a_study_without_s2e() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert generations(study) == []
    study.optimize(sphere, n_trials=3)
    assert generations(study) == []


def test_best_schedule() -> None:
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    with pytest.raises(ValueError, match="no trial has finished: there is nothing"):
        best_schedule(study)
    study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.5}))
    with pytest.raises(ValueError, match="no trial has finished: 1 were pruned"):
        best_schedule(study)
    study.add_trial(create_trial(value=float("inf")))
    with pytest.raises(ValueError, match="finite value"):
        best_schedule(study)
    study.add_trial(create_trial(value=-1.0))  # without a schedule
    study.optimize(lambda t: float(suggest_schedule(t, 20).rates.mean()), n_trials=10)
    best = min(trial.value for trial in study.trials[3:])
    assert best_schedule(study, "observed").rates.mean() == pytest.approx(best)
    assert best_schedule(study).rates.mean() == pytest.approx(best, abs=0.05)
    with pytest.raises(ValueError, match="by='luck'"):
        best_schedule(study, "luck")  # type: ignore[arg-type]
    assert recommended_trial(study, "observed").number == 2
    other = run(lambda trial: trial.suggest_float("x", 0, 1), 1)
    with pytest.raises(ValueError, match="suggest_schedule"):
        best_schedule(other)
