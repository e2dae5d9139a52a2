"""The command line, in this process and in real ones (long: every command)."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import PATIENCE, ROOT, run, start

from s2e_optuna import __version__
from s2e_optuna.commands import requests
from s2e_optuna.training import get_method

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

COMMANDS = [
    "search",
    "worker",
    "show",
    "train",
    "suspects",
    "bench",
    "dashboard",
    "proxy",
    "doctor",
]
# A search of seconds: three short trials on a fifth of the digits, one seed in the end.
TINY = (
    "digits --noise pair --noise-rate 0.45 --train-size 200 --epochs 3 --trials 3 --stack 3 "
    "--seeds 1 --study tiny --storage sqlite:///tiny.db --out out"
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """A real search: its folder, and what it wrote to standard output and standard error."""
    folder = tmp_path_factory.mktemp("searched")
    process = start(f"search {TINY} --json", folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    yield folder, out, err


# ---------------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example_and_fits_80_columns(command: str) -> None:
    result = run(f"{command} --help")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    (example,) = [line for line in lines if "Example: s2e" in line]
    assert example.split()[2] == (command or "search")
    assert all(name in result.output for name in ([] if command else COMMANDS))


@pytest.mark.parametrize("command", ["", "search", "train", "check"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import gc, sys\n"
        "from s2e_optuna.cli import main\n"
        "sys.argv = ['s2e', *sys.argv[1].split(), '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "heavy = {'torch', 'optuna', 'numpy', 'scipy', 'matplotlib', 'sklearn'}\n"
        "heavy &= set(sys.modules)\n"
        "assert gc.get_freeze_count()  # so that the process ends at once\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_version() -> None:
    assert run("--version").output == f"s2e {__version__}\n"


def test_the_names_in_the_help_are_the_real_ones() -> None:
    """Configurations import no torch, so they name what modules with torch implement."""
    from s2e_optuna.data import AUGMENTATIONS
    from s2e_optuna.schedules import SPACES
    from s2e_optuna.search import config as search_config
    from s2e_optuna.training import METHODS, NETWORKS, config
    from s2e_optuna.training.networks.pretrained import PRETRAINED
    from s2e_optuna.training.optimizer import OPTIMIZERS

    assert tuple(SPACES) == search_config.SPACE_NAMES
    assert ("auto", *NETWORKS, *PRETRAINED) == config.NETWORK_NAMES
    assert tuple(OPTIMIZERS) == config.OPTIMIZER_NAMES
    assert config.AUGMENTATION_NAMES == AUGMENTATIONS
    assert {name: method.summary for name, method in METHODS.items()} == requests.METHODS
    searched = {name for name, method in METHODS.items() if method.uses_schedule}
    assert set(search_config.SEARCHED_METHODS) == searched


# ---------------------------------------------------------------------- search


def test_search_prints_one_json_object_and_progress_goes_elsewhere(
    searched: tuple[Path, str, str],
) -> None:
    folder, out, err = searched
    content = json.loads(out)
    assert out.count("\n") == 1
    assert (content["study"], content["storage"]) == ("tiny", "sqlite:///tiny.db")
    assert content["n_trials"] == 3 and 0.0 <= content["best_value"] <= 1.0
    assert len(content["schedule"]) == 3 and content["schedule"][0] == 1.0
    stored = json.loads((folder / content["files"]["comparison"]).read_text(encoding="utf-8"))
    for found in (content, stored):
        assert (found["validation_source"], found["validation_samples"]) == ("val", 397)
    assert content["test_accuracy"].keys() >= {"standard", "linear", "coteaching", "s2e"}
    assert all(0.0 <= value <= 1.0 for value in content["test_accuracy"].values())
    assert all((folder / path).stat().st_size > 0 for path in content["files"].values())
    assert content["files"].keys() >= {
        "schedule",
        "picture",
        "model",
        "suspects",
        "progress",
        "report",
    }
    assert "searching" in err and "final comparison" in err
    assert "\x1b" not in out + err


def test_the_same_search_again_says_it_in_words(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = searched
    monkeypatch.chdir(folder)  # all trials and the comparison are there: no process is started
    result = run(f"search {TINY} --quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for part in ("Search tiny", "plain training", "Co-teaching", "S2E", "kept share R(t)"):
        assert part in result.stdout
    assert "Schedules were compared on the 397 samples of the validation part." in result.stdout
    for part in ("out/schedule.json", "out/model.safetensors", "out/suspects.csv"):
        assert part in result.stdout
    assert max(len(line) for line in result.stdout.split("Files")[0].splitlines()) <= 80
    next_steps = [line.strip() for line in result.stdout.splitlines() if "    s2e " in line]
    assert next_steps == [
        "s2e show --storage sqlite:///tiny.db --study tiny",
        "s2e dashboard --storage sqlite:///tiny.db",
        "s2e train digits --noise pair --noise-rate 0.45 --train-size 200 "
        "--schedule out/schedule.json",
        "s2e suspects out",
        "s2e predict out NEW_DATA",
        "s2e review out",
    ]
    assert run(next_steps[0].removeprefix("s2e ")).exit_code == 0
    looked = run(f"{next_steps[3].removeprefix('s2e ')} --json")
    assert looked.exit_code == 0 and json.loads(looked.stdout)["samples"] == 200
    predicted = run(next_steps[4].removeprefix("s2e ").replace("NEW_DATA", "digits"))
    assert predicted.exit_code == 0 and len(predicted.stdout.splitlines()) == 1798
    trained = run(next_steps[2].removeprefix("s2e ") + " --seeds 1 --json -q")
    assert trained.exit_code == 0 and len(json.loads(trained.stdout)["schedule"]) == 3


def test_a_password_is_not_in_the_commands_to_run_next() -> None:
    from s2e_optuna.commands.search import next_commands
    from s2e_optuna.search.config import SearchConfig

    config = SearchConfig.of(storage="postgresql+psycopg://me:secret@host/db", study="a b")
    commands = dict(next_commands(config, {}))
    assert "secret" not in str(commands)
    assert commands["the study in the browser"] == 's2e dashboard --storage "$S2E_STORAGE"'
    assert commands["the study in the terminal"].endswith("--study 'a b'")


def test_a_search_with_other_settings_is_refused(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched[0])
    result = run(f"search {TINY} --epochs 4")
    assert result.exit_code == 2 and "exists with other settings" in result.stderr


def test_a_search_without_a_comparison_says_what_it_does_not_write(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched[0])
    words = TINY.replace("--seeds 1", "--seeds 0").replace("--out out", "--out none")
    result = run(f"search {words} --quiet")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "(--seeds 0): no model and no list of suspects" in said


def test_a_worker_has_nothing_to_do_after_a_search(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched[0])
    result = run("worker --storage sqlite:///tiny.db --study tiny")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("This worker completed 0 trials.\n")


def test_ctrl_c_during_a_search(tmp_path: Path) -> None:
    process = start("search --epochs 5000 --trials 9 --storage sqlite:///s.db", tmp_path)
    assert process.stderr is not None
    assert "read as the digits" in process.stderr.readline()
    assert "searching" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert "The same command goes on" in err and "Traceback" not in err


# ---------------------------------------------------------------------- show


def test_show_lists_studies_or_shows_one(stored: str) -> None:
    listed = run(f"show --storage {stored}")
    assert listed.exit_code == 0 and "one" in listed.stdout and "two" in listed.stdout
    names = json.loads(run(f"show --storage {stored} --json").stdout)["studies"]
    assert names == ["one", "two", "up"]
    shown = run("show --study one", S2E_STORAGE=stored)
    assert shown.exit_code == 0 and "Best 3 of 3" in shown.stdout
    content = json.loads(run(f"show --storage {stored} --study one --json").stdout)
    assert content["n_trials"] == 3 and len(content["trial"]["schedule"]) == 4


def test_show_and_doctor_leave_a_file_of_stock_optuna_as_it_is(stock: Path) -> None:
    before = stock.read_bytes()
    assert run("show --storage sqlite:///stock.db").exit_code == 0
    assert (
        "sqlite:///stock.db: SQLite, 1 study" in run("doctor --storage sqlite:///stock.db").stdout
    )
    assert stock.read_bytes() == before


def test_show_draws_pictures(stored: str, tmp_path: Path) -> None:
    result = run(f"show --storage {stored} --study one --png r.svg")
    assert result.exit_code == 0 and "Wrote r.svg" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"r.svg", "r-progress.svg"}


@pytest.mark.parametrize(
    ("env", "codes"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)]
)
def test_colours_only_where_they_are_wanted(stored: str, env: dict[str, str], codes: bool) -> None:
    result = run(f"show --storage {stored} --study one", **env)
    assert ("\x1b" in result.stdout) is codes


def test_no_color_wins(stored: str) -> None:
    result = run(f"show --storage {stored} --study one", FORCE_COLOR="1", NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*\b(3\d|9\d|4\d)\b", result.stdout)


def test_an_ascii_terminal(stored: str, tmp_path: Path) -> None:
    words = f"show --storage {stored} --study one"
    process = start(words, tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert out.isascii() and "***" in out and "?" not in out


# ---------------------------------------------------------------------- train, bench, doctor


def test_train_says_how_well_it_does_and_leaves_a_model(tmp_path: Path) -> None:
    words = "train --method standard --train-size 200 --epochs 2 --seeds 2 --out m"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "schedule.json").touch()  # of another training
    result = run(words)
    assert result.exit_code == 0, result.output
    assert re.search(r"standard +\d+\.\d\d ± \d+\.\d\d % +\d", result.stdout)
    assert "seeds 1 to 2 of 2: epoch 2 of 2" in result.stderr
    assert "test accuracy" in result.stdout and "epochs" in result.stdout  # the curves
    assert "Validated on the 397 samples of the validation part." in result.stdout
    files = [
        f"m/{f}"
        for f in (
            "model.safetensors",
            "learning.png",
            "suspects.csv",
            "report.html",
            "results.json",
        )
    ]
    assert {path.name for path in (tmp_path / "m").iterdir()} == {Path(f).name for f in files}
    content = json.loads(run(f"{words} --json -q").stdout)
    assert len(content["test_accuracy"]["values"]) == 2
    assert content["test_accuracy"]["std"] >= 0
    assert np.shape(content["curves"]["label_precision"]) == (2, 2)
    assert content["files"] == files
    written = json.loads((tmp_path / "m" / "results.json").read_text(encoding="utf-8"))
    assert {**written, "seconds": 0} == {**content, "seconds": 0}


@pytest.mark.parametrize("method", list(requests.METHODS))
def test_train_takes_every_method(method: str) -> None:
    rate = "--keep-rate 0.7" if get_method(method).uses_schedule else ""
    words = f"train --method {method} {rate} --train-size 100 --epochs 2 --seeds 1"
    result = run(words)
    assert result.exit_code == 0, result.output
    assert re.search(rf"{method}.*\d+\.\d\d %", result.stdout)
    assert ("learns from clean data" in result.stdout) == get_method(method).uses_clean_data
    assert ("preparing: epoch 2 of 2" in result.stderr) == (method == "f_correction")


def test_train_says_how_good_its_list_should_be() -> None:
    words = "train digits --noise symmetric --noise-rate 0.3 --train-size 300 --method standard"
    result = run(f"{words} --epochs 5 --seeds 1 --folds 2 --out t --quiet")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "Suspicious labels:" in said and "of the labels are wrong" in said
    assert "p(wrong)" in run("suspects t").output
    assert "s2e: --folds must be 0 or at least 2" in run(f"{words} --folds 1").output


def test_train_takes_the_posterior_too_and_keeps_the_best_model(tmp_path: Path) -> None:
    words = "train --method standard --noise pair --noise-rate 0.4 --train-size 200 --seeds 1"
    result = run(f"{words} --epochs 3 --folds 2 --posterior --out m")
    assert result.exit_code == 0, result.output
    assert "the best by validation." in result.stdout
    assert "clean part, training 2 of 2: epoch 3 of 3" in result.stderr
    assert "posterior, training 1" in result.stderr
    content = json.loads((tmp_path / "m" / "results.json").read_text(encoding="utf-8"))
    ways = content["comparison"]
    assert list(ways) == ["standard", "linear", "clean_only", "posterior"]
    assert ways["standard"]["test_accuracy"] == content["test_accuracy"]
    assert content["kept"] == max(ways, key=lambda w: ways[w]["expected_validation"]["mean"])
    assert "posterior" in (tmp_path / "m" / "report.html").read_text("utf-8")


def test_train_lists_the_methods_a_line_each() -> None:
    lines = [line.strip() for line in run("train --help").stdout.splitlines()]
    for name, summary in requests.METHODS.items():
        assert f"{name:15}  {summary}" in lines


def test_co_teaching_without_a_schedule_takes_its_own(tmp_path: Path) -> None:
    words = "train --noise pair --noise-rate 0.4 --train-size 200 --epochs 2 --seeds 1 --out m"
    result = run(f"{words} --quiet")
    assert result.exit_code == 0 and "Co-teaching" in result.stdout and result.stderr == ""
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "model.safetensors",
        "learning.png",
        "schedule.json",
        "suspects.csv",
        "report.html",
        "results.json",
    }
    report = (tmp_path / "m" / "report.html").read_text(encoding="utf-8")
    for told in (
        "S2E training",
        "The schedule that was trained with",
        "1 fresh seed",
        "pixelated",
    ):
        assert told in report
    (again,) = re.findall("<pre>(s2e train digits .*)</pre>", report)
    for words in ("--noise pair --noise-rate 0.4", "--epochs 2", "--seeds 1", "--out m"):
        assert words in again
    assert "The search tries" not in report


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "shared.py").write_text('"""Imported by the others."""\n')
    (folder / "curves.py").write_text(
        '"""Draw curves.\n\nMore."""\nimport sys\n'
        "if __name__ == \"__main__\":\n    sys.exit(int(sys.argv[1] == '--fail'))\n"
    )
    return folder


def test_bench_runs_a_study_and_hands_options_on(studies: Path) -> None:
    assert run("bench").stdout == "curves  Draw curves.\n"
    assert run("bench curves --fast").exit_code == 0
    assert run("bench curves --fail").exit_code == 1
    unknown = run("bench nope")
    assert unknown.exit_code == 2 and "choose one of curves" in unknown.stderr


def test_bench_without_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2e_optuna.cli.studies_folder", lambda: None)
    result = run("bench curves")
    assert result.exit_code == 2 and "no folder studies" in result.stderr


@pytest.mark.parametrize("state", ["ok", "broken"])
def test_doctor_says_by_its_exit_code_whether_all_is_well(
    state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2e_optuna.commands.doctor import Check

    checks: Callable[..., list[Check]] = lambda storage: [Check("torch", state, "2.0", "Do it.")]  # noqa: E731
    monkeypatch.setattr("s2e_optuna.commands.doctor.examine", checks)
    assert run("doctor").exit_code == (0 if state == "ok" else 1)
    assert json.loads(run("doctor --json").stdout)["healthy"] is (state == "ok")


# ---------------------------------------------------------------------- dashboard


def test_the_dashboard_serves_on_this_machine_until_ctrl_c(stored: str, tmp_path: Path) -> None:
    process = start(f"dashboard --storage {stored} --port 0", tmp_path)
    assert process.stderr is not None
    line = process.stderr.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert address, line
    with urllib.request.urlopen(f"{address[0]}api/studies", timeout=PATIENCE) as answer:
        assert len(json.load(answer)["study_summaries"]) == 3
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err


def test_the_dashboard_takes_the_lock_before_it_reads_what_it_changes(
    stock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    serve = "s2e_optuna.web.serve.serve"
    monkeypatch.setattr(serve, lambda opened, **_: served.append(opened))
    assert run("dashboard --storage sqlite:///stock.db").exit_code == 0
    other = sqlite3.connect(stock, timeout=0)
    with served[0]._backend.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")  # what a worker commits here would fail the change
    other.close()
    served[0].dispose()


def test_the_dashboard_leaves_another_program_s_file_as_it_is(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    result = run("dashboard --storage sqlite:///other.db")
    assert result.exit_code == 2 and "holds no studies of Optuna" in result.stderr
    assert (tmp_path / "other.db").read_bytes() == before


def test_the_dashboard_warns_when_others_can_reach_it(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(*_: Any, on_ready: Callable[[str], None], **__: Any) -> None:
        on_ready("http://0.0.0.0:8080/")

    monkeypatch.setattr("s2e_optuna.web.serve.serve", serve)
    result = run(f"dashboard --storage {stored} --host 0.0.0.0")
    assert result.exit_code == 0 and "not this machine alone" in result.stderr


def test_train_runs_the_network_as_it_is_told() -> None:
    words = "train --method standard --train-size 200 --epochs 1 --seeds 1 --json -q"
    told = {"optimizer": "rmsprop", "precision": "bfloat16", "execution": "vmap"}
    told["augment"] = "crop_flip"
    flags = " ".join(f"--{name} {value}" for name, value in told.items())
    content = json.loads(run(f"{words} {flags}").stdout)
    assert {name: content[name] for name in told} == told
    refused = run(f"{words} --network mlp --execution unfold")
    assert refused.exit_code != 0
    assert "network mlp has no execution 'unfold'" in refused.stderr
