import importlib

import pytest

from s2e_optuna.data import load_data, torchvision_status
from s2e_optuna.errors import DataError


def _fail_with(monkeypatch, error):
    real = importlib.import_module

    def import_module(name, package=None):
        if name.startswith("torchvision"):
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_a_matching_pair_is_fine():
    pytest.importorskip("torchvision")
    status = torchvision_status()
    assert status.ok
    assert status.torchvision_version in status.message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "does not match torch"),
        (ModuleNotFoundError("No module named 'torchvision'"), "not installed"),
    ],
)
def test_a_failing_import_says_which_versions_and_what_to_install(
    monkeypatch, tmp_path, error, says
):
    _fail_with(monkeypatch, error)
    status = torchvision_status()
    assert not status.ok
    with pytest.raises(DataError, match=f"{says}.*pip install --upgrade torch torchvision"):
        load_data("mnist", data_root=tmp_path)
