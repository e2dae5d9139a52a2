"""Measure how good a schedule a search recommends after so many trials.

    python -m studies.bench_search
    python -m studies.bench_search mnist-sym50 --samplers s2e tpe --in-flight 1 4 16
    python -m studies.bench_search mnist-sym50 --emulator trees

Searches run on emulated tasks (`studies.emulator`). The recommendation is `best_schedule`, the
same for all samplers: by a model fitted to the trials. Its error is taken without noise. A trial
that Hyperband stops costs the epochs it had; the others cost a whole training.

Results go to ``studies/results/bench_search/``: TASK.csv (every run), TASK.md, TASK.png and, over
all tasks, README.md. Runs that are in the CSV already are not repeated: after a change of the
sampler, remove it.
"""

from __future__ import annotations

import argparse
import functools
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import Trial, TrialState
from scipy.stats import mannwhitneyu

from s2e_optuna import Schedule, best_schedule, suggest_schedule
from s2e_optuna.schedules import trial_schedule
from studies.emulator import (
    DATA,
    EMULATORS,
    Array,
    Emulator,
    ProcessEmulator,
    TreeEmulator,
    emulator_of,
    final_error,
    load_table,
)
from studies.search_runs import (
    CHECKPOINTS,
    SAMPLERS,
    Runs,
    by_sampler,
    complete,
    draw,
    note_origin,
    read_origins,
    read_runs,
    table,
)
from studies.searches import PRUNERS

RESULTS = Path(__file__).parent / "results" / "bench_search"

SEEDS = {"gp": 8}
"""Seeds of samplers that take minutes a search, at most."""

LEVEL = 0.05
"""Probability from which on a difference of ranks counts as noise."""

RULE = (
    "Differences are S2E's error minus the other's in %: a negative one says that S2E is ahead. "
    "The best of the others is the one with the lowest median; *within noise* is p >= "
    f"{LEVEL} in the two-sided test of Mann and Whitney (ranks, not corrected for the number of "
    "comparisons). Means ± standard error stand beside it: a few searches that stay far off weigh "
    "heavily in them."
)

RIVALS = ("tpe", "tpe, independent", "cmaes", "gp", "hyperband", "random")


def run(emulator: Emulator, name: str, seed: int, n_trials: int, in_flight: int) -> list[float]:
    """Search once; return the noise-free error of the recommendation at each checkpoint."""
    epochs = emulator.table.epochs
    pruner = PRUNERS["hyperband" if name == "hyperband" else "none"](epochs)
    study = optuna.create_study(sampler=SAMPLERS[name](seed), pruner=pruner)
    rng = np.random.default_rng([20, seed])
    running: deque[tuple[Trial, Schedule]] = deque()
    found: list[float] = []
    spent = 0
    for checkpoint in (c for c in CHECKPOINTS if c <= n_trials):
        while spent < checkpoint * epochs:
            while len(running) < in_flight:
                trial = study.ask()
                running.append((trial, suggest_schedule(trial, epochs)))
            # The first to begin is the first to end; then its worker asks again.
            trial, schedule = running.popleft()
            spent += train(study, trial, emulator.train(schedule.rates, rng))
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
        f"# Searches on {emulator.name}",
        "",
        f"`python -m studies.bench_search {recorded.name}"
        + (f" --emulator {emulator.kind}`" if emulator.suffix else "`")
        + f". A task for {'tuning' if recorded.use == 'tune' else 'judging'}: what a training "
        f"gives is answered by {emulator.told}, fitted to {len(recorded.x)} recorded trainings, "
        "with their noise. Validation error of the recommended schedule without noise, in %, mean "
        f"± standard error over seeds. One training has noise of {100 * recorded.noise:.2f}; "
        f"training on everything has {100 * reference:.2f}.",
        "",
        *table(runs),
        "",
        *([RULE, "", *compared] if (compared := verdict(runs)) else []),
        "",
        f"![Error by number of trials]({emulator.name}.png)",
        "",
    ]
    (RESULTS / f"{emulator.name}.md").write_text("\n".join(lines), encoding="utf-8")
    draw(runs, RESULTS / f"{emulator.name}.png", "error of the recommended schedule [%]")


def verdict(runs: Runs) -> list[str]:
    """Compare S2E with its rivals, one trial at a time: a line a budget from 12 trials on.

    S2E starts with six schedules like Co-teaching's, which the others do not know: the last line
    is of S2E without them.
    """
    grouped = {name: 100 * np.array(rows) for name, rows in by_sampler(runs).items()}
    ours, rivals = grouped.get("s2e"), {r: grouped[r] for r in RIVALS if r in grouped}
    if ours is None or not rivals or ours.shape[1] < len(CHECKPOINTS):
        return []
    lines, best = [], {}
    for i, checkpoint in enumerate(CHECKPOINTS[1:], 1):
        name = min(rivals, key=lambda r: np.median(rivals[r][:, i]))
        best[i] = rivals[name][:, i]
        word, number = _compare(ours[:, i], best[i])
        lines.append(
            f"* {checkpoint} trials: S2E is {word} the best of the others, {name}: {number}."
        )
    tpe = min(
        (r for r in rivals if r.startswith("tpe")), key=lambda r: np.median(rivals[r][:, -1])
    )
    place = CHECKPOINTS.index(24)
    word, number = _compare(ours[:, place], rivals[tpe][:, -1])
    lines.append(
        f"* S2E after 24 trials is {word} the better of the TPEs after 96, {tpe}: {number}."
    )
    if (cold := grouped.get("s2e, no warm start")) is not None:
        parts = [_compare(cold[:, i], theirs) for i, theirs in best.items()]
        lines.append(
            "* Without a warm start S2E is, after 12 / 24 / 48 / 96 trials, "
            + "; ".join(f"{word} the best of the others ({number})" for word, number in parts)
            + "."
        )
    return lines


def _compare(ours: np.ndarray, theirs: np.ndarray) -> tuple[str, str]:
    """Say how S2E's errors compare with others', and by how much.

    By ranks, because the errors are skewed: a few searches that stay far off decide about a mean
    and its standard error.
    """
    test = mannwhitneyu(ours, theirs)
    word = "within noise of"
    if test.pvalue < LEVEL:
        word = "ahead of" if test.statistic < len(ours) * len(theirs) / 2 else "**behind**"
    median, mean = np.median(ours) - np.median(theirs), ours.mean() - theirs.mean()
    spread = np.hypot(*(v.std(ddof=1) / np.sqrt(len(v)) for v in (ours, theirs)))
    p = f"p = {test.pvalue:.3f}" if test.pvalue >= 0.001 else "p < 0.001"
    return word, f"median {median:+.2f}, {p}; mean {mean:+.2f} ± {spread:.2f}"


def write_summary() -> None:
    """Write the page over all tasks."""
    about = read_origins(RESULTS)
    lines = [
        "# Searches on recorded tables",
        "",
        "`python -m studies.bench_search`. What the tables are says `studies/record_table.py`;",
        "which are for tuning and which for judging was written down before either was done.",
        RULE,
        "A commit is that of the runs added last: rows that were kept may be of earlier ones.",
        "",
        "What a training gives is answered by a regression fitted to the table: a Gaussian",
        "process on principal components of R(t), which is also the form of S2E's surrogate.",
        "Tasks named *trees* are the same tables behind a forest, which is not. S2E's first six",
        "trials are schedules like Co-teaching's; the other samplers know nothing of them.",
        "",
    ]
    for use, heading in (("judge", "Judging"), ("tune", "Tuning")):
        for path in sorted(RESULTS.glob("*.csv")):
            told = about.get(path.stem)  # none yet where the first runs are on their way
            if told and load_table(path.stem.removesuffix(TreeEmulator.suffix)).use == use:
                lines += [f"## {heading}: [{path.stem}]({path.stem}.md)", ""]
                lines += [*verdict(read_runs(path)), ""]
                lines += [f"{told['hardware']}; commit {told['commit']}.", ""]
    lines += ["[Notes](notes.md).", ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    tasks = sorted(path.stem for path in DATA.glob("*.npz"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(tasks)} [all]")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, metavar="NAME")
    parser.add_argument("--emulator", choices=EMULATORS, default=ProcessEmulator.kind)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1], help="workers at once")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.tasks) - set(tasks):
        parser.error(f"no table of {', '.join(sorted(unknown))}; there are {', '.join(tasks)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks or tasks:
        emulator = emulator_of(task, arguments.emulator)
        path = RESULTS / f"{emulator.name}.csv"
        before = len(read_runs(path))
        for in_flight in arguments.in_flight:
            for name in arguments.samplers or SAMPLERS:
                job = functools.partial(
                    run, emulator, n_trials=arguments.trials, in_flight=in_flight
                )
                seeds = min(arguments.seeds, SEEDS.get(name, arguments.seeds))
                runs = complete(path, [name], seeds, in_flight, job)
        if emulator.name not in read_origins(RESULTS) or len(runs) > before:
            note_origin(RESULTS, emulator.name)
        write_page(emulator, runs)
        write_summary()
        print(f"wrote {path.with_suffix('.md')}")


if __name__ == "__main__":
    main()
