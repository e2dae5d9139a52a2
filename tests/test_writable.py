"""Whether results can be written is asked without leaving anything behind."""

from pathlib import Path

import pytest

from s2e_optuna.errors import ConfigError
from s2e_optuna.writable import check_folder, check_writable


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


@pytest.mark.parametrize("name", ["file", "file/below/it"])
def test_a_folder_is_not_made_in_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file, no folder"):
        check_folder(tmp_path / name)
    check_folder(tmp_path / "new" / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}
