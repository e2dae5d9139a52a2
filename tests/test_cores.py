import gc

import optuna
from threadpoolctl import threadpool_info, threadpool_limits

from s2e_optuna import S2ESampler
from s2e_optuna.cores import one_thread


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


def test_a_sampler_forgets_studies_that_are_gone() -> None:
    sampler = S2ESampler(seed=0)
    for _ in range(3):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    del study
    gc.collect()
    assert len(sampler._views) <= 1
