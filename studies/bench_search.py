"""Measure how good a schedule a search recommends after so many trials.

    python -m studies.bench_search
    python -m studies.bench_search mnist-sym50 --samplers s2e tpe --in-flight 1 4 16

Searches run on emulated tasks (`studies.emulator`). The recommendation is `best_schedule`, the
same for all samplers: by a model fitted to the trials. Its error is taken without noise. A trial
that Hyperband stops costs the epochs it had; the others cost a whole training.

Results go to ``studies/results/bench_search/``: TASK.csv (every run), TASK.md, TASK.png and, over
all tasks, README.md. Runs that are in the CSV already are not repeated.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from s2e_optuna import Schedule, best_schedule, suggest_schedule
from s2e_optuna.schedules import trial_schedule
from studies.emulator import DATA, Array, Emulator, final_error, load_table
from studies.main_job import commit, hardware
from studies.search_runs import (
    CHECKPOINTS,
    SAMPLERS,
    Runs,
    by_sampler,
    complete,
    draw,
    read_runs,
    table,
)
from studies.searches import PRUNERS

RESULTS = Path(__file__).parent / "results" / "bench_search"

SEEDS = {"gp": 8}
"""Seeds of samplers that take minutes a search, at most."""

RIVALS = ("tpe", "tpe, independent", "cmaes", "gp", "hyperband", "random")


def run(emulator: Emulator, name: str, seed: int, n_trials: int, in_flight: int) -> list[float]:
    """Search once; return the noise-free error of the recommendation at each checkpoint."""
    epochs = emulator.table.epochs
    pruner = PRUNERS["hyperband" if name == "hyperband" else "none"](epochs)
    study = optuna.create_study(sampler=SAMPLERS[name](seed), pruner=pruner)
    rng = np.random.default_rng([20, seed])
    found: list[float] = []
    spent = 0
    for checkpoint in (c for c in CHECKPOINTS if c <= n_trials):
        while spent < checkpoint * epochs:
            left = -(-(checkpoint * epochs - spent) // epochs)
            # So many workers ask before any of them tells; a trial draws when it suggests.
            asked = [study.ask() for _ in range(min(in_flight, left))]
            schedules = [suggest_schedule(trial, epochs) for trial in asked]
            spent += sum(
                train(study, trial, emulator.train(schedule.rates, rng))
                for trial, schedule in zip(asked, schedules, strict=True)
            )
        found.append(float(emulator.error(recommended(study).rates)[0]))
    return found


def train(study: optuna.Study, trial: Trial, curve: Array) -> int:
    """Run a trial with these errors by epoch [T] to its end; return the epochs it had."""
    if not isinstance(study.pruner, optuna.pruners.NopPruner):
        for epoch, error in enumerate(curve, 1):
            trial.report(float(error), epoch)
            if epoch < len(curve) and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                return epoch
    study.tell(trial, float(final_error(curve)))
    return len(curve)


def recommended(study: optuna.Study) -> Schedule:
    """Return `best_schedule`; while all were stopped, the best of those that got farthest."""
    if any(trial.state == TrialState.COMPLETE for trial in study.trials):
        return best_schedule(study)
    ends = [
        (-(t.last_step or 0), t.intermediate_values[t.last_step or 1], t) for t in study.trials
    ]
    schedule = trial_schedule(min(ends, key=lambda end: end[:2])[2])
    assert schedule is not None
    return schedule


def write_page(emulator: Emulator, runs: Runs) -> None:
    """Write a task's page and picture."""
    recorded = emulator.table
    reference = emulator.error(np.ones(recorded.epochs))[0]
    lines = [
        f"# Searches on {recorded.name}",
        "",
        f"`python -m studies.bench_search {recorded.name}`. A task for "
        + ("tuning" if recorded.use == "tune" else "judging")
        + f". Validation error of the recommended schedule without noise, in %, mean ± standard "
        f"error over seeds. One training has noise of {100 * recorded.noise:.2f}; training on "
        f"everything has {100 * reference:.2f}. Recorded trainings: {len(recorded.x)}.",
        "",
        *table(runs),
        "",
        *verdict(runs),
        "",
        f"![Error by number of trials]({recorded.name}.png)",
        "",
    ]
    (RESULTS / f"{recorded.name}.md").write_text("\n".join(lines), encoding="utf-8")
    draw(runs, RESULTS / f"{recorded.name}.png", "error of the recommended schedule [%]")


def verdict(runs: Runs) -> list[str]:
    """Compare S2E with its rivals, one trial at a time: a line a budget from 12 trials on."""
    grouped = {name: 100 * np.array(rows) for name, rows in by_sampler(runs).items()}
    ours, rivals = grouped.get("s2e"), {r: grouped[r] for r in RIVALS if r in grouped}
    if ours is None or not rivals or ours.shape[1] < len(CHECKPOINTS):
        return []
    lines = []
    for i, checkpoint in enumerate(CHECKPOINTS[1:], 1):
        name = min(rivals, key=lambda r: rivals[r][:, i].mean())
        lines.append(
            f"* {checkpoint} trials: S2E {_compare(ours[:, i], rivals[name][:, i], name)}"
        )
    tpe = min((r for r in rivals if r.startswith("tpe")), key=lambda r: rivals[r][:, -1].mean())
    place = CHECKPOINTS.index(24)
    lines.append(
        f"* S2E after 24 trials {_compare(ours[:, place], rivals[tpe][:, -1], f'{tpe} after 96')}"
    )
    return lines


def _compare(ours: np.ndarray, theirs: np.ndarray, name: str) -> str:
    difference = ours.mean() - theirs.mean()
    spread = np.hypot(*(v.std(ddof=1) / np.sqrt(len(v)) for v in (ours, theirs)))
    word = "ahead of" if difference < 0 else "**behind**"
    if abs(difference) < 2.0 * spread:
        word = "within noise of"
    return f"is {word} the best of the others, {name}: {difference:+.2f} ± {spread:.2f}."


def write_summary() -> None:
    """Write the page over all tasks."""
    lines = [
        "# Searches on recorded tables",
        "",
        "`python -m studies.bench_search`. What the tables are says `studies/record_table.py`;",
        "which are for tuning and which for judging was written down before either was done.",
        "Numbers in %, difference ± standard error; *within noise*: less than two of these.",
        "",
    ]
    for use, heading in (("judge", "Judging"), ("tune", "Tuning")):
        for path in sorted(RESULTS.glob("*.csv")):
            if load_table(path.stem).use == use:
                lines += [f"## {heading}: [{path.stem}]({path.stem}.md)", ""]
                lines += [*verdict(read_runs(path)), ""]
    about = json.loads((RESULTS / "about.json").read_text(encoding="utf-8"))
    lines += [f"{about['hardware']}; commit {about['commit']}. [Notes](notes.md).", ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    tasks = sorted(path.stem for path in DATA.glob("*.npz"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(tasks)} [all]")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1], help="workers at once")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.tasks) - set(tasks):
        parser.error(f"no table of {', '.join(sorted(unknown))}; there are {', '.join(tasks)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {"hardware": hardware(), "commit": commit()}
    (RESULTS / "about.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    for task in arguments.tasks or tasks:
        emulator = Emulator(load_table(task))
        for in_flight in arguments.in_flight:
            for name in arguments.samplers or SAMPLERS:
                job = functools.partial(
                    run, emulator, n_trials=arguments.trials, in_flight=in_flight
                )
                seeds = min(arguments.seeds, SEEDS.get(name, arguments.seeds))
                runs = complete(RESULTS / f"{task}.csv", [name], seeds, in_flight, job)
        write_page(emulator, runs)
        write_summary()
        print(f"wrote {RESULTS / task}.md")


if __name__ == "__main__":
    main()
