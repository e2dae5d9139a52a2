import pickle

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from s2e_optuna import CoTeachingObjective, S2ESampler, open_storage
from s2e_optuna.data import from_arrays, load_data
from s2e_optuna.errors import DataError
from s2e_optuna.training import METHODS

EPOCHS = 3


@pytest.fixture(scope="module")
def data():
    return load_data("digits", noise="symmetric", noise_rate=0.4, train_size=300)


@pytest.fixture(autouse=True)
def _quiet_and_small():
    verbosity, threads = optuna.logging.get_verbosity(), torch.get_num_threads()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)  # tests run beside each other
    yield
    optuna.logging.set_verbosity(verbosity)
    torch.set_num_threads(threads)


def make_objective(data, **options):
    return CoTeachingObjective(data, epochs=EPOCHS, device="cpu", **options)


def make_study(**options):
    return optuna.create_study(
        sampler=S2ESampler(seed=0), pruner=optuna.pruners.NopPruner(), **options
    )


def test_plain_optuna(data):
    study = make_study()
    study.optimize(make_objective(data), n_trials=2)
    for trial in study.trials:
        reports = list(trial.intermediate_values.values())
        assert trial.value == pytest.approx(reports[-1]) and reports == sorted(reports)[::-1]
        assert list(trial.intermediate_values) == [0, 1, 2]
        assert {
            "stopped_epoch",
            "label_precision",
            "kept_share",
            "test_accuracy",
            "seconds",
        } <= set(trial.user_attrs)
    seeds = [trial.user_attrs["training_seed"] for trial in study.trials]
    assert len(set(seeds)) == 2


def test_to_the_last_epoch_as_in_the_paper(data):
    study = make_study()
    study.optimize(make_objective(data, stop="last"), n_trials=1)
    (trial,) = study.trials
    assert trial.value == pytest.approx(np.mean(list(trial.intermediate_values.values())))
    assert "stopped_epoch" not in trial.user_attrs


def test_a_study_goes_on_with_the_value_that_it_was_begun_with(data, caplog):
    study = make_study()
    study.optimize(make_objective(data, stop="last"), n_trials=1)
    study.optimize(make_objective(data), n_trials=1)
    assert "stopped_epoch" not in study.trials[1].user_attrs
    assert "begun with stop=last" in caplog.text


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].uses_schedule])
def test_every_method_with_a_schedule_can_be_searched(data, name):
    study = make_study()
    study.optimize(make_objective(data, method=name), n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_a_stack_gives_what_single_trials_of_its_seed_give(data):
    objective = make_objective(data)
    study = make_study()
    trials = [study.ask() for _ in range(3)]
    outcomes = objective.evaluate(trials)
    assert [outcome.state for outcome in outcomes] == [TrialState.COMPLETE] * 3
    again = make_study()
    alone = objective.evaluate([again.ask()])
    assert again.trials[0].params == study.trials[0].params
    assert alone[0].value == pytest.approx(outcomes[0].value, abs=1e-5)
    assert len({outcome.attrs["training_seed"] for outcome in outcomes}) == 1


def test_reports_have_a_stride_and_the_last_epoch(data):
    study = make_study()
    study.optimize(make_objective(data, report_every=2), n_trials=1)
    assert list(study.trials[0].intermediate_values) == [1, 2]
    assert CoTeachingObjective(data, epochs=200).report_every == 10


class PruneAt(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return max(trial.intermediate_values) >= 1


def test_pruning(data):
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=PruneAt())
    study.optimize(make_objective(data), n_trials=1)
    trial = study.trials[0]
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values) == [0, 1]
    assert trial.value == trial.intermediate_values[1]
    assert "kept_share" in trial.user_attrs


def test_a_pruned_trial_leaves_the_stack_alone(data):
    study = optuna.create_study(sampler=S2ESampler(seed=0), pruner=PruneAt())
    trials = [study.ask(), study.ask()]
    outcomes = make_objective(data).evaluate(trials)
    assert [outcome.state for outcome in outcomes] == [TrialState.PRUNED] * 2


def test_divergence_fails_the_trial_and_not_the_study(data):
    study = make_study()
    study.optimize(make_objective(data, learning_rate=1e30), n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert "diverged" in study.trials[0].user_attrs["error"]


def test_data_are_loaded_once_and_not_pickled():
    objective = make_objective("digits", noise="pair", noise_rate=0.2)
    loaded = objective.data
    assert objective.data is loaded
    text = pickle.dumps(objective)
    assert len(text) < 5_000
    assert pickle.loads(text).data.y_train.tolist() == loaded.y_train.tolist()


def test_data_without_test_part_and_truth():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.random((300, 8, 8)), np.arange(300) % 3)
    study = make_study()
    study.optimize(make_objective(data, batch_size=32), n_trials=1)
    attrs = study.trials[0].user_attrs
    assert study.trials[0].state == TrialState.COMPLETE
    assert "test_accuracy" not in attrs and "label_precision" not in attrs


def test_writes_are_few(data, tmp_path):
    import sqlalchemy

    storage = open_storage(f"sqlite:///{tmp_path}/a.db")
    study = make_study(storage=storage)
    objective = make_objective(data)
    study.optimize(objective, n_trials=1)
    commits = []
    sqlalchemy.event.listen(storage._backend.engine, "commit", lambda *_: commits.append(1))
    study.optimize(objective, n_trials=1)
    # Parameters, three reports, attributes; the rest are Optuna's own reads and writes.
    assert len(commits) <= 5 + 12
    assert len(study.trials[1].params) == 19
    storage.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "nonsense"}, "unknown space"),
        ({"method": "nonsense"}, "unknown method"),
        ({"method": "standard"}, "uses no schedule"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"report_every": 0}, "report_every"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        CoTeachingObjective(**options)


def test_noise_on_given_data(data):
    with pytest.raises(ValueError, match="either noise"):
        CoTeachingObjective(data, noise="pair", noise_rate=0.1)


def test_fewer_samples_than_a_batch(data):
    study = make_study()
    with pytest.raises(DataError, match="fewer than one batch"):
        study.optimize(make_objective(data, batch_size=1000), n_trials=1)
