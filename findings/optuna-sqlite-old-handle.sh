#!/usr/bin/env bash
# optuna==5.0.0, SQLAlchemy==2.1.9
# One would guess: a worker whose study was deleted gets an error at its next trial, as it does
#   with a storage in memory and with a journal.
# What happens: in SQLite the next study gets the number of the deleted one, so the worker goes on
#   and its trials land in that other study, which may have the other direction.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    optuna==5.0.0 SQLAlchemy==2.1.9
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys

import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)


def values_after(worker_storage, owner_storage):
    """Values of the second study, after a worker of the deleted first one told a trial."""
    worker = optuna.create_study(storage=worker_storage, study_name="first", direction="minimize")
    worker.tell(worker.ask(), 1.0)
    optuna.delete_study(study_name="first", storage=owner_storage)
    second = optuna.create_study(storage=owner_storage, study_name="second", direction="maximize")
    second.tell(second.ask(), 5.0)
    try:
        worker.tell(worker.ask(), 99.0)
    except KeyError:
        pass
    return [trial.value for trial in second.trials], second.best_value


memory = InMemoryStorage()
assert values_after(memory, memory) == ([5.0], 5.0)
journals = [JournalStorage(JournalFileBackend(f"{sys.argv[1]}/journal.log")) for _ in range(2)]
assert values_after(*journals) == ([5.0], 5.0)
database = f"sqlite:///{sys.argv[1]}/study.db"
assert values_after(database, database) == ([5.0, 99.0], 99.0)
print("held: in SQLite a worker of a deleted study writes into the next one")
PYTHON
