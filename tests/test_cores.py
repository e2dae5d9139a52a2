import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from s2e_optuna import S2ESampler
from s2e_optuna.cores import one_thread

TWO_THREADS = {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}


def blas_threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def test_limits_that_overlap_end_with_the_last() -> None:
    with threadpool_limits(2, user_api="blas"):
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_any_thread_sets_the_limit_and_the_last_one_takes_it_back() -> None:
    """threadpoolctl 3.8 leaves that to the first thread, which here is this one."""
    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(1) as other:
        here, there = one_thread(), one_thread()
        other.submit(there.__enter__).result()
        assert blas_threads() == {1}
        here.__enter__()
        other.submit(there.__exit__, None, None, None).result()
        assert blas_threads() == {1}
        here.__exit__(None, None, None)
        assert blas_threads() == {2}
        here.__enter__()
        other.submit(there.__enter__).result()
        here.__exit__(None, None, None)
        other.submit(there.__exit__, None, None, None).result()
        assert blas_threads() == {2}


@pytest.mark.parametrize("where", ["before", "inside"])
def test_a_library_that_is_loaded_after_the_first_use_has_one_thread_too(where: str) -> None:
    code = """if True:
        import contextlib, sys
        import numpy
        from threadpoolctl import threadpool_info
        from s2e_optuna.cores import available_cores, one_thread
        def threads():
            return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
        with one_thread():
            pass
        with one_thread() if sys.argv[1] == "inside" else contextlib.nullcontext():
            import scipy.linalg
            with one_thread():
                assert threads() == {1}
        assert threads() == {min(2, available_cores())}
    """
    # In a process of its own: here SciPy has been imported long ago.
    subprocess.run(
        [sys.executable, "-c", code, where], check=True, env={**os.environ, **TWO_THREADS}
    )


def test_a_sampler_forgets_studies_that_are_gone() -> None:
    sampler = S2ESampler(seed=0)
    for _ in range(3):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    del study
    gc.collect()
    assert len(sampler._views) <= 1
