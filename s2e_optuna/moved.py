"""Modules under the names that they had before they moved: old imports go on working."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "artifacts": "objective",
    "artifacts.attach": "objective.artifacts",
    "artifacts.folder": "storages.urls",
    "checkpoints": "objective.resuming",
    "final_comparison": "search.final",
    "reporting.dashboard": "web.dashboard",
    "reporting.serve": "web.serve",
    "training.cross_validation": "labels.out_of_fold",
    "training.data": "data.noisy_data",
    "training.errors": "errors",
    "training.noise": "data.noise",
    "training.sources": "data.sources",
    "training.wrong_labels": "labels.wrong_labels",
    "workers": "storages",
    "workers.config": "search.config",
    "workers.proxy": "storages.proxy",
    "workers.search": "search.search",
    "workers.storage": "storages.open",
    "workers.worker": "search.worker",
}
"""Old name to new name, both inside this package: those that documentation has named."""


class _Alias(Loader):
    """Hands out the module that is there, in place of a second copy of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's there


class _MovedFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "s2e_optuna" or name not in MOVED:
            return None
        return spec_from_loader(fullname, _Alias(f"{package}.{MOVED[name]}"))


def install() -> None:
    """Make the old names importable; once, however often it is called."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        # First, because a moved package holds modules of the same names: no second copies of them.
        sys.meta_path.insert(0, _MovedFinder())
