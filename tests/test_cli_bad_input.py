"""What a user can do something about is said in one sentence, and nothing is written."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from PIL import Image
from sqlalchemy.exc import OperationalError

from s2e_optuna import Schedule
from s2e_optuna.labels.suspect_list import _COLUMNS

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


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
    _write("table.csv", "age,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
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
    "table without labels": ("search table.csv", "name that of the labels with --label-column"),
    "column of a table": ("search table.csv --label-column z", "has no column 'z', only age, y"),
    "numbers as labels": ("search table.csv --label-column age", "which are no classes"),
    "method": ("search --method nope", "unknown method 'nope'"),
    "method without schedule": ("search --method standard", "no schedule to search for"),
    "network": ("search --network nope", "unknown network 'nope'"),
    "space": ("search --space nope", "unknown space 'nope'"),
    "sampler": ("search --sampler nope", "unknown sampler 'nope'"),
    "device": ("search --device tpu", "unknown device 'tpu'"),
    "noise": ("search --noise nope --noise-rate 0.2", "unknown noise 'nope'"),
    "noise without rate": ("search --noise pair", "needs a --noise-rate"),
    "unknown noise without rate": ("search --noise none", "unknown noise 'none'"),
    "rate without noise": ("search --noise-rate 0.2", "--noise-rate needs --noise"),
    "train rate without noise": ("train --noise-rate 0.2", "--noise-rate needs --noise"),
    "rate too high": ("search --noise pair --noise-rate 0.5", "out of range"),
    "rate beyond one": ("search --noise symmetric --noise-rate 1.5", "--noise-rate must be in"),
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
    "out of another encoding": (
        "search --out b\udcfcx",
        r"written to b\xfcx: the name is no UTF-8",
    ),
    "train out of another encoding": (
        "train --method standard --out b\udcfcx",
        r"written to b\xfcx: the name is no UTF-8",
    ),
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
    "predict without model": ("predict nope digits", "cannot read a model from nope"),
    "predict no out folder": ("predict images images", "no model.safetensors in images"),
    "predict no model": ("predict file.json images", "cannot read a model from file.json"),
    "predict out": ("predict images images --out p.txt", "p.txt is no .csv or .parquet file"),
    "predict out nowhere": ("predict images images --out no/p.csv", "no does not exist"),
    "train posterior without folds": (
        "train --method standard --posterior",
        "--posterior needs a cross-validation: give --folds",
    ),
    "train posterior beside clean data": (
        "train --method reweight --train-size 100 --posterior --folds 2",
        "learns from the clean part, and nothing is left",
    ),
    "train seeds": ("train --method standard --seeds 0", "--seeds must be at least 1"),
    "train out is a file": ("train --method standard --out file.json", "is a file"),
    "instance rate": ("search --noise instance --noise-rate 0.5", "out of range: instance"),
    "matrix missing": ("search --noise none.csv", "no file none.csv"),
    "matrix no numbers": ("train --noise bad.csv --method standard", "transition matrix"),
    "matrix rows": ("train --noise two.csv --method standard", "2 rows for 10 classes"),
    "matrix and rate": ("search --noise two.csv --noise-rate 0.2", "leave --noise-rate out"),
    "labels missing": ("search --labels none.csv", "no file none.csv"),
    "labels no table": ("search --labels file.json", "is no table"),
    "labels and noise": ("search --labels bad.csv --noise pair --noise-rate 0.1", "leave noise"),
    "labels column": ("search --labels bad.csv --label-column x", "no column 'x'"),
    "labels without path": ("search --labels bad.csv", "are 1 and the training samples"),
    "labels paths": (
        "search images --labels bad.csv --path-column label",
        "only label: name one with --label-column",
    ),
    "labels of one class": ("search images --labels wrong.csv", "only one class (cow)"),
    "a class without labels": (
        "search images --labels empty.csv",
        "1 of 2 classes have no training sample (class b)",
    ),
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
    "column of nothing": ("search nodata --label-column y", "unknown data set 'nodata'"),
    "suspects data": ("suspects nodata --model file.json", "cannot read a model from file.json"),
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
    *told, line = result.stderr.splitlines()  # what data were taken for comes first
    assert line.startswith("s2e: ") and said in line
    assert "Traceback" not in result.stderr and len(told) <= 3
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
    from s2e_optuna.search.pool import SearchError

    def fail(*_: Any) -> None:
        raise SearchError("worker processes die\nagain and again")

    monkeypatch.setattr("s2e_optuna.search.search.search", fail)
    result = run("search")
    assert (result.exit_code, result.stderr) == (1, "s2e: worker processes die again and again\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "a/b: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "s2e: No space left on device."),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), 1, "too."),
        (MemoryError(), 1, "addresses are limited (ulimit -v) of those, too."),
        (
            OperationalError("SELECT 1", {}, Exception("disk I/O error\nmore")),
            1,
            "s2e: the storage failed (OperationalError: disk I/O error).",
        ),
    ],
)
def test_what_the_system_refuses_gets_one_sentence(
    error: Exception, code: int, said: str, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("s2e_optuna.reporting.view.read_study", fail)
    result = run(f"show --storage {stored} --study one")
    assert result.exit_code == code
    assert result.stderr.endswith(f"{said}\n") and result.stderr.count("\n") == 1


def test_a_folder_that_has_been_removed_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = run("show")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "s2e: the current folder has been removed: change to one that is there.\n"
    )
