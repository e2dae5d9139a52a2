"""Whether results can be written is asked without leaving anything behind."""

import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from s2e_optuna.errors import ConfigError
from s2e_optuna.writable import check_folder, check_writable, own_folder, whole_file


@pytest.mark.parametrize("name", ["new.csv", "new/folder", "old.csv", "old", "."])
def test_what_can_be_written_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old.csv").write_text("kept")
    check_writable(tmp_path / name)
    assert {path.name for path in tmp_path.rglob("*")} == {"old", "old.csv"}
    assert (tmp_path / "old.csv").read_text() == "kept"


@pytest.mark.parametrize("path", ["/sys/x", "/sys/x/y.csv"])  # refused to everybody
def test_what_cannot_be_written_is_named(path: str) -> None:
    with pytest.raises(OSError) as caught:
        check_writable(path)
    assert caught.value.filename == path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files take 1,000 bytes, and no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def write_text(path: Path) -> None:
    with whole_file(path) as place:
        place.write_text("x" * 5000)


def write_model(path: Path) -> None:
    with whole_file(path) as place:
        save_file({"a": np.zeros(5000)}, str(place))


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("write", [write_text, write_model])
@pytest.mark.parametrize("before", [None, "kept"])
def test_a_full_disk_is_named_and_leaves_no_part_of_a_file(
    write: Callable[[Path], None], before: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    if before is not None:
        path.write_text(before)
    with pytest.raises(OSError, match="File too large") as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])


def test_a_file_is_written_as_a_whole_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name, content in (("file", "old"), ("link", "new")):
        with whole_file(tmp_path / name) as place:
            place.write_text(content)
    assert (tmp_path / "file").read_text() == "new" and (tmp_path / "link").is_symlink()
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "file") as place:
        place.write_text(str(1 / 0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("name", ["file", "file/below/it"])
def test_a_folder_is_not_made_in_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file, no folder"):
        check_folder(tmp_path / name)
    check_folder(tmp_path / "new" / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_who_comes_second_waits_for_the_folder(tmp_path, caplog):
    order = []
    first = own_folder(tmp_path / "out")
    first.__enter__()

    def second():
        with own_folder(tmp_path / "out"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    while "waiting until it has ended" not in caplog.text:
        time.sleep(0.01)
    order.append("first")
    first.__exit__(None, None, None)
    thread.join()
    assert order == ["first", "second"]
