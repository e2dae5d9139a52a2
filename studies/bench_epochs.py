"""Measure how good a schedule is that a search recommends after so many epochs of training.

    python -m studies.bench_epochs
    python -m studies.bench_epochs mnist-sym50 --searches s2e random --seeds 5

The axis is what a search costs: epochs of all its trials together, in trainings of full length.
Searches run on emulated tasks as in `studies.bench_search`, with validation and test accuracies of
the recorded trainings. Every training is stopped at its best validation epoch, except by S2E as
it was, whose trials are worth their last epochs. What is measured is the same for all: the
expected test error, at its best validation epoch, of a fresh training with the recommended
schedule. Nothing is chosen by it.

An emulator is wrong where it was taught little, and searches go there. So for some of them
`studies.trained_recommendations` trains what they recommended in earnest, and the page has both.

Results go to ``studies/results/bench_epochs/``; runs that are in a CSV already are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState
from rich.progress import track
from scipy.linalg import cho_solve

from s2e_optuna import S2ESampler, Schedule, best_schedule, suggest_schedule
from s2e_optuna.objective.leaving import leaving, rungs, values_at
from s2e_optuna.schedules import trial_schedule
from s2e_optuna.scores import judged, stopped_accuracy
from studies.emulator import DATA, Array, ProcessEmulator, load_table
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_epochs"

CHECKPOINTS = (4, 8, 16, 24, 32, 48)
"""Costs, in full trainings, after which a search is asked for its schedule."""

REPORTS = 20
"""Reports of a trial, about, as a search has them."""


@dataclass(frozen=True)
class Search:
    """A way to search.

    Attributes
    ----------
    sampler, pruner
        Made of a seed, and of the number of epochs.
    stack
        Trials that train side by side.
    leave
        Whether they leave by the product's rule.
    stop
        What a trial is worth, as in `TrainConfig.stop`.
    words
        What a reader is told.
    """

    sampler: Callable[[int], BaseSampler]
    words: str
    pruner: Callable[[int], BasePruner] = lambda epochs: NopPruner()
    stack: int = 1
    leave: bool = False
    stop: str = "best"


SEARCHES = {
    "s2e": Search(lambda seed: S2ESampler(seed=seed), "as `s2e search`", stack=8, leave=True),
    "s2e, all trained": Search(lambda seed: S2ESampler(seed=seed), "nobody leaves", stack=4),
    "s2e, before": Search(
        lambda seed: S2ESampler(seed=seed),
        "as it was landed: nobody leaves, a trial is worth its last epochs",
        stack=4,
        stop="last",
    ),
    "tpe + hyperband": Search(
        lambda seed: TPESampler(seed=seed, multivariate=True),
        "one trial at a time",
        lambda epochs: HyperbandPruner(min_resource=max(3, epochs // 10), max_resource=epochs),
    ),
    "tpe + median": Search(
        lambda seed: TPESampler(seed=seed, multivariate=True),
        "one trial at a time",
        lambda epochs: MedianPruner(n_startup_trials=4, n_warmup_steps=epochs // 5),
    ),
    "random + leaving": Search(
        lambda seed: RandomSampler(seed=seed), "S2E's rule for leaving", stack=8, leave=True
    ),
    "gp": Search(lambda seed: GPSampler(seed=seed), "nobody leaves, one trial at a time"),
    "random": Search(lambda seed: RandomSampler(seed=seed), "nobody leaves"),
}
"""By name."""

SEEDS = {"gp": 5}
"""Seeds of searches that take minutes, at most."""


class StoppedTask(ProcessEmulator):
    """Validation and test error by epoch, of trainings that are stopped in time."""

    def __init__(self, name: str) -> None:
        super().__init__(load_table(name))
        with np.load(DATA / f"{name}.npz", allow_pickle=False) as stored:
            test = 1.0 - stored["test"].astype(np.float64)
        table = self.table
        both = np.concatenate([table.curves, test], axis=1)
        self._mean_both = both.mean(axis=0)
        self._of_both = cho_solve((self._process.L_, True), both - self._mean_both)
        counts = np.bincount(table.schedule)
        repeated = [both[table.schedule == i] for i, count in enumerate(counts) if count > 1]
        self._noise = np.concatenate(
            [(c - c.mean(axis=0)) * np.sqrt(len(c) / (len(c) - 1)) for c in repeated]
        )

    def _both(self, rates: Array) -> Array:
        kernel = self._process.kernel_(self._features(rates[None]), self._process.X_train_)[0]
        return np.asarray(self._mean_both + kernel @ self._of_both)

    def train(self, rates: Array, rng: np.random.Generator) -> Array:
        """Return the validation error by epoch of one training with R(t) [T]: shape [T]."""
        one = self._both(rates) + self._noise[rng.integers(len(self._noise))]
        return np.asarray(one[: self.table.epochs])

    def stopped_error(self, rates: Array) -> float:
        """Return the expected test error of stopped trainings with R(t) [T]."""
        validation, test = np.split(self._both(rates) + self._noise, 2, axis=1)
        return float(test[np.arange(len(test)), validation.argmin(axis=1)].mean())


def run(task: StoppedTask, search: Search, seed: int) -> list[float]:
    """Search once; return the test error of the recommendation at each checkpoint."""
    return [task.stopped_error(found.rates) for found in recommendations(task, search, seed)]


def recommendations(task: StoppedTask, search: Search, seed: int) -> list[Schedule]:
    """Search once; return the schedule that is recommended at each checkpoint."""
    epochs = task.table.epochs
    study = optuna.create_study(sampler=search.sampler(seed), pruner=search.pruner(epochs))
    rng = np.random.default_rng([21, seed])
    found: list[Schedule] = []
    spent = 0
    while len(found) < len(CHECKPOINTS):
        trials = [study.ask() for _ in range(search.stack)]
        schedules = [suggest_schedule(trial, epochs) for trial in trials]
        curves = [task.train(schedule.rates, rng) for schedule in schedules]
        spent += train(study, search, trials, curves)
        while len(found) < len(CHECKPOINTS) and spent >= CHECKPOINTS[len(found)] * epochs:
            found.append(recommended(study))
    return found


def train(
    study: optuna.Study, search: Search, trials: Sequence[Trial], curves: Sequence[Array]
) -> int:
    """Run a stack of trials with these errors by epoch [T]; return the epochs they had."""
    epochs = len(curves[0])
    judged_at = rungs(epochs) if search.leave else ()
    every = max(1, -(-epochs // REPORTS))
    mine = {trial.number for trial in trials}
    running, spent = list(range(len(trials))), 0
    for epoch in range(epochs):
        spent += len(running)
        if (epoch + 1) % every and epoch + 1 != epochs and epoch not in judged_at:
            continue
        values = {i: 1.0 - stopped_accuracy(1.0 - curves[i][: epoch + 1]) for i in running}
        for i, value in values.items():
            trials[i].report(value, epoch)
        gone: set[int] = set()
        if epoch in judged_at:
            gone = leaving(values, *values_at(study, epoch, mine))
        elif epoch + 1 < epochs:
            gone = {i for i in running if trials[i].should_prune()}
        for i in gone:
            study.tell(trials[i], state=TrialState.PRUNED)
        running = [i for i in running if i not in gone]
    for i in running:
        study.tell(trials[i], 1.0 - judged(1.0 - curves[i], search.stop))
    return spent


def recommended(study: optuna.Study) -> Schedule:
    """Return `best_schedule`; while all were stopped, the best of those that got farthest."""
    if any(trial.state == TrialState.COMPLETE for trial in study.trials):
        return best_schedule(study)
    ends = [
        (-(t.last_step or 0), t.intermediate_values[t.last_step or 0], t) for t in study.trials
    ]
    schedule = trial_schedule(min(ends, key=lambda end: end[:2])[2])
    assert schedule is not None
    return schedule


Runs = dict[tuple[str, int], list[float]]


def read(path: Path) -> Runs:
    """Read runs: (search, seed) to errors by checkpoint."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {(row[0], int(row[1])): [float(value) for value in row[2:]] for row in rows}


def write(path: Path, runs: Runs) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["search", "seed", *CHECKPOINTS])
        for key in sorted(runs):
            writer.writerow([*key, *(f"{value:.5f}" for value in runs[key])])


def of_search(runs: Runs, name: str) -> NDArray[np.float64]:
    """Errors in % [seeds, checkpoints]."""
    return 100 * np.array([runs[key] for key in sorted(runs) if key[0] == name])


def page(found: dict[str, Runs], uses: dict[str, str]) -> str:
    """Write all tasks down."""
    lines = [
        "# What a search finds for so many epochs",
        "",
        "`python -m studies.bench_epochs`. A column is what a search has cost, in trainings of "
        "full length. Cells: expected test error in % of a fresh training with the recommended "
        "schedule, stopped at its best validation epoch; mean ± standard error over seeds. "
        "Options of S2E and the rule for leaving were chosen on the tuning tasks. The tasks are "
        "answered by a Gaussian process, and S2E's surrogate is one, too: that may suit it.",
        "",
        *(f"* **{name}**: {search.words}." for name, search in SEARCHES.items()),
    ]
    for task, runs in found.items():
        use = "tuning" if uses[task] == "tune" else "judging"
        lines += ["", f"## {task}, a task for {use}", ""]
        lines += [f"| search | seeds | {' | '.join(map(str, CHECKPOINTS))} |"]
        lines += ["|---|---|" + "---|" * len(CHECKPOINTS)]
        for name in SEARCHES:
            if len(errors := of_search(runs, name)):
                cells = map(_with_error, errors.T)
                lines.append(f"| {name} | {len(errors)} | {' | '.join(cells)} |")
        lines += ["", *verdict(runs), *trained_lines(task), "", f"![Error by cost]({task}.png)"]
    return "\n".join([*lines, "", f"{hardware()}; commit {commit()}.", ""])


def _with_error(errors: Array) -> str:
    if len(errors) < 2:
        return f"{errors.mean():.2f}"
    return f"{errors.mean():.2f} ± {errors.std(ddof=1) / np.sqrt(len(errors)):.2f}"


def verdict(runs: Runs) -> list[str]:
    """Compare S2E with what it was, and with leaving alone."""
    ours, before = of_search(runs, "s2e"), of_search(runs, "s2e, before")
    random = of_search(runs, "random + leaving")
    lines = []
    if len(ours) > 1 and len(before) > 1:
        cost, full = CHECKPOINTS.index(16), CHECKPOINTS.index(48)
        lines.append(
            "* S2E for 16 trainings minus S2E as it was for 48: "
            f"{_difference(ours[:, cost], before[:, full])} points of error."
        )
    if len(ours) > 1 and len(random) > 1:
        parts = [
            f"{cost}: {_difference(ours[:, i], random[:, i])}"
            for i, cost in enumerate(CHECKPOINTS)
            if cost >= 8
        ]
        lines.append(f"* S2E minus random schedules with the same rule: {'; '.join(parts)}.")
    return lines


def trained_lines(task: str) -> list[str]:
    """Set real trainings of what was recommended beside what the emulator says of it."""
    path = RESULTS / f"{task}-trained.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "",
        f"What these searches recommended ({found['searches']} of each), trained in earnest, "
        f"{found['seeds']} seeds each; mean ± standard error over searches "
        f"({found['provenance']}):",
        "",
        "| search | cost | emulated | trained |",
        "|---|---|---|---|",
    ]
    by_kind: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for one in found["recommendations"]:
        pair = 100 * one["emulated"], 100 * float(np.mean(one["trained"]))
        by_kind.setdefault((one["search"], one["cost"]), []).append(pair)
    for (name, cost), pairs in by_kind.items():
        emulated, trained = map(_with_error, np.array(pairs).T)
        lines.append(f"| {name} | {cost} | {emulated} | {trained} |")
    return lines


def _difference(ours: Array, theirs: Array) -> str:
    error = np.hypot(*(v.std(ddof=1) / np.sqrt(len(v)) for v in (ours, theirs)))
    return f"{ours.mean() - theirs.mean():+.2f} ± {error:.2f}"


def draw(task: str, runs: Runs) -> None:
    """Draw the mean error by cost, and its standard error."""
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    ax = figure.subplots()
    for name in SEARCHES:
        if len(errors := of_search(runs, name)) > 1:
            spread = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
            ax.errorbar(CHECKPOINTS, errors.mean(axis=0), spread, label=name, capsize=2)
    ax.set_xscale("log", base=2)
    ax.set_xticks(CHECKPOINTS, [str(c) for c in CHECKPOINTS])
    ax.set(xlabel="cost in full trainings", ylabel="test error, stopped [%]", title=task)
    ax.grid(alpha=0.3)
    if ax.has_data():
        figure.legend(loc="outside right center", frameon=False)
    figure.savefig(RESULTS / f"{task}.png", dpi=130)


def main() -> None:
    names = sorted(path.stem for path in DATA.glob("*.npz"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(names)}")
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(names):
        parser.error(f"no table of {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in arguments.tasks or names:
        task, path = StoppedTask(name), RESULTS / f"{name}.csv"
        runs = read(path)
        for search in arguments.searches:
            seeds = min(arguments.seeds, SEEDS.get(search, arguments.seeds))
            for seed in track(range(seeds), f"{name}: {search}"):
                if (search, seed) not in runs:
                    runs[search, seed] = run(task, SEARCHES[search], seed)
                    write(path, runs)
        draw(name, runs)
    found = {name: read(RESULTS / f"{name}.csv") for name in names}
    uses = {name: load_table(name).use for name in names}
    (RESULTS / "README.md").write_text(
        page({name: runs for name, runs in found.items() if runs}, uses), encoding="utf-8"
    )
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
