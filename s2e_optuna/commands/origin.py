"""Where a list of suspects comes from: the search or training beside it, and how to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2e_optuna.commands.locations import shell, written_beside
from s2e_optuna.commands.requests import ListedData, TrainRequest
from s2e_optuna.commands.takes import flags_of
from s2e_optuna.data.spec import ROLE_COLUMNS, DataSpec
from s2e_optuna.options import values
from s2e_optuna.review.corrected import decided_before
from s2e_optuna.review.decisions import Decision
from s2e_optuna.search.config import SEARCHED_METHODS, SearchConfig
from s2e_optuna.stored_names import COMPARISON_FILE

AFTER = "corrected"
"""What is put behind the names of a study and its folder when it is searched again."""

_OF_OTHER_LABELS = ("noise", "noise_rate", "train_size", "label_from_name")
"""Options that cannot stand beside corrected labels, or say what these say."""


@dataclass(frozen=True)
class Origin:
    """What a search or a training has written about itself.

    Attributes
    ----------
    options
        All its options by name.
    is_search
        Whether it is a search.
    validates_noisy
        Whether it validated on a part whose labels are as wrong as the others.
    folder
        Where the list lies.
    wrote_folder
        Whether it has written this folder; else somebody has only named the data.
    """

    options: Mapping[str, Any]
    is_search: bool
    validates_noisy: bool
    folder: Path
    wrote_folder: bool = True

    @property
    def data(self) -> DataSpec:
        """The data that it is about."""
        return DataSpec.from_settings(self.options)

    @property
    def decided_before(self) -> dict[str, Decision]:
        """What persons have decided in an earlier review, whose labels were searched with."""
        labels = self.options.get("labels")
        return {} if labels is None else decided_before(Path(str(labels)).expanduser())

    @classmethod
    def of_data(cls, data: ListedData, folder: Path) -> Origin:
        """Say that a list is about these data, whoever has made it."""
        return cls(values(data), True, data.validation == "noisy", folder, False)

    def again(self, labels: Path, checked: Path | None = None, data: Path | None = None) -> str:
        """Return the command that does it again, with corrected labels.

        Parameters
        ----------
        labels
            Table with them.
        checked
            Checked labels, if there are some that are of use.
        data
            Data that hold the corrected labels themselves, in place of the table.
        """
        changes = dict.fromkeys(_OF_OTHER_LABELS)
        if data is None:
            changes |= {**dict.fromkeys(ROLE_COLUMNS), "labels": str(labels)}
        else:
            changes |= {"data": str(data)}
        if checked is not None:
            changes["checked"] = str(checked)
        folder = f"{self.folder}-{AFTER}"
        if not self.is_search:
            given = {**self.options, **changes}
            rate, method = self.options.get("noise_rate"), given.get("method")
            has_schedule = bool(given.get("schedule") or given.get("keep_rate"))
            if rate is not None and method in SEARCHED_METHODS and not has_schedule:
                given["keep_rate"] = 1.0 - rate  # Co-teaching's own, which needs no noise
            return shell("s2e", "train", *flags_of(TrainRequest, given), "--out", folder)
        if not self.wrote_folder or "study" not in self.options:
            return shell("s2e", "search", *flags_of(SearchConfig, {**self.options, **changes}))
        study, storage = self.options["study"], self.options.get("storage")
        given = {**self.options, **changes, "anyway": False, "out": folder}
        given |= {"study": f"{study}-{AFTER}", "warm_from": study}
        words = shell("s2e", "search", *flags_of(SearchConfig, given, frozenset({"storage"})))
        # A password is never written down; s2e reads this variable by itself, too.
        where = '"$S2E_STORAGE"' if storage is None else shell(storage)
        return f"{words} --storage {where}"


def origin_of(listed: Path, data: ListedData | None = None) -> Origin | None:
    """Say what a list is about; None where nobody knows.

    Parameters
    ----------
    listed
        The file of the list. What lies beside it tells, unless it is of an earlier version.
    data
        What somebody says that it is about, which counts more.
    """
    if data is not None and data.data:
        return Origin.of_data(data, listed.parent)
    newest = written_beside(listed)
    if newest is None:
        return None
    is_search = newest.name == COMPARISON_FILE
    try:
        content = json.loads(newest.read_text(encoding="utf-8"))
        # What earlier versions have written of a search says what it read, not its study.
        options = content.get("search", content["of"]) if is_search else content["request"]
        validation = content["validated_on" if is_search else "validation"]
        return Origin(dict(options), is_search, validation == "noisy", listed.parent)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of a training by an earlier version
