"""Measure how good a schedule a search recommends after so many trials.

    python -m studies.bench_search digits-sym50 --seeds 20
    python -m studies.bench_search digits-pair45 --samplers s2e tpe --in-flight 8

Searches run on emulated tasks (`studies.emulator`). The recommendation is `best_schedule`, the
same for all samplers: by the mean of a model fitted to the trials. Its error is taken without
noise. Results go to ``studies/results/bench_search/``: TASK.csv (every run), TASK.md, TASK.png.
Runs that are in the CSV already are not repeated.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import numpy as np
import optuna

from s2e_optuna import best_schedule, suggest_schedule
from studies.emulator import DATA, Emulator, load_table
from studies.search_runs import CHECKPOINTS, SAMPLERS, Runs, complete, draw, table

RESULTS = Path(__file__).parent / "results" / "bench_search"


def run(emulator: Emulator, name: str, seed: int, n_trials: int, in_flight: int) -> list[float]:
    """Search once; return the noise-free error of the recommendation at each checkpoint."""
    study = optuna.create_study(sampler=SAMPLERS[name](seed))
    rng = np.random.default_rng([20, seed])
    found: list[float] = []
    done = 0
    for checkpoint in (c for c in CHECKPOINTS if c <= n_trials):
        while done < checkpoint:
            # So many workers ask before any of them tells.
            trials = [study.ask() for _ in range(min(in_flight, checkpoint - done))]
            done += len(trials)
            for trial in trials:
                schedule = suggest_schedule(trial, emulator.table.epochs)
                noise = emulator.table.noise * rng.normal()
                study.tell(trial, float(emulator.error(schedule.rates)[0]) + noise)
        found.append(float(emulator.error(best_schedule(study).rates)[0]))
    return found


def write_page(emulator: Emulator, runs: Runs) -> None:
    recorded = emulator.table
    reference = emulator.error(np.ones(recorded.epochs))[0]
    lines = [
        f"# Searches on {recorded.name}",
        "",
        f"`python -m studies.bench_search {recorded.name}`. A task for "
        + ("tuning" if recorded.use == "tune" else "judging")
        + f". Validation error of the recommended schedule without noise, in %, mean ± standard "
        f"error over seeds. One training has noise of {100 * recorded.noise:.2f}; training on "
        f"everything has {100 * reference:.2f}.",
        "",
        *table(runs),
        "",
        f"![Error by number of trials]({recorded.name}.png)",
        "",
    ]
    (RESULTS / f"{recorded.name}.md").write_text("\n".join(lines), encoding="utf-8")
    draw(runs, RESULTS / f"{recorded.name}.png", "error of the recommended schedule [%]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=sorted(path.stem for path in DATA.glob("*.npz")))
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--in-flight", type=int, default=1, help="workers that run at once")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    RESULTS.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(load_table(arguments.task))
    names = arguments.samplers or [name for name in SAMPLERS if name != "gp"]  # gp: minutes a run
    runs = complete(
        RESULTS / f"{arguments.task}.csv",
        names,
        arguments.seeds,
        arguments.in_flight,
        functools.partial(run, emulator, n_trials=arguments.trials, in_flight=arguments.in_flight),
    )
    write_page(emulator, runs)
    print(f"wrote {RESULTS / arguments.task}.md")


if __name__ == "__main__":
    main()
