"""A search with a few checked labels: all its workers judge by one array of weights."""

import json
from pathlib import Path

import pytest
import torch
from command_line import run
from torch import Tensor

from s2e_optuna.data import NoisyData, load_data
from s2e_optuna.objective import agreed
from s2e_optuna.objective import objective as objectives
from s2e_optuna.search import search as searching
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.worker import run_worker
from s2e_optuna.training import TrainConfig

NOISY = {"noise": "pair", "noise_rate": 0.45, "validation": "noisy", "train_size": 300}


class InProcess:
    """Workers one after the other, as `LocalPool` has them beside each other."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, target: int) -> None:
        for number, trials in enumerate((1, None)):  # the second joins later
            run_worker(self.url, "s", threads=1, max_trials=trials, number=number)


def test_workers_take_the_weights_that_the_search_has_stored(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load_data("digits", **NOISY)
    checked = {name: int(plain.y_val[row]) for row, name in enumerate(plain.val_ids[:20])}
    made: list[int] = []
    judged: list[Tensor] = []
    make, agree = agreed.expected_validation, agreed.agreed_validation

    def counted(data: NoisyData, config: TrainConfig) -> NoisyData:
        made.append(len(data.y_val))
        return make(data, config)

    def noted(*arguments: object) -> NoisyData:
        found = agree(*arguments)  # type: ignore[arg-type]
        assert found.val_weights is not None
        judged.append(found.val_weights)
        return found

    monkeypatch.setattr(agreed, "expected_validation", counted)
    monkeypatch.setattr(searching, "agreed_validation", noted)
    monkeypatch.setattr(objectives, "agreed_validation", noted)
    monkeypatch.setattr(searching, "_pool", lambda *_: InProcess(sqlite_url))
    monkeypatch.setattr(searching, "_finish", lambda config, study, *_: study)
    study = searching.search(
        SearchConfig.of(
            data="digits", **NOISY, checked=checked, epochs=2, trials=3, workers=2, study="s",
            storage=sqlite_url, device="cpu",
        )
    )  # fmt: skip
    assert len(study.trials) == 3 and len(made) == 1
    assert len(judged) == 3  # of the search and both workers
    assert all(torch.equal(weights, judged[0]) for weights in judged)


def test_a_search_with_checked_labels_ends_with_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = load_data("digits", **NOISY)
    assert drawn.y_val_clean is not None
    rows = zip(drawn.val_ids[:20], drawn.y_val_clean.tolist(), strict=False)
    Path("checked.csv").write_text("id,label\n" + "".join(f"{i},{k}\n" for i, k in rows))
    found = run(
        "search digits --noise pair --noise-rate 0.45 --validation noisy --train-size 300 "
        "--checked checked.csv --epochs 3 --trials 2 --seeds 1 --folds 2 --device cpu --json -q"
    )
    assert found.exit_code == 0, found.output
    compared = json.loads(found.stdout.splitlines()[-1])["test_accuracy"]
    assert set(compared) == {"standard", "linear", "coteaching", "s2e", "posterior"}
