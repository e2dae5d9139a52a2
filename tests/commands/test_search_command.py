"""What a search leaves in its folder."""

from dataclasses import replace
from pathlib import Path

from s2e_optuna.commands.search import run_search
from s2e_optuna.reporting.progress import ProgressDisplay
from s2e_optuna.search.config import SearchConfig

OF_A_COMPARISON = {
    "comparison.json",
    "learning.png",
    "model.safetensors",
    "precision.png",
    "suspects.csv",
}


def left_by(config: SearchConfig) -> set[str]:
    run_search(config, ProgressDisplay(quiet=True))
    return {path.name for path in config.folder.iterdir()}


def test_a_folder_holds_nothing_of_another_search(tmp_path: Path) -> None:
    first = SearchConfig.of(
        noise="pair", noise_rate=0.4, train_size=200, epochs=2, trials=2, sampler="random",
        stack=2, final_seeds=1, folds=0, device="cpu", study="first", out=tmp_path / "out",
        storage=f"sqlite:///{tmp_path}/s.db",
    )  # fmt: skip
    assert left_by(first) > OF_A_COMPARISON | {"progress.png"}
    assert left_by(replace(first, final_seeds=0)) > OF_A_COMPARISON  # of the same schedule
    other = replace(
        first, data=replace(first.data, noise_rate=0.3), study="other", trials=1, final_seeds=0
    )
    mine = tmp_path / "out" / "notes.txt"
    mine.touch()
    own = {"schedule.json", "schedule.png", "report.html", "fingerprint.npz"}
    assert left_by(other) == {*own, mine.name}
    # Without a comparison, these may be of a training.
    (tmp_path / "out" / "model.safetensors").touch()
    assert "model.safetensors" in left_by(other)
