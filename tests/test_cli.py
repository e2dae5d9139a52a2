"""The command line, in this process where that is enough and in real ones where it is not."""

import errno
import inspect
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from s2e_optuna import Schedule, __version__, open_storage, suggest_schedule
from s2e_optuna.cli import app
from s2e_optuna.cli import search as search_command
from s2e_optuna.reporting import options
from s2e_optuna.training import get_method
from s2e_optuna.training.suspects import _COLUMNS

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
ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600.0  # seconds for what hangs; how long the rest takes says nothing
# A search of seconds: three short trials on a fifth of the digits, one seed in the end.
TINY = (
    "digits --noise pair --noise-rate 0.45 --train-size 200 --epochs 3 --trials 3 --stack 3 "
    "--seeds 1 --study tiny --storage sqlite:///tiny.db --out out"
)

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


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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


def test_help_imports_no_torch_and_no_optuna() -> None:
    code = (
        "import sys\n"
        "from s2e_optuna.cli import main\n"
        "sys.argv = ['s2e', sys.argv[1], '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as error:\n    assert not error.code\n"
        "heavy = {'torch', 'optuna', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "search"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_version() -> None:
    assert run("--version").output == f"s2e {__version__}\n"


def test_defaults_are_those_of_a_search_in_python() -> None:
    from s2e_optuna.workers.config import SearchConfig

    named = {"final_seeds": "seeds"}
    given = inspect.signature(search_command).parameters
    config = inspect.signature(SearchConfig).parameters
    for name in config.keys() - {"storage", "sampler_options", "learning_rate", "report_every"}:
        assert given[named.get(name, name)].default == config[name].default, name


def test_the_names_in_the_help_are_the_real_ones() -> None:
    from s2e_optuna.schedules import SPACES
    from s2e_optuna.training import (
        AUGMENTATIONS,
        DATA_SETS,
        EXECUTIONS,
        METHODS,
        NETWORKS,
        NOISE_KINDS,
    )
    from s2e_optuna.training.optimizer import OPTIMIZERS
    from s2e_optuna.training.results import PRECISIONS
    from s2e_optuna.workers.config import SAMPLERS

    assert tuple(SPACES) == options.SPACES
    assert options.SAMPLERS == SAMPLERS
    assert set(options.DATA_SETS) == set(DATA_SETS)
    assert options.NOISES == NOISE_KINDS
    assert ("auto", *NETWORKS) == options.NETWORKS
    assert options.EXECUTIONS == EXECUTIONS
    assert tuple(OPTIMIZERS) == options.OPTIMIZERS
    assert options.PRECISIONS == PRECISIONS
    assert options.AUGMENTATIONS == AUGMENTATIONS
    assert {name: method.summary for name, method in METHODS.items()} == options.METHODS


# ---------------------------------------------------------------------- bad input


def _write(name: str, text: str) -> None:
    Path(name).write_text(text)


def _write_bad_data() -> None:
    """Files that cannot be used, in the working directory."""
    _write("bad.csv", "label\none")
    _write("two.csv", "0.5,0.5\n0,1")
    Path("latin.csv").write_bytes("id,given_label\nä,1".encode("latin-1"))
    _write("list.csv", f"{','.join(_COLUMNS[:-1])}\na,1,2,0.9,,yes,0.1,0.9,0.5")
    for name in ("images/a", "images/b", "empty/a", "empty/b"):
        Path(name).mkdir(parents=True)
    for i in range(12):
        Image.new("L", (8, 8), i).save(f"images/a/{i}.png")
        Image.new("L", (8, 8), i).save(f"empty/a/{i}.png")
    _write("images/b/cut.png", "no image")
    _write("wrong.csv", "path,label\na/0.png,cow")
    _write("empty.csv", "path,label\na/0.png,a\na/1.png,")
    x, y = np.zeros((40, 4, 4), dtype=np.float32), np.arange(40) % 2
    np.savez("cut.npz", x_train=x, y_train=y)
    Path("cut.npz").write_bytes(Path("cut.npz").read_bytes()[:500])
    np.savez("pickled.npz", x_train=x, y_train=np.array([None] * 40))
    np.savez("nan.npz", x_train=np.full_like(x, np.nan), y_train=y)
    np.savez("floats.npz", x_train=x, y_train=y + 0.5)
    np.savez("many.npz", x_train=x, y_train=np.arange(40) % 6, class_names=["a", "b"])
    np.savez("negative.npz", x_train=x, y_train=y - 1)


BAD: dict[str, tuple[str, str]] = {
    "data set": ("search nodata", "unknown data set 'nodata'"),
    "method": ("search --method nope", "unknown method 'nope'"),
    "method without schedule": ("search --method standard", "no schedule to search for"),
    "network": ("search --network nope", "unknown network 'nope'"),
    "space": ("search --space nope", "unknown space 'nope'"),
    "sampler": ("search --sampler nope", "unknown sampler 'nope'"),
    "device": ("search --device tpu", "unknown device 'tpu'"),
    "noise": ("search --noise nope --noise-rate 0.2", "unknown noise 'nope'"),
    "noise without rate": ("search --noise pair", "needs a noise_rate"),
    "rate without noise": ("search --noise-rate 0.2", "noise_rate needs noise"),
    "rate too high": ("search --noise pair --noise-rate 0.5", "out of range"),
    "rate beyond one": ("search --noise symmetric --noise-rate 1.5", "noise_rate must be in"),
    "trials": ("search --trials 0", "trials must be"),
    "workers": ("search --workers 0", "workers must be"),
    "fewer samples than a batch": (
        "search --train-size 100 --batch-size 128",
        "fewer than one batch",
    ),
    "more folds than samples": (
        "search --train-size 100 --folds 101",
        "100 samples are too few for 101 folds",
    ),
    "train folds": (
        "train --method standard --train-size 100 --folds 101",
        "100 samples are too few for 101 folds",
    ),
    "storage": ("search --storage nonsense", "no storage URL"),
    "storage driver": ("search --storage nope://host/db", "no driver"),
    "storage in memory": ("search --storage sqlite:///:memory:", "in memory"),
    "out is a file": ("search --out file.json", "is a file"),
    "no CUDA": ("train --method standard --device cuda:99", "cuda:99"),
    "train method": ("train --method nope", "unknown method 'nope'"),
    "train without schedule": ("train", "give --schedule FILE"),
    "train keep rate": ("train --keep-rate 0", "--keep-rate must be above 0"),
    "train keep rate for none": ("train --method standard --keep-rate 0.5", "leave --keep-rate"),
    "train two schedules": ("train --schedule three.json --keep-rate 0.5", "leave one out"),
    "train clean data": (
        "train --method reweight --validation noisy",
        "learns from clean samples",
    ),
    "train option": ("train --method decoupling:x=1", "no option 'x': choose one of warm_up"),
    "train seeds": ("train --method standard --seeds 0", "--seeds must be at least 1"),
    "train out is a file": ("train --method standard --out file.json", "is a file"),
    "instance rate": ("search --noise instance --noise-rate 0.5", "out of range: instance"),
    "matrix missing": ("search --noise none.csv", "no file none.csv"),
    "matrix no numbers": ("train --noise bad.csv --method standard", "transition matrix"),
    "matrix rows": ("train --noise two.csv --method standard", "2 rows for 10 classes"),
    "matrix and rate": ("search --noise two.csv --noise-rate 0.2", "leave noise_rate out"),
    "labels missing": ("search --labels none.csv", "no file none.csv"),
    "labels no table": ("search --labels file.json", "is no table"),
    "labels and noise": ("search --labels bad.csv --noise pair --noise-rate 0.1", "leave noise"),
    "labels column": ("search --labels bad.csv --label-column x", "no column 'x'"),
    "labels without path": ("search --labels bad.csv", "are 1 and the training samples"),
    "labels paths": ("search images --labels bad.csv --path-column label", "such as one:"),
    "labels not a class": ("search images --labels wrong.csv", "'cow', which is no class"),
    "label empty": ("search images --labels empty.csv", "no label in line 3"),
    "column without labels": ("search --path-column x", "without a table"),
    "save labels": ("search --save-labels x.txt", "name a .csv"),
    "save labels nowhere": ("train --method standard --save-labels no/x.csv", "does not exist"),
    "image truncated": ("search images --image-size 8", "cannot read the image"),
    "empty class": ("search empty --image-size 8", "no training sample (class b)"),
    "npz truncated": ("search cut.npz", "truncated"),
    "npz pickled": ("search pickled.npz", "could run code"),
    "npz NaN": ("search nan.npz", "NaN"),
    "npz float labels": ("search floats.npz", "must be integers"),
    "npz negative labels": ("search negative.npz", "labels hold -1"),
    "npz more classes": ("search many.npz", "go up to 5 but there are only 2 classes"),
    "storage unreachable": (
        "search --train-size 200 --storage postgresql+psycopg://me:secret@127.0.0.1:9/db",
        "postgresql+psycopg://me:***@127.0.0.1:9/db",
    ),
    "several objectives": (
        "search --train-size 200 --storage {stored} --study two",
        "has 2 objectives",
    ),
    "other direction": ("search --train-size 200 --storage {stored} --study up", "maximises"),
    "not a search": (
        "search --train-size 200 --storage {stored} --study one",
        "was not made by s2e search",
    ),
    "suspects without list": ("suspects images", "no list of suspects images/suspects.csv"),
    "suspects of another file": ("suspects bad.csv", "is not a list of suspects"),
    "suspects of data": ("suspects floats.npz", "is judged by a model, --model"),
    "suspects no text": ("suspects latin.csv", "is not a list of suspects: it is no text"),
    "suspects class": ("suspects list.csv --given x", "no sample has the given class 'x'"),
    "suspects out": ("suspects list.csv --out x.txt", "is no .csv file"),
    "suspects model": ("suspects digits --model file.json", "cannot read a model"),
    "suspects data": ("suspects nodata --model file.json", "unknown data set"),
    "schedule missing": ("train --schedule nope.json", "No such file"),
    "schedule is no JSON": ("train --schedule file.json", "not a schedule"),
    "schedule is no text": ("train --schedule floats.npz", "not a schedule: it is no text"),
    "schedule of other epochs": ("train --schedule three.json --epochs 5", "3 epochs"),
    "schedule for standard": ("train --schedule three.json --method standard", "no schedule"),
    "show without file": ("show", "there is no storage file s2e.db"),
    "show missing file": ("show --storage sqlite:///nope.db", "no storage file nope.db"),
    "show missing journal": ("show --storage journal:///nope.log", "no storage file nope.log"),
    "show unknown study": ("show --storage {stored} --study nope", "no study 'nope'"),
    "show unknown trial": ("show --storage {stored} --study one --trial 99", "no trial 99"),
    "show several objectives": ("show --storage {stored} --study two", "several objectives"),
    "picture": ("show --storage {stored} --study one --png r.gif", "no picture file"),
    "picture folder": ("show --storage {stored} --study one --png no/r.png", "does not exist"),
    "worker without file": ("worker --study x", "there is no storage file"),
    "worker unknown study": ("worker --storage {stored} --study nope", "no study 'nope'"),
    "worker other study": ("worker --storage {stored} --study one", "not made by s2e search"),
    "dashboard without file": ("dashboard", "there is no storage file"),
    "dashboard address": ("dashboard --storage {stored} --host no.such.invalid", "--port"),
    # Nobody can make a file in this folder, not even root.
    "out unwritable": ("search --out /sys/x", "cannot read or write /sys/x: "),
    "labels unwritable": ("search --save-labels /sys/x.csv", "cannot read or write /sys/x.csv"),
    "train out unwritable": ("train --method standard --out /sys/x", "write /sys/x: "),
    "picture unwritable": ("show --storage {stored} --study one --png /sys/r.png", "/sys/r.png"),
    "suspects unwritable": ("suspects list.csv --out /sys/x.csv", "write /sys/x.csv: "),
    "password": (
        "show --storage postgresql+psycopg://me:secret@127.0.0.1:9/db",
        "postgresql+psycopg://me:***@127.0.0.1:9/db",
    ),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a storage with two studies, one of them with two objectives."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stored')}/studies.db"
    storage = open_storage(url)
    one = optuna.create_study(
        storage=storage, study_name="one", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    one.optimize(lambda trial: 1.0 - suggest_schedule(trial, 4).rates.mean(), n_trials=3)
    optuna.create_study(storage=storage, study_name="two", directions=["minimize", "minimize"])
    optuna.create_study(storage=storage, study_name="up", direction="maximize")
    return url


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_nothing_is_written(
    case: str, stored: str, tmp_path: Path
) -> None:
    _write("file.json", "{}")
    _write("three.json", Schedule.constant(3).to_json())
    _write_bad_data()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    words, said = BAD[case]
    result = run(words.format(stored=stored))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("s2e: ") and said in line
    assert "secret" not in line
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "words",
    ["search --epochs x", "search --seeds -1", "show --top 0", "nope", "search --nope", "worker"],
)
def test_usage_errors_have_exit_code_2(words: str, tmp_path: Path) -> None:
    result = run(words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_unexpected_errors_keep_their_traceback(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a fault of the program")

    monkeypatch.setattr("s2e_optuna.reporting.view.read_study", fail)
    result = run(f"show --storage {stored} --study one")
    assert isinstance(result.exception, ValueError)


def test_what_goes_wrong_on_the_way_has_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from s2e_optuna.workers.pool import SearchError

    def fail(*_: Any) -> None:
        raise SearchError("worker processes die\nagain and again")

    monkeypatch.setattr("s2e_optuna.workers.search.search", fail)
    result = run("search")
    assert (result.exit_code, result.stderr) == (1, "s2e: worker processes die again and again\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "s2e: No space left on device."),
    ],
)
def test_what_the_system_refuses_gets_one_sentence(
    error: OSError, code: int, said: str, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("s2e_optuna.reporting.view.read_study", fail)
    result = run(f"show --storage {stored} --study one")
    assert result.exit_code == code
    assert result.stderr.endswith(f"{said}\n") and result.stderr.count("\n") == 1


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
    assert content["test_accuracy"].keys() == {"standard", "coteaching", "s2e"}
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
    ]
    assert run(next_steps[0].removeprefix("s2e ")).exit_code == 0
    looked = run(f"{next_steps[3].removeprefix('s2e ')} --json")
    assert looked.exit_code == 0 and json.loads(looked.stdout)["samples"] == 200
    trained = run(next_steps[2].removeprefix("s2e ") + " --seeds 1 --json -q")
    assert trained.exit_code == 0 and len(json.loads(trained.stdout)["schedule"]) == 3


def test_a_password_is_not_in_the_commands_to_run_next() -> None:
    from s2e_optuna.reporting.search_run import next_commands
    from s2e_optuna.workers.config import SearchConfig

    config = SearchConfig(storage="postgresql+psycopg://me:secret@host/db", study="a b")
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
    result = run(words)
    assert result.exit_code == 0, result.output
    assert re.search(r"standard +\d+\.\d\d ± \d+\.\d\d % +\d", result.stdout)
    assert "seed 2 of 2: epoch 2 of 2" in result.stderr
    assert "test accuracy" in result.stdout and "epochs" in result.stdout  # the curves
    assert "Validated on 397 samples of the validation part." in result.stdout
    files = [
        f"m/{f}" for f in ("model.safetensors", "learning.png", "suspects.csv", "results.json")
    ]
    assert {path.name for path in (tmp_path / "m").iterdir()} == {Path(f).name for f in files}
    content = json.loads(run(f"{words} --json -q").stdout)
    assert len(content["test_accuracy"]["values"]) == 2
    assert content["test_accuracy"]["std"] >= 0
    assert np.shape(content["curves"]["label_precision"]) == (2, 2)
    assert content["files"] == files
    written = json.loads((tmp_path / "m" / "results.json").read_text(encoding="utf-8"))
    assert {**written, "seconds": 0} == {**content, "seconds": 0}


@pytest.mark.parametrize("method", list(options.METHODS))
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
    assert "Suspicious labels:" in said and "of all 300 labels" in said
    assert "p(wrong)" in run("suspects t").output
    assert "s2e: --folds must be 0 or at least 2" in run(f"{words} --folds 1").output


def test_train_lists_the_methods_a_line_each() -> None:
    lines = [line.strip() for line in run("train --help").stdout.splitlines()]
    for name, summary in options.METHODS.items():
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
        "results.json",
    }


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
    from s2e_optuna.reporting.doctor import Check

    checks: Callable[..., list[Check]] = lambda storage: [Check("torch", state, "2.0", "Do it.")]  # noqa: E731
    monkeypatch.setattr("s2e_optuna.reporting.doctor.examine", checks)
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
    serve = "s2e_optuna.reporting.serve.serve"
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

    monkeypatch.setattr("s2e_optuna.reporting.serve.serve", serve)
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
