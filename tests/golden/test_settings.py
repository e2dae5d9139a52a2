"""What a study stores about its search, in settings.json: old studies are compared with it.

A key that is lost, or comes out with another value, makes every stored study one of "other
settings", or lets trials go on that do something else.
"""

import json

import optuna
import pytest
from golden_files import check, golden_json

from s2e_optuna.errors import ConfigError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.stored import check_same

CASES = {
    "defaults": {},
    "symmetric noise": {"noise": "symmetric", "noise_rate": 0.5},
    "pair noise": {"data": "mnist", "noise": "pair", "noise_rate": 0.45, "seed": 3},
    "noise by instance": {"noise": "instance", "noise_rate": 0.2, "train_size": 500},
    "no noise at a rate": {"noise": "symmetric", "noise_rate": 0.0},
    "noise from a file": {"noise": "matrix.csv"},
    "labels from a file": {"data": "images", "labels": "given.csv", "label_column": "mine"},
    "labels that are missing": {"data": "images", "labels": "nowhere.csv"},
    "an array file": {"data": "some/arrays.npz", "validation": "noisy", "batch_size": 16},
    "sgd": {"optimizer": "sgd", "precision": "bfloat16"},
    "rmsprop": {"optimizer": "rmsprop", "network": "cnn1", "execution": "unfold"},
    "a learning rate": {"learning_rate": 3e-3, "augment": "crop_flip"},
    "tpe": {"sampler": "tpe", "sampler_options": {"n_startup_trials": 3}, "space": "rbf"},
    "s2e with options": {"sampler_options": {"batch_size": 6, "estimator": "score"}},
    "nothing beside the study": {"checkpoint_minutes": 0.0, "final_seeds": 0, "folds": 0},
    "a study with a path for a name": {"study": "../mine", "storage": "journal:///mine.log"},
    "a server": {"storage": "postgresql+psycopg://me:secret@host/db", "workers": 8, "stack": 1},
    "every field": {
        "data": "images",
        "noise": "pair",
        "noise_rate": 0.3,
        "validation": "clean",
        "train_size": 300,
        "labels": "given.csv",
        "path_column": "file",
        "label_column": "mine",
        "clean_column": "true",
        "drop_columns": ("id",),
        "text_column": "review",
        "features": "resnet18",
        "views": 2,
        "components": 64,
        "image_size": 16,
        "method": "mentornet",
        "network": "cnn2",
        "space": "single",
        "epochs": 7,
        "batch_size": 24,
        "optimizer": "rmsprop",
        "learning_rate": 0.02,
        "precision": "bfloat16",
        "execution": "loop",
        "augment": "crop_flip",
        "seed": 11,
        "trials": 5,
        "workers": 2,
        "stack": 3,
        "storage": "sqlite:///other.db",
        "study": "all of it",
        "sampler": "random",
        "sampler_options": {"seed": 4},
        "device": "cpu",
        "final_seeds": 2,
        "folds": 3,
        "out": "there",
        "data_root": "~/cache",
        "report_every": 2,
        "checkpoint_minutes": 1.5,
        "launcher": "ray",
        "gpus_per_worker": 0.5,
        "artifacts": "pictures",
    },
}

LATER = {"optimizer", "precision", "execution", "augment"}
"""Keys that the first studies lack: everything was at its default there."""


def configure(case, **changes) -> SearchConfig:
    return SearchConfig.of(**{**CASES[case], **changes})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path.resolve()
    (folder / "given.csv").write_text("file,mine,true\na.png,cat,dog\n", encoding="utf-8")
    (folder / "matrix.csv").write_text("0.9,0.1\n0.2,0.8\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    return folder


def described(folder, case):
    """Return what is stored in a case: all of it by default, else what differs from that."""
    config = configure(case)
    settings, stored = config.settings(), config.stored()
    beside = {name: value for name, value in stored.items() if name not in settings}
    if case != "defaults":
        usual = configure("defaults").stored()
        settings, beside = (
            {name: value for name, value in part.items() if value != usual[name]}
            for part in (settings, beside)
        )
    content = {"settings": settings, "stored beside them": beside}
    return json.loads(json.dumps(content).replace(str(folder), "FOLDER"))


@pytest.fixture
def golden(folder):
    return golden_json("settings.json", lambda: {case: described(folder, case) for case in CASES})


def test_every_case_is_in_the_golden_file(golden):
    assert golden.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_settings_and_what_is_stored_beside_them(case, folder, golden):
    check(described(folder, case), golden[case])


@pytest.mark.parametrize("case", CASES)
def test_no_case_has_other_keys(case):
    usual, config = configure("defaults"), configure(case)
    assert config.settings().keys() == usual.settings().keys()
    assert config.stored().keys() == usual.stored().keys()


@pytest.mark.parametrize("case", CASES)
def test_settings_are_among_what_is_stored(case):
    stored, settings = configure(case).stored(), configure(case).settings()
    assert {name: stored[name] for name in settings} == settings


@pytest.mark.parametrize("case", CASES)
def test_the_same_search_goes_on(case):
    check_same(json.loads(json.dumps(configure(case).stored())), configure(case))


@pytest.mark.parametrize("case", [case for case in CASES if not CASES[case].keys() & LATER])
def test_a_search_that_an_earlier_version_stored_goes_on(case):
    check_same(stored_earlier(case), configure(case))


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].keys() & LATER])
def test_what_an_earlier_version_could_not_do_is_another_search(case):
    with pytest.raises(ConfigError, match="exists with other settings"):
        check_same(stored_earlier(case), configure(case))


def stored_earlier(case):
    return {name: value for name, value in configure(case).stored().items() if name not in LATER}


@pytest.mark.parametrize("name", configure("every field").settings())
def test_every_setting_decides_whether_it_is_the_same_search(name):
    config = configure("every field")
    with pytest.raises(ConfigError, match=rf"exists with other settings \({name} is 'other', not"):
        check_same({**config.stored(), name: "other"}, config)


def test_a_file_with_other_contents_is_another_search(folder):
    config = configure("labels from a file")
    stored = config.stored()
    (folder / "given.csv").write_text("file,mine\na.png,dog\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="contents is"):
        check_same(stored, config)


def test_how_it_is_carried_out_may_change():
    other = configure(
        "defaults", trials=99, workers=3, stack=1, final_seeds=1, folds=0, out="else",
        report_every=5, checkpoint_minutes=0.0, artifacts="else", data_root="else",
        storage="sqlite:///else.db", device="cpu",
    )  # fmt: skip
    assert other.settings() == configure("defaults").settings()


def test_a_storage_object_has_no_folder_for_pictures(folder):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    config = configure("defaults", storage=optuna.storages.JournalStorage(backend))
    assert config.stored() == {**configure("defaults").stored(), "artifacts": None}
