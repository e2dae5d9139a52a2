"""A whole search: what it prints as JSON, stores and leaves behind, in search.json."""

import json

import optuna
from command_line import run
from golden_files import check, golden_json
from golden_outputs import (
    ACCURACY,
    described_file,
    described_list,
    described_model,
    without_times,
)

from s2e_optuna import open_storage

WORDS = (
    "digits --noise symmetric --noise-rate 0.5 --trials 2 --epochs 2 --seeds 1 --folds 2 "
    "--device cpu --json --out out --storage sqlite:///study.db"
)
SUSPECTS = {"": ACCURACY, ".listed": 5, ".expected_wrong": 2.0}  # of 1,000 samples
WITHIN = {
    "printed": ACCURACY,
    "printed.settings": 0.0,
    "printed.schedule": 1e-9,
    "printed.noise_rate": 1e-9,
    **{f"printed.suspects{name}": most for name, most in SUSPECTS.items()},
    "comparison.json.methods": ACCURACY,
    **{f"comparison.json.suspects{name}": most for name, most in SUSPECTS.items()},
    "schedule.json": 1e-9,
    "study": 1e-9,
    "study.values": ACCURACY,
    "study.reports": ACCURACY,
    "study.test_accuracy": ACCURACY,
    "study.label_precision": ACCURACY,
}


def test_a_search_is_as_it_was(tmp_path, monkeypatch):
    """One test for all of it, because the search takes seconds."""
    monkeypatch.chdir(tmp_path)
    result = run(f"search {WORDS}")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    found = {
        "lines printed": result.stdout.count("\n"),
        "printed": without_times(json.loads(result.stdout)),
        "files": {path.name: described_file(path) for path in out.iterdir()},
        "comparison.json": without_times(json.loads((out / "comparison.json").read_text("utf-8"))),
        "schedule.json": json.loads((out / "schedule.json").read_text("utf-8")),
        "model.safetensors": described_model(out / "model.safetensors"),
        "suspects.csv": described_list(out / "suspects.csv"),
        "study": described_study("sqlite:///study.db"),
        "artifacts": len(list((tmp_path / "artifacts").iterdir())),
        "beside": sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("study.db")),
    }
    check(found, golden_json("search.json", lambda: found), WITHIN)


def described_study(url):
    """Return all that is stored, without what differs from run to run."""
    storage = open_storage(url)
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.trials
    attributes = {name for trial in trials for name in trial.user_attrs}
    system_attributes = {name for trial in trials for name in trial.system_attrs}
    same = ("schedule", "training_seed", "kept_share", "label_precision", "test_accuracy")
    found = {
        "name": name,
        "direction": study.direction.name,
        "user attributes": sorted(study.user_attrs),
        "bounds": {name: [d.low, d.high] for name, d in trials[0].distributions.items()},
        "trials' user attributes": sorted(attributes),
        "trials' system attributes": sorted({n.partition(":")[0] for n in system_attributes}),
        "states": [trial.state.name for trial in trials],
        "values": [trial.values for trial in trials],
        "reports": [trial.intermediate_values for trial in trials],
        "params": [trial.params for trial in trials],
        "tags": [trial.system_attrs["s2e:tag"] for trial in trials],
        **{name: [trial.user_attrs[name] for trial in trials] for name in same},
    }
    storage.dispose()
    return found
