"""Workers on a local Ray."""

import pytest
import worker_jobs
from optuna.trial import TrialState

from s2e_optuna.workers.config import ConfigError, SearchConfig
from s2e_optuna.workers.pool import SearchError
from s2e_optuna.workers.ray_pool import RayPool
from s2e_optuna.workers.rows import OWNER_ATTR


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
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert failed and all("WorkerCrashedError" in t.user_attrs["error"] for t in failed)
    assert len({t.user_attrs[OWNER_ATTR] for t in study.trials if OWNER_ATTR in t.user_attrs}) >= 2
    assert seen[-1].finished == seen[-1].target == 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wrong_input_ends_the_search(ray, opened, sqlite_url):
    study = worker_jobs.new_study(opened(sqlite_url), 8)
    with pytest.raises(SearchError, match="not made by s2e search"):
        RayPool(study, sqlite_url, workers=1).run(8)


def test_bad_options():
    with pytest.raises(ConfigError, match="unknown launcher 'slurm'"):
        SearchConfig(launcher="slurm")
    with pytest.raises(ConfigError, match="needs the launcher ray"):
        SearchConfig(gpus_per_worker=0.5)
    with pytest.raises(ConfigError, match="0 or more"):
        SearchConfig(launcher="ray", gpus_per_worker=-1.0)
