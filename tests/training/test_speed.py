import torch

from s2e_optuna.training import speed
from s2e_optuna.training.networks import make_network


def test_every_execution_is_measured_and_one_of_them_is_automatic(monkeypatch):
    monkeypatch.setattr(speed, "CASES", (("mlp", (1, 4, 4)), ("cnn1", (3, 16, 16))))
    found = list(speed.measure_executions(torch.device("cpu"), repeats=1))
    assert [t.execution for t in found] == [
        "folded",
        "vmap",
        "loop",
        "folded",
        "unfold",
        "vmap",
        "loop",
    ]
    assert all(t.seconds > 0 for t in found)
    for name in ("mlp", "cnn1"):
        chosen = [t.execution for t in found if t.network == name and t.chosen]
        assert chosen == [make_network(name, (3, 16, 16), 10).execution]
