"""Whole searches on digits, and everything that may be wrong about one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from s2e_optuna import Schedule, open_storage
from s2e_optuna.errors import ConfigError, DataError
from s2e_optuna.objective.resuming import study_folder
from s2e_optuna.search.budget import Budget
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.samplers import make_sampler
from s2e_optuna.search.search import _remove_checkpoints, search
from s2e_optuna.search.stored import check_same, objective_of
from s2e_optuna.search.worker import run_worker
from s2e_optuna.storages import StorageError
from s2e_optuna.stored_names import folder_name
from s2e_optuna.training import load_model

SMALL = {
    "noise": "symmetric",
    "noise_rate": 0.4,
    "train_size": 300,
    "epochs": 3,
    "trials": 4,
    "final_seeds": 2,
    "device": "cpu",
}


@pytest.fixture
def make(tmp_path, sqlite_url):
    def config(**options):
        return SearchConfig.of(
            **{"storage": sqlite_url, "out": tmp_path / "out", **SMALL, **options}
        )

    return config


def test_a_search_from_beginning_to_end_and_again(make, tmp_path, sqlite_url):
    seen = []
    result = search(make(stack=2), seen.append)
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert {"study", "storage", "n_trials", "best_value", "schedule", "test_accuracy"} <= set(
        content
    )
    assert content["study"] == "digits-symmetric-0.4"
    assert content["storage"] == sqlite_url
    assert content["n_trials"] == 4
    assert list(content["test_accuracy"]) == [
        "standard",
        "linear",
        "clean_only",
        "coteaching",
        "coteaching_estimated",
        "s2e",
        "posterior",
    ]
    assert content["kept"] not in (None, "coteaching", "linear")
    assert all(0 < accuracy < 1 for accuracy in content["test_accuracy"].values())
    assert len(content["schedule"]) == 3

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.json",
        "fingerprint.npz",
        "model.safetensors",
        "schedule.json",
        "suspects.csv",
    ]
    assert Schedule.from_json(out / "schedule.json").rates.tolist() == content["schedule"]
    assert len(load_model(out / "model.safetensors").states) in (1, 2)  # plain training has one
    assert len((out / "suspects.csv").read_text().splitlines()) == 301

    assert {progress.phase for progress in seen} == {"search", "retrain"}
    assert seen[-1].finished == seen[-1].target
    study = optuna.load_study(study_name=content["study"], storage=open_storage(sqlite_url))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4
    assert study.best_value == content["best_value"]
    study._storage.dispose()

    # The same again: nothing is left to do, and the comparison is not repeated.
    seen.clear()
    assert search(make(), seen.append).to_dict()["test_accuracy"] == content["test_accuracy"]
    assert seen == []
    # More trials: the search goes on.
    assert search(make(trials=6, final_seeds=0), seen.append).n_trials == 6


def test_a_search_that_is_to_have_fewer_trials_ends_with_its_results(
    make, opened, sqlite_url, caplog
):
    search(make(trials=2, final_seeds=0))
    study = optuna.load_study(study_name="digits-symmetric-0.4", storage=opened(sqlite_url))
    study.set_user_attr("s2e:trials", 100_000)  # as a search that was begun with so many
    assert search(make(trials=1, final_seeds=0)).n_trials == 2
    assert "was to have 100,000 trials, and is to have 1 now; 2 have finished" in caplog.text


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"epochs_total": 7}, "The 7 epochs of this search are trained."),
        ({"minutes": 0.001}, "The 0.001 minutes of this search are over."),
    ],
    ids=["epochs", "minutes"],
)
def test_a_budget_ends_a_search_with_its_results(make, caplog, budget, told):
    result = search(make(trials=5000, final_seeds=1, folds=0, stack=2, **budget))
    assert 2 <= result.n_trials < 5000 and result.files["model"].exists()
    assert f"{told} It ends with the trials that have finished." in caplog.text


def test_epochs_are_those_that_trials_have_had():
    study = optuna.create_study()
    budget = Budget(epochs=10, epochs_total=15)
    study.add_trial(optuna.trial.create_trial(value=0.5))
    left = optuna.trial.create_trial(
        value=None, state=TrialState.PRUNED, intermediate_values={1: 0.7, 3: 0.6}
    )
    study.add_trial(left)
    assert budget.spent(study.trials, 0.0) is None
    study.ask().report(0.9, 0)
    assert budget.spent(study.trials, 0.0) is not None


def test_a_worker_from_elsewhere(make, sqlite_url):
    search(make(trials=1, final_seeds=0))
    study = optuna.load_study(study_name="digits-symmetric-0.4", storage=open_storage(sqlite_url))
    study.set_user_attr("s2e:trials", 3)
    assert run_worker(sqlite_url, "digits-symmetric-0.4", device="cpu", threads=1) == 2
    assert len(study.trials) == 3
    study._storage.dispose()
    with pytest.raises(StorageError, match="no study 'other'"):
        run_worker(sqlite_url, "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "nonsense"}, "unknown data set"),
        ({"data": "nowhere.npz"}, "nowhere.npz"),
        ({"method": "nonsense"}, "unknown method"),
        ({"method": "standard"}, "uses no schedule"),
        ({"network": "nonsense"}, "unknown network"),
        ({"network": "cnn1"}, "needs images of at least"),
        ({"space": "nonsense"}, "unknown space"),
        ({"device": "nonsense"}, "unknown device"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "cpu,nonsense"}, "unknown device"),
        ({"sampler": "nonsense"}, "unknown sampler"),
        ({"sampler_options": {"batch_size": 0}}, "at least 1"),
        ({"sampler_options": {"nonsense": 0}}, "does not take"),
        ({"noise": "nonsense"}, "unknown noise"),
        ({"noise_rate": 0.95}, "noise_rate"),
        ({"noise_rate": -0.1}, "noise_rate"),
        ({"noise_rate": float("nan")}, "noise_rate"),
        ({"noise": "pair", "noise_rate": 0.5}, "noise_rate"),
        ({"noise": None}, "needs .noise."),
        ({"noise_rate": None}, "needs a .noise_rate."),
        ({"validation": "nonsense"}, "validation"),
        ({"train_size": 5}, "train_size"),
        ({"train_size": 100, "batch_size": 128}, "fewer than one batch"),
        ({"epochs": 0}, "epochs"),
        ({"trials": 0}, "trials"),
        ({"workers": 0}, "workers"),
        ({"stack": 0}, "stack"),
        ({"trials": 2.5}, "trials"),
        ({"seed": -1}, "seed"),
        ({"final_seeds": -1}, "final_seeds"),
        ({"batch_size": 0}, "batch_size"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"augment": "cutout"}, "unknown augmentation 'cutout'"),
        ({"augment": abs}, ".augment. is a name"),
        ({"execution": "magic"}, "unknown execution 'magic'"),
        ({"network": "mlp", "execution": "unfold"}, "no execution 'unfold' .only cnn1."),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"study": " "}, "name is empty"),
        ({"storage": "nonsense"}, "no storage URL"),
        ({"storage": "sqlite:///:memory:"}, "in memory"),
        ({"storage": "sqlite:///"}, "in memory"),
        ({"storage": "sqlite+pysqlite://"}, "in memory"),
        ({"out": __file__}, "is a file"),
        ({"out": f"{__file__}/below"}, "is a file"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(make, tmp_path, options, message):
    with pytest.raises((ConfigError, DataError, StorageError), match=message) as info:
        search(make(**options))
    assert "\n" not in str(info.value)
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_other_settings_is_refused(make, sqlite_url):
    search(make(trials=1, final_seeds=0))
    for options, message in [
        ({"space": "rbf"}, "space is 's2e', not 'rbf'"),
        ({"epochs": 4}, "epochs is 3, not 4"),
        ({"seed": 1}, "seed is 0, not 1"),
        ({"sampler": "tpe"}, "sampler is 's2e', not 'tpe'"),
        ({"noise_rate": 0.3}, "noise_rate is 0.4, not 0.3"),
    ]:
        with pytest.raises(ConfigError, match=message) as info:
            search(make(study="digits-symmetric-0.4", **options))
        assert "--study" in str(info.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "maximize"}, "maximises"),
        ({"directions": ["minimize", "minimize"]}, "2 objectives"),
    ],
)
def test_a_study_of_another_kind_is_refused(make, opened, sqlite_url, options, message):
    optuna.create_study(study_name="s", storage=opened(sqlite_url), **options)
    with pytest.raises(ConfigError, match=message):
        search(make(study="s"))


def test_a_study_made_by_hand_is_refused(make, opened, sqlite_url):
    study = optuna.create_study(study_name="s", storage=opened(sqlite_url))
    study.add_trial(optuna.create_trial(value=0.5))
    with pytest.raises(ConfigError, match="not made by s2e search"):
        search(make(study="s"))


def test_passwords_are_in_no_message(make):
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/db"
    config = make(storage=url)
    assert config.masked_storage == "postgresql+psycopg://me:***@127.0.0.1:1/db"
    with pytest.raises(StorageError) as info:
        search(config)
    assert "secret" not in str(info.value)


def test_names_and_folders():
    config = SearchConfig.of(data="some/folder/faces.npz")
    assert config.study_name == "faces"
    assert config.folder.parts == ("s2e-out", "faces")
    assert SearchConfig.of(noise="pair", noise_rate=0.45).study_name == "digits-pair-0.45"


@pytest.mark.parametrize("name", ["..", ".", "/tmp/x", "a/../../b", "a\\b", " ", "n" * 300])
def test_the_folder_of_a_study_is_one_folder_inside_s2e_out(name):
    if name.strip():
        assert SearchConfig.of(study=name).folder.resolve().parent == Path("s2e-out").resolve()
    assert study_folder(Path("kept"), name).resolve().parent == Path("kept").resolve()
    assert len(folder_name(name)) < 100


def test_no_two_studies_share_a_folder():
    names = ["a b", "a_b", "a/b", "a:b", "a", "a ", ".a", "..", ".", "n" * 300, "n" * 301]
    assert len({folder_name(name) for name in names}) == len(names)
    assert folder_name("digits-pair-0.45") == "digits-pair-0.45"


def test_a_study_with_a_strange_name_removes_nothing_of_others(make, tmp_path):
    config = make(study="..", workers=1)
    kept = tmp_path / "out" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    (tmp_path / "out" / "checkpoints").mkdir()
    _remove_checkpoints(config)
    assert kept.exists() and not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.parametrize("sampler", ["s2e", "tpe", "random", "cmaes", "gp", "qmc"])
def test_every_sampler_suggests_a_schedule(sampler):
    pytest.importorskip("cmaes" if sampler == "cmaes" else "optuna", reason="needs cmaes")
    from s2e_optuna import suggest_schedule

    settings = {"sampler": sampler, "sampler_options": {}, "seed": 0}
    study = optuna.create_study(sampler=make_sampler(settings, 1))
    study.optimize(lambda t: float(np.mean(suggest_schedule(t, 5).rates)), n_trials=3)
    assert len(study.trials) == 3


def test_workers_of_a_sampler_with_a_seed_do_not_repeat_each_other():
    settings = {"sampler": "random", "sampler_options": {}, "seed": 0}
    drawn = []
    for worker in (0, 1):
        study = optuna.create_study(sampler=make_sampler(settings, worker))
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)
        drawn.append(study.best_value)
    assert drawn[0] != drawn[1]


SCRIPT = """
import sys
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.search import search

if __name__ == "__main__":
    try:
        search(
            SearchConfig.of(
                noise="symmetric", noise_rate=0.4, train_size=300, epochs=10, trials=500,
                stack=2, device="cpu",
                storage=sys.argv[1], study="s", out=sys.argv[2],
            ),
            lambda progress: print(progress.finished, flush=True),
        )
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_study_in_order(number, opened, sqlite_url, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, sqlite_url, tmp_path / "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if int(line) >= 1:
            break
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to all of its processes
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    study = optuna.load_study(study_name="s", storage=opened(sqlite_url))
    states = [trial.state for trial in study.trials]
    assert TrialState.RUNNING not in states
    assert 0 < states.count(TrialState.COMPLETE) < 500
    assert not (tmp_path / "out").exists()


def test_a_search_trains_as_it_is_told_and_knows_studies_that_could_not_be_told(make, sqlite_url):
    told = {"optimizer": "sgd", "precision": "bfloat16", "execution": "loop"}
    told["augment"] = "crop_flip"
    config = make(trials=1, final_seeds=0, **told)
    search(config)
    objective = objective_of(config.stored(), "cpu")
    assert {name: getattr(objective.config, name) for name in told} == told
    assert objective.config.learning_rate == 0.1  # as in the paper for SGD
    plain = make()
    earlier = {name: value for name, value in plain.stored().items() if name not in told}
    check_same(earlier, plain)
    assert objective_of(earlier, "cpu").config == objective_of(plain.stored(), "cpu").config
    with pytest.raises(ConfigError, match="optimizer is 'adam', not 'sgd'"):
        check_same(earlier, config)
