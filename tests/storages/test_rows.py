"""Our statements read and write the same as Optuna's, with fewer of them."""

import math

import optuna
import pytest
import sqlalchemy
import worker_jobs
from optuna.trial import TrialState

from s2e_optuna import suggest_schedule
from s2e_optuna.objective import Outcome
from s2e_optuna.search.loop import work
from s2e_optuna.search.progress import RunningTally, tally
from s2e_optuna.storages.rows import OWNER_ATTR


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.getfixturevalue(f"{request.param}_url")


def objective(trial):
    trial.suggest_float("x", 0.5, 10.0, log=True)
    trial.suggest_int("n", 0, 10, step=2)
    trial.suggest_categorical("c", ["a", None, 2, False])
    for step, value in enumerate([0.5, math.nan, math.inf, -math.inf]):
        trial.report(value, step)
    trial.set_user_attr("text", "ü" * 5000)
    if trial.number == 1:
        raise optuna.TrialPruned
    return [1.5, 0.0, math.inf, -math.inf, math.nan][trial.number % 5]


def both_read(study_id, ours, stock):
    """All trials, as each storage reads them; NaN, which is not itself, in words."""
    both = []
    for storage in (ours, stock):
        trials = storage.get_all_trials(study_id)
        for trial in trials:
            reports = trial.intermediate_values
            reports.update({s: "NaN" for s, v in reports.items() if math.isnan(v)})
        both.append(trials)
    return both


def test_what_optuna_wrote_is_read_the_same(opened, url):
    ours, stock = opened(url), optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=stock, sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=6)
    study.enqueue_trial({"x": 1.0})
    study.ask()
    study.enqueue_trial({"x": 2.0}, user_attrs={"why": [1, {"a": None}]})
    mine, theirs = both_read(study._study_id, ours, stock)
    assert mine == theirs
    assert len(mine) == 8
    assert ours.get_trial(theirs[-1]._trial_id) == theirs[-1]
    stock.engine.dispose()


def test_what_we_write_is_read_the_same_by_optuna(opened, url):
    ours, stock = opened(url), optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=ours, sampler=optuna.samplers.RandomSampler(seed=0))
    ours.owner = "me"
    with ours.one_read():
        trials = [study.ask() for _ in range(3)]
    for trial in trials:
        with ours.batch():
            value = objective(trial) if trial.number != 1 else 0.25
            study.tell(trial, value)
    mine, theirs = both_read(study._study_id, ours, stock)
    assert mine == theirs
    assert [t.user_attrs[OWNER_ATTR] for t in theirs] == ["me"] * 3
    assert [t.number for t in theirs] == [0, 1, 2]
    assert [t.state for t in theirs] == [TrialState.COMPLETE] * 3
    stock.engine.dispose()


def test_what_is_read_is_of_one_moment(opened, url):
    ours, elsewhere = opened(url), opened(url)
    study = optuna.create_study(storage=ours)
    member, tagged = study.ask(), study.ask()
    wrote = []

    def write_between(connection, cursor, statement, *_):
        if "UNION ALL" in statement and not wrote:  # the second one, with the attributes
            wrote.append(True)
            elsewhere.set_trial_state_values(member._trial_id, TrialState.COMPLETE, [0.5])
            elsewhere.set_trial_user_attr(tagged._trial_id, "batch", [member.number])

    sqlalchemy.event.listen(ours._backend.engine, "before_cursor_execute", write_between)
    before, after = study.trials, study.trials
    assert wrote
    assert [trial.state for trial in before] == [TrialState.RUNNING] * 2
    assert before[1].user_attrs == {}
    assert after[0].state == TrialState.COMPLETE and after[1].user_attrs == {"batch": [0]}


def test_two_studies_are_kept_apart(opened, sqlite_url):
    storage = opened(sqlite_url)
    storage.owner = "me"
    one, other = (optuna.create_study(storage=storage) for _ in range(2))
    for study in (one, other, one, other, one):
        study.ask()
    assert [t.number for t in one.trials] == [0, 1, 2]
    assert [t.number for t in other.trials] == [0, 1]


def test_one_read_reads_once_and_again_after_a_trial_is_created(opened, sqlite_url):
    storage = opened(sqlite_url)
    study = optuna.create_study(storage=storage)
    elsewhere = optuna.load_study(study_name=study.study_name, storage=opened(sqlite_url))
    elsewhere.ask()
    with storage.one_read():
        assert len(study.trials) == 1
        elsewhere.ask()
        assert len(study.trials) == 1
        study.ask()
        assert len(study.trials) == 3
        elsewhere.ask()
        assert len(study.trials) == 3
    assert len(study.trials) == 4


def test_open_trials_are_found_without_the_finished_ones(opened, sqlite_url):
    study = optuna.create_study(storage=opened(sqlite_url))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    study.ask(), study.enqueue_trial({"x": 0.5}), study.ask()
    numbers = [t.number for t in study.get_trials(states=(TrialState.RUNNING,))]
    assert numbers == [3, 4]


def test_a_tally_that_is_kept_agrees_with_a_new_one(opened, sqlite_url):
    study = optuna.create_study(storage=opened(sqlite_url))
    kept = RunningTally()
    asked = []
    for step in range(12):
        asked.append(study.ask())
        if step % 3:
            study.tell(asked.pop(0), 0.1 * step)
        if step % 4 == 3:
            study.tell(asked.pop(), state=TrialState.FAIL)
        assert kept.update(study.trials) == tally(study.trials)


def statements_a_trial(storage, stack):
    study = worker_jobs.new_study(storage, 1000)
    study.sampler = optuna.samplers.RandomSampler(seed=0)

    def evaluate(trials, on_epoch):
        for trial in trials:
            assert trial.relative_params == {}
            with storage.batch():
                suggest_schedule(trial, 10)
        with storage.batch():
            for trial in trials:
                trial.report(0.5, 0)
        return [Outcome(TrialState.COMPLETE, 0.5, {"seconds": 1.0, "a": 2}) for _ in trials]

    counts = []
    work(study, evaluate, max_trials=stack, stack=stack)
    sqlalchemy.event.listen(
        storage._backend.engine, "before_cursor_execute", lambda *a: counts.append(a[2])
    )
    work(study, evaluate, max_trials=12, stack=stack)
    return len([s for s in counts if not s.startswith(("BEGIN", "PRAGMA"))]) / 12


@pytest.mark.parametrize(("stack", "limit"), [(1, 20), (4, 14)])
def test_a_trial_costs_few_statements(opened, url, stack, limit):
    storage = opened(url)
    storage.owner = "me"
    assert statements_a_trial(storage, stack) <= limit
