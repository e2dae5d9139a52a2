"""What build e7e89f7 left behind, in ``old_study/``, and how it was made.

| file | what it is |
|---|---|
| studies.db | three studies: ``search``, ``classifier``, ``interrupted`` (two trials that wait) |
| out/ | what the search wrote, without its pictures |
| checkpoints/ | of the two trials that wait: three of their six epochs |
| expected.json | what that build said of all this, and how it went on with it |

It is never made anew: that build is gone, its files are in people's folders. In a clean checkout
of it, with this file from here,

    PYTHONPATH=. python old_study.py FOLDER

made it. Paths and the machine's name were then replaced by others, which lead nowhere.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from sklearn.datasets import load_digits

from s2e_optuna import CoTeachingObjective, S2EClassifier, S2ESampler, open_storage
from s2e_optuna.training import from_arrays, load_data, load_model, predict_proba

FOLDER = Path(__file__).parent / "old_study"
NOWHERE = "/dev/null/gone"
"""In place of the folder in which the study was made: nobody can make a folder there."""

STORAGE = "sqlite:///studies.db"
SEARCH = (
    "search digits --noise symmetric --noise-rate 0.5 --train-size 180 --epochs 2 --folds 2 "
    f"--device cpu --storage {STORAGE} --study search --out out --json --quiet"
)


def features() -> tuple[np.ndarray, np.ndarray]:
    """Return how much ink is in each quarter of a digit [120, 4], and a name for low and high."""
    digits = load_digits()
    quarters = digits.images[:120].reshape(120, 2, 4, 2, 4).sum(axis=(2, 4)).reshape(120, 4)
    low = (digits.target[:120] < 5) ^ (np.arange(120) % 7 == 0)  # every seventh label is wrong
    return quarters, np.where(low, "low", "high")


def classifier(n_trials: int) -> S2EClassifier:
    return S2EClassifier(
        n_trials=n_trials,
        epochs=4,
        n_seeds=1,
        cross_validate=None,
        learning_rate=0.01,
        stack=1,
        storage=STORAGE,
        study_name="classifier",
        random_state=0,
        device="cpu",
    )


def objective() -> CoTeachingObjective:
    """Return the objective of the interrupted trainings; they are kept after every epoch."""
    quarters, names = features()
    x, y = (quarters[:, :2] / 64 - 1).astype(np.float32), names == "low"
    data = from_arrays(x[:80], y[:80], x[80:], y[80:])
    if hasattr(data, "preparation"):
        # That build took numbers of vectors as they are; now they are standardised.
        from s2e_optuna.data.preparation import Preparation

        data = replace(data, preparation=Preparation("floats"))
    return CoTeachingObjective(
        data,
        method="mentornet",
        epochs=6,
        learning_rate=0.02,
        device="cpu",
        stop="last",  # as everything was then
        checkpoints="checkpoints",
        checkpoint_minutes=0.0,
    )


def open_interrupted() -> optuna.Study:
    return optuna.create_study(
        study_name="interrupted",
        storage=open_storage(STORAGE),
        sampler=S2ESampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
        direction="minimize",
        load_if_exists=True,
    )


def go_on_with_interrupted() -> dict:
    """Train what waits; return which epochs that took, and how the trials ended."""
    study, epochs = open_interrupted(), []
    trials = [study.ask(), study.ask()]
    outcomes = objective().evaluate(trials, epochs.append)
    told = [
        study.tell(trial, outcome.value, state=outcome.state)
        for trial, outcome in zip(trials, outcomes, strict=True)
    ]
    return {
        "epochs": epochs,
        "numbers": [trial.number for trial in told],
        "values": [trial.value for trial in told],
        "params": [trial.params for trial in told],
        "reports": [trial.intermediate_values for trial in told],
        "seeds": [outcome.attrs["training_seed"] for outcome in outcomes],
    }


def go_on_with_classifier() -> dict:
    quarters, names = features()
    fitted = classifier(8).fit(quarters, names)
    trials = fitted.study_.trials
    return {
        "classes": list(fitted.classes_),
        "values": [trial.value for trial in trials],
        "last params": trials[-1].params,
        "schedule": [float(rate) for rate in fitted.schedule_.rates],
        "probabilities": fitted.predict_proba(quarters[:3]).tolist(),
        "suspicion": fitted.suspicion_[:3].tolist(),
    }


def predictions() -> list[list[float]]:
    images = load_data("digits").x_test
    return predict_proba(load_model("out/model.safetensors"), images[:3]).tolist()


def last_trial() -> dict:
    study = optuna.load_study(study_name="search", storage=open_storage(STORAGE))
    last = study.trials[-1]
    attributes = {k: v for k, v in last.user_attrs.items() if k not in ("seconds", "worker")}
    return {
        "number": last.number,
        "value": last.value,
        "params": last.params,
        "user attributes": attributes,
        "tag": last.system_attrs["s2e:tag"],
    }


# -------------------------------------------------------------------- made once, by that build


def make(folder: Path) -> None:
    from s2e_optuna.workers.leases import release

    class Killed(BaseException):
        pass

    def die(epoch: int) -> None:
        if epoch == 4:
            raise Killed

    folder.mkdir()
    os.chdir(folder)
    expected = {"search": json.loads(s2e(f"{SEARCH} --seeds 1 --trials 3"))}
    classifier(7).fit(*features())
    study = open_interrupted()
    try:
        objective().evaluate([study.ask(), study.ask()], die)
    except Killed:
        for trial in study.trials:
            release(study, trial, "its worker was killed")
    beside = folder.with_name(f"{folder.name}-gone-on")
    shutil.copytree(folder, beside)
    os.chdir(beside)
    s2e(f"{SEARCH} --seeds 0 --trials 4")
    expected["fourth trial"] = last_trial()
    expected["classifier"] = go_on_with_classifier()
    expected["interrupted"] = go_on_with_interrupted()

    os.chdir(folder)
    for path in [*Path("out").glob("*.png"), Path("out/report.html")]:
        path.unlink()
    shutil.rmtree("artifacts")
    move_elsewhere(folder)
    expected["show"] = json.loads(s2e(f"show --storage {STORAGE} --study search --json"))
    shown = json.loads(s2e(f"show --storage {STORAGE} --study classifier --audit --json"))
    expected |= {name: shown[name] for name in ("audit", "generations")}
    expected["suspects"] = json.loads(s2e("suspects out --json --top 1"))
    expected["predictions"] = predictions()
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in expected.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (folder / "expected.json").write_text(text, encoding="utf-8")


def s2e(words: str) -> str:
    command = [sys.executable, "-m", "s2e_optuna.cli", *words.split()]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def move_elsewhere(folder: Path) -> None:
    """Replace paths and the machine's name, leave out the pictures, and make the file small."""
    with sqlite3.connect("studies.db") as database, sqlite3.connect("small.db") as small:
        database.backup(small)
    database.close()
    small.isolation_level = None
    small.execute("PRAGMA journal_mode = DELETE")
    small.execute("DELETE FROM study_system_attributes WHERE key LIKE '%plot_data%'")
    for table in ("study_user_attributes", "trial_user_attributes"):
        for old, new in ((str(folder), NOWHERE), (f'"{socket.gethostname()}:', '"machine:')):
            small.execute(f"UPDATE {table} SET value_json = replace(value_json, ?, ?)", (old, new))
    small.execute("PRAGMA page_size = 512")
    small.execute("VACUUM")
    small.close()
    for path in folder.glob("studies.db*"):
        path.unlink()
    Path("small.db").rename("studies.db")


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
