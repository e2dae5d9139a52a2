"""The main job on several data sets: S2E beside plain training and Co-teaching told the rate.

    python -m studies.main_job digits-sym50
    python -m studies.main_job mnist-pair45 --data data/mnist27k.npz

Runs `s2e search` (an interrupted one goes on) and writes what it found to
``studies/results/main_job/``: TASK.json, TASK.png and, over all tasks there, README.md. Schedules
are chosen by validation accuracy alone; the test accuracy stands beside it, over five fresh seeds.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from s2e_optuna.commands.search import run_search
from s2e_optuna.data import DataSpec
from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.reporting.verdict import METHOD_NAMES
from s2e_optuna.search.config import SearchConfig
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "main_job"

TASKS: dict[str, dict[str, Any]] = {
    "digits-sym50": {"data": "digits", "noise": "symmetric", "noise_rate": 0.5, "trials": 48},
    "digits-pair45": {"data": "digits", "noise": "pair", "noise_rate": 0.45, "trials": 48},
    "mnist-sym20": {
        "data": "mnist",
        "noise": "symmetric",
        "noise_rate": 0.2,
        "train_size": 10_000,
        "trials": 48,
    },
    "mnist-sym50": {
        "data": "mnist",
        "noise": "symmetric",
        "noise_rate": 0.5,
        "train_size": 10_000,
        "trials": 48,
    },
    "mnist-pair45": {
        "data": "mnist",
        "noise": "pair",
        "noise_rate": 0.45,
        "train_size": 10_000,
        "trials": 48,
    },
    "digits-sym50-noisy": {
        "data": "digits",
        "noise": "symmetric",
        "noise_rate": 0.5,
        "validation": "noisy",
        "trials": 48,
    },
    "digits-sym50-checked20": {
        "data": "digits",
        "noise": "symmetric",
        "noise_rate": 0.5,
        "validation": "noisy",
        "checked": 20,
        "trials": 48,
    },
    "digits-pair45-checked20": {
        "data": "digits",
        "noise": "pair",
        "noise_rate": 0.45,
        "validation": "noisy",
        "checked": 20,
        "trials": 48,
    },
}
"""What is searched; ``checked`` validation labels, drawn at random, are known to be right."""

HEADINGS = {"With a clean validation part": "clean", "Without one": "noisy"}

NAMES = METHOD_NAMES | {"coteaching": "Co-teaching, told the rate"}

MEASURES = (
    "test_accuracy",
    "validation_accuracy",
    "expected_validation",
    "label_precision",
    "last_epochs",
)


def checked_labels(checked: int, trials: int, **data: Any) -> dict[str, str]:
    """Look at some validation labels, drawn at random: their samples with the true ones."""
    drawn = DataSpec(**data).load()
    assert drawn.y_val_clean is not None
    rows = np.random.default_rng(0).choice(len(drawn.val_ids), checked, replace=False)
    return {drawn.val_ids[row]: drawn.class_names[drawn.y_val_clean[row]] for row in rows}


def write_page() -> None:
    """Set all tasks that have run side by side."""
    lines = [
        "# The main job",
        "",
        "`python -m studies.main_job TASK` for each row: Co-teaching on the MLP, 60 epochs, Adam",
        "1e-3. Test accuracy in %, mean ± standard deviation over five fresh seeds. Trainings are",
        "stopped at their best validation epoch; in brackets the mean of the last tenth of the",
        "epochs. Only the row that says so was told the noise rate. What comes before S2E is what",
        "people would do instead, with the same data; after the search comes the posterior.",
        "Without a clean part schedules are chosen, and trainings stopped, by validation samples",
        "whose labels are as wrong as the others; of `checked20` twenty are known to be right.",
        "",
    ]
    tasks = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }
    for words, validation in HEADINGS.items():
        some = {name: one for name, one in tasks.items() if _validation(name) == validation}
        if some:
            lines += [f"## {words}", "", *_table(some), ""]
    notes = [
        f"* {task}: {found['hardware']}; commit {found['commit']}" for task, found in tasks.items()
    ]
    lines += ["", "Hardware and versions:", "", *notes, ""]
    for path in sorted(RESULTS.glob("*.png")):
        lines += [f"![R(t) found for {path.stem}]({path.name})", ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _validation(task: str) -> str:
    return str(TASKS[task].get("validation", "clean"))


def _table(tasks: dict[str, dict[str, Any]]) -> list[str]:
    """Write a column a task."""
    lines = [f"| trained | {' | '.join(tasks)} |", "|---|" + "---|" * len(tasks)]
    for name, words in NAMES.items():
        cells = [_cell(found, name) for found in tasks.values()]
        if any(cells):
            lines.append(f"| {words} | {' | '.join(cells)} |")
    trials = [str(found["n_trials"]) for found in tasks.values()]
    return [*lines, f"| *trials* | {' | '.join(trials)} |"]


def _cell(found: dict[str, Any], name: str) -> str:
    """Write mean and deviation of a way to train, and its last epochs; empty if it was not."""
    mean = found["test_accuracy"].get(name)
    if mean is None:
        return ""
    deviation, last = found["test_accuracy_std"][name], found.get("last_epochs", {}).get(name)
    spread = (
        "" if deviation is None else f" ± {100 * deviation:.2f}"
    )  # a regression has one number
    return f"{100 * mean:.2f}{spread}" + ("" if last is None else f" ({100 * last:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", help="where the data are, if not the task's own source")
    parser.add_argument("--storage", default="sqlite:///storage/s2e.db")
    parser.add_argument("--study", help="name of the study [default: main-job-TASK]")
    parser.add_argument("--out", help="folder of the search [default: runs/main-job-TASK]")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    name = f"main-job-{arguments.task}"
    task = TASKS[arguments.task] | ({} if arguments.data is None else {"data": arguments.data})
    if "checked" in task:
        task["checked"] = checked_labels(**task)
    config = SearchConfig.of(
        **task,
        workers=arguments.workers,
        storage=arguments.storage,
        study=arguments.study or name,
        out=arguments.out or f"runs/{name}",
    )
    result, files = run_search(config, ProgressDisplay())
    found = result.to_dict()
    kept = ("study", "n_trials", "best_value", "schedule", "test_accuracy", "test_accuracy_std")
    more = (
        "last_epochs",
        "stopped_epoch",
        "test_accuracy_by_seed",
        "validation_accuracy",
        "expected_validation",
        "label_precision",
        "suspects",
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {key: found[key] for key in (*kept, *more)}
    content["by_seed"] = {
        name: {key: list(getattr(score, key)) for key in MEASURES}
        for name, score in result.scores.items()
    }
    content |= {
        "settings": found["settings"] | {"data": TASKS[arguments.task]["data"]},
        "hardware": hardware(),
    }
    content |= {"commit": commit()}
    target = RESULTS / f"{arguments.task}.json"
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    shutil.copyfile(files["picture"], RESULTS / f"{arguments.task}.png")
    write_page()
    print(f"wrote {target} and {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
