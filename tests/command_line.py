"""Runs the command line: in this process, or in one of its own."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from s2e_optuna.cli import app

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600.0  # seconds for what hangs; how long the rest takes says nothing

run_app = CliRunner()


def run(words: str, **env: str) -> Result:
    return run_app.invoke(app, shlex.split(words), env={"COLUMNS": "80", **env})


def start(words: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "s2e_optuna.cli", *shlex.split(words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
