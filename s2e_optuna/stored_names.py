"""Names under which things are stored: attributes of studies and trials, files of results.

Studies and folders of earlier versions hold them: none may change.
"""

from __future__ import annotations

import hashlib
import re

CONFIG_ATTR = "s2e:search"
"""User attribute of a study: what its trials do (`SearchConfig.stored`)."""

DATA_ATTR = "s2e:data"
"""User attribute of a study: what the data of its trials held (`Fingerprint.summary`)."""

CHECKED_ATTR = "s2e:checked"
"""User attributes of a study: what each class is worth for each validation sample, where some are
checked. Its digest of these; with a number behind it, a piece of the compressed weights."""

TARGET_ATTR = "s2e:trials"
"""User attribute of a study: the budget N."""

CHECKPOINT_ATTR = "checkpoint"
"""User attribute of a trial: its stack's first trial, and the file its training can go on from."""

METRIC_ATTR = "metric"
"""User attribute of a trial: what it was judged by, where that is another metric than accuracy."""

SCHEDULE_FILE = "schedule.json"
MODEL_FILE = "model.safetensors"
COMPARISON_FILE = "comparison.json"
SUSPECTS_FILE = "suspects.csv"
RESULTS_FILE = "results.json"
REPORT_FILE = "report.html"
DECISIONS_FILE = "decisions.jsonl"
LABELS_FILE = "labels.csv"
CHECKED_FILE = "checked.csv"
COMPARISON_PICTURES = ("learning.png", "precision.png")
"""What is drawn of a comparison."""


def folder_name(study_name: str) -> str:
    """Name of one folder for a study: another one for each study, inside its parent.

    Names of studies may hold anything. Where one has to be changed, a hash of it follows a ``~``,
    which no name that stays as it is can hold.

    Examples
    --------
    >>> folder_name("digits-pair-0.45")
    'digits-pair-0.45'
    >>> folder_name("../digits")
    '_digits~c9e8680d'
    """
    name = re.sub(r"[^\w .-]+", "_", study_name)[:60].strip(" .")
    if name == study_name:
        return name
    return f"{name or 'study'}~{hashlib.sha256(study_name.encode()).hexdigest()[:8]}"
