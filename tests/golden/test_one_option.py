"""An option is written once: a field with its help. All else is made from it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import s2e_optuna

PACKAGE = Path(s2e_optuna.__file__).parent

FIELD = '    made_up: float = option(0.5, "What nobody needs.", panel=TRAINING_PANEL)\n'

SCRIPT = """
import json, sys
from pathlib import Path
from typer.testing import CliRunner
import optuna
from s2e_optuna import CoTeachingObjective, cli
from s2e_optuna.objective import objective
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.stored import check_same, objective_of

assert Path(sys.argv[1]) in Path(cli.__file__).parents, cli.__file__

shown = CliRunner().invoke(cli.app, ["search", "--help"], env={"COLUMNS": "200"}).output
assert "--made-up" in shown and "What nobody needs. [default: 0.5]" in shown, shown
assert "--made-up" in CliRunner().invoke(cli.app, ["train", "--help"]).output

config = SearchConfig.of(made_up=0.25, train_size=200, epochs=1)
stored = json.loads(json.dumps(config.stored()))
assert stored["made_up"] == 0.25
check_same(stored, config)
earlier = {name: value for name, value in stored.items() if name != "made_up"}
check_same(earlier, SearchConfig.of(train_size=200, epochs=1))  # a study from before it was there

handed = []
real = objective.train
objective.train = lambda *a, **k: handed.append(a[3]) or real(*a, **k)
given = CoTeachingObjective(train_size=200, epochs=1, made_up=2.0)
for made in (objective_of(stored, "cpu"), given):
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    study.optimize(made, n_trials=1)
assert [one.made_up for one in handed] == [0.25, 2.0], handed
"""


def test_a_field_of_the_training_reaches_help_storage_and_trainer(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "s2e_optuna", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "s2e_optuna" / "training" / "config.py"
    text = file.read_text(encoding="utf-8")
    before = "    network: str | NetworkFactory = option("
    assert text.count(before) == 1
    file.write_text(text.replace(before, FIELD + before), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
