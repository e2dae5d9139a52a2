import pytest

from s2e_optuna.training.learning_rates import LinearDecay, make_learning_rate_schedule


def test_the_schedule_of_the_common_setting():
    schedule = make_learning_rate_schedule("adam", 200, None, 0.4)
    assert [schedule.rate(e) for e in (0, 79, 80)] == [1e-3] * 3
    assert schedule.rate(140) == pytest.approx(0.5e-3)
    assert schedule.rate(199) == pytest.approx(1e-3 / 120)
    assert [schedule.beta1(e) for e in (79, 80)] == [0.9, 0.1]


def test_a_schedule_without_a_fall():
    schedule = LinearDecay(10, decay_start=1.0)
    assert {schedule.rate(e) for e in range(10)} == {1e-3}


def test_the_schedules_of_figure_1e():
    sgd = make_learning_rate_schedule("sgd", 1000, None, 0.4)
    assert [sgd.rate(e) for e in (0, 499, 500, 749, 750, 999)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    rmsprop = make_learning_rate_schedule("rmsprop", 200, None, 0.4)
    assert {rmsprop.rate(e) for e in range(200)} == {0.01}


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_another_rate_at_the_start(name):
    assert make_learning_rate_schedule(name, 20, 0.5, 0.4).rate(0) == 0.5
