"""Many workers, one theta: the rules of the ledger, and workers that break off anywhere."""

import copy
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from s2e_optuna import S2ESampler, open_storage
from s2e_optuna.sampler import generations, ledger
from s2e_optuna.sampler.codec import fits
from s2e_optuna.sampler.ledger import Ledger
from s2e_optuna.sampler.tags import TAG_KEY

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}


def new_study(batch_size: int = 2) -> optuna.Study:
    sampler = S2ESampler(seed=0, batch_size=batch_size, estimator="score")
    return optuna.create_study(sampler=sampler)


def finish_some(study: optuna.Study, n: int) -> None:
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=n)


def create_untagged(study: optuna.Study) -> int:
    """Take a number as Optuna does, and go no further: a worker between two statements."""
    return study._storage.create_new_trial(study._study_id)


def commit_of(trial: optuna.Trial) -> object:
    return trial.study.trials[trial.number].system_attrs[TAG_KEY].get("commit")


def test_a_trial_steps_back_while_an_earlier_one_is_untagged() -> None:
    study = new_study()
    finish_some(study, 2)
    earlier = create_untagged(study)
    assert commit_of(study.ask(SPACE)) is None
    study._storage.set_trial_state_values(earlier, TrialState.FAIL)
    assert commit_of(study.ask(SPACE)) is not None


def test_a_waiting_trial_blocks_nobody() -> None:
    study = new_study()
    finish_some(study, 2)
    study.enqueue_trial({"x": 0.5})
    waiting = study.ask(SPACE)
    assert waiting.params == {"x": 0.5} and commit_of(waiting) is None
    assert commit_of(study.ask(SPACE)) is not None


def test_a_worker_that_died_untagged_is_given_up_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = new_study()
    finish_some(study, 2)
    create_untagged(study)
    assert commit_of(study.ask(SPACE)) is None
    monkeypatch.setattr(ledger, "UNTAGGED_PATIENCE", 0.0)
    assert commit_of(study.ask(SPACE)) is not None


def test_an_old_untagged_trial_blocks_nobody_who_comes_later() -> None:
    study = new_study()
    finish_some(study, 2)
    trial = study._storage.get_trial(create_untagged(study))
    trial.datetime_start = datetime.now() - timedelta(hours=1)
    ledger = Ledger()
    ledger.update([*study.trials[:2], trial])
    assert ledger.space is not None
    assert ledger.may_commit(3, ledger.chain("any", ledger.space))


def test_a_trial_of_another_sampler_blocks_nobody() -> None:
    study = new_study()
    finish_some(study, 2)
    trial_id = create_untagged(study)
    assert commit_of(study.ask(SPACE)) is None
    study._storage.set_trial_param(trial_id, "x", 0.5, SPACE["x"])
    assert commit_of(study.ask(SPACE)) is not None


def test_of_two_commits_the_one_in_the_earlier_trial_counts() -> None:
    study = new_study()
    finish_some(study, 3)  # trial 2 opened generation 2
    tag = study.trials[2].system_attrs[TAG_KEY]
    sleeper = create_untagged(study)
    # Trial 4 gave trial 3 up and opened generation 3; then trial 3 woke up and did, too.
    later = study._storage.create_new_trial(study._study_id)
    for trial_id, number, value in ((later, 4, 9.0), (sleeper, 3, 7.0)):
        commit = {"parent": 2, "batch": [2], "theta": [value, 1.0]}
        content = {"n": number, "sig": tag["sig"], "m": 3, "src": number, "commit": commit}
        study._storage.set_trial_system_attr(trial_id, TAG_KEY, content)
    assert generations(study)[-1].theta[0] == 7.0
    problems = S2ESampler(batch_size=2, estimator="score").audit(study)
    assert any("Trials 3 and 4 both open generation 3" in problem for problem in problems)
    assert any("Trial 2 is in the batches of trials 3 and 4" in problem for problem in problems)


def test_a_commit_waits_for_the_trials_that_it_names() -> None:
    """A database may show a tag before it shows that a trial in its batch has finished."""
    study = new_study()
    finish_some(study, 3)  # trial 2 opened generation 2, from trials 0 and 1
    trials = study.trials
    sampler = S2ESampler(seed=0, batch_size=2, estimator="score")
    running = copy.copy(trials[1])
    running.state = TrialState.RUNNING
    ledger = Ledger()
    ledger.update([trials[0], running, trials[2]])
    assert ledger.space is not None
    chain = ledger.chain(sampler.signature(ledger.space), ledger.space, sampler.options.accepts)
    assert chain.newest is None and list(chain.waiting) == [2]
    assert not ledger.may_commit(3, chain)  # it would open the same generation
    ledger.update(trials)
    assert chain.newest is not None and not chain.waiting
    assert ledger.may_commit(3, chain)


def test_late_trials_join_the_next_batch() -> None:
    study = new_study()
    late = study.ask(SPACE)
    finish_some(study, 5)
    study.tell(late, 0.3)
    finish_some(study, 2)
    batches = [generation.batch for generation in generations(study)[1:]]
    assert 0 not in batches[0] and any(0 in batch for batch in batches[1:])


def test_nobody_waits() -> None:
    study = new_study(batch_size=3)
    finish_some(study, 4)
    running = [study.ask(SPACE) for _ in range(20)]
    tags = [study.trials[trial.number].system_attrs[TAG_KEY] for trial in running]
    assert {(tag["m"], tag["src"]) for tag in tags} == {(2, 3)}
    assert len({trial.params["x"] for trial in running}) == 20


def test_only_new_and_open_trials_are_read_again() -> None:
    study = new_study()
    finish_some(study, 50)
    taken: list[int] = []

    class Counting(Ledger):
        def _take_in(self, trial: optuna.trial.FrozenTrial) -> None:
            taken.append(trial.number)
            super()._take_in(trial)

    counting = Counting()
    counting.update(study.trials)
    study.ask(SPACE)
    taken.clear()
    finish_some(study, 1)
    counting.update(study.trials)
    assert taken == [50, 51]


def check(study: optuna.Study, sampler: S2ESampler) -> None:
    """No generation opened twice, no trial in two batches, none lost, every theta right."""
    assert sampler.audit(study) == []
    fresh = Ledger()
    fresh.update(study.trials)
    if fresh.space:
        chain = fresh.chain(sampler.signature(fresh.space), fresh.space, sampler.options.accepts)
        usable = {
            n for n, t in fresh.finished.items() if fits(fresh.space, t) and chain.was_drawn(t)
        }
        assert usable == chain.used | set(chain.candidates)  # what is in no batch still waits
    in_batches = {n for generation in generations(study) for n in generation.batch}
    drawn = {
        trial.number
        for trial in study.trials
        if trial.state == TrialState.COMPLETE
        and TAG_KEY in trial.system_attrs
        and "fixed_params" not in trial.system_attrs
    }
    assert in_batches <= drawn


class Worker:
    """One worker's steps, each of which may be its last; the others run in between."""

    def __init__(self, study: optuna.Study, rng: random.Random) -> None:
        sampler = S2ESampler(seed=rng.randrange(2), batch_size=3, estimator="score")
        self.study = optuna.load_study(
            study_name=study.study_name, storage=study._storage, sampler=sampler
        )
        self.rng = rng
        self.steps = self._run()

    def _run(self) -> Iterator[None]:
        study, storage = self.study, self.study._storage
        while True:
            trial_id = study._pop_waiting_trial_id()
            if trial_id is None:
                trial_id = storage.create_new_trial(study._study_id)
            yield  # numbered, not yet read
            read = storage.get_trial(trial_id)
            sampler = study.sampler
            assert isinstance(sampler, S2ESampler)
            tag = sampler._decide(study, read)
            yield  # read, not yet written
            if storage.get_trial(trial_id).state.is_finished():
                continue  # somebody took this worker for dead
            if tag is not None:
                storage.set_trial_system_attr(trial_id, TAG_KEY, tag.to_json())
            params = read.params or {"x": self.rng.random()}
            if not read.params:
                storage.set_trial_param(trial_id, "x", params["x"], SPACE["x"])
            yield  # running
            if storage.get_trial(trial_id).state.is_finished():
                continue
            failed = self.rng.random() < 0.15
            state = TrialState.FAIL if failed else TrialState.COMPLETE
            storage.set_trial_state_values(trial_id, state, None if failed else [params["x"]])
            if failed and self.rng.random() < 0.5:
                retry = optuna.storages.RetryHeartbeatStaleTrialCallback()
                retry(study, storage.get_trial(trial_id))


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_any_interleaving_of_ask_tag_commit_finish_fail_kill_retry_enqueue(seed: int) -> None:
    interleave(seed, steps=300, n_workers=6)


@pytest.mark.slow
def test_many_thousands_of_trials_in_any_order() -> None:
    trials, commits = 0, 0
    for seed in range(90):
        study = interleave(seed, steps=1000, n_workers=4 + seed % 13)
        trials += len(study.trials)
        commits += len(generations(study)) - 1
    print(f"{trials} trials, {commits} commits")
    assert trials > 25_000 and commits > 1_000


def interleave(seed: int, steps: int, n_workers: int) -> optuna.Study:
    """Let workers take their steps in any order, and break off anywhere; check what is left."""
    rng = random.Random(seed)
    study = new_study(batch_size=3)
    workers = [Worker(study, rng) for _ in range(n_workers)]
    killed = []
    for _ in range(steps):
        index = rng.randrange(len(workers))
        next(workers[index].steps)
        chance = rng.random()
        if chance < 0.02:  # SIGKILL: a new worker in its place; a heartbeat notices later
            killed.append(workers[index])
            workers[index] = Worker(study, rng)
        elif chance < 0.04:
            study.enqueue_trial({"x": rng.random()})
        elif chance < 0.10:
            open_trials = [t for t in study.trials if t.state == TrialState.RUNNING]
            if killed and open_trials:
                oldest = open_trials[0]
                study._storage.set_trial_state_values(oldest._trial_id, TrialState.FAIL)
    check(study, S2ESampler(batch_size=3, estimator="score"))
    return study


WORKER = """
import sys, optuna
from s2e_optuna import S2ESampler, open_storage
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(
    study_name="s", storage=open_storage(sys.argv[1]), sampler=S2ESampler(seed=0)
)
def objective(trial):
    return (trial.suggest_float("x", 0, 1) - 0.4) ** 2 + trial.suggest_int("n", 1, 5)
study.optimize(objective, n_trials=int(sys.argv[2]))
"""


def test_two_processes_share_one_sqlite_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=open_storage(url), study_name="s")
    workers = [Popen([executable, "-c", WORKER, url, "50"], stderr=PIPE) for _ in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=600)
        assert worker.returncode == 0, errors.decode()
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    assert len(study.trials) == 100
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len({trial.params["x"] for trial in study.trials}) == 100
    assert len(generations(study)) > 10
    check(study, S2ESampler())
