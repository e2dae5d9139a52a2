import io
import json

import optuna
import pytest
from rich.console import Console

from s2e_optuna import S2ESampler, open_storage
from s2e_optuna.cli import main
from s2e_optuna.commands.audit import Audit, audit_study, print_audit
from s2e_optuna.errors import InputError
from s2e_optuna.sampler.tags import TAG_KEY


def objective(trial):
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + trial.suggest_float("y", 0, 1)


@pytest.fixture
def study():
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(objective, n_trials=12)
    return study


def falsify(study, change, trial=None):
    """Change a commit of a study, by default the last one, as nobody may."""
    if trial is None:
        trial = next(t for t in reversed(study.trials) if "commit" in t.system_attrs[TAG_KEY])
    tag = trial.system_attrs[TAG_KEY]
    change(tag["commit"])
    for stored in study.get_trials(deepcopy=False):  # the storage's own objects
        if stored.number == trial.number:
            stored.system_attrs = {**stored.system_attrs, TAG_KEY: tag}


def test_a_study_that_agrees(study):
    found = audit_study(study)
    assert found.clean and found.commits == found.checked >= 3
    stream = io.StringIO()
    print_audit(Console(file=stream, width=80), found)
    assert "all agree" in stream.getvalue()


def test_a_changed_theta_is_found(study):
    falsify(study, lambda commit: commit["theta"].__setitem__(0, commit["theta"][0] + 0.5))
    found = audit_study(study)
    assert not found.clean
    assert "is not what its batch gives" in found.problems[0]


def test_a_trial_in_two_batches_is_found(study):
    falsify(study, lambda commit: commit["batch"].append(0))
    assert any("Trial 0 is in the batches" in problem for problem in audit_study(study).problems)


def forget_options(study):
    """Make the study one of an earlier version, which did not tell its sampler's options."""

    def forget(commit):
        commit.pop("options", None)
        commit.pop("space", None)

    for trial in study.trials:
        if "commit" in trial.system_attrs.get(TAG_KEY, {}):
            falsify(study, forget, trial)


def doubled(params):
    return 2.0 * params["x"]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 2, "max_kl": float("inf"), "update": "natural"},
        {"estimator": "score", "warm_start": False},
        {"prior": True, "step_size": 1},
    ],
    ids=str,
)
def test_a_study_tells_the_options_of_its_sampler(study, options, tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    if "prior" in options:
        options = {**options, "prior": study}
    other = optuna.create_study(storage=storage, sampler=S2ESampler(seed=0, **options))
    other.optimize(objective, n_trials=16)
    found = audit_study(other)
    assert found.agrees and found.checked == found.commits > 0 and not found.unchecked
    assert S2ESampler().audit(other) == []
    falsify(other, lambda commit: commit["theta"].__setitem__(0, commit["theta"][0] + 0.5))
    assert not audit_study(other).agrees
    assert S2ESampler().audit(other) == list(audit_study(other).problems)


def test_features_of_ones_own_are_recomputed_in_python_only():
    sampler = S2ESampler(seed=0, features=doubled)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=16)
    found = audit_study(study)
    assert found.checked == 0 and found.clean and not found.agrees
    assert "features of its own" in found.unchecked[0] and "doubled" in found.unchecked[0]
    assert sampler.audit(study) == []
    assert S2ESampler().audit(study) == list(found.unchecked)


def test_the_options_of_an_earlier_version_are_found_out(monkeypatch):
    monkeypatch.setattr("s2e_optuna.sampler.ledger.RULE", 1)  # as that version went
    for sampler in (S2ESampler.paper(seed=0), S2ESampler(seed=0, batch_size=2)):
        study = optuna.create_study(sampler=sampler)
        study.optimize(objective, n_trials=16)
        forget_options(study)
        found = audit_study(study)
        if sampler.options.batch_size == 2:
            assert not found.agrees and found.checked == 0 and "had options" in found.unchecked[0]
            settings = {"sampler": "s2e", "sampler_options": {"batch_size": 2}}
            study.set_user_attr("s2e:search", settings)
            found = audit_study(study)
        assert found.agrees and found.checked == found.commits > 0 and not found.unchecked


def of_more(trial):
    return objective(trial) + trial.suggest_float("z", 0, 1)


def of_less(trial):
    return trial.suggest_float("x", 0, 1)


def test_updates_of_an_earlier_search_space_are_recomputed(study):
    before = audit_study(study).commits
    study.optimize(of_more, n_trials=2)
    study.optimize(of_less, n_trials=9)
    found = audit_study(study)
    assert found.agrees and found.commits == found.checked > before and not found.unchecked
    falsify(study, lambda commit: commit["theta"].__setitem__(0, 9.0), study.trials[6])
    assert "theta in trial 6" in audit_study(study).problems[0]


def test_those_of_an_earlier_version_are_told_and_not_wrong(study):
    before = audit_study(study).commits
    forget_options(study)
    study.optimize(of_less, n_trials=2)
    found = audit_study(study)
    assert found.clean and found.unchecked and found.commits >= before
    stream = io.StringIO()
    print_audit(Console(file=stream, width=200), found)
    assert f"{found.commits - found.checked} of {found.commits} updates were not" in (
        stream.getvalue()
    )


def test_a_study_whose_theta_was_not_updated_yet():
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    study.optimize(objective, n_trials=2)
    found = audit_study(study)
    assert found.agrees and found.commits == 0
    stream = io.StringIO()
    print_audit(Console(file=stream, width=80), found)
    assert "theta has not been updated yet" in stream.getvalue()


def test_other_samplers_have_no_theta():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=2)
    with pytest.raises(InputError, match="no theta to recompute"):
        audit_study(study)


def test_the_command_line(stored, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["s2e", "show", "--storage", stored, "--audit", "--json"])
    with pytest.raises(SystemExit) as info:
        main()
    content = json.loads(capsys.readouterr().out)
    assert info.value.code == 0  # the study's sampler had K = 4, which its first commit says
    audit = content["audit"]
    assert audit["checked"] == audit["commits"] > 0
    assert audit["clean"] and not audit["unchecked"] and not audit["problems"]


def test_the_exit_code_where_nothing_could_be_recomputed(stored, monkeypatch, capsys):
    nothing = Audit(3, 0, (), ("3 of 3 updates were not recomputed.",))
    monkeypatch.setattr("s2e_optuna.commands.audit.audit_study", lambda study: nothing)
    monkeypatch.setattr("sys.argv", ["s2e", "show", "--storage", stored, "--audit"])
    with pytest.raises(SystemExit) as info:
        main()
    assert info.value.code == 1
    assert "nothing could be recomputed" in capsys.readouterr().out


def test_the_exit_code_of_a_wrong_study(stored, monkeypatch, capsys):
    wrong = Audit(3, 3, ("The theta in trial 3 is not what its batch gives.",))
    monkeypatch.setattr("s2e_optuna.commands.audit.audit_study", lambda study: wrong)
    monkeypatch.setattr("sys.argv", ["s2e", "show", "--storage", stored, "--audit"])
    with pytest.raises(SystemExit) as info:
        main()
    assert info.value.code == 1
    assert "1 things are wrong" in capsys.readouterr().out


def test_the_exit_code_of_a_clean_study(stored, monkeypatch, capsys):
    clean = Audit(3, 3, ())
    monkeypatch.setattr("s2e_optuna.commands.audit.audit_study", lambda study: clean)
    monkeypatch.setattr("sys.argv", ["s2e", "show", "--storage", stored, "--audit"])
    with pytest.raises(SystemExit) as info:
        main()
    assert info.value.code == 0
    assert "3 of 3 updates of theta recomputed: all agree." in capsys.readouterr().out
