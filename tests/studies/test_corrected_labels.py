from types import SimpleNamespace

import numpy as np
import pytest

from s2e_optuna.data import NoisyData
from studies import corrected_labels
from studies.corrected_labels import CLEANLAB, run, table


def test_decisions_leave_fewer_wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(data: NoisyData, *_: int) -> tuple[SimpleNamespace, dict[str, None]]:
        assert data.y_clean is not None
        given, truth = data.y_train.numpy(), data.y_clean.numpy()
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, len(given))
        scores = np.clip(0.2 + 0.6 * (given != truth) + noise, 0.01, 0.99)
        return SimpleNamespace(
            wrong_probability=scores, listed=scores > 0.5, proposed=truth
        ), {}  # fmt: skip

    monkeypatch.setattr(corrected_labels, "judged", judged)
    monkeypatch.setattr(corrected_labels, "accuracy", lambda *_: 0.5)
    found, version = run(("digits", "symmetric", 0.5), 0, None, decisions=(0, 40))
    assert not {*CLEANLAB.values()} & {*found} and version == ""
    for way, ((before, rest, _), (after, *_)) in found.items():
        assert 450 < before < 550 and rest < before
        assert before - after > (10 if way == "random" else 20)
    lines = table([{"probability": [(np.nan, 1.0, 0.5)] * 3}])
    assert lines[-1].startswith("| probability | nan (1), 50.0 |")
