"""What an earlier build has left behind is read, shown and gone on with; see `old_study`.

Numbers that are stored, or follow from what is stored, are the same; those of trainings within
what `golden_outputs` says.
"""

import json
import shutil
import sqlite3
from pathlib import Path

import old_study
import optuna
import pytest
from command_line import run
from golden_files import check
from golden_outputs import ACCURACY, without_times

from s2e_optuna import Schedule, open_storage

EXPECTED = json.loads((old_study.FOLDER / "expected.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A copy of what was left behind, where all of it happens."""
    shutil.copytree(old_study.FOLDER, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def s2e(words):
    result = run(words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_stored_paths_lead_nowhere(folder):
    """So what works here works on another machine."""
    with sqlite3.connect("studies.db") as database:
        ((stored,),) = database.execute(
            "SELECT value_json FROM study_user_attributes WHERE key = 's2e:search'"
        )
    database.close()
    for name in ("checkpoints", "artifacts"):
        assert json.loads(stored)[name].startswith(old_study.NOWHERE)


def test_studies_are_opened():
    storage = open_storage(old_study.STORAGE)
    states = {
        name: [t.state.name for t in optuna.load_study(study_name=name, storage=storage).trials]
        for name in optuna.get_all_study_names(storage)
    }
    storage.dispose()
    assert states == {
        "search": ["COMPLETE"] * 3,
        "classifier": ["COMPLETE"] * 7,
        "interrupted": ["FAIL"] * 2 + ["WAITING"] * 2,
    }


def test_a_study_is_shown():
    shown = s2e(f"show --storage {old_study.STORAGE} --study search --json")
    check(as_told_then(shown, EXPECTED["show"]), EXPECTED["show"], {"": 1e-9})


def test_every_theta_is_what_the_trials_say():
    shown = s2e(f"show --storage {old_study.STORAGE} --study classifier --audit --json")
    assert shown["audit"] == EXPECTED["audit"]
    check(shown["generations"], EXPECTED["generations"], {"": 1e-6})


def test_the_list_of_suspects_is_read():
    listed = s2e("suspects out --json --top 1")
    check(as_told_then(listed, EXPECTED["suspects"]), EXPECTED["suspects"], {"": 1e-9})


def test_the_model_predicts_the_same():
    check(old_study.predictions(), EXPECTED["predictions"], {"": 1e-5})


def test_the_schedule_is_read():
    schedule = Schedule.from_json(Path("out/schedule.json"))
    assert schedule.rates.tolist() == EXPECTED["search"]["schedule"]


def as_told_then(found, expected):
    """Leave out what the earlier build did not tell yet: keys may come, none may go."""
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        return [as_told_then(one, then) for one, then in zip(found, expected, strict=True)]
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return found
    return {k: as_told_then(v, expected[k]) for k, v in found.items() if k in expected}


@pytest.mark.parametrize("lacking", [(), ("optimizer", "precision", "execution", "augment")])
def test_the_finished_search_has_nothing_left_to_do(lacking, folder):
    """Nor has one of a still earlier version, whose settings lack some keys."""
    forget(lacking)
    kept = [folder / "out" / name for name in ("comparison.json", "model.safetensors")]
    before = [path.read_bytes() for path in kept]
    printed = s2e(f"{old_study.SEARCH} --seeds 1 --trials 3")
    expected = without_times(EXPECTED["search"])
    check(as_told_then(without_times(printed), expected), expected, {"": 1e-9})
    assert [path.read_bytes() for path in kept] == before


def forget(names):
    storage = open_storage(old_study.STORAGE)
    study = optuna.load_study(study_name="search", storage=storage)
    settings = study.user_attrs["s2e:search"]
    known = {name: value for name, value in settings.items() if name not in names}
    study.set_user_attr("s2e:search", known)
    storage.dispose()


def test_the_search_goes_on():
    printed = s2e(f"{old_study.SEARCH} --seeds 0 --trials 4")
    assert printed["n_trials"] == 4
    close = {"value": ACCURACY, "user attributes": ACCURACY, "params": 1e-9}
    check(old_study.last_trial(), EXPECTED["fourth trial"], close)


def test_other_settings_are_refused():
    result = run(f"{old_study.SEARCH} --optimizer sgd --trials 4")
    assert result.exit_code == 2
    assert "optimizer is 'adam', not 'sgd'; learning_rate is 0.001, not 0.1" in result.stderr


def test_interrupted_trainings_go_on_where_they_were(caplog):
    found = old_study.go_on_with_interrupted()
    check(found, EXPECTED["interrupted"], {"values": 0.02, "reports": 0.05, "params": 1e-9})
    assert "cannot be used" not in caplog.text


def test_the_classifier_goes_on():
    found = old_study.go_on_with_classifier()
    loose = {"probabilities": 1e-3, "suspicion": 1e-3, "values": 0.02}
    check(found, EXPECTED["classifier"], {"": 1e-6, **loose})
