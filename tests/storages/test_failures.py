"""What goes wrong in a storage is said in a sentence."""

import shutil

import optuna
import pytest

from s2e_optuna import open_storage
from s2e_optuna.errors import explain
from s2e_optuna.storages import StorageError
from s2e_optuna.storages.failures import StorageFailedError

LINES = [
    '{"op_code":0,"worker_id":"a","study_name":"s","directions":[1]}',
    '{"op_code":2,"worker_id":"a","study_id":0,"user_attr":{"a":1}}',
]


def test_a_damaged_table(opened, damaged):
    study = optuna.load_study(study_name="s", storage=opened(damaged))
    with pytest.raises(StorageFailedError, match=r"is damaged .*sqlite3 COPY \.recover") as info:
        study.get_trials()
    assert explain(info.value) == (str(info.value), 1)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = '{'",
        "UPDATE trial_params SET distribution_json = '{}'",
        "UPDATE trials SET state = 'SLEEPING'",
        "UPDATE trials SET number = 'x'",
        "UPDATE trial_values SET value = 'x'",
    ],
)
def test_rows_that_optuna_has_not_written(opened, sqlite_url, damage):
    study = optuna.create_study(study_name="s", storage=opened(sqlite_url))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with study._storage._backend.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO trial_user_attributes VALUES (1, 1, 'a', '1')")
        connection.exec_driver_sql(damage)
    again = optuna.load_study(study_name="s", storage=opened(sqlite_url))
    with pytest.raises(StorageFailedError, match="is damaged"):
        again.get_trials()


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one")])
def test_a_log_that_belongs_to_another_file(opened, tmp_path, names):
    for name, trials in (("one", 30), ("two", 1)):
        study = optuna.create_study(
            study_name=name, storage=opened(f"sqlite:///{tmp_path}/{name}")
        )
        for _ in range(trials):
            study.tell(study.ask(), 0.5)
    file, log = names
    shutil.copy(tmp_path / file, tmp_path / "copy")
    shutil.copy(tmp_path / f"{log}-wal", tmp_path / "copy-wal")
    try:
        storage = opened(f"sqlite:///{tmp_path}/copy", prepare=False)
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id)
    except (StorageError, StorageFailedError) as error:
        assert explain(error) is not None


def test_a_role_that_may_only_read(opened, guest, postgres_url):
    mine = optuna.create_study(study_name="s", storage=opened(postgres_url))
    mine.tell(mine.ask(), 0.5)
    url, say = guest
    say("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    storage = opened(url)
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.best_value == 0.5
    for write in (
        study.ask,
        lambda: study.set_user_attr("a", 1),
        lambda: optuna.create_study(storage=storage),
        lambda: storage.record_heartbeat(study.trials[0]._trial_id),
    ):
        with pytest.raises(StorageFailedError, match=r"may only be read .*permission denied"):
            write()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("nonsense", 3),
        ("[1]", 3),
        ('{"a": 1}', 3),
        ('{"op_code":4,"worker_id":"a"}', 3),
        ('{"op_code":99,"worker_id":"a"}', 3),
        ('{"op_code":"x","worker_id":"a"}', 3),
    ],
)
def test_a_line_of_a_journal_that_is_no_operation_is_named(tmp_path, wrong, line):
    path = tmp_path / "study.log"
    path.write_text("\n".join([*LINES, wrong, LINES[1]]) + "\n")
    with pytest.raises(StorageError, match=rf"^line {line} of the journal .*study\.log is no op"):
        open_storage(f"journal:///{path}")
    path.write_text("\n".join([*LINES, LINES[1]]) + "\n")
    assert optuna.load_study(study_name="s", storage=open_storage(f"journal:///{path}"))


def test_a_line_that_comes_later_is_named_too(opened, tmp_path):
    path = tmp_path / "study.log"
    study = optuna.create_study(study_name="s", storage=opened(f"journal:///{path}"))
    lines = len(path.read_text().splitlines())
    with path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(StorageError, match=f"^line {lines + 1} of the journal"):
        study.get_trials()
