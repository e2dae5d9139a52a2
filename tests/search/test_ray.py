"""Workers on a local Ray, and on a pretended one."""

import sys
from types import SimpleNamespace

import pytest
import worker_jobs
from optuna.trial import TrialState

from s2e_optuna.errors import ConfigError
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.loop import SURPLUS, RepeatedError
from s2e_optuna.search.pool import SearchError
from s2e_optuna.search.ray_pool import RayPool
from s2e_optuna.search.search import _pool
from s2e_optuna.storages.rows import OWNER_ATTR


@pytest.fixture(scope="module")
def ray():
    module = pytest.importorskip("ray", reason="needs the package ray")
    path = worker_jobs.__file__.rpartition("/")[0]
    module.init(
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=40,
        runtime_env={"env_vars": {"PYTHONPATH": f"{path}:{':'.join(__import__('sys').path)}"}},
    )
    yield module
    module.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tasks_keep_the_budget_and_are_replaced(ray, opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 8)
    seen = []
    pool = RayPool(
        study, sqlite_url, workers=2, make_job=worker_jobs.suicidal, on_progress=seen.append
    )
    pool.run(8)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) == 8
    assert TrialState.RUNNING not in states
    errors = {t.user_attrs["error"] for t in study.trials if t.state == TrialState.FAIL}
    crashes = {error for error in errors if "WorkerCrashedError" in error}
    assert crashes and errors - crashes <= {SURPLUS}  # two workers may both ask for the last one
    assert len({t.user_attrs[OWNER_ATTR] for t in study.trials if OWNER_ATTR in t.user_attrs}) >= 2
    assert seen[-1].finished == seen[-1].target == 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wrong_input_ends_the_search(ray, opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 8)
    with pytest.raises(SearchError, match="not made by s2e search"):
        RayPool(study, sqlite_url, workers=1).run(8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_same_error_three_times_ends_the_search(ray, opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 50)
    with pytest.raises(SearchError, match="RuntimeError: no luck in trial"):
        RayPool(study, sqlite_url, workers=1, make_job=worker_jobs.failing).run(50)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3


class FakeRay:
    """A cluster whose tasks end at once, well or with an error."""

    def __init__(self, gpus, error=None):
        self.resources = {"CPU": 8.0, **({"GPU": gpus} if gpus else {})}
        self.error = error
        self.asked = []
        self.exceptions = SimpleNamespace(RayTaskError=TaskError, RayError=OSError)

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return self.resources

    def remote(self, **options):
        self.asked.append(options["num_gpus"])
        return lambda work: SimpleNamespace(remote=lambda *args: (len(self.asked), args[3]))

    def wait(self, tasks, timeout, num_returns=1):
        return tasks, []

    def get(self, task):
        if self.error is not None:
            raise TaskError(self.error)

    def cancel(self, task, force=False):
        pass


class TaskError(Exception):
    def __init__(self, cause):
        super().__init__()
        self.cause = cause


@pytest.mark.parametrize(
    ("in_cluster", "options", "expected"),
    [
        (0.0, {}, 0.0),
        (4.0, {}, 1.0),
        (4.0, {"device": "cpu"}, 0.0),
        (4.0, {"gpus_per_worker": 0.25}, 0.25),
    ],
)
def test_gpus_are_those_of_the_cluster(
    in_cluster, options, expected, opened, sqlite_url, monkeypatch
):
    fake = FakeRay(in_cluster)
    monkeypatch.setitem(sys.modules, "ray", fake)
    study = worker_jobs.new_study(opened(sqlite_url), 1)
    config = SearchConfig.of(launcher="ray", storage=sqlite_url, workers=2, **options)
    _pool(config, study, sqlite_url, lambda progress: None).run(1)
    assert fake.asked == [expected] * 2


def test_what_would_meet_every_worker_ends_the_search(opened, sqlite_url, monkeypatch):
    study = worker_jobs.new_study(opened(sqlite_url), 1)
    for error in (RepeatedError("no luck"), ValueError("no luck")):
        fake = FakeRay(0.0, error)
        monkeypatch.setitem(sys.modules, "ray", fake)
        with pytest.raises(SearchError, match=r"^no luck$"):
            RayPool(study, sqlite_url, workers=1).run(1)
        assert len(fake.asked) == 1


def test_bad_options():
    with pytest.raises(ConfigError, match="unknown launcher 'slurm'"):
        SearchConfig.of(launcher="slurm")
    with pytest.raises(ConfigError, match="needs the launcher ray"):
        SearchConfig.of(gpus_per_worker=0.5)
    with pytest.raises(ConfigError, match="0 or more"):
        SearchConfig.of(launcher="ray", gpus_per_worker=-1.0)
