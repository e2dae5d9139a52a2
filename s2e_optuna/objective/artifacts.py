"""Attach pictures and tables to trials that still run; a finished trial takes none."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from s2e_optuna.objective.picture import (
    BEST,
    COTEACHING,
    FOUND,
    PRECISION,
    Line,
    schedule_svg,
)
from s2e_optuna.objective.table import curve_table
from s2e_optuna.schedules import Schedule, trial_schedule

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

PICTURE = "schedule.svg"
TABLE = "curves.csv"

_logger = logging.getLogger(__name__)


class TrialArtifacts:
    """Uploads what there is to see of a trial.

    Parameters
    ----------
    store
        Where files go: a folder, which is made if it is missing, or an artifact store of Optuna
        (one for S3 or Google Cloud, for example).
    """

    def __init__(self, store: ArtifactStore | str | Path) -> None:
        if isinstance(store, str | Path):
            Path(store).mkdir(parents=True, exist_ok=True)
            store = FileSystemArtifactStore(str(store))
        self.store = store
        self._failed = False

    def attach(
        self,
        trial: Trial,
        schedule: Schedule,
        curves: Mapping[str, NDArray[np.float64]],
        *,
        value: float | None = None,
        best: FrozenTrial | None = None,
        noise_rate: float | None = None,
        value_label: str = "validation error",
    ) -> None:
        """Upload the picture of R(t) and the table of curves.

        A store that cannot be written to costs no trial: that is logged as a warning, and nothing
        more is uploaded from here.

        Parameters
        ----------
        trial
            A running trial.
        schedule
            What it trained with.
        curves
            Name to numbers by epoch, shape [epochs that were run]; ``label_precision`` is drawn,
            too.
        value
            What the trial is going to return.
        best
            The best trial so far, from `best_so_far`.
        noise_rate
            Draw Co-teaching's schedule with this rate, too.
        value_label
            What the value is.

        Raises
        ------
        optuna.exceptions.UpdateFinishedTrialError
            If somebody has finished the trial meanwhile.
        """
        if self._failed:
            return
        picture = trial_picture(
            trial.number,
            schedule,
            curves,
            value=value,
            best=best,
            noise_rate=noise_rate,
            value_label=value_label,
        )
        files = {PICTURE: picture, TABLE: curve_table(schedule.rates, curves)}
        try:
            with tempfile.TemporaryDirectory(prefix="s2e-") as folder:
                for name, text in files.items():
                    path = Path(folder) / name
                    path.write_text(text, encoding="utf-8")
                    upload_artifact(
                        artifact_store=self.store, file_path=str(path), study_or_trial=trial
                    )
        except OSError as error:
            self._failed = True
            _logger.warning(
                "Pictures of trials cannot be stored (%s): from now on this worker makes none. "
                "The search goes on.",
                error,
            )


def trial_picture(
    number: int,
    schedule: Schedule,
    curves: Mapping[str, NDArray[np.float64]],
    *,
    value: float | None = None,
    best: FrozenTrial | None = None,
    noise_rate: float | None = None,
    value_label: str = "validation error",
) -> str:
    """Draw what `TrialArtifacts.attach` uploads: an SVG document.

    Parameters
    ----------
    number
        Number of the trial.
    schedule
        What it trained with, T epochs.
    curves
        Name to numbers by epoch, shape [epochs that were run]; ``label_precision`` is drawn.
    value
        Its value.
    best
        The best trial so far.
    noise_rate
        Draw Co-teaching's schedule with this rate, too.
    value_label
        What the value is.
    """
    lines = [Line("R(t) of this trial", schedule.rates, FOUND)]
    if best is not None and (best_curve := trial_schedule(best)) is not None:
        lines.append(Line(f"best so far: {best.number}", best_curve.rates, BEST))
    if noise_rate is not None:
        reference = Schedule.coteaching(schedule.epochs, noise_rate)
        lines.append(Line(f"Co-teaching, {noise_rate:.0%}", reference.rates, COTEACHING))
    precision = curves.get("label_precision")
    if precision is not None and np.isfinite(precision).any():
        lines.append(Line("label precision", precision, PRECISION))
    title = f"Trial {number}"
    if value is not None and math.isfinite(value):
        title += f": {value_label} {value:.4f}"
    run = max((len(curve) for curve in curves.values()), default=schedule.epochs)
    return schedule_svg(lines, title=title, stopped=run)


def best_so_far(study: Study) -> FrozenTrial | None:
    """Return the finished trial with the best value; None while there is none."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    scored = [
        (sign * trial.values[0], trial.number, trial)
        for trial in trials
        if trial.values and math.isfinite(trial.values[0])
    ]
    return min(scored, key=lambda entry: entry[:2])[2] if scored else None
